/* What is kept in Redis, written by this side: for imports. See layout.h. */
#include "storage/redis/layout.h"

static void u48(struct buf *b, uint64_t v)
{
    char bytes[6];
    layout_put48(bytes, v);
    buf_put(b, bytes, sizeof bytes);
}

static void u64(struct buf *b, uint64_t v)
{
    char bytes[8];
    store_be64(bytes, v);
    buf_put(b, bytes, sizeof bytes);
}

void layout_head_put(struct buf *b, const struct layout_head *h)
{
    const uint8_t begin[4] = {h->kind, h->flags, h->tier, h->used};
    buf_put(b, begin, sizeof begin);
    u48(b, h->seq);
    u48(b, h->low);
    u64(b, h->last_id);
    buf_u32(b, h->max);
    buf_u32(b, h->edits);
    if (h->kind == LAYOUT_CHANNEL) {
        buf_u32(b, h->members);
        u48(b, h->version);
    } else {
        u48(b, h->archived);
        u48(b, h->first);
        u48(b, h->k[0]);
        u48(b, h->k[1]);
    }
    for (unsigned t = 0; h->flags & LAYOUT_FLOORS && t < TIER_COUNT; t++)
        u48(b, h->floors[t]);
}

void layout_record_put(struct buf *b, const struct layout_record *m)
{
    buf_byte(b, LAYOUT_RECORD);
    buf_byte(b, m->recalled ? LAYOUT_RECALLED : 0);
    buf_byte(b, m->tier);
    u64(b, m->id);
    u48(b, m->created_ms);
    u48(b, m->birth_ms);
    u48(b, m->ttl_ms);
    buf_u16(b, m->rev);
    u48(b, m->edited_ms);
    layout_texts_put(b, m->sender, m->sender_name, m->content);
}

void layout_dedup_put(struct buf *b, uint64_t id, uint64_t seq, uint64_t created_ms)
{
    u64(b, id);
    u48(b, seq);
    u48(b, created_ms);
}

void layout_sub_put(struct buf *b, const struct layout_sub *s)
{
    buf_byte(b, 1);
    buf_byte(b, s->push);
    buf_byte(b, s->events);
    u48(b, s->read);
    u48(b, s->version);
}

void layout_gone_put(struct buf *b, const struct layout_gone *g)
{
    u64(b, g->until);
    buf_byte(b, g->now);
}

void layout_entry_put(struct buf *b, const struct layout_entry *e)
{
    u48(b, e->seq);
    u48(b, e->birth_ms);
    u48(b, e->ttl_ms);
    buf_slice_put(b, e->peer);
}
