/*
 * Engines as nodes on one Redis Cluster, in one process, each with a hub that does what a test says. Included by
 * test_redis_*.c alone.
 */
#ifndef MAGPIE_TESTS_BUS_KIT_H
#define MAGPIE_TESTS_BUS_KIT_H

#include "tests/unit/test_store_util.h"

#include "storage/bus.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/nodes/node.h"
#include "tests/unit/redis_raw.h"

enum { HEARD = 64 };

/* What a hub would do: it notes what it hears, gives receipts and answers, unless it is told to wait. */
struct hub {
    struct world w;
    uint64_t inc;         /* its incarnation */
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t some;  /* something has come */
    struct bus_news *news[HEARD];
    struct bus_order orders[HEARD]; /* user and body of these point into texts */
    char texts[HEARD][200];
    unsigned news_n, order_n, call_n;
    unsigned connections; /* what receipts say */
    bool mute;            /* no receipts, no answers */
    struct bus_order *waiting;
    struct bus_called *asking;
};

struct pair {
    struct hub a, b;
    struct raw raw;
};

static inline void heard(void *ctx, struct bus_news *n)
{
    struct hub *h = ctx;
    pthread_mutex_lock(&h->lock);
    if (n->kind == NEWS_PRESENCE && h->news_n < HEARD)
        h->news[h->news_n++] = n;
    else
        free(n);
    pthread_cond_broadcast(&h->some);
    pthread_mutex_unlock(&h->lock);
}

static inline void ordered(void *ctx, struct bus_order *o)
{
    struct hub *h = ctx;
    pthread_mutex_lock(&h->lock);
    unsigned i = h->order_n++ % HEARD;
    h->orders[i] = *o;
    snprintf(h->texts[i], sizeof h->texts[i], "%.*s %.*s", (int)o->user.n, o->user.p, (int)o->body.n, o->body.p);
    o->connections = h->connections;
    bool mute = h->mute;
    if (mute)
        h->waiting = o;
    pthread_cond_broadcast(&h->some);
    pthread_mutex_unlock(&h->lock);
    if (!mute)
        bus_receipt(store_bus(h->w.s), o);
}

static inline void reset(void *ctx, const uint8_t parts[BUS_PARTS])
{
    (void)ctx, (void)parts;
}

static inline void event(void *ctx, enum bus_event what, uint64_t node)
{
    (void)ctx, (void)what, (void)node;
}

/* Answers with what it was asked, and its own number before it. */
static inline void called(void *ctx, struct bus_called *c)
{
    struct hub *h = ctx;
    struct buf b = BUF_INIT;
    buf_printf(&b, "%u:%u:", h->w.o.node, c->what);
    buf_slice_put(&b, c->body);
    pthread_mutex_lock(&h->lock);
    h->call_n++;
    bool mute = h->mute;
    if (mute)
        h->asking = c;
    pthread_cond_broadcast(&h->some);
    pthread_mutex_unlock(&h->lock);
    if (!mute)
        bus_answer(store_bus(h->w.s), c, buf_slice(&b));
    buf_free(&b);
}

static inline void noted(void *ctx, struct bus_noted *n)
{
    bus_applied(store_bus(((struct hub *)ctx)->w.s), n);
}

static inline void hub_listen(struct hub *h)
{
    const struct bus_ears ears = {
        .ctx = h, .heard = heard, .reset = reset, .event = event, .ordered = ordered, .called = called, .noted = noted};
    bus_listen(store_bus(h->w.s), &ears);
}

static inline void hub_open(struct hub *h, struct hub *first, uint16_t node)
{
    memset(h, 0, sizeof *h);
    world_init(&h->w, "redis");
    if (first != h)
        h->w.o.cluster.prefix = first->w.prefix;
    h->w.o.node = node;
    h->w.redis_hooks = (struct redis_hooks){.wall_ms = util_wall, .boot_ms = util_boot, .ctx = &first->w};
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->some, NULL);
    world_open(&h->w);
    hub_listen(h);
}

