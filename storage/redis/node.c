/* This node among the others: see node.h. */
#include "storage/redis/node.h"

#include "core/base/clock.h"
#include "core/base/container.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "storage/redis/group.h"
#include "storage/redis/layout.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/sweep.h"
#include "storage/redis/time.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    JOIN_MS = 250,    /* between two looks while it joins */
    BEAT_MS = 1000,   /* between two beats */
    OTHER_MS = 7000,  /* a number's owner whose beat stands still for that long is dead */
    MEASURE_MS = 250, /* a reply that took longer says nothing exact of the other's clock */
    OTHER_MOVES = 3,  /* of another node's beat under our eyes: it lives, and is not about to end */
    LEAVE_MS = 1000,  /* a node that ends waits for so long to be out of the table */
    WAIT_S = 60,      /* a start waits for so long */
    FAR_MS = 1000     /* a node that takes another incarnation sets its clock when it is so far off */
};

enum phase { PHASE_NONE, PHASE_FORMAT, PHASE_TAKE, PHASE_JOIN, PHASE_FIRST, PHASE_RUN, PHASE_LEFT };

struct node_self {
    struct redis *r;
    struct ev_timer timer;
    struct ev_async accept;
    enum phase phase;
    struct nodes nodes;
    struct node_about about;
    char token[NODES_TOKEN];
    uint16_t want;         /* which number; 0: any */
    uint64_t beat;         /* of the newest beat */
    struct call call;      /* the beat, while `beating` */
    uint64_t sent_ms;      /* boot time when it was posted */
    uint32_t sent_version; /* of the record in it; 0: none */
    struct call burying;   /* while `buries` */
    struct node_once format;
    uint64_t other_told; /* incarnation of the newest of the others that was warned of */
    bool beating, buries;
    bool changed;      /* our record is to be written */
    bool again;        /* it has had an incarnation before */
    bool far;          /* the masters' clocks are more than an hour off, which was logged */
    bool accepting;    /* the masters are being asked for an operator */
    bool joined;       /* whoever waits has been told so */
    uint64_t write_ms; /* boot time when it began to write its record, before it leaves; 0: it has not */
    uint64_t leave_ms; /* boot time when it began to leave; 0: it has not */
    /* Whose clock ours is to be set by, when it was first seen. */
    struct {
        uint64_t inc;
        uint64_t begin_ms; /* its time when our boot clock was 0, modulo 2^64 */
        uint32_t moves;    /* of its beat, at that time */
    } trust;
    /* Who has the number that we want. */
    struct {
        uint64_t inc, beat, since_ms;
    } other;
    /* For node_wait(). */
    pthread_mutex_t lock;
    bool done;     /* under lock */
    int code;      /* under lock: 0 or an enum err */
    char why[256]; /* under lock */
};

static void turn(struct redis *r);
static void beat(struct redis *r);
static bool hopeless(struct redis *r, enum store_status status);

/* --- Starting and ending ------------------------------------------------------------------------------------------ */

static void tell(struct node_self *s, int code, const char *why)
{
    pthread_mutex_lock(&s->lock);
    if (!s->done) {
        s->done = true;
        s->code = code;
        snprintf(s->why, sizeof s->why, "%s", why);
    }
    pthread_mutex_unlock(&s->lock);
}

/* Whether a signal waits that ends the process: the start has blocked them, until somebody deals with them. */
static bool is_to_end(void)
{
    sigset_t pending;
    sigemptyset(&pending);
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT) || sigismember(&pending, SIGQUIT));
}

int node_wait(struct redis *r, char *why, size_t why_size)
{
    struct node_self *s = r->node;
    uint64_t until = clock_mono_ms() + WAIT_S * 1000;
    bool ended = false;
    pthread_mutex_lock(&s->lock);
    while (!s->done && clock_mono_ms() < until &&
           !(ended = is_to_end())) { /* once in the life of a server, and no clock is moved by it */
        pthread_mutex_unlock(&s->lock);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        pthread_mutex_lock(&s->lock);
    }
    int code = s->done ? s->code : ERR_IO;
    snprintf(why, why_size, "%s%s", !s->done && ended ? "told to end while it waited: " : "",
             s->why[0] || s->done ? s->why : "cluster.redis: the table of nodes cannot be written");
    pthread_mutex_unlock(&s->lock);
    return code;
}

