#include "storage/redis/client/group.h"

#include "core/base/clock.h"
#include "core/base/fault.h"
#include "core/base/log.h"
#include "storage/redis/client/slots.h"
#include "storage/redis/redis_private.h"

#include <stdio.h>

static struct lane *lane_of(struct link *l)
{
    return (struct lane *)l; /* its first member */
}

/* --- Copies ------------------------------------------------------------------------------------------------------- */

/* Asks how many replicas have all that this link has seen done. */
static void wait_send(struct lane *lane, uint32_t copies, uint32_t ms)
{
    struct buf *out = &lane->link.out;
    resp_open(out, 3);
    resp_put(out, SLICE_LIT("WAIT"));
    resp_put_u64(out, copies);
    resp_put_u64(out, ms);
    redis_link_sent(&lane->link, 1);
    lane->group.asked = copies;
    lane->group.waits++;
}

static void look_send(struct lane *lane)
{
    copies_look(&lane->link.out);
    lane->group.look = COPIES_REPLIES;
    redis_link_sent(&lane->link, COPIES_REPLIES);
}

/* How many replicas must have it. */
static uint32_t group_wants(const struct redis *r, const struct lane *lane)
{
    const struct group *g = &lane->group;
    return g->any || !g->need ? g->need : copies_wanted(r, lane->master);
}

/* The WAIT behind a group. */
static void wait_first(struct redis *r, struct lane *lane, bool calls)
{
    struct group *g = &lane->group;
    struct master *m = lane->master;
    bool read = lane->kind == LANE_READ, sure = read && copies_few_ms(r, m) >= COPIES_SURE;
    g->need = read && fault("reads") ? 0 : copies_least(r);
    g->any = !calls || sure;
    g->waits = 0;
    if (!g->any && copies_look_due(r, m))
        look_send(lane);
    if (!calls)
        wait_send(lane, g->need, GROUP_WAIT_PROBE);
    else /* 1: it is answered, whatever is said */
        wait_send(lane, group_wants(r, lane), sure ? 1 : GROUP_WAIT_FIRST);
}

/* --- Sending ------------------------------------------------------------------------------------------------------ */

static void load_send(struct lane *lane)
{
    struct slice load[4] = {SLICE_LIT("FUNCTION"), SLICE_LIT("LOAD"), library_text()};
    resp_command(&lane->link.out, load, 3);
    lane->group.loading = true;
    lane->group.before++;
    redis_link_sent(&lane->link, 1);
}

static void call_send(struct redis *r, struct lane *lane, struct call *c)
{
    struct link *l = &lane->link;
    r->parts[c->part].under[lane->kind]++;
    call_write(r, c, &l->out);
    c->state = CALL_WAITS;
    c->passed = false;
    c->end = redis_link_end_of_output(l);
    if (c->since < l->oldest)
        l->oldest = c->since;
    queue_put(&lane->group.sent, c);
    redis_link_sent(l, 1);
}

/* The partition's next call that may be sent now, which is in its queue no more; NULL: there is none. Those that have
 * waited for too long are answered. relaxed: only such as need no copies. */
static struct call *next_call(struct redis *r, uint16_t part, enum lane_kind kind, bool relaxed)
{
    struct call *c;
    while ((c = r->parts[part].queue[kind].first))
        if (r->turn_ms > c->since + r->options.cluster.patience_ms)
            queue_fail(r, queue_pull(r, part, kind), queue_verdict(c));
        else if (c->relaxed || !relaxed)
            return queue_pull(r, part, kind);
        else /* what may have run keeps its place until there are copies, or patience ends */
            return queue_pull_beat(r, part, kind);
    return NULL;
}

/* Takes calls of the partitions in turn. relaxed: only such as need no copies. Returns how many. */
static unsigned calls_send(struct redis *r, struct lane *lane, bool relaxed)
{
    unsigned max = lane->kind == LANE_READ ? GROUP_READS_MAX : GROUP_CALLS_MAX, n = 0, looked = 0;
    size_t begin = lane->link.out.n;
    uint16_t part;
    while (n < max && lane->link.out.n - begin < GROUP_BYTES &&
           (part = queue_next_part(r, lane, &looked)) != QUEUE_NONE) {
        unsigned before = n;
        struct call *c;
        for (unsigned i = 0; i < GROUP_TURN && n < max && lane->link.out.n - begin < GROUP_BYTES &&
                             (c = next_call(r, part, lane->kind, relaxed));
             i++, n++)
            call_send(r, lane, c);
        queue_list(r, part, lane->kind);
        if (n > before)
            looked = 0;
    }
    return n;
}

