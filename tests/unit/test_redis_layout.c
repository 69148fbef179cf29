/* What stands in Redis, byte by byte (layout.c), and what of it is visible (rule.c). */
#include "storage/redis/layout.h"
#include "storage/redis/rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Bytes of a value, put together from the front. */
struct value {
    size_t n;
    char p[256];
};
static void put(struct value *v, unsigned bytes, uint64_t number)
{
    for (unsigned i = 0; i < bytes; i++)
        v->p[v->n++] = (char)(number >> 8 * (bytes - 1 - i));
}
static void puts_(struct value *v, const char *s)
{
    memcpy(v->p + v->n, s, strlen(s));
    v->n += strlen(s);
}
static struct slice all(const struct value *v)
{
    return slice_of(v->p, v->n);
}

/* No beginning of it, nor anything longer, is one: and nothing is read behind its end. */
#define WHOLE(v, decode, what)                                                                                         \
    for (size_t n_ = 0; n_ <= (v).n + 1; n_++) {                                                                       \
        char *copy_ = malloc(n_ ? n_ : 1); /* to the byte, for sanitizers */                                           \
        memcpy(copy_, (v).p, n_);                                                                                      \
        if (n_ != (v).n && !(n_ == 0 && (what)))                                                                       \
            assert_int_equal(decode, ERR_INVALID);                                                                     \
        free(copy_);                                                                                                   \
    }
#define CUT slice_of(copy_, n_)

static struct value head_of(unsigned kind, unsigned flags)
{
    struct value v = {0};
    put(&v, 1, kind), put(&v, 1, flags), put(&v, 1, 2), put(&v, 1, 5);
    put(&v, 6, 1000), put(&v, 6, 900), put(&v, 8, 0xfedcba9876543210), put(&v, 4, 77), put(&v, 4, 88);
    if (kind == LAYOUT_CHANNEL)
        put(&v, 4, 12), put(&v, 6, 34);
    else
        put(&v, 6, 850), put(&v, 6, 3), put(&v, 6, 400), put(&v, 6, 600);
    for (unsigned t = 0; flags & LAYOUT_FLOORS && t < 3; t++)
        put(&v, 6, 950 + t);
    return v;
}

static void heads(void **state)
{
    (void)state;
    struct layout_head h;
    assert_int_equal(layout_head(SLICE_NONE, &h), 0);
    assert_int_equal(h.kind, 0);
    for (unsigned kind = 1; kind <= 2; kind++) {
        for (unsigned flags = 1; flags <= 0xff; flags += 0x7e) {
            struct value v = head_of(kind, flags);
            assert_int_equal(layout_head(all(&v), &h), 0);
            assert_true(h.kind == kind && h.flags == flags && h.tier == 2 && h.used == 5 && h.seq == 1000 &&
                        h.low == 900 && h.last_id == 0xfedcba9876543210 && h.max == 77 && h.edits == 88);
            assert_true(kind == LAYOUT_CHANNEL ? h.members == 12 && h.version == 34 && !h.k[0]
                                               : h.archived == 850 && h.first == 3 && h.k[0] == 400 && h.k[1] == 600);
            assert_int_equal(h.floors[2], flags & LAYOUT_FLOORS ? 952 : 0);
            WHOLE(v, layout_head(CUT, &h), true);
        }
    }
    struct value v = head_of(3, 0);
    assert_int_equal(layout_head(all(&v), &h), ERR_INVALID);
    v = head_of(1, 0);
    v.p[2] = 3; /* no tier */
    assert_int_equal(layout_head(all(&v), &h), ERR_INVALID);
    v = head_of(1, 0);
    v.p[10] = 1; /* low above seq */
    assert_int_equal(layout_head(all(&v), &h), ERR_INVALID);
}

