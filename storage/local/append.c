/* Appending messages: numbering, dedup, inbox entry, read marks, trimming. */
#include "storage/local/append.h"

#include "storage/local/deleted.h"
#include "storage/local/head.h"
#include "storage/local/inbox.h"
#include "storage/local/msgs.h"

#include <stdlib.h>

enum {
    TRIM_MIN = 64, /* rows that wait to be trimmed before a range delete is worth it */
    TRIM_MAX = 2048,
    TRIM_FEW = 16, /* rows so few are deleted one by one */
    DROP_MAX = 64, /* inbox entries that one append drops at most (more than one only after the limit was lowered) */
    ID_FIELD = 64  /* bytes of a user id, a name or a client id at most */
};

static bool append_sane(const struct store_append *a)
{
    return a->sender.n >= 1 && a->sender.n <= ID_FIELD && a->sender_name.n <= 255 && a->client_id.n <= ID_FIELD &&
           a->receiver.n <= ID_FIELD && a->conv.n >= 2 && a->tier < TIER_COUNT && a->content.n <= 64u * 1024 * 1024;
}

void append_prefetch(struct writer *w, struct slot *slots, uint32_t n)
{
    struct key keys[WRITER_GROUP];
    struct slice names[WRITER_GROUP];
    struct kv_found found[WRITER_GROUP];
    struct slot *asks[WRITER_GROUP];
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct store_append *a = (struct store_append *)slots[i].op;
        if (slots[i].op->kind == OP_APPEND && a->client_id.n && append_sane(a)) {
            asks[count] = &slots[i];
            names[count] = key_dedup(&keys[count], a->sender, a->conv, a->client_id);
            count++;
        }
    }
    kv_multi_get(w->store->kv, KV_DEDUP, names, count, found);
    for (uint32_t i = 0; i < count; i++) {
        struct slot *slot = asks[i];
        if (found[i].code < 0 || (found[i].code == 1 && dedup_decode(found[i].value, &slot->dup))) {
            slot->dup_bad = found[i].code < 0 ? found[i].code : ERR_INVALID;
            record_bad("dedup", names[i]);
        } else {
            slot->dup_found = found[i].code == 1 && !row_expired(&slot->dup.row, &w->store->expiry, w->expiry_ms);
        }
        kv_found_free(w->store->kv, &found[i]);
    }
}

/* Answers from the record of the first one with this client id. */
static enum apply append_repeat(struct writer *w, struct slot *slot, const struct dedup_record *first)
{
    struct store_append *a = (struct store_append *)slot->op;
    a->seq = first->seq;
    a->id = first->id;
    a->created_ms = first->created_ms;
    a->duplicate = true;
    atomic_fetch_add_explicit(&w->store->duplicates, 1, memory_order_relaxed);
    return apply_end(slot, STORE_OK);
}

/* What was sent by somebody who had this id before is no repeat. Answers where that cannot be told. */
static bool append_is_own(struct writer *w, struct slot *slot, uint64_t id)
{
    int former = deleted_before(w, ((struct store_append *)slot->op)->sender, id);
    if (former < 0)
        slot->dup_bad = former;
    return former == 0;
}

/* Whether it is a repeat, and then its answer. */
static bool append_known(struct writer *w, struct slot *slot)
{
    struct store_append *a = (struct store_append *)slot->op;
    struct key k;
    struct slice value;
    struct dedup_record first;
    slot->durability = (uint8_t)atomic_load_explicit(&w->store->live.durability[a->tier], memory_order_relaxed);
    if (batch_get(&w->batch, KV_DEDUP, key_dedup(&k, a->sender, a->conv, a->client_id), &value) == 1 &&
        dedup_decode(value, &first) == 0 && append_is_own(w, slot, first.id)) {
        append_repeat(w, slot, &first);
        slot->op->note |= NOTE_CHANGED; /* its fate is that of the first, in the same group */
        return true;
    }
    bool known = slot->dup_found && append_is_own(w, slot, slot->dup.id);
    if (slot->dup_bad) {
        apply_end(slot, status_of(slot->dup_bad));
        return true;
    }
    if (known) {
        slot->durability =
            DURABILITY_COMMIT; /* written long ago; what is not synced yet holds it back through its conversation */
        append_repeat(w, slot, &slot->dup);
        slot->op->note |= NOTE_CHANGED; /* if it waits for the first one's sync, it shares its fate */
        return true;
    }
    return false;
}

