/* Actions 1 login, 9 ping, 16 log out. */
#include "core/hub/action.h"
#include "core/hub/hook.h"
#include "core/hub/chan.h"
#include "core/hub/login.h"
#include "core/hub/session.h"
#include "core/hub/token.h"
#include "core/hub/user.h"

#include "core/base/clock.h"
#include "core/base/frame.h"
#include "core/base/json.h"
#include "core/base/random.h"
#include "core/base/utf8.h"

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * One login under way. Its connection is paused; after the token has told who it is, it moves to the user's owner shard.
 */
struct login {
    struct mail mail;          /* for the move */
    struct login *next;        /* in user.waiting */
    struct shard *shard;       /* where it is now */
    uint32_t conn, generation; /* handle there */
    uint32_t user;             /* pinned; NONE before it is found */
    struct call *call;         /* while the handler runs; NULL later */
    struct conn_record record; /* while it moves */
    uint32_t epoch;            /* of the token */
    uint32_t inbox;
    uint16_t action, seq;
    uint8_t id_len, name_len, device_len;
    bool fresh;  /* a new user */
    bool merge;  /* accepts 104 */
    bool busy;   /* a store operation is under way */
    bool missed; /* a private message came meanwhile: count the inbox again */
    union {
        struct store_user_load load;
        struct store_user_save save;
    } op;
    char id[64], name[64], device[65];
};

static void login_start(struct login *l);
static void login_check(struct login *l);

static struct slice login_id(const struct login *l)
{
    return slice_of(l->id, l->id_len);
}
static struct slice login_name(const struct login *l)
{
    return slice_of(l->name, l->name_len);
}

/* Takes the login off its user and frees it. */
static void login_end(struct login *l)
{
    struct shard *s = l->shard;
    if (l->call)
        l->call->pause = false;
    if (l->user != NONE) {
        struct login **at = &user_at(s, l->user)->waiting;
        while (*at && *at != l)
            at = &(*at)->next;
        if (*at)
            *at = l->next;
        user_unpin(s, l->user);
    }
    s->reqs--;
    free(l);
}

static void login_fail(struct login *l, enum code code, const char *message)
{
    struct shard *s = l->shard;
    if (conn_find(s->net, l->conn, l->generation)) {
        struct call c = {.shard = s, .conn = l->conn, .user = NONE, .action = l->action, .seq = l->seq};
        call_fail(&c, code, "%s", message);
        conn_resume(s->net, l->conn);
    }
    login_end(l);
}

/* --- Answer --------------------------------------------------------------------------------------------------------- */

static void encode_login(struct buf *b, const struct shard *s, const struct user *u, uint32_t inbox)
{
    char token[TOKEN_MAX + 1];
    token_make(token, s->opt->secret, user_id(u), u->epoch, clock_wall_ms());
    buf_lit(b, "{\"id\":");
    buf_json_string(b, user_id(u));
    buf_lit(b, ",\"name\":");
    buf_json_string(b, user_name(u));
    buf_printf(b, ",\"token\":\"%s\",\"inbox\":%u,\"limits\":{\"frame\":%u,\"content\":%u,\"idle\":%u}}", token, inbox,
               s->opt->net.frame, s->opt->content_max, s->opt->net.idle_timeout);
}

static void replace_device(struct shard *s, const struct user *u, const struct login *l)
{
    uint32_t next;
    for (uint32_t i = u->first_conn; i != NONE; i = next) {
        struct conn *k = conn_at(s->net, i);
        const struct session *x = k->session;
        next = k->user_next;
        if (x && x->device && strcmp(x->device, l->device) == 0)
            conn_close(s->net, i, CLOSE_REPLACED, "a newer connection of this device took over", 0);
    }
}

