/* Joining: the format, a number, an incarnation, a clock. See node.h. */
#include "storage/redis/nodes/node_private.h"

#include "core/base/log.h"
#include "core/base/random.h"
#include "storage/redis/layout.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/redis_private.h"

#include <stdio.h>
#include <string.h>

enum {
    OTHER_MS = 7000, /* a number's owner whose beat stands still for that long is dead */
    FAR_MS = 1000    /* a node that takes another incarnation sets its clock when it is so far off */
};

/* It cannot join. */
void node_refuse(struct redis *r, int code, const char *why)
{
    struct node_self *s = r->node;
    s->phase = PHASE_LEFT;
    ev_timer_stop(r->loop, &s->timer);
    node_tell(s, code, why);
}

/* What a call came to without which it cannot join. Whether it never will: it is refused then. */
bool node_hopeless(struct redis *r, enum store_status status)
{
    struct node_self *s = r->node;
    char why[256];
    bool forbidden = status == STORE_RETRY && strncmp(r->refusal, "NOPERM ", 7) == 0;
    if (s->joined || (status != STORE_FATAL && !forbidden))
        return false;
    snprintf(why, sizeof why, "cluster.redis: Redis refuses what a node needs under cluster.prefix (\"%s\"): %s",
             r->options.cluster.prefix, r->refusal);
    node_refuse(r, ERR_INVALID, why);
    return true;
}

static void format_known(struct redis *r, struct node_once *o, enum store_status status, struct slice value)
{
    struct node_self *s = r->node;
    char why[256];
    (void)o;
    if (s->phase != PHASE_FORMAT)
        return;
    s->phase = PHASE_NONE;
    if (status != STORE_OK) {
        (void)node_hopeless(r, status);
        return; /* once more */
    }
    snprintf(why, sizeof why, "%d", LAYOUT_FORMAT);
    if (slice_eq(value, SLICE_LIT("import"))) { /* import.c */
        node_refuse(r, ERR_INVALID, "an import under cluster.prefix is under way, or was cut short: import again");
        return;
    }
    if (!slice_eq(value, slice_str(why))) {
        snprintf(
            why, sizeof why,
            "the data has format %.*s; this server knows %d: start the version of Magpie that the other nodes have",
            (int)(value.n < 20 ? value.n : 20), value.p, LAYOUT_FORMAT);
        node_refuse(r, ERR_INVALID, why);
        return;
    }
    s->phase = PHASE_TAKE;
    random_bytes(s->token, sizeof s->token);
    node_turn(r);
}

void node_format(struct redis *r)
{
    struct node_self *s = r->node;
    char format[8];
    snprintf(format, sizeof format, "%d", LAYOUT_FORMAT);
    s->phase = PHASE_FORMAT;
    s->format.done = format_known;
    if (node_once(r, &s->format, SLICE_LIT("format"), slice_str(format)))
        s->phase = PHASE_NONE;
}

/* --- Joining ------------------------------------------------------------------------------------------------------ */

/* It has a clock, and so the others may go by it. told: the largest time before that. */
static void run(struct redis *r, uint64_t told_ms)
{
    struct node_self *s = r->node;
    struct clock_record record = cluster_clock_record_get(&r->time->clock);
    s->phase = PHASE_RUN;
    s->about.state = atomic_load(&s->draining) ? NODE_DRAINING : NODE_UP;
    s->about.era = record.era;
    uint64_t since = record.paused ? record.expiry_ms : told_ms ? told_ms : time_now(r);
    if (time_limit(r, since))
        s->changed = true;
    node_turn(r);
}

