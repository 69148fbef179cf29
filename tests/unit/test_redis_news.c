/* What nodes tell each other (news.c): each kind there and back, and what no node would write. */
#include "storage/redis/bus/news.h"

#include "storage/conv_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define PAIR  slice_of("pann\0bob", 8)
#define MAX48 ((UINT64_C(1) << 48) - 1)

/* All fields set; kinds take their own. */
static struct bus_news full(uint8_t kind, bool channel)
{
    return (struct bus_news){.kind = kind,
                             .tier = TIER_LARGE,
                             .push = MODE_MERGED,
                             .change = 200,
                             .events = true,
                             .online = true,
                             .gone = true,
                             .members = UINT32_MAX,
                             .epoch = 7,
                             .count = 3000000000,
                             .origin = UINT64_C(0x0102030405060708),
                             .seq = MAX48,
                             .id = UINT64_MAX,
                             .time = UINT64_C(1900000000123),
                             .created = UINT64_C(1900000000001),
                             .version = 99,
                             .arrival = channel ? 0 : 12345,
                             .conv = channel ? SLICE_LIT("cthe room") : PAIR,
                             .user = channel ? SLICE_NONE : SLICE_LIT("bob"),
                             .sender = SLICE_LIT("ann"),
                             .name = SLICE_LIT("Änn"),
                             .content = SLICE_LIT("{\"text\":\"hellö\"}"),
                             .advice = slice_of("\0\xff\1", 3)};
}

static struct bus_news *read_one(struct buf *b)
{
    struct slice message = buf_slice(b);
    struct news_in in;
    struct bus_news *n;
    assert_true(buf_ok(b));
    assert_int_equal(news_next(&message, &in), 1);
    assert_int_equal(message.n, 0);
    assert_int_equal(news_read(&in, &n), 0);
    return n;
}

/* Written again, a copy is the same bytes: so nothing that is written is lost. Whether a kind writes what it must, the
 * tests below look at. */
static void there_and_back(uint8_t kind, bool channel)
{
    struct bus_news n = full(kind, channel);
    struct buf b = BUF_INIT, again = BUF_INIT;
    news_put(&b, &n);
    struct bus_news *copy = read_one(&b);
    news_put(&again, copy);
    assert_int_equal(b.n, again.n);
    assert_memory_equal(b.p, again.p, b.n);
    assert_int_equal(copy->kind, kind);
    assert_int_equal(copy->origin, n.origin);
    free(copy);
    buf_free(&b);
    buf_free(&again);
}

static void all_kinds(void **state)
{
    (void)state;
    for (uint8_t kind = NEWS_MESSAGE; kind <= NEWS_EDITED; kind++) {
        there_and_back(kind, false);
        there_and_back(kind, true);
    }
    there_and_back(NEWS_CHANNEL, true);
    for (uint8_t kind = NEWS_MEMBER; kind < NEWS_KINDS; kind++)
        there_and_back(kind, false);
}

#define SAME(field) assert_int_equal(copy->field, n.field)
#define TEXT(field)                                                                                                    \
    assert_true(slice_eq(copy->field, n.field) && copy->field.p >= copy->data) /* and is not the writer's memory */

static void messages(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    for (int channel = 0; channel < 2; channel++) {
        struct bus_news n = full(NEWS_MESSAGE, channel);
        buf_reset(&b);
        news_put(&b, &n);
        struct bus_news *copy = read_one(&b);
        TEXT(conv), TEXT(sender), TEXT(name), TEXT(content), TEXT(advice);
        assert_true(slice_eq(copy->user, n.user));
        SAME(seq), SAME(id), SAME(time), SAME(tier), SAME(members), SAME(arrival);
        assert_false(copy->gone);
        free(copy);
    }
    buf_free(&b);
}

static void changes(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct bus_news n = full(NEWS_EDITED, false);
    news_put(&b, &n);
    struct bus_news *copy = read_one(&b);
    SAME(seq), SAME(id), SAME(time), SAME(created);
    TEXT(conv), TEXT(user), TEXT(sender), TEXT(name), TEXT(content);
    free(copy);
    buf_reset(&b);
    n = full(NEWS_RECALLED, true);
    news_put(&b, &n);
    copy = read_one(&b);
    SAME(seq), SAME(id);
    TEXT(conv);
    free(copy);
    buf_reset(&b);
    n = full(NEWS_NUDGE, false);
    news_put(&b, &n);
    copy = read_one(&b);
    SAME(seq), SAME(arrival);
    TEXT(conv), TEXT(user);
    free(copy);
    buf_free(&b);
}

