/*
 * Sends that leave together, by one system call (ring.h). A net has a batch only where the kernel lets it; without one
 * every send leaves by itself.
 *
 * It is filled by a fan-out (conn_send_now()) and by a flush, and has left when these are over: so it is empty whenever
 * something is received, and outside of net's and its owner's work on what is sent. A connection is in it once at most
 * (conn.batched). Whoever wants to do anything with the output of one that is in it lets the batch leave first:
 * batch_settle(). Private to core/net.
 */
#ifndef MAGPIE_NET_BATCH_PRIVATE_H
#define MAGPIE_NET_BATCH_PRIVATE_H

#include "core/net/net_private.h"
#include "core/net/ring.h"

enum {
    BATCH_BYTES = 128 * 1024, /* of what is made for the batch: records, joined messages */
    BATCH_LEAST = 8,          /* sends, however long they take */
    BATCH_FEW = 3             /* so few leave by send(2), which costs them less */
};

/* Whose send it is, by its place. */
struct batch_member {
    uint32_t conn;     /* which is not freed before the batch has left */
    struct wire *wire; /* sent past its queue; a reference; NULL: what was sent is in its queue */
};

struct batch {
    struct ring *ring; /* owned */
    uint32_t n;        /* sends in it */
    uint32_t left;     /* so many of them have left, and are looked at one after the other; 0: it is being filled */
    uint32_t at;       /* how many of those were looked at */
    uint32_t few;      /* as BATCH_FEW; a test's may be 0 */
    uint32_t most;     /* sends that take as long as a turn may */
    uint32_t send_ns;  /* what a send took lately, processor time */
    uint32_t lost;     /* of the time that batches took lately, what others had; hundredths of a percent */
    /* Others want the processor, too. Then many sends by one call are no gain: the kernel leaves what it does between
     * two calls, the receivers' part, to a thread that waits for its turn like others. */
    bool crowded;
    uint64_t together; /* sends that have left with others, since it was made */
    uint32_t used;     /* of `bytes` */
    struct ring_send sends[RING_MAX];
    struct batch_member members[RING_MAX];
    uint8_t bytes[BATCH_BYTES]; /* what is made for it; pages that are not needed are never touched */
};

/* Whether a send of n bytes can join now. */
static inline bool batch_takes(const struct net *net, const struct conn *c, size_t n)
{
    return net->batch && n <= STREAM_OFFER_MAX && !net->batch->left && !c->batched;
}
/* Puts a send in that batch_takes(): of a wire, of which it takes a reference; or, wire NULL, of what is next in the
 * queue, whose bytes are `p`, and are copied when they are `shared`. It may leave by that, and then the owner may be
 * called and connections closed, but none is freed. False: nothing has happened. */
bool batch_add(struct net *net, uint32_t idx, struct conn *c, struct wire *wire, const uint8_t *p, size_t n,
               bool shared);
/* What is in it leaves, and each connection learns what has become of its own. Calls the owner; frees no connection. */
void batch_leave(struct net *net);
/* Before anything is done with the output of a connection. */
static inline void batch_settle(struct net *net, const struct conn *c)
{
    if (__builtin_expect(c->batched, 0))
        batch_leave(net);
}
/* Microseconds that what is in it will take. */
static inline uint32_t batch_us(const struct batch *b)
{
    return (uint32_t)((uint64_t)b->n * b->send_ns / 1000);
}
/* A batch of n sends has taken so long, and of that so much processor time; others had the rest. The next one may take
 * as long as a turn of the loop. */
void batch_learn(struct batch *b, uint64_t took_us, uint64_t worked_us, uint32_t n);
/* NULL: out of memory. */
struct batch *batch_new(void);
/* NULL is let pass. */
void batch_free(struct batch *b);

#endif
