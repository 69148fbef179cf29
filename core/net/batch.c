#include "core/net/batch_private.h"

#include "core/base/clock.h"
#include "core/net/flush_private.h"
#include "core/net/net.h"
#include "core/net/send_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    USUAL_NS = 7000, /* what a send takes until that is known */
    STEADY = 8,      /* of so many parts of what is known, one is new */
    /* Others have the processor so much of the time, percent, and the machine is crowded; and so little, and it is no
     * more. */
    CROWDED = 25,
    CALM = 18,
    PATIENT = 32, /* as STEADY, of that: one batch in which others had it for long is no reason */
    PERCENT = 100 /* parts of one, in struct batch */
};

struct batch *batch_new(void)
{
    struct batch *b = calloc(1, sizeof *b);
    struct ring *r = b ? ring_new() : NULL;
    if (!r) {
        free(b);
        return NULL;
    }
    b->ring = r;
    b->few = BATCH_FEW;
    b->send_ns = USUAL_NS;
    b->most = RING_MAX;
    return b;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    ring_free(b->ring);
    free(b);
}

bool batch_add(struct net *net, uint32_t idx, struct conn *c, struct wire *wire, const uint8_t *p, size_t n,
               bool shared)
{
    struct batch *b = net->batch;
    const struct stream *stream = conn_stream(net, c);
    uint8_t *room = b->bytes + b->used;
    struct ring_send *s = &b->sends[b->n];
    if (!stream->offer || !stream->offer(stream, c->fd, p, n, room, &s->offer))
        return false;
    if (s->offer.p == p && shared)
        s->offer.p = memcpy(room, p, n);
    if (s->offer.p == room)
        b->used += (uint32_t)s->offer.n;
    s->fd = c->fd;
    b->members[b->n++] = (struct batch_member){idx, wire};
    if (wire)
        wire_ref(wire);
    c->batched = 1;
    if (b->n >= b->most || BATCH_BYTES - b->used < STREAM_OFFER_ROOM)
        batch_leave(net);
    return true;
}

void batch_learn(struct batch *b, uint64_t took_us, uint64_t worked_us, uint32_t n)
{
    uint32_t ns = (uint32_t)(worked_us * 1000 / n);
    b->send_ns = (b->send_ns * (STEADY - 1) + ns) / STEADY + 1;
    uint32_t fits = TURN_US * 1000 / b->send_ns;
    b->most = fits < BATCH_LEAST ? BATCH_LEAST : fits > RING_MAX ? RING_MAX : fits;
    uint32_t lost = took_us > worked_us ? (uint32_t)(100 * (took_us - worked_us) / took_us) : 0;
    b->lost = (b->lost * (PATIENT - 1) + lost * PERCENT) / PATIENT;
    if (b->lost >= CROWDED * PERCENT)
        b->crowded = true;
    else if (b->lost < CALM * PERCENT)
        b->crowded = false;
}

/* What has become of one of them. */
static void settle(struct net *net, uint32_t i)
{
    struct batch *b = net->batch;
    struct batch_member m = b->members[i];
    const struct ring_send *s = &b->sends[i];
    struct conn *c = conn_ptr(net, m.conn);
    const struct stream *stream = conn_stream(net, c);
    struct wire *rest = NULL;
    ssize_t sent = stream->offered(stream, c->fd, &s->offer, s->sent, &rest);
    int error = sent < 0 ? errno : 0;
    c->batched = 0;
    if (m.wire) {
        conn_sent(net, m.conn, c, m.wire, sent, rest);
        wire_unref(m.wire);
    } else {
        conn_flushed(net, m.conn, c, sent, error, rest);
    }
}

static void leave(struct batch *b)
{
    b->left = b->n;
    if (b->n <= b->few) {
        ring_send_each(b->sends, b->n);
        return;
    }
    uint64_t began = clock_mono_us(), worked = clock_thread_cpu_us();
    if (b->crowded)
        ring_send_each(b->sends, b->n);
    else if (ring_send(b->ring, b->sends, b->n))
        b->together += b->n;
    batch_learn(b, clock_mono_us() - began, clock_thread_cpu_us() - worked, b->n);
}

void batch_leave(struct net *net)
{
    struct batch *b = net->batch;
    while (b && b->n) {
        if (!b->left)
            leave(b);
        /* What the owner does when it is called may want the others to be looked at first: then this runs inside
         * itself, and there may be a new batch when it is back here. */
        while (b->at < b->left)
            settle(net, b->at++);
        if (b->left)
            b->n = b->left = b->at = b->used = 0;
    }
}
