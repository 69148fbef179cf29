#include "core/base/buf.h"
#include "core/base/log.h"
#include "core/base/push.h"
#include "core/base/utf8.h"
#include "core/net/conn_private.h"
#include "core/net/counts_private.h"
#include "core/net/http_conn_private.h"
#include "core/net/input_private.h"
#include "core/net/net_private.h"
#include "core/net/net_shared.h"
#include "core/net/net_shared_private.h"
#include "core/net/proxy_conn_private.h"
#include "core/net/send_private.h"
#include "core/net/shake_private.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What each reason is called, and its WebSocket close code (0: given by the case, or none). */
static const struct {
    const char *name;
    uint16_t code;
} reasons[] = {
    [CLOSE_KICKED] = {"kicked", WS_CODE_POLICY},     [CLOSE_SHUTDOWN] = {"shutdown", WS_CODE_GOING_AWAY},
    [CLOSE_SLOW] = {"slow", WS_CODE_POLICY},         [CLOSE_IDLE] = {"idle", WS_CODE_POLICY},
    [CLOSE_REPLACED] = {"replaced", WS_CODE_POLICY}, [CLOSE_PROTOCOL] = {"protocol", WS_CODE_PROTOCOL},
    [CLOSE_LOGOUT] = {"logout", WS_CODE_NORMAL},     [CLOSE_PEER] = {"peer", 0},
};

static const unsigned owner_flags = CONN_F_READY | CONN_F_PINGS | CONN_F_MERGE | CONN_F_PACKED | CONN_F_TRACE;

const char *close_reason_name(enum close_reason reason)
{
    return (unsigned)reason < sizeof reasons / sizeof *reasons ? reasons[reason].name : "?";
}

bool conn_is_secure(const struct conn *c)
{
    return c->stream == STREAM_TLS || c->stream == STREAM_TLS_WEB;
}

const char *conn_transport_name(bool websocket, bool secure)
{
    return websocket ? secure ? "wss" : "websocket" : secure ? "tcps" : "tcp";
}

/* --- Finding ------------------------------------------------------------------------------------------------------ */

struct conn *conn_at(const struct net *net, uint32_t conn)
{
    return conn_ptr(net, conn);
}

struct conn *conn_find(const struct net *net, uint32_t conn, uint32_t generation)
{
    struct conn *c = pool_find(&net->conns, conn);
    return c && c->generation == generation ? c : NULL;
}

uint32_t net_next(const struct net *net, uint32_t from)
{
    return pool_next(&net->conns, from);
}

void conn_peer(const struct net *net, uint32_t conn, char *out, size_t size)
{
    const struct conn *c = conn_ptr(net, conn);
    struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof a;
    struct address address;
    if (shared_named(net->shared, c->ip_slot, &address, NULL))
        address_print(&address, out, size);
    else if (getpeername(c->fd, (struct sockaddr *)&a, &n) != 0)
        snprintf(out, size, "?");
    else if (address_of((const struct sockaddr *)&a, &address))
        address_print(&address, out, size);
    else
        snprintf(out, size, a.ss_family == AF_UNIX ? "unix" : "?");
}

/* Whether a proxy that is believed may still say for whom it speaks. */
static bool awaits_name(const struct net *net, const struct conn *c, const struct sockaddr *peer)
{
    bool later = c->state == CONN_ST_SHAKE && c->transport == CONN_WEBSOCKET;
    return (c->state == CONN_ST_PROXY || later || (c->state == CONN_ST_HEAD && c->http_need == CONN_NONE)) &&
           proxy_trusts(net, peer);
}

uint32_t conn_ip_slot(struct net *net, struct conn *c)
{
    struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
    const struct sockaddr *peer = (const struct sockaddr *)&a;
    socklen_t n = sizeof a;
    if (c->ip_slot == IP_SLOT_NONE && getpeername(c->fd, (struct sockaddr *)&a, &n) == 0 && !awaits_name(net, c, peer))
        (void)shared_ip_add(net->shared, peer, UINT32_MAX, &c->ip_slot);
    return c->ip_slot;
}

void conn_renamed(struct net *net, struct conn *c, uint32_t ip_slot)
{
    conn_release_held(net, c); /* which is on the account of the address before */
    shared_ip_remove(net->shared, c->ip_slot);
    c->ip_slot = ip_slot;
}

/* --- Birth and flags ---------------------------------------------------------------------------------------------- */

