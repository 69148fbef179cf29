/* The embedded engine: opening, closing, options, and what it does for the doors of store.c. */
#include "storage/local/local.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "storage/local/deleted.h"
#include "storage/local/durable.h"
#include "storage/local/hint.h"
#include "storage/local/local_private.h"
#include "storage/local/meta.h"
#include "storage/local/recent.h"
#include "storage/local/syncer.h"
#include "storage/local/work.h"
#include "storage/local/writer.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* --- Shared small things -------------------------------------------------------------------------------------- */

enum store_status status_of(int code)
{
    return code >= 0 ? STORE_OK : code == ERR_NOTFOUND ? STORE_NOTFOUND : code == ERR_IO ? STORE_RETRY : STORE_FATAL;
}

enum store_status record_bad(const char *what, struct slice key)
{
    (void)key; /* keys name users and channels; the log tells the kind and the size alone */
    log_event(LOG_ERROR, "storage.bad_record", LOG_STR("record", what), LOG_INT("key_bytes", key.n));
    return STORE_FATAL;
}

/* --- What the engine does ---------------------------------------------------------------------------------------- */

static void local_post(struct store *base, struct store_op *op)
{
    struct local *s = local_of(base);
    if (store_op_rows[op->kind].writes)
        writer_post(s, op);
    else
        reader_post(s, op);
}

static void local_kick(struct store *base)
{
    writer_kick(local_of(base));
}

static void options_set(struct local *s, const struct store_options *o)
{
    for (int t = 0; t < TIER_COUNT; t++)
        atomic_store(&s->live.durability[t], (uint32_t)o->tiers[t].durability);
    atomic_store(&s->live.inbox_max, o->inbox_max);
    atomic_store(&s->live.keep_vacant, o->keep_vacant);
}

static void local_configure(struct store *base, const struct store_options *o)
{
    struct local *s = local_of(base);
    (void)guard_now(&s->guard); /* what has ended by the old times to live is judged by the clock of now */
    options_set(s, o);
    limits_change(&s->limits, o);
    atomic_fetch_add(&s->live.version, 1);
    hint_tick(s); /* a group, which writes the limits down */
}

static void local_clock_accept(struct store *base)
{
    struct local *s = local_of(base);
    if (guard_accept(&s->guard)) {
        atomic_fetch_add(&s->live.version, 1);
        hint_tick(s); /* a group, which writes the clocks down */
    }
}

static uint64_t local_time(struct store *base)
{
    return guard_steady(&local_of(base)->guard);
}

static uint64_t local_age(struct store *base, uint64_t stamp_ms)
{
    return guard_age(&local_of(base)->guard, stamp_ms);
}

static uint64_t local_date(struct store *base)
{
    return guard_date(&local_of(base)->guard);
}

static void local_stats(struct store *base, struct store_stats *out)
{
    struct local *s = local_of(base);
    (void)guard_now(&s->guard);
    /* While the database is replaced, which takes a disk's time, the last figure must do. */
    if (pthread_rwlock_tryrdlock(&s->swap) == 0) {
        struct kv_usage usage = {0};
        s->kv->ops->usage(s->kv, &usage);
        atomic_store_explicit(&s->memory, usage.memory, memory_order_relaxed);
        pthread_rwlock_unlock(&s->swap);
    }
    *out = (struct store_stats){.appended = atomic_load(&s->appended),
                                .groups = atomic_load(&s->groups),
                                .syncs = atomic_load(&s->syncs),
                                .duplicates = atomic_load(&s->duplicates),
                                .queue = atomic_load(&s->queue),
                                .errors = atomic_load(&s->errors),
                                .reopens = atomic_load(&s->reopens),
                                .memory = atomic_load(&s->memory),
                                .failing = atomic_load(&s->failing),
                                .clock_paused = guard_paused(&s->guard)};
    latency_read(&s->sync_latency, &out->sync);
}

