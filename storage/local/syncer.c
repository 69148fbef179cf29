/* Durability behind the writer's back: see syncer.h. */
#include "storage/local/syncer.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "storage/local/durable.h"
#include "storage/local/writer.h"

#include <stdlib.h>

struct syncer {
    struct local *store;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;  /* monotonic clock */
    pthread_cond_t idle;  /* nobody waits */
    struct op_list waiting;
    uint64_t written; /* last group written */
    uint64_t synced;  /* last group surely synced */
    uint64_t due_ms;  /* when to sync what nobody waits for, monotonic; 0: nothing dirty */
    bool soon, busy, closing;
    bool failed; /* a write or a sync failed: nothing counts as synced until syncer_reset() */
};

static struct timespec timespec_of(uint64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

/* Waits for work; the lock is held. False: closing and nothing left. */
static bool syncer_wait(struct syncer *y)
{
    for (;;) {
        uint64_t now = clock_mono_ms();
        if (y->waiting.head || (y->due_ms && (y->soon || now >= y->due_ms)))
            return true;
        if (y->closing)
            return y->due_ms != 0;
        if (y->due_ms) {
            struct timespec at = timespec_of(y->due_ms);
            pthread_cond_timedwait(&y->wake, &y->lock, &at);
        } else {
            pthread_cond_wait(&y->wake, &y->lock);
        }
    }
}

/* Syncs everything up to the last written group. */
static int syncer_sync(struct syncer *y, uint64_t target)
{
    struct local *s = y->store;
    int r = s->hooks.before_sync ? s->hooks.before_sync(s->hooks.ctx) : 0;
    if (!r) {
        uint64_t began = clock_mono_us();
        pthread_rwlock_rdlock(&s->swap);
        r = s->kv->ops->sync(s->kv);
        pthread_rwlock_unlock(&s->swap);
        latency_add(&s->sync_latency, clock_mono_us() - began);
    }
    if (!r) {
        atomic_fetch_add_explicit(&s->syncs, 1, memory_order_relaxed);
        durable_synced(s->durable, target);
    }
    return r;
}

static void syncer_answer(struct op_list *ops, bool ok)
{
    if (!ok) {
        for (struct mail *m = ops->head; m; m = m->next) {
            struct store_op *op = (struct store_op *)m;
            if (op->note & NOTE_CHANGED)
                op->status = STORE_UNKNOWN;
        }
    }
    op_list_answer(ops);
}

static void *syncer_main(void *arg)
{
    struct syncer *y = arg;
    struct op_list ops;
    op_list_init(&ops);
    pthread_setname_np(pthread_self(), "store-syncer");
    pthread_mutex_lock(&y->lock);
    while (syncer_wait(y)) {
        uint64_t target = y->written;
        bool needed = target > y->synced;
        op_list_splice(&ops, &y->waiting);
        y->due_ms = 0;
        y->soon = false;
        y->busy = true;
        bool failed = y->failed;
        pthread_mutex_unlock(&y->lock);
        /* After a failed fsync the kernel may call the same pages clean: a later one that succeeds proves nothing. So a
         * failure lasts. */
        int r = failed ? ERR_IO : needed ? syncer_sync(y, target) : 0;
        if (r && !failed)
            writer_sync_failed(y->store); /* before the answers: whoever hears of it finds the store failing soon */
        syncer_answer(&ops, r == 0);
        if (r == 0) {
            atomic_store(&y->store->synced_group,
                         target); /* after the answers: later operations of a conversation may overtake no one */
        }
        pthread_mutex_lock(&y->lock);
        if (r == 0) {
            y->synced = target;
        } else {
            y->failed = true;
            y->due_ms = 0; /* not this one's any more; the writer opens the database anew */
        }
        y->busy = false;
        if (!y->waiting.head)
            pthread_cond_broadcast(&y->idle);
    }
    pthread_mutex_unlock(&y->lock);
    return NULL;
}

int syncer_start(struct local *s)
{
    struct syncer *y = calloc(1, sizeof(*y));
    if (!y)
        return ERR_NOMEM;
    y->store = s;
    y->written = y->synced = atomic_load(&s->written_group);
    op_list_init(&y->waiting);
    pthread_mutex_init(&y->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&y->wake, &attr);
    pthread_cond_init(&y->idle, &attr);
    pthread_condattr_destroy(&attr);
    s->syncer = y;
    if (pthread_create(&y->thread, NULL, syncer_main, y)) {
        pthread_mutex_destroy(&y->lock);
        pthread_cond_destroy(&y->wake);
        pthread_cond_destroy(&y->idle);
        free(y);
        s->syncer = NULL;
        return ERR_AGAIN;
    }
    return 0;
}

void syncer_stop(struct local *s)
{
    struct syncer *y = s->syncer;
    if (!y)
        return;
    pthread_mutex_lock(&y->lock);
    y->closing = true;
    pthread_cond_signal(&y->wake);
    pthread_mutex_unlock(&y->lock);
    pthread_join(y->thread, NULL);
    pthread_mutex_destroy(&y->lock);
    pthread_cond_destroy(&y->wake);
    pthread_cond_destroy(&y->idle);
    free(y);
    s->syncer = NULL;
}

void syncer_give(struct local *s, uint64_t group, struct op_list *ops, bool soon)
{
    struct syncer *y = s->syncer;
    pthread_mutex_lock(&y->lock);
    bool sleeping = !y->busy && !y->waiting.head && (ops->head || soon || !y->due_ms);
    if (group > y->written) {
        y->written = group;
        if (!y->due_ms) {
            y->due_ms = clock_mono_ms() + y->store->sync_every_ms;
            y->due_ms += y->due_ms == 0;
        }
    }
    y->soon |= soon;
    op_list_splice(&y->waiting, ops);
    pthread_mutex_unlock(&y->lock);
    if (sleeping)
        pthread_cond_signal(&y->wake);
}

void syncer_fail(struct local *s)
{
    struct syncer *y = s->syncer;
    pthread_mutex_lock(&y->lock);
    y->failed = true;
    pthread_mutex_unlock(&y->lock);
}

void syncer_drain(struct local *s)
{
    struct syncer *y = s->syncer;
    pthread_mutex_lock(&y->lock);
    while (y->waiting.head || y->busy)
        pthread_cond_wait(&y->idle, &y->lock);
    pthread_mutex_unlock(&y->lock);
}

void syncer_forget(struct local *s)
{
    struct syncer *y = s->syncer;
    pthread_mutex_lock(&y->lock);
    y->due_ms = 0;
    y->soon = false;
    pthread_mutex_unlock(&y->lock);
}

void syncer_reset(struct local *s, uint64_t group)
{
    struct syncer *y = s->syncer;
    pthread_mutex_lock(&y->lock);
    y->written = y->synced = group;
    y->failed = false;
    pthread_mutex_unlock(&y->lock);
}
