#include "storage/redis/client/queue.h"

#include "core/base/log.h"
#include "storage/redis/bus/ear.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/client/group.h"
#include "storage/redis/client/publish.h"
#include "storage/redis/client/slots.h"
#include "storage/redis/redis_private.h"

/* --- Answering ---------------------------------------------------------------------------------------------------- */

void queue_fail(struct redis *r, struct call *c, enum store_status status)
{
    c->verdict = (uint8_t)status;
    queue_put(&r->failed, c);
    ev_async_send(r->loop, &r->wake); /* the turn's end may have gone by */
}

/* Answers those that failed before this; what they post anew, and fails too, waits for the next turn. */
static void answer_failed(struct redis *r)
{
    struct queue now = r->failed;
    struct call *c;
    if (!now.first)
        return;
    queue_init(&r->failed);
    while ((c = queue_take(&now)))
        call_end(r, c, (enum store_status)c->verdict);
}

/* --- Lists of partitions ------------------------------------------------------------------------------------------ */

void queue_list(struct redis *r, uint16_t part, enum lane_kind kind)
{
    struct part *p = &r->parts[part];
    struct lane *lane = &p->master->lanes[kind];
    if (p->listed[kind] || !p->queue[kind].first)
        return;
    p->listed[kind] = true;
    p->next[kind] = QUEUE_NONE;
    if (lane->first == QUEUE_NONE)
        lane->first = part;
    else
        r->parts[lane->last].next[kind] = part;
    lane->last = part;
    lane->count++;
}

/* Takes the first partition out of the lane's list; QUEUE_NONE: it is empty. */
static uint16_t unlist_first(struct redis *r, struct lane *lane)
{
    uint16_t part = lane->first;
    if (part == QUEUE_NONE)
        return QUEUE_NONE;
    lane->first = r->parts[part].next[lane->kind];
    if (lane->first == QUEUE_NONE)
        lane->last = QUEUE_NONE;
    r->parts[part].listed[lane->kind] = false;
    lane->count--;
    return part;
}

uint16_t queue_next_part(struct redis *r, struct lane *lane, unsigned *looked)
{
    for (unsigned all = lane->count; (*looked)++ < all;) {
        uint16_t part = unlist_first(r, lane);
        if (part == QUEUE_NONE)
            return QUEUE_NONE;
        struct part *p = &r->parts[part];
        /* What an earlier master has under way may still be refused, and comes first then. */
        if (!p->blocked[lane->kind] && r->turn_ms >= p->hold_until[lane->kind])
            return part;
        queue_list(r, part, lane->kind);
    }
    return QUEUE_NONE;
}

/* --- Calls in and out --------------------------------------------------------------------------------------------- */

static void count_in(struct part *p, const struct call *c, enum lane_kind kind)
{
    p->bytes[kind] += c->body.n;
    p->master->bytes += c->body.n;
}

static void count_out(struct part *p, const struct call *c, enum lane_kind kind)
{
    p->bytes[kind] -= c->body.n;
    p->master->bytes -= c->body.n;
}

struct call *queue_pull(struct redis *r, uint16_t part, enum lane_kind kind)
{
    struct part *p = &r->parts[part];
    struct call *c = queue_take(&p->queue[kind]);
    count_out(p, c, kind);
    return c;
}

struct call *queue_pull_beat(struct redis *r, uint16_t part, enum lane_kind kind)
{
    struct part *p = &r->parts[part];
    struct queue *q = &p->queue[kind];
    struct call **at = &q->first, *c;
    while ((c = *at) && !(c->relaxed && !c->about))
        at = &c->next;
    if (!c)
        return NULL;
    *at = c->next;
    if (q->last == &c->next)
        q->last = at;
    count_out(p, c, kind);
    return c;
}

void queue_post(struct redis *r, struct call *c)
{
    enum lane_kind kind = queue_kind(c);
    struct part *p = &r->parts[c->part];
    bool refuse = kind == LANE_WRITE && !c->relaxed && copies_few_ms(r, p->master) >= COPIES_REFUSE;
    if (!buf_ok(&c->body)) {
        queue_fail(r, c, STORE_FATAL);
    } else if (r->stopped || refuse || r->turn_ms > queue_until(r, c) || p->master->bytes + c->body.n > QUEUE_MAX) {
        queue_fail(r, c, STORE_RETRY);
    } else {
        queue_put(&p->queue[kind], c);
        count_in(p, c, kind);
        queue_list(r, c->part, kind);
    }
}

uint64_t queue_until(const struct redis *r, const struct call *c)
{
    return c->since + (queue_kind(c) == LANE_NEWS ? NEWS_KEEP : r->options.cluster.patience_ms);
}

void queue_left(struct redis *r, const struct call *c, enum lane_kind kind)
{
    struct part *p = &r->parts[c->part];
    if (!--p->under[kind])
        p->blocked[kind] = false;
}

