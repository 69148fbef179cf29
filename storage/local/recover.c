/*
 * A disk that is full or failing: refuse, keep reading, come back.
 *
 * RocksDB does not recover in place when its log cannot be written or synced. So the database is closed and opened
 * anew, as soon as a probe shows that the disk takes data again; readers and syncer are kept out for the swap alone. If
 * it cannot be opened for writing, it is opened for reading, so that reads go on, and the attempt is repeated each
 * second.
 */
#include "storage/local/recover.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "storage/local/durable.h"
#include "storage/local/recent.h"
#include "storage/local/syncer.h"
#include "storage/local/writer.h"

#include <stdio.h>

/* A database that stands in when not even reading works: everything is an I/O error. */
static void broken_multi_get(struct kv *kv, enum kv_family family, const struct slice *keys, size_t n,
                             struct kv_found *out)
{
    (void)kv;
    (void)family;
    (void)keys;
    for (size_t i = 0; i < n; i++)
        out[i] = (struct kv_found){.code = ERR_IO};
}
static void broken_close(struct kv *kv)
{
    (void)kv;
}
static void broken_found_free(struct kv_found *f)
{
    (void)f;
}
static int broken_write(struct kv *kv, const struct kv_change *c, size_t n)
{
    (void)kv;
    (void)c;
    (void)n;
    return ERR_IO;
}
static int broken_sync(struct kv *kv)
{
    (void)kv;
    return ERR_IO;
}
static void broken_usage(struct kv *kv, struct kv_usage *out)
{
    (void)kv;
    out->memory = 0;
}
static const struct kv_ops broken_ops;
static struct kv_iter broken_place = {&broken_ops};
static struct kv_iter *broken_iter(struct kv *kv, enum kv_family family, struct slice lower, struct slice upper)
{
    (void)kv;
    (void)family;
    (void)lower;
    (void)upper;
    return &broken_place;
}
static void broken_step(struct kv_iter *it)
{
    (void)it;
}
static void broken_seek(struct kv_iter *it, struct slice key)
{
    (void)it;
    (void)key;
}
static bool broken_valid(struct kv_iter *it)
{
    (void)it;
    return false;
}
static bool broken_row(struct kv_iter *it, struct slice *key, struct slice *value)
{
    (void)it;
    *key = *value = SLICE_NONE;
    return false;
}
static int broken_iter_error(struct kv_iter *it)
{
    (void)it;
    return ERR_IO;
}
static int broken_compact(struct kv *kv, enum kv_family family)
{
    (void)kv;
    (void)family;
    return ERR_IO;
}
static int broken_checkpoint(struct kv *kv, const char *path, char *why, size_t why_size)
{
    (void)kv;
    snprintf(why, why_size, "%s: the database cannot be read now", path);
    return ERR_IO;
}
static const struct kv_ops broken_ops = {
    .name = "broken",
    .close = broken_close,
    .multi_get = broken_multi_get,
    .found_free = broken_found_free,
    .write = broken_write,
    .sync = broken_sync,
    .flush = broken_close,
    .usage = broken_usage,
    .compact = broken_compact,
    .interrupt = broken_close,
    .checkpoint = broken_checkpoint,
    .iter = broken_iter,
    .iter_free = broken_step,
    .seek = broken_seek,
    .seek_before = broken_seek,
    .next = broken_step,
    .prev = broken_step,
    .valid = broken_valid,
    .row = broken_row,
    .iter_error = broken_iter_error,
};
static struct kv broken_kv = {&broken_ops};

void recover_begin(struct writer *w, const char *what)
{
    struct local *s = w->store;
    atomic_fetch_add(&s->errors, 1);
    w->told = atomic_load(&s->given_group);
    durable_doubt(s->durable);
    atomic_store(&s->failing, true);
    w->retry_at_ms = clock_mono_ms() + 1000;
    heads_drop(&w->heads);
    syncer_forget(s);
    log_event(LOG_ERROR, "storage.failing", LOG_STR("what", what), LOG_INT("group", w->group),
              LOG_STR("effect", "changes are refused until the disk takes data again"));
    /* The number is burnt, so that readers who wait for an early-answered group go on. */
    pthread_mutex_lock(&s->written_lock);
    atomic_store(&s->written_group, w->group);
    atomic_store(&s->given_group, w->group);
    pthread_cond_broadcast(&s->written_cond);
    pthread_mutex_unlock(&s->written_lock);
}