/* It has not joined yet: what is said if its start has waited for too long. */
static void hint(struct redis *r)
{
    struct node_self *s = r->node;
    const struct master *m = r->parts[0].master;
    pthread_mutex_lock(&s->lock);
    if (!s->done && group_short_ms(r, m))
        snprintf(s->why, sizeof s->why,
                 "cluster.redis: the table of nodes cannot be written: what %s:%u has is in fewer processes than "
                 "cluster.copies (%u) says",
                 m->host, m->port, r->options.cluster.copies);
    else if (!s->done)
        snprintf(s->why, sizeof s->why, "cluster.redis: the table of nodes cannot be written%s%s",
                 r->refusal[0] ? ": " : "", r->refusal);
    pthread_mutex_unlock(&s->lock);
}

/* It cannot join. */
static void refuse(struct redis *r, int code, const char *why)
{
    struct node_self *s = r->node;
    s->phase = PHASE_LEFT;
    ev_timer_stop(r->loop, &s->timer);
    tell(s, code, why);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct node_self *s = CONTAINER_OF(w, struct node_self, timer);
    (void)loop, (void)events;
    if (!s->joined)
        hint(s->r);
    turn(s->r);
}

static void again_in(struct node_self *s, uint32_t ms)
{
    s->timer.repeat = ms / 1000.0;
    ev_timer_again(s->r->loop, &s->timer);
}

static void on_accept(struct ev_loop *loop, ev_async *w, int events);

int node_init(struct redis *r)
{
    struct node_self *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    r->node = s;
    s->r = r;
    s->want = r->options.node;
    s->about.process = node_process_own();
    if (gethostname(s->about.host, sizeof s->about.host - 1) == 0)
        s->about.host_n = (uint8_t)strlen(s->about.host);
    pthread_mutex_init(&s->lock, NULL);
    ev_init(&s->timer, on_timer);
    ev_async_init(&s->accept, on_accept);
    ev_async_start(r->loop, &s->accept);
    return 0;
}

void node_fini(struct redis *r)
{
    struct node_self *s = r->node;
    if (!s)
        return;
    nodes_fini(&s->nodes);
    pthread_mutex_destroy(&s->lock);
    free(s);
    r->node = NULL;
}

const struct nodes *node_others(const struct redis *r)
{
    return &r->node->nodes;
}

/* --- Burying ------------------------------------------------------------------------------------------------------ */

static void buried(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)c, (void)status, (void)reply; /* whether it was done, the next beat shows */
    r->node->buries = false;
    if (r->node->phase != PHASE_LEFT)
        turn(r);
}

/* beat: the one that was seen last; UINT64_MAX: whichever. */
static void bury(struct redis *r, uint64_t inc, uint64_t beat)
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
static void bury_dead(struct redis *r)
{
    struct node_self *s = r->node;
    for (unsigned i = 0; i < s->nodes.n && !s->buries; i++) {
        const struct node *n = &s->nodes.list[i];
        if (n->inc == s->nodes.inc || (!node_is_dead(n) && !node_process_ended(&n->about.process)))
            continue;
        log_event(LOG_WARN, "cluster.node_dead", LOG_INT("node", n->number), LOG_INT("incarnation", n->inc),
                  LOG_SLICE("host", slice_of(n->about.host, n->about.host_n)));
        bury(r, n->inc, n->beat);
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
            beat(r);
            return false;
        }
    }
    if (!s->leave_ms) {
        s->leave_ms = now ? now : 1;
        s->phase = PHASE_LEFT;
        ev_timer_stop(r->loop, &s->timer);
        if (!s->nodes.inc || s->buries)
            return true;
        bury(r, s->nodes.inc, UINT64_MAX);
    }
    return !s->buries || now - s->leave_ms > LEAVE_MS;
}

/* --- The clock ---------------------------------------------------------------------------------------------------- */

/* Cluster time by another node's clock, now. */
static uint64_t time_of(const struct node_self *s, const struct node *n)
{
    uint64_t took = cluster_clock_boot(&s->r->time->clock) - s->sent_ms;
    return nodes_time(&s->nodes, n) + took / 2;
}

/* What our clock is like against the master's that has just answered, for the others. */
static void measure(struct node_self *s)
{
    uint64_t took = cluster_clock_boot(&s->r->time->clock) - s->sent_ms;
    if (took > MEASURE_MS && memcmp(s->about.master, s->nodes.master, NODES_MASTER) == 0)
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
        now_ms = n ? time_of(s, n) : s->nodes.told_ms;
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

static void accepted(struct redis *r, const int64_t *by_ms)
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
    turn(r);
}

