/* Inboxes: references to messages by (user, id). Counting, acknowledging, peeking. */
#include "storage/local/inbox.h"

#include "storage/local/deleted.h"

#include "storage/local/hint.h"
#include "storage/local/msgs.h"
#include "storage/local/page.h"
#include "storage/local/writer.h"

#include <stdlib.h>

enum {
    RANGE_WORTH = 256, /* entries from which on one range delete replaces single ones */
    PEEK_CHUNK = 64    /* references resolved by one multi-get */
};

struct id_list {
    uint64_t *ids; /* malloc'd */
    uint32_t n, cap;
};

static bool ids_push(struct id_list *l, uint64_t id)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 64;
        uint64_t *ids = realloc(l->ids, cap * sizeof(*ids));
        if (!ids)
            return false;
        l->ids = ids;
        l->cap = cap;
    }
    l->ids[l->n++] = id;
    return true;
}

int inbox_count(struct local *s, struct kv *kv, struct slice user, struct inbox_tally *out)
{
    struct key from, to;
    uint64_t now = expiry_now(&s->expiry);
    *out = (struct inbox_tally){.until = UINT64_MAX};
    struct kv_iter *it = kv_iter_new(kv, KV_INBOX, key_inbox(&from, user, 0), key_inbox(&to, user, UINT64_MAX));
    if (!it)
        return ERR_NOMEM;
    for (kv_seek(it, key_slice(&from)); kv_valid(it); kv_next(it)) {
        struct row_header h;
        uint64_t id;
        if (row_decode(kv_value(it), &h) || !key_tail_u64(kv_key(it), &id)) {
            record_bad("inbox", kv_key(it));
            kv_iter_free(it);
            return ERR_INVALID;
        }
        uint64_t end = expiry_end(&s->expiry, h.cls, h.birth_ms, h.ttl_ms);
        if (end > now) {
            out->first = out->count++ ? out->first : id;
            out->until = end < out->until ? end : out->until;
        }
    }
    int r = kv_iter_error(it);
    kv_iter_free(it);
    return r;
}

int inbox_of(struct writer *w, struct slice user, struct inbox **out)
{
    uint32_t version = atomic_load(&w->store->live.version);
    struct inbox *box = inboxes_find(&w->heads, user);
    if (box && box->version == version && w->expiry_ms < box->until) {
        *out = box;
        return 0;
    }
    if (box && box->group == w->group)
        return 1; /* what this group put is not in the database yet */
    struct inbox_tally t;
    int r = inbox_count(w->store, w->store->kv, user, &t);
    if (r)
        return r;
    if (!box && !(box = inboxes_add(&w->heads, user, atomic_load(&w->store->written_group))))
        return ERR_NOMEM;
    box->count = t.count;
    box->from = t.first;
    box->until = t.until;
    box->version = version;
    *out = box;
    return 0;
}

/* Lists the entries up to an id. expired: those past their time among them (they go uncounted). */
static int ack_scan(struct writer *w, struct slice user, uint64_t from_id, uint64_t up_to, struct id_list *l,
                    uint32_t *expired)
{
    struct key from, to;
    struct kv_iter *it = kv_iter_new(w->store->kv, KV_INBOX, key_inbox(&from, user, from_id),
                                     key_inbox(&to, user, up_to == UINT64_MAX ? up_to : up_to + 1));
    if (!it)
        return ERR_NOMEM;
    int r = 0;
    for (kv_seek(it, key_slice(&from)); !r && kv_valid(it); kv_next(it)) {
        struct row_header h;
        uint64_t id;
        if (row_decode(kv_value(it), &h) || !key_tail_u64(kv_key(it), &id)) {
            record_bad("inbox", kv_key(it));
            r = ERR_INVALID;
        } else if (!ids_push(l, id)) {
            r = ERR_NOMEM;
        } else {
            *expired += row_expired(&h, &w->store->expiry, w->expiry_ms);
        }
    }
    r = r ? r : kv_iter_error(it);
    kv_iter_free(it);
    return r;
}

