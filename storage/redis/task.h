/*
 * Tasks: store operations under way, and in which order they are begun and answered.
 *
 * Each conversation, and each user, that has operations under way has a line: a list of changes and a list of reads.
 * Both are answered in the order handed over. Every operation is begun at once, so that its calls are in its
 * partition's queue in that order too. One that must first ask something holds the changes behind it (task_hold) until
 * its own call is in the queue. Operations that belong to nobody (WHOSE_NONE) have no line.
 *
 * All on the engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_TASK_H
#define MAGPIE_STORAGE_REDIS_TASK_H

#include "core/base/err.h"
#include "core/base/hash.h"
#include "storage/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redis;
struct task;
struct task_line;

struct task {
    struct task *next;      /* in its line's list; among spare tasks */
    struct task_line *line; /* NULL: it belongs to nobody; task.c's */
    struct store_op *op;    /* the operation, the caller's until it is answered */
    void *own;              /* what the operation keeps: task_own(); freed with the task */
    uint64_t since;         /* when it was handed over, by redis.turn_ms: its calls' patience counts from there */
    uint32_t own_size;      /* bytes at `own` */
    uint32_t telling;       /* task.c's: what it still waits for of that which it told */
    uint8_t state;          /* task.c's */
};

/* ERR_NOMEM. */
MUST_CHECK int tasks_init(struct redis *r);
/* All must have been answered. */
void tasks_fini(struct redis *r);

/* Takes an operation: it is begun now, or once nothing before it holds it. Out of memory: answered STORE_RETRY. */
void task_begin(struct redis *r, struct store_op *op);
/* The operation is done, with this status and its results. It is answered now, or once what it told is told and those
 * before it are answered. The task and `own` are gone, or are about to: whoever calls looks at neither again. */
void task_end(struct redis *r, struct task *t, enum store_status status);
/* For tell.c: it waits for one thing more; for one thing less. */
static inline void task_tells(struct task *t)
{
    t->telling++;
}
void task_told(struct redis *r, struct task *t);
/* Changes that were handed over later for the same conversation or user are not begun before task_go() or task_end().
 * From begin_NAME() of a change alone. */
void task_hold(struct task *t);
void task_go(struct redis *r, struct task *t);
/* Zeroed memory that lives as long as the task; once a task. NULL: out of memory. */
void *task_own(struct task *t, size_t size);

/* The engine ends and no operation is under way: sends what still waits to be sent. Whether nothing is under way any
 * more. */
bool tasks_rest(struct redis *r);

/* What a call is about (struct call): a conversation's key, a user's id. */
static inline uint32_t task_about(struct slice key)
{
    uint32_t h = (uint32_t)hash_bytes(key);
    return h ? h : 1;
}

/* STORE_OK and so on for the code with which a packed reply begins. */
enum store_status task_status(uint8_t code);

#endif
