/*
 * A store's engine for tests: it stands before another store, and answers late, fails, or changes the order of what is
 * under way, on demand.
 *
 * For each kind of operation a gate says what becomes of those that are handed over from then on. What it holds stands
 * in one list, oldest first, from which a test lets pass or fails any entry: a request goes to the store behind, an
 * answer to its home. So a test can do to the hub whatever a store on another machine may do, and nothing that it may
 * not: see gate_store_deal().
 *
 * Any thread may hand over; one thread, the test's, deals.
 */
#ifndef MAGPIE_TESTS_GATE_STORE_H
#define MAGPIE_TESTS_GATE_STORE_H

#include "storage/engine.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum gate {
    GATE_OPEN,
    GATE_HOLD = 1, /* the request is held: the store behind does not know of it */
    GATE_LATE = 2, /* the store behind does it, and its answer is held; with GATE_HOLD: first the one, then the other */
    GATE_FAIL = 4  /* answered at once with a status, and not done */
};

enum { GATE_HELD = 512 };

/* Something held back. */
struct gate_held {
    struct store_op *op;
    bool answered; /* it is an answer: the store behind has done it */
    bool late;     /* a request, whose answer is to be held as well */
};

/* An operation that the store behind has, and whose answer comes by here. */
struct gate_late {
    struct store_op *op;
    struct mailbox *home;                        /* op's own */
    void (*run)(void *owner, struct mail *mail); /* likewise */
};

struct gate_store {
    struct store base;                  /* what the hub is given */
    struct store *behind;               /* the store that does the work; owned */
    _Atomic int gate[OP_KINDS];         /* enum gate */
    _Atomic int status[OP_KINDS];       /* enum store_status of GATE_FAIL */
    _Atomic uint32_t calls[OP_KINDS];   /* since gate_store_init() */
    _Atomic uint64_t version, arrivals; /* of each user that is loaded */
    _Atomic uint64_t changed;           /* … and after each change that it is made; 0: it is as it was */
    struct mailbox answers; /* where the store behind posts what is late; run by its own threads, under lock */
    pthread_mutex_t lock;   /* of what follows */
    uint32_t held;
    struct gate_held list[GATE_HELD]; /* oldest first */
    uint32_t late_n;
    struct gate_late late[GATE_HELD];
};

static inline struct gate_store *gate_store_of(struct store *s)
{
    return (struct gate_store *)s; /* its first member */
}

static inline void gate_keep(struct gate_store *g, struct gate_held h)
{
    if (g->held == GATE_HELD)
        abort(); /* the test holds more than it can mean to */
    g->list[g->held++] = h;
}

/* An answer has come from behind: it is held. On a thread of the store behind, under the lock. */
static inline void gate_answered(void *owner, struct mail *mail)
{
    struct gate_store *g = owner;
    struct store_op *op = (struct store_op *)mail;
    for (uint32_t i = 0; i < g->late_n; i++) {
        if (g->late[i].op == op) {
            op->home = g->late[i].home;
            op->mail.run = g->late[i].run;
            g->late[i] = g->late[--g->late_n];
            gate_keep(g, (struct gate_held){.op = op, .answered = true});
            return;
        }
    }
    abort(); /* nobody asked for it */
}

static inline void gate_wake(void *ctx)
{
    struct gate_store *g = ctx;
    pthread_mutex_lock(&g->lock);
    mailbox_run(&g->answers, g);
    pthread_mutex_unlock(&g->lock);
}

/* Hands over to the store behind; late: so that the answer comes by here. */
static inline void gate_pass(struct gate_store *g, struct store_op *op, bool late)
{
    if (late) {
        pthread_mutex_lock(&g->lock);
        if (g->late_n == GATE_HELD)
            abort();
        g->late[g->late_n++] = (struct gate_late){.op = op, .home = op->home, .run = op->mail.run};
        pthread_mutex_unlock(&g->lock);
        op->home = &g->answers;
        op->mail.run = gate_answered;
    }
    g->behind->engine->post(g->behind, op);
}

static inline void gate_post(struct store *s, struct store_op *op)
{
    struct gate_store *g = gate_store_of(s);
    int gate = atomic_load(&g->gate[op->kind]);
    atomic_fetch_add(&g->calls[op->kind], 1);
    if (op->kind == OP_USER_LOAD) { /* which an engine of one server alone does not set */
        ((struct store_user_load *)op)->version = atomic_load(&g->version);
        ((struct store_user_load *)op)->arrivals = atomic_load(&g->arrivals);
    }
    uint64_t changed = atomic_load(&g->changed);
    if (op->kind == OP_MEMBER_PUT)
        ((struct store_member_put *)op)->user_version = changed;
    if (op->kind == OP_MEMBER_DEL)
        ((struct store_member_del *)op)->user_version = changed;
    if (op->kind == OP_USER_SAVE)
        ((struct store_user_save *)op)->version = changed;
    if (gate & GATE_FAIL) {
        op->status = (enum store_status)atomic_load(&g->status[op->kind]);
        store_answer(op);
    } else if (gate & GATE_HOLD) {
        pthread_mutex_lock(&g->lock);
        gate_keep(g, (struct gate_held){.op = op, .late = gate & GATE_LATE});
        pthread_mutex_unlock(&g->lock);
    } else {
        gate_pass(g, op, gate & GATE_LATE);
    }
}

static inline void gate_kick(struct store *s)
{
    store_kick(gate_store_of(s)->behind);
}