void node_accept(struct redis *r)
{
    ev_async_send(r->loop, &r->node->accept);
}

static void on_accept(struct ev_loop *loop, ev_async *w, int events)
{
    struct node_self *s = CONTAINER_OF(w, struct node_self, accept);
    (void)loop, (void)events;
    s->accepting = s->phase == PHASE_RUN;
    turn(s->r);
}

void node_configure(struct redis *r)
{
    if (r->node->phase != PHASE_RUN)
        return; /* it is done when it joins */
    (void)time_now(r);
    if (time_limit(r, expiry_now(&r->time->expiry))) {
        r->node->changed = true;
        turn(r);
    }
}

/* --- Joining ------------------------------------------------------------------------------------------------------ */

/* It has a clock, and so the others may go by it. told: the largest time before that. */
static void run(struct redis *r, uint64_t told_ms)
{
    struct node_self *s = r->node;
    struct clock_record record = cluster_clock_record_get(&r->time->clock);
    s->phase = PHASE_RUN;
    s->about.state = NODE_UP;
    s->about.era = record.era;
    uint64_t since = record.paused ? record.expiry_ms : told_ms ? told_ms : time_now(r);
    if (time_limit(r, since))
        s->changed = true;
    again_in(s, BEAT_MS);
    turn(r);
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
    bool same = s->trust.inc == n->inc && begin - s->trust.begin_ms + MEASURE_MS <= UINT64_C(2) * MEASURE_MS;
    if (same && n->moves >= s->trust.moves + 2)
        return true;
    if (!same) {
        s->trust.inc = n->inc;
        s->trust.moves = n->moves;
        s->trust.begin_ms = begin;
    }
    return false;
}

static void join(struct redis *r)
{
    struct node_self *s = r->node;
    const struct node *clock = nodes_clock(&s->nodes, CLOCK_FRESH);
    uint64_t took = cluster_clock_boot(&r->time->clock) - s->sent_ms;
    bury_dead(r);
    if (nodes_wait(&s->nodes) && !clock)
        return;
    if (!clock) {
        s->phase = PHASE_FIRST;
        if (!time_ask(r, first))
            s->phase = PHASE_JOIN;
        return;
    }
    if (took > MEASURE_MS && s->beat % 16)
        return; /* a better look comes */
    uint64_t now = time_of(s, clock), own = time_now(r);
    if (!clock_sure(s, clock, now))
        return;
    bool near = s->again && now < own + FAR_MS && own < now + FAR_MS;
    cluster_clock_record_set(&r->time->clock, &s->nodes.record, near ? 0 : now);
    run(r, s->nodes.told_ms);
}

/* The number is another's. */
static void number_taken(struct redis *r, struct reply_in *in)
{
    struct node_self *s = r->node;
    struct node_about about;
    char why[256];
    uint64_t inc = reply_u48(in), now = cluster_clock_boot(&r->time->clock);
    unsigned number = reply_u16(in);
    uint64_t beat = reply_u48(in);
    (void)reply_slice(in, NODES_TOKEN);
    if (!reply_ok(in)) {
        refuse(r, ERR_EXISTS, "node = 0: all 1023 numbers are taken by nodes that are alive");
        return;
    }
    int bad = node_about_read(reply_rest(in), &about);
    if (s->other.inc != inc) {
        s->other.inc = inc;
        s->other.beat = beat;
        s->other.since_ms = now;
    } else if (s->other.beat != beat) {
        snprintf(why, sizeof why, "node %u is alive on %.*s", number, bad ? 1 : (int)about.host_n,
                 bad ? "?" : about.host);
        refuse(r, ERR_EXISTS, why);
        return;
    }
    if ((!bad && node_process_ended(&about.process)) || now - s->other.since_ms >= OTHER_MS)
        bury(r, inc, beat);
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
    again_in(s, JOIN_MS);
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
        number_taken(r, in);
    if (code != 'N')
        return;
    int e = nodes_read(&s->nodes, reply, cluster_clock_boot(&r->time->clock));
    if (e) {
        log_event(LOG_ERROR, "cluster.unreadable", LOG_STR("what", "the table of nodes"), LOG_INT("code", e));
        if (!s->joined && e == ERR_INVALID)
            refuse(r, e, "cluster.redis: the table of nodes under cluster.prefix cannot be read");
        return;
    }
    s->nodes.time_ms = time_told(r, s->nodes.time_ms);
    if (s->phase == PHASE_TAKE)
        s->phase = PHASE_JOIN;
    if (s->phase == PHASE_JOIN)
        join(r);
    if (s->phase != PHASE_RUN || !nodes_find(&s->nodes, s->nodes.inc) ||
        nodes_find(&s->nodes, s->nodes.inc)->about.state == NODE_JOINING)
        return;
    record_take(s);
    measure(s);
    bury_dead(r);
    const struct node *leader = nodes_leader(&s->nodes), *clock = nodes_clock(&s->nodes, CLOCK_LEADER);
    if (s->accepting)
        (void)time_ask(r, accepted);
    else if (leader && leader->inc == s->nodes.inc)
        (void)time_ask(r, lead);
    else if (clock)
        cluster_clock_follow(&r->time->clock, (int64_t)(time_of(s, clock) - time_now(r)), CLOCK_FOLLOW_NODE);
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
    } else if (hopeless(r, status)) {
        return;
    } else if (status == STORE_FATAL) {
        log_event(LOG_ERROR, "cluster.unreadable", LOG_STR("what", "the table of nodes"));
    }
}

