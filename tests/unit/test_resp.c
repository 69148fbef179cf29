/* Redis's protocol, partitions and the library of functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "storage/redis/client/library.h"
#include "storage/redis/client/partition.h"
#include "storage/redis/client/resp.h"

#include <stdio.h>
#include <stdlib.h>

#define S(x) slice_str(x)

static bool is(const struct reply *r, enum reply_type type, const char *text)
{
    return r->type == type && slice_eq(r->text, S(text));
}

/* One reply of each kind, and lists in lists. */
static const char *const all = "+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n$0\r\n\r\n$5\r\na\r\n\0b\r\n";
enum { ALL = sizeof "+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n$0\r\n\r\n$5\r\na\r\n\0b\r\n" - 1 };
#define LISTS "*3\r\n*2\r\n:1\r\n$1\r\nx\r\n*-1\r\n*0\r\n"

static void check_all(struct resp *in)
{
    const struct reply *r;
    assert_int_equal(resp_next(in, &r), 1);
    assert_true(is(r, REPLY_STATUS, "OK"));
    assert_int_equal(resp_next(in, &r), 1);
    assert_true(is(r, REPLY_ERROR, "ERR no"));
    assert_int_equal(resp_next(in, &r), 1);
    assert_int_equal(r->type, REPLY_NUMBER);
    assert_int_equal(r->number, -7);
    assert_int_equal(resp_next(in, &r), 1);
    assert_int_equal(r->type, REPLY_NIL);
    assert_int_equal(resp_next(in, &r), 1);
    assert_true(is(r, REPLY_STRING, ""));
    assert_int_equal(resp_next(in, &r), 1);
    assert_int_equal(r->text.n, 5);
    assert_memory_equal(r->text.p, "a\r\n\0b", 5);
    assert_int_equal(resp_next(in, &r), 1);
    assert_int_equal(r->type, REPLY_LIST);
    assert_int_equal(r->n, 3);
    assert_int_equal(r->list[0].n, 2);
    assert_int_equal(r->list[0].list[0].number, 1);
    assert_true(is(&r->list[0].list[1], REPLY_STRING, "x"));
    assert_int_equal(r->list[1].type, REPLY_NIL);
    assert_int_equal(r->list[2].type, REPLY_LIST);
    assert_int_equal(r->list[2].n, 0);
    assert_int_equal(resp_next(in, &r), 0);
}

static void replies_of_each_kind(void **state)
{
    struct resp in;
    (void)state;
    assert_int_equal(resp_init(&in), 0);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(resp_feed(&in, all, ALL), 0);
        assert_int_equal(resp_feed(&in, LISTS, strlen(LISTS)), 0);
        check_all(&in);
        resp_forget(&in);
    }
    resp_fini(&in);
}

static void replies_in_two_pieces(void **state)
{
    char text[ALL + sizeof LISTS];
    (void)state;
    memcpy(text, all, ALL);
    memcpy(text + ALL, LISTS, sizeof LISTS);
    size_t n = ALL + strlen(LISTS);
    for (size_t cut = 0; cut <= n; cut++) {
        struct resp in;
        const struct reply *r, *last = NULL;
        unsigned whole = 0;
        assert_int_equal(resp_init(&in), 0);
        assert_int_equal(resp_feed(&in, text, cut), 0);
        for (; resp_next(&in, &r) == 1; whole++)
            last = r;
        assert_int_equal(resp_feed(&in, text + cut, n - cut), 0);
        for (; resp_next(&in, &r) == 1; whole++)
            last = r;
        assert_int_equal(whole, 7);
        assert_int_equal(last->type, REPLY_LIST);
        assert_true(is(&last->list[0].list[1], REPLY_STRING, "x"));
        resp_fini(&in);
    }
}

static void garbage_is_refused(void **state)
{
    static const char *const garbage[] = {"hello\r\n",
                                          "$x\r\n",
                                          "$5\r\nabcdefg\r\n",
                                          "*x\r\n",
                                          "*2000000\r\n", /* more than a list may have */
                                          "*-2\r\n",
                                          "$-2\r\n",
                                          "\r\n",
                                          "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
                                          ":12x\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        struct resp in;
        const struct reply *r;
        assert_int_equal(resp_init(&in), 0);
        assert_int_equal(resp_feed(&in, garbage[i], strlen(garbage[i])), 0);
        int code;
        do /* hiredis finds out late where a string did not end where it should */
            code = resp_next(&in, &r);
        while (code == 1);
        if (code == 0)
            fail_msg("%s was taken for a reply", garbage[i]);
        resp_fini(&in);
    }
}

