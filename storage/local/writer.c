/* The writer's thread and its groups: see writer.h. */
#include "storage/local/writer.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "storage/local/append.h"
#include "storage/local/durable.h"
#include "storage/local/head.h"
#include "storage/local/hint.h"
#include "storage/local/msgs.h"
#include "storage/local/recent.h"
#include "storage/local/recover.h"
#include "storage/local/syncer.h"

#include <errno.h>
#include <stdlib.h>

enum {
    CLOCK_EVERY_MS = 1000, /* how often the guarded time is persisted while there are writes */
    IDLE_LEAST_MS = 250,   /* how long it sleeps at least */
    IDLE_LOOK_MS = 60000,  /* how often an idle store looks for jumps of the clock */
    IDLE_CLOCK_MS = 600000 /* and persists the guarded time, so that a long idle time is no jump over a restart */
};

enum apply apply_tick(struct writer *w, struct slot *slot)
{
    (void)w; /* it only lets a group be written, which persists the clock */
    return apply_changed(slot);
}

#define APPLY_ROW(NAME, name, ...) [OP_##NAME] = apply_##name,
#define APPLY_NONE(NAME, name, ...)
static enum apply (*const apply_table[LOCAL_OP_KINDS])(struct writer *, struct slot *) = {
    STORE_OPS(APPLY_ROW, APPLY_NONE) LOCAL_OPS(APPLY_ROW)};

/* The conversation whose head an operation needs; empty: it needs none. */
static struct slice op_conv(const struct store_op *op)
{
    if (op->kind >= OP_KINDS)
        return op->kind == OP_FLOOR || op->kind == OP_VACANT ? hint_key((const struct hint *)op) : SLICE_NONE;
    return store_op_rows[op->kind].whose == WHOSE_CONV ? store_op_key(op) : SLICE_NONE;
}

/* --- Help for the operations ------------------------------------------------------------------------------- */

struct kv_found writer_get(struct writer *w, enum kv_family family, struct slice key)
{
    struct kv_found f = {0};
    int r = batch_get(&w->batch, family, key, &f.value);
    if (r != ERR_NOTFOUND) {
        f.code = r;
        return f;
    }
    return kv_get(w->store->kv, family, key);
}

void writer_put_u64(struct writer *w, struct slice meta_key, uint64_t v)
{
    store_be64(batch_put(&w->batch, KV_META, meta_key, 8), v);
}

void writer_put_clock(struct writer *w)
{
    char row[GUARD_SIZE];
    size_t n = guard_encode(&w->store->guard, row);
    memcpy(batch_put(&w->batch, KV_META, META_CLOCK, n), row, n);
}

/* --- Reading ahead for a group ------------------------------------------------------------------------------ */

/* Finds the heads of all slots' conversations, reading those that are not cached with one multi-get. */
static void heads_prefetch(struct writer *w, uint32_t n)
{
    struct key keys[WRITER_GROUP];
    struct slice names[WRITER_GROUP];
    struct kv_found found[WRITER_GROUP];
    struct head *missing[WRITER_GROUP];
    uint32_t missing_n = 0;
    uint64_t written = atomic_load(&w->store->written_group), synced = atomic_load(&w->store->synced_group);
    for (uint32_t i = 0; i < n; i++) {
        struct slot *slot = &w->slots[i];
        struct slice conv = op_conv(slot->op);
        if (!conv.n || conv.n > CONV_KEY_MAX)
            continue;
        slot->head = heads_find(&w->heads, conv);
        if (!slot->head && (slot->head = heads_add(&w->heads, conv, written, synced))) {
            missing[missing_n] = slot->head;
            names[missing_n] = key_head(&keys[missing_n], conv);
            missing_n++;
        }
        if (slot->head)
            slot->head->pinned = w->group;
    }
    kv_multi_get(w->store->kv, KV_CHANNEL, names, missing_n, found);
    for (uint32_t i = 0; i < missing_n; i++)
        head_load(w, missing[i], &found[i]);
}

