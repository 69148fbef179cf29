/* Stored records and keys: what is written is read; anything else is refused without a byte read outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "storage/local/record.h"

#include <stdlib.h>
#include <string.h>

#define S(x) slice_str(x)

/* One decoder under one shape: 0 or ERR_INVALID. */
static int try_row(struct slice v)
{
    struct row_header r;
    return row_decode(v, &r);
}
static int try_message(struct slice v)
{
    struct message_record r;
    return message_decode(v, &r);
}
static int try_head(struct slice v)
{
    struct head_record r;
    return head_decode(v, &r);
}
static int try_inbox(struct slice v)
{
    struct inbox_record r;
    return inbox_decode(v, &r);
}
static int try_dedup(struct slice v)
{
    struct dedup_record r;
    return dedup_decode(v, &r);
}
static int try_user(struct slice v)
{
    struct user_record r;
    return user_decode(v, &r);
}
static int try_mark(struct slice v)
{
    uint64_t r;
    return mark_decode(v, &r);
}
static int try_sub(struct slice v)
{
    struct sub_record r;
    return sub_decode(v, &r);
}

/* Every shorter value is refused (or, where the end is open, read without leaving it: each is in memory of just its
 * size), and so is another version. */
static void hostile(int (*decode)(struct slice), const char *good, size_t n, bool open_end, size_t fixed)
{
    for (size_t cut = 0; cut <= n; cut++) {
        char *copy = malloc(cut ? cut : 1);
        memcpy(copy, good, cut);
        int r = decode(slice_of(copy, cut));
        if (cut == n || (open_end && cut >= fixed))
            assert_int_equal(r, 0);
        else
            assert_int_equal(r, ERR_INVALID);
        for (size_t at = 0; at < cut; at++) { /* any byte turned: an answer, whatever it is */
            copy[at] = (char)~copy[at];
            (void)decode(slice_of(copy, cut));
            copy[at] = (char)~copy[at];
        }
        if (cut) {
            copy[0] = 2; /* a later version */
            assert_int_equal(decode(slice_of(copy, cut)), ERR_INVALID);
        }
        free(copy);
    }
}

static void messages(void **state)
{
    (void)state;
    char out[1024];
    struct message_record m = {.row = {.flags = 0, .cls = EXPIRY_SMALL, .birth_ms = 1700000000123, .ttl_ms = 86400000},
                               .id = UINT64_C(0x1122334455667788),
                               .created_ms = 1700000000999,
                               .sender = S("ann"),
                               .sender_name = S("Ann \xc3\xa4"),
                               .content = S("hello\0there")},
                          r;
    m.content = slice_of("hello\0there", 11);
    size_t n = message_encode(out, &m);
    assert_int_equal(n, message_size(&m));
    assert_int_equal(message_decode(slice_of(out, n), &r), 0);
    assert_true(r.row.flags == 0 && r.row.cls == EXPIRY_SMALL && r.row.birth_ms == m.row.birth_ms &&
                r.row.ttl_ms == m.row.ttl_ms);
    assert_true(r.id == m.id && r.created_ms == m.created_ms);
    assert_true(slice_eq(r.sender, m.sender) && slice_eq(r.sender_name, m.sender_name) &&
                slice_eq(r.content, m.content));
    hostile(try_message, out, n, true, MESSAGE_FIXED + m.sender.n + m.sender_name.n);
    hostile(try_row, out, n, true, ROW_HEADER_SIZE);
    m.row.flags = ROW_EDITED;
    m.edited_ms = 0x1234567890;
    n = message_encode(out, &m);
    assert_int_equal(n, message_size(&m));
    assert_int_equal(message_decode(slice_of(out, n), &r), 0);
    assert_true(r.row.flags == ROW_EDITED && r.edited_ms == m.edited_ms);
    assert_true(slice_eq(r.sender, m.sender) && slice_eq(r.sender_name, m.sender_name) &&
                slice_eq(r.content, m.content));
    hostile(try_message, out, n, true, MESSAGE_FIXED + MESSAGE_EDITED + m.sender.n + m.sender_name.n);
    m.content = SLICE_NONE;
    m.row.flags = ROW_RECALLED;
    n = message_encode(out, &m);
    assert_int_equal(message_decode(slice_of(out, n), &r), 0);
    assert_int_equal(r.content.n, 0);
    out[n] = 'x'; /* a recalled message has no content */
    assert_int_equal(message_decode(slice_of(out, n + 1), &r), ERR_INVALID);
    out[1] = 4; /* unknown flag */
    assert_int_equal(message_decode(slice_of(out, n), &r), ERR_INVALID);
    /* Lengths at their limits: names of 255 bytes; times beyond 48 bits are kept at the most. */
    char big[255];
    memset(big, 'b', sizeof(big));
    m = (struct message_record){.row = {.cls = EXPIRY_DM, .birth_ms = UINT64_MAX, .ttl_ms = UINT64_MAX},
                                .sender = slice_of(big, 255),
                                .sender_name = slice_of(big, 255)};
    n = message_encode(out, &m);
    assert_int_equal(message_decode(slice_of(out, n), &r), 0);
    assert_int_equal(r.sender.n, 255);
    assert_int_equal(r.row.birth_ms, ROW_MS_MAX);
    assert_int_equal(r.row.ttl_ms, ROW_MS_MAX);
    for (unsigned cls = 0; cls < 256; cls++) {
        out[2] = (char)cls;
        assert_int_equal(try_row(slice_of(out, n)), cls >= EXPIRY_DM && cls <= EXPIRY_DEDUP ? 0 : ERR_INVALID);
    }
}

