/*
 * A bus for tests: what storage/bus.h promises, without other nodes. It writes down each operation as a line of text,
 * and answers at once or late, with what the test says that other nodes know. The hub's orders arrive at nobody; the
 * test is the other node, and gives orders by test_bus_tell().
 *
 * Any thread may hand over; one thread, the test's, deals.
 */
#ifndef MAGPIE_TESTS_TEST_BUS_H
#define MAGPIE_TESTS_TEST_BUS_H

#include "storage/bus_engine.h"
#include "storage/conv_key.h"
#include "storage/engine.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEST_BUS_HELD = 64, TEST_BUS_LINES = 256, TEST_BUS_LINE = 200 };

struct test_bus {
    struct bus base;
    pthread_mutex_t lock; /* of what follows */
    struct bus_ears ears;
    bool listening;
    _Atomic uint32_t hold; /* bits 1 << enum bus_op_kind: held until test_bus_next() */
    _Atomic int status;    /* enum store_status of what is answered at once */
    uint32_t held;
    struct store_op *list[TEST_BUS_HELD]; /* oldest first */
    uint32_t taken, count;                /* lines that test_bus_line() has returned; that there are */
    char lines[TEST_BUS_LINES][TEST_BUS_LINE];
    uint32_t receipts, closed; /* of the orders that the test gave; connections closed by them */
    /* What other nodes know. */
    uint32_t epoch;             /* of every user */
    struct bus_handle replaces; /* of the next session_put */
    const char *online;         /* ids of users who are connected elsewhere, a blank before and after each */
    const char *shared;         /* likewise of those who are in one of the asker's channels */
    uint32_t connections;       /* that each order closes */
    uint32_t missing;           /* nodes that do not apply notes */
};

static inline bool test_bus_lists(const char *list, struct slice id)
{
    char word[80];
    snprintf(word, sizeof word, " %.*s ", (int)id.n, id.p);
    return list && strstr(list, word);
}

static inline void test_bus_describe(char *out, const struct store_op *op)
{
    static const char *const orders[] = {
        [ORDER_PUSH] = "push", [ORDER_KICK] = "kick", [ORDER_REPLACE] = "replace", [ORDER_REMOVE] = "remove"};
    const struct bus_session_put *p = (const void *)op;
    const struct bus_session_del *d = (const void *)op;
    const struct bus_presence *q = (const void *)op;
    const struct bus_order *o = (const void *)op;
    const struct bus_note *n = (const void *)op;
    struct slice name;
    int at;
    switch ((enum bus_op_kind)op->kind) {
    case BUS_FOLLOW:
    case BUS_UNFOLLOW: /* which begin alike */
        name = conv_channel_name(((const struct bus_follow *)op)->conv);
        snprintf(out, TEST_BUS_LINE, "%s %.*s", op->kind == BUS_FOLLOW ? "follow" : "unfollow", (int)name.n, name.p);
        break;
    case BUS_SESSION_PUT:
        assert_int_equal(p->conn.node, 0);
        snprintf(out, TEST_BUS_LINE, "session_put %.*s device=%.*s", (int)p->user.n, p->user.p, (int)p->device.n,
                 p->device.p);
        break;
    case BUS_SESSION_DEL:
        snprintf(out, TEST_BUS_LINE, "session_del %.*s", (int)d->user.n, d->user.p);
        break;
    case BUS_PRESENCE:
        at = snprintf(out, TEST_BUS_LINE, "presence");
        for (uint32_t i = 0; i < q->n; i++)
            at += snprintf(out + at, (size_t)(TEST_BUS_LINE - at), " %.*s", (int)q->ids[i].n, q->ids[i].p);
        snprintf(out + at, (size_t)(TEST_BUS_LINE - at), " channels=%zu", q->channels.n);
        break;
    case BUS_ORDER:
        at = snprintf(out, TEST_BUS_LINE, "order %s %.*s", orders[o->kind], (int)o->user.n, o->user.p);
        if (o->kind == ORDER_REPLACE)
            snprintf(out + at, (size_t)(TEST_BUS_LINE - at), " %llu/%u.%u.%u", (unsigned long long)o->conn.node,
                     o->conn.shard, o->conn.conn, o->conn.generation);
        else
            snprintf(out + at, (size_t)(TEST_BUS_LINE - at), " %u %.*s", o->action, (int)o->body.n, o->body.p);
        break;
    case BUS_LOOK:
    case BUS_WATCH: /* which begin alike */
        snprintf(out, TEST_BUS_LINE, "%s %.*s%s", op->kind == BUS_LOOK ? "look" : "watch",
                 (int)((const struct bus_watch *)op)->user.n, ((const struct bus_watch *)op)->user.p,
                 op->kind == BUS_WATCH && !((const struct bus_watch *)op)->on ? " off" : "");
        break;
    case BUS_CALL:
        snprintf(out, TEST_BUS_LINE, "call %u", ((const struct bus_call *)op)->what);
        break;
    case BUS_NOTE:
        snprintf(out, TEST_BUS_LINE, "note %s %.*s", n->remove ? "remove" : "put", (int)n->note.key.n, n->note.key.p);
        break;
    case BUS_OP_KINDS:
        abort();
    }
}