/* Of the ids given, those that are there. */
static int ack_select(struct writer *w, struct slice user, const uint64_t *ids, uint32_t n, struct id_list *l,
                      uint32_t *expired)
{
    for (uint32_t i = 0; i < n; i++) {
        struct key k;
        struct row_header h;
        bool twice = false;
        for (uint32_t j = 0; j < l->n && !twice; j++)
            twice = l->ids[j] == ids[i];
        if (twice)
            continue;
        struct kv_found f = writer_get(w, KV_INBOX, key_inbox(&k, user, ids[i]));
        int r = f.code < 0 ? f.code : f.code == 1 && row_decode(f.value, &h) ? ERR_INVALID : 0;
        if (f.code == 1 && !r) {
            *expired += row_expired(&h, &w->store->expiry, w->expiry_ms);
            r = ids_push(l, ids[i]) ? 0 : ERR_NOMEM;
        }
        kv_found_free(w->store->kv, &f);
        if (r)
            return r;
    }
    return 0;
}

/* Removes entries from an inbox: up to an id, or those given. */
static enum apply inbox_remove(struct writer *w, struct slot *slot, struct slice user, uint64_t up_to,
                               const uint64_t *ids, uint32_t n, uint32_t *removed, uint32_t *remaining)
{
    struct inbox *box;
    struct id_list l = {0};
    uint32_t expired = 0;
    int r = inbox_of(w, user, &box);
    if (r > 0 || (!r && (up_to ? box->group : box->ranged) == w->group))
        return APPLY_CUT;
    if (!r)
        r = up_to ? ack_scan(w, user, box->from, up_to, &l, &expired) : ack_select(w, user, ids, n, &l, &expired);
    bool range = up_to && l.n > RANGE_WORTH;
    if (!r)
        r = batch_reserve(&w->batch, range ? 1 : l.n, range ? 2 * KEY_MAX : l.n * (user.n + 9));
    if (r) {
        free(l.ids);
        return apply_end(slot, status_of(r));
    }
    struct key k, to;
    if (range) {
        batch_delete_range(&w->batch, KV_INBOX, key_inbox(&k, user, l.ids[0]),
                           key_inbox(&to, user, l.ids[l.n - 1] + 1));
        box->ranged = w->group;
    }
    for (uint32_t i = 0; i < l.n && !range; i++)
        batch_delete(&w->batch, KV_INBOX, key_inbox(&k, user, l.ids[i]));
    uint32_t counted = l.n - expired < box->count ? l.n - expired : box->count;
    box->count -= counted;
    if (up_to && up_to + 1 > box->from && up_to != UINT64_MAX)
        box->from = up_to + 1;
    *removed = counted;
    *remaining = box->count;
    if (l.n)
        box->group = w->group;
    bool changed = l.n > 0;
    free(l.ids);
    return changed ? apply_changed(slot) : apply_end(slot, STORE_OK);
}

enum apply apply_inbox_ack(struct writer *w, struct slot *slot)
{
    struct store_inbox_ack *a = (struct store_inbox_ack *)slot->op;
    return inbox_remove(w, slot, a->user, a->up_to, a->ids, a->up_to ? 0 : a->id_count, &a->removed, &a->remaining);
}

enum apply apply_inbox_clean(struct writer *w, struct slot *slot)
{
    struct hint *h = (struct hint *)slot->op;
    uint32_t removed, remaining;
    return inbox_remove(w, slot, hint_key(h), 0, h->ids, h->id_count, &removed, &remaining);
}

/* --- Peeking ----------------------------------------------------------------------------------------------- */

struct reference {
    uint64_t id, seq;
    uint8_t tier;
    struct key message; /* its key; the conversation is its beginning */
    size_t conv_n;
};

struct peek {
    struct local *store;
    struct store_inbox_peek *op;
    struct page_builder page;
    struct id_list stale;   /* entries whose message is gone */
    struct reference *refs; /* PEEK_CHUNK of them */
    bool full;
};

/* Reads up to PEEK_CHUNK references from where the iterator stands; returns how many, or an enum err. */
static int refs_read(struct peek *p, struct kv_iter *it)
{
    uint64_t now = expiry_now(&p->store->expiry);
    int n = 0;
    for (; n < PEEK_CHUNK && kv_valid(it); kv_next(it)) {
        struct inbox_record r;
        uint64_t id;
        if (inbox_decode(kv_value(it), &r) || !key_tail_u64(kv_key(it), &id)) {
            record_bad("inbox", kv_key(it));
            return ERR_INVALID;
        }
        if (row_expired(&r.row, &p->store->expiry, now))
            continue;
        struct reference *ref = &p->refs[n++];
        ref->id = id;
        ref->seq = r.seq;
        ref->tier = (uint8_t)(r.row.cls - 1);
        ref->conv_n = r.conv.n;
        key_message(&ref->message, r.conv, r.seq);
    }
    return kv_iter_error(it) ? kv_iter_error(it) : n;
}

