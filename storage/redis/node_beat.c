/* Beating: once a second the table of nodes, and the clock with it. See node.h. */
#include "storage/redis/node_private.h"

#include "core/base/log.h"
#include "core/base/random.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/sweep.h"
#include "storage/redis/time.h"

#include <string.h>

enum { OTHER_MOVES = 3 /* of another node's beat under our eyes: it lives, and is not about to end */ };

/* Cluster time by another node's clock, now. */
uint64_t node_time_of(const struct node_self *s, const struct node *n)
{
    uint64_t took = cluster_clock_boot(&s->r->time->clock) - s->sent_ms;
    return nodes_time(&s->nodes, n) + took / 2;
}

/* --- The clock ---------------------------------------------------------------------------------------------------- */

/* What our clock is like against the master's that has just answered, for the others. */
static void measure(struct node_self *s)
{
    uint64_t took = cluster_clock_boot(&s->r->time->clock) - s->sent_ms;
    if (took > NODE_MEASURE_MS && memcmp(s->about.master, s->nodes.master, NODES_MASTER) == 0)
        return;
    s->about.behind_ms = (int64_t)(s->nodes.time_ms + took / 2 - time_now(s->r));
    memcpy(s->about.master, s->nodes.master, NODES_MASTER);
}

/* What another node has written of the clock and of times to live. */
static void record_take(struct node_self *s)
{
    struct cluster_time *t = s->r->time;
    struct clock_record mine = cluster_clock_record_get(&t->clock), theirs = s->nodes.record;
    uint64_t now_ms = 0;
    if (theirs.version == mine.version)
        return;
    if (s->sent_version && theirs.version == s->sent_version) {
        char a[CLOCK_RECORD_SIZE], b[CLOCK_RECORD_SIZE];
        mine.version = theirs.version;
        size_t n = clock_record_encode(&mine, a);
        if (n == clock_record_encode(&theirs, b) && memcmp(a, b, n) == 0)
            s->changed = false; /* it is ours, as it is now */
    }
    if (s->changed)
        clock_record_join(&theirs, &mine);
    if (theirs.era != mine.era) {
        const struct node *n = nodes_clock(&s->nodes, CLOCK_ANY);
        now_ms = n ? node_time_of(s, n) : s->nodes.told_ms;
        log_event(LOG_INFO, "storage.clock_accepted");
    }
    cluster_clock_record_set(&t->clock, &theirs, now_ms);
    s->about.era = theirs.era;
}

static void lead(struct redis *r, const int64_t *by_ms)
{
    struct node_self *s = r->node;
    if (!by_ms)
        return;
    bool far = !cluster_clock_lead(&r->time->clock, *by_ms);
    if (far && !s->far)
        log_event(LOG_WARN, "cluster.clock_jump", LOG_INT("by_s", *by_ms / 1000),
                  LOG_STR("hint", "time goes on as before; check the clocks of the Redis masters; if they are right: "
                                  "storage clock accept"));
    s->far = far;
}

void node_accepted(struct redis *r, const int64_t *by_ms)
{
    struct node_self *s = r->node;
    s->accepting = false;
    if (!by_ms) {
        log_event(LOG_ERROR, "storage.clock_not_accepted", LOG_STR("reason", "no master has told its time"));
        return;
    }
    if (!cluster_clock_accept(&r->time->clock, time_now(r) + (uint64_t)*by_ms))
        return;
    s->about.era = cluster_clock_record_get(&r->time->clock).era;
    s->about.behind_ms += -*by_ms;
    s->changed = true;
    s->far = false;
    log_event(LOG_INFO, "storage.clock_accepted");
    node_turn(r);
}

/* --- Beats -------------------------------------------------------------------------------------------------------- */

/* A living node was taken for dead: it is a new one from now on. */
static void take_again(struct redis *r)
{
    struct node_self *s = r->node;
    log_event(LOG_WARN, "cluster.isolated", LOG_INT("node", s->nodes.number), LOG_INT("incarnation", s->nodes.inc),
              LOG_STR("reason", "the others have taken this node for dead; it joins them again"));
    s->again = true;
    s->want = s->nodes.number;
    s->nodes.inc = 0;
    s->nodes.n = 0;
    s->about.state = NODE_JOINING;
    s->phase = PHASE_TAKE;
    random_bytes(s->token, sizeof s->token);
    node_again_in(s, NODE_JOIN_MS);
}

/* Two that serve clients at once: nodes do not hear of each other's messages. One that was killed elsewhere stays in
 * the table for a while, but its beat stands still. */