/* --- A group ------------------------------------------------------------------------------------------------ */

/* Writes the limits down when they are others than those on the disk. Room is reserved. */
static void limits_put(struct writer *w)
{
    char row[LIMITS_SIZE];
    w->limits_version = atomic_load(&w->store->limits.version);
    if (w->limits_version == w->limits_written)
        return;
    size_t n = limits_encode(&w->store->limits, idgen_last(&w->ids), row);
    memcpy(batch_put(&w->batch, KV_META, META_LIMITS, n), row, n);
}

/* Starts the batch with what every group carries. ERR_NOMEM. */
static int group_begin(struct writer *w)
{
    struct local *s = w->store;
    batch_reset(&w->batch);
    if (batch_reserve(&w->batch, 5, 128 + LIMITS_SIZE + GUARD_SIZE))
        return ERR_NOMEM;
    w->group = atomic_load_explicit(&s->written_group, memory_order_relaxed) + 1;
    w->now_ms = guard_now(&s->guard);
    w->wall_ms = guard_wall(&s->guard);
    w->expiry_ms = expiry_now(&s->expiry);
    if (w->id_limit_group <= atomic_load(&s->synced_group))
        w->id_limit_durable = w->id_limit;
    uint64_t ms = idgen_ms(w->now_ms);
    ms = ms > w->ids.last_ms ? ms : w->ids.last_ms;
    if (ms + ID_AHEAD_MS / 2 > w->id_limit) {
        w->id_limit = ms + ID_AHEAD_MS;
        w->id_limit_group = w->group;
    }
    if (w->id_limit_group == w->group)
        writer_put_u64(w, META_IDS, w->id_limit);
    if (w->now_ms - w->clock_ms >= CLOCK_EVERY_MS) /* wraps when the clock went back: written then, too */
        writer_put_clock(w);
    limits_put(w);
    batch_put(&w->batch, KV_META, META_GROUP, 16);
    w->batch_base = w->batch.count;
    return 0;
}

/* Whether an operation must wait for a sync. */
static bool slot_waits(struct writer *w, const struct slot *slot)
{
    if (slot->must_sync || slot->durability == DURABILITY_SYNC)
        return true;
    return slot->head && slot->head->sync_group > atomic_load(&w->store->synced_group);
}

/* Answers the operations of slots[0, n) that may be answered before the write: nothing of their conversation is before
 * them in this group. */
static void answer_early(struct writer *w, uint32_t n)
{
    struct op_list early;
    op_list_init(&early);
    for (uint32_t i = 0; i < n; i++) {
        struct slot *slot = &w->slots[i];
        struct head *h = slot->head;
        if (slot->durability == DURABILITY_ASYNC && slot->op->status == STORE_OK && !slot_waits(w, slot) &&
            !(h && h->answer_group == w->group)) {
            op_list_push(&early, slot->op);
            slot->op = NULL;
        } else if (h) {
            h->answer_group = w->group;
        }
    }
    if (early.head) {
        durable_doubt(w->store->durable);
        durable_given(w->store->durable, w->group);
        atomic_store(&w->store->given_group, w->group);
        op_list_answer(&early);
    }
}

/* Readers must not go by the heads that they know when these have changed: said before anybody hears of the change. */
static void heads_tell(struct writer *w)
{
    for (uint32_t i = 0; i < w->batch.count; i++) {
        const struct kv_change *c = &w->batch.entries[i].change;
        if (c->family == KV_CHANNEL && c->key.p[0] == 'h')
            recent_changed(w->store->recent, slice_of(c->key.p + 1, c->key.n - 1));
    }
}

