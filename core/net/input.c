/*
 * Reading and parsing. One recv() per readiness event, behind what is kept of the connection, then all complete
 * messages in place.
 *
 * While a connection is being parsed its inbuf is off the connection (conn.in is NULL) and owned by parse(); net->cur
 * tells callbacks what they may need.
 */
#include "core/net/input.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/net/conn_private.h"
#include "core/net/counts_private.h"
#include "core/net/http_conn_private.h"
#include "core/net/input_private.h"
#include "core/net/net_private.h"
#include "core/net/net_shared.h"
#include "core/net/net_shared_private.h"
#include "core/net/proxy.h"
#include "core/net/proxy_conn_private.h"
#include "core/net/send_private.h"
#include "core/net/shake_private.h"
#include "core/net/tcp.h"
#include "core/net/websocket_conn_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>

/* On top of a message there may be the header of its next frame, or a control frame between two of them. */
enum { KEEP_SLACK = 256 };

static enum holder holder_of(const struct conn *c)
{
    return c->flags & CONN_F_RAW ? HOLDER_CLAIMED : HOLDER_EARLY;
}

/* One message at its largest always fits, unfinished or not read: without that a path could not do what it is for. */
static uint64_t with_room(const struct net *net, const struct conn *c, uint64_t limit)
{
    uint64_t most =
        c->flags & CONN_F_RAW ? (uint64_t)net->limits.output_queue + conn_frame_limit(net, c) + KEEP_SLACK : 0;
    return limit && limit < most ? most : limit;
}

bool conn_hold(struct net *net, struct conn *c, uint32_t n)
{
    /* That of a claimed path is looked for once, at the upgrade: its input and its output are given back apart. */
    uint32_t slot = c->flags & CONN_F_RAW ? c->ip_slot : conn_ip_slot(net, c);
    return shared_held_add(net->shared, holder_of(c), slot, n, with_room(net, c, net->limits.early_total),
                           with_room(net, c, net->limits.early_per_ip));
}

void conn_let_go(struct net *net, const struct conn *c, uint32_t n)
{
    if (n)
        shared_held_remove(net->shared, holder_of(c), c->ip_slot, n);
}

void conn_release_early(struct net *net, struct conn *c)
{
    if (c->in) {
        conn_let_go(net, c, c->in->early);
        c->in->early = 0;
    }
}

/* Takes what is kept off the connection. NULL: nothing is. */
static struct inbuf *take_input(struct net *net, struct conn *c)
{
    struct inbuf *in = c->in;
    if (in) {
        conn_release_early(net, c);
        net->inbuf_memory -= in->cap;
        c->in = NULL;
    }
    return in;
}

void conn_drop_input(struct net *net, struct conn *c)
{
    free(take_input(net, c));
}

/* Without a login n bytes that are to be kept are counted. False: there is no room for them. *early: to give back. */
static bool claim_early(struct net *net, struct conn *c, size_t n, uint32_t *early)
{
    bool counted = !(c->flags & CONN_F_READY) || c->flags & CONN_F_RAW;
    *early = 0;
    if (!counted || c->flags & CONN_F_CLOSING || n <= KEEP_FREE_EARLY)
        return true;
    if (!conn_hold(net, c, (uint32_t)n))
        return false;
    *early = (uint32_t)n;
    return true;
}

/* There is no room for what has come of a message or request. */
static void refuse_early(struct net *net, uint32_t idx, struct conn *c)
{
    count_refused(net, LIMIT_BEFORE_LOGIN);
    if (c->state == CONN_ST_HEAD)
        http_refuse(net, idx, c, 503);
    else
        conn_end(net, idx, CLOSE_SLOW, WS_CODE_POLICY, "too much waits of those who have not logged in", 1000);
    c->inner |= CONN_I_DEAF;
}

void conn_schedule(struct net *net, uint32_t idx, struct conn *c)
{
    if ((c->in || c->inner & CONN_I_MUTED || conn_stream(net, c)->pending) && !(c->flags & CONN_F_RESUME)) {
        c->flags |= CONN_F_RESUME;
        work_add(net, &net->resume, idx);
    }
}

void conn_resume(struct net *net, uint32_t conn)
{
    struct conn *c = conn_ptr(net, conn);
    if (net->cur.conn == conn && !net->cur.gone)
        net->cur.resumed = true;
    c->flags &= (uint16_t)~CONN_F_PAUSED;
    conn_schedule(net, conn, c);
}

void conn_deliver(struct net *net, uint32_t idx, struct conn *c, const struct net_message *m)
{
    if (c->flags & CONN_F_CLOSING)
        return;
    net->cur.resumed = false;
    enum conn_verdict v = net->ops->message(net->owner, idx, m);
    if (v == CONN_PAUSE && !net->cur.gone && !net->cur.resumed && !(c->flags & CONN_F_CLOSING))
        c->flags |= CONN_F_PAUSED;
}

