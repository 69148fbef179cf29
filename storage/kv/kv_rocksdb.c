/* The database on disk: RocksDB through its C API. How it is set up stands in kv_rocksdb_options.c. */
#include "storage/kv/kv.h"

#include "core/base/log.h"
#include "storage/kv/kv_rocksdb_options.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>

struct kv_rocks {
    struct kv base;
    rocksdb_t *db;
    rocksdb_column_family_handle_t
        *handles[KV_FAMILIES + 1]; /* by family; the last one is RocksDB's own "default", unused */
    struct rocks_setup setup;      /* options, caches, filters: they must outlive the database */
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    rocksdb_writebatch_t *batch; /* the writer's, kept */
};

struct rocks_iter {
    struct kv_iter base;
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *options; /* holds the bounds */
    char *bounds;                   /* lower, then upper */
};

static int error_code(const char *error)
{
    return strncmp(error, "Corruption", 10) == 0 ? ERR_INVALID : ERR_IO;
}

/* Logs and frees RocksDB's error; returns a code for it. */
static int error_take(const char *doing, char *error)
{
    int code = error_code(error);
    log_event(LOG_ERROR, code == ERR_INVALID ? "storage.corrupt" : "storage.io_error", LOG_STR("doing", doing),
              LOG_STR("error", error));
    rocksdb_free(error);
    return code;
}

static void rocks_multi_get(struct kv *kv, enum kv_family family, const struct slice *keys, size_t n,
                            struct kv_found *out)
{
    struct kv_rocks *k = (struct kv_rocks *)kv;
    enum { CHUNK = 64 };
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;
        const char *names[CHUNK];
        size_t sizes[CHUNK];
        rocksdb_pinnableslice_t *values[CHUNK] = {NULL};
        char *errors[CHUNK] = {NULL};
        for (size_t i = 0; i < count; i++) {
            names[i] = keys[at + i].p;
            sizes[i] = keys[at + i].n;
        }
        if (count == 1) {
            values[0] = rocksdb_get_pinned_cf(k->db, k->read, k->handles[family], names[0], sizes[0], &errors[0]);
        } else {
            rocksdb_batched_multi_get_cf(k->db, k->read, k->handles[family], count, names, sizes, values, errors,
                                         false);
        }
        for (size_t i = 0; i < count; i++) {
            struct kv_found *f = &out[at + i];
            *f = (struct kv_found){0};
            if (errors[i]) {
                f->code = error_take("get", errors[i]);
            } else if (values[i]) {
                f->code = 1;
                f->pin = values[i];
                f->value.p = rocksdb_pinnableslice_value(values[i], &f->value.n);
            }
        }
    }
}

static void rocks_found_free(struct kv_found *found)
{
    rocksdb_pinnableslice_destroy(found->pin);
}

static int rocks_write(struct kv *kv, const struct kv_change *c, size_t n)
{
    struct kv_rocks *k = (struct kv_rocks *)kv;
    char *error = NULL;
    rocksdb_writebatch_clear(k->batch);
    for (size_t i = 0; i < n; i++) {
        rocksdb_column_family_handle_t *family = k->handles[c[i].family];
        switch (c[i].kind) {
        case KV_PUT:
            rocksdb_writebatch_put_cf(k->batch, family, c[i].key.p, c[i].key.n, c[i].value.p, c[i].value.n);
            break;
        case KV_DELETE:
            rocksdb_writebatch_delete_cf(k->batch, family, c[i].key.p, c[i].key.n);
            break;
        case KV_DELETE_RANGE:
            rocksdb_writebatch_delete_range_cf(k->batch, family, c[i].key.p, c[i].key.n, c[i].value.p, c[i].value.n);
            break;
        }
    }
    rocksdb_write(k->db, k->write, k->batch, &error);
    if (error) {
        (void)error_take("write", error);
        return ERR_IO;
    }
    return 0;
}

static int rocks_sync(struct kv *kv)
{
    struct kv_rocks *k = (struct kv_rocks *)kv;
    char *error = NULL;
    rocksdb_flush_wal(k->db, 1, &error);
    if (error) {
        (void)error_take("sync", error);
        return ERR_IO;
    }
    return 0;
}

static void rocks_flush(struct kv *kv)
{
    struct kv_rocks *k = (struct kv_rocks *)kv;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    for (int f = KV_FAMILIES - 1; f >= 0;
         f--) { /* meta last: it holds the group number, which vouches for the others */
        char *error = NULL;
        rocksdb_flush_cf(k->db, options, k->handles[f], &error);
        if (error) {
            (void)error_take("flush", error);
            break;
        }
    }
    rocksdb_flushoptions_destroy(options);
}