/* The first node: by the masters' clocks. */
static void first(struct redis *r, const int64_t *by_ms)
{
    struct node_self *s = r->node;
    struct cluster_clock *c = &r->time->clock;
    if (s->phase != PHASE_FIRST)
        return;
    if (!by_ms) {
        s->phase = PHASE_JOIN; /* once more */
        return;
    }
    cluster_clock_record_set(c, &s->nodes.record, 0);
    uint64_t median = time_now(r) + (uint64_t)*by_ms, told = s->nodes.told_ms;
    if (s->again) {
        told = 0; /* we have told more, and are believed */
        median = time_now(r);
    }
    if (cluster_clock_first(c, median, told)) {
        s->changed = true;
        log_event(
            LOG_ERROR, "cluster.clock_jump", LOG_INT("by_s", (int64_t)(median - told) / 1000),
            LOG_STR("hint", "expiry is paused; check the clocks of the Redis masters, then: storage clock accept"));
    }
    run(r, told);
}

/*
 * Whether another's clock is to be trusted. What it tells, it measured with the beat before its last one; a master's
 * clock that was set since then would be taken for the others'. Two beats later that shows: both looks must agree.
 */
static bool clock_sure(struct node_self *s, const struct node *n, uint64_t now_ms)
{
    uint64_t begin = now_ms - cluster_clock_boot(&s->r->time->clock);
    bool same = s->trust.inc == n->inc && begin - s->trust.begin_ms + NODE_MEASURE_MS <= UINT64_C(2) * NODE_MEASURE_MS;
    if (same && n->moves >= s->trust.moves + 2)
        return true;
    if (!same) {
        s->trust.inc = n->inc;
        s->trust.moves = n->moves;
        s->trust.begin_ms = begin;
    }
    return false;
}

void node_join(struct redis *r)
{
    struct node_self *s = r->node;
    const struct node *clock = nodes_clock(&s->nodes, CLOCK_FRESH);
    uint64_t took = cluster_clock_boot(&r->time->clock) - s->sent_ms;
    node_bury_dead(r);
    if (nodes_wait(&s->nodes) && !clock)
        return;
    if (!clock) {
        s->phase = PHASE_FIRST;
        if (!time_ask(r, first))
            s->phase = PHASE_JOIN;
        return;
    }
    if (took > NODE_MEASURE_MS && s->beat % 16)
        return; /* a better look comes */
    uint64_t now = node_time_of(s, clock), own = time_now(r);
    if (!clock_sure(s, clock, now))
        return;
    bool near = s->again && now < own + FAR_MS && own < now + FAR_MS;
    cluster_clock_record_set(&r->time->clock, &s->nodes.record, near ? 0 : now);
    run(r, s->nodes.told_ms);
}

/* The number is another's. */
void node_number_taken(struct redis *r, struct reply_in *in)
{
    struct node_self *s = r->node;
    struct node_about about;
    char why[256];
    uint64_t inc = reply_u48(in), now = cluster_clock_boot(&r->time->clock);
    unsigned number = reply_u16(in);
    uint64_t beat = reply_u48(in);
    (void)reply_slice(in, NODES_TOKEN);
    if (s->joined) { /* it was taken for dead, and serves nobody until it has one: a number is there for people only */
        if (s->want)
            log_event(LOG_WARN, "cluster.number_taken", LOG_INT("node", s->want),
                      LOG_STR("effect", "another node has it by now; this one takes any that is free"));
        s->want = 0;
        return;
    }
    if (!reply_ok(in)) {
        node_refuse(r, ERR_EXISTS, "node = 0: all 1023 numbers are taken by nodes that are alive");
        return;
    }
    int bad = node_about_read(reply_rest(in), &about);
    if (s->other.inc != inc) {
        s->other.inc = inc;
        s->other.beat = beat;
        s->other.since_ms = now;
    } else if (s->other.beat != beat) {
        snprintf(why, sizeof why, "node %u is alive on %.*s: give this one another number, or 0 for any that is free",
                 number, bad ? 1 : (int)about.host_n, bad ? "?" : about.host);
        node_refuse(r, ERR_EXISTS, why);
        return;
    }
    if ((!bad && node_process_ended(&about.process)) || now - s->other.since_ms >= OTHER_MS)
        node_bury(r, inc, beat);
}
