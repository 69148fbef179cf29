/* Burying: nodes that are dead, and this one when it ends. See node.h. */
#include "storage/redis/node_private.h"

#include "core/base/log.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/time.h"

enum { LEAVE_MS = 1000 /* a node that ends waits for so long to be out of the table */ };

static void buried(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)c, (void)status, (void)reply; /* whether it was done, the next beat shows */
    r->node->buries = false;
    if (r->node->phase != PHASE_LEFT)
        node_turn(r);
}

/* beat: the one that was seen last; UINT64_MAX: whichever. */
void node_bury(struct redis *r, uint64_t inc, uint64_t beat)
{
    struct node_self *s = r->node;
    if (s->buries)
        return;
    s->buries = true;
    call_begin(r, &s->burying, FN_BURY, 0);
    call_key(r, &s->burying, 'N', SLICE_NONE);
    call_arg_u64(&s->burying, inc);
    if (beat == UINT64_MAX)
        call_arg(&s->burying, SLICE_NONE);
    else
        call_arg_u64(&s->burying, beat);
    call_arg_u64(&s->burying, beat == UINT64_MAX && s->joined ? time_now(r) : 0);
    s->burying.done = buried;
    call_post(r, &s->burying);
}

/* One at a time: the next beat shows the next one. */
void node_bury_dead(struct redis *r)
{
    struct node_self *s = r->node;
    for (unsigned i = 0; i < s->nodes.n && !s->buries; i++) {
        const struct node *n = &s->nodes.list[i];
        if (n->inc == s->nodes.inc || (!node_is_dead(n) && !node_process_ended(&n->about.process)))
            continue;
        log_event(LOG_WARN, "cluster.node_dead", LOG_INT("node", n->number), LOG_INT("incarnation", n->inc),
                  LOG_SLICE("host", slice_of(n->about.host, n->about.host_n)));
        node_bury(r, n->inc, n->beat);
    }
}

bool node_left(struct redis *r)
{
    struct node_self *s = r->node;
    uint64_t now = r->turn_ms;
    if (s->phase == PHASE_LEFT && !s->leave_ms)
        return true;                           /* it never joined */
    if (s->phase == PHASE_RUN && s->changed) { /* what the options have ended is not forgotten by a start right after */
        s->write_ms = s->write_ms ? s->write_ms : now ? now : 1;
        if (now - s->write_ms <= LEAVE_MS) {
            node_beat(r);
            return false;
        }
    }
    if (!s->leave_ms) {
        s->leave_ms = now ? now : 1;
        s->phase = PHASE_LEFT;
        ev_timer_stop(r->loop, &s->timer);
        if (!s->nodes.inc || s->buries)
            return true;
        node_bury(r, s->nodes.inc, UINT64_MAX);
    }
    return !s->buries || now - s->leave_ms > LEAVE_MS;
}
