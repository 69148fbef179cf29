#include "core/hub/act/login.h"

#include "core/base/log_security.h"
#include "core/base/clock.h"
#include "core/base/frame.h"
#include "core/base/push.h"
#include "core/base/utf8.h"
#include "core/hub/act/device.h"
#include "core/hub/act/guest.h"
#include "core/hub/act/resync.h"
#include "core/hub/act/roam.h"
#include "core/hub/people/ban.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/req.h"
#include "core/hub/people/session.h"
#include "core/hub/people/trace.h"
#include "core/hub/people/user.h"
#include "core/hub/people/user_news.h"
#include "core/hub/registry/hook_wait.h"
#include "core/hub/shard/op.h"
#include "core/hub/shard/token.h"
#include "core/hub/shard/user_ids.h"
#include "core/hub/talk/interest.h"
#include "core/net/input.h"
#include "core/net/send.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static void fail_waiting(struct shard *s, uint32_t user, enum code code, const char *message);
static void start_waiting(struct shard *s, uint32_t user);
static void login_check(struct login *l);

/* Messages may come faster than the inbox can be counted; then the newest count does. */
enum { COUNTS_MAX = 4 };

static const char revoked[] = "token: no longer valid", unknown[] = "token: of a user that is no more";

/* Takes the login off its user and frees it. */
static void login_end(struct login *l)
{
    struct shard *s = l->shard;
    if (l->call)
        l->call->pause = false;
    if (l->wait)
        hook_wait_drop(l->wait);
    if (l->user != NONE) {
        struct login **at = &user_at(s, l->user)->waiting;
        while (*at && *at != l)
            at = &(*at)->next;
        if (*at)
            *at = l->next;
        if (l->told)
            roam_left(s, l->user);
        user_unpin(s, l->user);
    }
    s->reqs--;
    free(l->token);
    free(l->claims);
    free(l);
}

void login_abandon(struct login *l)
{
    l->call = NULL;
    login_end(l);
}

void login_note(const struct login *l, const char *event, const char *code, const char *message)
{
    const struct shard *s = l->shard;
    char ip[64];
    if (!security_enabled() || !conn_find(s->net, l->conn, l->generation))
        return;
    conn_peer(s->net, l->conn, ip, sizeof ip);
    const struct conn *k = conn_at(s->net, l->conn);
    security_event(event, LOG_STR("ip", ip), LOG_SLICE("user", login_id(l)), LOG_SLICE("name", login_name(l)),
                   LOG_STR("transport", conn_transport_name(k->transport == CONN_WEBSOCKET, conn_is_secure(k))),
                   LOG_STR("code", code), LOG_STR("because", message));
}

void login_refuse(struct login *l, enum code code, uint32_t retry_after_ms, const char *message)
{
    struct shard *s = l->shard;
    login_note(l, "login.refused", code_name(code), message);
    if (conn_find(s->net, l->conn, l->generation)) {
        struct call c = {.shard = s, .conn = l->conn, .user = NONE, .action = l->action, .seq = l->seq};
        if (code == CODE_RATE_LIMITED)
            call_rate_limited(&c, retry_after_ms, message);
        else
            call_fail(&c, code, "%s", message);
        session_trim(s, l->conn);
        conn_resume(s->net, l->conn);
    }
    login_end(l);
}

static void login_fail(struct login *l, enum code code, const char *message)
{
    login_refuse(l, code, 0, message);
}

/* --- Answer ------------------------------------------------------------------------------------------------------- */

static void encode_login(struct buf *b, struct shard *s, const struct user *u, const struct login *l)
{
    char token[TOKEN_MAX + 1];
    if (!l->token)
        token_make(token, &s->token_key, user_id(u), u->epoch, store_time_ms(s->store));
    buf_lit(b, "{\"id\":");
    buf_json_string(b, user_id(u));
    buf_lit(b, ",\"name\":");
    buf_json_string(b, user_name(u));
    buf_lit(b, ",\"token\":");
    buf_json_string(b, slice_str(l->token ? l->token : token));
    buf_lit(b, ",\"inbox\":"); /* number by number: printf took longer than all the rest */
    buf_dec(b, l->inbox);
    buf_lit(b, ",\"limits\":{\"frame\":");
    buf_dec(b, s->opt->net.frame);
    buf_lit(b, ",\"content\":");
    buf_dec(b, s->opt->content_max);
    buf_lit(b, ",\"idle\":");
    buf_dec(b, s->opt->net.idle_timeout);
    buf_lit(b, "}}");
}

void login_replace(struct shard *s, uint32_t conn)
{
    conn_close(s->net, conn, CLOSE_REPLACED, "a newer connection of this device took over", 0);
}

