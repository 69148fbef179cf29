/* What nodes tell each other, byte by byte: see news.h. */
#include "storage/redis/bus/news.h"

#include "core/base/utf8.h"
#include "storage/conv_key.h"
#include "storage/redis/client/resp.h"

#include <stddef.h>
#include <stdlib.h>

/* --- The fields of each kind -------------------------------------------------------------------------------------- */

/* What stands for a field, and what is taken for one. */
enum as {
    AS_END,
    AS_U8,
    AS_BOOL,  /* u8: 0 or 1 */
    AS_TIER,  /* u8: enum store_tier */
    AS_PUSH,  /* u8: enum push_mode */
    AS_ORDER, /* u8: enum bus_order_kind */
    AS_U16,
    AS_U32,
    AS_U48, /* of a u64 that never needs more: milliseconds, seqs, versions */
    AS_U64,
    AS_CONV,    /* n u8, a conversation's key */
    AS_USER,    /* n u8, a user's id */
    AS_USER_IF, /* the same, or empty */
    AS_NAME,    /* n u8, UTF-8 */
    AS_TEXT,    /* n u32, UTF-8 */
    AS_BYTES    /* n u32, whatever they are */
};

struct field {
    uint16_t at; /* where in the struct */
    uint8_t as;  /* enum as */
};

#define N(name, how)                                                                                                   \
    {                                                                                                                  \
        offsetof(struct bus_news, name), AS_##how                                                                      \
    }
#define M(name, how)                                                                                                   \
    {                                                                                                                  \
        offsetof(struct news_more, name), AS_##how                                                                     \
    }

enum { FIELDS_MAX = 14 };

static const struct field news_fields[NEWS_KINDS][FIELDS_MAX] = {
    [NEWS_MESSAGE] = {N(conv, CONV), N(user, USER_IF), N(seq, U48), N(id, U64), N(time, U48), N(arrival, U48),
                      N(members, U32), N(tier, TIER), N(sender, USER_IF), N(name, NAME), N(content, TEXT),
                      N(advice, BYTES)},
    [NEWS_NUDGE] = {N(conv, CONV), N(user, USER_IF), N(seq, U48), N(arrival, U48)},
    [NEWS_RECALLED] = {N(conv, CONV), N(user, USER_IF), N(seq, U48), N(id, U64)},
    [NEWS_EDITED] = {N(conv, CONV), N(user, USER_IF), N(seq, U48), N(id, U64), N(time, U48), N(created, U48),
                     N(sender, USER_IF), N(name, NAME), N(content, TEXT)},
    [NEWS_CHANNEL] = {N(conv, CONV), N(members, U32), N(tier, TIER), N(version, U48), N(gone, BOOL), N(change, U8),
                      N(sender, USER_IF), N(name, NAME)},
    [NEWS_MEMBER] = {N(user, USER), N(version, U48), N(conv, CONV), N(push, PUSH), N(events, BOOL), N(seq, U48),
                     N(members, U32), N(gone, BOOL), N(change, U8)},
    [NEWS_USER] = {N(user, USER), N(version, U48), N(name, NAME), N(epoch, U32), N(gone, BOOL)},
    [NEWS_READ] = {N(user, USER), N(conv, CONV), N(seq, U48)},
    [NEWS_INBOX] = {N(user, USER), N(count, U32)},
    [NEWS_PRESENCE] = {N(user, USER), N(version, U48), N(online, BOOL), N(advice, BYTES)},
};

static const struct field more_fields[NEWS_MORE_KINDS - NEWS_ORDER][FIELDS_MAX] = {
    [NEWS_ORDER - NEWS_ORDER] = {M(number, U64), M(time_ms, U48), M(order, ORDER), M(user, USER), M(body, BYTES),
                                 M(conn.node, U64), M(conn.shard, U32), M(conn.conn, U32), M(conn.generation, U32),
                                 M(action, U16)},
    [NEWS_RECEIPT - NEWS_ORDER] = {M(number, U64), M(connections, U32)},
    [NEWS_CALL - NEWS_ORDER] = {M(number, U64), M(time_ms, U48), M(what, U16), M(body, BYTES)},
    [NEWS_ANSWER - NEWS_ORDER] = {M(number, U64), M(body, BYTES)},
    [NEWS_LOG - NEWS_ORDER] = {M(number, U64), M(body, BYTES)},
};

