/* Channels without members: see vacant.h. */
#include "storage/local/vacant.h"

#include "core/base/hash.h"
#include "storage/local/head.h"
#include "storage/local/hint.h"
#include "storage/local/meta.h"
#include "storage/local/msgs.h"

enum {
    AGAIN_MS = 24 * 3600 * 1000, /* a channel whose messages last is looked at so often */
    PAUSE_MS = 50,               /* between two looks when there is more than one does */
    TROUBLE_MS = 60000,          /* … when the database could not be read */
    LOOK_MAX = 64,               /* channels that one look gives the writer */
    SWEEP_MAX = 256,             /* heads that one look passes over in a database of an older server */
    ROWS_FEW = 64,               /* rows of messages that are deleted one by one */
    NAMES_MAX = 1 << 18,         /* names kept of channels that are gone: some 25 MB */
    VACANCY_PUTS = 8             /* changes of one that goes, and of the name that is dropped for it */
};

/* --- Floors: what dropped names leave behind ---------------------------------------------------------------------- */

/* A name's two places in the table. Stable: they are on disk. */
static void floor_places(struct slice conv, uint16_t out[2])
{
    uint64_t h = hash_stable(conv);
    out[0] = (uint16_t)h;
    out[1] = (uint16_t)(h >> 16);
}

static int floor_read(struct writer *w, struct slice conv, uint64_t out[2])
{
    uint16_t places[2];
    int r = 0;
    floor_places(conv, places);
    for (int i = 0; i < 2 && !r; i++) {
        struct key k;
        struct kv_found f = writer_get(w, KV_META, key_floor(&k, places[i]));
        out[i] = f.code == 1 && f.value.n == 8 ? load_be64(f.value.p) : 0;
        r = f.code < 0 ? f.code : 0;
        kv_found_free(w->store->kv, &f);
    }
    return r;
}

static void floor_raise(struct writer *w, struct slice conv, const uint64_t old[2], uint64_t seq)
{
    uint16_t places[2];
    floor_places(conv, places);
    for (int i = 0; i < 2; i++) {
        struct key k;
        if (seq > old[i])
            writer_put_u64(w, key_floor(&k, places[i]), seq);
    }
}

/* --- Names that are dropped --------------------------------------------------------------------------------------- */

/* The newest seq that a name of a channel that is gone has: of the cache, where that knows it. */
static int drop_read(struct writer *w, struct slice conv, uint64_t *seq)
{
    const struct head *h = heads_find(&w->heads, conv);
    struct head_record r = {0};
    struct key k;
    if (h && !h->bad) {
        *seq = h->r.seq;
        return 0;
    }
    struct kv_found f = kv_get(w->store->kv, KV_CHANNEL, key_head(&k, conv));
    int code = f.code == 1 && head_decode(f.value, &r) ? ERR_INVALID : f.code;
    kv_found_free(w->store->kv, &f);
    *seq = r.seq;
    return code < 0 ? code : 0;
}

/* Finds the name that went first, when as many are kept as may be. */
static int drop_find(struct writer *w, struct vacancy *v)
{
    uint32_t max = w->store->hooks.names_max ? w->store->hooks.names_max : NAMES_MAX;
    struct key from, to;
    struct slice deleted, conv;
    uint64_t ms;
    if (w->vacant.names < max)
        return 0;
    struct kv_iter *it = kv_iter_new(w->store->kv, KV_META, key_gone(&from, w->vacant.names_from, SLICE_NONE),
                                     key_after_prefix(&to, SLICE_LIT("o")));
    if (!it)
        return ERR_NOMEM;
    kv_seek(it, key_slice(&from));
    while (kv_valid(it) && batch_get(&w->batch, KV_META, kv_key(it), &deleted) == 0)
        kv_next(it);
    int r = kv_iter_error(it);
    if (!r && kv_valid(it) && key_timed(kv_key(it), &ms, &conv) && conv.n <= CONV_KEY_MAX) {
        memcpy(v->drop.p, kv_key(it).p, kv_key(it).n);
        v->drop.n = kv_key(it).n;
        w->vacant.names_from = ms;
        r = drop_read(w, conv, &v->drop_seq);
        r = r ? r : floor_read(w, conv, v->floors);
    }
    kv_iter_free(it);
    return r;
}

