/* What is kept in Redis, byte by byte: see layout.h. */
#include "storage/redis/layout.h"

#include "core/base/utf8.h"
#include "storage/conv_key.h"

#include <openssl/sha.h>

int layout_head(struct slice v, struct layout_head *h)
{
    const char *p = v.p;
    *h = (struct layout_head){0};
    if (v.n == 0)
        return 0;
    size_t fixed = v.n >= LAYOUT_HEAD_FIXED && p[0] == LAYOUT_CHANNEL ? LAYOUT_HEAD_CHANNEL
                   : v.n >= LAYOUT_HEAD_FIXED && p[0] == LAYOUT_PAIR  ? LAYOUT_HEAD_PAIR
                                                                      : SIZE_MAX;
    if (v.n < fixed || fixed == SIZE_MAX)
        return ERR_INVALID;
    h->kind = (uint8_t)p[0];
    h->flags = (uint8_t)p[1];
    h->tier = (uint8_t)p[2];
    h->used = (uint8_t)p[3];
    h->seq = layout_u48(p + 4);
    h->low = layout_u48(p + 10);
    h->last_id = load_be64(p + 16);
    h->max = load_be32(p + 24);
    h->edits = load_be32(p + 28);
    if (h->kind == LAYOUT_CHANNEL) {
        h->members = load_be32(p + 32);
        h->version = layout_u48(p + 36);
    } else {
        h->archived = layout_u48(p + 32);
        h->first = layout_u48(p + 38);
        h->k[0] = layout_u48(p + 44);
        h->k[1] = layout_u48(p + 50);
    }
    bool floors = h->flags & LAYOUT_FLOORS;
    if (v.n != fixed + (floors ? LAYOUT_FLOORS_SIZE : 0) || h->tier >= TIER_COUNT || h->low > h->seq)
        return ERR_INVALID;
    for (unsigned t = 0; floors && t < TIER_COUNT; t++)
        h->floors[t] = layout_u48(p + fixed + 6 * t);
    return 0;
}

int layout_meta(struct slice v, struct layout_record *m)
{
    const char *p = v.p;
    *m = (struct layout_record){0};
    if (v.n < LAYOUT_META || p[0] != LAYOUT_RECORD || (uint8_t)p[1] & ~LAYOUT_RECALLED || (uint8_t)p[2] >= TIER_COUNT)
        return ERR_INVALID;
    m->recalled = p[1] & LAYOUT_RECALLED;
    m->tier = (uint8_t)p[2];
    m->id = load_be64(p + 3);
    m->created_ms = layout_u48(p + 11);
    m->birth_ms = layout_u48(p + 17);
    m->ttl_ms = layout_u48(p + 23);
    return 0;
}

_Static_assert(LAYOUT_META == 29 + 2, "rev is behind it");

/* Whoever else writes to Redis or to the archive may have put there what is no text. Clients are sent nothing else. */
static struct slice text_of(struct slice s)
{
    return utf8_valid(s) ? s : utf8_prefix(s);
}

int layout_record(struct slice v, struct layout_record *m)
{
    const char *p = v.p;
    int r = layout_meta(v, m);
    if (r || v.n < LAYOUT_RECORD_FIXED)
        return ERR_INVALID;
    size_t sender = (uint8_t)p[37], name = (uint8_t)p[38];
    if (v.n < LAYOUT_RECORD_FIXED + sender + name)
        return ERR_INVALID;
    m->rev = load_be16(p + 29);
    m->edited_ms = layout_u48(p + 31);
    p += LAYOUT_RECORD_FIXED;
    size_t content = v.n - LAYOUT_RECORD_FIXED - sender - name;
    m->sender = text_of(slice_of(p, sender));
    m->sender_name = text_of(slice_of(p + sender, m->sender.n == sender ? name : 0));
    m->content = text_of(slice_of(p + sender + name, m->sender.n + m->sender_name.n == sender + name ? content : 0));
    return 0;
}

void layout_texts_put(struct buf *b, struct slice sender, struct slice name, struct slice content)
{
    buf_byte(b, (uint8_t)sender.n);
    buf_byte(b, (uint8_t)name.n);
    buf_slice_put(b, sender);
    buf_slice_put(b, name);
    buf_slice_put(b, content);
}

void layout_digest(char out[LAYOUT_DIGEST], struct slice sender, struct slice conv, struct slice client_id)
{
    unsigned char all[SHA256_DIGEST_LENGTH];
    char text[512];
    size_t n = 0;
    const struct slice parts[3] = {sender, conv, client_id};
    for (int i = 0; i < 3; i++) { /* 64 + 130 + 64 at most: append_sane() */
        if (i)
            text[n++] = '\0';
        memcpy(text + n, parts[i].p ? parts[i].p : "", parts[i].n);
        n += parts[i].n;
    }
    SHA256((const unsigned char *)text, n, all);
    memcpy(out, all, LAYOUT_DIGEST);
}

