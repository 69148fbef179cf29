/* Operations under way: see task.h. */
#include "storage/redis/task.h"

#include "storage/redis/bus/bus_private.h"
#include "storage/redis/io.h"
#include "storage/redis/ops/marks.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/ops/settle.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>

enum {
    LINES_BITS = 6,   /* chains in the beginning */
    SPARE_MAX = 1024, /* tasks that are kept for the next ones */
    OWN_KEPT = 1024,  /* bytes of their own that are kept with them */
    KEY_LONGEST = 255 /* bytes of a key; valid ones have 130 at most */
};

enum state { TASK_WAITS, TASK_RUNS, TASK_TELLS, TASK_ENDED };

/* A list of tasks in the order handed over. */
struct task_queue {
    struct task *first, **last;
};

struct task_line {
    struct task_line *next; /* in its chain */
    uint64_t hash;          /* of whose and the key */
    struct task_queue changes, reads;
    struct task *waiting; /* the first change that is not begun; all behind it are not, either. NULL: none */
    struct task *holder;  /* the change that those wait for; NULL: they may be begun */
    uint8_t whose;        /* enum store_whose */
    uint8_t n;            /* bytes of key */
    bool walking;         /* line_go_on() is at work */
    char key[];
};

struct tasks {
    struct task_line **lines; /* 2^line_bits chains, by the hash of the key; owned */
    struct task *spare;       /* freed ones, kept; spare_n of them */
    uint32_t line_bits, line_n, spare_n;
};

int tasks_init(struct redis *r)
{
    struct tasks *ts = calloc(1, sizeof *ts);
    if (!ts || !(ts->lines = calloc(1u << LINES_BITS, sizeof(struct task_line *)))) {
        free(ts);
        return ERR_NOMEM;
    }
    ts->line_bits = LINES_BITS;
    r->tasks = ts;
    return 0;
}

void tasks_fini(struct redis *r)
{
    struct tasks *ts = r->tasks;
    if (!ts)
        return;
    while (ts->spare) {
        struct task *t = ts->spare;
        ts->spare = t->next;
        free(t->own);
        free(t);
    }
    free(ts->lines);
    free(ts);
    r->tasks = NULL;
}

/* --- Lines -------------------------------------------------------------------------------------------------------- */

/* Twice as many chains. Without memory they get longer. */
static void lines_grow(struct tasks *ts)
{
    uint32_t old_n = 1u << ts->line_bits, n = old_n * 2;
    struct task_line **lines = calloc(n, sizeof(struct task_line *));
    if (!lines)
        return;
    for (uint32_t i = 0; i < old_n; i++) {
        for (struct task_line *line = ts->lines[i], *next; line; line = next) {
            next = line->next;
            line->next = lines[line->hash & (n - 1)];
            lines[line->hash & (n - 1)] = line;
        }
    }
    free(ts->lines);
    ts->lines = lines;
    ts->line_bits++;
}

/* The line of a conversation or user, made if there is none; NULL: out of memory. */
static struct task_line *line_of(struct tasks *ts, enum store_whose whose, struct slice key)
{
    uint64_t hash = hash_bytes(key) + whose;
    for (struct task_line *line = ts->lines[hash & ((1u << ts->line_bits) - 1)]; line; line = line->next)
        if (line->hash == hash && line->whose == whose && slice_eq(slice_of(line->key, line->n), key))
            return line;
    struct task_line *line = malloc(sizeof *line + key.n);
    if (!line)
        return NULL;
    if (ts->line_n >> ts->line_bits >= 2)
        lines_grow(ts);
    struct task_line **chain = &ts->lines[hash & ((1u << ts->line_bits) - 1)];
    *line = (struct task_line){.next = *chain, .hash = hash, .whose = (uint8_t)whose, .n = (uint8_t)key.n};
    line->changes.last = &line->changes.first;
    line->reads.last = &line->reads.first;
    memcpy(line->key, key.p, key.n);
    *chain = line;
    ts->line_n++;
    return line;
}

static void line_free(struct tasks *ts, struct task_line *line)
{
    struct task_line **at = &ts->lines[line->hash & ((1u << ts->line_bits) - 1)];
    while (*at != line)
        at = &(*at)->next;
    *at = line->next;
    ts->line_n--;
    free(line);
}

/* --- Tasks -------------------------------------------------------------------------------------------------------- */

static struct task *task_new(struct tasks *ts)
{
    struct task *t = ts->spare;
    if (!t)
        return calloc(1, sizeof *t);
    ts->spare = t->next;
    ts->spare_n--;
    *t = (struct task){.own = t->own, .own_size = t->own_size};
    return t;
}

static void task_free(struct tasks *ts, struct task *t)
{
    if (ts->spare_n >= SPARE_MAX) {
        free(t->own);
        free(t);
        return;
    }
    if (t->own_size > OWN_KEPT) {
        free(t->own);
        t->own = NULL;
        t->own_size = 0;
    }
    t->next = ts->spare;
    ts->spare = t;
    ts->spare_n++;
}