static int rocks_compact(struct kv *kv, enum kv_family family)
{
    struct kv_rocks *k = (struct kv_rocks *)kv;
    rocksdb_compact_range_cf(k->db, k->handles[family], NULL, 0, NULL, 0);
    return 0;
}

static void rocks_interrupt(struct kv *kv)
{
    rocksdb_disable_manual_compaction(((struct kv_rocks *)kv)->db);
}

static int rocks_checkpoint(struct kv *kv, const char *path, char *why, size_t why_size)
{
    char *error = NULL;
    rocksdb_checkpoint_t *c = rocksdb_checkpoint_object_create(((struct kv_rocks *)kv)->db, &error);
    if (c) {
        rocksdb_checkpoint_create(c, path, 0, &error);
        rocksdb_checkpoint_object_destroy(c);
    }
    if (error) {
        snprintf(why, why_size, "%s", error);
        (void)error_take("checkpoint", error);
        return ERR_IO;
    }
    return 0;
}

static void rocks_usage(struct kv *kv, struct kv_usage *out)
{
    struct kv_rocks *k = (struct kv_rocks *)kv;
    uint64_t total = rocksdb_cache_get_usage(k->setup.cache);
    for (int f = 0; f < KV_FAMILIES; f++) {
        uint64_t v = 0;
        if (rocksdb_property_int_cf(k->db, k->handles[f], "rocksdb.cur-size-all-mem-tables", &v) == 0)
            total += v;
        if (rocksdb_property_int_cf(k->db, k->handles[f], "rocksdb.estimate-table-readers-mem", &v) == 0)
            total += v;
    }
    out->memory = total;
}

static void rocks_disk(struct kv *kv, struct kv_disk *out)
{
    struct kv_rocks *k = (struct kv_rocks *)kv;
    for (int f = 0; f < KV_FAMILIES; f++)
        if (rocksdb_property_int_cf(k->db, k->handles[f], "rocksdb.total-sst-files-size", &out->bytes[f]) != 0)
            out->bytes[f] = 0;
}

/* No counters of RocksDB's own per call: nobody looks at them. */
static void rocks_thread(void)
{
    rocksdb_set_perf_level(rocksdb_disable);
}

static uint64_t rocks_version(struct kv *kv)
{
    return rocksdb_get_latest_sequence_number(((struct kv_rocks *)kv)->db);
}

static const struct kv_ops rocks_ops;

static struct kv_iter *rocks_iter_new(struct kv *kv, enum kv_family family, struct slice lower, struct slice upper)
{
    struct kv_rocks *k = (struct kv_rocks *)kv;
    struct rocks_iter *it = malloc(sizeof(*it) + lower.n + upper.n);
    if (!it)
        return NULL;
    it->base.ops = &rocks_ops;
    it->bounds = (char *)(it + 1);
    it->options = rocksdb_readoptions_create();
    if (lower.n) {
        memcpy(it->bounds, lower.p, lower.n);
        rocksdb_readoptions_set_iterate_lower_bound(it->options, it->bounds, lower.n);
    }
    if (upper.n) {
        memcpy(it->bounds + lower.n, upper.p, upper.n);
        rocksdb_readoptions_set_iterate_upper_bound(it->options, it->bounds + lower.n, upper.n);
    }
    it->it = rocksdb_create_iterator_cf(k->db, it->options, k->handles[family]);
    return &it->base;
}

static void rocks_iter_free(struct kv_iter *iter)
{
    struct rocks_iter *it = (struct rocks_iter *)iter;
    rocksdb_iter_destroy(it->it);
    rocksdb_readoptions_destroy(it->options);
    free(it);
}

static void rocks_seek(struct kv_iter *iter, struct slice key)
{
    rocksdb_iter_seek(((struct rocks_iter *)iter)->it, key.p, key.n);
}

static void rocks_seek_before(struct kv_iter *iter, struct slice key)
{
    struct rocks_iter *it = (struct rocks_iter *)iter;
    rocksdb_iter_seek_for_prev(it->it, key.p, key.n);
    if (rocksdb_iter_valid(it->it)) {
        struct slice at;
        at.p = rocksdb_iter_key(it->it, &at.n);
        if (slice_eq(at, key))
            rocksdb_iter_prev(it->it);
    }
}