static void drop_put(struct writer *w, const struct vacancy *v)
{
    uint64_t ms;
    struct slice conv = SLICE_NONE;
    struct key k;
    if (!v->drop.n || !key_timed(key_slice(&v->drop), &ms, &conv))
        return;
    batch_delete(&w->batch, KV_META, key_slice(&v->drop));
    batch_delete(&w->batch, KV_CHANNEL, key_head(&k, conv));
    floor_raise(w, conv, v->floors, v->drop_seq);
    w->vacant.names--;
    struct head *h = heads_find(&w->heads, conv);
    if (h)
        head_clear(w, h);
}

/* --- Going -------------------------------------------------------------------------------------------------------- */

/* Deletes the rows of all its messages, which nobody may see any more. Harmless when the operation fails then. */
static int rows_delete(struct writer *w, const struct head *h)
{
    int r = 0;
    for (unsigned t = 0; t < TIER_COUNT && !r; t++) {
        struct key from, to;
        uint32_t n = 0;
        if (!(h->r.tiers_used & 1u << t))
            continue;
        struct slice first = key_message(&from, h->node.key, 0), end = key_message(&to, h->node.key, UINT64_MAX);
        struct kv_iter *it = kv_iter_new(w->store->kv, tier_family(t), first, end);
        if (!it)
            return ERR_NOMEM;
        for (kv_seek(it, first); !r && kv_valid(it) && n++ < ROWS_FEW; kv_next(it)) {
            r = batch_reserve(&w->batch, 2, 3 * KEY_MAX);
            if (!r)
                batch_delete(&w->batch, tier_family(t), kv_key(it));
        }
        if (!r && kv_valid(it))
            batch_delete_range(&w->batch, tier_family(t), first, end);
        r = r ? r : kv_iter_error(it);
        kv_iter_free(it);
    }
    return r;
}

/* When the newest of its visible messages ends. */
static int newest_end(struct writer *w, const struct head *h, uint64_t *end_ms)
{
    struct msgs m;
    int r = msgs_open(&m, w->store, NULL, h->node.key, &h->r);
    if (!r) {
        msgs_down(&m, UINT64_MAX);
        if (m.valid)
            *end_ms = expiry_end(&w->store->expiry, m.row->row.cls, m.row->row.birth_ms, m.row->row.ttl_ms);
        r = m.error;
    }
    msgs_close(&m);
    return r;
}

int vacancy_judge(struct writer *w, struct head *h, struct vacancy *v)
{
    uint64_t first, end = w->expiry_ms + AGAIN_MS;
    *v = (struct vacancy){.goes = false};
    if (h->group == w->group && h->group_first)
        return 1; /* its newest messages are not in the database yet */
    int r = head_first(w, h, &first);
    if (r)
        return r;
    v->goes = (h->r.seq == 0 || first > h->r.seq) && !atomic_load(&w->store->live.keep_vacant);
    if (!v->goes) {
        r = first <= h->r.seq ? newest_end(w, h, &end) : 0;
        uint64_t again = w->expiry_ms + AGAIN_MS;
        v->due_ms = end < again ? end : again;
    } else {
        r = rows_delete(w, h);
        r = r ? r : drop_find(w, v);
    }
    return r ? r : batch_reserve(&w->batch, VACANCY_PUTS + CALLER_PUTS, (VACANCY_PUTS + CALLER_PUTS) * KEY_MAX);
}

int vacancy_wipe(struct writer *w, struct head *h, struct vacancy *v)
{
    *v = (struct vacancy){.goes = true};
    int r = rows_delete(w, h);
    r = r ? r : drop_find(w, v);
    return r ? r : batch_reserve(&w->batch, VACANCY_PUTS + CALLER_PUTS, (VACANCY_PUTS + CALLER_PUTS) * KEY_MAX);
}

