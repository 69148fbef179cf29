/* How far a user has read a conversation. */
#include "storage/local/deleted.h"
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
    int gone = deleted_now(w, m->user);
    if (gone)
        return apply_end(slot, gone > 0 ? STORE_NOTFOUND : status_of(gone));
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