static int group_write(struct writer *w)
{
    struct local *s = w->store;
    struct slice group;
    if (batch_get(&w->batch, KV_META, META_GROUP, &group) == 1) {
        store_be64((char *)group.p, w->group);
        store_be64((char *)group.p + 8, w->ids.last_ms);
    }
    int r = s->hooks.before_write ? s->hooks.before_write(s->hooks.ctx) : 0;
    if (!r)
        r = batch_write(&w->batch, s->kv);
    heads_tell(w);
    if (r)
        return r;
    if (w->now_ms - w->clock_ms >= CLOCK_EVERY_MS)
        w->clock_ms = w->now_ms;
    w->limits_written = w->limits_version;
    durable_given(s->durable, w->group);
    atomic_store(&s->given_group, w->group);
    pthread_mutex_lock(&s->written_lock);
    atomic_store(&s->written_group, w->group);
    pthread_cond_broadcast(&s->written_cond);
    pthread_mutex_unlock(&s->written_lock);
    atomic_fetch_add_explicit(&s->groups, 1, memory_order_relaxed);
    return 0;
}

/* After the write: answers, or hands over to the syncer. */
static void group_answer(struct writer *w, uint32_t n, bool dirty)
{
    struct op_list now, later;
    bool soon = w->id_limit_group == w->group;
    op_list_init(&now);
    op_list_init(&later);
    for (uint32_t i = 0; i < n; i++) {
        struct slot *slot = &w->slots[i];
        if (slot->head && slot->head->reserve_group == w->group)
            soon = true;
        if (!slot->op)
            continue;
        if (slot_waits(w, slot)) {
            if (slot->head)
                slot->head->sync_group = w->group;
            op_list_push(&later, slot->op);
        } else {
            op_list_push(&now, slot->op);
        }
    }
    op_list_answer(&now);
    if (dirty || later.head)
        syncer_give(w->store, dirty ? w->group : 0, &later, dirty && soon);
}

/* The write failed: nobody knows what of it will be found. Everything that was pending before is answered first. */
static void group_fail(struct writer *w, uint32_t n, int code)
{
    struct op_list all;
    op_list_init(&all);
    syncer_fail(w->store);
    syncer_drain(w->store);
    for (uint32_t i = 0; i < n; i++) {
        struct slot *slot = &w->slots[i];
        if (slot->op) {
            if (slot->op->note & NOTE_CHANGED)
                slot->op->status = code == ERR_NOMEM ? STORE_RETRY : STORE_UNKNOWN;
            op_list_push(&all, slot->op);
        }
    }
    recover_begin(w, "write");
    if (code == ERR_NOMEM)
        w->retry_at_ms = clock_mono_ms(); /* the disk is well: no reason to wait */
    op_list_answer(&all);
}

/* Applies up to a group's worth of the backlog to the batch; returns how many slots. */
static uint32_t group_apply(struct writer *w)
{
    uint32_t taken = 0, done = 0;
    for (struct mail *m = w->backlog.head; m && taken < WRITER_GROUP; m = m->next)
        w->slots[taken++] = (struct slot){.op = (struct store_op *)m, .durability = DURABILITY_COMMIT};
    heads_prefetch(w, taken);
    append_prefetch(w, w->slots, taken);
    while (done < taken && w->batch.bytes < WRITER_GROUP_BYTES) {
        struct slot *slot = &w->slots[done];
        struct slice conv = op_conv(slot->op);
        slot->op->note = 0;
        if (conv.n && (!slot->head || slot->head->bad)) {
            slot->op->status = slot->head ? status_of(slot->head->bad) : STORE_FATAL;
        } else if (apply_table[slot->op->kind](w, slot) == APPLY_CUT) {
            if (done)
                break;
            slot->op->status = STORE_FATAL; /* cannot be: nothing is pending that could be in its way */
            (void)SURELY(done);
        }
        done++;
    }
    for (uint32_t i = 0; i < done; i++)
        (void)op_list_pop(&w->backlog);
    return done;
}