/* All that is kept is the newest seq that may have been given out, if there was any. */
static void go(struct writer *w, struct head *h)
{
    uint64_t seq = h->jump > h->r.seq ? h->jump : h->r.seq;
    uint32_t watched = h->r.flags & HEAD_WATCHED;
    struct key k;
    writer_put_u64(w, META_CHANNELS, --w->channels);
    head_clear(w, h);
    if (!seq) {
        batch_delete(&w->batch, KV_CHANNEL, key_head(&k, h->node.key));
        return;
    }
    h->r = (struct head_record){.seq = seq, .low = {seq, seq, seq}, .flags = HEAD_GONE | watched, .gone_ms = w->now_ms};
    h->first = seq + 1;
    flag_encode(batch_put(&w->batch, KV_META, key_gone(&k, h->r.gone_ms, h->node.key), 2));
    w->vacant.names++;
    head_put(w, h);
}

static void watch(struct writer *w, struct head *h, uint64_t due_ms)
{
    struct key k;
    if (!(h->r.flags & HEAD_WATCHED)) {
        h->r.flags |= HEAD_WATCHED;
        flag_encode(batch_put(&w->batch, KV_META, key_vacant(&k, due_ms, h->node.key), 2));
        w->vacant.due_ms = due_ms < w->vacant.due_ms ? due_ms : w->vacant.due_ms;
        w->vacant.from_ms = due_ms < w->vacant.from_ms ? due_ms : w->vacant.from_ms;
    }
    head_put(w, h);
}

bool vacancy_settle(struct writer *w, struct head *h, const struct vacancy *v)
{
    if (!v->goes) {
        watch(w, h, v->due_ms);
        return false;
    }
    uint64_t names = w->vacant.names;
    go(w, h);
    drop_put(w, v);
    if (w->vacant.names != names)
        writer_put_u64(w, META_NAMES, w->vacant.names);
    return true;
}

/* --- Coming back -------------------------------------------------------------------------------------------------- */

int vacant_floor(struct writer *w, const struct head *h, uint64_t *seq)
{
    uint64_t floors[2];
    *seq = h->r.seq;
    if (h->r.seq || h->jump)
        return 0; /* its name is known */
    int r = floor_read(w, h->node.key, floors);
    *seq = r ? 0 : floors[0] < floors[1] ? floors[0] : floors[1];
    return r;
}

void vacant_revive(struct writer *w, struct head *h, uint64_t seq)
{
    struct key k;
    if (h->r.flags & HEAD_GONE) {
        batch_delete(&w->batch, KV_META, key_gone(&k, h->r.gone_ms, h->node.key));
        writer_put_u64(w, META_NAMES, --w->vacant.names);
        h->r.flags &= ~(uint32_t)HEAD_GONE;
        h->r.gone_ms = 0;
    }
    if (seq > h->r.seq) {
        h->r.seq = seq;
        for (unsigned t = 0; t < TIER_COUNT; t++)
            h->r.low[t] = seq;
        h->first = seq + 1;
        h->first_until = UINT64_MAX;
    }
}

/* --- Looking ------------------------------------------------------------------------------------------------------ */

enum apply apply_vacant(struct writer *w, struct slot *slot)
{
    struct hint *hint = (struct hint *)slot->op;
    struct head *h = slot->head;
    struct vacancy v;
    struct key row;
    if (!h) { /* all heads of an older server's database were looked at */
        if (batch_reserve(&w->batch, 1, 64))
            return apply_end(slot, STORE_FATAL);
        writer_put_u64(w, META_SWEPT, 1);
        return apply_changed(slot);
    }
    if (hint->due_ms) {
        struct kv_found f = writer_get(w, KV_META, key_vacant(&row, hint->due_ms, h->node.key));
        int there = f.code;
        kv_found_free(w->store->kv, &f);
        if (there != 1)
            return apply_end(slot, status_of(there)); /* it was looked at meanwhile */
    } else if (h->r.flags & HEAD_WATCHED) {
        return apply_end(slot, STORE_OK);
    }
    bool vacant = (h->r.flags & (HEAD_CHANNEL | HEAD_CLOSING)) == HEAD_CHANNEL && h->r.members == 0;
    int r = vacant ? vacancy_judge(w, h, &v) : batch_reserve(&w->batch, 2, HEAD_ROOM + KEY_MAX);
    if (r)
        return r > 0 ? APPLY_CUT : apply_end(slot, status_of(r));
    if (hint->due_ms) {
        batch_delete(&w->batch, KV_META, key_slice(&row));
        h->r.flags &= ~(uint32_t)HEAD_WATCHED;
    }
    if (vacant)
        (void)vacancy_settle(w, h, &v);
    else if (hint->due_ms && h->r.flags)
        head_put(w, h);
    return apply_changed(slot);
}