/* Entries that a full inbox loses to a new one: fills ids; returns how many, APPLY's cut as -1, or an enum err - 1. */
static int inbox_overflow(struct writer *w, const struct store_append *a, const struct inbox *box,
                          uint64_t ids[DROP_MAX])
{
    uint32_t max = atomic_load_explicit(&w->store->live.inbox_max, memory_order_relaxed);
    if (!max || box->count < max)
        return 0;
    uint32_t want = box->count + 1 - max;
    want = want > DROP_MAX ? DROP_MAX : want;
    struct key from, to;
    struct kv_iter *it = kv_iter_new(w->store->kv, KV_INBOX, key_inbox(&from, a->receiver, box->from),
                                     key_inbox(&to, a->receiver, UINT64_MAX));
    if (!it)
        return ERR_NOMEM - 1;
    int n = 0;
    for (kv_seek(it, key_slice(&from)); (uint32_t)n < want && kv_valid(it); kv_next(it)) {
        struct slice deleted;
        struct row_header h;
        if (batch_get(&w->batch, KV_INBOX, kv_key(it), &deleted) != 0 && row_decode(kv_value(it), &h) == 0 &&
            !row_expired(&h, &w->store->expiry, w->expiry_ms) && key_tail_u64(kv_key(it), &ids[n]))
            n++; /* what is past its time was not counted */
    }
    int r = kv_iter_error(it);
    kv_iter_free(it);
    if (r)
        return r - 1;
    return (uint32_t)n < want && box->group == w->group ? -1 : n; /* they may be among those of this very group */
}

/* Moves the reservation ahead of the seqs in use, in time. */
static void append_reserve(struct writer *w, struct slot *slot)
{
    struct head *h = slot->head;
    if (h->reserve_group && h->reserve_group <= atomic_load(&w->store->synced_group)) {
        h->reserved_durable = h->r.reserved;
        h->reserve_group = 0;
    }
    if (slot->durability == DURABILITY_SYNC)
        return; /* no one hears of its seq before it is synced */
    uint64_t step = h->r.seq / 4;
    step = step < 64 ? 64 : step > 1024 ? 1024 : step;
    if (!h->reserve_group && h->r.seq + step / 2 >= h->r.reserved) {
        h->r.reserved = h->r.seq + step;
        h->reserve_group = w->group;
    }
    if (h->r.seq > h->reserved_durable) {
        slot->must_sync = true;
        if (h->r.seq > h->r.reserved) { /* ran past a reservation that is still being synced */
            h->r.reserved = h->r.seq + step;
            h->reserve_group = w->group;
        }
    }
}

/* --- What the count no longer keeps ------------------------------------------------------------------------------ */

/* What an append may uncover: it may come with a larger count, or be the first since an option was raised. */
struct cover {
    uint64_t low[TIER_COUNT]; /* hidden before it, by tier; 0: nothing, or it stays hidden anyway */
};

static void cover_look(struct writer *w, const struct head *h, uint32_t max, struct cover *c)
{
    bool may_rise = max != h->r.max || limits_differ(&w->store->limits) || h->jump;
    for (unsigned t = 0; t < TIER_COUNT; t++)
        c->low[t] = may_rise && h->r.tiers_used & 1u << t ? head_low(w->store, &h->r, t) : 0;
}

/* The first seq that trim_to() deletes row by row: range deletes do not reach this group's own rows, and are not worth
 * it for a few. */
static uint64_t trim_single(const struct writer *w, const struct head *h, unsigned t, uint64_t low)
{
    uint64_t first = h->r.low[t] + 1, own = h->group == w->group && h->group_first ? h->group_first : UINT64_MAX;
    own = own < low + 1 ? own : low + 1;
    return own < first + TRIM_FEW ? first : own;
}

/* How many changes trim_to() puts at most. */
static size_t trim_puts(const struct writer *w, const struct head *h, unsigned t, uint64_t low)
{
    return low > h->r.low[t] ? (size_t)(low + 1 - trim_single(w, h, t, low)) + 1 : 0;
}