static void heads_drop_bad(struct writer *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct slot *slot = &w->slots[i];
        if (slot->head && slot->head->bad) {
            struct head *bad = slot->head;
            for (uint32_t k = i; k < n; k++)
                if (w->slots[k].head == bad)
                    w->slots[k].head = NULL;
            heads_remove(&w->heads, bad);
        }
    }
}

/* One group: from the backlog's beginning to its answers. */
static void group_run(struct writer *w)
{
    if (group_begin(w)) {
        struct op_list one;
        op_list_init(&one);
        struct store_op *op = op_list_pop(&w->backlog);
        op->status = STORE_FATAL;
        op_list_push(&one, op);
        atomic_fetch_sub_explicit(&w->store->queue, 1, memory_order_relaxed);
        op_list_answer(&one);
        return;
    }
    uint32_t n = group_apply(w);
    bool dirty = group_dirty(w);
    for (uint32_t i = 0; i < n && !dirty; i++)
        dirty = w->slots[i].op->kind == OP_TICK;
    atomic_fetch_sub_explicit(&w->store->queue, n, memory_order_relaxed);
    answer_early(w, n);
    int r = dirty ? group_write(w) : 0;
    if (!dirty && w->id_limit_group == w->group) {
        w->id_limit = w->id_limit_durable; /* not written after all: the next group does it */
        w->id_limit_group = 0;
    }
    if (r) {
        group_fail(w, n, r);
        return;
    }
    group_answer(w, n, dirty);
    heads_drop_bad(w, n);
}

/* --- The thread --------------------------------------------------------------------------------------------- */

static void backlog_refuse(struct writer *w)
{
    atomic_fetch_sub_explicit(&w->store->queue, w->backlog.count, memory_order_relaxed);
    for (struct mail *m = w->backlog.head; m; m = m->next)
        ((struct store_op *)m)->status = STORE_RETRY;
    op_list_answer(&w->backlog);
}

/* False: the time is up. */
static bool wait_until(struct writer *w, uint64_t at_ms)
{
    struct timespec at = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000};
    return pthread_cond_timedwait(&w->wake, &w->lock, &at) != ETIMEDOUT;
}

/* Nothing to write for a while: the clock is looked at all the same, and channels without members when it is time for
 * one. The lock is held. */
static void writer_idle(struct writer *w)
{
    uint64_t wait = vacant_wait_ms(w);
    wait = wait == 0 || wait > IDLE_LEAST_MS ? wait : IDLE_LEAST_MS;
    wait = wait < IDLE_LOOK_MS ? wait : IDLE_LOOK_MS;
    if (wait && wait_until(w, clock_mono_ms() + wait))
        return;
    pthread_mutex_unlock(&w->lock);
    if (guard_now(&w->store->guard) - w->clock_ms >= IDLE_CLOCK_MS)
        hint_tick(w->store);
    if (vacant_wait_ms(w) == 0)
        vacant_look(w);
    pthread_mutex_lock(&w->lock);
}

/* Waits for something to do and takes the queue. False: closing, and nothing is left. */
static bool writer_take(struct writer *w)
{
    bool failing = atomic_load(&w->store->failing);
    pthread_mutex_lock(&w->lock);
    while (!w->queue.head && !w->closing && !(w->sync_failed && !failing)) {
        if (failing) {
            if (clock_mono_ms() >= w->retry_at_ms)
                break;
            wait_until(w, w->retry_at_ms);
        } else {
            writer_idle(w);
        }
    }
    op_list_splice(&w->backlog, &w->queue);
    atomic_store_explicit(&w->owed, false, memory_order_relaxed);
    bool go = w->backlog.head || !w->closing;
    pthread_mutex_unlock(&w->lock);
    return go;
}