static void people(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct bus_news n = full(NEWS_MEMBER, true);
    n.user = SLICE_LIT("bob");
    news_put(&b, &n);
    struct bus_news *copy = read_one(&b);
    SAME(version), SAME(push), SAME(events), SAME(seq), SAME(members), SAME(gone), SAME(change);
    TEXT(conv), TEXT(user);
    free(copy);
    buf_reset(&b);
    n = full(NEWS_CHANNEL, true);
    news_put(&b, &n);
    copy = read_one(&b);
    SAME(version), SAME(members), SAME(tier), SAME(gone), SAME(change);
    TEXT(conv), TEXT(sender), TEXT(name);
    free(copy);
    buf_reset(&b);
    n = full(NEWS_USER, false);
    news_put(&b, &n);
    copy = read_one(&b);
    SAME(version), SAME(epoch), SAME(gone);
    TEXT(user), TEXT(name);
    free(copy);
    for (uint8_t kind = NEWS_READ; kind < NEWS_KINDS; kind++) {
        n = full(kind, false);
        buf_reset(&b);
        news_put(&b, &n);
        copy = read_one(&b);
        TEXT(user);
        assert_int_equal(copy->seq, kind == NEWS_READ ? n.seq : 0);
        assert_int_equal(copy->count, kind == NEWS_INBOX ? n.count : 0);
        assert_int_equal(copy->version, kind == NEWS_PRESENCE ? n.version : 0);
        assert_int_equal(copy->online, kind == NEWS_PRESENCE);
        free(copy);
    }
    buf_free(&b);
}

static struct news_more more_full(uint8_t kind)
{
    return (struct news_more){.kind = kind,
                              .order = ORDER_REMOVE,
                              .action = 111,
                              .what = CALL_TRACE,
                              .connections = 5,
                              .origin = 77,
                              .number = UINT64_MAX - 1,
                              .conn = {UINT64_C(0xaabbccddeeff0011), 3, 4, UINT32_MAX},
                              .user = SLICE_LIT("bob"),
                              .body = slice_of("\0body\xff", 6)};
}

static void more_kinds(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct news_in in;
    struct news_more m;
    for (uint8_t kind = NEWS_ORDER; kind < NEWS_MORE_KINDS; kind++) {
        struct news_more w = more_full(kind);
        buf_reset(&b);
        news_more_put(&b, &w);
        assert_true(buf_ok(&b));
        struct slice message = buf_slice(&b);
        assert_int_equal(news_next(&message, &in), 1);
        assert_int_equal(news_more_read(&in, &m), 0);
        assert_int_equal(m.kind, kind);
        assert_int_equal(m.origin, 77);
        assert_true(m.number == w.number);
        assert_int_equal(m.connections, kind == NEWS_RECEIPT ? 5 : 0);
        assert_int_equal(m.what, kind == NEWS_CALL ? CALL_TRACE : 0);
        assert_int_equal(m.action, kind == NEWS_ORDER ? 111 : 0);
        assert_true(slice_eq(m.body, kind == NEWS_RECEIPT ? SLICE_NONE : w.body));
        if (kind == NEWS_ORDER) {
            assert_true(slice_eq(m.user, w.user));
            assert_true(m.conn.node == w.conn.node && m.conn.shard == 3 && m.conn.conn == 4);
            assert_true(m.conn.generation == UINT32_MAX);
            assert_int_equal(m.order, ORDER_REMOVE);
        }
        struct bus_news *none;
        assert_int_equal(news_read(&in, &none), ERR_INVALID);
    }
    buf_free(&b);
}

/* Several news of one message come in their order; one of a version that is not known is passed over. */
static void several(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct news_in in;
    struct bus_news n = full(NEWS_NUDGE, true), *copy;
    for (n.seq = 1; n.seq <= 3; n.seq++) {
        size_t begin = b.n;
        news_put(&b, &n);
        if (n.seq == 2)
            b.p[begin + 4] = NEWS_VERSION + 1;
    }
    struct slice message = buf_slice(&b);
    for (uint64_t seq = 1; seq <= 3; seq += 2) {
        assert_int_equal(news_next(&message, &in), 1);
        assert_int_equal(news_read(&in, &copy), 0);
        assert_int_equal(copy->seq, seq);
        free(copy);
    }
    assert_int_equal(news_next(&message, &in), 0);
    buf_free(&b);
}

