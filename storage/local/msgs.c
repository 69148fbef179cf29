/* A conversation's visible messages in order: see msgs.h. */
#include "storage/local/msgs.h"

uint64_t head_low(struct local *s, const struct head_record *h, unsigned t)
{
    uint32_t max = h->max ? h->max : limits_max(&s->limits, t, h->last_id);
    uint64_t low = max && h->seq > max ? h->seq - max : 0;
    if (low && low < h->skip_at) /* the count is of messages: seqs that a jump left out do not use it up */
        low = low > h->skip ? low - h->skip : 0;
    return low > h->low[t] ? low : h->low[t];
}

int msgs_open(struct msgs *m, struct local *s, struct iter_cache *iters, struct slice conv,
              const struct head_record *head)
{
    *m = (struct msgs){
        .store = s, .top = head->seq, .version = atomic_load(&s->live.version), .conv = conv, .owned = iters == NULL};
    m->now_ms = expiry_now(&s->expiry); /* after the version: see recent.h */
    unsigned used = 0;
    if (iters)
        iter_cache_begin(iters, s->kv);
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        m->low[t] = head_low(s, head, t);
        if ((head->tiers_used & 1u << t) && m->low[t] < m->top) {
            m->it[t] =
                iters ? iter_cache_iter(iters, s->kv, t) : kv_iter_new(s->kv, tier_family(t), SLICE_NONE, SLICE_NONE);
            if (!m->it[t]) {
                m->error = ERR_NOMEM;
                return ERR_NOMEM;
            }
            used++;
        }
    }
    m->alone = used <= 1;
    return 0;
}

void msgs_close(struct msgs *m)
{
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        if (m->owned)
            kv_iter_free(m->it[t]);
        m->it[t] = NULL;
    }
}

/* Whether a key is one of the conversation's. */
static bool key_is_of(struct slice key, struct slice conv)
{
    return key.n > conv.n && key.p[conv.n] == '\0' && memcmp(key.p, conv.p, conv.n) == 0;
}

/* Goes on from where the tier's iterator stands to a visible row. */
static void tier_settle(struct msgs *m, unsigned t)
{
    struct kv_iter *it = m->it[t];
    m->has[t] = false;
    for (struct slice key, value; kv_row(it, &key, &value); m->up ? kv_next(it) : kv_prev(it)) {
        if (!key_is_of(key, m->conv))
            return;
        bool whole = key.n == m->conv.n + 9 && key_tail_u64(key, &m->at[t]);
        if (whole && (m->at[t] <= m->low[t] || m->at[t] > m->top))
            return;
        if (!whole || message_decode(value, &m->rows[t])) {
            record_bad("message", key);
            m->error = ERR_INVALID;
            return;
        }
        if (!row_expired(&m->rows[t].row, &m->store->expiry, m->now_ms)) {
            m->has[t] = true;
            return;
        }
        m->skipped++;
    }
    if (kv_iter_error(it))
        m->error = kv_iter_error(it);
}

/* Picks the nearest of the tiers' rows. */
static void msgs_pick(struct msgs *m)
{
    m->valid = false;
    if (m->error)
        return;
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        if (m->has[t] && (!m->valid || (m->up ? m->at[t] < m->seq : m->at[t] > m->seq))) {
            m->valid = true;
            m->tier = t;
            m->seq = m->at[t];
            m->row = &m->rows[t];
        }
    }
}

void msgs_up(struct msgs *m, uint64_t from)
{
    struct key k;
    m->up = true;
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        if (m->it[t]) {
            kv_seek(m->it[t], key_message(&k, m->conv, from > m->low[t] ? from : m->low[t] + 1));
            tier_settle(m, t);
        }
    }
    msgs_pick(m);
}

void msgs_down(struct msgs *m, uint64_t below)
{
    struct key k;
    m->up = false;
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        if (m->it[t]) {
            kv_seek_before(m->it[t], key_message(&k, m->conv, below <= m->top ? below : m->top + 1));
            tier_settle(m, t);
        }
    }
    msgs_pick(m);
}

void msgs_step(struct msgs *m)
{
    if (m->up && m->seq == m->top) { /* nothing is newer than the head */
        m->valid = false;
        return;
    }
    if (m->alone) {
        struct kv_iter *it = m->it[m->tier];
        m->up ? kv_next(it) : kv_prev(it);
        tier_settle(m, m->tier);
        m->seq = m->at[m->tier];
        m->valid = m->has[m->tier];
        return;
    }
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        if (m->it[t] && m->has[t] && m->at[t] == m->seq) {
            m->up ? kv_next(m->it[t]) : kv_prev(m->it[t]);
            tier_settle(m, t);
        }
    }
    msgs_pick(m);
}

uint64_t msgs_first(struct msgs *m, uint64_t *end_ms)
{
    if (end_ms)
        *end_ms = UINT64_MAX;
    if (m->top == 0)
        return 0;
    msgs_up(m, 0);
    if (!m->valid)
        return m->top + 1;
    if (end_ms)
        *end_ms = expiry_end(&m->store->expiry, m->row->row.cls, m->row->row.birth_ms, m->row->row.ttl_ms);
    return m->seq;
}