static uint32_t wanted_events(const struct conn *c)
{
    if (c->state == CONN_ST_PROXY)
        return (uint32_t)EPOLLIN | (uint32_t)EPOLLRDHUP | (uint32_t)EPOLLET;
    /* A muted one keeps edge-triggered HUP and ERR: reported once, and no spinning. */
    return (c->inner & CONN_I_MUTED ? (uint32_t)EPOLLET : (uint32_t)EPOLLIN) |
           (c->flags & CONN_F_WRITABLE ? (uint32_t)EPOLLOUT : 0U);
}

void conn_interest(struct net *net, uint32_t idx, struct conn *c)
{
    struct epoll_event e = {.events = wanted_events(c), .data.u64 = (uint64_t)c->generation << 32 | idx};
    int rc = epoll_ctl(net->epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
    (void)SURELY(rc == 0);
}

enum conn_state conn_first_state(const struct net *net, const struct conn *c)
{
    return conn_stream(net, c)->hear ? CONN_ST_SHAKE : c->transport == CONN_WEBSOCKET ? CONN_ST_HEAD : CONN_ST_OPEN;
}

uint32_t conn_new(struct net *net, int fd, enum conn_transport transport, uint8_t stream)
{
    uint32_t idx = pool_alloc(&net->conns);
    if (idx == POOL_NONE)
        return CONN_NONE;
    struct conn *c = conn_ptr(net, idx);
    if (++net->generation == 0) /* which names the listening sockets in the epoll set */
        net->generation++;
    *c = (struct conn){.fd = fd,
                       .generation = net->generation,
                       .user = CONN_NONE,
                       .user_next = CONN_NONE,
                       .timer = WHEEL_NODE_INIT,
                       .heard = net->tick,
                       .ip_slot = IP_SLOT_NONE,
                       .transport = (uint8_t)transport,
                       .stream = stream,
                       .form = transport == CONN_WEBSOCKET ? WIRE_WS_BINARY : WIRE_TCP};
    c->state = (uint8_t)conn_first_state(net, c);
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)c->generation << 32 | idx};
    if (epoll_ctl(net->epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0) {
        pool_free(&net->conns, idx);
        return CONN_NONE;
    }
    return idx;
}

void conn_tell_opened(struct net *net, uint32_t idx, struct conn *c)
{
    c->inner |= CONN_I_OPENED;
    net->ops->opened(net->owner, idx);
}

void conn_set(struct net *net, uint32_t conn, unsigned flags)
{
    struct conn *c = conn_ptr(net, conn);
    unsigned fresh = flags & owner_flags & ~c->flags;
    if (c->transport == CONN_WEBSOCKET) /* which has agreed, or not, at the upgrade */
        fresh &= ~(unsigned)CONN_F_PACKED;
    c->flags |= (uint16_t)fresh;
    if (fresh & CONN_F_PACKED && c->form == WIRE_TCP)
        c->form = WIRE_TCP_GZIP;
    if (fresh & CONN_F_READY) {
        c->heard = net->tick;
        conn_release_early(net, c);
        conn_release_held(net, c);
    }
    if (fresh & (CONN_F_READY | CONN_F_PINGS) && !(c->flags & CONN_F_CLOSING))
        conn_arm(net, conn, c);
}

void conn_clear(struct net *net, uint32_t conn, unsigned flags)
{
    struct conn *c = conn_ptr(net, conn);
    unsigned gone = flags & owner_flags & ~(unsigned)CONN_F_PACKED & c->flags;
    c->flags &= (uint16_t)~gone;
    if (gone & (CONN_F_READY | CONN_F_PINGS) && !(c->flags & CONN_F_CLOSING))
        conn_arm(net, conn, c);
}

/* --- Timeouts ----------------------------------------------------------------------------------------------------- */

/* Ticks after `heard` at which something must happen; 0: nothing. A timeout of n seconds is n + 1 ticks, since the tick
 * of `heard` had begun. */