static void login_tell(struct login *l)
{
    struct shard *s = l->shard;
    if (!hooks_any(s, HOOK_LOGGED_IN) || !conn_find(s->net, l->conn, l->generation))
        return;
    char ip[64];
    conn_peer(s->net, l->conn, ip, sizeof ip);
    struct hook_call h = {.shard = s,
                          .conn = l->conn,
                          .user = user_id(user_at(s, l->user)),
                          .user_name = user_name(user_at(s, l->user)),
                          .claims = grant_claims(s, l->conn),
                          .device = slice_of(l->device, l->device_len),
                          .ip = slice_str(ip),
                          .websocket = conn_at(s->net, l->conn)->transport == CONN_WEBSOCKET,
                          .secure = conn_is_secure(conn_at(s->net, l->conn))};
    hooks_run(HOOK_LOGGED_IN, &h);
}

/* Whether the user is banned; then the login has been refused. */
static bool login_banned(struct login *l)
{
    char text[BAN_REASON_MAX + 32];
    struct slice reason;
    if (!l->id_len || !ban_user(l->shard, login_id(l), &reason))
        return false;
    snprintf(text, sizeof text, "you are banned%s%.*s", reason.n ? ": " : "", (int)reason.n, reason.p);
    login_fail(l, CODE_FORBIDDEN, text);
    return true;
}

/* What the provider vouches for is the connection's from now on. False: the login has been refused. */
static bool login_grant(struct login *l)
{
    char *claims = l->claims;
    l->claims = NULL;
    if (grant_set(l->shard, l->conn, l->expires_ms, claims) == 0)
        return true;
    login_fail(l, CODE_INTERNAL, "out of memory");
    return false;
}

/* The connection has been the user's all the time: it is answered, and that is all. */
static void login_renewed(struct login *l)
{
    struct shard *s = l->shard;
    login_note(l, "login.renewed", "ok", "");
    buf_reset(&s->scratch);
    encode_login(&s->scratch, s, user_at(s, l->user), l);
    if (!buf_ok(&s->scratch)) {
        login_fail(l, CODE_INTERNAL, "out of memory");
        return;
    }
    session_answer_secret(s, l->conn, l->action, l->seq, buf_slice(&s->scratch));
    session_trim(s, l->conn);
    conn_resume(s->net, l->conn);
    login_end(l);
}

void login_complete(struct login *l)
{
    struct shard *s = l->shard;
    const struct conn *k = conn_find(s->net, l->conn, l->generation);
    if (!k || k->flags & CONN_F_CLOSING) {
        login_end(l);
        return;
    }
    if (login_banned(l) ||
        (!l->renews && roam_waits(l))) /* by now: the kick that goes with a ban has found no connection */
        return;
    if (!login_grant(l))
        return;
    if (l->renews) {
        login_renewed(l);
        return;
    }
    struct user *u = user_at(s, l->user);
    if (l->missed && !l->inbox)
        l->inbox = 1;
    struct session *x = l->device_len ? session_get(s, l->conn) : NULL;
    char *device = x ? strdup(l->device) : NULL;
    buf_reset(&s->scratch);
    encode_login(&s->scratch, s, u, l);
    if ((l->device_len && !device) || !buf_ok(&s->scratch)) {
        free(device);
        login_fail(l, CODE_INTERNAL, "out of memory");
        return;
    }
    if (device) {
        x->device = device;
        device_take(l);
        buf_reset(&s->scratch);
        encode_login(&s->scratch, s, u, l);
    }
    conn_set(s->net, l->conn, CONN_F_READY | (l->merge ? CONN_F_MERGE : 0));
    figure_add(&s->figures.logins, 1);
    login_note(l, "login.accepted", "ok", l->fresh ? "a new user" : "");
    if (s->traces)
        trace_login(s, l->conn, login_id(l));
    session_answer_secret(s, l->conn, l->action, l->seq, buf_slice(&s->scratch));
    conn_set(s->net, l->conn, l->gzip ? CONN_F_PACKED : 0);
    user_add_conn(s, l->user, l->conn);
    if (l->inbox) {
        buf_reset(&s->scratch);
        buf_printf(&s->scratch, "{\"inbox\":%u}", l->inbox);
        struct wire *w = buf_ok(&s->scratch)
                             ? conn_wire(s->net, l->conn, PUSH_INBOX_WAITING, 0, buf_slice(&s->scratch), WIRE_TAG_NONE)
                             : NULL;
        if (w) {
            conn_send(s->net, l->conn, w, CONN_MUST);
            wire_unref(w);
        }
    }
    session_trim(s, l->conn);
    conn_resume(s->net, l->conn);
    login_tell(l);
    login_end(l);
}

