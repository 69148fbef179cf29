/* The engine's thread: its loop, and what other threads hand over to it. */
#ifndef MAGPIE_STORAGE_REDIS_IO_H
#define MAGPIE_STORAGE_REDIS_IO_H

#include "core/base/err.h"

#include <stdint.h>

struct mail;
struct redis;
struct store_op;

/* Makes the loop and its watchers. ERR_NOMEM. */
MUST_CHECK int redis_io_init(struct redis *r);
void redis_io_fini(struct redis *r);
/* Starts the thread. ERR_NOMEM. */
MUST_CHECK int redis_io_start(struct redis *r);
/* Any thread: hands an operation over. One that is lazy wakes nobody: redis_io_kick() does. */
void redis_io_post(struct redis *r, struct store_op *op);
void redis_io_kick(struct redis *r);
/* Any thread: has m->run(r, m) called on the engine's thread, in the order handed over, and always. */
void redis_io_run(struct redis *r, struct mail *m);
/* The thread has ended: calls what was not called yet. */
void redis_io_run_rest(struct redis *r);
/* Any thread: options have changed, or the engine is to end. */
void redis_io_wake(struct redis *r);
/* Waits until all that was handed over is answered, and the thread has ended. */
void redis_io_stop(struct redis *r);
/* CLOCK_BOOTTIME, ms, or the test's. */
uint64_t redis_io_clock(const struct redis *r);
/* Engine's thread, or whoever runs the loop: nothing goes on any more. What is under way is answered as far as it is
 * known, whatever it waits for, and nothing is sent. redis_free() is all that may follow. */
void redis_io_end(struct redis *r);
/* Engine's thread: what is done now and then. */
void redis_io_tick(struct redis *r);
/* Engine's thread: hands an operation back. */
void redis_io_answer(struct redis *r, struct store_op *op, int status);

#endif
