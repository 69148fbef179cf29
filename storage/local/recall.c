/* Recalling single messages. */
#include "storage/local/head.h"
#include "storage/local/msgs.h"

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
    if (r->sender.n && !slice_eq(m.sender, r->sender)) {
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