static uint32_t due_after(const struct net *net, const struct conn *c)
{
    uint32_t idle = net->limits.idle_timeout, ping = net->limits.ping_timeout;
    if (c->flags & CONN_F_CLOSING)
        return c->state != CONN_ST_DRAIN ? LINGER_TICKS : c->inner & CONN_I_HTTP ? DRAIN_TICKS_HTTP : DRAIN_TICKS;
    if (c->state == CONN_ST_SHAKE)
        return (net->limits.login_timeout && net->limits.login_timeout < SHAKE_SECONDS ? net->limits.login_timeout
                                                                                       : SHAKE_SECONDS) +
               1;
    if (c->state == CONN_ST_ASKED)
        return ANSWER_TICKS;
    if (c->inner & CONN_I_ENDED)
        return ENDED_TICKS;
    if (c->inner & CONN_I_REFUSED)
        return LINGER_TICKS;
    if (!(c->flags & CONN_F_READY))
        return net->limits.login_timeout ? net->limits.login_timeout + 1 : 0;
    if (c->transport == CONN_WEBSOCKET && ping && !(c->flags & CONN_F_PROBED))
        return idle && ping >= idle ? idle : ping + 1;
    return idle && (c->transport == CONN_WEBSOCKET || c->flags & CONN_F_PINGS) ? idle + 1 : 0;
}

/* The tick of that. Counted from now: `heard` may lie before this net's first tick when the connection came from
 * another net. */
static uint64_t due_tick(const struct net *net, const struct conn *c, uint32_t after)
{
    uint32_t ago = net->tick - c->heard;
    return net->tick + (uint64_t)(after > ago ? after - ago : 0);
}

void conn_arm(struct net *net, uint32_t idx, struct conn *c)
{
    uint32_t after = due_after(net, c);
    if (after)
        wheel_set(&net->wheel, idx, due_tick(net, c, after));
    else
        wheel_cancel(&net->wheel, idx);
}

/* Asks a silent WebSocket whether it is there; returns when it is looked at again. Who is never closed for silence is
 * asked again and again: a proxy between us would cut the connection. */
static uint64_t probe(struct net *net, uint32_t idx, struct conn *c)
{
    if (net->limits.idle_timeout)
        c->flags |= CONN_F_PROBED;
    if (!(c->flags & CONN_F_WRITABLE)) {
        uint8_t ping[127];
        conn_push_raw(net, idx, c, slice_of(ping, ws_control_frame(ping, WS_PING, SLICE_NONE)));
    }
    /* Whoever answers is to be asked again in time, and nothing but this looks. */
    uint64_t next = net->tick + (uint64_t)net->limits.ping_timeout + 1, end = due_tick(net, c, due_after(net, c));
    return c->flags & CONN_F_PROBED && end < next ? end : next;
}

uint64_t conn_due(void *ctx, uint32_t idx)
{
    struct net *net = ctx;
    struct conn *c = conn_ptr(net, idx);
    uint32_t after = due_after(net, c);
    if (!after)
        return 0;
    if (net->tick - c->heard < after)
        return due_tick(net, c, after);
    if (c->flags & CONN_F_CLOSING || c->inner & CONN_I_REFUSED) {
        conn_finish(net, idx);
        return 0;
    }
    if (c->inner & CONN_I_ENDED) {
        conn_hang_up(net, idx, WS_CODE_NONE);
        return 0;
    }
    if (c->flags & CONN_F_READY && c->transport == CONN_WEBSOCKET && net->limits.ping_timeout &&
        !(c->flags & CONN_F_PROBED))
        return probe(net, idx, c);
    conn_end(net, idx, CLOSE_IDLE, WS_CODE_POLICY, c->flags & CONN_F_READY ? NULL : "no login in time", 0);
    return 0;
}

/* --- Closing ------------------------------------------------------------------------------------------------------ */

static struct slice closing_body(struct buf *b, enum close_reason reason, const char *message, uint32_t retry_after_ms)
{
    buf_lit(b, "{\"reason\":\"");
    buf_str(b, reasons[reason].name);
    buf_lit(b, "\"");
    if (message) {
        buf_lit(b, ",\"message\":");
        buf_json_string(b, utf8_prefix(slice_str(message))); /* it may have been cut */
    }
    if (retry_after_ms) {
        buf_lit(b, ",\"retryAfter\":");
        buf_dec(b, retry_after_ms);
    }
    buf_lit(b, "}");
    return buf_ok(b) ? buf_slice(b) : SLICE_NONE;
}

static void say_goodbye(struct net *net, uint32_t idx, struct conn *c, enum close_reason reason, uint16_t ws_code,
                        const char *message, uint32_t retry_after_ms)
{
    bool raw = c->flags & CONN_F_RAW;
    if (reason <= CLOSE_PROTOCOL) {
        struct buf b = BUF_INIT;
        conn_push_frame(net, idx, c, PUSH_CLOSING, closing_body(&b, reason, message, retry_after_ms));
        buf_free(&b);
    }
    if (c->transport == CONN_WEBSOCKET && ws_code) {
        uint8_t frame[127];
        conn_push_raw(net, idx, c,
                      slice_of(frame, ws_close_frame(frame, ws_code, raw ? slice_str(message) : SLICE_NONE)));
    }
}