void group_run(struct redis *r, struct lane *lane)
{
    struct master *m = lane->master;
    struct group *g = &lane->group;
    bool writes = lane->kind == LANE_WRITE;
    if (g->phase != GROUP_NONE || lane->link.state != LINK_READY || !m->parts)
        return;
    const struct shortage *few = &m->copies.few;
    bool refuse = writes && copies_few_ms(r, m) >= COPIES_REFUSE;
    bool probe = writes && few->since && r->turn_ms >= few->seen + COPIES_PROBE;
    if (lane->first == QUEUE_NONE && !probe && !(writes && m->library))
        return;
    g->before = g->refused = g->look = 0;
    g->loading = g->kept = false;
    g->left = m->left;
    if (writes && m->library)
        load_send(lane);
    unsigned n = calls_send(r, lane, refuse);
    if (!n && !probe && !g->before)
        return;
    if (!n && !g->before) { /* WAIT goes by the last command of its connection */
        resp_command(&lane->link.out, (struct slice[]){SLICE_LIT("TIME")}, 1);
        g->before++;
        redis_link_sent(&lane->link, 1);
    }
    wait_first(r, lane, n > 0);
    g->phase = GROUP_CALLS;
    g->begun = g->ran = clock_mono_us();
    redis_link_flush(&lane->link);
}

/* --- Replies of calls --------------------------------------------------------------------------------------------- */

/* What the errors of Redis say: see the table in README.md. */
static const struct {
    const char *begins;
    enum call_state state;
    bool moved;   /* the topology is not what we think */
    bool library; /* the function is not there */
} errors[] = {
    {"MOVED ", CALL_REFUSED, true, false},      {"ASK ", CALL_REFUSED, true, false},
    {"TRYAGAIN ", CALL_REFUSED, true, false},   {"CLUSTERDOWN ", CALL_REFUSED, true, false},
    {"LOADING ", CALL_REFUSED, true, false},    {"READONLY ", CALL_REFUSED, true, false},
    {"MASTERDOWN ", CALL_REFUSED, true, false}, {"BUSY ", CALL_REFUSED, false, false},
    {"NOAUTH ", CALL_REFUSED, true, false},     {"ERR Function not found", CALL_REFUSED, false, true},
    {"NOREPLICAS ", CALL_DENIED, false, false}, {"OOM ", CALL_DENIED, false, false},
    {"MISCONF ", CALL_DENIED, false, false},
};

static bool begins(struct slice s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.p, with, n) == 0;
}

static void refusal_note(struct redis *r, struct slice error)
{
    snprintf(r->refusal, sizeof r->refusal, "%.*s", (int)(error.n < sizeof r->refusal ? error.n : sizeof r->refusal),
             error.p);
}

/* Full, without replicas, a disk that fails, a right that was taken away: Redis says which. Once a minute, for each
 * send may be refused. */
static void denied_tell(struct redis *r, struct master *m, struct slice error)
{
    if (m->denied_told && r->turn_ms < m->denied_told + DENIED_AGAIN)
        return;
    m->denied_told = r->turn_ms;
    log_event(LOG_WARN, "cluster.denied", LOG_STR("host", m->host), LOG_INT("port", m->port),
              LOG_SLICE("error", error));
}

enum call_state group_error(struct redis *r, struct lane *lane, const struct call *c, struct slice error)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (!begins(error, errors[i].begins))
            continue;
        if (errors[i].library)
            lane->master->library = true;
        if (errors[i].moved)
            slots_doubt(r, error);
        if (errors[i].state == CALL_DENIED)
            denied_tell(r, lane->master, error);
        return errors[i].state;
    }
    if (lane->kind == LANE_NEWS || begins(error, "NOPERM ")) {
        refusal_note(r, error);
        denied_tell(r, lane->master, error);
        return lane->kind == LANE_NEWS ? CALL_BROKEN : CALL_DENIED;
    }
    struct slice name = c->fn < FN_COUNT ? library_name(&r->library, c->fn) : SLICE_LIT("command");
    refusal_note(r, error);
    log_event(LOG_ERROR, "cluster.function_error", LOG_SLICE("call", name), LOG_SLICE("error", error),
              LOG_STR("host", lane->master->host), LOG_INT("port", lane->master->port));
    return CALL_BROKEN;
}

/* A call was run, or may have been: what was refused before it and is about the same, must not come after it. */
static void mark_passed(struct group *g, const struct call *later)
{
    if (!g->refused || !later->about)
        return;
    for (struct call *c = g->replied.first; c; c = c->next)
        if (c->state == CALL_REFUSED && c->about == later->about && c->part == later->part)
            c->passed = true;
}

