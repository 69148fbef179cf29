/* Intents that are done: see settle.h. */
#include "storage/redis/ops/settle.h"

#include "core/base/container.h"
#include "storage/redis/layout.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>

enum { SETTLE_MAX = 32 /* by one call: as much as the function takes */ };
#define SETTLE_AFTER 1.0 /* s: then many of a partition go together, and the sweep (OLD_MS) has not come yet */

/* What waits of one partition. */
struct settle {
    struct call call;
    struct settle *next; /* in settles.first */
    uint16_t part;
    uint32_t n;
};

struct settles {
    struct redis *r;
    struct settle *waits[PARTITIONS]; /* NULL: nothing; owned */
    struct settle *first;             /* all of those */
    ev_timer timer;
};

static void on_settled(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)status, (void)reply; /* what is still there is found by the sweep */
    r->background--;
    free(CONTAINER_OF(c, struct settle, call));
}

static void settle_post(struct redis *r, struct settle *s)
{
    r->settles->waits[s->part] = NULL;
    call_post(r, &s->call);
}

void settle_flush(struct redis *r)
{
    struct settle *s = r->settles->first;
    r->settles->first = NULL;
    while (s) {
        struct settle *next = s->next;
        settle_post(r, s);
        s = next;
    }
    ev_timer_stop(r->loop, &r->settles->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    settle_flush(CONTAINER_OF(w, struct settles, timer)->r);
}

int settle_init(struct redis *r)
{
    r->settles = calloc(1, sizeof *r->settles);
    if (!r->settles)
        return ERR_NOMEM;
    r->settles->r = r;
    ev_init(&r->settles->timer, on_timer);
    r->settles->timer.repeat = SETTLE_AFTER;
    return 0;
}

/* What waits is flushed before an engine ends by itself; one that ends in the middle leaves it to the sweep. */
void settle_fini(struct redis *r)
{
    for (struct settle *s = r->settles ? r->settles->first : NULL, *next; s; s = next) {
        next = s->next;
        call_drop(r, &s->call);
        free(s);
    }
    free(r->settles);
    r->settles = NULL;
}

/* What waits of a partition, with room for one more; NULL: out of memory. */
static struct settle *settle_of(struct redis *r, unsigned part)
{
    struct settles *all = r->settles;
    struct settle *s = all->waits[part];
    if (s)
        return s;
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    call_begin(r, &s->call, FN_SETTLE, part);
    call_key(r, &s->call, 'o', SLICE_NONE);
    s->call.done = on_settled;
    s->part = (uint16_t)part;
    r->background++;
    s->next = all->first;
    all->first = all->waits[part] = s;
    if (!ev_is_active(&all->timer))
        ev_timer_again(r->loop, &all->timer);
    return s;
}

void settle_later(struct redis *r, unsigned part, struct slice field, uint64_t version)
{
    struct settle *s = settle_of(r, part);
    char v[6];
    if (!s)
        return;
    layout_put48(v, version);
    call_arg(&s->call, field);
    call_arg(&s->call, version ? slice_of(v, sizeof v) : SLICE_NONE);
    if (++s->n < SETTLE_MAX)
        return;
    struct settle **at = &r->settles->first;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    settle_post(r, s);
}
