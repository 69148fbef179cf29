#include "core/net/send.h"

#include "core/net/conn_private.h"
#include "core/net/input_private.h"
#include "core/net/net_private.h"
#include "core/net/net_shared.h"
#include "core/net/net_shared_private.h"
#include "core/net/send_private.h"

#include <stdlib.h>

static inline uint32_t hard_limit(const struct net *net, const struct conn *c)
{
    uint32_t hard = net->limits.output_queue;
    return !(c->flags & CONN_F_READY) && hard > OUTPUT_MAX_EARLY ? OUTPUT_MAX_EARLY : hard;
}

static inline uint32_t soft_limit(const struct net *net, const struct conn *c)
{
    return hard_limit(net, c) / 2;
}

/* Unsent bytes of a claimed path that are not counted: its socket holds more. */
enum { HOLD_FREE = KEEP_MAX_EARLY };

/* What is unsent has become less. */
static void let_go(struct net *net, struct conn *c, uint32_t left)
{
    struct outq *q = c->out;
    uint32_t held = left > HOLD_FREE ? left : 0;
    if (__builtin_expect(q->held > held, 0)) {
        conn_let_go(net, c, q->held - held);
        q->held = held;
    }
}

/* --- Accounts -----------------------------------------------------------------------------------------------------
 *
 * What connections hold whose socket is full is counted by address and by user, in pages: so a queue that grows costs
 * a lock each 4 KiB, and one that its socket takes at once costs nothing.
 */

enum { PAGE = 4096 };

/* Puts so many pages on the accounts, in place of what is there. Returns the bytes that the connection may hold:
 * UINT32_MAX while neither its address nor its user holds too much. */
static uint32_t charge(struct net *net, uint32_t idx, struct conn *c, uint32_t pages, bool with_user)
{
    struct outq *q = c->out;
    int64_t before = q->charged;
    uint32_t slot = conn_ip_slot(net, c), user = UINT32_MAX;
    uint32_t share = shared_unsent_change(net->shared, slot, (pages - before) * PAGE, (pages > 0) - (before > 0),
                                          net->limits.output_per_ip);
    q->charged = (uint16_t)pages;
    int64_t known = q->with_user ? before : 0, now = with_user ? pages : 0;
    if (net->ops->unsent && (known || now))
        user = net->ops->unsent(net->owner, idx, (int32_t)((now - known) * PAGE));
    q->with_user = with_user;
    share = !pages ? UINT32_MAX : user < share ? user : share;
    q->over = share != UINT32_MAX;
    return share;
}

/* charge() of what is there: others may hold less by now. */
static uint32_t share_of(struct net *net, uint32_t idx, struct conn *c)
{
    return c->out->over ? charge(net, idx, c, c->out->charged, c->out->with_user) : UINT32_MAX;
}

/* After its queue has changed. */
static void update_charge(struct net *net, uint32_t idx, struct conn *c)
{
    uint32_t pages = c->flags & CONN_F_WRITABLE ? c->out->bytes / PAGE : 0;
    bool with_user = c->user != CONN_NONE && (c->flags & (CONN_F_READY | CONN_F_CLOSING | CONN_F_RAW)) == CONN_F_READY;
    if (pages > UINT16_MAX)
        pages = UINT16_MAX;
    if (pages != c->out->charged)
        (void)charge(net, idx, c, pages, with_user);
}

void conn_uncharge(struct net *net, uint32_t idx, struct conn *c, bool all)
{
    if (c->out && c->out->charged)
        (void)charge(net, idx, c, all ? 0 : c->out->charged, false);
}

/* What waits in all nets, and for how many connections: the others as they last said, this one as it is. */
static uint64_t queued_in_all(const struct net *net)
{
    return net_shared_queued(net->shared) + net->queued - net->published;
}

static uint32_t blocked_in_all(const struct net *net)
{
    uint32_t n = shared_blocked(net->shared) + net->blocked - net->blocked_published;
    return n ? n : 1;
}