static void call_reply(struct redis *r, struct lane *lane, const struct reply *reply)
{
    struct group *g = &lane->group;
    struct call *c = queue_take(&g->sent);
    if (reply->type == REPLY_ERROR) {
        c->state = (uint8_t)group_error(r, lane, c, reply->text);
        g->refused += c->state == CALL_REFUSED;
        queue_put(&g->replied, c);
        return;
    }
    c->state = CALL_REPLIED;
    c->reply = reply;
    mark_passed(g, c);
    if (c->relaxed) {
        queue_left(r, c, lane->kind);
        call_end(r, c, STORE_OK);
    } else {
        queue_put(&g->replied, c);
        g->kept = true;
    }
}

/* --- The end of a group ------------------------------------------------------------------------------------------- */

/* Sorts a call that was not done: into *back, to be sent again, or into what is answered. */
static void sort_undone(struct redis *r, struct call *c, struct queue *back, bool unknown)
{
    if (unknown && queue_kind(c) == LANE_WRITE) {
        if (c->once) {
            queue_fail(r, c, STORE_UNKNOWN);
            return;
        }
        c->tried = true;
    }
    if (c->state == CALL_BROKEN)
        queue_fail(r, c, STORE_FATAL);
    else if (c->passed || (c->state == CALL_DENIED && !c->tried))
        queue_fail(r, c, queue_verdict(c));
    else
        queue_put(back, c);
}

/* Ends the group: its calls are the caller's, who has what is known of them in *g's queues. */
static void group_clear(struct redis *r, struct lane *lane, struct queue *replied, struct queue *sent)
{
    struct group *g = &lane->group;
    struct call *c;
    queue_init(replied);
    queue_init(sent);
    while ((c = queue_take(&g->replied))) {
        queue_left(r, c, lane->kind);
        queue_put(replied, c);
    }
    while ((c = queue_take(&g->sent))) {
        queue_left(r, c, lane->kind);
        queue_put(sent, c);
    }
    g->phase = GROUP_NONE;
    lane->link.oldest = UINT64_MAX;
}

/* Copies have it: what was done is answered, the rest goes back. */
static void group_done(struct redis *r, struct lane *lane)
{
    struct queue replied, sent, back, done;
    struct call *c;
    uint64_t now = clock_mono_us();
    if (lane->group.replied.first) { /* and not a look for copies alone */
        latency_add(&r->group_latency, now - lane->group.begun);
        latency_add(&r->wait_latency, now - lane->group.ran);
        atomic_fetch_add_explicit(&r->stats.groups, 1, memory_order_relaxed);
    }
    group_clear(r, lane, &replied, &sent);
    queue_init(&back);
    queue_init(&done);
    while ((c = queue_take(&replied)))
        if (c->state == CALL_REPLIED)
            queue_put(&done, c);
        else
            sort_undone(r, c, &back, false);
    queue_return(r, &back, lane->kind, QUEUE_HOLD);
    while ((c = queue_take(&done)))
        call_end(r, c, STORE_OK);
    redis_link_forget(&lane->link);
}

/* What became of it is not known: it goes back as a whole. */
static void group_unknown(struct redis *r, struct lane *lane)
{
    struct queue replied, sent, back;
    struct call *c;
    for (c = lane->group.sent.first; c; c = c->next)
        if (redis_link_gone(&lane->link, c->end))
            mark_passed(&lane->group, c);
    group_clear(r, lane, &replied, &sent);
    queue_init(&back);
    while ((c = queue_take(&replied)))
        sort_undone(r, c, &back, c->state == CALL_REPLIED);
    while ((c = queue_take(&sent)))
        sort_undone(r, c, &back, redis_link_gone(&lane->link, c->end));
    atomic_fetch_add(&r->stats.repeats, back.first != NULL);
    queue_return(r, &back, lane->kind, 0);
}

/* A read, or a change, has too few copies. */
static void group_short(struct redis *r, struct lane *lane)
{
    if (lane->kind == LANE_READ && copies_few_ms(r, lane->master) >= COPIES_SURE) {
        group_done(r, lane);
        return;
    }
    group_unknown(r, lane);
    redis_link_forget(&lane->link);
}

/* Whether another master has partitions of the group by now. It may have been elected without what this one's other
 * replicas have; and what those partitions have waits for this group's end. */
static bool group_is_moved(const struct redis *r, const struct lane *lane)
{
    if (lane->group.left == lane->master->left)
        return false;
    for (const struct call *c = lane->group.replied.first; c; c = c->next)
        if (r->parts[c->part].master != lane->master)
            return true;
    return false;
}