/* --- Changes to the user ------------------------------------------------------------------------------------------ */

/* On, unless messages have come while it was saved. */
static void login_counted(struct login *l)
{
    if (l->missed && l->counts < COUNTS_MAX)
        login_start(l);
    else
        login_complete(l);
}

static void login_saved(void *owner, struct store_op *op)
{
    struct login *l = OP_END(owner, op, struct login, op.save.op);
    struct shard *s = owner;
    l->busy = false;
    struct user *u = user_at(s, l->user);
    copy_changed(s, l->user, copy_version(op->status, l->op.save.version));
    bool stored = op->status == STORE_OK, first = u->state != USER_READY;
    if (!first && !l->fresh && l->epoch != u->epoch && !l->provided) {
        login_fail(l, CODE_UNAUTHORIZED, revoked); /* while it was saved */
        return;
    }
    if (!stored && !first) {
        /* Whoever comes back reads, whatever the disk does; a new name has to wait for a better moment. */
        if (u->guest)
            guest_returned(s, l->user);
        login_counted(l);
        return;
    }
    if (first && op->status == STORE_DENIED) { /* another node has made it meanwhile, and named it */
        if (slice_eq(login_name(l), login_id(l)))
            l->name_len = 0;
        login_start(l);
        return;
    }
    bool renamed = !first && l->name_len && !slice_eq(login_name(l), user_name(u));
    if (!stored || (l->name_len && user_set_name(s, l->user, login_name(l)) != 0)) {
        enum code code = stored ? CODE_INTERNAL : CODE_UNAVAILABLE;
        const char *message = stored ? "out of memory" : "the store cannot write now";
        if (first)
            fail_waiting(s, l->user, code, message);
        else
            login_fail(l, code, message);
        return;
    }
    u->guest = l->fresh;
    if (first) {
        u->epoch = l->op.save.user.epoch; /* one of that id may have been deleted before */
        copy_begin(s, l->user, l->op.save.version);
        user_ready(s, l->user);
        l->busy = true; /* start_waiting() is for the others */
        start_waiting(s, l->user);
        l->busy = false;
    }
    if (first || renamed)
        user_news_tell(s, first ? USER_MADE : USER_RENAMED, login_id(l), login_name(l));
    login_counted(l);
}

/* guest: a new user, under an id that was just made. */
static void login_save(struct login *l, bool guest)
{
    struct shard *s = l->shard;
    const struct user *u = user_at(s, l->user);
    l->op.save = (struct store_user_save){.id = login_id(l),
                                          .fresh = guest,
                                          .create = !guest && u->state != USER_READY,
                                          .user = {.epoch = u->epoch, .guest = guest},
                                          .guest_ttl_ms = s->opt->guest_ms};
    if (!l->name_len) {
        l->name_len = u->name_len;
        memcpy(l->name, user_name(u).p, u->name_len);
    }
    l->op.save.name = login_name(l);
    l->busy = true;
    op_begin(s, &l->op.save.op, login_saved);
    store_user_save(s->store, &l->op.save);
}

/* A provider vouches for a user that was never here. */
static void login_save_first(struct login *l)
{
    if (!l->name_len && value_name_reserved(login_id(l))) {
        fail_waiting(l->shard, l->user, CODE_FORBIDDEN, "the id would be the name, and it looks like the server's own");
        return;
    }
    if (!l->name_len) {
        l->name_len = l->id_len;
        memcpy(l->name, l->id, l->id_len);
    }
    login_save(l, false);
}

/* --- Known users -------------------------------------------------------------------------------------------------- */

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
    struct login *l = OP_END(owner, op, struct login, op.load.op);
    struct shard *s = owner;
    uint32_t user = l->user;
    enum store_status status = op->status;
    l->busy = false;
    l->inbox = l->op.load.inbox;
    l->version = l->op.load.version;
    l->arrivals = l->op.load.arrivals;
    l->revoked_ms = status == STORE_OK ? l->op.load.user.revoked_ms : 0;
    if (user_at(s, user)->state == USER_LOADING && status == STORE_NOTFOUND && l->provided) {
        store_user_load_free(&l->op.load);
        login_save_first(l);
        return;
    }
    if (user_at(s, user)->state == USER_LOADING && status == STORE_OK && l->stale) {
        store_user_load_free(&l->op.load);
        login_start(l);
        return;
    }
    if (user_at(s, user)->state == USER_LOADING) {
        bool taken = status == STORE_OK && resync_first(s, user, &l->op.load, l->claims);
        store_user_load_free(&l->op.load);
        if (!taken) {
            bool gone = status == STORE_NOTFOUND;
            fail_waiting(s, user, gone ? CODE_UNAUTHORIZED : CODE_UNAVAILABLE,
                         gone ? unknown : "the store cannot read now");
            return;
        }
        l->busy = true; /* start_waiting() is for the others */
        start_waiting(s, user);
        l->busy = false;
    } else {
        if (s->bus && status == STORE_OK && user_at(s, user)->state == USER_READY)
            roam_loaded(l);
        store_user_load_free(&l->op.load);
    }
    if (status == STORE_NOTFOUND && l->placed) /* deleted on another node meanwhile */
        login_fail(l, CODE_UNAUTHORIZED, unknown);
    else if (status != STORE_OK)
        login_fail(l, CODE_UNAVAILABLE, "the store cannot read now");
    else if (l->missed && l->counts < COUNTS_MAX)
        login_start(l);
    else
        login_check(l);
}