bool conn_may_queue(struct net *net, struct conn *c)
{
    const struct net_limits *l = &net->limits;
    if (l->output_total && queued_in_all(net) > l->output_total)
        return false;
    return !l->output_per_ip ||
           shared_unsent_change(net->shared, conn_ip_slot(net, c), 0, 0, l->output_per_ip) == UINT32_MAX;
}

/* --- Queues ------------------------------------------------------------------------------------------------------ */

void conn_drop_output(struct net *net, uint32_t idx, struct conn *c)
{
    if (c->out) {
        conn_uncharge(net, idx, c, true);
        let_go(net, c, 0);
        net->queued -= c->out->bytes;
        outq_put(&net->outqs, c->out);
        c->out = NULL;
    }
}

int conn_write(struct net *net, struct conn *c)
{
    uint32_t before = c->out->bytes;
    int rc = outq_write(c->out, &net->gather, conn_stream(net, c), c->fd);
    /* Signed: what is sealed is a little more than what it was made of. */
    int64_t written = (int64_t)before - c->out->bytes;
    net->queued -= (uint64_t)written;
    net->bytes_out += (uint64_t)written;
    let_go(net, c, c->out->bytes);
    return rc;
}

/* A queue over its soft half is first offered to the socket: many messages in one turn of the loop make no slow
 * receiver. Calls nobody. */
static void try_write(struct net *net, struct conn *c)
{
    if (!(c->flags & CONN_F_WRITABLE))
        (void)!conn_write(net, c); /* a failure shows again in the flush */
}

/* Whether there is room for n bytes more. */
static bool room(struct net *net, struct conn *c, uint32_t n, enum conn_class class)
{
    uint32_t hard = hard_limit(net, c), soft = soft_limit(net, c);
    if (c->out->bytes > soft || (class == CONN_MUST && c->out->bytes + n > hard))
        try_write(net, c);
    if (c->flags & CONN_F_RAW) /* its messages may be larger than the queue: one goes beyond */
        return c->out->bytes <= hard;
    if (class == CONN_MUST)
        return c->out->bytes == 0 || (uint64_t)c->out->bytes + n <= hard;
    if (c->out->bytes > soft)
        c->flags |= CONN_F_SOFT;
    return !(c->flags & CONN_F_SOFT);
}

/* Over a cap that it shares with others, who has an unsent rest gets no more channel pushes, and no more answers than
 * its share: see charge(). */
static bool over_share(struct net *net, uint32_t idx, struct conn *c, uint32_t n, enum conn_class class)
{
    if (!(c->flags & CONN_F_WRITABLE))
        return false;
    update_charge(net, idx, c);
    uint32_t share = share_of(net, idx, c);
    return share != UINT32_MAX && (class == CONN_MAY || (uint64_t)c->out->bytes + n > share);
}

/* Over the total cap, whoever has an unsent rest gets no more channel pushes; and who holds more than a fair share of
 * the cap is full: so the cap holds whatever is sent, and a few that never read do not use it up for all others. */
static bool over_total(const struct net *net, const struct conn *c, uint32_t n, enum conn_class class)
{
    uint64_t total = net->limits.output_total;
    if (!total || !(c->flags & CONN_F_WRITABLE) || queued_in_all(net) <= total)
        return false;
    return class == CONN_MAY || (uint64_t)c->out->bytes + n > total / blocked_in_all(net);
}

/* What cannot be queued: remembers a skipped tag, or ends the connection. */
static int refuse(struct net *net, uint32_t idx, struct conn *c, uint32_t tag, enum conn_class class, int rc)
{
    if (class == CONN_MAY) {
        outq_skip(&net->outqs, c->out, tag);
        if (!(c->flags & CONN_F_WRITABLE)) /* a queue that try_write() has emptied must be told so */
            conn_dirty(net, idx, c);
        return rc;
    }
    conn_end(net, idx, CLOSE_SLOW, WS_CODE_POLICY, rc == ERR_NOMEM ? "the server is out of memory" : NULL,
             rc == ERR_NOMEM ? 1000 : 0);
    return rc == ERR_NOMEM ? ERR_NOMEM : ERR_CLOSED;
}