/* Deletes a tier's rows up to a seq, which are hidden from now on. Room is reserved. */
static void trim_to(struct writer *w, struct head *h, unsigned t, uint64_t low)
{
    struct key from, to;
    uint64_t seq = trim_single(w, h, t, low);
    if (seq > h->r.low[t] + 1)
        batch_delete_range(&w->batch, tier_family(t), key_message(&from, h->node.key, h->r.low[t] + 1),
                           key_message(&to, h->node.key, seq));
    for (; seq <= low; seq++)
        batch_delete(&w->batch, tier_family(t), key_message(&from, h->node.key, seq));
    h->r.low[t] = low;
}

/* Trims what the count no longer keeps: now and then, and at once what a larger count would uncover. */
static void append_trim(struct writer *w, struct head *h, const struct cover *c)
{
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        if (!(h->r.tiers_used & 1u << t))
            continue;
        uint64_t low = head_low(w->store, &h->r, t), step = (h->r.seq - low) / 4;
        if (low < c->low[t])
            trim_to(w, h, t, c->low[t]);
        step = step < TRIM_MIN ? TRIM_MIN : step > TRIM_MAX ? TRIM_MAX : step;
        if (low >= h->group_first)
            low = h->group_first - 1; /* its rows wait for the next group */
        if (low >= h->r.low[t] + step)
            trim_to(w, h, t, low);
    }
}

/* --- The append ---------------------------------------------------------------------------------------------- */

/* Gives seq, id and times. */
static void append_number(struct writer *w, struct slot *slot, struct message_record *m)
{
    struct store_append *a = (struct store_append *)slot->op;
    struct head *h = slot->head;
    uint64_t before = h->r.seq;
    if (h->jump > h->r.seq) {
        uint64_t by = h->jump - h->r.seq + (h->r.skip_at ? h->r.skip : 0);
        h->r.skip = by > UINT32_MAX ? UINT32_MAX : (uint32_t)by;
        h->r.skip_at = h->jump + 1;
        h->r.seq = h->jump;
    }
    h->jump = 0;
    a->seq = ++h->r.seq;
    a->id = idgen_next(&w->ids, w->now_ms);
    a->created_ms = w->wall_ms;
    a->duplicate = false;
    slot->must_sync |= w->ids.last_ms >= w->id_limit_durable;
    h->r.last_id = a->id;
    h->r.max = a->max;
    h->r.tiers_used |= (uint8_t)(1u << a->tier);
    head_touch(w, h);
    if (!h->group_first)
        h->group_first = a->seq;
    *m = (struct message_record){.row = {.cls = tier_class(a->tier), .birth_ms = w->now_ms, .ttl_ms = a->ttl_ms},
                                 .id = a->id,
                                 .created_ms = a->created_ms,
                                 .sender = a->sender,
                                 .sender_name = a->sender_name,
                                 .content = a->content};
    if (h->first_version && h->first == before + 1) { /* nothing was visible: this is the first */
        h->first = a->seq;
        h->first_tier = (uint8_t)a->tier;
        h->first_until = expiry_end(&w->store->expiry, m->row.cls, m->row.birth_ms, m->row.ttl_ms);
    }
}

static void append_put_inbox(struct writer *w, const struct store_append *a, const struct message_record *m,
                             struct inbox *box, const uint64_t *drop, int drop_n)
{
    struct key k;
    for (int i = 0; i < drop_n; i++) {
        batch_delete(&w->batch, KV_INBOX, key_inbox(&k, a->receiver, drop[i]));
        box->from = drop[i] + 1;
        box->count--;
    }
    struct inbox_record r = {.row = m->row, .seq = a->seq, .conv = a->conv};
    inbox_encode(batch_put(&w->batch, KV_INBOX, key_inbox(&k, a->receiver, a->id), inbox_size(&r)), &r);
    uint64_t end = expiry_end(&w->store->expiry, r.row.cls, r.row.birth_ms, r.row.ttl_ms);
    box->until = end < box->until ? end : box->until;
    box->group = w->group;
    box->count++;
}

/* Room for all that an append puts. ERR_NOMEM. */
static int append_room(struct writer *w, const struct head *h, const struct store_append *a, const struct cover *cover,
                       size_t drop_n)
{
    size_t n = drop_n;
    for (unsigned t = 0; t < TIER_COUNT; t++)
        n += trim_puts(w, h, t, cover->low[t]);
    return batch_reserve(&w->batch, 9 + n,
                         MESSAGE_FIXED + a->sender.n + a->sender_name.n + a->content.n + INBOX_FIXED + DEDUP_SIZE +
                             HEAD_SIZE + 2 * MARK_SIZE + (11 + CONV_KEY_MAX) * 6 + (12 + n) * KEY_MAX);
}

