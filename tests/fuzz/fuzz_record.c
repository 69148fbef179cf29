/*
 * The decoders of stored records: never a byte read outside; slices lie inside the value; what they take, the encoder
 * writes again to the byte. The first byte picks the record.
 */
#include "storage/local/limits.h"
#include "storage/local/record.h"

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

/* What was decoded and encoded again is what it was. */
static void same(struct slice value, const char *out, size_t n)
{
    must(n == value.n && memcmp(out, value.p, n) == 0);
}

static void message(struct slice v, char *out)
{
    struct message_record m;
    if (message_decode(v, &m) == 0) {
        inside(m.sender, v);
        inside(m.sender_name, v);
        inside(m.content, v);
        must(message_size(&m) == v.n);
        same(v, out, message_encode(out, &m));
    }
}

static void head(struct slice v, char *out)
{
    struct head_record h;
    if (head_decode(v, &h) == 0) {
        must(h.tier < 3 && h.seq + 1 > h.seq && h.reserved + 1 > h.reserved);
        same(v, out, head_encode(out, &h));
    }
}

static void inbox(struct slice v, char *out)
{
    struct inbox_record r;
    if (inbox_decode(v, &r) == 0) {
        struct slice lo, hi;
        inside(r.conv, v);
        must(r.conv.n <= CONV_KEY_MAX);
        must(r.row.cls >= EXPIRY_DM && r.row.cls <= EXPIRY_LARGE); /* it picks a family */
        conv_pair_users(r.conv, &lo, &hi);
        inside(lo, r.conv);
        inside(hi, r.conv);
        must(inbox_size(&r) == v.n);
        same(v, out, inbox_encode(out, &r));
    }
}

static void small(struct slice v, char *out, unsigned kind)
{
    struct dedup_record d;
    struct user_record u;
    uint64_t read;
    struct sub_record sub;
    if (kind == 0 && dedup_decode(v, &d) == 0) {
        same(v, out, dedup_encode(out, &d));
    } else if (kind == 1 && user_decode(v, &u) == 0) {
        inside(u.name, v);
        must(user_size(&u) == v.n);
        same(v, out, user_encode(out, &u));
    } else if (kind == 2 && mark_decode(v, &read) == 0) {
        same(v, out, mark_encode(out, read));
    } else if (kind == 3 && sub_decode(v, &sub) == 0) {
        must(sub.push < 4);
        same(v, out, sub_encode(out, &sub));
    }
}

/* The row of limits, by a run whose options are all unlimited: what it takes fits a row again. */
static void limits(struct slice v)
{
    struct expiry e = {0};
    struct store_options o = {0};
    struct limits l;
    char out[LIMITS_SIZE];
    limits_init(&l, &e, &o);
    if (limits_restore(&l, v, UINT64_MAX / 2) == 0)
        must(limits_encode(&l, 1, out) <= LIMITS_SIZE);
    for (unsigned t = 0; t < TIER_COUNT; t++)
        (void)limits_max(&l, t, 1);
    limits_fini(&l);
}

/* Keys as they come from the database. */
static void key(struct slice v)
{
    uint64_t n;
    inside(key_tail(v), v);
    if (key_tail_u64(v, &n))
        must(v.n >= 10);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    char *out = malloc(size + 256), *copy = malloc(size);
    memcpy(copy, data + 1, size - 1);
    struct slice v = slice_of(copy, size - 1); /* memory of its own: so that reading beyond its end is seen */
    struct row_header row;
    struct expiry e = {0};
    switch (data[0] % 9) {
    case 0:
        message(v, out);
        break;
    case 1:
        head(v, out);
        break;
    case 2:
        inbox(v, out);
        break;
    case 8:
        key(v);
        break;
    default:
        small(v, out, data[0] % 9 - 3u);
        break;
    }
    if (row_decode(v, &row) == 0) {
        must(row.cls < EXPIRY_CLASSES && row.birth_ms <= ROW_MS_MAX && row.ttl_ms <= ROW_MS_MAX);
        must(!row_expired(&row, &e, row.birth_ms));
    }
    limits(v);
    free(copy);
    free(out);
    return 0;
}