void queue_return(struct redis *r, struct queue *calls, enum lane_kind kind, uint32_t hold)
{
    struct queue reversed;
    struct call *c;
    queue_init(&reversed);
    while ((c = queue_take(calls)))
        queue_put_front(&reversed, c);
    while ((c = queue_take(&reversed))) {
        struct part *p = &r->parts[c->part];
        c->reply = NULL;
        queue_put_front(&p->queue[kind], c);
        count_in(p, c, kind);
        if (hold)
            p->hold_until[kind] = r->turn_ms + hold;
        queue_list(r, c->part, kind);
    }
}

void queue_assign(struct redis *r, uint16_t part, struct master *m)
{
    struct part *p = &r->parts[part];
    struct master *old = p->master;
    if (old == m)
        return;
    for (int kind = 0; kind < LANES; kind++) {
        if (p->listed[kind]) { /* taken out of the old master's list */
            struct lane *lane = &old->lanes[kind];
            uint16_t last = lane->last, first;
            do {
                first = unlist_first(r, lane);
                if (first != part)
                    queue_list(r, first, kind);
            } while (first != last);
        }
        p->blocked[kind] = p->under[kind] > 0;
        p->hold_until[kind] = 0; /* what was refused by the old one need not wait */
        old->bytes -= p->bytes[kind];
        m->bytes += p->bytes[kind];
    }
    old->parts--;
    old->left++;
    m->parts++;
    p->master = m;
    for (int kind = 0; kind < LANES; kind++)
        queue_list(r, part, (enum lane_kind)kind);
    ears_moved(r, part);
}

/* --- Now and then ------------------------------------------------------------------------------------------------- */

/* Answers what waited for too long, and changes that their master may not have because it is short of copies. */
static void expire(struct redis *r, uint16_t part, enum lane_kind kind)
{
    struct part *p = &r->parts[part];
    struct queue all = p->queue[kind];
    struct call *c;
    bool refuse = kind == LANE_WRITE && copies_few_ms(r, p->master) >= COPIES_REFUSE;
    if (!all.first)
        return;
    queue_init(&p->queue[kind]);
    while ((c = queue_take(&all))) {
        bool old = r->turn_ms > queue_until(r, c);
        if (!old && !(refuse && !c->tried && !c->relaxed)) {
            queue_put(&p->queue[kind], c);
            continue;
        }
        count_out(p, c, kind);
        queue_fail(r, c, queue_verdict(c));
    }
}

static void tick_lane(struct redis *r, struct lane *lane)
{
    struct master *m = lane->master;
    if (lane->link.state != LINK_DOWN)
        redis_link_tick(&lane->link);
    else if (m->parts && (lane->kind != LANE_NEWS || tell_is_on(r)))
        redis_link_open(&lane->link, m->host, m->port);
    if (lane->link.state == LINK_READY)
        m->ready_at = r->turn_ms;
}

static void tick_master(struct redis *r, struct master *m)
{
    for (int kind = 0; kind < LANES; kind++)
        tick_lane(r, &m->lanes[kind]);
    if (m->parts && !m->lost && m->ready_at + LINK_SILENCE < r->turn_ms) {
        m->lost = true;
        log_event(LOG_WARN, "cluster.master_lost", LOG_STR("host", m->host), LOG_INT("port", m->port));
    }
    if (m->parts && m->lost && r->turn_ms >= r->slots.asked_at + LINK_AGAIN)
        slots_doubt(r, SLICE_NONE);
}

void queue_tick(struct redis *r)
{
    for (struct master *m = r->slots.masters, *next; m; m = next) {
        next = m->next;
        tick_master(r, m);
    }
    if (r->turn_ms < r->expired_at + QUEUE_EXPIRE)
        return;
    r->expired_at = r->turn_ms;
    for (uint16_t i = 0; i < PARTITIONS; i++)
        for (int kind = 0; kind < LANES; kind++)
            expire(r, i, (enum lane_kind)kind);
    tell_tick(r);
}

void queue_turn(struct redis *r)
{
    answer_failed(r);
    tell_turn(r);
    for (struct master *m = r->slots.masters; m; m = m->next)
        publish_run(r, &m->lanes[LANE_NEWS]); /* first: what it lets begin goes with the groups */
    for (struct master *m = r->slots.masters; m; m = m->next) {
        group_run(r, &m->lanes[LANE_WRITE]);
        group_run(r, &m->lanes[LANE_READ]);
    }
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

void queue_start(struct redis *r, struct master *nobody)
{
    queue_init(&r->failed);
    for (int i = 0; i < PARTITIONS; i++) {
        r->parts[i] = (struct part){.master = nobody};
        for (int kind = 0; kind < LANES; kind++)
            queue_init(&r->parts[i].queue[kind]);
    }
    nobody->parts = PARTITIONS;
}

void queue_stop(struct redis *r)
{
    struct call *c;
    r->stopped = true;
    tell_turn(r);
    for (struct master *m = r->slots.masters; m; m = m->next)
        for (int kind = 0; kind < LANES; kind++)
            redis_link_end(&m->lanes[kind].link, "the engine ends");
    for (int i = 0; i < PARTITIONS; i++)
        for (int kind = 0; kind < LANES; kind++)
            while ((c = queue_take(&r->parts[i].queue[kind])))
                queue_fail(r, c, queue_verdict(c));
    while (r->failed.first)
        answer_failed(r);
}