static void heads(void **state)
{
    (void)state;
    char out[HEAD_SIZE];
    struct head_record h = {.seq = 9,
                            .last_id = 8,
                            .reserved = 7,
                            .low = {1, 2, 3},
                            .skip_at = 4,
                            .losses = 5,
                            .skip = 6,
                            .max = 10,
                            .members = 11,
                            .flags = HEAD_CHANNEL,
                            .tier = 2,
                            .tiers_used = 7},
                       r;
    memset(&r, 0, sizeof(r));
    assert_int_equal(head_encode(out, &h), HEAD_SIZE);
    assert_int_equal(head_decode(slice_of(out, HEAD_SIZE), &r), 0);
    assert_true(r.seq == 9 && r.last_id == 8 && r.reserved == 7 && r.low[0] == 1 && r.low[1] == 2 && r.low[2] == 3 &&
                r.skip_at == 4 && r.losses == 5);
    assert_true(r.skip == 6 && r.max == 10 && r.members == 11 && r.flags == HEAD_CHANNEL && r.tier == 2 &&
                r.tiers_used == 7);
    hostile(try_head, out, HEAD_SIZE, false, 0);
    h.seq = UINT64_MAX; /* seqs that would run over */
    head_encode(out, &h);
    assert_int_equal(try_head(slice_of(out, HEAD_SIZE)), ERR_INVALID);
    h = (struct head_record){.tier = 3};
    head_encode(out, &h);
    assert_int_equal(try_head(slice_of(out, HEAD_SIZE)), ERR_INVALID);
    for (uint32_t flags = 0; flags < 16; flags++) {
        h = (struct head_record){.flags = flags & ~(uint32_t)HEAD_GONE};
        head_encode(out, &h);
        uint32_t kind = h.flags & ~(uint32_t)HEAD_WATCHED;
        bool good = h.flags == 0 || kind == HEAD_CHANNEL || kind == (HEAD_CHANNEL | HEAD_CLOSING);
        assert_int_equal(try_head(slice_of(out, HEAD_SIZE)), good ? 0 : ERR_INVALID);
    }
}