/* NULL: there is no such kind. */
static const struct field *news_list(uint8_t kind)
{
    return kind < NEWS_KINDS && news_fields[kind][0].as ? news_fields[kind] : NULL;
}

static const struct field *more_list(uint8_t kind)
{
    return kind >= NEWS_ORDER && kind < NEWS_MORE_KINDS ? more_fields[kind - NEWS_ORDER] : NULL;
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

static void put_u64(struct buf *b, uint64_t v)
{
    buf_u32(b, (uint32_t)(v >> 32));
    buf_u32(b, (uint32_t)v);
}

static void put_short(struct buf *b, struct slice s)
{
    if (s.n > UINT8_MAX) {
        b->oom = true;
        return;
    }
    buf_byte(b, (uint8_t)s.n);
    buf_slice_put(b, s);
}

static void put_long(struct buf *b, struct slice s)
{
    if (s.n > UINT32_MAX) {
        b->oom = true;
        return;
    }
    buf_u32(b, (uint32_t)s.n);
    buf_slice_put(b, s);
}

static void put_field(struct buf *b, const void *at, enum as as)
{
    switch (as) {
    case AS_U8:
    case AS_BOOL:
    case AS_TIER:
    case AS_PUSH:
    case AS_ORDER:
        buf_byte(b, *(const uint8_t *)at);
        break;
    case AS_U16:
        buf_u16(b, *(const uint16_t *)at);
        break;
    case AS_U32:
        buf_u32(b, *(const uint32_t *)at);
        break;
    case AS_U48:
        buf_u16(b, (uint16_t)(*(const uint64_t *)at >> 32));
        buf_u32(b, (uint32_t) * (const uint64_t *)at);
        break;
    case AS_U64:
        put_u64(b, *(const uint64_t *)at);
        break;
    case AS_CONV:
    case AS_USER:
    case AS_USER_IF:
    case AS_NAME:
        put_short(b, *(const struct slice *)at);
        break;
    case AS_TEXT:
    case AS_BYTES:
        put_long(b, *(const struct slice *)at);
        break;
    case AS_END:
        break;
    }
}

/* list: NULL for a kind that does not exist. */
static void put(struct buf *b, const struct field *list, uint8_t kind, uint64_t origin, const void *from)
{
    size_t begin = b->n;
    if (!list) {
        b->oom = true;
        return;
    }
    buf_u32(b, 0);
    buf_byte(b, NEWS_VERSION);
    buf_byte(b, kind);
    put_u64(b, origin);
    for (; list->as; list++)
        put_field(b, (const char *)from + list->at, (enum as)list->as);
    if (buf_ok(b))
        store_be32(b->p + begin, (uint32_t)(b->n - begin - 4));
}

void news_put(struct buf *b, const struct bus_news *n)
{
    put(b, news_list(n->kind), n->kind, n->origin, n);
}

void news_more_put(struct buf *b, const struct news_more *m)
{
    put(b, more_list(m->kind), m->kind, m->origin, m);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

int news_next(struct slice *message, struct news_in *out)
{
    while (message->n) {
        if (message->n < 4 + NEWS_HEAD)
            return ERR_INVALID;
        size_t n = load_be32(message->p);
        if (n < NEWS_HEAD || n > message->n - 4)
            return ERR_INVALID;
        const char *p = message->p + 4;
        *message = slice_of(p + n, message->n - 4 - n);
        if (p[0] != NEWS_VERSION)
            continue;
        *out = (struct news_in){
            .kind = (uint8_t)p[1], .origin = load_be64(p + 2), .fields = slice_of(p + NEWS_HEAD, n - NEWS_HEAD)};
        return 1;
    }
    return 0;
}

/* A key as conv_key.h makes it. */
static bool conv_sane(struct slice key)
{
    struct slice lo, hi;
    if (!key.n || key.n > CONV_KEY_MAX)
        return false;
    if (conv_is_channel(key))
        return value_channel(conv_channel_name(key));
    conv_pair_users(key, &lo, &hi);
    return key.p[0] == 'p' && value_user_id(lo) && value_user_id(hi) && slice_cmp(lo, hi) <= 0;
}

static bool slice_sane(struct slice s, enum as as)
{
    switch (as) {
    case AS_CONV:
        return conv_sane(s);
    case AS_USER:
        return value_user_id(s);
    case AS_USER_IF:
        return !s.n || value_user_id(s);
    case AS_NAME:
    case AS_TEXT:
        return utf8_valid(s);
    default:
        return true;
    }
}

/* How many values an enum has that is one byte. */
static unsigned values(enum as as)
{
    return as == AS_BOOL    ? 2
           : as == AS_TIER  ? TIER_COUNT
           : as == AS_PUSH  ? MODE_NONE + 1
           : as == AS_ORDER ? ORDER_REMOVE + 1
                            : UINT8_MAX + 1;
}

static bool get_byte(struct reply_in *in, void *at, enum as as)
{
    uint8_t v = reply_u8(in);
    bool sane = v < values(as);
    if (as == AS_BOOL)
        *(bool *)at = v == 1;
    else
        *(uint8_t *)at = v;
    return sane;
}

/* Whether it is as a node would write it. */
static bool get_field(struct reply_in *in, void *at, enum as as)
{
    struct slice *s = at;
    switch (as) {
    case AS_U16:
        *(uint16_t *)at = reply_u16(in);
        return true;
    case AS_U32:
        *(uint32_t *)at = reply_u32(in);
        return true;
    case AS_U48:
        *(uint64_t *)at = reply_u48(in);
        return true;
    case AS_U64:
        *(uint64_t *)at = reply_u64(in);
        return true;
    case AS_CONV:
    case AS_USER:
    case AS_USER_IF:
    case AS_NAME:
        *s = reply_slice8(in);
        return slice_sane(*s, as);
    case AS_TEXT:
    case AS_BYTES:
        *s = reply_slice32(in);
        return slice_sane(*s, as);
    case AS_END:
        return true;
    default:
        return get_byte(in, at, as);
    }
}

static int get(const struct news_in *from, const struct field *list, void *to)
{
    struct reply_in in = {from->fields.p, from->fields.p + from->fields.n, false};
    if (!list)
        return ERR_INVALID;
    for (; list->as; list++)
        if (!get_field(&in, (char *)to + list->at, (enum as)list->as) || !reply_ok(&in))
            return ERR_INVALID;
    return reply_left(&in) ? ERR_INVALID : 0;
}

/* News of a message say whom they are for where it is private, and only there. */
static bool news_sane(const struct bus_news *n)
{
    struct slice lo, hi;
    if (n->kind > NEWS_EDITED)
        return n->kind != NEWS_CHANNEL || conv_is_channel(n->conv);
    if (conv_is_channel(n->conv))
        return !n->user.n && !n->arrival;
    conv_pair_users(n->conv, &lo, &hi);
    return slice_eq(n->user, lo) || slice_eq(n->user, hi);
}

int news_read(const struct news_in *in, struct bus_news **out)
{
    struct bus_news n = {.kind = in->kind, .origin = in->origin};
    *out = NULL;
    int r = get(in, news_list(in->kind), &n);
    if (r || !news_sane(&n))
        return ERR_INVALID;
    struct bus_news *copy = malloc(sizeof *copy + in->fields.n);
    if (!copy)
        return ERR_NOMEM;
    *copy = n;
    if (in->fields.n)
        memcpy(copy->data, in->fields.p, in->fields.n);
    struct slice *const all[] = {&copy->conv, &copy->user, &copy->sender, &copy->name, &copy->content, &copy->advice};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        *all[i] = all[i]->n ? slice_of(copy->data + (all[i]->p - in->fields.p), all[i]->n) : SLICE_NONE;
    *out = copy;
    return 0;
}

int news_more_read(const struct news_in *in, struct news_more *out)
{
    *out = (struct news_more){.kind = in->kind, .origin = in->origin};
    return get(in, more_list(in->kind), out);
}