void *task_own(struct task *t, size_t size)
{
    if (size > t->own_size) {
        free(t->own);
        t->own = malloc(size);
        t->own_size = t->own ? (uint32_t)size : 0;
    }
    if (t->own)
        memset(t->own, 0, size);
    return t->own;
}

static void (*const begin[OP_KINDS])(struct redis *r, struct task *t) = {
#define TASK_BEGIN(NAME, name, ...) [OP_##NAME] = begin_##name,
    STORE_OPS(TASK_BEGIN, TASK_BEGIN)
#undef TASK_BEGIN
};

/* Begins it. What it posts now is as old as it is: one that others held for long is not tried for as long again. */
static void task_run(struct redis *r, struct task *t)
{
    uint64_t outer = r->since;
    r->since = t->since;
    if (redis_bus_is_op(t->op))
        redis_bus_begin(r, t);
    else
        begin[t->op->kind](r, t);
    r->since = outer;
}

static void task_answer(struct redis *r, struct task *t)
{
    struct store_op *op = t->op;
    task_free(r->tasks, t);
    redis_io_answer(r, op, op->status);
}

/* Answers those at the front that have ended. */
static void queue_answer(struct redis *r, struct task_queue *q)
{
    while (q->first && q->first->state == TASK_ENDED) {
        struct task *t = q->first;
        q->first = t->next;
        if (!q->first)
            q->last = &q->first;
        task_answer(r, t);
    }
}

/* Begins the changes that nothing holds any more, answers what has ended, and frees the line if it is empty. */
static void line_go_on(struct redis *r, struct task_line *line)
{
    if (line->walking)
        return; /* from within a begin_NAME() below: the walk sees to it */
    line->walking = true;
    while (line->waiting && !line->holder) {
        struct task *t = line->waiting;
        line->waiting = t->next;
        t->state = TASK_RUNS;
        task_run(r, t);
    }
    line->walking = false;
    queue_answer(r, &line->changes);
    queue_answer(r, &line->reads);
    if (!line->changes.first && !line->reads.first)
        line_free(r->tasks, line);
}

static void queue_push(struct task_queue *q, struct task *t)
{
    *q->last = t;
    q->last = &t->next;
}

static const struct store_op_row *row_of(const struct store_op *op)
{
    return redis_bus_is_op(op) ? &redis_bus_rows[redis_bus_kind(op)] : &store_op_rows[op->kind];
}

void task_begin(struct redis *r, struct store_op *op)
{
    const struct store_op_row *row = row_of(op);
    struct slice key = row->whose == WHOSE_NONE ? SLICE_NONE : *(const struct slice *)((const char *)op + row->key);
    struct task *t = task_new(r->tasks);
    struct task_line *line = NULL;
    if (t && row->whose != WHOSE_NONE && key.n <= KEY_LONGEST)
        line = line_of(r->tasks, row->whose, key);
    if (!t || (row->whose != WHOSE_NONE && !line)) {
        if (t)
            task_free(r->tasks, t);
        redis_io_answer(r, op, key.n <= KEY_LONGEST ? STORE_RETRY : STORE_FATAL);
        return;
    }
    t->op = op;
    t->since = r->turn_ms;
    t->line = line;
    if (line && row->writes) {
        queue_push(&line->changes, t);
        line->waiting = line->waiting ? line->waiting : t;
        line_go_on(r, line);
        return;
    }
    if (line)
        queue_push(&line->reads, t);
    t->state = TASK_RUNS;
    task_run(r, t);
}

void task_end(struct redis *r, struct task *t, enum store_status status)
{
    struct task_line *line = t->line;
    t->op->status = status;
    t->state = t->telling ? TASK_TELLS : TASK_ENDED;
    if (line && line->holder == t)
        line->holder = NULL; /* what is stored is stored, whoever knows */
    if (line)
        line_go_on(r, line);
    else if (t->state == TASK_ENDED)
        task_answer(r, t);
}

void task_told(struct redis *r, struct task *t)
{
    if (--t->telling || t->state != TASK_TELLS)
        return;
    t->state = TASK_ENDED;
    if (t->line)
        line_go_on(r, t->line);
    else
        task_answer(r, t);
}

void task_hold(struct task *t)
{
    t->line->holder = t;
}

void task_go(struct redis *r, struct task *t)
{
    struct task_line *line = t->line;
    if (line->holder != t)
        return;
    line->holder = NULL;
    line_go_on(r, line);
}

bool tasks_rest(struct redis *r)
{
    if (!r->resting) {
        r->resting = true;
        marks_flush(r);
        settle_flush(r);
    }
    return !r->background;
}

enum store_status task_status(uint8_t code)
{
    switch (code) {
    case 'N':
    case 'D':
        return STORE_OK;
    case 'F':
    case 'B':
    case 'P':
        return STORE_DENIED;
    case 'X':
        return STORE_NOTFOUND;
    case 'T':
        return STORE_LATE;
    case 'L':
        return STORE_LIMIT;
    case 'W':
        return STORE_RETRY;
    default:
        return STORE_FATAL;
    }
}