/* A look at the replicas, and then another WAIT. */
static void group_wait_on(struct redis *r, struct lane *lane, bool looked)
{
    struct group *g = &lane->group;
    if (looked) {
        g->phase = GROUP_AGAIN;
        wait_send(lane, group_wants(r, lane), GROUP_WAIT_AGAIN);
    } else {
        g->phase = GROUP_LOOK;
        if (lane->kind == LANE_WRITE) /* beats: who gives no sign for long is taken for dead */
            (void)calls_send(r, lane, true);
        look_send(lane);
        if (g->waits > 1) /* or it was a busy moment */
            slots_doubt(r, SLICE_NONE);
    }
    redis_link_flush(&lane->link);
}

/* A WAIT, or a look at the replicas behind it, has told something: the group ends, or waits on. */
static void group_decide(struct redis *r, struct lane *lane, bool looked)
{
    struct group *g = &lane->group;
    struct master *m = lane->master;
    bool enough = g->has >= g->need, all = g->has >= group_wants(r, lane);
    bool moved = (g->has < g->asked && group_is_moved(r, lane)) || (looked && !m->copies.leads);
    bool sure = looked && m->copies.serves && copies_silent_ms(r, m) >= COPIES_SURE;
    bool hopeless = g->any || g->waits >= GROUP_WAITS || !g->replied.first || copies_few_ms(r, m) >= COPIES_REFUSE;
    bool late = r->turn_ms > lane->link.oldest + r->options.cluster.patience_ms;
    if (!moved && (all || (enough && (sure || !g->kept)))) {
        group_done(r, lane);
    } else if (!enough && hopeless) {
        group_short(r, lane);
    } else if (moved || late) {
        group_unknown(r, lane);
        redis_link_forget(&lane->link);
    } else {
        group_wait_on(r, lane, looked);
    }
}

static void wait_reply(struct redis *r, struct lane *lane, const struct reply *reply)
{
    struct master *m = lane->master;
    if (reply->type != REPLY_NUMBER) { /* it is no master any more, or we may not */
        if (begins(reply->text, "NOPERM "))
            denied_tell(r, m, reply->text);
        slots_doubt(r, reply->text);
        group_unknown(r, lane);
        redis_link_end(&lane->link, "it does not wait for copies");
        return;
    }
    lane->group.has = (uint32_t)reply->number;
    copies_seen(r, m, lane->group.has, !lane->group.any);
    group_decide(r, lane, false);
}

static void look_reply(struct redis *r, struct lane *lane, const struct reply *reply)
{
    struct group *g = &lane->group;
    copies_look_reply(r, lane->master, COPIES_REPLIES - g->look--, reply);
    if (!g->look && g->phase == GROUP_LOOK)
        group_decide(r, lane, true);
}

/* --- What the link tells ------------------------------------------------------------------------------------------ */

static void load_reply(struct redis *r, struct lane *lane, const struct reply *reply)
{
    lane->master->library = false; /* a call that does not find it asks again */
    if (reply->type != REPLY_ERROR || begins(reply->text, "ERR Library 'magpie_")) /* … already exists */
        return;
    refusal_note(r, reply->text);
    log_event(LOG_WARN, "cluster.library_refused", LOG_SLICE("error", reply->text), LOG_STR("host", lane->master->host),
              LOG_INT("port", lane->master->port));
}

static void lane_reply(struct link *l, const struct reply *reply)
{
    struct lane *lane = lane_of(l);
    struct group *g = &lane->group;
    struct redis *r = l->r;
    if (g->before) {
        g->before--;
        if (g->loading)
            load_reply(r, lane, reply);
        g->loading = false;
    } else if (g->sent.first) {
        call_reply(r, lane, reply);
        if (!g->sent.first && g->phase == GROUP_CALLS)
            g->ran = clock_mono_us();
    } else if (g->look) {
        look_reply(r, lane, reply);
    } else {
        wait_reply(r, lane, reply);
    }
}

void group_ready(struct link *l)
{
    struct master *m = lane_of(l)->master;
    if (m->lost)
        log_event(LOG_INFO, "cluster.master_found", LOG_STR("host", m->host), LOG_INT("port", m->port));
    m->lost = false;
    m->ready_at = l->r->turn_ms;
}

static void lane_lost(struct link *l)
{
    struct lane *lane = lane_of(l);
    if (lane->group.phase != GROUP_NONE)
        group_unknown(l->r, lane);
    copies_forget(lane->master);
    slots_doubt(l->r, SLICE_NONE);
}

const struct link_events group_link_events = {group_ready, lane_reply, lane_lost};