/* Takes rows that are due, and notes when the next one is. */
static int look_due(struct writer *w, uint64_t now_ms)
{
    struct key from, to;
    struct slice conv;
    uint64_t due;
    int n = 0;
    struct kv_iter *it = kv_iter_new(w->store->kv, KV_META, key_vacant(&from, w->vacant.from_ms, SLICE_NONE),
                                     key_after_prefix(&to, SLICE_LIT("e")));
    if (!it)
        return ERR_NOMEM;
    w->vacant.due_ms = UINT64_MAX;
    for (kv_seek(it, key_slice(&from)); kv_valid(it) && key_timed(kv_key(it), &due, &conv); kv_next(it)) {
        if (due > now_ms || n == LOOK_MAX) {
            w->vacant.due_ms = due > now_ms ? due : now_ms + PAUSE_MS;
            break;
        }
        w->vacant.from_ms = n++ ? w->vacant.from_ms : due;
        hint_vacant(w->store, conv, due);
    }
    int r = kv_iter_error(it);
    kv_iter_free(it);
    return r;
}

/* Passes over some heads of a database that knew no watched channels. */
static int look_swept(struct writer *w, uint64_t now_ms)
{
    struct key to;
    struct head_record h;
    int n = 0;
    struct kv_iter *it = kv_iter_new(w->store->kv, KV_CHANNEL, SLICE_LIT("hc"), key_after_prefix(&to, SLICE_LIT("hc")));
    if (!it)
        return ERR_NOMEM;
    for (kv_seek(it, key_slice(&w->vacant.sweep)); kv_valid(it) && n < SWEEP_MAX; kv_next(it), n++) {
        struct slice key = kv_key(it);
        if (key.n >= KEY_MAX || head_decode(kv_value(it), &h))
            continue;
        memcpy(w->vacant.sweep.p, key.p, key.n);
        w->vacant.sweep.p[key.n] = '\0'; /* the first key after it */
        w->vacant.sweep.n = key.n + 1;
        if (h.flags == HEAD_CHANNEL && h.members == 0)
            hint_vacant(w->store, slice_of(key.p + 1, key.n - 1), 0);
    }
    int r = kv_iter_error(it);
    if (!r && !kv_valid(it)) {
        w->vacant.swept = true;
        hint_vacant(w->store, SLICE_NONE, 0);
    } else if (w->vacant.due_ms > now_ms + PAUSE_MS) {
        w->vacant.due_ms = now_ms + PAUSE_MS;
    }
    kv_iter_free(it);
    return r;
}

void vacant_look(struct writer *w)
{
    uint64_t now = expiry_now(&w->store->expiry);
    int r = look_due(w, now);
    r = r || w->vacant.swept ? r : look_swept(w, now);
    if (r)
        w->vacant.due_ms = now + TROUBLE_MS;
}

uint64_t vacant_wait_ms(const struct writer *w)
{
    uint64_t now = expiry_now(&w->store->expiry);
    return w->vacant.due_ms > now ? w->vacant.due_ms - now : 0;
}

int vacant_begin(struct writer *w)
{
    uint64_t swept = 0;
    w->vacant = (struct vacant){.sweep = {.n = 2, .p = "hc"}};
    int r = meta_get_u64(w->store->kv, META_NAMES, &w->vacant.names);
    r = r < 0 ? r : meta_get_u64(w->store->kv, META_SWEPT, &swept);
    w->vacant.swept = swept;
    return r < 0 ? r : 0;
}
