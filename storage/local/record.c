/* Stored records: see record.h. */
#include "storage/local/record.h"

static char *put_slice(char *p, struct slice s)
{
    if (s.n)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

size_t message_size(const struct message_record *m)
{
    return MESSAGE_FIXED + (m->row.flags & ROW_EDITED ? MESSAGE_EDITED : 0) + m->sender.n + m->sender_name.n +
           m->content.n;
}

size_t message_encode(char *out, const struct message_record *m)
{
    char *p = row_encode(out, &m->row);
    store_be64(p, m->id);
    store_be64(p + 8, m->created_ms);
    p[16] = (char)m->sender.n;
    p[17] = (char)m->sender_name.n;
    p += 18;
    if (m->row.flags & ROW_EDITED) {
        store_be64(p, m->edited_ms);
        p += MESSAGE_EDITED;
    }
    p = put_slice(put_slice(put_slice(p, m->sender), m->sender_name), m->content);
    return (size_t)(p - out);
}

int message_decode(struct slice v, struct message_record *m)
{
    if (v.n < MESSAGE_FIXED || row_decode(v, &m->row))
        return ERR_INVALID;
    const char *p = v.p + ROW_HEADER_SIZE;
    m->id = load_be64(p);
    m->created_ms = load_be64(p + 8);
    size_t sender = (uint8_t)p[16], name = (uint8_t)p[17], rest = v.n - MESSAGE_FIXED;
    p += 18;
    m->edited_ms = 0;
    if (m->row.flags & ROW_EDITED) {
        if (rest < MESSAGE_EDITED)
            return ERR_INVALID;
        m->edited_ms = load_be64(p);
        p += MESSAGE_EDITED;
        rest -= MESSAGE_EDITED;
    }
    if (sender + name > rest || ((m->row.flags & ROW_RECALLED) && sender + name != rest))
        return ERR_INVALID;
    m->sender = slice_of(p, sender);
    m->sender_name = slice_of(p + sender, name);
    m->content = slice_of(p + sender + name, rest - sender - name);
    return 0;
}

size_t head_size(const struct head_record *h)
{
    return h->flags & HEAD_GONE ? GONE_SIZE : HEAD_SIZE;
}

/* Flags of a head's value: which of the two forms it has, and HEAD_WATCHED of one that is gone. */
enum { FORM_GONE = 1, FORM_GONE_WATCHED = 2 };

static size_t gone_encode(char *out, const struct head_record *h)
{
    out[0] = RECORD_VERSION;
    out[1] = FORM_GONE | (h->flags & HEAD_WATCHED ? FORM_GONE_WATCHED : 0);
    store_be64(out + 2, h->seq);
    store_be64(out + 10, h->gone_ms);
    return GONE_SIZE;
}

static int gone_decode(struct slice v, struct head_record *h)
{
    uint64_t seq = load_be64(v.p + 2);
    if (v.p[1] & ~FORM_GONE_WATCHED & ~FORM_GONE || seq >= UINT64_MAX / 4)
        return ERR_INVALID;
    *h = (struct head_record){.seq = seq,
                              .low = {seq, seq, seq},
                              .gone_ms = load_be64(v.p + 10),
                              .flags = HEAD_GONE | (v.p[1] & FORM_GONE_WATCHED ? HEAD_WATCHED : 0)};
    return 0;
}

size_t head_encode(char *out, const struct head_record *h)
{
    if (h->flags & HEAD_GONE)
        return gone_encode(out, h);
    const uint64_t wide[8] = {h->seq, h->last_id, h->reserved, h->low[0], h->low[1], h->low[2], h->skip_at, h->losses};
    const uint32_t narrow[4] = {h->skip, h->max, h->members, h->flags};
    char *p = out;
    *p++ = RECORD_VERSION;
    *p++ = 0;
    for (int i = 0; i < 8; i++, p += 8)
        store_be64(p, wide[i]);
    for (int i = 0; i < 4; i++, p += 4)
        store_be32(p, narrow[i]);
    *p++ = (char)h->tier;
    *p++ = (char)h->tiers_used;
    return (size_t)(p - out);
}

int head_decode(struct slice v, struct head_record *h)
{
    if (v.n == GONE_SIZE && v.p[0] == RECORD_VERSION && v.p[1] & FORM_GONE)
        return gone_decode(v, h);
    if (v.n != HEAD_SIZE || v.p[0] != RECORD_VERSION || v.p[1] != 0)
        return ERR_INVALID;
    const char *p = v.p + 2;
    h->gone_ms = 0;
    h->seq = load_be64(p);
    h->last_id = load_be64(p + 8);
    h->reserved = load_be64(p + 16);
    for (int i = 0; i < 3; i++)
        h->low[i] = load_be64(p + 24 + 8 * i);
    h->skip_at = load_be64(p + 48);
    h->losses = load_be64(p + 56);
    p += 64;
    h->skip = load_be32(p);
    h->max = load_be32(p + 4);
    h->members = load_be32(p + 8);
    h->flags = load_be32(p + 12);
    h->tier = (uint8_t)p[16];
    h->tiers_used = (uint8_t)p[17];
    uint32_t kind = h->flags & ~(uint32_t)HEAD_WATCHED;
    bool sane = h->seq < UINT64_MAX / 4 && h->reserved < UINT64_MAX / 4 && h->tier < 3 && h->tiers_used < 8 &&
                (kind <= HEAD_CHANNEL || kind == (HEAD_CHANNEL | HEAD_CLOSING)) && h->flags != HEAD_WATCHED;
    return sane ? 0 : ERR_INVALID;
}

size_t inbox_size(const struct inbox_record *r)
{
    return INBOX_FIXED + r->conv.n;
}

size_t inbox_encode(char *out, const struct inbox_record *r)
{
    char *p = row_encode(out, &r->row);
    store_be64(p, r->seq);
    return (size_t)(put_slice(p + 8, r->conv) - out);
}

int inbox_decode(struct slice v, struct inbox_record *r)
{
    if (v.n < INBOX_FIXED + 2 || v.n > INBOX_FIXED + CONV_KEY_MAX || row_decode(v, &r->row))
        return ERR_INVALID;
    r->seq = load_be64(v.p + ROW_HEADER_SIZE);
    r->conv = slice_of(v.p + INBOX_FIXED, v.n - INBOX_FIXED);
    return r->row.cls <= EXPIRY_LARGE && (r->conv.p[0] == 'c' || r->conv.p[0] == 'p') ? 0 : ERR_INVALID;
}

size_t dedup_encode(char *out, const struct dedup_record *r)
{
    char *p = row_encode(out, &r->row);
    store_be64(p, r->seq);
    store_be64(p + 8, r->id);
    store_be64(p + 16, r->created_ms);
    return DEDUP_SIZE;
}

int dedup_decode(struct slice v, struct dedup_record *r)
{
    if (v.n != DEDUP_SIZE || row_decode(v, &r->row) || r->row.cls != EXPIRY_DEDUP)
        return ERR_INVALID;
    const char *p = v.p + ROW_HEADER_SIZE;
    r->seq = load_be64(p);
    r->id = load_be64(p + 8);
    r->created_ms = load_be64(p + 16);
    return 0;
}

/* Bits of a user's second byte. USER_REVOKED: revoked_ms stands before the name. */
enum { USER_GUEST = 1, USER_REVOKED = 2 };

size_t user_size(const struct user_record *u)
{
    return USER_FIXED + (u->revoked_ms ? 8 : 0) + u->name.n;
}

size_t user_encode(char *out, const struct user_record *u)
{
    out[0] = RECORD_VERSION;
    char *at = out + USER_FIXED;
    out[1] = (char)((u->guest ? USER_GUEST : 0) | (u->revoked_ms ? USER_REVOKED : 0));
    store_be32(out + 2, u->epoch);
    store_be64(out + 6, u->due_ms);
    if (u->revoked_ms) {
        store_be64(at, u->revoked_ms);
        at += 8;
    }
    return (size_t)(put_slice(at, u->name) - out);
}

int user_decode(struct slice v, struct user_record *u)
{
    if (v.n < USER_FIXED || v.p[0] != RECORD_VERSION || v.p[1] & ~(USER_GUEST | USER_REVOKED))
        return ERR_INVALID;
    size_t fixed = USER_FIXED + (v.p[1] & USER_REVOKED ? 8 : 0);
    if (v.n < fixed)
        return ERR_INVALID;
    *u = (struct user_record){.epoch = load_be32(v.p + 2),
                              .guest = v.p[1] & USER_GUEST,
                              .due_ms = load_be64(v.p + 6),
                              .revoked_ms = fixed > USER_FIXED ? load_be64(v.p + USER_FIXED) : 0,
                              .name = slice_of(v.p + fixed, v.n - fixed)};
    return 0;
}

size_t mark_encode(char *out, uint64_t read)
{
    out[0] = RECORD_VERSION;
    out[1] = 0;
    store_be64(out + 2, read);
    return MARK_SIZE;
}

int mark_decode(struct slice v, uint64_t *read)
{
    if (v.n != MARK_SIZE || v.p[0] != RECORD_VERSION || v.p[1] != 0)
        return ERR_INVALID;
    *read = load_be64(v.p + 2);
    return 0;
}

/* Flags of a subscription's value. */
enum { FORM_EVENTS = 1 };

size_t sub_encode(char *out, const struct sub_record *r)
{
    out[0] = RECORD_VERSION;
    out[1] = r->events ? FORM_EVENTS : 0;
    out[2] = (char)r->push;
    return SUB_SIZE;
}

int sub_decode(struct slice v, struct sub_record *r)
{
    if (v.n != SUB_SIZE || v.p[0] != RECORD_VERSION || v.p[1] & ~FORM_EVENTS || (uint8_t)v.p[2] > 3)
        return ERR_INVALID;
    *r = (struct sub_record){.push = (uint8_t)v.p[2], .events = v.p[1] & FORM_EVENTS};
    return 0;
}

size_t deleted_encode(char *out, const struct deleted_record *d)
{
    out[0] = RECORD_VERSION;
    out[1] = (char)d->flags;
    store_be32(out + 2, d->epoch);
    store_be64(out + 6, d->last_id);
    return DELETED_SIZE;
}

int deleted_decode(struct slice v, struct deleted_record *d)
{
    if (v.n != DELETED_SIZE || v.p[0] != RECORD_VERSION || (uint8_t)v.p[1] > 7)
        return ERR_INVALID;
    *d = (struct deleted_record){.flags = (uint8_t)v.p[1], .epoch = load_be32(v.p + 2), .last_id = load_be64(v.p + 6)};
    return 0;
}

size_t flag_encode(char *out)
{
    out[0] = RECORD_VERSION;
    out[1] = 0;
    return 2;
}

/* --- Keys ------------------------------------------------------------------------------------------------ */

static void key_add(struct key *k, struct slice s)
{
    ASSERT(k->n + s.n <= KEY_MAX);
    if (s.n) {
        memcpy(k->p + k->n, s.p, s.n);
        k->n += s.n;
    }
}

static void key_byte(struct key *k, char c)
{
    ASSERT(k->n < KEY_MAX);
    k->p[k->n++] = c;
}

static void key_u64(struct key *k, uint64_t v)
{
    ASSERT(k->n + 8 <= KEY_MAX);
    store_be64(k->p + k->n, v);
    k->n += 8;
}

/* letter a 0 b */
static struct slice key_two(struct key *k, char letter, struct slice a, struct slice b)
{
    k->n = 0;
    key_byte(k, letter);
    key_add(k, a);
    key_byte(k, '\0');
    key_add(k, b);
    return key_slice(k);
}

/* a 0 n */
static struct slice key_numbered(struct key *k, struct slice a, uint64_t n)
{
    k->n = 0;
    key_add(k, a);
    key_byte(k, '\0');
    key_u64(k, n);
    return key_slice(k);
}

static struct slice key_one(struct key *k, char letter, struct slice a)
{
    k->n = 0;
    key_byte(k, letter);
    key_add(k, a);
    return key_slice(k);
}

struct slice key_message(struct key *k, struct slice conv, uint64_t seq)
{
    return key_numbered(k, conv, seq);
}
struct slice key_head(struct key *k, struct slice conv)
{
    return key_one(k, 'h', conv);
}
struct slice key_member(struct key *k, struct slice channel, struct slice user)
{
    return key_two(k, 'm', channel, user);
}
struct slice key_user(struct key *k, struct slice user)
{
    return key_one(k, 'u', user);
}
struct slice key_deleted(struct key *k, struct slice user)
{
    return key_one(k, 'x', user);
}
struct slice key_going_user(struct key *k, struct slice user)
{
    return key_one(k, 'D', user);
}
struct slice key_going_channel(struct key *k, struct slice conv)
{
    return key_one(k, 'W', conv);
}
struct slice key_sub(struct key *k, struct slice user, struct slice conv)
{
    return key_two(k, 's', user, conv);
}
struct slice key_mark(struct key *k, struct slice user, struct slice conv)
{
    return key_two(k, 'r', user, conv);
}
struct slice key_block(struct key *k, struct slice user, struct slice target)
{
    return key_two(k, 'b', user, target);
}
struct slice key_inbox(struct key *k, struct slice user, uint64_t id)
{
    return key_numbered(k, user, id);
}

struct slice key_dedup(struct key *k, struct slice sender, struct slice conv, struct slice client_id)
{
    k->n = 0;
    key_add(k, sender);
    key_byte(k, '\0');
    key_byte(k, (char)conv.n);
    key_add(k, conv);
    key_add(k, client_id);
    return key_slice(k);
}

/* letter ms name */
static struct slice key_at(struct key *k, char letter, uint64_t ms, struct slice name)
{
    k->n = 0;
    key_byte(k, letter);
    key_u64(k, ms);
    key_add(k, name);
    return key_slice(k);
}

struct slice key_guest(struct key *k, uint64_t due_ms, struct slice user)
{
    return key_at(k, 'g', due_ms, user);
}
struct slice key_vacant(struct key *k, uint64_t due_ms, struct slice conv)
{
    return key_at(k, 'e', due_ms, conv);
}
struct slice key_gone(struct key *k, uint64_t gone_ms, struct slice conv)
{
    return key_at(k, 'o', gone_ms, conv);
}

struct slice key_floor(struct key *k, uint16_t place)
{
    k->n = 3;
    k->p[0] = 'f';
    store_be16(k->p + 1, place);
    return key_slice(k);
}

bool key_timed(struct slice key, uint64_t *ms, struct slice *name)
{
    if (key.n < 10)
        return false;
    *ms = load_be64(key.p + 1);
    *name = slice_of(key.p + 9, key.n - 9);
    return true;
}

struct slice key_after_prefix(struct key *k, struct slice prefix)
{
    k->n = 0;
    key_add(k, prefix);
    while (k->n && (uint8_t)k->p[k->n - 1] == 0xff)
        k->n--;
    ASSERT(k->n);
    k->p[k->n - 1]++;
    return key_slice(k);
}

bool key_tail_u64(struct slice key, uint64_t *out)
{
    if (key.n < 10 || key.p[key.n - 9] != '\0')
        return false;
    *out = load_be64(key.p + key.n - 8);
    return true;
}

struct slice key_tail(struct slice key)
{
    const char *zero = key.n ? memchr(key.p, '\0', key.n) : NULL;
    return zero ? slice_of(zero + 1, (size_t)(key.p + key.n - zero) - 1) : SLICE_NONE;
}
