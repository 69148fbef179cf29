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
#include "core/base/hash.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEST_BUS_HELD = 160, TEST_BUS_LINES = 256, TEST_BUS_LINE = 200, TEST_BUS_NODES = 4, TEST_BUS_SELF = 100 };

/* Another node. It is number 2 and on, and its incarnation 100 more than that; this node is number 1. */
struct test_bus_node {
    const char *answer; /* to every question, `answer_n` bytes; NULL: it does not answer */
    size_t answer_n;
};

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
    struct store *store;       /* that the nodes share: heads of followed channels are read from it */
    struct mailbox heads;      /* where they come */
    /* What other nodes know. */
    uint64_t member_version;                  /* of each channel that is followed */
    uint32_t epoch;                           /* of every user */
    uint64_t version, arrivals;               /* likewise */
    bool watched_online;                      /* what a watch is told … */
    uint64_t changes;                         /* … with this number */
    bool echo;                                /* a note that is put is told to the hub before it is answered */
    struct bus_handle replaces[BUS_REPLACES]; /* of the next session_put */
    const char *online;         /* ids of users who are connected elsewhere, a blank before and after each */
    const char *shared;         /* likewise of those who are in one of the asker's channels */
    uint32_t connections;       /* that each order closes */
    struct silent_nodes silent; /* nodes that do not say that they have done orders, and applied notes */
    struct test_bus_node nodes[TEST_BUS_NODES];
    uint32_t node_count;
    uint16_t number;  /* this one's; 0: 1 */
    uint32_t joining; /* bits of nodes, of the first one bit 0: they are asked by name alone */
    bool follows;     /* another node leads */
    /* Answers a question in their place, into `out` of BUS_CALL_MAX bytes; returns how many, 0: it does not answer. */
    size_t (*reply)(struct test_bus *t, unsigned node, const struct bus_call *c, char *out);
    uint32_t answered; /* questions of the test, by this node: with what */
    char answer[4096]; /* NUL-terminated; answer_n bytes of it */
    size_t answer_n;
    bool draining;    /* the hub has said so */
    uint32_t applied; /* notes that the test told */
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
        snprintf(out, TEST_BUS_LINE, "session_put %.*s device=%.*s%s", (int)p->user.n, p->user.p, (int)p->device.n,
                 p->device.p, p->restore ? " again" : "");
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
        snprintf(out, TEST_BUS_LINE, "call %u %llu %.*s", ((const struct bus_call *)op)->what,
                 (unsigned long long)((const struct bus_call *)op)->node,
                 (int)strnlen(((const struct bus_call *)op)->body.p, ((const struct bus_call *)op)->body.n),
                 ((const struct bus_call *)op)->body.p);
        break;
    case BUS_NOTE:
        snprintf(out, TEST_BUS_LINE, "note %s %.*s",
                 n->remove ? n->note.value.n ? "remove-as-it-was" : "remove"
                 : n->add  ? "add"
                           : "put",
                 (int)n->note.key.n, n->note.key.p);
        break;
    case BUS_OP_KINDS:
        abort();
    }
}

static inline void test_bus_note(struct test_bus *t, const struct bus_noted *n);

/* What the nodes asked say, in one allocation behind the answers. */
static inline void test_bus_call(struct test_bus *t, struct bus_call *c)
{
    char *told[TEST_BUS_NODES] = {NULL};
    size_t sizes[TEST_BUS_NODES], all = 0;
    for (uint32_t i = 0; i < t->node_count; i++) {
        if (c->node != TEST_BUS_SELF + 2 + i && (c->node || t->joining >> i & 1))
            continue;
        told[i] = malloc(BUS_CALL_MAX);
        assert_non_null(told[i]);
        sizes[i] = t->reply ? t->reply(t, i, c, told[i]) : t->nodes[i].answer ? t->nodes[i].answer_n : 0;
        if (!t->reply && sizes[i])
            memcpy(told[i], t->nodes[i].answer, sizes[i]);
        all += sizes[i];
    }
    c->answers = malloc(TEST_BUS_NODES * sizeof *c->answers + all);
    assert_non_null(c->answers);
    char *at = (char *)(c->answers + TEST_BUS_NODES);
    c->n = 0;
    for (uint32_t i = 0; i < t->node_count; i++) {
        if (!told[i])
            continue;
        memcpy(at, told[i], sizes[i]);
        c->answers[c->n++] = (struct bus_answer){TEST_BUS_SELF + 2 + i, (uint16_t)(2 + i),
                                                 sizes[i] ? STORE_OK : STORE_RETRY, slice_of(at, sizes[i])};
        at += sizes[i];
        free(told[i]);
    }
}