static inline void hub_close(struct hub *h)
{
    bus_listen(store_bus(h->w.s), NULL);
    world_fini(&h->w);
    for (unsigned i = 0; i < h->news_n; i++)
        free(h->news[i]);
    pthread_mutex_destroy(&h->lock);
    pthread_cond_destroy(&h->some);
}

/* Waits until *n is at least `least`. */
static inline void hub_expect(struct hub *h, const unsigned *n, unsigned least)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&h->lock);
    while (*n < least && pthread_cond_timedwait(&h->some, &h->lock, &until) == 0)
        ;
    assert_true(*n >= least);
    pthread_mutex_unlock(&h->lock);
}

/* *n as it is now. */
static inline unsigned now(struct hub *h, const unsigned *n)
{
    pthread_mutex_lock(&h->lock);
    unsigned v = *n;
    pthread_mutex_unlock(&h->lock);
    return v;
}

static inline void mute(struct hub *h, bool on)
{
    pthread_mutex_lock(&h->lock);
    h->mute = on;
    pthread_mutex_unlock(&h->lock);
}

/* The i-th news of presence that it heard. */
static inline struct bus_news *news(struct hub *h, unsigned i)
{
    pthread_mutex_lock(&h->lock);
    struct bus_news *n = h->news[i];
    pthread_mutex_unlock(&h->lock);
    return n;
}

#define BUS(h, fn, x)                                                                                                  \
    (util_prepare(&(h)->w, &(x)->op), fn(store_bus((h)->w.s), (x)), util_wait(&(h)->w, &(x)->op), (x)->op.status)

static inline struct bus_call call_of(uint64_t node, const char *body)
{
    return (struct bus_call){.node = node, .what = CALL_CONSOLE, .body = S(body)};
}

/* Whether `from` knows the other, which hears it. So it is known which incarnation the other is. */
static inline bool answers(struct hub *from, struct hub *to)
{
    struct bus_call c = call_of(0, "hello");
    bool answered = false;
    assert_int_equal(BUS(from, bus_call, &c), STORE_OK);
    for (uint32_t i = 0; i < c.n; i++) {
        if (c.answers[i].number != to->w.o.node || c.answers[i].status != STORE_OK)
            continue;
        to->inc = c.answers[i].node;
        answered = true;
    }
    bus_call_free(&c);
    return answered;
}

static inline void hub_meet(struct hub *a, struct hub *b)
{
    for (int i = 0; i < 40 && !(answers(a, b) && answers(b, a)); i++)
        usleep(100000);
    assert_true(answers(a, b));
}

static inline int setup(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    *state = p;
    if (!redis_kit_addresses())
        return 0;
    hub_open(&p->a, &p->a, 5);
    hub_open(&p->b, &p->a, 6);
    hub_meet(&p->a, &p->b);
    raw_init(&p->raw);
    memcpy(p->raw.prefix, p->a.w.prefix, sizeof p->raw.prefix);
    return 0;
}

static inline int teardown(void **state)
{
    struct pair *p = *state;
    if (redis_kit_addresses()) {
        raw_fini(&p->raw);
        hub_close(&p->a);
        hub_close(&p->b);
    }
    free(p);
    return 0;
}

static inline struct bus_session_put put_try(struct hub *h, const char *user, const char *device, uint32_t conn,
                                             bool restore)
{
    struct bus_session_put put = {
        .user = S(user), .device = S(device), .conn = {.shard = 1, .conn = conn, .generation = 7}, .restore = restore};
    (void)BUS(h, bus_session_put, &put);
    return put;
}

static inline struct bus_session_put put(struct hub *h, const char *user, const char *device, uint32_t conn)
{
    struct bus_session_put done = put_try(h, user, device, conn, false);
    assert_int_equal(done.op.status, STORE_OK);
    return done;
}

static inline void del(struct hub *h, const char *user)
{
    struct bus_session_del d = {.user = S(user)};
    assert_int_equal(BUS(h, bus_session_del, &d), STORE_OK);
}

static inline struct bus_order order_of(enum bus_order_kind kind, const char *user, const char *body)
{
    return (struct bus_order){.kind = kind, .user = S(user), .body = S(body)};
}

#endif