/* From here on nothing is sent any more but what is queued, and nothing delivered. */
static void begin_drain(struct net *net, uint32_t idx, struct conn *c)
{
    c->state = CONN_ST_DRAIN;
    c->flags &= (uint16_t) ~(CONN_F_PAUSED | CONN_F_SOFT);
    c->heard = net->tick;
    conn_arm(net, idx, c);
    conn_dirty(net, idx, c);
    if (c->inner & CONN_I_DEAF)
        conn_drop_input(net, c);
    conn_schedule(net, idx, c);
}

void conn_end_http(struct net *net, uint32_t idx, struct conn *c)
{
    count_unopened(net, c);
    c->flags |= CONN_F_CLOSING;
    c->reason = CLOSE_PEER;
    c->inner |= CONN_I_DEAF;
    begin_drain(net, idx, c);
}

static void tell_closing(struct net *net, uint32_t idx, struct conn *c)
{
    if (c->inner & CONN_I_OPENED && !(c->inner & CONN_I_CLOSING)) {
        c->inner |= CONN_I_CLOSING;
        count_closed(net, c);
        conn_uncharge(net, idx, c, false);
        net->ops->closing(net->owner, idx, (enum close_reason)c->reason);
    }
}

/* Ends without a word, in the next flush. */
static void die(struct net *net, uint32_t idx, struct conn *c)
{
    count_unopened(net, c);
    shake_forget(net, idx, c);
    c->flags = (uint16_t)((c->flags & ~(CONN_F_PAUSED | CONN_F_SOFT)) | CONN_F_CLOSING);
    c->reason = CLOSE_PEER;
    c->inner |= CONN_I_DEAF;
    c->state = CONN_ST_DEAD;
    conn_dirty(net, idx, c);
}

void conn_end(struct net *net, uint32_t idx, enum close_reason reason, uint16_t ws_code, const char *message,
              uint32_t retry_after_ms)
{
    struct conn *c = conn_ptr(net, idx);
    if (c->flags & CONN_F_CLOSING)
        return;
    if (c->state == CONN_ST_PROXY) { /* nothing may be said before the proxy has introduced its client */
        die(net, idx, c);
        return;
    }
    if (c->state == CONN_ST_SHAKE) {
        log_event(LOG_DEBUG, "tls.refused",
                  LOG_STR("because", reason == CLOSE_IDLE ? "no handshake in time" : "closing"));
        die(net, idx, c);
        return;
    }
    if (c->state == CONN_ST_HEAD && c->inner & CONN_I_HTTP && !c->in) {
        conn_end_http(net, idx, c); /* it was answered, and asks nothing any more */
        return;
    }
    if (c->state == CONN_ST_HEAD || c->state == CONN_ST_ASKED) {
        http_refuse(net, idx, c, reason != CLOSE_IDLE ? 503 : c->state == CONN_ST_ASKED ? 504 : 408);
        return;
    }
    if (c->out) {
        net->queued -= c->out->bytes;
        if (reason == CLOSE_SLOW)
            outq_drop(c->out);
        else if (reason == CLOSE_KICKED) /* who is banned gets nothing more of any channel */
            outq_purge_all(c->out);
        net->queued += c->out->bytes;
    }
    c->flags |= CONN_F_CLOSING;
    c->reason = (uint8_t)reason;
    if (c->transport == CONN_TCP || !ws_code)
        c->inner |= CONN_I_DEAF;
    say_goodbye(net, idx, c, reason, ws_code, message, retry_after_ms);
    begin_drain(net, idx, c);
    tell_closing(net, idx, c);
}

void conn_close(struct net *net, uint32_t conn, enum close_reason reason, const char *message, uint32_t retry_after_ms)
{
    struct conn *c = conn_ptr(net, conn);
    if (c->flags & CONN_F_CLOSING)
        return;
    if (reason == CLOSE_PEER) {
        die(net, conn, c);
        tell_closing(net, conn, c);
        return;
    }
    conn_end(net, conn, reason, reasons[reason].code, message, retry_after_ms);
}