/* The queue of the connection, made when it has none. NULL: out of memory, and a MUST has begun to close. */
static struct outq *queue(struct net *net, uint32_t idx, struct conn *c, enum conn_class class)
{
    if (!c->out) {
        c->out = outq_get(&net->outqs);
        if (!c->out && class == CONN_MUST)
            conn_end(net, idx, CLOSE_SLOW, WS_CODE_POLICY, NULL, 0);
    }
    return c->out;
}

/* Whether a connection whose socket has just become full has more to send than the caps that it shares with others
 * leave it: large answers, for what comes from now on is looked at before it is queued. */
static bool holds_too_much(struct net *net, uint32_t idx, struct conn *c)
{
    uint64_t total = net->limits.output_total;
    if (c->flags & CONN_F_CLOSING)
        return false;
    return c->out->bytes > share_of(net, idx, c) ||
           (total && queued_in_all(net) > total && c->out->bytes > total / blocked_in_all(net));
}

/* Whether the caps that it shares with others are reached, or nearly. */
static bool near_cap(struct net *net, uint32_t idx, struct conn *c)
{
    uint64_t total = net->limits.output_total;
    if (total && queued_in_all(net) > total / 8 * 7)
        return true;
    return share_of(net, idx, c) != UINT32_MAX;
}

void net_evict_idle(struct net *net)
{
    uint32_t left = net->blocked ? EVICT_VISITS : 0, idx = net->evict_at;
    for (; left > 0; left--) {
        idx = net_next(net, idx);
        if (idx == CONN_NONE)
            break;
        struct conn *c = conn_ptr(net, idx);
        if ((c->flags & (CONN_F_WRITABLE | CONN_F_CLOSING)) == CONN_F_WRITABLE && c->out &&
            net->tick - c->heard > EVICT_TICKS && near_cap(net, idx, c))
            conn_end(net, idx, CLOSE_SLOW, WS_CODE_POLICY, NULL, 0);
        idx++;
    }
    net->evict_at = left > 0 ? 0 : idx;
}

/* The slow half of conn_send*(): room, and what follows from having little. 0: go on. */
static int admit(struct net *net, uint32_t idx, struct conn *c, uint32_t n, uint32_t tag, enum conn_class class)
{
    if (class == CONN_MAY && c->flags & CONN_F_SOFT)
        return refuse(net, idx, c, tag, class, ERR_AGAIN);
    if (over_total(net, c, n, class) || over_share(net, idx, c, n, class)) {
        /* Its socket may have found room that the loop has not told of yet: who reads is not to suffer from others. */
        (void)!conn_write(net, c);
        if (c->out->bytes && (over_total(net, c, n, class) || over_share(net, idx, c, n, class)))
            return refuse(net, idx, c, tag, class, ERR_AGAIN);
    }
    if ((uint64_t)c->out->bytes + n > soft_limit(net, c) && !room(net, c, n, class))
        return refuse(net, idx, c, tag, class, ERR_AGAIN);
    return 0;
}

static void queued(struct net *net, uint32_t idx, struct conn *c, uint32_t n)
{
    net->queued += n;
    if (c->flags & CONN_F_WRITABLE)
        update_charge(net, idx, c);
    else if (!(c->flags & CONN_F_DIRTY))
        conn_dirty(net, idx, c);
    /* Not read from while so much is unsent: a turn's worth is no reason, an unwilling socket is. */
    if (__builtin_expect(c->out->bytes > soft_limit(net, c), 0)) {
        try_write(net, c);
        if (c->out->bytes > soft_limit(net, c))
            c->flags |= CONN_F_SOFT;
    }
}

/* Somebody looks at what this connection is sent. */
static int traced(struct net *net, uint32_t conn, const struct wire *w, int rc)
{
    const struct conn *c = conn_ptr(net, conn);
    if (c->flags & CONN_F_TRACE && net->ops->traced)
        net->ops->traced(net->owner, conn, w, rc);
    return rc;
}

