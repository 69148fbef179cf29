/* Burying: nodes that are dead, and this one when it ends. See node.h. */
#include "storage/redis/nodes/node_private.h"

#include "core/base/log.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/redis_private.h"

enum { LEAVE_MS = 1000 /* a node that ends waits for so long to be out of the table */ };

static void buried(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct node_self *s = r->node;
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    (void)c;
    s->buries = false;
    if (status == STORE_OK && reply_u8(&in) != 'N')
        s->buried_inc = 0; /* it has beaten since */
    if (s->bury.done)
        s->bury.done(r, s->bury.ctx, status);
    s->bury.done = NULL;
    node_beat_now(r); /* which shows whether it was done */
}

void node_bury(struct redis *r, uint64_t inc, uint64_t beat)
{
    struct node_self *s = r->node;
    if (s->buries)
        return;
    s->buries = true;
    s->buried_inc = inc;
    call_begin(r, &s->burying, FN_BURY, 0);
    call_key(r, &s->burying, 'N', SLICE_NONE);
    call_arg_u64(&s->burying, inc);
    if (beat == UINT64_MAX)
        call_arg(&s->burying, SLICE_NONE);
    else
        call_arg_u64(&s->burying, beat);
    call_arg_u64(&s->burying, inc == s->nodes.inc && s->joined ? time_now(r) : 0);
    s->burying.done = buried;
    call_post(r, &s->burying);
}

/* One at a time: the next beat shows the next one. */
void node_bury_dead(struct redis *r)
{
    struct node_self *s = r->node;
    for (unsigned i = 0; i < s->nodes.n && !s->buries; i++) {
        const struct node *n = &s->nodes.list[i];
        if (n->inc != s->nodes.inc && (node_is_dead(n) || node_process_ended(&n->about.process)))
            node_bury(r, n->inc, n->beat);
    }
}

int node_bury_number(struct redis *r, uint16_t number,
                     void (*done)(struct redis *r, void *ctx, enum store_status status), void *ctx)
{
    struct node_self *s = r->node;
    const struct node *n = NULL;
    if (s->buries)
        return ERR_AGAIN;
    for (unsigned i = 0; i < s->nodes.n; i++)
        if (s->nodes.list[i].number == number)
            n = &s->nodes.list[i];
    if (!n || n->inc == s->nodes.inc) {
        done(r, ctx, n ? STORE_DENIED : STORE_NOTFOUND);
        return 0;
    }
    s->bury.done = done;
    s->bury.ctx = ctx;
    node_bury(r, n->inc, UINT64_MAX);
    return 0;
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
    }
    if (!s->retired && !s->buries && s->nodes.inc) {
        s->retired = true;
        node_bury(r, s->nodes.inc, UINT64_MAX);
    }
    return !s->buries || now - s->leave_ms > LEAVE_MS;
}
