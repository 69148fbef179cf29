/* The records of an export: how each stands in a block, and what is allowed in it. See dump.h. */
#include "core/base/buf.h"
#include "storage/conv_key.h"
#include "storage/dump.h"

#include <string.h>

/* --- The fields --------------------------------------------------------------------------------------------------- */

enum type {
    T_END, /* of a record's fields */
    T_U8,
    T_U16,
    T_U32,
    T_U64, /* any */
    T_MS,  /* u64: a time or a span, below 2^48 */
    T_SEQ, /* u64: below 2^48 */
    T_ID,  /* text of 1-64 bytes without control characters: a user's id */
    T_CONV /* a conversation's key */,
    T_CLIENT, /* 1-64 bytes */
    T_NAME,   /* 0-255 bytes: a name, or a note's key, which is not empty */
    T_LONG    /* u32 length */
};

struct field {
    uint8_t type;   /* enum type */
    uint8_t max;    /* T_U8: the largest value, which for flags means all of them */
    uint16_t place; /* in struct dump_record */
};

#define F(t, kind, name)                                                                                               \
    {                                                                                                                  \
        .type = (t), .place = offsetof(struct dump_record, kind.name)                                                  \
    }
#define SMALL(kind, name, most)                                                                                        \
    {                                                                                                                  \
        .type = T_U8, .max = (most), .place = offsetof(struct dump_record, kind.name)                                  \
    }

enum { FIELDS_MAX = 13 };

/* In the order of the file. README.md has the same table. */
static const struct {
    const char *name;
    struct field fields[FIELDS_MAX];
} kinds[DUMP_KINDS] = {
    [DUMP_STORE] = {"stores",
                    {F(T_MS, store, clock_ms), F(T_MS, store, steady_ms), F(T_MS, store, paused_from_ms),
                     F(T_U64, store, last_id), SMALL(store, flags, DUMP_PAUSED | DUMP_UNSURE),
                     F(T_NAME, store, moves)}},
    [DUMP_USER] = {"users",
                   {F(T_ID, user, id), F(T_NAME, user, name), F(T_U32, user, epoch), F(T_MS, user, due_ms),
                    F(T_MS, user, revoked_ms), SMALL(user, flags, DUMP_GUEST)}},
    [DUMP_DELETED] = {"deleted users",
                      {F(T_ID, deleted, id), F(T_U64, deleted, last_id), F(T_U32, deleted, epoch),
                       SMALL(deleted, flags, DUMP_GONE_NOW | DUMP_GOING | DUMP_GOING_ALL)}},
    [DUMP_CONV] = {"conversations",
                   {F(T_CONV, conv, key), F(T_SEQ, conv, seq), F(T_SEQ, conv, given), F(T_SEQ, conv, low),
                    F(T_U64, conv, last_id), F(T_SEQ, conv, skip_at), F(T_MS, conv, gone_ms), F(T_U32, conv, skip),
                    F(T_U32, conv, max), SMALL(conv, tier, 2),
                    SMALL(conv, flags, DUMP_CONV_MADE | DUMP_CONV_GONE | DUMP_CONV_CLOSING)}},
    [DUMP_MESSAGE] = {"messages",
                      {F(T_SEQ, message, seq), F(T_U64, message, id), F(T_MS, message, created_ms),
                       F(T_MS, message, birth_ms), F(T_MS, message, ttl_ms), F(T_MS, message, edited_ms),
                       SMALL(message, tier, 2), SMALL(message, flags, DUMP_RECALLED | DUMP_EDITED),
                       F(T_ID, message, sender), F(T_NAME, message, name), F(T_LONG, message, content)}},
    [DUMP_MEMBER] = {"memberships",
                     {F(T_ID, member, user), F(T_CONV, member, conv), F(T_SEQ, member, read), SMALL(member, push, 3),
                      SMALL(member, flags, DUMP_EVENTS)}},
    [DUMP_PAIR] = {"private conversations of users",
                   {F(T_ID, pair, user), F(T_CONV, pair, conv), F(T_SEQ, pair, read)}},
    [DUMP_BLOCK] = {"blocks", {F(T_ID, block, user), F(T_ID, block, target)}},
    [DUMP_INBOX] = {"inbox entries",
                    {F(T_ID, inbox, user), F(T_CONV, inbox, conv), F(T_U64, inbox, id), F(T_SEQ, inbox, seq),
                     F(T_MS, inbox, birth_ms), F(T_MS, inbox, ttl_ms), SMALL(inbox, tier, 2)}},
    [DUMP_DEDUP] = {"clientIds",
                    {F(T_ID, dedup, sender), F(T_CONV, dedup, conv), F(T_CLIENT, dedup, client_id),
                     F(T_SEQ, dedup, seq), F(T_U64, dedup, id), F(T_MS, dedup, created_ms), F(T_MS, dedup, birth_ms)}},
    [DUMP_DIGEST] = {"digests of clientIds",
                     {F(T_U16, digest, part), F(T_CLIENT, digest, digest), F(T_SEQ, digest, seq), F(T_U64, digest, id),
                      F(T_MS, digest, created_ms)}},
    [DUMP_NOTE] = {"notes", {F(T_NAME, note, key), F(T_LONG, note, value)}},
    [DUMP_FLOOR] = {"floors of names", {F(T_U16, floor, place), F(T_SEQ, floor, seq)}},
    [DUMP_END] = {"ends", {F(T_NAME, end, counts)}},
};

