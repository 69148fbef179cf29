/*
 * Blocks that Redis keeps of the archive: never a byte read outside; what passes as a block can be walked to its end,
 * and its records, where they are such, become rows that make the same block again.
 */
#include "storage/redis/cold/cold_block.h"
#include "storage/redis/layout.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void inside(struct slice part, struct slice whole)
{
    must(part.n == 0 || (part.p >= whole.p && part.n <= whole.n && part.p + part.n <= whole.p + whole.n));
}

static void rows_of(struct slice v)
{
    struct archive_row rows[64];
    struct cold_walk w;
    uint32_t n = 0;
    bool all = true; /* rows that a block can be made of again */
    int more;
    cold_walk_begin(&w, v);
    while ((more = cold_walk_next(&w)) == 1) {
        inside(w.record, v);
        all = all && n < 64 && cold_row(&rows[n], SLICE_NONE, w.seq, w.record) == 0 && w.record.p[1] <= 1;
        if (all) {
            const struct archive_row *row = &rows[n++];
            inside(row->content, w.record);
            inside(row->sender, w.record);
            /* What is no text is cut, and makes another block. */
            all = LAYOUT_RECORD_FIXED + row->sender.n + row->name.n + row->content.n == w.record.n;
        }
    }
    must(more == 0);
    uint64_t upto = 0;
    memcpy((char *)&upto + 2, v.p + 4, 6);
    upto = __builtin_bswap64(upto);
    for (uint32_t i = 0; i < n; i++)
        all = all && rows[i].seq <= upto;
    if (!all)
        return;
    struct buf again = BUF_INIT;
    cold_block_make(&again, load_be32(v.p), 0, upto, rows, n);
    must(buf_ok(&again) && slice_eq(buf_slice(&again), v));
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice v = slice_of(data, size);
    if (size >= 10 && cold_block_right(v, load_be32(data), 0))
        rows_of(v);
    else
        (void)cold_block_right(v, 0, 0);
    return 0;
}