static void a_huge_reply_is_refused(void **state)
{
    struct resp in;
    const struct reply *r;
    size_t n = 1 << 20, fed = 0;
    char *bytes = malloc(n);
    (void)state;
    memset(bytes, 'x', n);
    assert_int_equal(resp_init(&in), 0);
    assert_int_equal(resp_feed(&in, "$2000000000\r\n", 13), 0);
    int e = 0;
    while (!e && fed < 2 * (size_t)RESP_MAX) {
        e = resp_feed(&in, bytes, n);
        fed += n;
        assert_int_equal(resp_next(&in, &r), 0);
    }
    assert_int_equal(e, ERR_TOOLARGE);
    resp_fini(&in);
    free(bytes);
}

/* No string of it is large, but all together are. */
static void a_huge_list_is_refused(void **state)
{
    struct resp in;
    const struct reply *r;
    int e = 0;
    (void)state;
    for (size_t most = 10000; most <= 100000; most *= 10) {
        assert_int_equal(resp_init(&in), 0);
        assert_int_equal(in.most, RESP_REPLY);
        in.most = most;
        for (int small = 0; small < 100; small++) { /* many that are small enough are none of its business */
            assert_int_equal(resp_feed(&in, "*2\r\n$2\r\nab\r\n$3\r\nabc\r\n", 21), 0);
            assert_int_equal(resp_next(&in, &r), 1);
        }
        assert_int_equal(resp_feed(&in, "*1000\r\n", 7), 0);
        e = resp_next(&in, &r);
        for (int i = 0; !e && i < 1000; i++) {
            char text[120] = "$110\r\n";
            memset(text + 6, 'x', 110);
            memcpy(text + 116, "\r\n", 2);
            assert_int_equal(resp_feed(&in, text, 118), 0);
            e = resp_next(&in, &r);
        }
        assert_int_equal(e, ERR_NOMEM);
        resp_fini(&in);
    }
}

static void a_large_reply_is_taken(void **state)
{
    struct resp in;
    const struct reply *r;
    size_t n = 3 << 20;
    char *bytes = malloc(n + 2), head[32];
    (void)state;
    memset(bytes, 'x', n);
    memcpy(bytes + n, "\r\n", 2);
    snprintf(head, sizeof head, "*2\r\n:1\r\n$%zu\r\n", n);
    assert_int_equal(resp_init(&in), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(resp_feed(&in, head, strlen(head)), 0);
        assert_int_equal(resp_next(&in, &r), 0);
        assert_int_equal(resp_feed(&in, bytes, n + 2), 0);
        assert_int_equal(resp_next(&in, &r), 1);
        assert_int_equal(r->list[1].text.n, n);
        assert_int_equal(r->list[1].text.p[n - 1], 'x');
        resp_forget(&in);
    }
    resp_fini(&in);
    free(bytes);
}

