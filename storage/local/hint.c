/* Hints from readers to the writer: see hint.h. */
#include "storage/local/hint.h"

#include "storage/local/head.h"

#include <stdlib.h>

static struct hint *hint_new(enum local_op_kind kind, struct slice key)
{
    struct hint *h = calloc(1, sizeof(*h) + key.n);
    if (h) {
        h->op.kind = (uint8_t)kind; /* home stays NULL: op_list_answer() frees it */
        h->key_n = (uint32_t)key.n;
        if (key.n)
            memcpy(h->key, key.p, key.n);
    }
    return h;
}

void hint_floor(struct local *s, struct slice conv, uint64_t floor)
{
    struct hint *h = hint_new(OP_FLOOR, conv);
    if (h) {
        h->floor = floor;
        writer_post(s, &h->op);
    }
}

void hint_vacant(struct local *s, struct slice conv, uint64_t due_ms)
{
    struct hint *h = hint_new(OP_VACANT, conv);
    if (h) {
        h->due_ms = due_ms;
        writer_post(s, &h->op);
    }
}

void hint_inbox(struct local *s, struct slice user, uint64_t *ids, uint32_t n)
{
    struct hint *h = hint_new(OP_INBOX_CLEAN, user);
    if (!h) {
        free(ids);
        return;
    }
    h->ids = ids;
    h->id_count = n;
    writer_post(s, &h->op);
}

void hint_unguest(struct local *s, struct slice user)
{
    struct hint *h = hint_new(OP_UNGUEST, user);
    if (h)
        writer_post(s, &h->op);
}

void hint_tick(struct local *s)
{
    struct hint *h = hint_new(OP_TICK, SLICE_NONE);
    if (h)
        writer_post(s, &h->op);
}

void hint_free(struct store_op *op)
{
    struct hint *h = (struct hint *)op;
    free(h->ids);
    free(h);
}

enum apply apply_floor(struct writer *w, struct slot *slot)
{
    struct hint *hint = (struct hint *)slot->op;
    struct head *h = slot->head;
    uint64_t floor = hint->floor < h->r.seq ? hint->floor : h->r.seq;
    bool rises = false;
    for (unsigned t = 0; t < TIER_COUNT; t++)
        rises |= (h->r.tiers_used & 1u << t) && h->r.low[t] < floor;
    if (!rises || batch_reserve(&w->batch, 1, HEAD_ROOM))
        return apply_end(slot, STORE_OK);
    for (unsigned t = 0; t < TIER_COUNT; t++)
        h->r.low[t] = h->r.low[t] > floor ? h->r.low[t] : floor;
    head_put(w, h);
    return apply_changed(slot);
}