/* The visible messages of refs[0, n), appended to the page. */
static int refs_resolve(struct peek *p, int n)
{
    struct slice names[PEEK_CHUNK], heads[PEEK_CHUNK];
    struct key head_keys[PEEK_CHUNK];
    struct kv_found message[PEEK_CHUNK] = {{0}}, head[PEEK_CHUNK];
    struct kv *kv = p->store->kv;
    int r = 0;
    for (int i = 0; i < n; i++)
        heads[i] = key_head(&head_keys[i], slice_of(p->refs[i].message.p, p->refs[i].conv_n));
    kv_multi_get(kv, KV_CHANNEL, heads, (size_t)n, head);
    for (unsigned t = 0; t < TIER_COUNT; t++) { /* a multi-get asks one family */
        struct kv_found found[PEEK_CHUNK];
        int which[PEEK_CHUNK], count = 0;
        for (int i = 0; i < n; i++) {
            if (p->refs[i].tier == t) {
                which[count] = i;
                names[count++] = key_slice(&p->refs[i].message);
            }
        }
        kv_multi_get(kv, tier_family(t), names, (size_t)count, found);
        for (int i = 0; i < count; i++)
            message[which[i]] = found[i];
    }
    for (int i = 0; i < n; i++) {
        struct reference *ref = &p->refs[i];
        struct message_record m;
        struct head_record h;
        if (!r && !p->full && (message[i].code < 0 || head[i].code < 0))
            r = message[i].code < 0 ? message[i].code : head[i].code;
        if (!r && !p->full) {
            if (message[i].code == 0 || head[i].code == 0) {
                (void)ids_push(&p->stale, ref->id);
            } else if (message_decode(message[i].value, &m) || head_decode(head[i].value, &h)) {
                record_bad("message", key_slice(&ref->message));
                r = ERR_INVALID;
            } else if (m.id != ref->id || row_expired(&m.row, &p->store->expiry, expiry_now(&p->store->expiry)) ||
                       ref->seq <= head_low(p->store, &h, ref->tier)) {
                (void)ids_push(&p->stale, ref->id);
            } else if (p->page.n >= p->op->limit || page_is_full(&p->page, m.content.n, p->op->page_bytes)) {
                p->full = true;
            } else {
                r = page_add_row(&p->page, slice_of(ref->message.p, ref->conv_n), ref->seq, &m);
            }
        }
        kv_found_free(kv, &message[i]);
        kv_found_free(kv, &head[i]);
    }
    return r;
}

enum store_status read_inbox_peek(struct reader *by, struct store_op *op)
{
    struct local *s = by->store;
    struct peek p = {.store = s, .op = (struct store_inbox_peek *)op};
    struct slice user = p.op->user;
    struct key from, to;
    int r = ERR_NOMEM, n = 1;
    p.op->more = false;
    p.refs = malloc(PEEK_CHUNK * sizeof(*p.refs));
    struct kv_iter *it =
        kv_iter_new(s->kv, KV_INBOX, key_inbox(&from, user, p.op->after == UINT64_MAX ? UINT64_MAX : p.op->after + 1),
                    key_inbox(&to, user, UINT64_MAX));
    if (it && p.refs) {
        r = 0;
        kv_seek(it, key_slice(&from));
        while (!r && !p.full && n > 0) {
            n = refs_read(&p, it);
            r = n < 0 ? n : refs_resolve(&p, n);
        }
    }
    kv_iter_free(it);
    free(p.refs);
    p.op->more = p.full;
    r = deleted_names(s, page_finish(&p.page, r, &p.op->page), &p.op->page);
    if (p.stale.n)
        hint_inbox(s, user, p.stale.ids, p.stale.n);
    else
        free(p.stale.ids);
    return status_of(r);
}