const char *dump_kind_name(enum dump_kind kind)
{
    return kind > 0 && kind < DUMP_KINDS ? kinds[kind].name : "records";
}

/* --- What is allowed ---------------------------------------------------------------------------------------------- */

/* Ids become parts of keys, in which control characters end something. */
static bool id_sane(struct slice id)
{
    for (size_t i = 0; i < id.n; i++)
        if ((uint8_t)id.p[i] < 0x20)
            return false;
    return id.n >= 1 && id.n <= 64;
}

static bool conv_sane(struct slice key)
{
    struct slice lo, hi;
    if (key.n < 2 || key.n > CONV_KEY_MAX)
        return false;
    if (conv_is_channel(key))
        return id_sane(conv_channel_name(key));
    if (key.p[0] != 'p')
        return false;
    conv_pair_users(key, &lo, &hi);
    return id_sane(lo) && id_sane(hi) && slice_cmp(lo, hi) <= 0;
}

static bool pair_has(struct slice conv, struct slice user)
{
    struct slice lo, hi;
    if (conv_is_channel(conv))
        return false;
    conv_pair_users(conv, &lo, &hi);
    return slice_eq(lo, user) || slice_eq(hi, user);
}

static bool conv_record_sane(const struct dump_conv *c)
{
    unsigned kind = c->flags & (DUMP_CONV_MADE | DUMP_CONV_GONE);
    bool channel = conv_is_channel(c->key);
    bool state = channel ? kind == DUMP_CONV_MADE || (c->flags == DUMP_CONV_GONE && c->low == c->seq) : c->flags == 0;
    return state && c->given >= c->seq && c->low <= c->seq;
}

/* What holds between the fields of a record. */
static bool record_sane(const struct dump_record *r)
{
    switch (r->kind) {
    case DUMP_STORE:
        return r->store.moves.n % 16 == 0 && r->store.flags != DUMP_UNSURE;
    case DUMP_USER:
        return r->user.flags || !r->user.due_ms;
    case DUMP_DELETED:
        return r->deleted.flags == 0 || r->deleted.flags & DUMP_GONE_NOW;
    case DUMP_CONV:
        return conv_record_sane(&r->conv);
    case DUMP_MESSAGE:
        return r->message.seq && r->message.id && r->message.content.n <= DUMP_CONTENT_MAX &&
               !(r->message.flags & DUMP_RECALLED && r->message.content.n) &&
               !(r->message.flags & DUMP_EDITED) == !r->message.edited_ms;
    case DUMP_MEMBER:
        return conv_is_channel(r->member.conv);
    case DUMP_PAIR:
        return pair_has(r->pair.conv, r->pair.user);
    case DUMP_INBOX:
        return r->inbox.id && r->inbox.seq;
    case DUMP_DEDUP:
        return r->dedup.seq && r->dedup.id;
    case DUMP_DIGEST:
        return r->digest.seq && r->digest.id && r->digest.digest.n == 16 && r->digest.part < 1024;
    case DUMP_NOTE:
        return r->note.key.n >= 1 && r->note.key.n <= 200 && r->note.value.n <= DUMP_NOTE_MAX;
    case DUMP_END:
        return r->end.counts.n == (DUMP_END - 1) * 8;
    default:
        return true;
    }
}

/* --- Reading and writing ------------------------------------------------------------------------------------------ */

