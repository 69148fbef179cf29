/* Changes of single messages: recalled, edited. */
#include "storage/local/deleted.h"
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

/* What both changes ask for. */
struct wish {
    struct slice conv, sender;
    uint64_t seq, window_ms;
    size_t content; /* bytes of the new content */
};

/* A message that is to be changed, without its old content. Its texts are copied: the batch may give a row that is put
 * again the very memory that it was read from. */
struct found {
    struct message_record m;
    unsigned tier; /* where it is stored */
    char texts[2 * 255];
};

static void found_keep(struct found *f)
{
    struct message_record *m = &f->m;
    memcpy(f->texts, m->sender.p, m->sender.n + m->sender_name.n); /* one lies behind the other */
    m->sender.p = f->texts;
    m->sender_name.p = f->texts + m->sender.n;
    m->content = SLICE_NONE;
}

/* Whether it may be changed now, and room for it. */
static enum store_status change_begin(struct writer *w, struct slot *slot, const struct wish *c, struct found *f)
{
    if (slot->head->r.flags & HEAD_CLOSING)
        return STORE_NOTFOUND;
    struct kv_found row = message_find(w, slot->head, c->seq, &f->m, &f->tier);
    if (row.code < 1)
        return row.code ? status_of(row.code) : STORE_NOTFOUND;
    const struct row_header *h = &f->m.row;
    found_keep(f);
    kv_found_free(w->store->kv, &row);
    size_t texts = f->m.sender.n + f->m.sender_name.n + c->content;
    if (c->sender.n && !slice_eq(f->m.sender, c->sender))
        return STORE_DENIED;
    int former = deleted_before(w, c->sender, f->m.id);
    if (former)
        return former > 0 ? STORE_DENIED : status_of(former);
    if (h->flags & ROW_RECALLED)
        return STORE_OK;
    if (c->window_ms && w->now_ms > h->birth_ms && w->now_ms - h->birth_ms > c->window_ms)
        return STORE_LATE;
    return batch_reserve(&w->batch, 1, KEY_MAX + MESSAGE_FIXED + MESSAGE_EDITED + texts) ? STORE_FATAL : STORE_OK;
}

static enum apply change_end(struct writer *w, struct slot *slot, const struct wish *c, const struct found *f)
{
    struct key k;
    message_encode(batch_put(&w->batch, tier_family(f->tier), key_message(&k, c->conv, c->seq), message_size(&f->m)),
                   &f->m);
    return apply_changed(slot);
}

enum apply apply_recall(struct writer *w, struct slot *slot)
{
    struct store_recall *r = (struct store_recall *)slot->op;
    const struct wish wish = {.conv = r->conv, .sender = r->sender, .seq = r->seq, .window_ms = r->window_ms};
    struct found f;
    enum store_status status = change_begin(w, slot, &wish, &f);
    r->again = false;
    if (status != STORE_OK)
        return apply_end(slot, status);
    r->id = f.m.id;
    r->again = f.m.row.flags & ROW_RECALLED;
    if (r->again)
        return apply_end(slot, STORE_OK);
    f.m.row.flags = ROW_RECALLED;
    return change_end(w, slot, &wish, &f);
}

enum apply apply_edit(struct writer *w, struct slot *slot)
{
    struct store_edit *e = (struct store_edit *)slot->op;
    const struct wish wish = {
        .conv = e->conv, .sender = e->sender, .seq = e->seq, .window_ms = e->window_ms, .content = e->content.n};
    struct found f;
    struct message_record *m = &f.m;
    enum store_status status = change_begin(w, slot, &wish, &f);
    if (status == STORE_OK && m->row.flags & ROW_RECALLED)
        status = STORE_NOTFOUND;
    if (status != STORE_OK)
        return apply_end(slot, status);
    slot->durability = (uint8_t)atomic_load_explicit(&w->store->live.durability[f.tier], memory_order_relaxed);
    /* The wall clock may step back, and two edits may come within one of its milliseconds. */
    uint64_t after = m->edited_ms ? m->edited_ms + 1 : m->created_ms;
    m->edited_ms = w->wall_ms > after ? w->wall_ms : after;
    m->content = e->content;
    m->row.flags |= ROW_EDITED;
    e->id = m->id;
    e->created_ms = m->created_ms;
    e->edited_ms = m->edited_ms;
    e->name_len = (uint8_t)m->sender_name.n;
    memcpy(e->name, m->sender_name.p, m->sender_name.n);
    return change_end(w, slot, &wish, &f);
}