void conn_close_raw(struct net *net, uint32_t conn, uint16_t code, struct slice reason)
{
    char text[124];
    size_t n = reason.n < sizeof text ? reason.n : sizeof text - 1;
    while (n < reason.n && n > 0 && ((uint8_t)reason.p[n] & 0xC0) == 0x80) /* not in the midst of a character */
        n--;
    if (n)
        memcpy(text, reason.p, n);
    text[n] = '\0';
    conn_end(net, conn, CLOSE_LOGOUT, code, text, 0);
}

bool conn_ended(struct net *net, uint32_t idx, struct conn *c, uint16_t code, bool eof)
{
    if (c->state != CONN_ST_OPEN || c->flags & (CONN_F_CLOSING | CONN_F_RAW) || !net->ops->ended ||
        !net->ops->ended(net->owner, idx, code))
        return false;
    c->inner |= CONN_I_ENDED | CONN_I_DEAF | (eof ? CONN_I_EOF | CONN_I_MUTED : 0);
    c->flags &= (uint16_t)~CONN_F_PROBED;
    c->heard = net->tick;
    conn_drop_input(net, c);
    conn_arm(net, idx, c);
    if (eof)
        conn_interest(net, idx, c);
    return true;
}

void conn_hang_up(struct net *net, uint32_t conn, uint16_t code)
{
    struct conn *c = conn_ptr(net, conn);
    if (!(c->inner & CONN_I_ENDED) || c->flags & CONN_F_CLOSING)
        return;
    c->inner &= (uint8_t)~CONN_I_ENDED;
    conn_end(net, conn, CLOSE_PEER, code, NULL, 0);
}

