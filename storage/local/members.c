/* Channels and their members. */
#include "storage/local/deleted.h"
#include "storage/local/head.h"
#include "storage/local/range.h"

#include <stdlib.h>

enum { NAMES_CHUNK = 64 }; /* members whose names one multi-get finds */

static bool member_sane(struct slice conv, struct slice user)
{
    return conv_is_channel(conv) && conv.n >= 2 && conv.n <= 65 && user.n >= 1 && user.n <= 64;
}

enum apply apply_channel_save(struct writer *w, struct slot *slot)
{
    struct store_channel_save *c = (struct store_channel_save *)slot->op;
    if (!(slot->head->r.flags & HEAD_CHANNEL))
        return apply_end(slot, STORE_NOTFOUND);
    if (c->tier >= TIER_COUNT || batch_reserve(&w->batch, 1, HEAD_ROOM))
        return apply_end(slot, STORE_FATAL);
    slot->head->r.tier = (uint8_t)c->tier;
    head_put(w, slot->head);
    return apply_changed(slot);
}

/* The user's membership as this group sees it: 1 with its subscription, 0, or an enum err. */
static int member_get(struct writer *w, struct slice user, struct slice conv, struct sub_record *sub)
{
    struct key k;
    struct kv_found f = writer_get(w, KV_USER, key_sub(&k, user, conv));
    int r = f.code;
    if (r == 1 && sub_decode(f.value, sub)) {
        record_bad("subscription", key_slice(&k));
        r = ERR_INVALID;
    }
    kv_found_free(w->store->kv, &f);
    return r;
}

/* Makes the channel. Room is reserved. */
static void channel_create(struct writer *w, struct head *h)
{
    h->r.flags |= HEAD_CHANNEL;
    h->r.tier = TIER_SMALL;
    writer_put_u64(w, META_CHANNELS, ++w->channels);
    if (h->r.reserved == 0) {
        /* The first message need not wait for a reservation if this is synced by then. */
        h->r.reserved = h->r.seq + 64;
        h->reserve_group = w->group;
    }
}

enum apply apply_member_put(struct writer *w, struct slot *slot)
{
    struct store_member_put *m = (struct store_member_put *)slot->op;
    struct head *h = slot->head;
    struct key k;
    struct sub_record sub = {.push = MODE_DEFAULT};
    m->created = m->existed = false;
    if (!member_sane(m->conv, m->user) || m->push > MODE_NONE)
        return apply_end(slot, STORE_FATAL);
    bool exists = h->r.flags & HEAD_CHANNEL;
    if (!exists && !m->may_create)
        return apply_end(slot, STORE_NOTFOUND);
    if (!exists && m->channels_max && w->channels >= m->channels_max)
        return apply_end(slot, STORE_LIMIT);
    if (h->r.flags & HEAD_CLOSING)
        return apply_end(slot, STORE_RETRY);
    int gone = deleted_now(w, m->user);
    if (gone)
        return apply_end(slot, gone > 0 ? STORE_DENIED : status_of(gone));
    uint64_t seq;
    int member = member_get(w, m->user, m->conv, &sub);
    int r = member < 0 ? member : exists ? head_first(w, h, &m->first) : vacant_floor(w, h, &seq);
    r = r ? r
          : batch_reserve(&w->batch, 5 + REVIVE_PUTS,
                          3 * KEY_MAX + HEAD_ROOM + MARK_SIZE + SUB_SIZE + 64 + REVIVE_ROOM);
    if (r)
        return apply_end(slot, status_of(r));
    m->existed = member == 1;
    m->created = !exists;
    const struct sub_record now = {.push = m->set_push ? (uint8_t)m->push : sub.push,
                                   .events = m->set_events ? m->events : sub.events};
    bool changes = !m->existed || now.push != sub.push || now.events != sub.events;
    if (!exists) {
        vacant_revive(w, h, seq);
        channel_create(w, h);
        m->first = h->r.seq ? h->r.seq + 1 : 0;
    }
    if (changes)
        sub_encode(batch_put(&w->batch, KV_USER, key_sub(&k, m->user, m->conv), SUB_SIZE), &now);
    if (!m->existed) {
        h->r.members++;
        flag_encode(batch_put(&w->batch, KV_CHANNEL, key_member(&k, conv_channel_name(m->conv), m->user), 2));
        mark_encode(batch_put(&w->batch, KV_USER, key_mark(&k, m->user, m->conv), MARK_SIZE), h->r.seq);
        head_put(w, h);
    }
    m->mode = (enum push_mode)now.push;
    m->events = now.events;
    m->members = h->r.members;
    m->seq = h->r.seq;
    return changes ? apply_changed(slot) : apply_end(slot, STORE_OK);
}

