#include "storage/redis/cold/cold_block.h"

#include "storage/redis/layout.h"

enum { BLOCK_HEAD = 10, BLOCK_ROW = 10 /* bytes before the rows, before a record */ };

void cold_record(struct buf *b, const struct archive_row *row)
{
    uint8_t sender = (uint8_t)(row->sender.n < 255 ? row->sender.n : 255);
    uint8_t name = (uint8_t)(row->name.n < 255 ? row->name.n : 255);
    char *p = buf_reserve(b, LAYOUT_RECORD_FIXED);
    if (!p)
        return;
    p[0] = LAYOUT_RECORD;
    p[1] = row->recalled ? LAYOUT_RECALLED : 0;
    p[2] = (char)row->tier;
    store_be64(p + 3, row->id);
    layout_put48(p + 11, row->created_ms);
    layout_put48(p + 17, row->birth_ms);
    layout_put48(p + 23, row->ttl_ms);
    store_be16(p + 29, (uint16_t)(row->rev < UINT16_MAX ? row->rev : UINT16_MAX));
    layout_put48(p + 31, row->edited_ms);
    p[37] = (char)sender;
    p[38] = (char)name;
    b->n += LAYOUT_RECORD_FIXED;
    buf_put(b, row->sender.p, sender);
    buf_put(b, row->name.p, name);
    buf_slice_put(b, row->content);
}

int cold_row(struct archive_row *row, struct slice conv, uint64_t seq, struct slice record)
{
    struct layout_record m;
    int e = layout_record(record, &m);
    if (e)
        return e;
    *row = (struct archive_row){.conv = conv,
                                .seq = seq,
                                .id = m.id,
                                .created_ms = m.created_ms,
                                .birth_ms = m.birth_ms,
                                .ttl_ms = m.ttl_ms,
                                .edited_ms = m.edited_ms,
                                .rev = m.rev,
                                .tier = m.tier,
                                .recalled = m.recalled,
                                .sender = m.sender,
                                .name = m.sender_name,
                                .content = m.content};
    return 0;
}

static void put48(struct buf *b, uint64_t v)
{
    buf_u16(b, (uint16_t)(v >> 32));
    buf_u32(b, (uint32_t)v);
}

void cold_block_make(struct buf *b, uint32_t edits, uint64_t from, uint64_t upto, const struct archive_row *rows,
                     uint32_t n)
{
    buf_reset(b);
    buf_u32(b, edits);
    put48(b, upto);
    for (uint32_t i = 0; i < n; i++) {
        if (rows[i].seq < from || rows[i].seq > upto)
            continue;
        size_t at = b->n;
        put48(b, rows[i].seq);
        buf_u32(b, 0);
        cold_record(b, &rows[i]);
        if (buf_ok(b))
            store_be32(b->p + at + 6, (uint32_t)(b->n - at - BLOCK_ROW));
    }
}

bool cold_block_right(struct slice v, uint32_t edits, uint64_t upto)
{
    struct cold_walk w;
    int more;
    if (v.n < BLOCK_HEAD || load_be32(v.p) != edits || layout_u48(v.p + 4) < upto)
        return false;
    cold_walk_begin(&w, v);
    while ((more = cold_walk_next(&w)) == 1)
        ;
    return more == 0;
}

void cold_walk_begin(struct cold_walk *w, struct slice v)
{
    *w = (struct cold_walk){.at = slice_of(v.p + BLOCK_HEAD, v.n - BLOCK_HEAD)};
}

int cold_walk_next(struct cold_walk *w)
{
    if (!w->at.n)
        return 0;
    if (w->at.n < BLOCK_ROW)
        return ERR_INVALID;
    uint32_t n = load_be32(w->at.p + 6);
    w->seq = layout_u48(w->at.p);
    if (w->at.n - BLOCK_ROW < n)
        return ERR_INVALID;
    w->record = slice_of(w->at.p + BLOCK_ROW, n);
    w->at = slice_of(w->at.p + BLOCK_ROW + n, w->at.n - BLOCK_ROW - n);
    return 1;
}