static void commands_are_formatted(void **state)
{
    struct buf b = BUF_INIT;
    struct slice argv[3] = {SLICE_LIT("SET"), SLICE_LIT("k"), SLICE_LIT("")};
    (void)state;
    resp_command(&b, argv, 3);
    resp_put_u64(&b, 0);
    resp_put_u64(&b, 1234567890123u);
    buf_byte(&b, '\0');
    assert_string_equal(b.p, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n$1\r\n0\r\n$13\r\n1234567890123\r\n");
    buf_free(&b);
}

static void packed_replies_are_read(void **state)
{
    static const char packed[] =
        "N\x01\x02\x03\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x06\x02hi\x00\x01!rest";
    struct reply r = {.type = REPLY_STRING, .text = slice_of(packed, sizeof packed - 1)};
    struct reply_in in = reply_in(&r);
    (void)state;
    assert_int_equal(reply_u8(&in), 'N');
    assert_int_equal(reply_u8(&in), 1);
    assert_int_equal(reply_u16(&in), 0x203);
    assert_int_equal(reply_u48(&in), 5);
    assert_int_equal(reply_u64(&in), 6);
    assert_true(slice_eq(reply_slice8(&in), S("hi")));
    assert_true(slice_eq(reply_slice16(&in), S("!")));
    assert_true(slice_eq(reply_rest(&in), S("rest")));
    assert_true(reply_ok(&in));
    assert_int_equal(reply_left(&in), 0);
    assert_int_equal(reply_u32(&in), 0); /* there is no more */
    assert_false(reply_ok(&in));
    assert_int_equal(reply_rest(&in).n, 0);
}

/* A reply cut anywhere is found out, and nothing is read beyond its end. */
static void packed_replies_may_be_cut(void **state)
{
    static const char packed[] = "N\x00\x00\x00\x00\x00\x05\x02hi";
    (void)state;
    for (size_t cut = 0; cut < sizeof packed - 1; cut++) {
        char *copy = malloc(cut + 1);
        memcpy(copy, packed, cut);
        struct reply r = {.type = REPLY_STRING, .text = slice_of(copy, cut)};
        struct reply_in in = reply_in(&r);
        (void)reply_u8(&in);
        (void)reply_u48(&in);
        (void)reply_slice8(&in);
        assert_false(reply_ok(&in));
        free(copy);
    }
    struct reply number = {.type = REPLY_NUMBER, .number = 3};
    struct reply_in in = reply_in(&number);
    assert_int_equal(reply_u8(&in), 0);
    assert_false(reply_ok(&in));
}

static void tags_have_their_slots(void **state)
{
    struct partition_tags *t = malloc(sizeof *t);
    long largest = 0;
    (void)state;
    assert_int_equal(partition_slot_of(S("123456789")), 0x31c3); /* Redis's own example */
    partition_tags_make(t);
    for (uint16_t i = 0; i < PARTITIONS; i++) {
        char text[8] = "";
        struct slice tag = partition_tag(t, i);
        memcpy(text, tag.p, tag.n);
        assert_int_equal(partition_slot_of(tag), partition_slot(i));
        largest = atol(text) > largest ? atol(text) : largest;
    }
    assert_true(slice_eq(partition_tag(t, 0), S("3560")));
    assert_int_equal(largest, 69571);
    free(t);
}

/* For ever: what is stored is found by these. */
static void partitions_stay(void **state)
{
    (void)state;
    assert_int_equal(partition_of(S("croom")), partition_of(S("croom")));
    assert_int_equal(partition_of_user(S("alice")), partition_of(S("ualice")));
    assert_int_equal(partition_of(S("croom")), 860);
    assert_int_equal(partition_of_user(S("alice")), 960);
}

static void the_library_has_a_name_of_its_own(void **state)
{
    struct library l;
    char expected[64];
    (void)state;
    library_init(&l);
    snprintf(expected, sizeof expected, "#!lua name=magpie_%s\n", library_digits());
    assert_true(library_text().n > strlen(expected));
    assert_memory_equal(library_text().p, expected, strlen(expected));
    assert_null(memchr(library_text().p, '@', library_text().n));
    snprintf(expected, sizeof expected, "$8\r\nFCALL_RO\r\n$12\r\nm%s_head\r\n", library_digits());
    assert_true(slice_eq(library_head(&l, FN_HEAD), S(expected)));
    assert_true(library_reads(FN_HEAD));
    assert_false(library_reads(FN_APPEND));
    assert_true(library_reads(FN_RAW_READ));
    assert_false(library_reads(FN_RAW_WRITE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_of_each_kind),      cmocka_unit_test(replies_in_two_pieces),
        cmocka_unit_test(garbage_is_refused),        cmocka_unit_test(a_huge_reply_is_refused),
        cmocka_unit_test(a_huge_list_is_refused),    cmocka_unit_test(a_large_reply_is_taken),
        cmocka_unit_test(commands_are_formatted),    cmocka_unit_test(packed_replies_are_read),
        cmocka_unit_test(packed_replies_may_be_cut), cmocka_unit_test(tags_have_their_slots),
        cmocka_unit_test(partitions_stay),           cmocka_unit_test(the_library_has_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
