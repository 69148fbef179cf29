/*
 * How RocksDB is set up.
 *
 * Memory: a third of the budget for memtables (db_write_buffer_size bounds them over all families), the rest for one
 * cache that also holds indexes and bloom filters, both partitioned, so that a table of any size costs what is used of
 * it. The cache's bound is not strict: RocksDB 7.8 fails reads, flushes and compactions when a strict cache is full of
 * pinned blocks, and what a handful of threads pin is small.
 *
 * Log recovery: kTolerateCorruptedTailRecords. A record cut short at the log's end is what a loss of power leaves, and
 * opens; a record whose checksum is wrong is refused, unless durable.c finds that the log was torn (see local.c,
 * database_look): then once with kPointInTimeRecovery, after a look that nothing synced is missing. A log that is
 * merely shorter than it was is found by the group numbers (durable_judge).
 */
#include "storage/kv/kv_rocksdb_options.h"

#include "storage/kv/row.h"

#include <sys/resource.h>

enum { MEMORY_MIN = 16 << 20 };

static unsigned char filter_row(void *state, int level, const char *key, size_t key_n, const char *value,
                                size_t value_n, char **new_value, size_t *new_value_n, unsigned char *changed)
{
    const struct expiry *e = state;
    struct row_header h;
    (void)level;
    (void)key;
    (void)key_n;
    (void)new_value;
    (void)new_value_n;
    *changed = 0;
    return row_decode(slice_of(value, value_n), &h) == 0 && row_expired(&h, e, expiry_now(e));
}

static const char *filter_name(void *state)
{
    (void)state;
    return "magpie.expiry";
}

static void filter_free(void *state)
{
    (void)state;
}

/* Memtables grow by so many bytes: small, so that what they are said to take is what they take (the default of a
 * megabyte and more is mostly untouched at first), and large enough to be mappings of their own, which go back to the
 * system after a flush (core/base/heap.h). With the 16 bytes that the C library puts before it a block fills its pages
 * to the last byte, or each would take a page that nobody counts. */
enum { ARENA_BLOCK = 128 * 1024 + 4096 - 16 };

/* Families whose rows begin with a row header. */
static bool family_expires(enum kv_family f)
{
    return f == KV_DM || f == KV_SMALL || f == KV_LARGE || f == KV_INBOX || f == KV_DEDUP;
}

/* Families that are asked for single keys, mostly absent ones among them. */
static bool family_is_asked(enum kv_family f)
{
    return f == KV_USER || f == KV_CHANNEL || f == KV_DEDUP;
}

static rocksdb_options_t *family_options(struct rocks_setup *s, enum kv_family f, size_t write_buffer)
{
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(t, s->cache);
    rocksdb_block_based_options_set_block_size(t, 8192);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    rocksdb_block_based_options_set_index_type(t, rocksdb_block_based_table_index_type_two_level_index_search);
    if (family_is_asked(f)) {
        rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(10));
        rocksdb_block_based_options_set_whole_key_filtering(t, 1);
        rocksdb_block_based_options_set_partition_filters(t, 1);
        /* Memtables too: to find that a key is absent costs more than to put it. A fiftieth of the memtable is some 10
         * bits a row. */
        rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.02);
        rocksdb_options_set_memtable_whole_key_filtering(o, 1);
    }
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
    rocksdb_options_set_write_buffer_size(o, write_buffer);
    rocksdb_options_set_arena_block_size(o, ARENA_BLOCK);
    rocksdb_options_set_max_write_buffer_number(o, 4);
    rocksdb_options_set_target_file_size_base(o, 32u << 20);
    rocksdb_options_set_max_bytes_for_level_base(o, 128u << 20);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    if (family_expires(f))
        rocksdb_options_set_compaction_filter(o, s->filter);
    return o;
}

/* Tables kept open. Where the process may have few descriptors, clients leave a sixteenth of them (core/net/accept.c):
 * tables must not want more, or a reader fails when all clients' are taken. */
static int open_files(void)
{
    enum { MOST = 512, LEAST = 20 /* RocksDB's own */, OTHERS = 16 };
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur / 16 >= MOST + OTHERS)
        return MOST;
    return r.rlim_cur / 16 > LEAST + OTHERS ? (int)(r.rlim_cur / 16) - OTHERS : LEAST;
}

void rocks_setup_init(struct rocks_setup *s, const struct kv_rocksdb_options *o)
{
    uint64_t memory = o->memory > MEMORY_MIN ? o->memory : MEMORY_MIN;
    size_t buffers = (size_t)(memory / 3);
    s->cache = rocksdb_cache_create_lru((size_t)(memory - buffers));
    s->env = rocksdb_create_default_env();
    s->filter = rocksdb_compactionfilter_create((void *)(uintptr_t)o->expiry, filter_free, filter_row, filter_name);
    rocksdb_compactionfilter_set_ignore_snapshots(s->filter, 1);
    rocksdb_options_t *d = s->database = rocksdb_options_create();
    rocksdb_options_set_env(d, s->env);
    rocksdb_options_set_create_if_missing(d, o->create);
    rocksdb_options_set_create_missing_column_families(d, o->complete);
    rocksdb_options_set_db_write_buffer_size(d, buffers);
    rocksdb_options_set_max_total_wal_size(d, 2 * buffers);
    rocksdb_options_set_max_open_files(d, open_files());
    rocksdb_options_set_max_background_jobs(d, 2);
    rocksdb_options_set_bytes_per_sync(d, 1u << 20);
    rocksdb_options_set_wal_recovery_mode(d, o->tolerate_torn_log ? rocksdb_point_in_time_recovery
                                                                  : rocksdb_tolerate_corrupted_tail_records_recovery);
    rocksdb_options_set_info_log_level(d, 4); /* fatal: Debian's build aborts when its info log cannot be written */
    rocksdb_options_set_keep_log_file_num(d, 2);
    rocksdb_options_set_stats_dump_period_sec(d, 0);
    rocksdb_options_set_skip_stats_update_on_db_open(d, 1);
    for (int f = 0; f < KV_FAMILIES; f++)
        s->families[f] = family_options(s, (enum kv_family)f, buffers / 2);
}

void rocks_setup_free(struct rocks_setup *s)
{
    for (int f = 0; f < KV_FAMILIES; f++)
        rocksdb_options_destroy(s->families[f]);
    rocksdb_options_destroy(s->database);
    rocksdb_compactionfilter_destroy(s->filter);
    rocksdb_cache_destroy(s->cache);
    rocksdb_env_destroy(s->env);
}