static void login_complete(struct login *l)
{
    struct shard *s = l->shard;
    const struct conn *k = conn_find(s->net, l->conn, l->generation);
    if (!k || k->flags & CONN_F_CLOSING) {
        login_end(l);
        return;
    }
    struct user *u = user_at(s, l->user);
    struct session *x = l->device_len ? session_get(s, l->conn) : NULL;
    char *device = x ? strdup(l->device) : NULL;
    buf_reset(&s->scratch);
    encode_login(&s->scratch, s, u, l->inbox);
    if ((l->device_len && !device) || !buf_ok(&s->scratch)) {
        free(device);
        login_fail(l, CODE_INTERNAL, "out of memory");
        return;
    }
    if (device) {
        x->device = device;
        replace_device(s, u, l);
        buf_reset(&s->scratch);
        encode_login(&s->scratch, s, u, l->inbox);
    }
    conn_set(s->net, l->conn, CONN_F_READY | (l->merge ? CONN_F_MERGE : 0));
    session_answer(s, l->conn, 0, NONE, l->action, l->seq, buf_slice(&s->scratch));
    user_add_conn(s, l->user, l->conn);
    if (l->inbox) {
        buf_reset(&s->scratch);
        buf_printf(&s->scratch, "{\"inbox\":%u}", l->inbox);
        struct wire *w = buf_ok(&s->scratch)
                             ? wire_new(conn_at(s->net, l->conn)->form, 103, 0, buf_slice(&s->scratch), WIRE_TAG_NONE)
                             : NULL;
        if (w) {
            conn_send(s->net, l->conn, w, CONN_MUST);
            wire_unref(w);
        }
    }
    conn_resume(s->net, l->conn);
    login_end(l);
}

/* --- Changes to the user ---------------------------------------------------------------------------------------------- */

static void login_saved(void *owner, struct store_op *op)
{
    struct login *l = (struct login *)((char *)op - offsetof(struct login, op.save.op));
    struct shard *s = owner;
    s->ops--;
    l->busy = false;
    struct user *u = user_at(s, l->user);
    if (op->status != STORE_OK) {
        login_fail(l, CODE_UNAVAILABLE, "the store cannot write now");
        return;
    }
    if (l->name_len && user_set_name(s, l->user, login_name(l)) != 0) {
        login_fail(l, CODE_INTERNAL, "out of memory");
        return;
    }
    u->guest = l->fresh;
    u->state = USER_READY;
    if (l->missed) /* while it was saved */
        login_start(l);
    else
        login_complete(l);
}

static void login_save(struct login *l, bool guest)
{
    struct shard *s = l->shard;
    const struct user *u = user_at(s, l->user);
    l->op.save = (struct store_user_save){
        .id = login_id(l), .user = {.epoch = u->epoch, .guest = guest}, .guest_ttl_ms = s->opt->guest_ms};
    if (!l->name_len) {
        l->name_len = u->name_len;
        memcpy(l->name, user_name(u).p, u->name_len);
    }
    l->op.save.name = login_name(l);
    l->op.save.op.home = &s->mailbox;
    l->op.save.op.done = login_saved;
    l->busy = true;
    s->ops++;
    store_user_save(s->store, &l->op.save);
}

/* --- Known users ------------------------------------------------------------------------------------------------------ */

static bool take_loaded(struct shard *s, uint32_t user, const struct store_user_load *r)
{
    struct user *u = user_at(s, user);
    if (user_set_name(s, user, r->name) != 0)
        return false;
    u->epoch = r->user.epoch;
    u->guest = r->user.guest;
    for (uint32_t i = 0; i < r->subscription_count; i++) {
        uint32_t chan = chan_get(s, r->subscriptions[i].channel);
        if (chan == NONE)
            return false;
        chan_pend(s, chan);
        uint32_t sub = sub_find(s, user, chan);
        if (sub == NONE)
            sub = sub_add(s, user, chan, r->subscriptions[i].push, 0, false);
        chan_unpend(s, chan, 0);
        if (sub == NONE)
            return false;
    }
    u->state = USER_READY;
    return true;
}

/* Fails every login that waits for the user. The user is freed with the last of them. */
static void fail_waiting(struct shard *s, uint32_t user, enum code code, const char *message)
{
    user_pin(s, user);
    struct login *next;
    for (struct login *l = user_at(s, user)->waiting; l; l = next) {
        next = l->next;
        if (!l->busy)
            login_fail(l, code, message);
    }
    while (user_at(s, user)->first_sub != NONE)
        sub_remove(s, user_at(s, user)->first_sub);
    user_unpin(s, user);
}

static void start_waiting(struct shard *s, uint32_t user)
{
    user_pin(s, user);
    struct login *next;
    for (struct login *l = user_at(s, user)->waiting; l; l = next) {
        next = l->next;
        if (!l->busy)
            login_start(l);
    }
    user_unpin(s, user);
}