static inline void gate_configure(struct store *s, const struct store_options *options)
{
    store_configure(gate_store_of(s)->behind, options);
}

static inline void gate_clock_accept(struct store *s)
{
    store_clock_accept(gate_store_of(s)->behind);
}

static inline uint64_t gate_time(struct store *s)
{
    return store_time_ms(gate_store_of(s)->behind);
}

static inline uint64_t gate_age(struct store *s, uint64_t stamp_ms)
{
    return store_age_ms(gate_store_of(s)->behind, stamp_ms);
}

static inline uint64_t gate_date(struct store *s)
{
    return store_date_ms(gate_store_of(s)->behind);
}

static inline void gate_stats(struct store *s, struct store_stats *out)
{
    store_get_stats(gate_store_of(s)->behind, out);
}

static inline void gate_work(struct store *s, struct store_work *w)
{
    struct store *behind = gate_store_of(s)->behind;
    behind->engine->work(behind, w);
}

/* Nothing may be held any more. */
static inline void gate_close(struct store *s)
{
    struct gate_store *g = gate_store_of(s);
    assert_int_equal(g->held, 0);
    store_close(g->behind);
    assert_int_equal(g->late_n, 0);
    mailbox_fini(&g->answers);
    pthread_mutex_destroy(&g->lock);
}

/* Takes the store behind, which store_close(&g->base) closes. All gates are open. */
static inline void gate_store_init(struct gate_store *g, struct store *behind)
{
    static const struct store_engine engine = {.post = gate_post,
                                               .kick = gate_kick,
                                               .configure = gate_configure,
                                               .clock_accept = gate_clock_accept,
                                               .time = gate_time,
                                               .age = gate_age,
                                               .date = gate_date,
                                               .stats = gate_stats,
                                               .work = gate_work,
                                               .close = gate_close};
    memset(g, 0, sizeof *g);
    g->base.engine = &engine;
    g->behind = behind;
    pthread_mutex_init(&g->lock, NULL);
    mailbox_init(&g->answers, gate_wake, g);
}

/* What is held now. */
static inline uint32_t gate_store_held(struct gate_store *g)
{
    pthread_mutex_lock(&g->lock);
    uint32_t n = g->held;
    pthread_mutex_unlock(&g->lock);
    return n;
}

/* Sets all gates. status: for GATE_FAIL. */
static inline void gate_store_set(struct gate_store *g, enum gate gate, enum store_status status)
{
    for (unsigned i = 0; i < OP_KINDS; i++) {
        atomic_store(&g->status[i], (int)status);
        atomic_store(&g->gate[i], (int)gate);
    }
}

static inline struct gate_held gate_take(struct gate_store *g, uint32_t i)
{
    pthread_mutex_lock(&g->lock);
    assert_true(i < g->held);
    struct gate_held h = g->list[i];
    g->held--;
    memmove(g->list + i, g->list + i + 1, (g->held - i) * sizeof *g->list);
    pthread_mutex_unlock(&g->lock);
    return h;
}

/* STORE_OK: lets the i-th of what is held pass. Any other status: it is answered with that. A request is then not done,
 * and an answer, which must be a change's, was done although it says that it failed: what STORE_UNKNOWN means. */
static inline void gate_store_next(struct gate_store *g, uint32_t i, enum store_status status)
{
    struct gate_held h = gate_take(g, i);
    if (status != STORE_OK) {
        assert_true(!h.answered || store_op_rows[h.op->kind].writes); /* what a read found would leak */
        h.op->status = status;
    } else if (!h.answered) {
        gate_pass(g, h.op, h.late);
        return;
    }
    store_answer(h.op);
}

/* Whether it may overtake what is held before it: requests keep their order, and answers do, where they are about the
 * same. */
static inline bool gate_may_go(const struct gate_store *g, uint32_t i)
{
    for (uint32_t before = 0; before < i; before++)
        if (g->list[before].answered == g->list[i].answered &&
            slice_eq(store_op_key(g->list[before].op), store_op_key(g->list[i].op)))
            return false;
    return true;
}

/* Lets one of what is held pass, at random by *seed, in an order that store.h allows: each conversation's and each
 * user's is kept, and no other. False: nothing is held. */
static inline bool gate_store_deal(struct gate_store *g, uint64_t *seed)
{
    uint32_t may[GATE_HELD], n = 0;
    pthread_mutex_lock(&g->lock);
    for (uint32_t i = 0; i < g->held; i++)
        if (gate_may_go(g, i))
            may[n++] = i;
    pthread_mutex_unlock(&g->lock);
    if (!n)
        return false;
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407); /* Knuth's, of MMIX */
    gate_store_next(g, may[(*seed >> 33) % n], STORE_OK);
    return true;
}

/* Opens all gates for good and lets pass what is held. The answers of late ones come by here as well: it waits for
 * those that the store behind still has. */
static inline void gate_store_open(struct gate_store *g)
{
    uint32_t held, late;
    gate_store_set(g, GATE_OPEN, STORE_OK);
    do {
        pthread_mutex_lock(&g->lock);
        held = g->held;
        late = g->late_n;
        pthread_mutex_unlock(&g->lock);
        if (held) {
            gate_store_next(g, 0, STORE_OK);
        } else if (late) {
            store_kick(g->behind); /* lazy ones that passed in no turn */
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
        }
    } while (held || late);
}

#endif