/* Sets what it returns, and hands it back. */
static inline void test_bus_answer(struct test_bus *t, struct store_op *op, enum store_status status)
{
    struct bus_session_put *p = (void *)op;
    struct bus_presence *q = (void *)op;
    if (op->kind == BUS_SESSION_PUT) {
        p->epoch = t->epoch;
        p->replaces = t->replaces;
        t->replaces = (struct bus_handle){.node = 0};
    } else if (op->kind == BUS_PRESENCE) {
        for (uint32_t i = 0; i < q->n; i++) {
            q->online[i] = test_bus_lists(t->online, q->ids[i]);
            q->shared[i] = test_bus_lists(t->shared, q->ids[i]);
        }
    } else if (op->kind == BUS_ORDER) {
        ((struct bus_order *)op)->connections = t->connections;
    } else if (op->kind == BUS_NOTE) {
        ((struct bus_note *)op)->missing = t->missing;
    }
    op->status = status;
    store_answer(op);
}

static inline void test_bus_post(struct bus *b, struct store_op *op)
{
    struct test_bus *t = (struct test_bus *)b;
    pthread_mutex_lock(&t->lock);
    if (t->count == TEST_BUS_LINES || t->held == TEST_BUS_HELD)
        abort(); /* the test does more than it can mean to */
    test_bus_describe(t->lines[t->count++], op);
    if (t->hold & 1u << op->kind)
        t->list[t->held++] = op;
    else
        test_bus_answer(t, op, (enum store_status)t->status);
    pthread_mutex_unlock(&t->lock);
}

static inline void test_bus_listen(struct bus *b, const struct bus_ears *ears)
{
    struct test_bus *t = (struct test_bus *)b;
    pthread_mutex_lock(&t->lock);
    t->listening = ears != NULL;
    if (ears)
        t->ears = *ears;
    pthread_mutex_unlock(&t->lock);
}

static inline void test_bus_receipt(struct bus *b, struct bus_order *o)
{
    struct test_bus *t = (struct test_bus *)b;
    pthread_mutex_lock(&t->lock);
    t->receipts++;
    t->closed += o->connections;
    pthread_mutex_unlock(&t->lock);
}

static inline void test_bus_init(struct test_bus *t)
{
    static const struct bus_ops ops = {.post = test_bus_post, .listen = test_bus_listen, .receipt = test_bus_receipt};
    memset(t, 0, sizeof *t);
    t->base.ops = &ops;
    pthread_mutex_init(&t->lock, NULL);
}

/* What is held. */
static inline uint32_t test_bus_held(struct test_bus *t)
{
    pthread_mutex_lock(&t->lock);
    uint32_t n = t->held;
    pthread_mutex_unlock(&t->lock);
    return n;
}

/* The same, but for what is to be answered there. */
static inline uint32_t test_bus_held_not_for(struct test_bus *t, const struct mailbox *home)
{
    uint32_t n = 0;
    pthread_mutex_lock(&t->lock);
    for (uint32_t i = 0; i < t->held; i++)
        n += t->list[i]->home != home;
    pthread_mutex_unlock(&t->lock);
    return n;
}

/* Answers the oldest of what is held. */
static inline void test_bus_next(struct test_bus *t, enum store_status status)
{
    pthread_mutex_lock(&t->lock);
    assert_true(t->held > 0);
    struct store_op *op = t->list[0];
    memmove(t->list, t->list + 1, --t->held * sizeof t->list[0]);
    test_bus_answer(t, op, status);
    pthread_mutex_unlock(&t->lock);
}

/* Holds nothing any more, and answers what it held. */
static inline void test_bus_open(struct test_bus *t)
{
    t->hold = 0;
    while (test_bus_held(t))
        test_bus_next(t, STORE_OK);
}

/* The next operation that was handed over, as a line; "": none. */
static inline const char *test_bus_line(struct test_bus *t)
{
    pthread_mutex_lock(&t->lock);
    const char *line = t->taken < t->count ? t->lines[t->taken++] : "";
    pthread_mutex_unlock(&t->lock);
    return line;
}

/* An order from another node, which the test owns until the receipt. */
static inline void test_bus_tell(struct test_bus *t, struct bus_order *o)
{
    assert_true(t->listening);
    t->ears.ordered(t->ears.ctx, o);
}

static inline void test_bus_fini(struct test_bus *t)
{
    assert_false(t->listening);
    assert_int_equal(t->held, 0);
    pthread_mutex_destroy(&t->lock);
}

#endif
