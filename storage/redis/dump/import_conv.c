/* Conversations of an import: heads, messages; at the end the members of channels are counted. */
#include "storage/redis/dump/import_private.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>

enum {
    ROWS = 64,             /* messages of one HSET */
    ROWS_BYTES = 64 * 1024 /* … unless they are larger */
};

int import_conv(struct importer *im, const struct dump_conv *c)
{
    bool channel = conv_is_channel(c->key);
    uint64_t seq = c->given > c->seq ? c->given : c->seq; /* no seq is given twice, and nothing jumps later */
    im->open = true;
    im->seq = c->low;
    im->id = im->oldest_ms = 0;
    im->conv.n = (uint8_t)c->key.n;
    memcpy(im->conv.p, c->key.p, c->key.n);
    im->head = (struct layout_head){.kind = channel ? LAYOUT_CHANNEL : LAYOUT_PAIR,
                                    .tier = channel ? c->tier : 0,
                                    .seq = seq,
                                    .low = c->low,
                                    .last_id = c->last_id,
                                    .max = c->max,
                                    .version = 1};
    im->head.flags = (uint8_t)((c->flags & DUMP_CONV_MADE ? LAYOUT_MADE : 0) |
                               (c->flags & DUMP_CONV_CLOSING ? LAYOUT_WIPING : 0) | (c->max ? LAYOUT_OWN : 0));
    if (c->flags & DUMP_CONV_GONE)
        im->head.low = seq;
    if (c->flags & DUMP_CONV_MADE)
        im->parts[partition_of(c->key)].channels++;
    import_id(im, c->last_id);
    return 0;
}

static int rows_send(struct importer *im)
{
    struct call *c = im->rows;
    im->rows = NULL;
    im->rows_n = 0;
    return c ? import_send(im, c) : 0;
}

int import_message(struct importer *im, const struct dump_message *m)
{
    struct buf row = BUF_INIT;
    const struct layout_record record = {.recalled = m->flags & DUMP_RECALLED,
                                         .tier = m->tier,
                                         .id = m->id,
                                         .created_ms = m->created_ms,
                                         .birth_ms = m->birth_ms,
                                         .ttl_ms = m->ttl_ms,
                                         .edited_ms = m->edited_ms,
                                         .sender = m->sender,
                                         .sender_name = m->name,
                                         .content = m->content};
    if (m->seq <= im->seq || m->seq > im->head.seq || m->id <= im->id || m->id > im->head.last_id) {
        im->bad = "has a number that does not follow";
        return ERR_INVALID;
    }
    im->seq = m->seq;
    im->id = m->id;
    im->oldest_ms = im->oldest_ms ? im->oldest_ms : m->birth_ms;
    im->head.used |= (uint8_t)(1u << m->tier);
    im->head.flags = (uint8_t)((im->head.flags & ~(3 * LAYOUT_TIER)) | m->tier * LAYOUT_TIER);
    if (!im->rows) {
        im->rows = still_change(im->s, "HSET", partition_of(conv_key_slice(&im->conv)));
        if (!im->rows)
            return ERR_NOMEM;
        call_key(im->s->r, im->rows, 'm', conv_key_slice(&im->conv));
    }
    layout_record_put(&row, &record);
    call_arg_u64(im->rows, m->seq);
    call_arg(im->rows, buf_slice(&row));
    bool ok = buf_ok(&row);
    buf_free(&row);
    if (!ok)
        return ERR_NOMEM;
    return ++im->rows_n < ROWS && im->rows->body.n < ROWS_BYTES ? 0 : rows_send(im);
}

/* A member of a sorted set of the conversation's partition. */
static int place_add(struct importer *im, char kind, uint64_t score)
{
    struct slice conv = conv_key_slice(&im->conv);
    struct call *c = still_change(im->s, "ZADD", partition_of(conv));
    if (!c)
        return ERR_NOMEM;
    call_key(im->s->r, c, kind, SLICE_NONE);
    call_arg_u64(c, score);
    call_arg(c, conv);
    return import_send(im, c);
}

static int head_send(struct importer *im, struct slice conv, const struct layout_head *h)
{
    struct buf head = BUF_INIT;
    struct call *c = still_change(im->s, "HSET", partition_of(conv));
    if (!c)
        return ERR_NOMEM;
    layout_head_put(&head, h);
    call_key(im->s->r, c, 'm', conv);
    call_arg(c, SLICE_LIT("h"));
    call_arg(c, buf_slice(&head));
    buf_free(&head);
    return import_send(im, c);
}