static void warn_of_others(struct node_self *s)
{
    for (unsigned i = 0; i < s->nodes.n; i++) {
        const struct node *n = &s->nodes.list[i];
        if (n->inc <= s->other_told || n->inc == s->nodes.inc || n->about.state != NODE_UP || n->moves < OTHER_MOVES)
            continue;
        s->other_told = n->inc;
        log_event(LOG_WARN, "cluster.not_alone", LOG_INT("node", n->number),
                  LOG_SLICE("host", slice_of(n->about.host, n->about.host_n)),
                  LOG_STR("effect",
                          "clients of one node are not told of what is sent on the other: end one of them, or "
                          "give it another cluster.prefix"));
    }
}

static void beaten(struct redis *r, struct reply_in *in, const struct reply *reply)
{
    struct node_self *s = r->node;
    char code = (char)reply_u8(in);
    if (code == 'P' && s->phase != PHASE_LEFT)
        take_again(r);
    else if (code == 'D')
        node_number_taken(r, in);
    if (code != 'N')
        return;
    int e = nodes_read(&s->nodes, reply, cluster_clock_boot(&r->time->clock));
    if (e) {
        log_event(LOG_ERROR, "cluster.unreadable", LOG_STR("what", "the table of nodes"), LOG_INT("code", e));
        if (!s->joined && e == ERR_INVALID)
            node_refuse(r, e, "cluster.redis: the table of nodes under cluster.prefix cannot be read");
        return;
    }
    s->nodes.time_ms = time_told(r, s->nodes.time_ms);
    if (s->phase == PHASE_TAKE)
        s->phase = PHASE_JOIN;
    if (s->phase == PHASE_JOIN)
        node_join(r);
    if (s->phase != PHASE_RUN || !nodes_find(&s->nodes, s->nodes.inc) ||
        nodes_find(&s->nodes, s->nodes.inc)->about.state == NODE_JOINING)
        return;
    record_take(s);
    measure(s);
    node_bury_dead(r);
    const struct node *leader = nodes_leader(&s->nodes), *clock = nodes_clock(&s->nodes, CLOCK_LEADER);
    if (s->accepting)
        (void)time_ask(r, node_accepted);
    else if (leader && leader->inc == s->nodes.inc)
        (void)time_ask(r, lead);
    else if (clock)
        cluster_clock_follow(&r->time->clock, (int64_t)(node_time_of(s, clock) - time_now(r)), CLOCK_FOLLOW_NODE);
    if (!s->joined) {
        s->joined = true;
        log_event(LOG_INFO, s->again ? "cluster.rejoined" : "cluster.joined", LOG_INT("node", s->nodes.number),
                  LOG_INT("incarnation", s->nodes.inc), LOG_INT("nodes", s->nodes.n));
    }
    warn_of_others(s);
    sweep_nodes(r);
}

static void beat_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct node_self *s = r->node;
    (void)c;
    s->beating = false;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        beaten(r, &in, reply);
    } else if (node_hopeless(r, status)) {
        return;
    } else if (status == STORE_FATAL) {
        log_event(LOG_ERROR, "cluster.unreadable", LOG_STR("what", "the table of nodes"));
    }
}

void node_beat(struct redis *r)
{
    struct node_self *s = r->node;
    struct cluster_clock *clock = &r->time->clock;
    struct call *c = &s->call;
    struct buf about = BUF_INIT;
    char record[CLOCK_RECORD_SIZE];
    size_t record_n = 0;
    if (s->beating)
        return;
    s->beating = true;
    s->sent_ms = cluster_clock_boot(clock);
    s->sent_version = 0;
    if (s->changed && s->phase == PHASE_RUN) {
        struct clock_record mine = cluster_clock_record_get(clock);
        s->sent_version = mine.version = s->nodes.record.version + 1;
        record_n = clock_record_encode(&mine, record);
    }
    node_about_put(&about, &s->about);
    call_begin(r, c, FN_BEAT, 0);
    call_key(r, c, 'N', SLICE_NONE);
    call_arg_u64(c, s->nodes.inc);
    call_arg_u64(c, s->nodes.inc ? s->nodes.number : s->want);
    call_arg(c, slice_of(s->token, sizeof s->token));
    call_arg_u64(c, ++s->beat);
    call_arg_u64(c, s->phase == PHASE_RUN ? time_now(r) : 0);
    call_arg(c, slice_of(record, record_n));
    call_arg(c, buf_slice(&about));
    buf_free(&about);
    c->relaxed = s->nodes.inc != 0 && s->joined; /* taking waits for copies */
    c->done = beat_done;
    call_post(r, c);
}