void conn_protocol_error(struct net *net, uint32_t idx, uint16_t ws_code, const char *code, const char *message)
{
    struct conn *c = conn_ptr(net, idx);
    if (c->flags & CONN_F_CLOSING) {
        c->inner |= CONN_I_DEAF;
        conn_dirty(net, idx, c);
        return;
    }
    *(strcmp(code, "too_large") == 0 ? &net->counts.oversized : &net->counts.unframed) += 1;
    struct buf b = BUF_INIT;
    buf_printf(&b, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    buf_json_string(&b, slice_str(message));
    buf_lit(&b, "}}");
    if (buf_ok(&b))
        conn_push_frame(net, idx, c, 0, buf_slice(&b));
    buf_free(&b);
    conn_end(net, idx, CLOSE_PROTOCOL, ws_code, message, 0);
}

void conn_drained_closing(struct net *net, uint32_t idx, struct conn *c)
{
    if (c->state == CONN_ST_DEAD) {
        conn_finish(net, idx);
        return;
    }
    if (c->state == CONN_ST_LINGER)
        return;
    if (!(c->inner & CONN_I_DEAF)) {
        if (c->state == CONN_ST_AWAIT)
            return;
        c->state = CONN_ST_AWAIT;
    } else {
        /* Closing now could reset the connection and take the last words away from the other side. */
        if (c->inner & CONN_I_EOF) {
            conn_say_end(net, c);
            conn_finish(net, idx);
            return;
        }
        if (conn_stream(net, c)->shutdown(conn_stream(net, c), c->fd) != 0) {
            conn_finish(net, idx);
            return;
        }
        c->state = CONN_ST_LINGER;
    }
    c->heard = net->tick;
    conn_arm(net, idx, c);
}

/* --- The end ------------------------------------------------------------------------------------------------------ */

void conn_say_end(struct net *net, const struct conn *c)
{
    const struct stream *stream = conn_stream(net, c);
    if (stream->hear && c->state != CONN_ST_SHAKE)
        (void)stream->shutdown(stream, c->fd);
}

void conn_lost(struct net *net, uint32_t idx)
{
    struct conn *c = conn_ptr(net, idx);
    /* A peer that only half-closed may still read what was said before. */
    if (c->out)
        (void)!conn_write(net, c);
    if (!c->out || !c->out->bytes)
        conn_say_end(net, c);
    conn_finish(net, idx);
}

static void leave(struct net *net, uint32_t idx, struct conn *c)
{
    wheel_cancel(&net->wheel, idx);
    net->blocked -= c->flags & CONN_F_WRITABLE ? 1 : 0;
    if (net->cur.conn == idx)
        net->cur.gone = true;
    if (c->inner & CONN_I_REFUSED)
        net->waiting--;
    pool_free(&net->conns, idx);
}

void conn_finish(struct net *net, uint32_t idx)
{
    struct conn *c = conn_ptr(net, idx);
    uint32_t generation = c->generation;
    if (!(c->flags & CONN_F_CLOSING)) {
        count_unopened(net, c);
        c->flags |= CONN_F_CLOSING;
        c->reason = CLOSE_PEER;
    }
    if (c->inner & CONN_I_OPENED) {
        net->called = true;
        c->state = CONN_ST_DEAD;
        tell_closing(net, idx, c);
        c = conn_find(net, idx, generation);
        if (!c)
            return;
        if (c->inner & CONN_I_OPENED) {
            c->inner &= (uint8_t)~CONN_I_OPENED;
            net->ops->closed(net->owner, idx, (enum close_reason)c->reason);
        }
        c = conn_find(net, idx, generation);
        if (!c)
            return;
    }
    conn_drop_output(net, idx, c);
    conn_drop_input(net, c);
    shake_forget(net, idx, c);
    conn_stream(net, c)->close(conn_stream(net, c), c->fd);
    if (!(c->inner & CONN_I_REFUSED))
        shared_connection_remove(net->shared);
    shared_ip_remove(net->shared, c->ip_slot);
    leave(net, idx, c);
}

/* --- Moving ------------------------------------------------------------------------------------------------------- */

/* In its own message callback: what follows the message goes along in a buffer of its own. */
static int take_rest(struct net *net, struct conn *c)
{
    if (!net->cur.rest_n)
        return 0;
    struct inbuf *in = inbuf_new(net->cur.rest_n);
    if (!in)
        return ERR_NOMEM;
    memcpy(in->data, net->cur.rest, net->cur.rest_n);
    in->end = (uint32_t)net->cur.rest_n;
    c->in = in;
    return 0;
}

int conn_detach(struct net *net, uint32_t conn, struct conn_record *r)
{
    struct conn *c = conn_ptr(net, conn);
    bool parsing = net->cur.conn == conn && !net->cur.gone;
    if (c->flags & CONN_F_CLOSING)
        return ERR_CLOSED;
    gather_clear(&net->gather);
    if (c->out && !outq_exclusive(c->out))
        return ERR_AGAIN;
    conn_uncharge(net, conn, c, true);
    if (parsing) {
        if (take_rest(net, c) != 0)
            return ERR_NOMEM;
    } else if (c->in) {
        net->inbuf_memory -= c->in->cap;
        conn_release_early(net, c);
    }
    conn_release_held(net, c);
    epoll_ctl(net->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    if (c->out) {
        net->queued -= c->out->bytes;
        net->outqs.memory -= outq_memory(c->out);
    }
    *r = (struct conn_record){.fd = c->fd,
                              .heard_ago = net->tick - c->heard,
                              .ip_slot = c->ip_slot,
                              .flags = c->flags & (uint16_t) ~(CONN_F_DIRTY | CONN_F_WRITABLE | CONN_F_RESUME),
                              .transport = c->transport,
                              .state = c->state,
                              .form = c->form,
                              .stream = c->stream,
                              .row = conn_stream(net, c),
                              .in = c->in,
                              .out = c->out};
    leave(net, conn, c);
    return 0;
}

uint32_t conn_attach(struct net *net, const struct conn_record *r)
{
    uint32_t idx = conn_new(net, r->fd, (enum conn_transport)r->transport, r->stream);
    if (idx == CONN_NONE) {
        conn_record_discard(net->shared, r);
        return CONN_NONE;
    }
    struct conn *c = conn_ptr(net, idx);
    c->heard = net->tick - r->heard_ago;
    c->ip_slot = r->ip_slot;
    c->flags = r->flags | CONN_F_PAUSED;
    c->state = r->state;
    c->form = r->form;
    c->inner = CONN_I_OPENED;
    c->in = r->in;
    c->out = r->out;
    if (c->in)
        net->inbuf_memory += c->in->cap;
    if (c->out) {
        net->queued += c->out->bytes;
        net->outqs.memory += outq_memory(c->out);
        conn_dirty(net, idx, c);
    }
    conn_arm(net, idx, c);
    return idx;
}

void conn_record_discard(struct net_shared *shared, const struct conn_record *r)
{
    struct outq_pool none = {.free = NULL};
    r->row->close(r->row, r->fd);
    free(r->in);
    if (r->out) {
        none.memory = outq_memory(r->out);
        outq_put(&none, r->out);
        outq_pool_fini(&none);
    }
    shared_connection_remove(shared);
    shared_ip_remove(shared, r->ip_slot);
}
