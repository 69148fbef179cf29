/* How RocksDB is set up. */
#ifndef MAGPIE_STORAGE_KV_ROCKSDB_OPTIONS_H
#define MAGPIE_STORAGE_KV_ROCKSDB_OPTIONS_H

#include "storage/kv/kv.h"

#include <rocksdb/c.h>

/* Everything that must live as long as the database; owned. */
struct rocks_setup {
    rocksdb_options_t *database; /* of the whole, and of "default" */
    rocksdb_options_t *families[KV_FAMILIES];
    rocksdb_cache_t *cache; /* blocks, indexes and bloom filters of all families */
    rocksdb_env_t *env;
    rocksdb_compactionfilter_t *filter; /* drops what is past its time */
};

void rocks_setup_init(struct rocks_setup *s, const struct kv_rocksdb_options *o);
void rocks_setup_free(struct rocks_setup *s);

#endif