static void login_loaded(void *owner, struct store_op *op)
{
    struct login *l = (struct login *)((char *)op - offsetof(struct login, op.load.op));
    struct shard *s = owner;
    uint32_t user = l->user;
    enum store_status status = op->status;
    s->ops--;
    l->busy = false;
    l->inbox = l->op.load.inbox;
    if (user_at(s, user)->state == USER_LOADING) {
        bool taken = status == STORE_OK && take_loaded(s, user, &l->op.load);
        store_user_load_free(&l->op.load);
        if (!taken) {
            bool unknown = status == STORE_NOTFOUND;
            fail_waiting(s, user, unknown ? CODE_UNAUTHORIZED : CODE_UNAVAILABLE,
                         unknown ? "token: of a user that is no more" : "the store cannot read now");
            return;
        }
        l->busy = true; /* start_waiting() is for the others */
        start_waiting(s, user);
        l->busy = false;
    } else {
        store_user_load_free(&l->op.load);
    }
    if (status != STORE_OK)
        login_fail(l, CODE_UNAVAILABLE, "the store cannot read now");
    else if (l->missed)
        login_start(l);
    else
        login_check(l);
}

/* The user is loaded and the inbox is counted: does the token still hold, and what does the login change? */
static void login_check(struct login *l)
{
    struct user *u = user_at(l->shard, l->user);
    if (l->epoch != u->epoch)
        login_fail(l, CODE_UNAUTHORIZED, "token: no longer valid");
    else if (u->guest || (l->name_len && !slice_eq(login_name(l), user_name(u))))
        login_save(l, false);
    else
        login_complete(l);
}

/* Asks the store for the user (and the size of its inbox), or waits for the one who does. */
static void login_start(struct login *l)
{
    struct shard *s = l->shard;
    if (l->user == NONE) {
        l->user = user_find(s, login_id(l));
        bool first = l->user == NONE;
        if (first && (l->user = user_new(s, login_id(l))) == NONE) {
            login_fail(l, CODE_INTERNAL, "out of memory");
            return;
        }
        struct user *u = user_at(s, l->user);
        user_pin(s, l->user);
        l->next = u->waiting;
        u->waiting = l;
        if (!first && u->state != USER_READY)
            return;
    }
    l->missed = false;
    l->op.load = (struct store_user_load){.id = login_id(l), .op = {.home = &s->mailbox, .done = login_loaded}};
    l->busy = true;
    s->ops++;
    store_user_load(s->store, &l->op.load);
}

void login_missed(struct shard *s, uint32_t user)
{
    for (struct login *l = user_at(s, user)->waiting; l; l = l->next)
        l->missed = true;
}

void login_retry(struct shard *s, uint32_t user, bool gone)
{
    if (gone) {
        fail_waiting(s, user, CODE_UNAUTHORIZED, "token: of a user that is no more");
        return;
    }
    struct user *u = user_at(s, user);
    u->state = USER_LOADING;
    if (u->waiting)
        login_start(u->waiting);
}

/* --- The move to the user's shard --------------------------------------------------------------------------------------- */

static void login_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct login *l = (struct login *)m;
    l->shard = s;
    s->reqs++;
    l->conn = conn_attach(s->net, &l->record);
    if (l->conn == CONN_NONE) {
        l->user = NONE;
        login_end(l);
        return;
    }
    struct conn *k = conn_at(s->net, l->conn);
    l->generation = k->generation;
    k->user = k->user_next = NONE;
    login_start(l);
}

static void login_move(struct login *l, struct shard *to)
{
    struct shard *s = l->shard;
    session_free(conn_at(s->net, l->conn)->session);
    conn_at(s->net, l->conn)->session = NULL;
    if (conn_detach(s->net, l->conn, &l->record) != 0) {
        login_fail(l, CODE_UNAVAILABLE, "try again");
        return;
    }
    s->reqs--;
    l->call = NULL;
    l->mail.run = login_arrive;
    shard_post(s, to, &l->mail);
}

/* --- The request -------------------------------------------------------------------------------------------------------- */

/* An id whose owner is this shard, so that the connection need not move. */
static void fresh_id(const struct shard *s, struct login *l)
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    do {
        uint8_t r[13];
        random_bytes(r, sizeof r);
        for (size_t i = 0; i < sizeof r; i++)
            l->id[i] = digits[r[i] & 31];
        l->id_len = sizeof r;
    } while (shard_of(s->hub, login_id(l)) != s);
}

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
        }
    }
    if (rc != 1)
        call_fail(c, CODE_BAD_REQUEST, "accept: expected a list of strings");
    return rc == 1;
}

