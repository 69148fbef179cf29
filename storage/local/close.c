/* Channels that are deleted: closed at once, wiped when the last member is out. */
#include "storage/local/head.h"
#include "storage/local/vacant.h"

static bool channel_key_sane(struct slice conv)
{
    return conv_is_channel(conv) && conv.n >= 2 && conv.n <= 65;
}

enum apply apply_channel_close(struct writer *w, struct slot *slot)
{
    struct store_channel_close *c = (struct store_channel_close *)slot->op;
    struct head *h = slot->head;
    struct key k;
    if (!channel_key_sane(c->conv))
        return apply_end(slot, STORE_FATAL);
    if (!(h->r.flags & HEAD_CHANNEL))
        return apply_end(slot, STORE_NOTFOUND);
    c->members = h->r.members;
    if (h->r.flags & HEAD_CLOSING)
        return apply_end(slot, STORE_OK);
    if (batch_reserve(&w->batch, 2, HEAD_ROOM + KEY_MAX + 2))
        return apply_end(slot, STORE_FATAL);
    h->r.flags |= HEAD_CLOSING;
    flag_encode(batch_put(&w->batch, KV_META, key_going_channel(&k, c->conv), 2));
    head_put(w, h);
    return apply_changed(slot);
}

enum apply apply_channel_wipe(struct writer *w, struct slot *slot)
{
    struct store_channel_wipe *c = (struct store_channel_wipe *)slot->op;
    struct head *h = slot->head;
    struct vacancy v;
    struct key k;
    if (!channel_key_sane(c->conv))
        return apply_end(slot, STORE_FATAL);
    if (!(h->r.flags & HEAD_CLOSING))
        return apply_end(slot, STORE_NOTFOUND);
    c->members = h->r.members;
    if (c->members)
        return apply_end(slot, STORE_DENIED);
    if (group_dirty(w))
        return APPLY_CUT; /* its rows may be among what is pending */
    int r = vacancy_wipe(w, h, &v);
    if (r)
        return apply_end(slot, status_of(r));
    batch_delete(&w->batch, KV_META, key_going_channel(&k, c->conv));
    (void)vacancy_settle(w, h, &v);
    return apply_changed(slot);
}