/* The name of a channel that is gone; those that go later are dropped later. */
static int name_add(struct importer *im)
{
    struct slice conv = conv_key_slice(&im->conv);
    struct call *c = still_change(im->s, "HSET", partition_of(conv));
    if (!c)
        return ERR_NOMEM;
    call_key(im->s->r, c, 'c', SLICE_NONE);
    call_arg_open(c, 1 + conv.n);
    buf_byte(&c->body, 'g');
    buf_slice_put(&c->body, conv);
    call_arg_close(c);
    call_arg(c, SLICE_LIT("0"));
    return import_send(im, c);
}

int import_conv_end(struct importer *im)
{
    struct layout_head *h = &im->head;
    const struct store_options *o = &im->s->r->options;
    bool made = h->flags & LAYOUT_MADE, any = im->oldest_ms != 0;
    if (!im->open)
        return 0;
    im->open = false;
    if (!(h->flags & LAYOUT_OWN) && any)
        h->max = o->tiers[h->flags / LAYOUT_TIER & 3].max; /* as if it had come now */
    int r = rows_send(im);
    r = r ? r : head_send(im, conv_key_slice(&im->conv), h);
    if (!r && h->kind == LAYOUT_CHANNEL && !made && h->seq)
        r = name_add(im);
    if (!r && (made || any)) /* the sweep looks at it, and finds when to look again */
        r = place_add(im, 'e', h->flags & LAYOUT_WIPING ? 0 : im->store.clock_ms);
    if (!r && any && h->kind == LAYOUT_PAIR && o->cluster.archive.url)
        r = place_add(im, 'A', im->oldest_ms);
    return r;
}

int import_look(struct importer *im, uint64_t when_ms)
{
    return place_add(im, 'e', when_ms);
}

/* --- Members ------------------------------------------------------------------------------------------------------ */

enum { CHANNELS = 64 /* asked together */ };

/* Memberships in a channel that the file does not have. */
static int members_drop(struct importer *im, const struct still_key *key)
{
    struct still_ask a;
    struct slice user;
    still_begin(im->s, &a, "ZRANGE", key->part, true);
    call_key(im->s->r, &a.call, 'M', key->rest);
    call_arg(&a.call, SLICE_LIT("0"));
    call_arg(&a.call, SLICE_LIT("-1"));
    still_post(im->s, &a);
    int r = still_wait(im->s);
    while (!r && still_next(&a.left, &user)) {
        struct call *c = still_change(im->s, "HDEL", partition_of_user(user));
        if (!c)
            r = ERR_NOMEM;
        if (c) {
            call_key(im->s->r, c, 'u', user);
            call_arg(c, key->rest);
            r = import_send(im, c);
        }
    }
    still_free(&a);
    struct call *c = r ? NULL : still_change(im->s, "UNLINK", key->part);
    if (!c)
        return r ? r : ERR_NOMEM;
    call_key(im->s->r, c, 'M', key->rest);
    return import_send(im, c);
}

static int members_count(struct importer *im, const struct still_key *key, struct slice n, struct slice head)
{
    struct layout_head h;
    uint32_t members = 0;
    if (!head.p)
        return members_drop(im, key);
    if (layout_head(head, &h))
        return ERR_INVALID;
    if (!(h.flags & LAYOUT_MADE))
        return members_drop(im, key);
    for (size_t i = 0; i < n.n; i++)
        members = members * 10 + (uint32_t)(n.p[i] - '0');
    h.members = members;
    return head_send(im, key->rest, &h);
}

static int channels_count(void *ctx, const struct still_key *keys, uint32_t n)
{
    struct importer *im = ctx;
    struct still_ask sizes[CHANNELS], heads[CHANNELS];
    int r = 0;
    for (uint32_t at = 0; !r && at < n; at += CHANNELS) {
        uint32_t some = n - at < CHANNELS ? n - at : CHANNELS;
        for (uint32_t i = 0; i < some; i++) {
            still_begin(im->s, &sizes[i], "ZCARD", keys[at + i].part, true);
            call_key(im->s->r, &sizes[i].call, 'M', keys[at + i].rest);
            still_post(im->s, &sizes[i]);
            still_begin(im->s, &heads[i], "HGET", keys[at + i].part, true);
            call_key(im->s->r, &heads[i].call, 'm', keys[at + i].rest);
            call_arg(&heads[i].call, SLICE_LIT("h"));
            still_post(im->s, &heads[i]);
        }
        r = still_wait(im->s);
        for (uint32_t i = 0; i < some; i++) {
            struct slice size = SLICE_NONE, head = SLICE_NONE;
            if (!r && (!still_next(&sizes[i].left, &size) || !still_next(&heads[i].left, &head)))
                r = ERR_INVALID;
            r = r ? r : members_count(im, &keys[at + i], size, head);
            still_free(&sizes[i]);
            still_free(&heads[i]);
        }
    }
    return r;
}

int import_channels(struct importer *im)
{
    int r = still_scan(im->s, 'M', &(struct still_pages){channels_count, im});
    return r ? r : still_wait(im->s);
}