static inline void test_bus_head_read(void *owner, struct store_op *op)
{
    (void)owner;
    op->home = NULL;
}

/* The channel as it is in the store. Whoever holds follows back has it read when they are answered. */
static inline void test_bus_head(struct test_bus *t, struct bus_follow *f)
{
    struct store_conv_load load = {.op = {.home = &t->heads, .done = test_bus_head_read}, .conv = f->conv};
    if (!t->store)
        return;
    store_conv_load(t->store, &load);
    while (load.op.home) {
        mailbox_run(&t->heads, NULL);
        sched_yield();
    }
    f->seq = load.seq;
    f->members = load.members;
    f->tier = load.tier;
    f->exists = load.exists;
    f->member_version = t->member_version;
}

/* Sets what it returns, and hands it back. */
static inline void test_bus_answer(struct test_bus *t, struct store_op *op, enum store_status status)
{
    struct bus_session_put *p = (void *)op;
    struct bus_presence *q = (void *)op;
    if (op->kind == BUS_FOLLOW && status == STORE_OK) {
        test_bus_head(t, (struct bus_follow *)op);
    } else if (op->kind == BUS_SESSION_PUT) {
        p->epoch = t->epoch;
        p->version = t->version;
        p->arrivals = t->arrivals;
        memcpy(p->replaces, t->replaces, sizeof p->replaces);
        memset(t->replaces, 0, sizeof t->replaces);
    } else if (op->kind == BUS_LOOK) {
        struct bus_look *l = (void *)op;
        l->epoch = t->epoch;
        l->version = t->version;
        l->arrivals = t->arrivals;
    } else if (op->kind == BUS_WATCH) {
        struct bus_watch *w = (void *)op;
        w->online = w->on && t->watched_online;
        w->changes = t->changes;
    } else if (op->kind == BUS_PRESENCE) {
        for (uint32_t i = 0; i < q->n; i++) {
            q->online[i] = test_bus_lists(t->online, q->ids[i]);
            q->shared[i] = test_bus_lists(t->shared, q->ids[i]);
        }
    } else if (op->kind == BUS_ORDER) {
        ((struct bus_order *)op)->connections = t->connections;
        ((struct bus_order *)op)->silent = t->silent;
    } else if (op->kind == BUS_NOTE) {
        ((struct bus_note *)op)->silent = t->silent;
    } else if (op->kind == BUS_CALL && status == STORE_OK) {
        test_bus_call(t, (struct bus_call *)op);
    }
    if (op->kind == BUS_NOTE && status == STORE_OK && t->echo) {
        const struct bus_note *n = (const void *)op;
        test_bus_note(
            t, &(struct bus_noted){.note = n->note, .number = n->number, .remove = n->remove, .passing = n->passing});
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

static inline unsigned test_bus_nodes(struct bus *b, struct bus_node *out, unsigned n)
{
    const struct test_bus *t = (const struct test_bus *)b;
    for (unsigned i = 0; i <= t->node_count && i < n; i++) {
        out[i] = (struct bus_node){.node = TEST_BUS_SELF + 1 + i,
                                   .number = (uint16_t)(i == 0 && t->number ? t->number : 1 + i),
                                   .self = i == 0,
                                   .leader = t->follows == (i == 1),
                                   .joining = i && t->joining >> (i - 1) & 1};
        snprintf(out[i].host, sizeof out[i].host, "host%u", 1 + i);
    }
    return 1 + t->node_count;
}

static inline bool test_bus_leads(struct bus *b)
{
    return !((const struct test_bus *)b)->follows;
}

static inline void test_bus_answered(struct bus *b, struct bus_called *c, struct slice body)
{
    struct test_bus *t = (struct test_bus *)b;
    pthread_mutex_lock(&t->lock);
    t->answer_n = body.n < sizeof t->answer ? body.n : sizeof t->answer - 1;
    memcpy(t->answer, body.n ? body.p : "", t->answer_n);
    t->answer[t->answer_n] = '\0';
    t->answered++;
    pthread_mutex_unlock(&t->lock);
    free(c);
}

static inline void test_bus_applied(struct bus *b, struct bus_noted *n)
{
    struct test_bus *t = (struct test_bus *)b;
    pthread_mutex_lock(&t->lock);
    t->applied++;
    pthread_mutex_unlock(&t->lock);
    free(n);
}

static inline void test_bus_drain(struct bus *b)
{
    ((struct test_bus *)b)->draining = true;
}

static inline unsigned test_bus_part(struct slice id)
{
    return (unsigned)(hash_bytes(id) % 1024);
}

static inline void test_bus_init(struct test_bus *t)
{
    static const struct bus_ops ops = {.post = test_bus_post,
                                       .listen = test_bus_listen,
                                       .receipt = test_bus_receipt,
                                       .answer = test_bus_answered,
                                       .applied = test_bus_applied,
                                       .nodes = test_bus_nodes,
                                       .leads = test_bus_leads,
                                       .drain = test_bus_drain,
                                       .part_conv = test_bus_part,
                                       .part_user = test_bus_part};
    memset(t, 0, sizeof *t);
    t->base.ops = &ops;
    pthread_mutexattr_t again; /* what is put in force inside of a call */
    pthread_mutexattr_init(&again);
    pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&t->lock, &again);
    pthread_mutexattr_destroy(&again);
    mailbox_init(&t->heads, NULL, NULL);
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

static inline void test_bus_event(struct test_bus *t, enum bus_event what, uint64_t node)
{
    assert_true(t->listening);
    t->ears.event(t->ears.ctx, what, node);
}

/* News from another node. *n and its texts are copied. */
static inline void test_bus_hear(struct test_bus *t, const struct bus_news *n)
{
    struct bus_news *out =
        malloc(sizeof *out + n->conv.n + n->user.n + n->sender.n + n->name.n + n->content.n + n->advice.n);
    assert_non_null(out);
    *out = *n;
    if (!out->origin)
        out->origin = TEST_BUS_SELF + 2;
    struct slice *texts[] = {&out->conv, &out->user, &out->sender, &out->name, &out->content, &out->advice};
    char *at = out->data;
    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i]->n)
            memcpy(at, texts[i]->p, texts[i]->n);
        texts[i]->p = at;
        at += texts[i]->n;
    }
    assert_true(t->listening);
    t->ears.heard(t->ears.ctx, out);
}