int layout_intent(struct slice v, struct layout_intent *i)
{
    struct slice lo, hi;
    if (v.n < 28 || v.p[25] != 'p')
        return ERR_INVALID;
    struct slice conv = slice_of(v.p + 25, v.n - 25);
    conv_pair_users(conv, &lo, &hi);
    bool high = v.p[24] != 0;
    *i = (struct layout_intent){.birth_ms = layout_u48(v.p),
                                .seq = layout_u48(v.p + 6),
                                .k = layout_u48(v.p + 12),
                                .ttl_ms = layout_u48(v.p + 18),
                                .sender = high ? hi : lo,
                                .receiver = high ? lo : hi,
                                .conv = conv};
    return lo.n && hi.n ? 0 : ERR_INVALID;
}

int layout_peer_read(struct slice v, uint64_t *read)
{
    if (v.n != LAYOUT_PEER_READ && (v.n < LAYOUT_PEER_PUT || (v.n - LAYOUT_PEER_PUT) % 6))
        return ERR_INVALID;
    *read = layout_u48(v.p);
    return 0;
}

int layout_sub(struct slice v, struct layout_sub *s)
{
    *s = (struct layout_sub){0};
    if (v.n == LAYOUT_SUB && v.p[0] == 1) {
        *s = (struct layout_sub){.member = true,
                                 .push = (uint8_t)v.p[1],
                                 .events = v.p[2] != 0,
                                 .read = layout_u48(v.p + 3),
                                 .version = layout_u48(v.p + 9)};
        return 0;
    }
    if (v.n != LAYOUT_LEFT || v.p[0] != 0)
        return ERR_INVALID;
    s->left_ms = layout_u48(v.p + 1);
    s->version = layout_u48(v.p + 7);
    return 0;
}

int layout_half(struct slice field, struct slice v, struct layout_half *h)
{
    const char *zero = field.n ? memchr(field.p, '\0', field.n) : NULL;
    if (!zero || v.n != LAYOUT_HALF || (uint8_t)v.p[12] > 1)
        return ERR_INVALID;
    size_t n = (size_t)(zero - field.p);
    *h = (struct layout_half){.birth_ms = layout_u48(v.p),
                              .version = layout_u48(v.p + 6),
                              .put = v.p[12] != 0,
                              .push = (uint8_t)v.p[13],
                              .events = (uint8_t)v.p[14],
                              .set = (uint8_t)v.p[15],
                              .seq = layout_u48(v.p + 16),
                              .conv = slice_of(field.p, n),
                              .user = slice_of(zero + 1, field.n - n - 1)};
    return h->conv.n && h->user.n ? 0 : ERR_INVALID;
}

int layout_gone(struct slice v, struct layout_gone *g)
{
    *g = (struct layout_gone){0};
    if (v.n == 0)
        return 0;
    if (v.n != LAYOUT_GONE)
        return ERR_INVALID;
    g->until = load_be64(v.p);
    g->now = v.p[8] != 0;
    return 0;
}

int layout_entry(struct slice v, struct layout_entry *e)
{
    if (v.n < LAYOUT_ENTRY)
        return ERR_INVALID;
    *e = (struct layout_entry){.seq = layout_u48(v.p),
                               .birth_ms = layout_u48(v.p + 6),
                               .ttl_ms = layout_u48(v.p + 12),
                               .peer = slice_of(v.p + LAYOUT_ENTRY, v.n - LAYOUT_ENTRY)};
    return 0;
}

bool layout_past_put(char out[LAYOUT_PAST], const struct layout_rule *rule)
{
    bool any = false;
    for (unsigned i = 0; i < TIER_COUNT * LAYOUT_COUNTS; i++, out += 11) {
        uint64_t until = rule->past[i / LAYOUT_COUNTS][i % LAYOUT_COUNTS].until;
        uint32_t max = rule->past[i / LAYOUT_COUNTS][i % LAYOUT_COUNTS].max;
        out[0] = (char)(until >> 48);
        layout_put48(out + 1, until & ((UINT64_C(1) << 48) - 1));
        store_be32(out + 7, max);
        any = any || max;
    }
    return any;
}

void layout_rule_put(char out[LAYOUT_RULE], const struct layout_rule *rule)
{
    layout_put48(out, rule->now_ms);
    for (unsigned t = 0; t < TIER_COUNT; t++) {
        layout_put48(out + 6 + 6 * t, rule->born[t]);
        store_be32(out + 24 + 4 * t, rule->max[t]);
    }
    (void)layout_past_put(out + 36, rule);
}
