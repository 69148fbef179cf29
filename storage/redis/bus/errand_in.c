/* What other nodes want done here: see errand_in.h. */
#include "storage/redis/bus/errand_in.h"

#include "core/base/container.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/bus/errand.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/io.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/time.h"

#include <stdlib.h>

enum {
    CHAINS = 1024,
    LATE_MS = 10000,      /* an errand that was told longer ago is not done: nobody waits for it */
    KEEP_MS = 20000,      /* so long it is known after it came last: it cannot come again then */
    ANSWERS_MAX = 8 << 20 /* bytes of answers that are kept, for who did not hear them */
};

/* An order that the hub has until it gives the receipt. */
struct given {
    struct bus_order order;
    struct errand_in *in;
    char data[]; /* user, body */
};

/* One that has come. */
struct errand_in {
    struct errand_in *chain, *later; /* of those with that hash; of all, as they came */
    uint64_t number, origin;         /* who wants it */
    uint64_t came_ms;                /* when it came last, by redis.turn_ms */
    uint64_t queued_ms;              /* when it was put behind all others, likewise */
    uint32_t tries;                  /* replies so far */
    uint32_t connections;            /* done: for the receipt */
    bool asks;                       /* it is a question */
    bool quiet;                      /* an order that nobody waits for */
    bool done;                       /* and so is replied to when it comes again */
    bool dropped;                    /* done, a question: its answer is not kept */
    size_t n;                        /* bytes of body */
    char *body;                      /* done: the answer; owned */
    struct given *given;             /* not done: the order; owned */
};

struct errands_in {
    struct errand_in *chains[CHAINS];
    struct errand_in *first, **last;
    size_t kept; /* bytes of all answers */
};

int errands_in_init(struct redis *r)
{
    r->bus->errands_in = calloc(1, sizeof *r->bus->errands_in);
    if (!r->bus->errands_in)
        return ERR_NOMEM;
    r->bus->errands_in->last = &r->bus->errands_in->first;
    return 0;
}

static void in_free(struct errand_in *in)
{
    free(in->body);
    free(in->given);
    free(in);
}

void errands_in_fini(struct redis *r)
{
    while (r->bus->errands_in && r->bus->errands_in->first) {
        struct errand_in *in = r->bus->errands_in->first;
        r->bus->errands_in->first = in->later;
        in_free(in);
    }
    free(r->bus->errands_in);
    r->bus->errands_in = NULL;
}

/* --- Those that came ---------------------------------------------------------------------------------------------- */

static struct errand_in **in_find(struct redis *r, uint64_t number)
{
    struct errand_in **at = &r->bus->errands_in->chains[number % CHAINS];
    while (*at && (*at)->number != number)
        at = &(*at)->chain;
    return at;
}

static void in_queue(struct errands_in *all, struct errand_in *in, uint64_t now)
{
    in->later = NULL;
    in->queued_ms = now;
    *all->last = in;
    all->last = &in->later;
}

static void in_add(struct redis *r, struct errand_in *in, const struct news_more *m)
{
    in->number = m->number;
    in->origin = m->origin;
    in->came_ms = r->turn_ms;
    in->chain = *in_find(r, m->number);
    *in_find(r, m->number) = in;
    in_queue(r->bus->errands_in, in, r->turn_ms);
}

void errands_in_tick(struct redis *r)
{
    struct errands_in *all = r->bus->errands_in;
    struct errand_in *in;
    while ((in = all->first) && r->turn_ms > in->queued_ms + KEEP_MS) {
        all->first = in->later;
        if (!all->first)
            all->last = &all->first;
        if (in->done && r->turn_ms > in->came_ms + KEEP_MS) {
            *in_find(r, in->number) = in->chain;
            all->kept -= in->n;
            in_free(in);
        } else {
            in_queue(all, in, r->turn_ms); /* the hub is at it still, or it has come again */
        }
    }
}

/* --- Replies ------------------------------------------------------------------------------------------------------ */

/* Says that it is done; again over another master, if it was said before and not heard. */
static void in_reply(struct redis *r, struct errand_in *in)
{
    struct news_more say = {.kind = in->asks ? NEWS_ANSWER : NEWS_RECEIPT,
                            .origin = node_others(r)->inc,
                            .number = in->number,
                            .connections = in->connections,
                            .body = slice_of(in->body, in->n)};
    unsigned part = errand_part(r, (unsigned)(in->number % PARTITIONS), in->tries++);
    struct buf *b = in->quiet || in->dropped || !say.origin ? NULL : tell_node(r, NULL, part, in->origin);
    if (b)
        news_more_put(b, &say);
}