enum apply apply_member_del(struct writer *w, struct slot *slot)
{
    struct store_member_del *m = (struct store_member_del *)slot->op;
    struct head *h = slot->head;
    struct vacancy v;
    struct key k;
    struct sub_record sub;
    m->existed = m->gone = false;
    if (!member_sane(m->conv, m->user))
        return apply_end(slot, STORE_FATAL);
    if (!(h->r.flags & HEAD_CHANNEL))
        return apply_end(slot, STORE_NOTFOUND);
    int member = member_get(w, m->user, m->conv, &sub);
    m->members = h->r.members;
    if (!member)
        return apply_end(slot, STORE_OK);
    bool last = h->r.members <= 1 && !(h->r.flags & HEAD_CLOSING); /* a channel that is deleted goes by the wipe */
    int r = member < 0 ? member : last ? vacancy_judge(w, h, &v) : batch_reserve(&w->batch, 4, 3 * KEY_MAX + HEAD_ROOM);
    if (r)
        return r > 0 ? APPLY_CUT : apply_end(slot, status_of(r));
    m->existed = true;
    batch_delete(&w->batch, KV_USER, key_sub(&k, m->user, m->conv));
    batch_delete(&w->batch, KV_USER, key_mark(&k, m->user, m->conv));
    batch_delete(&w->batch, KV_CHANNEL, key_member(&k, conv_channel_name(m->conv), m->user));
    if (SURELY(h->r.members > 0))
        h->r.members--;
    m->members = h->r.members;
    if (last)
        m->gone = vacancy_settle(w, h, &v);
    else
        head_put(w, h);
    return apply_changed(slot);
}

/* --- Listing ------------------------------------------------------------------------------------------------ */

/* Finds the names of people[from, n), whose ids lie in the arena by offset. */
static int names_find(struct local *s, struct store_members *m, uint32_t from, struct buf *arena)
{
    struct key keys[NAMES_CHUNK];
    struct slice names[NAMES_CHUNK];
    struct kv_found found[NAMES_CHUNK];
    int r = 0;
    uint32_t n = m->n - from;
    for (uint32_t i = 0; i < n; i++) {
        struct slice id = m->people[from + i].id;
        names[i] = key_user(&keys[i], slice_of(arena->p + (uintptr_t)id.p, id.n));
    }
    kv_multi_get(s->kv, KV_USER, names, n, found);
    for (uint32_t i = 0; i < n; i++) {
        struct user_record u = {0};
        if (found[i].code < 0 || (found[i].code == 1 && user_decode(found[i].value, &u))) {
            r = found[i].code < 0 ? found[i].code : ERR_INVALID;
        } else {
            m->people[from + i].name = (struct slice){(const char *)(uintptr_t)arena->n, u.name.n};
            buf_slice_put(arena, u.name);
        }
        kv_found_free(s->kv, &found[i]);
    }
    return r ? r : buf_ok(arena) ? 0 : ERR_NOMEM;
}

/* Collects the page; slices are offsets into the arena. */
static int members_collect(struct local *s, struct store_members *m, struct buf *arena)
{
    struct key from, prefix_key, to;
    struct slice name = conv_channel_name(m->conv), prefix = key_member(&prefix_key, name, SLICE_NONE);
    struct kv_iter *it = kv_iter_new(s->kv, KV_CHANNEL, prefix, key_after_prefix(&to, prefix));
    if (!it)
        return ERR_NOMEM;
    int r = 0;
    uint32_t named = 0;
    struct slice start = key_member(&from, name, m->cursor.n <= 64 ? m->cursor : SLICE_NONE);
    kv_seek(it, start);
    if (m->cursor.n && kv_valid(it) && slice_eq(kv_key(it), start))
        kv_next(it);
    for (; !r && kv_valid(it); kv_next(it)) {
        if (m->n == m->limit) {
            m->more = true;
            break;
        }
        struct slice id = key_tail(kv_key(it));
        m->people[m->n++].id = (struct slice){(const char *)(uintptr_t)arena->n, id.n};
        buf_slice_put(arena, id);
        r = buf_ok(arena) ? 0 : ERR_NOMEM;
        if (!r && m->n - named == NAMES_CHUNK) {
            r = names_find(s, m, named, arena);
            named = m->n;
        }
    }
    r = r ? r : kv_iter_error(it);
    kv_iter_free(it);
    return r ? r : names_find(s, m, named, arena);
}

enum store_status read_members(struct reader *by, struct store_op *op)
{
    struct local *s = by->store;
    struct store_members *m = (struct store_members *)op;
    struct buf arena = BUF_INIT;
    struct head_record head;
    m->people = NULL;
    m->arena = NULL;
    m->n = 0;
    m->more = false;
    int r = head_read(s, m->conv, &head);
    uint32_t kind = head.flags & (m->going ? HEAD_CHANNEL : HEAD_CHANNEL | HEAD_CLOSING);
    if (r < 0 || !conv_is_channel(m->conv) || kind != HEAD_CHANNEL)
        return r < 0 ? status_of(r) : STORE_NOTFOUND;
    m->people = calloc(m->limit ? m->limit : 1, sizeof(*m->people));
    r = m->people ? members_collect(s, m, &arena) : ERR_NOMEM;
    if (r) {
        free(m->people);
        buf_free(&arena);
        m->people = NULL;
        m->n = 0;
        m->more = false;
        return status_of(r);
    }
    m->arena = arena.p;
    for (uint32_t i = 0; i < m->n; i++) {
        m->people[i].id.p = arena.p + (uintptr_t)m->people[i].id.p;
        m->people[i].name.p = arena.p + (uintptr_t)m->people[i].name.p;
    }
    return STORE_OK;
}