/* Inflates the body. One that is no gzip stays as it is, for the owner to refuse. False: the connection closes. */
static bool gunzip(struct net *net, uint32_t idx, struct conn *c, struct net_message *m)
{
    char text[80];
    int rc = inflate_gzip(&net->inflater, m->body, conn_frame_limit(net, c), &m->body);
    if (rc == 0) {
        net->cur.heavy = m->body.n >= HEAVY_BYTES;
        m->action &= (uint16_t)~ACTION_GZIP;
    } else if (rc == ERR_TOOLARGE) {
        snprintf(text, sizeof text, "gzip: the body would have more than %u bytes", conn_frame_limit(net, c));
        conn_protocol_error(net, idx, 0, "too_large", text);
    } else if (rc == ERR_NOMEM) {
        conn_end(net, idx, CLOSE_SLOW, 0, "the server is out of memory", 1000);
    }
    return rc == 0 || rc == ERR_INVALID;
}

static void lost_framing(struct net *net, uint32_t idx, struct conn *c, struct ws_input *in, int rc)
{
    char text[80];
    if (proxy_begins(in->p + in->pos, in->end - in->pos))
        snprintf(text, sizeof text, "%s", proxy_stranger);
    else if (in->p[in->pos] == 0x16 && in->p[in->pos + 1] == 0x03)
        snprintf(text, sizeof text, "this is TLS, and the port speaks none");
    else if (rc == ERR_TOOLARGE)
        snprintf(text, sizeof text, "length: at most %u", conn_frame_limit(net, c));
    else
        snprintf(text, sizeof text, "length: at least 8, it counts itself");
    in->pos = in->end;
    conn_protocol_error(net, idx, 0, rc == ERR_TOOLARGE ? "too_large" : "bad_request", text);
}

static bool tcp_step(struct net *net, uint32_t idx, struct conn *c, struct ws_input *in)
{
    struct tcp_frame f;
    ssize_t n = tcp_parse(in->p + in->pos, in->end - in->pos, conn_frame_limit(net, c), &f);
    if (n == 0)
        return false;
    if (n < 0) {
        lost_framing(net, idx, c, in, (int)n);
        return false;
    }
    in->pos += (size_t)n;
    net->cur.rest = in->p + in->pos;
    net->cur.rest_n = in->end - in->pos;
    struct net_message m = {.action = f.action, .seq = f.seq, .body = f.body};
    if (f.action & ACTION_GZIP && c->flags & CONN_F_PACKED && !(c->flags & CONN_F_CLOSING) &&
        !gunzip(net, idx, c, &m)) {
        in->pos = in->end;
        return false;
    }
    conn_deliver(net, idx, c, &m);
    return true;
}

/* Whether the next message may be taken. */
static bool may_parse(const struct conn *c)
{
    if (c->inner & CONN_I_ENDED)
        return false;
    if (c->flags & CONN_F_CLOSING)
        return !(c->inner & CONN_I_DEAF);
    return !(c->flags & (CONN_F_PAUSED | CONN_F_SOFT));
}

/* What could not be used, n bytes, where it was parsed. `in` points nowhere afterwards. */
static struct inbuf *kept_in_place(struct inbuf *buf, const struct ws_input *in, size_t n)
{
    size_t start = in->msg_n ? in->msg : in->pos;
    if (in->msg_n && n > in->msg_n)
        memmove(in->p + in->msg + in->msg_n, in->p + in->pos, n - in->msg_n);
    buf->start = (uint32_t)start;
    buf->end = (uint32_t)(start + n);
    return inbuf_shrink(buf);
}

/* Keeps what could not be used: in `buf`, where it was parsed, or in a new buffer of just that size. */
static void keep(struct net *net, uint32_t idx, struct conn *c, struct inbuf *buf, const struct ws_parser *ws,
                 const struct ws_input *in)
{
    size_t rest = in->end - in->pos, n = in->msg_n + rest;
    uint32_t early = 0;
    bool needed = !(c->inner & CONN_I_DEAF) && (n || ws->in_frame || ws->opcode);
    if (needed && buf) /* before it is counted: a large message may just have been taken out of it */
        buf = kept_in_place(buf, in, n);
    if (needed && !claim_early(net, c, buf ? buf->cap : n, &early)) {
        refuse_early(net, idx, c);
        needed = false;
    }
    if (!needed) {
        free(buf);
        return;
    }
    if (!buf) {
        buf = inbuf_new(n);
        if (!buf) {
            conn_let_go(net, c, early);
            conn_end(net, idx, CLOSE_SLOW, WS_CODE_POLICY, "the server is out of memory", 1000);
            c->inner |= CONN_I_DEAF;
            return;
        }
        if (in->msg_n)
            memcpy(buf->data, in->p + in->msg, in->msg_n);
        if (rest)
            memcpy(buf->data + in->msg_n, in->p + in->pos, rest);
        buf->end = (uint32_t)n;
    }
    buf->msg_n = (uint32_t)in->msg_n;
    buf->early = early;
    buf->ws = *ws;
    c->in = buf;
    net->inbuf_memory += buf->cap;
}