static void local_disk(struct store *base, struct store_disk *out)
{
    struct local *s = local_of(base);
    struct kv_disk disk = {0};
    struct statvfs fs;
    if (pthread_rwlock_tryrdlock(&s->swap) != 0)
        return;
    bool any = s->kv->ops->disk != NULL;
    if (any)
        s->kv->ops->disk(s->kv, &disk);
    if (any && statvfs(durable_db_path(s->durable), &fs) == 0) {
        out->size = (uint64_t)fs.f_blocks * fs.f_frsize;
        out->free = (uint64_t)fs.f_bavail * fs.f_frsize;
    }
    pthread_rwlock_unlock(&s->swap);
    for (out->count = 0; any && out->count < KV_FAMILIES; out->count++) {
        out->families[out->count].name = kv_family_name((enum kv_family)out->count);
        out->families[out->count].bytes = disk.bytes[out->count];
    }
}
_Static_assert((int)KV_FAMILIES <= (int)STORE_FAMILIES, "they fit");

static void local_work(struct store *base, struct store_work *w)
{
    work_post(local_of(base), w);
}

static void local_free(struct local *s)
{
    if (s->guard.expiry)
        guard_fini(&s->guard);
    kv_close(s->kv);
    durable_close(s->durable);
    recent_free(s->recent);
    limits_fini(&s->limits);
    pthread_rwlock_destroy(&s->swap);
    pthread_mutex_destroy(&s->written_lock);
    pthread_cond_destroy(&s->written_cond);
    pthread_mutex_destroy(&s->work_lock);
    pthread_cond_destroy(&s->work_cond);
    free(s);
}

static void local_close(struct store *base)
{
    struct local *s = local_of(base);
    work_end(s);
    readers_stop(s);
    writer_stop(s);
    syncer_stop(s);
    if (!atomic_load(&s->failing)) {
        uint64_t group = atomic_load(&s->written_group);
        char row[GUARD_SIZE];
        struct kv_change c = {
            .family = KV_META, .kind = KV_PUT, .key = META_CLOCK, .value = slice_of(row, guard_encode(&s->guard, row))};
        if (s->kv->ops->write(s->kv, &c, 1) == 0 && s->kv->ops->sync(s->kv) == 0) {
            s->kv->ops->flush(s->kv);
            durable_end(s->durable, group);
        }
    }
    writer_free(s);
    local_free(s);
}

static const struct store_engine local_engine = {
    .post = local_post,
    .kick = local_kick,
    .configure = local_configure,
    .clock_accept = local_clock_accept,
    .time = local_time,
    .age = local_age,
    .date = local_date,
    .stats = local_stats,
    .disk = local_disk,
    .work = local_work,
    .close = local_close,
};

/* --- Opening ---------------------------------------------------------------------------------------------------- */

/*
 * Looks at a database without changing anything: whether it can be read, and whether what had been synced is all there.
 * A database that is opened for writing first removes what its manifest does not name, so that a damaged manifest would
 * cost the data itself. torn: its log ends in a record that lost power cut short, and may be opened up to there.
 */
static int database_look(struct local *s, bool *torn, char *why, size_t why_size)
{
    struct kv_rocksdb_options look = s->reopen;
    struct kv *kv;
    struct identity id;
    look.read_only = true;
    *torn = false;
    int r = kv_rocksdb_open(&kv, &look, why, why_size);
    if (r == ERR_INVALID && durable_log_torn(s->durable)) {
        char other[512];
        look.tolerate_torn_log = *torn = true;
        if (kv_rocksdb_open(&kv, &look, other, sizeof(other)))
            return r;
        log_event(LOG_WARN, "storage.log_torn", LOG_STR("why", why));
        r = 0;
    }
    if (r)
        return r;
    r = identity_read(kv, &id);
    kv_close(kv);
    if (r) {
        snprintf(why, why_size, "the database in %s cannot be read", s->reopen.path);
        return r;
    }
    return durable_judge(s->durable, id.instance, id.group, why, why_size) == DURABLE_REFUSED ? ERR_INVALID : 0;
}

static int database_open(struct local *s, const struct store_options *o, char *why, size_t why_size)
{
    if (strcmp(o->engine, "memory") == 0) {
        s->kv = kv_memory_open(&s->expiry);
        snprintf(why, why_size, "out of memory");
        return s->kv ? 0 : ERR_NOMEM;
    }
    int r = durable_open(&s->durable, o->path, why, why_size);
    if (r)
        return r;
    s->reopen =
        (struct kv_rocksdb_options){.path = durable_db_path(s->durable), .memory = o->memory, .expiry = &s->expiry};
    struct kv_rocksdb_options first = s->reopen;
    first.create = !durable_used(s->durable);
    first.complete = !durable_begun(s->durable);
    if (durable_begun(s->durable))
        r = database_look(s, &first.tolerate_torn_log, why, why_size);
    return r ? r : kv_rocksdb_open(&s->kv, &first, why, why_size);
}