int conn_send(struct net *net, uint32_t conn, struct wire *w, enum conn_class class)
{
    struct conn *c = conn_ptr(net, conn);
    if (__builtin_expect(c->flags & CONN_F_CLOSING, 0))
        return ERR_CLOSED;
    if (__builtin_expect(w->len == 0, 0))
        return 0;
    struct outq *q = c->out ? c->out : queue(net, conn, c, class);
    if (!q)
        return ERR_NOMEM;
    if (__builtin_expect(
            q->bytes + w->len > soft_limit(net, c) || c->flags & (CONN_F_SOFT | CONN_F_WRITABLE | CONN_F_TRACE), 0)) {
        int rc = traced(net, conn, w, admit(net, conn, c, w->len, w->tag, class));
        if (rc)
            return rc;
    }
    if (outq_push(&net->outqs, q, w) != 0)
        return refuse(net, conn, c, w->tag, class, ERR_NOMEM);
    queued(net, conn, c, w->len);
    return 0;
}

/* What has been queued for a claimed connection, and is not counted yet. */
static int hold_queued(struct net *net, uint32_t conn, struct conn *c)
{
    if (c->out->bytes > HOLD_FREE)
        try_write(net, c); /* what the socket takes is not held */
    if (c->out->bytes <= HOLD_FREE || c->out->bytes <= c->out->held)
        return 0;
    uint32_t more = c->out->bytes - c->out->held;
    if (conn_hold(net, c, more)) {
        c->out->held += more;
        return 0;
    }
    conn_end(net, conn, CLOSE_SLOW, WS_CODE_POLICY, "too much waits of those who have not logged in", 1000);
    return ERR_CLOSED;
}

int conn_send_claimed(struct net *net, uint32_t conn, bool text, struct slice data)
{
    unsigned flags = conn_ptr(net, conn)->flags;
    struct wire *w =
        wire_message_packed(flags & CONN_F_PACKED ? &net->deflater : NULL, flags & CONN_F_NARROW, text, data);
    if (!w)
        return ERR_NOMEM;
    int rc = conn_send(net, conn, w, CONN_MUST);
    if (rc == 0)
        rc = hold_queued(net, conn, conn_ptr(net, conn));
    wire_unref(w);
    return rc;
}

int conn_send_frame(struct net *net, uint32_t conn, struct frame *f, enum conn_class class)
{
    const struct conn *c = conn_ptr(net, conn);
    struct wire *w = f->wires[c->form];
    if (!w)
        w = frame_wire(f, c->form, net->encoders[c->form]);
    if (w)
        return conn_send(net, conn, w, class);
    if (c->flags & CONN_F_CLOSING)
        return ERR_CLOSED;
    if (class == CONN_MUST)
        conn_end(net, conn, CLOSE_SLOW, WS_CODE_POLICY, "the server is out of memory", 1000);
    return ERR_NOMEM;
}

int conn_send_frames(struct net *net, uint32_t conn, struct frame *const *f, uint32_t n, enum conn_class class)
{
    struct conn *c = conn_ptr(net, conn);
    uint32_t bytes = 0, pushed = 0;
    if (c->flags & CONN_F_CLOSING)
        return ERR_CLOSED;
    for (uint32_t i = 0; i < n; i++) {
        const struct wire *w = frame_wire(f[i], c->form, net->encoders[c->form]);
        if (!w)
            return queue(net, conn, c, class) ? refuse(net, conn, c, f[i]->tag, class, ERR_NOMEM) : ERR_NOMEM;
        bytes += w->len;
    }
    if (bytes == 0)
        return 0;
    struct outq *q = queue(net, conn, c, class);
    if (!q)
        return ERR_NOMEM;
    int rc = admit(net, conn, c, bytes, f[0]->tag, class);
    for (uint32_t i = 0; c->flags & CONN_F_TRACE && i < n; i++)
        (void)traced(net, conn, f[i]->wires[c->form], rc);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < n; i++) {
        struct wire *w = f[i]->wires[c->form];
        if (w->len == 0)
            continue;
        if (outq_push(&net->outqs, q, w) != 0) {
            while (pushed--)
                outq_pop_last(q);
            return refuse(net, conn, c, f[0]->tag, class, ERR_NOMEM);
        }
        pushed++;
    }
    queued(net, conn, c, bytes);
    return 0;
}