/* Whether a connection has had its part of this turn: thousands of requests may have come in one packet, or few that
 * were inflated to a thousand times what came. Looks at the clock now and then, and at 0 messages. */
static bool turn_over(const struct net *net, uint32_t messages)
{
    return messages % MESSAGES == 0 && clock_mono_us() >= net->turn_end_us;
}

/* Parses what is in `buf` (taken over), or in the net's buffer when it is NULL. n: bytes that came just now; 0: nothing
 * did, all of it is looked at anew. */
static void parse(struct net *net, uint32_t idx, struct conn *c, struct inbuf *buf, size_t n)
{
    struct ws_parser ws = {.left = 0};
    struct ws_input in = {.p = net->read, .end = n};
    if (buf) {
        ws = buf->ws;
        in = (struct ws_input){
            .p = buf->data, .msg = buf->start, .msg_n = buf->msg_n, .pos = buf->start + buf->msg_n, .end = buf->end};
    }
    net->cur = (struct parsing){.conn = idx, .fresh = n ? n : SIZE_MAX};
    bool more = true, over = false;
    for (uint32_t i = 1; more && !over && !net->cur.gone && may_parse(c); i++) {
        if (c->state == CONN_ST_HEAD)
            more = http_step(net, idx, c, &ws, &in);
        else if (c->transport == CONN_TCP)
            more = tcp_step(net, idx, c, &in);
        else
            more = websocket_step(net, idx, c, &ws, &in);
        over = turn_over(net, net->cur.heavy ? 0 : i);
        net->cur.heavy = false;
    }
    bool gone = net->cur.gone;
    net->cur = (struct parsing){.conn = CONN_NONE};
    if (gone) {
        free(buf);
        return;
    }
    keep(net, idx, c, buf, &ws, &in);
    if (over && more)
        conn_schedule(net, idx, c);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* Reads behind what is kept; what does not fit there comes by way of the net's buffer, so nothing is reserved ahead of
 * its arrival. Returns as recv(). */
static ssize_t read_behind(struct net *net, struct conn *c, size_t max)
{
    struct inbuf *in = c->in;
    if (in->start)
        inbuf_compact(in);
    size_t tail = in->cap - in->end;
    struct iovec v[2] = {{in->data + in->end, tail < max ? tail : max}, {net->read, tail < max ? max - tail : 0}};
    ssize_t n = conn_stream(net, c)->recvv(conn_stream(net, c), c->fd, v, 2);
    if (n <= 0 || (size_t)n <= tail) {
        in->end += n > 0 ? (uint32_t)n : 0;
        return n;
    }
    net->inbuf_memory -= in->cap;
    in->end += (uint32_t)tail;
    size_t spilled = (size_t)n - tail;
    struct inbuf *grown = inbuf_grow(in, spilled, (size_t)conn_frame_limit(net, c) + KEEP_SLACK);
    if (grown) {
        memcpy(grown->data + grown->end, net->read, spilled);
        grown->end += (uint32_t)spilled;
        c->in = grown;
    }
    net->inbuf_memory += c->in->cap;
    if (!grown) {
        errno = ENOMEM;
        return -1;
    }
    return n;
}

static void discard(struct net *net, uint32_t idx, struct conn *c)
{
    ssize_t n =
        c->inner & CONN_I_EOF ? -1 : conn_stream(net, c)->recv(conn_stream(net, c), c->fd, net->read, READ_BYTES);
    if (n == 0 && (c->inner & CONN_I_ENDED || (c->out && c->state == CONN_ST_DRAIN))) {
        /* It may have closed one half only, and read what is on its way: an HTTP client that has said all, for one. */
        c->inner |= CONN_I_EOF | CONN_I_MUTED;
        conn_interest(net, idx, c);
    } else if (n == 0 || (n < 0 && (c->inner & CONN_I_EOF || (errno != EAGAIN && errno != EINTR)))) {
        conn_lost(net, idx);
    }
}

/* Something came that is not wanted now: stop hearing of it. Lazily, so that a short pause costs no system call. */
static void mute(struct net *net, uint32_t idx, struct conn *c, uint32_t events)
{
    if (events & EPOLLERR) {
        conn_finish(net, idx);
    } else if (!(c->inner & CONN_I_MUTED)) {
        c->inner |= CONN_I_MUTED;
        conn_interest(net, idx, c);
    }
}

/* The other side says no more: it is gone, or has closed its half only and waits for answers, as a program in a pipe
 * does. Those that are under way are awaited, and what is queued is sent. */
static void end_of_input(struct net *net, uint32_t idx, struct conn *c, uint32_t events)
{
    if (events & (EPOLLHUP | EPOLLERR) || c->state != CONN_ST_OPEN || c->flags & CONN_F_CLOSING) {
        conn_lost(net, idx);
        return;
    }
    if (conn_ended(net, idx, c, 0, true))
        return;
    if (!c->out || conn_write(net, c) != ERR_AGAIN) {
        conn_say_end(net, c);
        conn_finish(net, idx);
        return;
    }
    c->inner |= CONN_I_EOF | CONN_I_MUTED;
    conn_interest(net, idx, c);
    conn_end(net, idx, CLOSE_PEER, 0, NULL, 0);
}

/* Before login no more is taken in than one message at its largest. */
static size_t early_room(const struct conn *c)
{
    size_t used = c->in ? c->in->end - c->in->start : 0, most = ws_packed_max(KEEP_MAX_EARLY) + KEEP_SLACK;
    size_t room = used < most ? most - used : 1;
    return room < READ_BYTES_EARLY ? room : READ_BYTES_EARLY;
}

void conn_readable(struct net *net, uint32_t idx, uint32_t events)
{
    struct conn *c = conn_ptr(net, idx);
    if (__builtin_expect(c->state <= CONN_ST_SHAKE, 0)) {
        if (c->state == CONN_ST_PROXY)
            proxy_readable(net, idx, events);
        else
            shake_readable(net, idx, c, events);
        return;
    }
    if (c->inner & CONN_I_DEAF) {
        discard(net, idx, c);
        return;
    }
    if (!may_parse(c)) {
        mute(net, idx, c, events);
        return;
    }
    if (c->flags & CONN_F_RESUME) /* what is kept comes first */
        return;
    bool body = c->state == CONN_ST_HEAD && c->http_need != CONN_NONE;
    size_t max = c->flags & CONN_F_READY || body ? READ_BYTES : early_room(c);
    ssize_t n =
        c->in ? read_behind(net, c, max) : conn_stream(net, c)->recv(conn_stream(net, c), c->fd, net->read, max);
    if (n <= 0) {
        if (n == 0)
            end_of_input(net, idx, c, events);
        else if (errno == ENOMEM)
            conn_end(net, idx, CLOSE_SLOW, WS_CODE_POLICY, "the server is out of memory", 1000);
        else if (errno != EAGAIN && errno != EINTR)
            conn_finish(net, idx);
        return;
    }
    net->bytes_in += (size_t)n;
    if (c->flags & CONN_F_READY && !(c->flags & CONN_F_CLOSING)) {
        c->heard = net->tick;
        c->flags &= (uint16_t)~CONN_F_PROBED;
    }
    uint32_t generation = c->generation;
    const struct stream *stream = conn_stream(net, c);
    parse(net, idx, c, take_input(net, c), (size_t)n);
    /* What the stream keeps makes no descriptor readable. */
    if (__builtin_expect(stream->pending != NULL, 0) && (c = conn_find(net, idx, generation)) != NULL &&
        stream->pending(stream, c->fd) > 0 && !(c->flags & CONN_F_RESUME)) {
        c->flags |= CONN_F_RESUME;
        work_add(net, &net->resume, idx);
    }
}

void conn_go_on(struct net *net, uint32_t idx, struct conn *c)
{
    uint32_t generation = c->generation;
    if (c->in && may_parse(c)) {
        net->called = true;
        parse(net, idx, c, take_input(net, c), 0);
        c = conn_find(net, idx, generation);
    }
    if (c && (c->inner & (CONN_I_MUTED | CONN_I_EOF)) == CONN_I_MUTED && (c->inner & CONN_I_DEAF || may_parse(c))) {
        c->inner &= (uint8_t)~CONN_I_MUTED;
        conn_interest(net, idx, c);
    }
    const struct stream *stream = c ? conn_stream(net, c) : &stream_plain;
    if (__builtin_expect(stream->pending != NULL, 0) && !(c->flags & CONN_F_RESUME) && !(c->inner & CONN_I_EOF) &&
        (c->inner & CONN_I_DEAF || may_parse(c)) && stream->pending(stream, c->fd) > 0)
        conn_readable(net, idx, EPOLLIN);
}
