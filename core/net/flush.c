#include "core/net/flush_private.h"

#include "core/net/batch_private.h"
#include "core/net/conn_private.h"
#include "core/net/input_private.h"
#include "core/net/send_private.h"

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
    conn_charge(net, idx, c);
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

/* The socket has not taken all. */
static void full(struct net *net, uint32_t idx, struct conn *c)
{
    if (c->flags & CONN_F_WRITABLE)
        return;
    set_blocked(net, idx, c, true);
    if (conn_holds_too_much(net, idx, c))
        conn_end(net, idx, CLOSE_SLOW, WS_CODE_POLICY, NULL, 0);
}

/* Puts what is queued into the batch, where that is one send and nothing else has to be looked at. */
static bool join_batch(struct net *net, uint32_t idx, struct conn *c)
{
    const uint8_t *p;
    size_t n;
    return batch_takes(net, c, c->out->bytes) && !(c->flags & (CONN_F_WRITABLE | CONN_F_CLOSING)) &&
           outq_piece(c->out, &net->gather, &p, &n) && batch_add(net, idx, c, NULL, p, n, p == net->gather.bytes);
}

void conn_flushed(struct net *net, uint32_t idx, struct conn *c, ssize_t sent, int error, struct wire *rest)
{
    uint32_t before = c->out->bytes;
    int rc = outq_wrote(c->out, sent, error, rest);
    conn_written(net, c, before);
    if (rc == ERR_CLOSED)
        conn_close(net, idx, CLOSE_PEER, NULL, 0);
    else if (rc == ERR_AGAIN)
        full(net, idx, c);
    else
        emptied(net, idx, c);
}

void conn_flush(struct net *net, uint32_t idx, struct conn *c)
{
    uint32_t generation = c->generation;
    batch_settle(net, c);
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
        if (net->batch && join_batch(net, idx, c))
            return;
        int rc = conn_write(net, c);
        if (rc == ERR_CLOSED) {
            conn_finish(net, idx);
            return;
        }
        if (c->flags & CONN_F_WRITABLE && c->out->bytes != before) {
            progressed(net, c);
            conn_charge(net, idx, c);
        }
        if (rc == ERR_AGAIN) {
            full(net, idx, c);
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