static void rocks_next(struct kv_iter *iter)
{
    rocksdb_iter_next(((struct rocks_iter *)iter)->it);
}
static void rocks_prev(struct kv_iter *iter)
{
    rocksdb_iter_prev(((struct rocks_iter *)iter)->it);
}
static bool rocks_valid(struct kv_iter *iter)
{
    return rocksdb_iter_valid(((struct rocks_iter *)iter)->it);
}

static struct slice rocks_key(struct kv_iter *iter)
{
    struct slice s;
    s.p = rocksdb_iter_key(((struct rocks_iter *)iter)->it, &s.n);
    return s;
}

static struct slice rocks_value(struct kv_iter *iter)
{
    struct slice s;
    s.p = rocksdb_iter_value(((struct rocks_iter *)iter)->it, &s.n);
    return s;
}

static bool rocks_row(struct kv_iter *iter, struct slice *key, struct slice *value)
{
    rocksdb_iterator_t *it = ((struct rocks_iter *)iter)->it;
    if (!rocksdb_iter_valid(it))
        return false;
    key->p = rocksdb_iter_key(it, &key->n);
    value->p = rocksdb_iter_value(it, &value->n);
    return true;
}

static int rocks_iter_error(struct kv_iter *iter)
{
    char *error = NULL;
    rocksdb_iter_get_error(((struct rocks_iter *)iter)->it, &error);
    return error ? error_take("scan", error) : 0;
}

static void rocks_close(struct kv *kv)
{
    struct kv_rocks *k = (struct kv_rocks *)kv;
    for (int f = 0; f <= KV_FAMILIES; f++)
        if (k->handles[f])
            rocksdb_column_family_handle_destroy(k->handles[f]);
    if (k->db)
        rocksdb_close(k->db);
    rocks_setup_free(&k->setup);
    if (k->batch) {
        rocksdb_writebatch_destroy(k->batch);
        rocksdb_writeoptions_destroy(k->write);
        rocksdb_readoptions_destroy(k->read);
    }
    free(k);
}

static const struct kv_ops rocks_ops = {
    .name = "rocksdb",
    .close = rocks_close,
    .multi_get = rocks_multi_get,
    .found_free = rocks_found_free,
    .write = rocks_write,
    .sync = rocks_sync,
    .flush = rocks_flush,
    .compact = rocks_compact,
    .interrupt = rocks_interrupt,
    .checkpoint = rocks_checkpoint,
    .usage = rocks_usage,
    .disk = rocks_disk,
    .thread = rocks_thread,
    .version = rocks_version,
    .iter = rocks_iter_new,
    .iter_free = rocks_iter_free,
    .seek = rocks_seek,
    .seek_before = rocks_seek_before,
    .next = rocks_next,
    .prev = rocks_prev,
    .valid = rocks_valid,
    .row = rocks_row,
    .key = rocks_key,
    .value = rocks_value,
    .iter_error = rocks_iter_error,
};

int kv_rocksdb_open(struct kv **out, const struct kv_rocksdb_options *o, char *why, size_t why_size)
{
    struct kv_rocks *k = calloc(1, sizeof(*k));
    char *error = NULL;
    *out = NULL;
    if (!k) {
        snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    }
    k->base.ops = &rocks_ops;
    rocks_setup_init(&k->setup, o);
    const char *names[KV_FAMILIES + 1];
    const rocksdb_options_t *options[KV_FAMILIES + 1];
    for (int f = 0; f < KV_FAMILIES; f++) {
        names[f] = kv_family_name((enum kv_family)f);
        options[f] = k->setup.families[f];
    }
    names[KV_FAMILIES] = "default";
    options[KV_FAMILIES] = k->setup.database;
    if (o->read_only) {
        k->db = rocksdb_open_for_read_only_column_families(k->setup.database, o->path, KV_FAMILIES + 1, names, options,
                                                           k->handles, 0, &error);
    } else {
        k->db = rocksdb_open_column_families(k->setup.database, o->path, KV_FAMILIES + 1, names, options, k->handles,
                                             &error);
    }
    if (error) {
        int code = error_code(error);
        if (!o->create && strstr(error, "does not exist"))
            code = ERR_INVALID;
        snprintf(why, why_size, "cannot open the database in %s: %s", o->path, error);
        rocksdb_free(error);
        k->db = NULL;
        memset(k->handles, 0, sizeof(k->handles));
        rocks_close(&k->base);
        return code;
    }
    k->write = rocksdb_writeoptions_create();
    k->read = rocksdb_readoptions_create();
    k->batch = rocksdb_writebatch_create();
    *out = &k->base;
    return 0;
}
