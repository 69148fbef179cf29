/* Channels that this node follows: see follow.h. */
#include "storage/redis/bus/follow.h"

#include "core/base/utf8.h"
#include "storage/conv_key.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/bus/ear.h"
#include "storage/redis/ops/history.h"
#include "storage/redis/task.h"

#include <stdlib.h>

/* A bus_follow() that waits for the subscription, or reads the head: what its task owns. */
struct following {
    struct history history;
    struct following *next; /* of those of its channel that wait */
    struct task *task;
};

struct follow {
    struct ear_sub sub;                         /* first */
    struct following *waiting, **waiting_last;  /* in the order handed over */
    struct follow *waiting_next, *waiting_prev; /* of those where somebody waits */
    char name[];
};

struct follows {
    struct follow *waiting; /* where somebody waits */
};

static struct follow *follow_of(struct ear_sub *s)
{
    return (struct follow *)s; /* its first member */
}

/* --- Those that wait ---------------------------------------------------------------------------------------------- */

static void waiting_add(struct redis *r, struct follow *f, struct following *w)
{
    struct follows *fs = r->bus->follows;
    if (!f->waiting) {
        f->waiting_prev = NULL;
        f->waiting_next = fs->waiting;
        if (fs->waiting)
            fs->waiting->waiting_prev = f;
        fs->waiting = f;
        f->waiting_last = &f->waiting;
    }
    w->next = NULL;
    *f->waiting_last = w;
    f->waiting_last = &w->next;
}

/* Takes the first one out; NULL: nobody waits. */
static struct following *waiting_take(struct redis *r, struct follow *f)
{
    struct following *w = f->waiting;
    if (!w || (f->waiting = w->next))
        return w;
    if (f->waiting_prev)
        f->waiting_prev->waiting_next = f->waiting_next;
    else
        r->bus->follows->waiting = f->waiting_next;
    if (f->waiting_next)
        f->waiting_next->waiting_prev = f->waiting_prev;
    return w;
}

/* Answers those of a channel that were handed over before `since`. */
static void waiting_fail(struct redis *r, struct follow *f, uint64_t since)
{
    while (f->waiting && f->waiting->task->since < since) {
        ears_owe(r, f->sub.part);
        task_end(r, waiting_take(r, f)->task, STORE_RETRY);
    }
}

static void all_fail(struct redis *r, uint64_t since)
{
    for (struct follow *f = r->bus->follows->waiting, *next; f; f = next) {
        next = f->waiting_next;
        waiting_fail(r, f, since);
    }
}

void follows_tick(struct redis *r)
{
    uint64_t patience = r->options.cluster.patience_ms;
    if (r->turn_ms > patience)
        all_fail(r, r->turn_ms - patience);
}

void follows_rest(struct redis *r)
{
    all_fail(r, UINT64_MAX);
}

/* --- Following ---------------------------------------------------------------------------------------------------- */

static void head_read(struct redis *r, struct history *h, enum store_status status)
{
    struct following *w = h->ctx;
    struct bus_follow *op = (struct bus_follow *)w->task->op;
    const struct layout_head *head = &h->head;
    page_drop(&h->page); /* it has no messages */
    if (status == STORE_OK) {
        op->exists = head->flags & LAYOUT_MADE && !(head->flags & LAYOUT_WIPING);
        op->seq = head->seq;
        op->member_version = head->version;
        op->members = head->members;
        op->tier = head->flags & LAYOUT_MADE ? (enum store_tier)head->tier : TIER_SMALL;
    } else {
        ears_owe(r, partition_of(op->conv));
    }
    task_end(r, w->task, status);
}

static void read_head(struct redis *r, struct following *w)
{
    w->history = (struct history){.conv = ((struct bus_follow *)w->task->op)->conv, .done = head_read, .ctx = w};
    history_read(r, &w->history);
}

static void follow_on(struct redis *r, struct ear_sub *s)
{
    struct following *w;
    while ((w = waiting_take(r, follow_of(s))))
        read_head(r, w);
}

static void follow_gone(struct redis *r, struct ear_sub *s)
{
    (void)r;
    free(follow_of(s));
}

static struct follow *follow_find(const struct redis *r, struct slice conv)
{
    char name[BUS_CHANNEL_MAX];
    struct ear_sub *s = ears_find(r, redis_bus_to_followers(r, name, conv));
    return s ? follow_of(s) : NULL;
}

/* NULL: out of memory. */
static struct follow *follow_new(struct redis *r, struct slice conv)
{
    char name[BUS_CHANNEL_MAX];
    struct slice n = redis_bus_to_followers(r, name, conv);
    struct follow *f = calloc(1, sizeof *f + n.n);
    if (!f)
        return NULL;
    memcpy(f->name, n.p, n.n);
    f->sub = (struct ear_sub){
        .name = slice_of(f->name, n.n), .part = partition_of(conv), .on = follow_on, .gone = follow_gone};
    ears_add(r, &f->sub);
    return f;
}

static bool conv_sane(struct slice conv)
{
    return conv_is_channel(conv) && value_channel(conv_channel_name(conv));
}

void begin_bus_follow(struct redis *r, struct task *t)
{
    struct bus_follow *op = (struct bus_follow *)t->op;
    struct following *w = task_own(t, sizeof *w);
    op->seq = op->member_version = 0;
    op->members = 0;
    op->tier = TIER_SMALL;
    op->exists = false;
    if (!w || !conv_sane(op->conv)) {
        task_end(r, t, w ? STORE_FATAL : STORE_RETRY);
        return;
    }
    w->task = t;
    struct follow *f = follow_find(r, op->conv);
    if (f)
        ears_want(r, &f->sub, true);
    else if (!(f = follow_new(r, op->conv)))
        task_end(r, t, STORE_RETRY);
    if (f && f->sub.state == EAR_ON)
        read_head(r, w);
    else if (f)
        waiting_add(r, f, w);
}

void begin_bus_unfollow(struct redis *r, struct task *t)
{
    struct slice conv = ((struct bus_unfollow *)t->op)->conv;
    struct follow *f = conv_sane(conv) ? follow_find(r, conv) : NULL;
    if (f) {
        waiting_fail(r, f, UINT64_MAX);
        ears_want(r, &f->sub, false);
    }
    task_end(r, t, STORE_OK);
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

int follows_init(struct redis *r)
{
    r->bus->follows = calloc(1, sizeof *r->bus->follows);
    return r->bus->follows ? 0 : ERR_NOMEM;
}

void follows_fini(struct redis *r)
{
    free(r->bus->follows);
    r->bus->follows = NULL;
}
