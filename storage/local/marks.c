/* Changes to single messages and marks: reading, recalling. */
#include "storage/local/head.h"
#include "storage/local/msgs.h"

enum apply apply_mark_read(struct writer *w, struct slot *slot)
{
    struct store_mark_read *m = (struct store_mark_read *)slot->op;
    struct head *h = slot->head;
    struct key k;
    uint64_t old = 0, first;
    m->moved = false;
    if (conv_is_channel(m->conv) ? !(h->r.flags & HEAD_CHANNEL) : h->r.seq == 0)
        return apply_end(slot, STORE_NOTFOUND);
    struct kv_found f = writer_get(w, KV_USER, key_mark(&k, m->user, m->conv));
    int r = f.code < 0 ? f.code : f.code == 1 ? mark_decode(f.value, &old) : 0;
    kv_found_free(w->store->kv, &f);
    r = r ? r : head_first(w, h, &first);
    r = r ? r : batch_reserve(&w->batch, 1, KEY_MAX + MARK_SIZE);
    if (r)
        return apply_end(slot, status_of(r));
    uint64_t want = m->seq < h->r.seq ? m->seq : h->r.seq;
    m->moved = want > old;
    m->read = m->moved ? want : old;
    uint64_t seen = first > m->read + 1 ? first - 1 : m->read;
    m->unread = h->r.seq > seen ? h->r.seq - seen : 0;
    if (!m->moved)
        return apply_end(slot, STORE_OK);
    mark_encode(batch_put(&w->batch, KV_USER, key_slice(&k), MARK_SIZE), m->read);
    return apply_changed(slot);
}

/* Finds a visible message; code as in kv_found. The family goes to *tier. */
static struct kv_found message_find(struct writer *w, struct head *h, uint64_t seq, struct message_record *m,
                                    unsigned *tier)
{
    struct kv_found f = {0};
    struct key k;
    for (*tier = 0; *tier < TIER_COUNT; ++*tier) {
        if (!(h->r.tiers_used & 1u << *tier) || seq <= head_low(w->store, &h->r, *tier) || seq > h->r.seq)
            continue;
        f = writer_get(w, tier_family(*tier), key_message(&k, h->node.key, seq));
        if (f.code == 1 && message_decode(f.value, m)) {
            record_bad("message", key_slice(&k));
            kv_found_free(w->store->kv, &f);
            f.code = ERR_INVALID;
        }
        if (f.code == 1 && row_expired(&m->row, &w->store->expiry, w->expiry_ms))
            kv_found_free(w->store->kv, &f);
        if (f.code)
            return f;
    }
    return f;
}

enum apply apply_recall(struct writer *w, struct slot *slot)
{
    struct store_recall *r = (struct store_recall *)slot->op;
    struct message_record m;
    struct key k;
    unsigned tier;
    enum store_status status = STORE_OK;
    r->again = false;
    struct kv_found f = message_find(w, slot->head, r->seq, &m, &tier);
    if (f.code < 1)
        return apply_end(slot, f.code ? status_of(f.code) : STORE_NOTFOUND);
    r->id = m.id;
    if (!slice_eq(m.sender, r->sender)) {
        status = STORE_DENIED;
    } else if (m.row.flags & ROW_RECALLED) {
        r->again = true;
    } else if (r->window_ms && w->now_ms > m.row.birth_ms && w->now_ms - m.row.birth_ms > r->window_ms) {
        status = STORE_LATE;
    } else if (batch_reserve(&w->batch, 1, KEY_MAX + MESSAGE_FIXED + 512)) {
        status = STORE_FATAL;
    } else {
        m.content = SLICE_NONE;
        m.row.flags |= ROW_RECALLED;
        message_encode(batch_put(&w->batch, tier_family(tier), key_message(&k, r->conv, r->seq), message_size(&m)), &m);
        kv_found_free(w->store->kv, &f);
        return apply_changed(slot);
    }
    kv_found_free(w->store->kv, &f);
    return apply_end(slot, status);
}