/* Whether the message makes the conversation the peer's, too: a pair's first one does, and the first one to somebody
 * who has the id of a deleted user, with whom its pairs went. 1, 0 or an enum err. */
static int append_meets(struct writer *w, const struct store_append *a, const struct head *h)
{
    struct key k;
    struct deleted_record d;
    if (conv_is_channel(a->conv))
        return 0;
    struct slice peer = conv_pair_peer(a->conv, a->sender);
    if (slice_eq(peer, a->sender) || h->r.seq == 0)
        return !slice_eq(peer, a->sender);
    int r = deleted_get(w, peer, &d);
    if (r < 1)
        return r;
    struct kv_found mark = writer_get(w, KV_USER, key_mark(&k, peer, a->conv));
    r = mark.code < 0 ? mark.code : !mark.code;
    kv_found_free(w->store->kv, &mark);
    return r;
}

/* The sender has read it. `meets`: the peer has the conversation from now on, and none of what was before. */
static void append_put_marks(struct writer *w, const struct store_append *a, bool meets)
{
    struct key k;
    if (!a->stranger)
        mark_encode(batch_put(&w->batch, KV_USER, key_mark(&k, a->sender, a->conv), MARK_SIZE), a->seq);
    if (meets)
        mark_encode(batch_put(&w->batch, KV_USER, key_mark(&k, conv_pair_peer(a->conv, a->sender), a->conv), MARK_SIZE),
                    a->seq - 1);
}

enum apply apply_append(struct writer *w, struct slot *slot)
{
    struct store_append *a = (struct store_append *)slot->op;
    struct head *h = slot->head;
    struct inbox *box = NULL;
    uint64_t drop[DROP_MAX];
    int drop_n = 0;
    struct message_record m;
    struct cover cover;
    struct key k;

    if (!append_sane(a))
        return apply_end(slot, STORE_FATAL);
    if (a->client_id.n && append_known(w, slot))
        return APPLY_DONE;
    if (a->only_duplicate) {
        slot->durability = DURABILITY_COMMIT;
        return apply_end(slot, STORE_NOTFOUND);
    }
    if (conv_is_channel(a->conv) && (h->r.flags & (HEAD_CHANNEL | HEAD_CLOSING)) != HEAD_CHANNEL)
        return apply_end(slot, STORE_NOTFOUND);
    int gone = deleted_now(w, a->sender);
    gone = gone ? gone : deleted_now(w, a->receiver);
    if (gone)
        return apply_end(slot, gone > 0 ? STORE_DENIED : status_of(gone));
    slot->durability = (uint8_t)atomic_load_explicit(&w->store->live.durability[a->tier], memory_order_relaxed);
    if (a->receiver.n) {
        int r = inbox_of(w, a->receiver, &box);
        if (r)
            return r > 0 ? APPLY_CUT : apply_end(slot, status_of(r));
        drop_n = inbox_overflow(w, a, box, drop);
        if (drop_n < 0)
            return drop_n == -1 ? APPLY_CUT : apply_end(slot, status_of(drop_n + 1));
    }
    int meets = append_meets(w, a, h);
    if (meets < 0)
        return apply_end(slot, status_of(meets));
    cover_look(w, h, a->max, &cover);
    if (append_room(w, h, a, &cover, (size_t)drop_n))
        return apply_end(slot, STORE_FATAL);

    append_number(w, slot, &m);
    message_encode(batch_put(&w->batch, tier_family(a->tier), key_message(&k, a->conv, a->seq), message_size(&m)), &m);
    append_trim(w, h, &cover);
    append_reserve(w, slot);
    head_put(w, h);
    append_put_marks(w, a, meets);
    if (a->client_id.n) {
        struct dedup_record d = {.row = {.cls = EXPIRY_DEDUP, .birth_ms = w->now_ms},
                                 .seq = a->seq,
                                 .id = a->id,
                                 .created_ms = a->created_ms};
        dedup_encode(batch_put(&w->batch, KV_DEDUP, key_dedup(&k, a->sender, a->conv, a->client_id), DEDUP_SIZE), &d);
    }
    if (box)
        append_put_inbox(w, a, &m, box, drop, drop_n);
    atomic_fetch_add_explicit(&w->store->appended, 1, memory_order_relaxed);
    return apply_changed(slot);
}