bool conn_send_now(struct net *net, uint32_t conn, struct bundle *b)
{
    enum { NOT_NOW = CONN_F_DIRTY | CONN_F_SOFT | CONN_F_WRITABLE | CONN_F_CLOSING | CONN_F_TRACE };
    struct conn *c = conn_ptr(net, conn);
    if (c->out || c->flags & NOT_NOW || outq_ready(&net->outqs) != 0)
        return false;
    struct wire *w = b->joined[c->form];
    if (!w)
        w = bundle_wire(b, c->form, net->encoders[c->form]);
    if (!w || w->len > soft_limit(net, c))
        return false;
    if (__builtin_expect(w->len == 0, 0))
        return true;
    const struct stream *stream = conn_stream(net, c);
    struct wire *rest = NULL;
    ssize_t sent = stream->send(stream, c->fd, w->data, w->len, &rest);
    if (sent > 0)
        net->bytes_out += (uint64_t)sent;
    if (sent == (ssize_t)w->len && !rest)
        return true;
    /* The rest waits for the flush, which also finds out whether the socket is full or has failed. */
    c->out = outq_get(&net->outqs);
    (void)SURELY(outq_push(&net->outqs, c->out, w) == 0);
    if (sent > 0)
        outq_advance(c->out, (size_t)sent);
    if (rest)
        outq_keep_rest(c->out, rest);
    queued(net, conn, c, c->out->bytes);
    return true;
}

void conn_prefetch(const struct net *net, uint32_t conn)
{
    __builtin_prefetch(conn_ptr(net, conn));
}

void conn_prefetch_stream(const struct net *net, uint32_t conn)
{
    const struct conn *c = conn_ptr(net, conn);
    const struct stream *stream = conn_stream(net, c);
    if (stream->prefetch)
        stream->prefetch(stream, c->fd);
}

void conn_purge(struct net *net, uint32_t conn, uint32_t tag)
{
    struct conn *c = conn_ptr(net, conn);
    if (c->out) {
        net->queued -= c->out->bytes;
        outq_purge(c->out, tag);
        net->queued += c->out->bytes;
        conn_dirty(net, conn, c);
    }
}

uint32_t conn_queued(const struct net *net, uint32_t conn)
{
    const struct conn *c = conn_ptr(net, conn);
    return c->out ? c->out->bytes : 0;
}

uint32_t conn_silent(const struct net *net, uint32_t conn)
{
    return net->tick - conn_ptr(net, conn)->heard;
}

/* --- Forms -------------------------------------------------------------------------------------------------------- */

struct wire *conn_wire(const struct net *net, uint32_t conn, uint16_t action, uint16_t seq, struct slice body,
                       uint32_t tag)
{
    const struct encoder *e = net->encoders[conn_ptr(net, conn)->form];
    return e->encode(e, action, seq, body, tag);
}

struct wire *conn_wire_plain(const struct net *net, uint32_t conn, uint16_t action, uint16_t seq, struct slice body,
                             uint32_t tag)
{
    const struct encoder *e = net->encoders[wire_form_plain(conn_ptr(net, conn)->form)];
    return e->encode(e, action, seq, body, tag);
}

const char *conn_compression(const struct net *net, uint32_t conn)
{
    const struct conn *c = conn_ptr(net, conn);
    return !(c->flags & CONN_F_PACKED) ? "none" : c->transport == CONN_WEBSOCKET ? "deflate" : "gzip";
}

const char *conn_form(const struct net *net, uint32_t conn)
{
    return net->encoders[conn_ptr(net, conn)->form]->name;
}

int net_set_encoder(struct net *net, uint8_t form, const struct encoder *e)
{
    if (form < WIRE_FORMS || form >= WIRE_ROWS)
        return ERR_INVALID;
    if (net->encoders[form])
        return ERR_EXISTS;
    net->encoders[form] = e;
    return 0;
}