static bool get_login(struct call *c, struct login *l)
{
    struct slice name = SLICE_NONE, device, token = SLICE_NONE, id;
    int has_name = json_get_string(c->body, "name", &name);
    if (has_name < 0 || (has_name && !value_name(name))) {
        call_fail(c, CODE_BAD_REQUEST, "name: expected 1 to 64 bytes of text without control characters");
        return false;
    }
    int has_token = json_get_string(c->body, "token", &token);
    if (has_token < 0) {
        call_fail(c, CODE_BAD_REQUEST, "token: expected a string");
        return false;
    }
    if (!call_get_text(c, "device", &device) || !get_accept(c, l))
        return false;
    if (!has_token && !has_name) {
        call_fail(c, CODE_BAD_REQUEST, "name: missing (a new user needs one)");
        return false;
    }
    if (strcmp(c->shard->opt->auth_mode, "open") != 0) {
        call_fail(c, CODE_UNAUTHORIZED, "no provider for auth.mode \"%s\"", c->shard->opt->auth_mode);
        return false;
    }
    if (has_token) {
        if (token_check(token, c->shard->opt->secret, clock_wall_ms(), l->id, &id, &l->epoch) != 0 || !value_user_id(id)) {
            call_fail(c, CODE_UNAUTHORIZED, "token: unknown or expired");
            return false;
        }
        l->id_len = (uint8_t)id.n;
    }
    l->fresh = !has_token;
    l->name_len = (uint8_t)name.n;
    l->device_len = (uint8_t)device.n;
    if (name.n)
        memcpy(l->name, name.p, name.n);
    if (device.n)
        memcpy(l->device, device.p, device.n);
    return true;
}

static void login_new_user(struct login *l)
{
    struct shard *s = l->shard;
    fresh_id(s, l);
    l->user = user_new(s, login_id(l));
    if (l->user == NONE) {
        login_fail(l, CODE_INTERNAL, "out of memory");
        return;
    }
    user_pin(s, l->user);
    user_at(s, l->user)->waiting = l;
    login_save(l, true);
}

static void handle_login(struct call *c)
{
    struct shard *s = c->shard;
    if (c->user != NONE) {
        call_fail(c, CODE_FORBIDDEN, "this connection has logged in already");
        return;
    }
    struct login *l = calloc(1, sizeof *l);
    if (!l) {
        call_fail(c, CODE_INTERNAL, "out of memory");
        return;
    }
    if (!get_login(c, l)) {
        free(l);
        return;
    }
    struct hook_call h = {.shard = s, .user = login_id(l), .user_name = login_name(l)};
    if (hooks_run(HOOK_LOGIN, &h) == HOOK_REJECT) {
        free(l);
        call_fail(c, h.code, "%s", h.message);
        return;
    }
    l->shard = s;
    l->conn = c->conn;
    l->generation = conn_at(s->net, c->conn)->generation;
    l->user = NONE;
    l->action = c->action;
    l->seq = c->seq;
    l->call = c;
    s->reqs++;
    c->pause = true;
    struct shard *to = l->fresh ? s : shard_of(s->hub, login_id(l));
    if (to != s) {
        login_move(l, to);
        return;
    }
    if (l->fresh)
        login_new_user(l);
    else
        login_start(l);
    if (c->pause) /* it goes on later */
        l->call = NULL;
}

static void handle_ping(struct call *c)
{
    conn_set(c->shard->net, c->conn, CONN_F_PINGS);
    char text[40];
    int n = snprintf(text, sizeof text, "{\"time\":%llu}", (unsigned long long)clock_wall_ms());
    call_reply(c, slice_of(text, (size_t)n));
}

/* --- Log out ------------------------------------------------------------------------------------------------------------ */

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
    struct logout *q = (struct logout *)((char *)op - offsetof(struct logout, op.op));
    s->ops--;
    if (op->status != STORE_OK) {
        user_at(s, q->r.user)->epoch--;
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
    q->op.op.home = &s->mailbox;
    q->op.op.done = logout_saved;
    s->ops++;
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