/* What is left of a channel that is gone. */
static void gone_heads(void **state)
{
    (void)state;
    char out[HEAD_SIZE];
    for (int watched = 0; watched < 2; watched++) {
        struct head_record h = {.seq = 77, .gone_ms = 88, .flags = HEAD_GONE | (watched ? HEAD_WATCHED : 0)}, r;
        assert_int_equal(head_size(&h), GONE_SIZE);
        assert_int_equal(head_encode(out, &h), GONE_SIZE);
        assert_int_equal(head_decode(slice_of(out, GONE_SIZE), &r), 0);
        assert_true(r.seq == 77 && r.gone_ms == 88 && r.flags == h.flags && r.low[0] == 77 && r.low[2] == 77);
        assert_true(r.reserved == 0 && r.members == 0 && r.tiers_used == 0);
        hostile(try_head, out, GONE_SIZE, false, 0);
    }
    out[1] = 2; /* watched, and not gone */
    assert_int_equal(try_head(slice_of(out, GONE_SIZE)), ERR_INVALID);
    struct head_record h = {.seq = UINT64_MAX, .flags = HEAD_GONE};
    head_encode(out, &h);
    assert_int_equal(try_head(slice_of(out, GONE_SIZE)), ERR_INVALID);
}

static void others(void **state)
{
    (void)state;
    char out[512];
    struct conv_key c = conv_key_pair(S("bob"), S("ann"));
    struct inbox_record i = {.row = {.cls = EXPIRY_DM, .birth_ms = 5}, .seq = 77, .conv = conv_key_slice(&c)}, i2;
    size_t n = inbox_encode(out, &i);
    assert_int_equal(n, inbox_size(&i));
    assert_int_equal(inbox_decode(slice_of(out, n), &i2), 0);
    assert_true(i2.seq == 77 && slice_eq(i2.conv, i.conv) && i2.row.birth_ms == 5);
    hostile(try_inbox, out, n, true, INBOX_FIXED + 2);
    out[INBOX_FIXED] = 'x'; /* neither channel nor pair */
    assert_int_equal(try_inbox(slice_of(out, n)), ERR_INVALID);
    memset(out + INBOX_FIXED, 'c', sizeof(out) - INBOX_FIXED);
    assert_int_equal(try_inbox(slice_of(out, INBOX_FIXED + CONV_KEY_MAX)), 0);
    assert_int_equal(try_inbox(slice_of(out, INBOX_FIXED + CONV_KEY_MAX + 1)), ERR_INVALID);

    struct dedup_record d = {.row = {.cls = EXPIRY_DEDUP, .birth_ms = 6}, .seq = 1, .id = 2, .created_ms = 3}, d2;
    assert_int_equal(dedup_encode(out, &d), DEDUP_SIZE);
    assert_int_equal(dedup_decode(slice_of(out, DEDUP_SIZE), &d2), 0);
    assert_true(d2.seq == 1 && d2.id == 2 && d2.created_ms == 3 && d2.row.birth_ms == 6);
    hostile(try_dedup, out, DEDUP_SIZE, false, 0);
    out[2] = EXPIRY_DM;
    assert_int_equal(try_dedup(slice_of(out, DEDUP_SIZE)), ERR_INVALID);

    struct user_record u = {.epoch = 3, .guest = true, .due_ms = 99, .name = S("Ann")}, u2;
    n = user_encode(out, &u);
    assert_int_equal(n, user_size(&u));
    assert_int_equal(user_decode(slice_of(out, n), &u2), 0);
    assert_true(u2.epoch == 3 && u2.guest && u2.due_ms == 99 && slice_eq(u2.name, S("Ann")));
    assert_true(u2.revoked_ms == 0);
    hostile(try_user, out, n, true, USER_FIXED);
    u = (struct user_record){.epoch = 4, .revoked_ms = UINT64_MAX - 7, .name = S("Ann")};
    n = user_encode(out, &u);
    assert_int_equal(n, user_size(&u));
    assert_int_equal(user_decode(slice_of(out, n), &u2), 0);
    assert_true(u2.epoch == 4 && !u2.guest && u2.revoked_ms == UINT64_MAX - 7 && slice_eq(u2.name, S("Ann")));
    hostile(try_user, out, n, true, USER_FIXED + 8);
    assert_int_equal(try_user(slice_of(out, USER_FIXED + 7)), ERR_INVALID);

    uint64_t read;
    struct sub_record sub;
    assert_int_equal(mark_encode(out, UINT64_MAX - 1), MARK_SIZE);
    assert_int_equal(mark_decode(slice_of(out, MARK_SIZE), &read), 0);
    assert_true(read == UINT64_MAX - 1);
    hostile(try_mark, out, MARK_SIZE, false, 0);
    for (uint8_t p = 0; p < 8; p++) {
        const struct sub_record r = {.push = (uint8_t)p, .events = p % 2};
        assert_int_equal(sub_encode(out, &r), SUB_SIZE);
        assert_int_equal(sub_decode(slice_of(out, SUB_SIZE), &sub), p < 4 ? 0 : ERR_INVALID);
        assert_true(p >= 4 || (sub.push == p && sub.events == p % 2));
    }
    sub_encode(out, &(struct sub_record){.push = 1});
    hostile(try_sub, out, SUB_SIZE, false, 0);
    assert_int_equal(flag_encode(out), 2);
}

