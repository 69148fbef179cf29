#include "core/hub/door.h"

#include "core/base/frame.h"
#include "core/base/log_security.h"
#include "core/base/push.h"
#include "core/base/random.h"
#include "core/hub/act/login.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/ban.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/req.h"
#include "core/hub/people/session.h"
#include "core/hub/people/trace.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/hook.h"
#include "core/hub/registry/route.h"
#include "core/hub/shard/shard.h"
#include "core/net/send.h"

static void on_opened(void *owner, uint32_t conn)
{
    struct shard *s = owner;
    figure_add(&s->figures.opened, 1);
    if (s->bans) {
        char ip[64];
        conn_peer(s->net, conn, ip, sizeof ip);
        if (ban_ip(s, ip)) {
            security_event("connection.refused", LOG_STR("ip", ip), LOG_STR("because", "this address is banned"));
            conn_close(s->net, conn, CLOSE_KICKED, "this address is banned", 0);
            return;
        }
    }
    if (conn_at(s->net, conn)->flags & CONN_F_RAW) {
        upgrades_opened(s, conn);
        return;
    }
    if (hooks_any(s, HOOK_CONNECT)) {
        char ip[64];
        conn_peer(s->net, conn, ip, sizeof ip);
        struct hook_call h = {.shard = s,
                              .conn = conn,
                              .ip = slice_str(ip),
                              .websocket = conn_at(s->net, conn)->transport == CONN_WEBSOCKET,
                              .secure = conn_is_secure(conn_at(s->net, conn))};
        uint32_t generation = conn_at(s->net, conn)->generation;
        bool refused = hooks_run(HOOK_CONNECT, &h) == HOOK_REJECT;
        if (refused)
            security_event("connection.refused", LOG_STR("ip", ip), LOG_STR("because", h.message));
        if (refused)
            conn_close(s->net, conn, CLOSE_KICKED, h.message, 0);
        if (!conn_find(s->net, conn, generation))
            return;
    }
    if (s->draining || s->halted & HALT_ISOLATED)
        conn_close(s->net, conn, CLOSE_SHUTDOWN, NULL, 1 + random_below(s->drain_spread_ms + 1));
}

static enum conn_verdict on_message(void *owner, uint32_t conn, const struct net_message *m)
{
    struct shard *s = owner;
    if (__builtin_expect(conn_at(s->net, conn)->flags & CONN_F_RAW, 0)) {
        upgrades_message(s, conn, m->text, m->body);
        return CONN_CONTINUE;
    }
    if (__builtin_expect(s->halted, 0)) {
        if (!(s->halted & HALT_ISOLATED))
            return req_keep(s, conn, m);
        conn_close(s->net, conn, CLOSE_SHUTDOWN, NULL, 1 + random_below(s->drain_spread_ms + 1));
        return CONN_CONTINUE;
    }
    atomic_fetch_add_explicit(&s->requests, 1, memory_order_relaxed);
    if (conn_at(s->net, conn)->flags & CONN_F_TRACE)
        trace_message(s, conn, m);
    return dispatch(s, conn, m);
}

/* In steps of a page, see net_ops.unsent. Over the limit no more is let in, so that 16 bits are enough:
 * limits.output_per_user is at most half of what they count. */
enum { USER_PAGE = 4096 };

static uint32_t on_unsent(void *owner, uint32_t conn, int32_t bytes)
{
    struct shard *s = owner;
    uint32_t user = conn_at(s->net, conn)->user, limit = s->opt->output_per_user;
    if (user == NONE)
        return UINT32_MAX;
    struct user *u = user_at(s, user);
    u->unsent = (uint16_t)(u->unsent + bytes / USER_PAGE);
    return limit && (uint32_t)u->unsent * USER_PAGE > limit ? 0 : UINT32_MAX;
}

static bool on_ended(void *owner, uint32_t conn, uint16_t code)
{
    struct shard *s = owner;
    struct session *x = conn_at(s->net, conn)->session;
    if (!x || !x->inflight)
        return false;
    x->ended = true;
    x->end_code = code;
    return true;
}

static void on_closing(void *owner, uint32_t conn, enum close_reason reason)
{
    struct shard *s = owner;
    (void)reason;
    const struct conn *k = conn_at(s->net, conn);
    if (k->flags & CONN_F_RAW) {
        upgrades_closing(s, conn);
        return;
    }
    if (k->flags & CONN_F_TRACE)
        trace_close(s, conn);
    if (hooks_any(s, HOOK_CLOSE)) {
        struct hook_call h = {.shard = s, .conn = conn, .message = close_reason_name(reason)};
        if (k->user != NONE) {
            user_pin(s, k->user);
            h.user = user_id(user_at(s, k->user));
            h.user_name = user_name(user_at(s, k->user));
            h.claims = grant_claims(s, conn);
        }
        uint32_t user = k->user;
        hooks_run(HOOK_CLOSE, &h);
        if (user != NONE)
            user_unpin(s, user);
    }
    user_remove_conn(s, conn);
}

static void on_closed(void *owner, uint32_t conn, enum close_reason reason)
{
    struct shard *s = owner;
    (void)reason;
    user_remove_conn(s, conn);
    struct session *x = conn_at(s->net, conn)->session;
    if (x && x->login)
        login_abandon(x->login);
    session_free(x);
    conn_at(s->net, conn)->session = NULL;
    grant_drop(s, conn);
}

/* Channel pushes were skipped and now there is room: tell the client where it stands, so that it pulls. */
static void on_drained(void *owner, uint32_t conn, const uint32_t *tags, uint32_t n)
{
    struct shard *s = owner;
    for (uint32_t i = 0; i < n; i++) {
        const struct chan *ch = pool_find(&s->chans, tags[i]);
        uint32_t user = conn_at(s->net, conn)->user;
        if (!ch || user == NONE || sub_find(s, user, tags[i]) == NONE)
            continue;
        struct buf *b = &s->scratch;
        buf_reset(b);
        encode_behind(b, ch, ch->last_seq);
        struct wire *w = buf_ok(b) ? conn_wire(s->net, conn, PUSH_BEHIND, 0, buf_slice(b), tags[i]) : NULL;
        if (!w)
            continue;
        conn_send(s->net, conn, w, CONN_MUST);
        wire_unref(w);
    }
}

const struct net_ops hub_door = {.opened = on_opened,
                                 .message = on_message,
                                 .closed = on_closed,
                                 .closing = on_closing,
                                 .ended = on_ended,
                                 .unsent = on_unsent,
                                 .claim = upgrades_claim,
                                 .claim_limit = upgrades_limit,
                                 .http_wanted = routes_wanted,
                                 .http = routes_serve,
                                 .drained = on_drained,
                                 .traced = trace_wire};