static void receipt_arrive(void *owner, struct mail *m)
{
    struct redis *r = owner;
    struct given *g = (struct given *)m; /* its first member's first member's */
    struct errand_in *in = g->in;
    in->connections = g->order.connections;
    in->done = true;
    in->given = NULL;
    free(g);
    in_reply(r, in);
}

void errand_receipt(struct bus *b, struct bus_order *o)
{
    o->op.mail.run = receipt_arrive;
    redis_io_run(redis_of_bus(b), &o->op.mail);
}

struct answer {
    struct mail mail; /* first */
    uint64_t number;
    size_t n;
    char body[];
};

static void answer_arrive(void *owner, struct mail *m)
{
    struct redis *r = owner;
    struct answer *a = (struct answer *)m;
    struct errand_in *in = *in_find(r, a->number);
    if (in && in->asks && !in->done) {
        in->done = true;
        in->body = a->n ? malloc(a->n) : NULL;
        in->n = in->body ? a->n : 0;
        in->dropped = a->n && !in->body;
        if (in->n)
            memcpy(in->body, a->body, a->n);
        in_reply(r, in);
        r->bus->errands_in->kept += in->n;
        if (r->bus->errands_in->kept > ANSWERS_MAX) {
            r->bus->errands_in->kept -= in->n;
            free(in->body);
            in->body = NULL;
            in->n = 0;
            in->dropped = true;
        }
    }
    free(a);
}

void errand_answer(struct bus *b, struct bus_called *c, struct slice body)
{
    struct answer *a = malloc(sizeof *a + body.n);
    if (a) { /* else whoever asks waits in vain */
        a->mail.run = answer_arrive;
        a->number = c->ticket;
        a->n = body.n;
        if (body.n)
            memcpy(a->body, body.p, body.n);
        redis_io_run(redis_of_bus(b), &a->mail);
    }
    free(c);
}

/* --- What has come ------------------------------------------------------------------------------------------------ */

static struct given *given_new(const struct news_more *m, struct errand_in *in)
{
    struct given *g = malloc(sizeof *g + m->user.n + m->body.n);
    if (!g)
        return NULL;
    memcpy(g->data, m->user.p, m->user.n);
    if (m->body.n)
        memcpy(g->data + m->user.n, m->body.p, m->body.n);
    g->in = in;
    g->order = (struct bus_order){.kind = (enum bus_order_kind)m->order,
                                  .user = slice_of(g->data, m->user.n),
                                  .body = slice_of(g->data + m->user.n, m->body.n),
                                  .conn = m->conn,
                                  .action = m->action};
    return g;
}

/* Without memory nothing is done: it comes again. */
static void order_take(struct redis *r, const struct news_more *m)
{
    struct errand_in *in = calloc(1, sizeof *in);
    struct given *g = in ? given_new(m, in) : NULL;
    if (!g) {
        free(in);
        return;
    }
    in->quiet = m->order == ORDER_PUSH;
    in_add(r, in, m);
    in->given = g;
    if (redis_bus_ordered(r, &g->order))
        return;
    in->given = NULL; /* nobody listens: there are no connections */
    free(g);
    in->done = true;
    in_reply(r, in);
}

static void call_take(struct redis *r, const struct news_more *m)
{
    struct errand_in *in = calloc(1, sizeof *in);
    struct bus_called *c = in ? malloc(sizeof *c + m->body.n) : NULL;
    if (!c) {
        free(in);
        return;
    }
    *c = (struct bus_called){
        .node = m->origin, .ticket = m->number, .what = m->what, .body = slice_of(c->data, m->body.n)};
    if (m->body.n)
        memcpy(c->data, m->body.p, m->body.n);
    if (!redis_bus_called(r, c)) { /* nobody answers yet: it may come again */
        free(c);
        free(in);
        return;
    }
    in->asks = true;
    in_add(r, in, m);
}

void errand_heard(struct redis *r, const struct news_more *m)
{
    if (m->kind == NEWS_RECEIPT || m->kind == NEWS_ANSWER) {
        errand_reply(r, m);
        return;
    }
    struct errand_in *in = *in_find(r, m->number);
    if (m->body.n > BUS_CALL_MAX || time_now(r) > m->time_ms + LATE_MS)
        return;
    if (in) {
        in->origin = m->origin;
        in->came_ms = r->turn_ms;
        if (in->done)
            in_reply(r, in);
    } else if (m->kind == NEWS_ORDER) {
        order_take(r, m);
    } else {
        call_take(r, m);
    }
}