/* --- Keys --------------------------------------------------------------------------------------------------------- */

static void conversations(void **state)
{
    (void)state;
    struct conv_key c = conv_key_channel(S("tea")), p = conv_key_pair(S("bob"), S("ann")),
                    q = conv_key_pair(S("ann"), S("bob")), self = conv_key_pair(S("ann"), S("ann"));
    struct slice lo, hi;
    assert_true(slice_eq(conv_key_slice(&c), S("ctea")));
    assert_true(conv_is_channel(conv_key_slice(&c)) && !conv_is_channel(conv_key_slice(&p)));
    assert_true(slice_eq(conv_channel_name(conv_key_slice(&c)), S("tea")));
    assert_true(slice_eq(conv_key_slice(&p), conv_key_slice(&q)));
    assert_true(slice_eq(conv_key_slice(&p), slice_of("pann\0bob", 8)));
    conv_pair_users(conv_key_slice(&p), &lo, &hi);
    assert_true(slice_eq(lo, S("ann")) && slice_eq(hi, S("bob")));
    assert_true(slice_eq(conv_pair_peer(conv_key_slice(&p), S("ann")), S("bob")));
    assert_true(slice_eq(conv_pair_peer(conv_key_slice(&p), S("bob")), S("ann")));
    assert_true(slice_eq(conv_pair_peer(conv_key_slice(&self), S("ann")), S("ann")));
    conv_pair_users(S("pann"), &lo, &hi); /* no pair at all: no byte outside */
    assert_true(slice_eq(lo, S("ann")) && hi.n == 0);
    char id[64];
    memset(id, 'z', 64);
    struct conv_key big = conv_key_pair(slice_of(id, 64), slice_of(id, 64));
    assert_int_equal(big.n, CONV_KEY_MAX);
}

