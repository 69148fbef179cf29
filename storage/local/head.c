/* Heads within a group: see head.h. */
#include "storage/local/head.h"

#include "storage/local/msgs.h"

void head_touch(struct writer *w, struct head *h)
{
    if (h->group != w->group) {
        h->group = w->group;
        h->group_first = 0;
    }
}

/* None of its messages is visible: seq + 1. */
static void head_unseen(struct writer *w, struct head *h)
{
    h->first = h->r.seq + 1;
    h->first_until = UINT64_MAX;
    h->first_version = atomic_load(&w->store->live.version);
}

void head_clear(struct writer *w, struct head *h)
{
    head_touch(w, h);
    memset(&h->r, 0, sizeof(h->r));
    h->jump = h->reserved_durable = h->reserve_group = 0;
    head_unseen(w, h);
}

void head_put(struct writer *w, struct head *h)
{
    struct key k;
    head_touch(w, h);
    if (h->jump <= h->r.seq) /* else the jump is still to come, after a restart too */
        h->r.losses = w->losses;
    head_encode(batch_put(&w->batch, KV_CHANNEL, key_head(&k, h->node.key), head_size(&h->r)), &h->r);
}

/* Rows of this very group are not in the database yet, and the count may hide some of them already. */
static uint64_t first_of_group(struct writer *w, const struct head *h)
{
    uint64_t low = UINT64_MAX;
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        uint64_t here = h->r.tiers_used & 1u << t ? head_low(w->store, &h->r, t) : UINT64_MAX;
        low = here < low ? here : low;
    }
    return low < h->group_first ? h->group_first : low + 1;
}

int head_first(struct writer *w, struct head *h, uint64_t *first)
{
    uint32_t version = atomic_load(&w->store->live.version);
    bool known = h->first_version == version && w->expiry_ms < h->first_until &&
                 h->first > head_low(w->store, &h->r, h->first_tier);
    if (h->r.seq == 0) {
        *first = 0;
        return 0;
    }
    if (!known) {
        struct msgs m;
        int r = msgs_open(&m, w->store, NULL, h->node.key, &h->r);
        if (!r) {
            h->first = msgs_first(&m, &h->first_until);
            h->first_tier = (uint8_t)m.tier;
            r = m.error;
        }
        msgs_close(&m);
        if (r) {
            h->first_version = 0;
            return r;
        }
        h->first_version = version;
        if (h->first > h->r.seq && h->group == w->group && h->group_first) {
            h->first = first_of_group(w, h);
            h->first_until = 0;
        }
    }
    *first = h->first;
    return 0;
}

void head_load(struct writer *w, struct head *h, struct kv_found *f)
{
    if (f->code < 0 || (f->code == 1 && head_decode(f->value, &h->r))) {
        h->bad = f->code < 0 ? f->code : ERR_INVALID;
        record_bad("head", h->node.key);
    }
    if (f->code == 1 && !h->bad) {
        h->reserved_durable = h->r.reserved; /* what is not synced yet has not left the cache */
        if (h->r.losses != w->losses && h->r.reserved > h->r.seq)
            h->jump = h->r.reserved;
    }
    if (h->r.seq == 0)
        head_unseen(w, h);
    kv_found_free(w->store->kv, f);
}
