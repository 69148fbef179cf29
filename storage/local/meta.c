/* What the database says of itself: see meta.h. */
#include "storage/local/meta.h"

#include "core/base/random.h"
#include "storage/local/idgen.h"
#include "storage/local/local_private.h"

int meta_get_u64(struct kv *kv, struct slice key, uint64_t *out)
{
    struct kv_found f = kv_get(kv, KV_META, key);
    int r = f.code;
    *out = 0;
    if (r == 1 && f.value.n >= 8) {
        *out = load_be64(f.value.p);
    } else if (r == 1) {
        record_bad("meta", key);
        r = ERR_INVALID;
    }
    kv_found_free(kv, &f);
    return r;
}

static int clock_read(struct kv *kv, struct identity *id)
{
    struct kv_found f = kv_get(kv, KV_META, META_CLOCK);
    int r = f.code;
    if (r == 1 && f.value.n >= 8) {
        id->clock_ms = load_be64(f.value.p);
        id->clock_size = f.value.n < GUARD_SIZE ? f.value.n : GUARD_SIZE;
        memcpy(id->clock, f.value.p, id->clock_size);
    } else if (r == 1) {
        record_bad("meta", META_CLOCK);
        r = ERR_INVALID;
    }
    kv_found_free(kv, &f);
    return r < 0 ? r : 0;
}

int identity_read(struct kv *kv, struct identity *id)
{
    *id = (struct identity){0};
    struct kv_found f = kv_get(kv, KV_META, META_GROUP);
    int r = f.code;
    if (r == 1) {
        r = f.value.n == 16 ? 1 : ERR_INVALID;
        if (r == 1) {
            id->group = load_be64(f.value.p);
            id->last_id_ms = load_be64(f.value.p + 8);
        }
    }
    kv_found_free(kv, &f);
    const struct {
        struct slice key;
        uint64_t *to;
    } all[] = {
        {META_VERSION, &id->version}, {META_INSTANCE, &id->instance}, {META_LOSS, &id->loss}, {META_IDS, &id->ids}};
    for (size_t i = 0; r >= 0 && i < sizeof(all) / sizeof(all[0]); i++)
        r = meta_get_u64(kv, all[i].key, all[i].to);
    return r < 0 ? r : clock_read(kv, id);
}

int identity_begin(struct kv *kv, struct identity *id, struct guard *guard, bool lost, struct limits *limits)
{
    char values[6][16], row[LIMITS_SIZE];
    id->clock_size = guard_encode(guard, id->clock);
    id->clock_ms = load_be64(id->clock);
    uint64_t ms = idgen_ms(id->clock_ms);
    bool fresh = id->instance == 0;
    if (lost && id->ids > id->last_id_ms)
        id->last_id_ms = id->ids;
    id->loss += lost;
    id->group++;
    id->ids = (ms > id->last_id_ms ? ms : id->last_id_ms) + ID_AHEAD_MS;
    while (id->instance == 0)
        random_bytes(&id->instance, sizeof(id->instance));
    struct kv_change c[8];
    uint32_t n = 0;
    const struct {
        struct slice key;
        uint64_t v;
        bool write;
    } all[] = {{META_GROUP, id->group, true},        {META_IDS, id->ids, true},           {META_LOSS, id->loss, true},
               {META_INSTANCE, id->instance, fresh}, {META_VERSION, STORE_FORMAT, fresh}, {META_SWEPT, 1, fresh}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].write) {
            store_be64(values[n], all[i].v);
            store_be64(values[n] + 8, id->last_id_ms);
            c[n] = (struct kv_change){
                .family = KV_META, .kind = KV_PUT, .key = all[i].key, .value = slice_of(values[n], i == 0 ? 16 : 8)};
            n++;
        }
    }
    c[n++] = (struct kv_change){.family = KV_META,
                                .kind = KV_PUT,
                                .key = META_LIMITS,
                                .value = slice_of(row, limits_encode(limits, idgen_end(id->last_id_ms), row))};
    c[n++] = (struct kv_change){
        .family = KV_META, .kind = KV_PUT, .key = META_CLOCK, .value = slice_of(id->clock, id->clock_size)};
    int r = kv->ops->write(kv, c, n);
    return r ? r : kv->ops->sync(kv);
}