/* Keys sort as they must, and no conversation's rows lie among another's, whatever the names. */
static void key_order(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "a ", "a!", "aa", "ab", "b", "\xc3\xa4", "\xf4\x8f\xbf\xbf"};
    struct key k[2], from, to;
    uint64_t seq;
    for (unsigned i = 0; i < 8; i++) {
        struct conv_key c = conv_key_channel(S(names[i]));
        struct slice conv = conv_key_slice(&c);
        static const uint64_t seqs[] = {0, 1, 2, 255, 256, 65535, UINT64_C(1) << 32, UINT64_MAX - 1, UINT64_MAX};
        for (unsigned s = 0; s < 9; s++) {
            struct slice at = key_message(&k[0], conv, seqs[s]);
            assert_true(key_tail_u64(at, &seq) && seq == seqs[s]);
            if (s)
                assert_true(slice_cmp(key_message(&k[1], conv, seqs[s - 1]), at) < 0);
            for (unsigned j = 0; j < 8; j++) {
                struct conv_key other = conv_key_channel(S(names[j]));
                bool inside = slice_cmp(key_message(&from, conv_key_slice(&other), 0), at) <= 0 &&
                              slice_cmp(at, key_message(&to, conv_key_slice(&other), UINT64_MAX)) <= 0;
                assert_int_equal(inside, i == j);
                struct slice member = key_member(&k[1], S(names[i]), S("user"));
                struct slice prefix = key_member(&from, S(names[j]), SLICE_NONE);
                inside = slice_cmp(prefix, member) <= 0 && slice_cmp(member, key_after_prefix(&to, prefix)) < 0;
                assert_int_equal(inside, i == j);
            }
        }
    }
    assert_true(slice_eq(key_tail(key_member(&k[0], S("tea"), S("bob"))), S("bob")));
    struct conv_key p = conv_key_pair(S("ann"), S("bob"));
    assert_true(slice_eq(key_tail(key_mark(&k[0], S("ann"), conv_key_slice(&p))), conv_key_slice(&p)));
    assert_int_equal(key_tail(S("none")).n, 0);
    assert_int_equal(key_tail(SLICE_NONE).n, 0);
    /* Rows by time lie in its order, and apart from each other and from the named rows of the same family. */
    struct slice conv = S("ctea"), name;
    assert_true(slice_cmp(key_vacant(&k[0], 255, conv), key_vacant(&k[1], 256, S("ca"))) < 0);
    assert_true(key_timed(key_vacant(&k[0], 7, conv), &seq, &name) && seq == 7 && slice_eq(name, conv));
    assert_true(key_timed(key_gone(&k[0], 8, conv), &seq, &name) && seq == 8 && slice_eq(name, conv));
    assert_false(key_timed(key_gone(&k[0], 8, SLICE_NONE), &seq, &name));
    assert_false(slice_eq(key_gone(&k[0], 8, conv), key_vacant(&k[1], 8, conv)));
    assert_int_equal(key_floor(&k[0], 0x1234).n, 3);
    assert_true(slice_cmp(key_floor(&k[0], 0x1234), key_floor(&k[1], 0x1235)) < 0);
    assert_false(key_tail_u64(S("short"), &seq));
    assert_false(key_tail_u64(slice_of("abcdefgh1234", 12), &seq));
    /* Guests sort by time. */
    assert_true(slice_cmp(key_guest(&k[0], 5, S("z")), key_guest(&k[1], 6, S("a"))) < 0);
    /* Dedup keys of different requests differ, where one text ends and the next begins. */
    struct conv_key a = conv_key_channel(S("ab")), b = conv_key_channel(S("a"));
    assert_false(slice_eq(key_dedup(&k[0], S("s"), conv_key_slice(&a), S("c")),
                          key_dedup(&k[1], S("s"), conv_key_slice(&b), S("bc"))));
    /* The longest of each fits. */
    char id[64];
    memset(id, 'z', 64);
    struct conv_key big = conv_key_pair(slice_of(id, 64), slice_of(id, 64));
    assert_true(key_dedup(&k[0], slice_of(id, 64), conv_key_slice(&big), slice_of(id, 64)).n <= KEY_MAX);
    assert_true(key_mark(&k[0], slice_of(id, 64), conv_key_slice(&big)).n <= KEY_MAX);
    assert_true(slice_eq(key_after_prefix(&k[0], slice_of("a\xff\xff", 3)), S("b")));
}

static void expiry_rule(void **state)
{
    (void)state;
    struct expiry e = {0};
    atomic_store(&e.ttl_ms[EXPIRY_SMALL], 100);
    struct row_header r = {.cls = EXPIRY_SMALL, .birth_ms = 1000};
    assert_false(row_expired(&r, &e, 1099));
    assert_true(row_expired(&r, &e, 1100));
    assert_false(row_expired(&r, &e, 0)); /* born later than now: a clock that went back */
    r.ttl_ms = 500;                       /* its own life is longer than the class's */
    assert_false(row_expired(&r, &e, 1499));
    assert_true(row_expired(&r, &e, 1500));
    r = (struct row_header){.cls = EXPIRY_DM, .birth_ms = 1000};
    assert_false(row_expired(&r, &e, UINT64_MAX - 1)); /* for ever */
    r.ttl_ms = UINT64_MAX;                             /* no overflow */
    assert_false(row_expired(&r, &e, UINT64_MAX - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),    cmocka_unit_test(heads),         cmocka_unit_test(gone_heads),
        cmocka_unit_test(others),      cmocka_unit_test(conversations), cmocka_unit_test(key_order),
        cmocka_unit_test(expiry_rule),
    };
    return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
