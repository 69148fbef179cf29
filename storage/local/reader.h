/*
 * The readers: threads that answer what changes nothing, each conversation and user always by the same one, in order.
 * And the functions by which they do: one for each kind of read.
 */
#ifndef MAGPIE_STORAGE_READER_H
#define MAGPIE_STORAGE_READER_H

#include "storage/engine.h"
#include "storage/local/iter_cache.h"
#include "storage/local/op_list.h"

#include <pthread.h>

enum { STORE_READERS = 2 };

struct local;

/* A reader and its queue. */
struct reader {
    struct local *store;
    pthread_t thread;
    pthread_mutex_t lock; /* of queue, closing */
    pthread_cond_t wake;
    struct op_list queue;
    bool closing;
    struct iter_cache iters; /* its thread's own; empty unless it holds local.swap */
};

/* Hands an R operation over. Any thread. */
void reader_post(struct local *s, struct store_op *op);
/* ERR_AGAIN: no threads. Those that were started run: readers_stop() in any case. */
MUST_CHECK int readers_start(struct local *s);
/* Works off what is queued, then ends the threads. */
void readers_stop(struct local *s);

/* read_range() and so on, one function a row of STORE_OPS, in the file of its noun: fills in the operation's results
 * and returns its status. On a reader's thread. */
#define READ_FUNCTION(NAME, name, ...) enum store_status read_##name(struct reader *by, struct store_op *op);
#define READ_NONE(NAME, name, ...)
STORE_OPS(READ_NONE, READ_FUNCTION)
#undef READ_FUNCTION
#undef READ_NONE

#endif
