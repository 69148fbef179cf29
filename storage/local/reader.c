/* The readers' threads: see reader.h. */
#include "storage/local/reader.h"

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "storage/local/local_private.h"

enum {
    ROUND_US = 300
}; /* how long an answer waits for others at most: waking a thread costs more than reading a page */

#define READ_ROW(NAME, name, ...) [OP_##NAME] = read_##name,
#define READ_NONE(NAME, name, ...)
static enum store_status (*const read_table[OP_KINDS])(struct reader *,
                                                       struct store_op *) = {STORE_OPS(READ_NONE, READ_ROW)};

static bool all_written(struct local *s, uint64_t *need)
{
    *need = atomic_load(&s->given_group);
    return atomic_load(&s->written_group) >= *need;
}

/* What was answered before its write must be seen nevertheless. */
static void wait_written(struct local *s)
{
    uint64_t need;
    if (all_written(s, &need))
        return;
    pthread_mutex_lock(&s->written_lock);
    while (atomic_load(&s->written_group) < need)
        pthread_cond_wait(&s->written_cond, &s->written_lock);
    pthread_mutex_unlock(&s->written_lock);
}

/* Whether the round can go on; when nothing is left, with what came meanwhile. Not if that would have to wait: see
 * wait_written(). */
static bool round_more(struct reader *r, struct op_list *work)
{
    uint64_t need;
    if (work->head)
        return true;
    pthread_mutex_lock(&r->lock);
    op_list_splice(work, &r->queue);
    pthread_mutex_unlock(&r->lock);
    return work->head && all_written(r->store, &need);
}

/* Answers some of the work, and of what comes meanwhile: what a round of ROUND_US can do. The database is not replaced
 * meanwhile. */
static void reader_round(struct reader *r, struct op_list *work)
{
    struct local *s = r->store;
    struct op_list answers;
    op_list_init(&answers);
    wait_written(s);
    pthread_rwlock_rdlock(&s->swap);
    uint64_t end_us = clock_mono_us() + ROUND_US;
    do {
        struct store_op *op = op_list_pop(work);
        (void)guard_now(&s->guard);
        op->status = read_table[op->kind](r, op);
        op_list_push(&answers, op);
    } while (clock_mono_us() < end_us && round_more(r, work));
    iter_cache_drop(&r->iters);
    pthread_rwlock_unlock(&s->swap);
    op_list_answer(&answers);
}

static void *reader_main(void *arg)
{
    struct reader *r = arg;
    struct local *s = r->store;
    struct op_list work;
    op_list_init(&work);
    pthread_setname_np(pthread_self(), "store-reader");
    pthread_rwlock_rdlock(&s->swap);
    kv_thread(s->kv);
    pthread_rwlock_unlock(&s->swap);
    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (!r->queue.head && !r->closing)
            pthread_cond_wait(&r->wake, &r->lock);
        if (!r->queue.head)
            break;
        op_list_splice(&work, &r->queue);
        pthread_mutex_unlock(&r->lock);
        while (work.head)
            reader_round(r, &work);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

void reader_post(struct local *s, struct store_op *op)
{
    struct slice key = store_op_key(op);
    struct reader *r = &s->readers[key.n ? hash_bytes(key) % STORE_READERS : 0];
    pthread_mutex_lock(&r->lock);
    bool wake = !r->queue.head;
    op_list_push(&r->queue, op);
    pthread_mutex_unlock(&r->lock);
    if (wake)
        pthread_cond_signal(&r->wake); /* not under the lock, which is the first thing that the one woken takes */
}

int readers_start(struct local *s)
{
    for (s->reader_count = 0; s->reader_count < STORE_READERS; s->reader_count++) {
        struct reader *r = &s->readers[s->reader_count];
        *r = (struct reader){.store = s};
        op_list_init(&r->queue);
        pthread_mutex_init(&r->lock, NULL);
        pthread_cond_init(&r->wake, NULL);
        if (pthread_create(&r->thread, NULL, reader_main, r)) {
            pthread_mutex_destroy(&r->lock);
            pthread_cond_destroy(&r->wake);
            return ERR_AGAIN;
        }
    }
    return 0;
}

void readers_stop(struct local *s)
{
    for (uint32_t i = 0; i < s->reader_count; i++) {
        struct reader *r = &s->readers[i];
        pthread_mutex_lock(&r->lock);
        r->closing = true;
        pthread_cond_signal(&r->wake);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->thread, NULL);
        pthread_mutex_destroy(&r->lock);
        pthread_cond_destroy(&r->wake);
    }
    s->reader_count = 0;
}