static void records(void **state)
{
    (void)state;
    struct value v = {0};
    struct layout_record m;
    put(&v, 1, 1), put(&v, 1, 1), put(&v, 1, 2), put(&v, 8, 42), put(&v, 6, 100), put(&v, 6, 101), put(&v, 6, 5000);
    put(&v, 2, 7), put(&v, 6, 200), put(&v, 1, 3), put(&v, 1, 4), puts_(&v, "annAnnacontent");
    assert_int_equal(layout_record(all(&v), &m), 0);
    assert_true(m.recalled && m.tier == 2 && m.id == 42 && m.created_ms == 100 && m.birth_ms == 101 &&
                m.ttl_ms == 5000 && m.rev == 7 && m.edited_ms == 200);
    assert_true(slice_eq(m.sender, SLICE_LIT("ann")) && slice_eq(m.sender_name, SLICE_LIT("Anna")) &&
                slice_eq(m.content, SLICE_LIT("content")));
    for (size_t n = 0; n < v.n - 7; n++) {
        char *copy = malloc(n ? n : 1);
        memcpy(copy, v.p, n);
        assert_int_equal(layout_record(slice_of(copy, n), &m), ERR_INVALID);
        assert_int_equal(layout_meta(slice_of(copy, n), &m), n < LAYOUT_META ? ERR_INVALID : 0);
        free(copy);
    }
    assert_int_equal(layout_record(slice_of(v.p, v.n - 7), &m), 0); /* an empty content */
    assert_int_equal(m.content.n, 0);
    for (unsigned at = 0; at < 3; at++) { /* version, flags, tier */
        struct value bad = v;
        bad.p[at] = 9;
        assert_int_equal(layout_record(all(&bad), &m), ERR_INVALID);
        assert_int_equal(layout_meta(all(&bad), &m), ERR_INVALID);
    }
    struct value torn = v;
    torn.p[v.n - 4] = (char)0xFF; /* con?ent */
    assert_int_equal(layout_record(all(&torn), &m), 0);
    assert_true(slice_eq(m.sender_name, SLICE_LIT("Anna")) && slice_eq(m.content, SLICE_LIT("con")));
    torn.p[v.n - 8] = (char)0xC3; /* Ann?con?ent */
    assert_int_equal(layout_record(all(&torn), &m), 0);
    assert_true(slice_eq(m.sender, SLICE_LIT("ann")) && slice_eq(m.sender_name, SLICE_LIT("Ann")) && !m.content.n);
    torn.p[v.n - 14] = (char)0x80; /* ?nnAnn?con?ent */
    assert_int_equal(layout_record(all(&torn), &m), 0);
    assert_true(!m.sender.n && !m.sender_name.n && !m.content.n);
    struct buf texts = BUF_INIT;
    layout_texts_put(&texts, SLICE_LIT("ann"), SLICE_NONE, SLICE_LIT("hi"));
    assert_true(slice_eq(buf_slice(&texts), slice_of("\3\0annhi", 7)));
    buf_free(&texts);
}

static void smaller_ones(void **state)
{
    (void)state;
    struct value v = {0};
    struct layout_intent i;
    put(&v, 6, 1), put(&v, 6, 2), put(&v, 6, 3), put(&v, 6, 4), put(&v, 1, 1), puts_(&v, "pann"), put(&v, 1, 0),
        puts_(&v, "bob");
    assert_int_equal(layout_intent(all(&v), &i), 0);
    assert_true(i.birth_ms == 1 && i.seq == 2 && i.k == 3 && i.ttl_ms == 4);
    assert_true(slice_eq(i.sender, SLICE_LIT("bob")) && slice_eq(i.receiver, SLICE_LIT("ann")) && i.conv.n == 8);
    for (size_t n = 0; n < 30; n++)
        assert_int_equal(layout_intent(slice_of(v.p, n), &i), ERR_INVALID);

    struct layout_sub sub;
    v.n = 0;
    put(&v, 1, 1), put(&v, 1, 2), put(&v, 1, 1), put(&v, 6, 30), put(&v, 6, 40);
    assert_int_equal(layout_sub(all(&v), &sub), 0);
    assert_true(sub.member && sub.push == 2 && sub.events && sub.read == 30 && sub.version == 40);
    WHOLE(v, layout_sub(CUT, &sub), false);
    v.n = 0;
    put(&v, 1, 0), put(&v, 6, 30), put(&v, 6, 40);
    assert_int_equal(layout_sub(all(&v), &sub), 0);
    assert_true(!sub.member && sub.left_ms == 30 && sub.version == 40);
    WHOLE(v, layout_sub(CUT, &sub), false);

    struct layout_gone gone;
    v.n = 0;
    put(&v, 8, 12345), put(&v, 1, 1);
    assert_int_equal(layout_gone(all(&v), &gone), 0);
    assert_true(gone.until == 12345 && gone.now);
    WHOLE(v, layout_gone(CUT, &gone), true);
    assert_int_equal(layout_gone(SLICE_NONE, &gone), 0);
    assert_int_equal(gone.until, 0);

    struct layout_entry entry;
    v.n = 0;
    put(&v, 6, 1), put(&v, 6, 2), put(&v, 6, 3), puts_(&v, "ann");
    assert_int_equal(layout_entry(all(&v), &entry), 0);
    assert_true(entry.seq == 1 && entry.birth_ms == 2 && entry.ttl_ms == 3 && slice_eq(entry.peer, SLICE_LIT("ann")));
    assert_int_equal(layout_entry(slice_of(v.p, 17), &entry), ERR_INVALID);

    uint64_t read;
    assert_int_equal(layout_peer_read(slice_of(v.p, 6), &read), 0);
    assert_int_equal(read, 1);
    assert_int_equal(layout_peer_read(slice_of(v.p, 20), &read), 0);
    assert_int_equal(layout_peer_read(slice_of(v.p, 7), &read), ERR_INVALID);
    assert_int_equal(layout_peer_read(slice_of(v.p, 21), &read), ERR_INVALID);
}