static const uint64_t small_max = (UINT64_C(1) << 48) - 1; /* of times and seqs */

static bool text_sane(enum type type, struct slice s)
{
    switch (type) {
    case T_ID:
        return id_sane(s);
    case T_CONV:
        return conv_sane(s);
    case T_CLIENT:
        return s.n >= 1 && s.n <= 64;
    case T_NAME:
        return s.n <= 255;
    default:
        return s.n <= UINT32_MAX;
    }
}

/* A number's bytes; 0: it is a text. */
static unsigned width(enum type type)
{
    return type == T_U8 ? 1 : type == T_U16 ? 2 : type == T_U32 ? 4 : type <= T_SEQ ? 8 : 0;
}

static bool number_sane(const struct field *f, uint64_t v)
{
    return f->type == T_U8 ? v <= f->max : f->type == T_MS || f->type == T_SEQ ? v <= small_max : true;
}

static uint64_t number_get(const struct field *f, const struct dump_record *r)
{
    const char *p = (const char *)r + f->place;
    switch (width((enum type)f->type)) {
    case 1:
        return *(const uint8_t *)p;
    case 2:
        return *(const uint16_t *)(const void *)p;
    case 4:
        return *(const uint32_t *)(const void *)p;
    default:
        return *(const uint64_t *)(const void *)p;
    }
}

static void number_set(const struct field *f, struct dump_record *r, uint64_t v)
{
    char *p = (char *)r + f->place;
    switch (width((enum type)f->type)) {
    case 1:
        *(uint8_t *)p = (uint8_t)v;
        break;
    case 2:
        *(uint16_t *)(void *)p = (uint16_t)v;
        break;
    case 4:
        *(uint32_t *)(void *)p = (uint32_t)v;
        break;
    default:
        *(uint64_t *)(void *)p = v;
    }
}

static struct slice *text_of(const struct field *f, const struct dump_record *r)
{
    return (struct slice *)(uintptr_t)((const char *)r + f->place);
}

static bool allowed(const struct dump_record *r)
{
    if (r->kind < DUMP_STORE || r->kind >= DUMP_KINDS)
        return false;
    for (const struct field *f = kinds[r->kind].fields; f->type != T_END; f++)
        if (width((enum type)f->type) ? !number_sane(f, number_get(f, r))
                                      : !text_sane((enum type)f->type, *text_of(f, r)))
            return false;
    return record_sane(r);
}

int dump_encode(struct buf *out, const struct dump_record *r)
{
    if (!allowed(r))
        return ERR_INVALID;
    buf_byte(out, (uint8_t)r->kind);
    for (const struct field *f = kinds[r->kind].fields; f->type != T_END; f++) {
        unsigned n = width((enum type)f->type);
        char bytes[8];
        store_be64(bytes, n ? number_get(f, r) : text_of(f, r)->n);
        n = n ? n : f->type == T_LONG ? 4 : 1;
        buf_put(out, bytes + 8 - n, n);
        if (!width((enum type)f->type))
            buf_slice_put(out, *text_of(f, r));
    }
    return 0;
}

/* Takes a big-endian number of n bytes. */
static bool take(struct slice *bytes, unsigned n, uint64_t *v)
{
    *v = 0;
    if (bytes->n < n)
        return false;
    for (unsigned i = 0; i < n; i++)
        *v = *v << 8 | (uint8_t)bytes->p[i];
    *bytes = slice_of(bytes->p + n, bytes->n - n);
    return true;
}

int dump_decode(struct slice *bytes, struct dump_record *r)
{
    struct slice rest = *bytes;
    uint64_t v;
    if (!take(&rest, 1, &v) || v < DUMP_STORE || v >= DUMP_KINDS)
        return ERR_INVALID;
    *r = (struct dump_record){.kind = (enum dump_kind)v};
    for (const struct field *f = kinds[r->kind].fields; f->type != T_END; f++) {
        unsigned n = width((enum type)f->type);
        if (!take(&rest, n ? n : f->type == T_LONG ? 4 : 1, &v) || (!n && v > rest.n))
            return ERR_INVALID;
        if (n) {
            number_set(f, r, v);
            continue;
        }
        *text_of(f, r) = slice_of(rest.p, (size_t)v);
        rest = slice_of(rest.p + v, rest.n - (size_t)v);
    }
    if (!allowed(r))
        return ERR_INVALID;
    *bytes = rest;
    return 0;
}
