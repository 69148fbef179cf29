/* Beating: once a second the table of nodes, and the clock with it. See node.h. */
#include "storage/redis/nodes/node_private.h"

#include "core/base/log.h"
#include "core/base/random.h"
#include "storage/redis/nodes/notes_log.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/start/same_archive.h"
#include "storage/redis/sweep.h"

#include <string.h>

enum {
    LISTEN_MS = 5000,   /* a node serves after so long, even if it does not hear everything yet */
    CLOCK_LOOK_MS = 900 /* between two looks at another's clock by which ours goes */
};

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
    if (s->whole)
        node_event(r, BUS_BURIED, s->nodes.inc);
    s->buried_told |= s->whole;
    s->again = true;
    s->whole = false;
    s->want = s->nodes.number;
    s->was_inc = s->nodes.inc;
    nodes_again(&s->nodes);
    s->about.state = NODE_JOINING;
    s->phase = PHASE_TAKE;
    notes_log_anew(r);
    random_bytes(s->token, sizeof s->token);
    node_again_in(s, NODE_JOIN_MS);
}

/* It serves with this incarnation from now on. Whether it does: it listens, and has read the notes. */
static bool is_whole(struct redis *r)
{
    struct node_self *s = r->node;
    if (s->whole)
        return true;
    /* Where a master is away, news of its partitions are found when it is back. */
    bool listens = !r->node_ears || r->node_ears->listens(r) || r->turn_ms - s->taken_ms >= LISTEN_MS;
    if (r->node_ears && !nodes_know(&s->nodes))
        return false; /* one that takes itself for the only node tells nobody */
    if (!listens || !notes_log_known(r)) {
        if (!node_hopeless(r, notes_log_status(r)))
            notes_log_load(r);
        return false;
    }
    log_event(LOG_INFO, s->again ? "cluster.rejoined" : "cluster.joined", LOG_INT("node", s->nodes.number),
              LOG_INT("incarnation", s->nodes.inc), LOG_INT("nodes", s->nodes.n));
    if (!s->joined)
        same_archive_look(r);
    s->joined = s->whole = true;
    node_again_in(s, NODE_BEAT_MS);
    if (s->buried_told)
        node_event(r, BUS_BACK, s->nodes.inc);
    if (s->again && r->node_ears)
        r->node_ears->patrol(r); /* until now it may not have been told */
    s->buried_told = false;
    return true;
}

/* Once a second, however often it beats. */
static void clock_look(struct redis *r)
{
    struct node_self *s = r->node;
    const struct node *leader = nodes_leader(&s->nodes), *clock = nodes_clock(&s->nodes, CLOCK_LEADER);
    if (s->accepting) {
        (void)time_ask(r, node_accepted);
        return;
    }
    if (s->clock_ms && r->turn_ms - s->clock_ms < CLOCK_LOOK_MS)
        return;
    s->clock_ms = r->turn_ms;
    if (leader && leader->inc == s->nodes.inc)
        (void)time_ask(r, lead);
    else if (clock)
        cluster_clock_follow(&r->time->clock, (int64_t)(node_time_of(s, clock) - time_now(r)), CLOCK_FOLLOW_NODE);
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
    s->beaten = s->sent_turn;
    if (s->about.known < s->nodes.newest)
        node_beat_now(r); /* who has come waits for that */
    node_come_and_gone(r);
    node_tell_table(r);
    if (s->phase == PHASE_TAKE) {
        s->phase = PHASE_JOIN;
        s->taken_ms = r->turn_ms;
    }
    if (s->phase == PHASE_JOIN)
        node_join(r);
    const struct node *self = nodes_find(&s->nodes, s->nodes.inc);
    if (s->phase != PHASE_RUN || !self || self->about.state == NODE_JOINING)
        return;
    record_take(s);
    measure(s);
    node_bury_dead(r);
    clock_look(r);
    notes_log_beaten(r, s->nodes.log, s->sent_log);
    if (is_whole(r))
        sweep_nodes(r);
}

static void beat_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct node_self *s = r->node;
    (void)c;
    s->beating = false;
    s->answered |= status == STORE_OK || status == STORE_FATAL;
    bool again = s->again_soon;
    s->again_soon = false;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        beaten(r, &in, reply);
    } else if (node_hopeless(r, status)) {
        return;
    } else if (status == STORE_FATAL) {
        log_event(LOG_ERROR, "cluster.unreadable", LOG_STR("what", "the table of nodes"));
    }
    if (again)
        node_beat_now(r);
}

bool node_is_alone(const struct redis *r)
{
    const struct node_self *s = r->node;
    const struct nodes *ns = &s->nodes;
    return s->whole && ns->n == 1 && ns->list[0].inc == ns->inc && r->turn_ms - s->beaten <= NODE_ALONE_MS;
}

void node_beat_now(struct redis *r)
{
    struct node_self *s = r->node;
    if (s->beating)
        s->again_soon = true;
    else if (s->phase != PHASE_LEFT)
        node_turn(r);
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
    s->sent_turn = r->turn_ms;
    s->sent_version = 0;
    s->about.known = s->nodes.newest;
    s->sent_log = notes_log_told(r);
    s->about.log = notes_log_place(r);
    if (s->changed && s->phase == PHASE_RUN) {
        struct clock_record mine = cluster_clock_record_get(clock);
        s->sent_version = mine.version = s->nodes.record.version + 1;
        record_n = clock_record_encode(&mine, record);
    }
    node_about_put(&about, &s->about);
    call_begin(r, c, FN_BEAT, 0);
    call_key(r, c, 'N', SLICE_NONE);
    call_key(r, c, 'V', SLICE_NONE);
    call_arg_u64(c, s->nodes.inc);
    call_arg_u64(c, s->nodes.inc ? s->nodes.number : s->want);
    call_arg(c, slice_of(s->token, sizeof s->token));
    call_arg_u64(c, ++s->beat);
    call_arg_u64(c, s->phase == PHASE_RUN ? time_now(r) : 0);
    call_arg(c, slice_of(record, record_n));
    call_arg(c, buf_slice(&about));
    call_arg_u64(c, s->nodes.newest);
    buf_free(&about);
    c->relaxed = s->nodes.inc != 0 && s->joined; /* taking waits for copies */
    c->done = beat_done;
    call_post(r, c);
}