/* Whom a digest belongs to: nothing of one part can pass for that of another. */
static void digests(void **state)
{
    (void)state;
    static const char *const parts[][3] = {{"ann", "croom", "1"}, {"ann", "croom1", ""}, {"an", "ncroom", "1"},
                                           {"ann", "croom", "2"}, {"bob", "croom", "1"}, {"ann", "crook", "1"}};
    char digest[6][LAYOUT_DIGEST], again[LAYOUT_DIGEST];
    for (unsigned i = 0; i < 6; i++) {
        layout_digest(digest[i], slice_str(parts[i][0]), slice_str(parts[i][1]), slice_str(parts[i][2]));
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(digest[i], digest[j], LAYOUT_DIGEST);
    }
    layout_digest(again, slice_str(parts[0][0]), slice_str(parts[0][1]), slice_str(parts[0][2]));
    assert_memory_equal(digest[0], again, LAYOUT_DIGEST);
}

static void rules(void **state)
{
    (void)state;
    const struct layout_rule rule = {.now_ms = 10000, .born = {0, 5000, 9001}, .max = {0, 10, 3}};
    assert_true(rule_alive(&rule, 0, 1, 0) && rule_alive(&rule, 1, 5000, 0) && !rule_alive(&rule, 1, 4999, 0));
    assert_true(rule_alive(&rule, 1, 4999, 5002) && !rule_alive(&rule, 1, 4999, 5001));
    struct layout_head h = {
        .kind = 1, .used = 6, .seq = 100, .low = 20, .flags = LAYOUT_MADE | TIER_SMALL * LAYOUT_TIER};
    assert_int_equal(rule_low(&rule, &h, 0), 20);
    assert_int_equal(rule_low(&rule, &h, 1), 90);
    assert_int_equal(rule_low(&rule, &h, 2), 97);
    h.max = 5; /* in force when the newest one came, in small; it was raised since */
    assert_int_equal(rule_low(&rule, &h, 1), 95);
    assert_int_equal(rule_low(&rule, &h, 2), 97);
    h.max = 50; /* … or lowered */
    assert_int_equal(rule_low(&rule, &h, 1), 90);
    h.flags |= LAYOUT_OWN; /* … or is the conversation's own */
    assert_int_equal(rule_low(&rule, &h, 1), 50);
    assert_int_equal(rule_low(&rule, &h, 2), 50);
    h.floors[2] = 60;
    assert_int_equal(rule_low(&rule, &h, 2), 60);
    struct layout_record m = {.tier = 2, .birth_ms = 9500};
    assert_true(rule_shows(&rule, &h, 61, &m) && !rule_shows(&rule, &h, 60, &m) && !rule_shows(&rule, &h, 101, &m));
    assert_int_equal(rule_due(&rule, 2, 0), 10000 + 1000);
    assert_int_equal(rule_due(&rule, 2, 7), 10007);
    assert_int_equal(rule_due(&rule, 0, 0), 10000 + 86400000);
    char packed[LAYOUT_RULE];
    layout_rule_put(packed, &rule);
    assert_int_equal(layout_u48(packed), 10000);
    assert_int_equal(layout_u48(packed + 18), 9001);
    assert_int_equal(load_be32(packed + 32), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),   cmocka_unit_test(records), cmocka_unit_test(smaller_ones),
        cmocka_unit_test(digests), cmocka_unit_test(rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