/* No beginning of a message is one, and nothing is read behind its end. */
static void cut(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct news_in in;
    struct bus_news n = full(NEWS_MESSAGE, false), *copy;
    news_put(&b, &n);
    for (size_t n_ = 1; n_ < b.n; n_++) {
        char *part = malloc(n_); /* to the byte, for sanitizers */
        memcpy(part, b.p, n_);
        struct slice message = slice_of(part, n_);
        assert_int_equal(news_next(&message, &in), ERR_INVALID);
        if (n_ >= 4 + NEWS_HEAD) { /* with a length that fits, fields are missing */
            store_be32(part, (uint32_t)n_ - 4);
            message = slice_of(part, n_);
            assert_int_equal(news_next(&message, &in), 1);
            assert_int_equal(news_read(&in, &copy), ERR_INVALID);
            assert_null(copy);
        }
        free(part);
    }
    buf_byte(&b, 0); /* or one byte is too many */
    store_be32(b.p, (uint32_t)b.n - 4);
    struct slice message = buf_slice(&b);
    assert_int_equal(news_next(&message, &in), 1);
    assert_int_equal(news_read(&in, &copy), ERR_INVALID);
    buf_free(&b);
}

/* Written by news_put() as told, and read by nobody. */
static void refused(const struct bus_news *n)
{
    struct buf b = BUF_INIT;
    struct news_in in;
    struct bus_news *copy;
    news_put(&b, n);
    struct slice message = buf_slice(&b);
    assert_int_equal(news_next(&message, &in), 1);
    assert_int_equal(news_read(&in, &copy), ERR_INVALID);
    buf_free(&b);
}

#define REFUSED(kind, channel, change)                                                                                 \
    do {                                                                                                               \
        struct bus_news n = full(kind, channel);                                                                       \
        change;                                                                                                        \
        refused(&n);                                                                                                   \
    } while (0)

static void not_a_nodes(void **state)
{
    (void)state;
    REFUSED(NEWS_MESSAGE, true, n.conv = SLICE_NONE);
    REFUSED(NEWS_MESSAGE, true, n.conv = SLICE_LIT("c"));
    REFUSED(NEWS_MESSAGE, true, n.conv = SLICE_LIT("c the room"));
    REFUSED(NEWS_MESSAGE, true, n.conv = SLICE_LIT("x"));
    REFUSED(NEWS_MESSAGE, true, n.tier = TIER_COUNT);
    REFUSED(NEWS_MESSAGE, true, n.content = SLICE_LIT("\xff"));
    REFUSED(NEWS_MESSAGE, true, n.name = SLICE_LIT("\xc3"));
    REFUSED(NEWS_MESSAGE, true, n.sender = SLICE_LIT("a b"));
    REFUSED(NEWS_MESSAGE, true, n.user = SLICE_LIT("bob")); /* of a channel: for all */
    REFUSED(NEWS_MESSAGE, true, n.arrival = 1);
    REFUSED(NEWS_MESSAGE, false, n.conv = SLICE_LIT("pann"));
    REFUSED(NEWS_MESSAGE, false, n.conv = slice_of("pbob\0ann", 8));
    REFUSED(NEWS_MESSAGE, false, n.conv = slice_of("pann\0bob\0", 9));
    REFUSED(NEWS_MESSAGE, false, n.user = SLICE_NONE); /* of a pair: for one of the two */
    REFUSED(NEWS_MESSAGE, false, n.user = SLICE_LIT("eve"));
    REFUSED(NEWS_NUDGE, false, n.user = SLICE_LIT("eve"));
    REFUSED(NEWS_CHANNEL, false, (void)n);
    REFUSED(NEWS_MEMBER, false, n.user = SLICE_NONE);
    REFUSED(NEWS_MEMBER, false, n.push = MODE_NONE + 1);
    REFUSED(NEWS_USER, false, n.user = SLICE_LIT("a b"));
    struct bus_news none = full(NEWS_KINDS, true);
    struct buf b = BUF_INIT;
    news_put(&b, &none);
    assert_false(buf_ok(&b));
    buf_free(&b);
    char longest[256] = {0};
    none = full(NEWS_MESSAGE, true);
    none.name = slice_of(longest, sizeof longest);
    news_put(&b, &none);
    assert_false(buf_ok(&b));
    buf_free(&b);
    struct news_more m = more_full(NEWS_ORDER);
    m.order = ORDER_REMOVE + 1;
    news_more_put(&b, &m);
    struct slice message = buf_slice(&b);
    struct news_in in;
    assert_int_equal(news_next(&message, &in), 1);
    assert_int_equal(news_more_read(&in, &m), ERR_INVALID);
    in.kind = NEWS_MORE_KINDS;
    assert_int_equal(news_more_read(&in, &m), ERR_INVALID);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds), cmocka_unit_test(messages),    cmocka_unit_test(changes),
        cmocka_unit_test(people),    cmocka_unit_test(more_kinds),  cmocka_unit_test(several),
        cmocka_unit_test(cut),       cmocka_unit_test(not_a_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