/* The user is loaded and the inbox is counted: does the token still hold, and what does the login change? */
static void login_check(struct login *l)
{
    struct user *u = user_at(l->shard, l->user);
    bool old = l->provided ? l->issued_ms && l->issued_ms < l->revoked_ms : l->epoch != u->epoch;
    if (old)
        login_fail(l, CODE_UNAUTHORIZED, revoked);
    else if (u->guest || (l->name_len && !slice_eq(login_name(l), user_name(u))))
        login_save(l, false);
    else
        login_complete(l);
}

void login_start(struct login *l)
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
    l->missed = l->stale = false;
    l->counts++;
    if (s->bus)
        roam_load(l);
    l->op.load = (struct store_user_load){.id = login_id(l)};
    l->busy = true;
    op_begin(s, &l->op.load.op, login_loaded);
    store_user_load(s->store, &l->op.load);
}

void login_missed(struct shard *s, uint32_t user)
{
    for (struct login *l = user_at(s, user)->waiting; l; l = l->next)
        l->missed = true;
}

void login_stale(struct shard *s, uint32_t user)
{
    for (struct login *l = user_at(s, user)->waiting; l; l = l->next)
        l->stale = true;
}

uint32_t login_kick(struct shard *s, uint32_t user, struct slice message)
{
    char text[512];
    uint32_t n = 0, next;
    snprintf(text, sizeof text, "%.*s", (int)(message.n < sizeof text ? message.n : sizeof text - 1),
             message.p ? message.p : "");
    const char *why = text[0] ? text : NULL;
    user_pin(s, user);
    for (uint32_t c = user_at(s, user)->first_conn; c != NONE; c = next, n++) {
        next = conn_at(s->net, c)->user_next;
        conn_close(s->net, c, CLOSE_KICKED, why, 0);
    }
    for (const struct login *l = user_at(s, user)->waiting; l; l = l->next) {
        const struct conn *k = conn_find(s->net, l->conn, l->generation);
        if (!k || k->flags & CONN_F_CLOSING)
            continue;
        conn_close(s->net, l->conn, CLOSE_KICKED, why, 0); /* the login finds it closing, and ends */
        n++;
    }
    user_unpin(s, user);
    return n;
}

void login_retry(struct shard *s, uint32_t user)
{
    struct user *u = user_at(s, user);
    u->state = USER_LOADING;
    if (u->waiting)
        login_start(u->waiting);
}

void login_unhold(struct shard *s, uint32_t user)
{
    user_ready(s, user);
    start_waiting(s, user);
}

/* --- The move to the user's shard --------------------------------------------------------------------------------- */

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
    struct session *x = conn_at(s->net, l->conn)->session;
    session_free(x);
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

/* --- Which way it goes -------------------------------------------------------------------------------------------- */

/* An id whose owner is this shard, so that the connection need not move. */
static void login_fresh_id(struct shard *s, struct login *l)
{
    user_id_new(&s->new_ids, l->id);
    l->id_len = USER_ID_SIZE;
    while (shard_of(s->hub, login_id(l)) != s)
        user_id_again(&s->new_ids, l->id);
}

static void login_new_user(struct login *l)
{
    struct shard *s = l->shard;
    login_fresh_id(s, l);
    l->user = user_new(s, login_id(l));
    if (l->user == NONE) {
        login_fail(l, CODE_INTERNAL, "out of memory");
        return;
    }
    user_pin(s, l->user);
    user_at(s, l->user)->waiting = l;
    login_save(l, true);
}

/* It is known who it is: on to that user's shard. */
void login_go(struct login *l)
{
    if (login_banned(l))
        return;
    struct shard *s = l->shard, *to = l->fresh ? s : shard_of(s->hub, login_id(l));
    if (to != s)
        login_move(l, to);
    else if (l->fresh)
        login_new_user(l);
    else
        login_start(l);
}