static bool sync_has_failed(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    bool failed = w->sync_failed;
    pthread_mutex_unlock(&w->lock);
    return failed;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    struct local *s = w->store;
    pthread_setname_np(pthread_self(), "store-writer");
    kv_thread(s->kv);
    while (writer_take(w)) {
        while (w->backlog.head || atomic_load(&s->failing) || sync_has_failed(w)) {
            if (!atomic_load(&s->failing) && sync_has_failed(w)) {
                syncer_drain(s);
                recover_begin(w, "sync");
            }
            if (!atomic_load(&s->failing)) {
                group_run(w);
                if (vacant_wait_ms(w) == 0)
                    vacant_look(w);
                continue;
            }
            backlog_refuse(w);
            if (clock_mono_ms() < w->retry_at_ms)
                break;
            if (recover_try(w)) {
                pthread_mutex_lock(&w->lock);
                w->sync_failed = false;
                pthread_mutex_unlock(&w->lock);
            } else {
                w->retry_at_ms = clock_mono_ms() + 1000;
                break;
            }
        }
    }
    return NULL;
}

void writer_post(struct local *s, struct store_op *op)
{
    struct writer *w = s->writer;
    bool lazy = op->lazy; /* the operation may be done with before this ends */
    atomic_fetch_add_explicit(&s->queue, 1, memory_order_relaxed);
    pthread_mutex_lock(&w->lock);
    bool first = !w->queue.head, owed = atomic_load_explicit(&w->owed, memory_order_relaxed);
    op_list_push(&w->queue, op);
    if (lazy ? first : owed)
        atomic_store_explicit(&w->owed, lazy, memory_order_relaxed);
    pthread_mutex_unlock(&w->lock);
    if (!lazy && (first || owed))
        pthread_cond_signal(&w->wake); /* not under the lock, which is the first thing that the one woken takes */
}

void writer_kick(struct local *s)
{
    struct writer *w = s->writer;
    if (!atomic_load_explicit(&w->owed, memory_order_relaxed))
        return; /* what this thread owed it sees itself; what others owe they pay */
    pthread_mutex_lock(&w->lock);
    bool owed = atomic_load_explicit(&w->owed, memory_order_relaxed);
    atomic_store_explicit(&w->owed, false, memory_order_relaxed);
    pthread_mutex_unlock(&w->lock);
    if (owed)
        pthread_cond_signal(&w->wake);
}

void writer_sync_failed(struct local *s)
{
    struct writer *w = s->writer;
    pthread_mutex_lock(&w->lock);
    w->sync_failed = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

int writer_start(struct local *s, const struct writer_begin *begin)
{
    struct writer *w = calloc(1, sizeof(*w));
    if (!w)
        return ERR_NOMEM;
    w->store = s;
    w->losses = begin->losses;
    w->id_limit = w->id_limit_durable = begin->id_limit;
    w->clock_ms = begin->clock_ms;
    w->limits_written = atomic_load(&s->limits.version); /* with what the run began with */
    if (heads_init(&w->heads)) {
        free(w);
        return ERR_NOMEM;
    }
    if (meta_get_u64(s->kv, META_CHANNELS, &w->channels) < 0 || vacant_begin(w)) {
        heads_fini(&w->heads);
        free(w);
        return ERR_IO;
    }
    op_list_init(&w->queue);
    op_list_init(&w->backlog);
    idgen_init(&w->ids, s->node, begin->last_id_ms);
    atomic_store(&s->given_group, begin->group);
    atomic_store(&s->written_group, begin->group);
    atomic_store(&s->synced_group, begin->group);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    s->writer = w;
    if (syncer_start(s) || pthread_create(&w->thread, NULL, writer_main, w)) {
        syncer_stop(s);
        writer_free(s);
        return ERR_AGAIN;
    }
    return 0;
}

void writer_stop(struct local *s)
{
    struct writer *w = s->writer;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
}

void writer_free(struct local *s)
{
    struct writer *w = s->writer;
    if (w) {
        heads_fini(&w->heads);
        batch_fini(&w->batch);
        pthread_mutex_destroy(&w->lock);
        pthread_cond_destroy(&w->wake);
        free(w);
        s->writer = NULL;
    }
}