static void beat(struct redis *r)
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

static void format_known(struct redis *r, struct node_once *o, enum store_status status, struct slice value)
{
    struct node_self *s = r->node;
    char why[256];
    (void)o;
    if (s->phase != PHASE_FORMAT)
        return;
    s->phase = PHASE_NONE;
    if (status != STORE_OK) {
        (void)hopeless(r, status);
        return; /* once more */
    }
    snprintf(why, sizeof why, "%d", LAYOUT_FORMAT);
    if (slice_eq(value, SLICE_LIT("import"))) { /* import.c */
        refuse(r, ERR_INVALID, "an import under cluster.prefix is under way, or was cut short: import again");
        return;
    }
    if (!slice_eq(value, slice_str(why))) {
        snprintf(why, sizeof why, "the data has format %.*s; this server knows %d", (int)(value.n < 20 ? value.n : 20),
                 value.p, LAYOUT_FORMAT);
        refuse(r, ERR_INVALID, why);
        return;
    }
    s->phase = PHASE_TAKE;
    random_bytes(s->token, sizeof s->token);
    turn(r);
}

static void turn(struct redis *r)
{
    struct node_self *s = r->node;
    if (s->phase == PHASE_NONE) {
        char format[8];
        snprintf(format, sizeof format, "%d", LAYOUT_FORMAT);
        s->phase = PHASE_FORMAT;
        s->format.done = format_known;
        if (node_once(r, &s->format, SLICE_LIT("format"), slice_str(format)))
            s->phase = PHASE_NONE;
    } else if (s->phase == PHASE_TAKE || s->phase == PHASE_JOIN || s->phase == PHASE_RUN) {
        beat(r);
    }
}

void node_start(struct redis *r)
{
    again_in(r->node, JOIN_MS);
    turn(r);
}

/* What a call came to without which it cannot join. Whether it never will: it is refused then. */
static bool hopeless(struct redis *r, enum store_status status)
{
    struct node_self *s = r->node;
    char why[256];
    if (s->joined || status != STORE_FATAL)
        return false;
    snprintf(why, sizeof why, "cluster.redis: Redis refuses what a node needs under cluster.prefix (\"%s\"): %s",
             r->options.cluster.prefix, r->refusal);
    refuse(r, ERR_INVALID, why);
    return true;
}

void node_ready(struct redis *r)
{
    tell(r->node, 0, "");
}

/* --- Constants ---------------------------------------------------------------------------------------------------- */

struct once {
    struct call call;
    struct node_once *o;
};

static void once_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct once *once = CONTAINER_OF(c, struct once, call);
    struct node_once *o = once->o;
    struct slice value = SLICE_NONE;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        char code = (char)reply_u8(&in);
        value = code == 'N' ? reply_rest(&in) : SLICE_NONE;
        status = code == 'N' || code == 'X' ? STORE_OK : STORE_FATAL;
    }
    o->done(r, o, status, value);
    free(once);
}

int node_once(struct redis *r, struct node_once *o, struct slice name, struct slice value)
{
    struct once *once = calloc(1, sizeof *once);
    if (!once)
        return ERR_NOMEM;
    once->o = o;
    call_begin(r, &once->call, FN_ONCE, 0);
    call_key(r, &once->call, 'C', SLICE_NONE);
    call_arg(&once->call, name);
    call_arg(&once->call, value);
    once->call.done = once_done;
    call_post(r, &once->call);
    return 0;
}
