/* Actions 1 login, 9 ping, 16 log out. */
#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/hub/act/acts.h"
#include "core/hub/act/admit.h"
#include "core/hub/act/login.h"
#include "core/hub/act/provider.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/field.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/session.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/op.h"
#include "core/hub/shard/token.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static bool get_accept(struct call *c, struct login *l)
{
    const struct cJSON *list = NULL, *item;
    int rc = json_get_array(c->body, "accept", &list);
    if (rc == 0)
        return true;
    if (rc == 1) {
        cJSON_ArrayForEach(item, list)
        {
            if (!cJSON_IsString(item))
                rc = -1;
            else if (strcmp(item->valuestring, "merge") == 0)
                l->merge = true;
            else if (strcmp(item->valuestring, "gzip") == 0)
                l->gzip = true;
        }
    }
    if (rc != 1)
        call_fail(c, CODE_BAD_REQUEST, "accept: expected a list of strings");
    return rc == 1;
}

static bool mode_open(const struct shard *s)
{
    return strcmp(s->opt->auth_mode, "open") == 0;
}

/* The request is refused before anybody was asked. */
__attribute__((format(printf, 4, 5))) static void refuse(struct call *c, const struct login *l, enum code code,
                                                         const char *fmt, ...)
{
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    login_note(l, "login.refused", code_name(code), text);
    call_fail(c, code, "%s", text);
}

/* What is given, checked as far as it can be here. */
static bool get_login(struct call *c, struct login *l, struct slice *token_out)
{
    struct slice name = SLICE_NONE, device, token = SLICE_NONE, id;
    int has_name = json_get_string(c->body, "name", &name);
    if (has_name < 0 || (has_name && !value_name(name))) {
        refuse(c, l, CODE_BAD_REQUEST, "name: expected 1 to 64 bytes of text without control characters");
        return false;
    }
    if (has_name && value_name_reserved(name)) {
        refuse(c, l, CODE_BAD_REQUEST, "name: \"%.*s\" is the server's own name, or looks like it; choose another",
               (int)name.n, name.p);
        return false;
    }
    int has_token = json_get_string(c->body, "token", &token);
    if (has_token < 0) {
        refuse(c, l, CODE_BAD_REQUEST, "token: expected a string");
        return false;
    }
    if (!call_get_text(c, "device", &device) || !get_accept(c, l)) {
        login_note(l, "login.refused", code_name(CODE_BAD_REQUEST), "device, accept: malformed");
        return false;
    }
    bool open = mode_open(c->shard);
    if (open && !has_token && !has_name) {
        refuse(c, l, CODE_BAD_REQUEST, "name: missing (a new user needs one)");
        return false;
    }
    if (!open && !provider_of(c->shard)) {
        refuse(c, l, CODE_UNAVAILABLE, "nobody answers for auth.mode \"%s\" now", c->shard->opt->auth_mode);
        return false;
    }
    *token_out = token;
    if (open && has_token) {
        uint64_t issued;
        if (token_check(token, &c->shard->token_key, l->id, &id, &l->epoch, &issued) != 0 || !value_user_id(id) ||
            store_age_ms(c->shard->store, issued) > TOKEN_LIFETIME_MS) {
            refuse(c, l, CODE_UNAUTHORIZED, "token: unknown or expired");
            return false;
        }
        l->id_len = (uint8_t)id.n;
    }
    l->fresh = open && !has_token;
    l->provided = !open;
    l->name_len = (uint8_t)name.n;
    l->device_len = (uint8_t)device.n;
    if (name.n)
        memcpy(l->name, name.p, name.n);
    if (device.n)
        memcpy(l->device, device.p, device.n);
    return true;
}

/* --- The request -------------------------------------------------------------------------------------------------- */

/* Whether a connection that has logged in may do so once more: to renew a login that a provider's answer ends. */
static bool may_renew(const struct call *c)
{
    return c->user == NONE || (!mode_open(c->shard) && grant_expires_ms(c->shard, c->conn));
}

/* What is given beside the token is for the first login. */
static void make_renewal(struct login *l)
{
    l->renews = true;
    l->merge = false;
    l->name_len = l->device_len = 0;
}

static void handle_login(struct call *c)
{
    struct shard *s = c->shard;
    uint32_t conn = c->conn, generation = conn_at(s->net, conn)->generation;
    if (!may_renew(c)) {
        refuse(c, &(struct login){.shard = s, .conn = conn, .generation = generation}, CODE_FORBIDDEN,
               "this connection has logged in already");
        return;
    }
    struct login *l = calloc(1, sizeof *l);
    struct slice token = SLICE_NONE;
    if (!l) {
        call_fail(c, CODE_INTERNAL, "out of memory");
        return;
    }
    l->shard = s;
    l->conn = conn;
    l->generation = generation;
    l->user = NONE;
    l->action = c->action;
    l->seq = c->seq;
    if (!get_login(c, l, &token)) {
        free(l);
        return;
    }
    if (c->user != NONE)
        make_renewal(l);
    l->call = c;
    s->reqs++;
    c->pause = true;
    if (l->provided)
        provider_ask(l, token);
    else
        login_admit(l);
    /* Unless it has ended, or moved to another shard, it goes on later. */
    if (c->pause && conn_find(s->net, conn, generation))
        l->call = NULL;
}

static void handle_ping(struct call *c)
{
    conn_set(c->shard->net, c->conn, CONN_F_PINGS);
    char text[40];
    int n = snprintf(text, sizeof text, "{\"time\":%llu}", (unsigned long long)clock_wall_ms());
    call_reply(c, slice_of(text, (size_t)n));
}

/* --- Log out ------------------------------------------------------------------------------------------------------ */

struct logout {
    struct req r;
    struct store_user_save op;
    char strings[128]; /* id and name, which the user may change meanwhile */
};

static void logout_after(struct req *r)
{
    if (r->code == CODE_OK && conn_find(r->home->net, r->conn, r->generation))
        conn_close(r->home->net, r->conn, CLOSE_LOGOUT, NULL, 0);
}

static void logout_saved(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct logout *q = OP_END(owner, op, struct logout, op.op);
    copy_changed(s, q->r.user, copy_version(op->status, q->op.version));
    if (op->status != STORE_OK) {
        /* Unless it may have been stored, or another one has raised it further. */
        struct user *u = user_at(s, q->r.user);
        if (op->status == STORE_RETRY && u->epoch == q->op.user.epoch)
            u->epoch--;
        req_fail_store(&q->r, op->status, "");
    }
    req_done(s, &q->r);
}

static void handle_logout(struct call *c)
{
    struct shard *s = c->shard;
    struct logout *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    struct user *u = user_at(s, c->user);
    q->r.after = logout_after;
    u->epoch++; /* at once, so that no other save of this user brings the old one back */
    memcpy(q->strings, u->strings, (size_t)u->id_len + u->name_len);
    q->op = (struct store_user_save){.id = slice_of(q->strings, u->id_len),
                                     .name = slice_of(q->strings + u->id_len, u->name_len),
                                     .guest_ttl_ms = s->opt->guest_ms,
                                     .user = {.epoch = u->epoch, .guest = u->guest}};
    op_begin(s, &q->op.op, logout_saved);
    store_user_save(s->store, &q->op);
}

int act_login_register(struct hub *hub)
{
    static const struct action actions[] = {
        {.number = 1, .name = "login", .class = CLASS_ALONE, .before_login = true, .handle = handle_login},
        {.number = 9, .name = "ping", .class = CLASS_NOW, .before_login = true, .handle = handle_ping},
        {.number = 16, .name = "logout", .class = CLASS_ALONE, .handle = handle_logout},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