/* What the limits of the last run have hidden stays hidden. */
static int limits_read(struct local *s, uint64_t then_ms)
{
    struct kv_found f = kv_get(s->kv, KV_META, META_LIMITS);
    int r = f.code;
    if (r == 1 && (r = limits_restore(&s->limits, f.value, then_ms)))
        record_bad("limits", META_LIMITS);
    kv_found_free(s->kv, &f);
    return r;
}

/* Reads what the database says of itself, judges whether anything is missing, and sets the clocks on from there. */
static int local_read(struct local *s, struct identity *id, bool *lost, char *why, size_t why_size)
{
    char damage[512] = "";
    int r = identity_read(s->kv, id);
    if (r) {
        snprintf(why, why_size, "the database cannot be read");
        return r;
    }
    if (id->version == META_FILLING) {
        snprintf(why, why_size, "an import into this directory was cut short: import again");
        return ERR_INVALID;
    }
    if (id->version && id->version != STORE_FORMAT) {
        snprintf(why, why_size, "the database has format %llu; this server knows %d", (unsigned long long)id->version,
                 STORE_FORMAT);
        return ERR_INVALID;
    }
    enum durable_verdict verdict =
        id->instance ? durable_judge(s->durable, id->instance, id->group, damage, sizeof(damage)) : DURABLE_WHOLE;
    if (!id->instance && s->durable && durable_used(s->durable) && id->group)
        verdict = DURABLE_LOST;
    if (verdict == DURABLE_REFUSED) {
        snprintf(why, why_size, "%s", damage);
        return ERR_INVALID;
    }
    *lost = verdict == DURABLE_LOST;
    if (*lost) {
        log_event(LOG_WARN, "storage.loss_assumed", LOG_INT("group", id->group),
                  LOG_STR("effect", "what was not synced may be missing; message numbers jump"));
    }
    if (limits_read(s, id->clock_ms)) {
        snprintf(why, why_size, "the database cannot be read: its limits");
        return ERR_INVALID;
    }
    guard_init(&s->guard, &s->hooks.clock, &s->expiry, slice_of(id->clock, id->clock_size));
    return 0;
}

static int local_begin(struct local *s, char *why, size_t why_size)
{
    struct identity id;
    bool lost;
    int r = local_read(s, &id, &lost, why, why_size);
    if (r)
        return r;
    r = identity_begin(s->kv, &id, &s->guard, lost, &s->limits);
    r = r ? r : durable_begin(s->durable, id.instance, id.group);
    if (r) {
        snprintf(why, why_size, "the database cannot be written: %s", err_str(r));
        return r;
    }
    if (deleted_begin(s)) {
        snprintf(why, why_size, "the database cannot be read: its deleted users");
        return ERR_IO;
    }
    r = writer_start(s, &(struct writer_begin){.group = id.group,
                                               .last_id_ms = id.last_id_ms,
                                               .id_limit = id.ids,
                                               .losses = id.loss,
                                               .clock_ms = id.clock_ms});
    r = r ? r : readers_start(s);
    if (r)
        snprintf(why, why_size, "cannot start the storage threads: %s", err_str(r));
    return r;
}

/* An engine with its options in force, and neither a database nor threads. NULL: out of memory. */
static struct local *local_new(const struct store_options *options, const struct local_hooks *hooks)
{
    struct local *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->base.engine = &local_engine;
    s->hooks = hooks ? *hooks : (struct local_hooks){0};
    s->node = options->node;
    s->sync_every_ms = options->sync_every_ms ? options->sync_every_ms : 1;
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->swap, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&s->written_lock, NULL);
    pthread_cond_init(&s->written_cond, NULL);
    pthread_mutex_init(&s->work_lock, NULL);
    pthread_cond_init(&s->work_cond, NULL);
    options_set(s, options);
    limits_init(&s->limits, &s->expiry, options);
    atomic_store(&s->live.version, 1);
    s->recent = recent_new();
    if (!s->recent) {
        local_free(s);
        return NULL;
    }
    return s;
}

