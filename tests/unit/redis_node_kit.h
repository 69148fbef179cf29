/* Nodes of one cluster in one process, with real time, a real Redis Cluster, and ears in place of the bus's. It is of
 * one test program: its state is static. */
#ifndef MAGPIE_TEST_REDIS_NODE_KIT_H
#define MAGPIE_TEST_REDIS_NODE_KIT_H

#include "redis_raw.h"
#include "core/base/clock.h"
#include "core/base/mailbox.h"
#include "storage/bus.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/notes.h"
#include "storage/redis/nodes/notes_log.h"
#include "storage/redis/nodes/notes_log_private.h"
#include "storage/redis/redis_private.h"

#include <unistd.h>

#define S(x) slice_str(x)

/* A node, and what its bus would have been told. */
struct ears {
    struct store *s;
    uint64_t dead[4], buried, back; /* incarnations; under lock, as all below */
    unsigned deads;
    unsigned patrols;
    unsigned told;          /* changes for the other nodes */
    struct bus_noted *note; /* that the layers above have, and has not been put in force */
    char notes[4096];       /* what they have had: "+key=value ", "-key ", "!key=value " (passing), "all " */
    uint64_t place;         /* of the newest of them */
    bool hold;              /* they take their time */
};

struct world {
    struct raw raw;
    struct store_options o;
    struct ears ears[3];
    char why[256];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static inline struct ears *ears_of(struct redis *r)
{
    return r->hooks.ctx;
}

static inline bool listens(const struct redis *r)
{
    (void)r;
    return true;
}

static inline void event(struct redis *r, enum bus_event what, uint64_t node)
{
    struct ears *e = ears_of(r);
    pthread_mutex_lock(&lock);
    if (what == BUS_NODE_DEAD && e->deads < 4)
        e->dead[e->deads++] = node;
    if (what == BUS_BURIED)
        e->buried = node;
    if (what == BUS_BACK)
        e->back = node;
    pthread_mutex_unlock(&lock);
}

static inline bool noted(struct redis *r, struct bus_noted *n)
{
    struct ears *e = ears_of(r);
    size_t at = strlen(e->notes);
    pthread_mutex_lock(&lock);
    if (e->note)
        fail_msg("two notes at once");
    if (n->all)
        snprintf(e->notes + at, sizeof e->notes - at, "all ");
    else
        snprintf(e->notes + at, sizeof e->notes - at, "%c%.*s%s%.*s ",
                 n->remove    ? '-'
                 : n->passing ? '!'
                              : '+',
                 (int)n->note.key.n, n->note.key.p, n->remove ? "" : "=", (int)n->note.value.n, n->note.value.p);
    if (!n->all && n->seq <= e->place)
        fail_msg("place %llu after %llu", (unsigned long long)n->seq, (unsigned long long)e->place);
    e->place = n->seq;
    bool hold = e->hold;
    e->note = hold ? n : NULL;
    pthread_mutex_unlock(&lock);
    if (!hold)
        notes_log_applied(r, n);
    return true;
}

static inline void tell_log(struct redis *r, uint64_t place, struct slice body)
{
    (void)place, (void)body; /* the others find out by themselves */
    pthread_mutex_lock(&lock);
    ears_of(r)->told++;
    pthread_mutex_unlock(&lock);
}

static inline void patrol(struct redis *r)
{
    pthread_mutex_lock(&lock);
    ears_of(r)->patrols++;
    pthread_mutex_unlock(&lock);
}

static const struct node_ears node_ears = {listens, event, noted, tell_log, patrol};

/* Under the lock. False after a minute. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        uint64_t end_ = clock_mono_ms() + 60000;                                                                       \
        for (bool is_ = false; !is_;) {                                                                                \
            pthread_mutex_lock(&lock);                                                                                 \
            is_ = (condition);                                                                                         \
            pthread_mutex_unlock(&lock);                                                                               \
            if (!is_ && clock_mono_ms() > end_)                                                                        \
                fail_msg("not within a minute: %s", #condition);                                                       \
            if (!is_)                                                                                                  \
                usleep(10000);                                                                                         \
        }                                                                                                              \
    } while (0)

static inline struct ears *node(struct world *w, unsigned i)
{
    static char first[64];
    static const char *addresses[1] = {first};
    const char *all = redis_kit_addresses();
    struct ears *e = &w->ears[i];
    struct redis_hooks hooks = {.ctx = e, .node_ears = &node_ears};
    snprintf(first, sizeof first, "%.*s", (int)strcspn(all, ","), all);
    w->o.cluster.addresses = addresses;
    w->o.cluster.address_count = 1;
    if (redis_open_hooked(&e->s, &w->o, &hooks, w->why, sizeof w->why))
        fail_msg("open: %s", w->why);
    return e;
}

static inline void hold(struct ears *e)
{
    pthread_mutex_lock(&lock);
    e->hold = true;
    pthread_mutex_unlock(&lock);
}

static inline void listen_to(struct ears *e)
{
    notes_log_listen(redis_of(e->s), true);
}

static inline void close_all(struct world *w)
{
    for (unsigned i = 0; i < 3; i++) {
        if (!w->ears[i].s)
            continue;
        notes_log_listen(redis_of(w->ears[i].s), false);
        if (w->ears[i].note)
            notes_log_applied(redis_of(w->ears[i].s), w->ears[i].note);
        store_close(w->ears[i].s);
        w->ears[i].s = NULL;
    }
}

static inline int setup(void **state)
{
    if (!redis_kit_addresses())
        return 0;
    struct world *w = test_calloc(1, sizeof *w);
    raw_init(&w->raw);
    w->o = (struct store_options){.engine = "redis",
                                  .tiers = {{0, 0, DURABILITY_COMMIT},
                                            {UINT64_C(7776000000), 10000, DURABILITY_COMMIT},
                                            {UINT64_C(604800000), 1000, DURABILITY_COMMIT}},
                                  .dedup_window_ms = 600000,
                                  .inbox_max = 100000,
                                  .cluster = {.copies = 2, .patience_ms = 8000, .isolated_ms = 15000}};
    w->o.cluster.prefix = w->raw.prefix;
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    if (!w)
        return 0;
    close_all(w);
    raw_fini(&w->raw);
    test_free(w);
    return 0;
}

static inline struct world *need(void **state)
{
    (void)redis_kit_need();
    return *state;
}

struct answer {
    struct mailbox home;
    bool done;
};

static inline void wake(void *ctx)
{
    (void)ctx;
}

static inline void answered(void *owner, struct store_op *op)
{
    (void)op;
    ((struct answer *)owner)->done = true;
}

static inline enum store_status wait_for(struct answer *a, struct store_op *op)
{
    uint64_t end = clock_mono_ms() + 60000;
    while (!a->done && clock_mono_ms() < end) {
        usleep(500);
        mailbox_run(&a->home, a);
    }
    assert_true(a->done);
    return op->status;
}

#define CALL(s, fn, x) (call_begins(&(x)->op, &answer_), fn((s), (x)), wait_for(&answer_, &(x)->op))

static struct answer answer_;

static inline void call_begins(struct store_op *op, struct answer *a)
{
    a->done = false;
    op->home = &a->home;
    op->done = answered;
}

static inline void put(struct ears *e, const char *key, const char *value)
{
    struct store_note_put n = {.note = {S(key), S(value ? value : "")}, .remove = value == NULL};
    assert_int_equal(CALL(e->s, store_note_put, &n), STORE_OK);
}

/* What a node's copy has of a prefix: "key=value …". */
static inline void expect(struct ears *e, const char *prefix, const char *want)
{
    struct store_notes n = {.prefix = S(prefix), .limit = 1000};
    char found[4096] = "";
    assert_int_equal(CALL(e->s, store_notes, &n), STORE_OK);
    for (uint32_t i = 0; i < n.n; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%.*s=%.*s ", (int)n.notes[i].key.n,
                 n.notes[i].key.p, (int)n.notes[i].value.n, n.notes[i].value.p);
    free(n.notes);
    free(n.arena);
    assert_string_equal(found, want);
}

static inline uint32_t note(struct ears *e, struct bus_note n)
{
    assert_int_equal(CALL(store_bus(e->s), bus_note, &n), STORE_OK);
    return n.silent.n;
}

#endif