void conn_set_form(struct net *net, uint32_t conn, uint8_t form)
{
    struct conn *c = conn_ptr(net, conn);
    if (!SURELY(form < WIRE_ROWS && net->encoders[form]))
        return;
    c->form = form;
    c->flags |= CONN_F_FORM;
}

/* --- What net itself says ---------------------------------------------------------------------------------------- */

static void push(struct net *net, uint32_t idx, struct conn *c, struct wire *w)
{
    if (!w)
        return;
    if (!c->out && w->len)
        c->out = outq_get(&net->outqs);
    if (c->out && w->len && outq_push(&net->outqs, c->out, w) == 0) {
        net->queued += w->len;
        conn_dirty(net, idx, c);
    }
    wire_unref(w);
}

void conn_push_raw(struct net *net, uint32_t idx, struct conn *c, struct slice bytes)
{
    push(net, idx, c, wire_raw(bytes, WIRE_TAG_NONE));
}

void conn_push_frame(struct net *net, uint32_t idx, struct conn *c, uint16_t action, struct slice body)
{
    push(net, idx, c, conn_wire(net, idx, action, 0, body, WIRE_TAG_NONE));
}

/* --- Flushing ---------------------------------------------------------------------------------------------------- */

/* The queue is empty. Gives it back, and tells the owner what was skipped. */
static void emptied(struct net *net, uint32_t idx, struct conn *c)
{
    struct outq *q = c->out;
    c->out = NULL;
    if (c->flags & CONN_F_SOFT) {
        c->flags &= (uint16_t)~CONN_F_SOFT;
        conn_schedule(net, idx, c);
    }
    if (q->tag_count && !(c->flags & CONN_F_CLOSING)) {
        net->called = true;
        net->ops->drained(net->owner, idx, q->tags, q->tag_count);
    }
    outq_put(&net->outqs, q);
}

/* Waits for EPOLLOUT, or no longer. */
static void set_blocked(struct net *net, uint32_t idx, struct conn *c, bool blocked)
{
    c->flags ^= CONN_F_WRITABLE;
    net->blocked += blocked ? 1U : -1U;
    update_charge(net, idx, c);
    conn_interest(net, idx, c);
}

/* An unwilling socket has taken something: the other side reads, if slowly, and while over its soft half it cannot be
 * heard otherwise. A probe that found the socket full was never sent, so it counts no more. */
static void progressed(const struct net *net, struct conn *c)
{
    if (c->flags & CONN_F_READY && !(c->flags & CONN_F_CLOSING) && !(c->inner & CONN_I_ENDED)) {
        c->heard = net->tick;
        c->flags &= (uint16_t)~CONN_F_PROBED;
    }
}

void conn_flush(struct net *net, uint32_t idx, struct conn *c)
{
    uint32_t generation = c->generation;
    if (c->state == CONN_ST_DEAD) {
        conn_finish(net, idx);
        return;
    }
    if (c->out) {
        uint32_t before = c->out->bytes;
        if (c->out->lost && !(c->flags & CONN_F_CLOSING)) {
            conn_end(net, idx, CLOSE_SLOW, WS_CODE_POLICY, "the server is out of memory", 1000);
            return; /* it is on the list again */
        }
        int rc = conn_write(net, c);
        if (rc == ERR_CLOSED) {
            conn_finish(net, idx);
            return;
        }
        if (c->flags & CONN_F_WRITABLE && c->out->bytes != before) {
            progressed(net, c);
            update_charge(net, idx, c);
        }
        if (rc == ERR_AGAIN) {
            if (!(c->flags & CONN_F_WRITABLE)) {
                set_blocked(net, idx, c, true);
                if (holds_too_much(net, idx, c))
                    conn_end(net, idx, CLOSE_SLOW, WS_CODE_POLICY, NULL, 0);
            }
            return;
        }
        if (c->flags & CONN_F_WRITABLE)
            set_blocked(net, idx, c, false);
        emptied(net, idx, c);
        c = conn_find(net, idx, generation);
        if (!c || c->out)
            return;
    }
    if (c->flags & CONN_F_CLOSING)
        conn_drained_closing(net, idx, c);
}