int local_open_hooked(struct store **out, const struct store_options *options, const struct local_hooks *hooks,
                      char *why, size_t why_size)
{
    struct local *s = local_new(options, hooks);
    *out = NULL;
    if (!s) {
        snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    }
    int r = database_open(s, options, why, why_size);
    r = r || !s->hooks.fill ? r : s->hooks.fill(s->hooks.ctx, s, why, why_size);
    r = r ? r : local_begin(s, why, why_size);
    if (r) {
        readers_stop(s);
        if (s->writer) {
            writer_stop(s);
            syncer_stop(s);
            writer_free(s);
        }
        local_free(s);
        return r;
    }
    *out = &s->base;
    return 0;
}

/* --- Opening without serving -------------------------------------------------------------------------------------- */

/* The database in a directory, for reading alone. */
static int still_open(struct local *s, const char *path, char *why, size_t why_size)
{
    struct kv_rocksdb_options look = s->reopen;
    struct stat st;
    char current[PATH_MAX];
    look.read_only = true;
    snprintf(current, sizeof current, "%s/db/CURRENT", path);
    if (stat(current, &st) != 0) {
        snprintf(why, why_size, "there is no database in the data directory %s: %s", path, strerror(errno));
        return errno == ENOENT || errno == ENOTDIR ? ERR_NOTFOUND : ERR_IO;
    }
    int r = durable_open(&s->durable, path, why, why_size);
    if (r)
        return r;
    s->reopen.path = look.path = durable_db_path(s->durable);
    if (durable_begun(s->durable))
        r = database_look(s, &look.tolerate_torn_log, why, why_size);
    return r ? r : kv_rocksdb_open(&s->kv, &look, why, why_size);
}

int local_open_still(struct local **out, struct identity *id, bool *lost, const struct store_options *options,
                     const struct local_hooks *hooks, char *why, size_t why_size)
{
    struct local *s = local_new(options, hooks);
    *out = NULL;
    if (!s) {
        snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    }
    s->reopen = (struct kv_rocksdb_options){.memory = options->memory, .expiry = &s->expiry};
    int r = still_open(s, options->path, why, why_size);
    r = r ? r : local_read(s, id, lost, why, why_size);
    if (r)
        local_free(s);
    else
        *out = s;
    return r;
}

/* Whether the database is what an import left that was cut short. */
static bool empty_half(struct local *s)
{
    struct kv_rocksdb_options look = s->reopen;
    char why[512];
    uint64_t version = 0;
    look.read_only = look.tolerate_torn_log = true;
    if (durable_begun(s->durable) || kv_rocksdb_open(&s->kv, &look, why, sizeof why))
        return false;
    int r = meta_get_u64(s->kv, META_VERSION, &version);
    kv_close(s->kv);
    s->kv = NULL;
    return r == 1 && version == META_FILLING;
}

/* Removes the files of a database. */
static void empty_clear(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir)
        closedir(dir);
}

int local_open_empty(struct local **out, const struct store_options *options, const struct local_hooks *hooks,
                     char *why, size_t why_size)
{
    struct local *s = local_new(options, hooks);
    *out = NULL;
    if (!s) {
        snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    }
    int r = durable_open(&s->durable, options->path, why, why_size);
    if (r) {
        local_free(s);
        return r;
    }
    s->reopen = (struct kv_rocksdb_options){.path = durable_db_path(s->durable),
                                            .memory = options->memory,
                                            .expiry = &s->expiry,
                                            .create = true,
                                            .complete = true};
    if (durable_used(s->durable) && !empty_half(s)) {
        snprintf(why, why_size, "the data directory %s has a database already: an import needs one without",
                 options->path);
        r = ERR_EXISTS;
    } else {
        empty_clear(s->reopen.path);
        r = kv_rocksdb_open(&s->kv, &s->reopen, why, why_size);
    }
    if (r)
        local_free(s);
    else
        *out = s;
    return r;
}

int local_close_filled(struct local *s, uint64_t instance, uint64_t group)
{
    int r = s->kv->ops->sync(s->kv);
    r = r ? r : durable_begin(s->durable, instance, group);
    if (!r) {
        s->kv->ops->flush(s->kv);
        durable_end(s->durable, group);
    }
    local_free(s);
    return r;
}

void local_close_still(struct local *s)
{
    local_free(s);
}

void local_close_cleared(struct local *s)
{
    kv_close(s->kv);
    s->kv = NULL;
    empty_clear(s->reopen.path);
    local_free(s);
}

int local_open(struct store **out, const struct store_options *options, char *why, size_t why_size)
{
    return local_open_hooked(out, options, NULL, why, why_size);
}
