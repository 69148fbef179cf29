/* Users that were deleted: see deleted.h. */
#include "storage/local/deleted.h"

#include "core/base/hash.h"
#include "storage/local/writer.h"

enum { BITS = DELETED_WORDS * 64 };

static void bit_set(struct local *s, struct slice user)
{
    uint64_t h = hash_bytes(user) % BITS;
    atomic_fetch_or_explicit(&s->deleted[h / 64], UINT64_C(1) << h % 64, memory_order_relaxed);
}

static bool bit_get(struct local *s, struct slice user)
{
    uint64_t h = hash_bytes(user) % BITS;
    return atomic_load_explicit(&s->deleted[h / 64], memory_order_relaxed) >> h % 64 & 1;
}

int deleted_begin(struct local *s)
{
    struct key to;
    struct slice prefix = SLICE_LIT("x");
    struct kv_iter *it = kv_iter_new(s->kv, KV_USER, prefix, key_after_prefix(&to, prefix));
    if (!it)
        return ERR_NOMEM;
    for (kv_seek(it, prefix); kv_valid(it); kv_next(it))
        bit_set(s, slice_of(kv_key(it).p + 1, kv_key(it).n - 1));
    int r = kv_iter_error(it);
    kv_iter_free(it);
    return r;
}

/* Takes what was found, and frees it. */
static int take(struct local *s, struct kv_found *f, struct slice user, struct deleted_record *d)
{
    int r = f->code;
    if (r == 1 && deleted_decode(f->value, d)) {
        record_bad("deleted user", user);
        r = ERR_INVALID;
    }
    kv_found_free(s->kv, f);
    return r;
}

int deleted_get(struct writer *w, struct slice user, struct deleted_record *d)
{
    struct key k;
    *d = (struct deleted_record){0};
    if (!user.n || user.n > 64 || !bit_get(w->store, user))
        return 0;
    struct kv_found f = writer_get(w, KV_USER, key_deleted(&k, user));
    return take(w->store, &f, user, d);
}

int deleted_now(struct writer *w, struct slice user)
{
    struct deleted_record d;
    int r = deleted_get(w, user, &d);
    return r == 1 ? (d.flags & DELETED_NOW) != 0 : r;
}

int deleted_before(struct writer *w, struct slice user, uint64_t id)
{
    struct deleted_record d;
    int r = deleted_get(w, user, &d);
    return r == 1 ? id <= d.last_id : r;
}

void deleted_put(struct writer *w, struct slice user, const struct deleted_record *d)
{
    struct key k;
    bit_set(w->store, user);
    deleted_encode(batch_put(&w->batch, KV_USER, key_deleted(&k, user), DELETED_SIZE), d);
}

int deleted_until(struct local *s, struct slice user, uint64_t *until)
{
    struct key k;
    struct deleted_record d;
    *until = 0;
    if (!user.n || user.n > 64 || !bit_get(s, user))
        return 0;
    struct kv_found f = kv_get(s->kv, KV_USER, key_deleted(&k, user));
    int r = take(s, &f, user, &d);
    *until = r == 1 ? d.last_id : 0;
    return r < 0 ? r : 0;
}

int deleted_names(struct local *s, int code, struct store_page *page)
{
    struct slice last = SLICE_NONE; /* a page has few senders, and often the same one again */
    uint64_t until = 0;
    for (uint32_t i = 0; !code && i < page->n; i++) {
        struct store_message *m = &page->messages[i];
        if (!slice_eq(last, m->sender))
            code = deleted_until(s, m->sender, &until);
        last = m->sender;
        if (!code && m->id <= until)
            m->sender_name = SLICE_NONE;
    }
    if (code)
        store_page_free(page);
    return code;
}