/* News of the partition of this conversation, or of all (empty), may have been missed. */
static inline void test_bus_reset(struct test_bus *t, struct slice conv)
{
    uint8_t parts[BUS_PARTS];
    memset(parts, conv.n ? 0 : 0xff, sizeof parts);
    if (conv.n)
        parts[test_bus_part(conv) / 8] |= (uint8_t)(1u << test_bus_part(conv) % 8);
    assert_true(t->listening);
    t->ears.reset(t->ears.ctx, parts);
}

/* Node number 2 asks. */
static inline void test_bus_ask(struct test_bus *t, enum bus_call_what what, struct slice body)
{
    struct bus_called *c = calloc(1, sizeof *c + body.n);
    assert_non_null(c);
    assert_true(t->listening);
    memcpy(c->data, body.p, body.n);
    c->node = TEST_BUS_SELF + 2;
    c->what = (uint16_t)what;
    c->body = slice_of(c->data, body.n);
    t->ears.called(t->ears.ctx, c);
}

/* A note has changed: as *n says, which is copied with its texts. */
static inline void test_bus_note(struct test_bus *t, const struct bus_noted *n)
{
    struct bus_noted *c = malloc(sizeof *c + n->note.key.n + n->note.value.n);
    assert_non_null(c);
    assert_true(t->listening);
    *c = *n;
    if (n->note.key.n)
        memcpy(c->data, n->note.key.p, n->note.key.n);
    if (n->note.value.n)
        memcpy(c->data + n->note.key.n, n->note.value.p, n->note.value.n);
    c->note = (struct store_note){slice_of(c->data, n->note.key.n), slice_of(c->data + n->note.key.n, n->note.value.n)};
    t->ears.noted(t->ears.ctx, c);
}

static inline void test_bus_fini(struct test_bus *t)
{
    assert_false(t->listening);
    assert_int_equal(t->held, 0);
    mailbox_fini(&t->heads);
    pthread_mutex_destroy(&t->lock);
}

#endif