/* Closes and opens the database. 0, or it is read-only (or broken) now. */
static int database_swap(struct local *s)
{
    char why[512] = "";
    if (!s->durable)
        return 0;
    s->kv->ops->interrupt(s->kv); /* a compaction that somebody asked for gives way; this thread alone replaces kv */
    pthread_rwlock_wrlock(&s->swap);
    kv_close(s->kv);
    s->kv = NULL;
    int r = kv_rocksdb_open(&s->kv, &s->reopen, why, sizeof(why));
    if (r) {
        struct kv_rocksdb_options reading = s->reopen;
        reading.read_only = true;
        char again[512];
        if (kv_rocksdb_open(&s->kv, &reading, again, sizeof(again)))
            s->kv = &broken_kv;
        log_event(LOG_WARN, "storage.reopen_failed", LOG_STR("why", why), LOG_STR("now", s->kv->ops->name));
    }
    recent_clear(s->recent);
    pthread_rwlock_unlock(&s->swap);
    return r;
}

/* Brings the writer's own state in line with the database as it is, and proves that it can be written. */
static int writer_resume(struct writer *w)
{
    struct local *s = w->store;
    uint64_t losses, ids, last;
    if (meta_get_u64(s->kv, META_LOSS, &losses) < 0 || meta_get_u64(s->kv, META_CHANNELS, &w->channels) < 0 ||
        meta_get_u64(s->kv, META_IDS, &ids) < 0 || meta_get_u64(s->kv, META_GROUP, &last) < 0)
        return ERR_IO;
    if (vacant_begin(w))
        return ERR_IO;
    /* Group numbers tell exactly whether something that was answered is missing: only then does numbering jump. */
    w->losses = losses + (last < w->told);
    w->group = atomic_load(&s->written_group) + 1;
    w->now_ms = guard_now(&s->guard);
    ids = ids > w->ids.last_ms ? ids : w->ids.last_ms;
    w->id_limit = ids + ID_AHEAD_MS;
    batch_reset(&w->batch);
    if (batch_reserve(&w->batch, 4, 160 + GUARD_SIZE))
        return ERR_NOMEM;
    char *group = batch_put(&w->batch, KV_META, META_GROUP, 16);
    store_be64(group, w->group);
    store_be64(group + 8, w->ids.last_ms);
    writer_put_u64(w, META_LOSS, w->losses);
    writer_put_u64(w, META_IDS, w->id_limit);
    writer_put_clock(w);
    int r = s->hooks.before_write ? s->hooks.before_write(s->hooks.ctx) : 0;
    r = r ? r : batch_write(&w->batch, s->kv);
    r = r ? r : s->hooks.before_sync ? s->hooks.before_sync(s->hooks.ctx) : 0;
    return r ? r : s->kv->ops->sync(s->kv);
}

bool recover_try(struct writer *w)
{
    struct local *s = w->store;
    syncer_drain(s);
    if (s->hooks.before_reopen && s->hooks.before_reopen(s->hooks.ctx))
        return false;
    if ((s->durable && durable_probe(s->durable)) || database_swap(s))
        return false;
    if (writer_resume(w)) {
        log_event(LOG_WARN, "storage.recovery_failed");
        return false;
    }
    w->clock_ms = w->now_ms;
    w->id_limit_group = w->group;
    w->id_limit_durable = w->id_limit;
    durable_given(s->durable, w->group);
    durable_synced(s->durable, w->group);
    atomic_store(&s->given_group, w->group);
    atomic_store(&s->written_group, w->group);
    atomic_store(&s->synced_group, w->group);
    syncer_reset(s, w->group);
    atomic_fetch_add(&s->reopens, 1);
    atomic_store(&s->failing, false);
    log_event(LOG_INFO, "storage.recovered", LOG_INT("group", w->group), LOG_INT("loss_generation", w->losses));
    return true;
}
