#include "core/base/buf.h"
#include "core/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <cjson/cJSON.h>

static const char *parse(struct slice text)
{
    const char *why = NULL;
    struct cJSON *v = json_parse(text, &why);
    assert_true((v == NULL) == (why != NULL));
    json_free(v);
    return why;
}

#define TEXT(s)                                                                                                        \
    {                                                                                                                  \
        s, sizeof(s) - 1                                                                                               \
    }

static void refuses_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        struct slice text;
        const char *why;
    } bad[] = {
        {TEXT(""), "empty"},
        {TEXT("  "), "unfinished value"},
        {TEXT("{} x"), "trailing bytes after the value"},
        {TEXT("{}{}"), "trailing bytes after the value"},
        {TEXT("{}\0"), "trailing bytes after the value"},
        {TEXT("{\"a\":1,\"a\":2}"), "duplicate key"},
        {TEXT("{\"x\":[{\"a\":1,\"\\u0061\":2}]}"), "duplicate key"},
        {TEXT("\"\xff\""), "invalid UTF-8"},
        {TEXT("\"\xed\xa0\x80\""), "invalid UTF-8"},
        {TEXT("\"\xc0\xaf\""), "invalid UTF-8"},
        {TEXT("\"\\u0000\""), "\\u0000 in a string"},
        {TEXT("\"\\ud800\""), "lone surrogate in a string"},
        {TEXT("\"\\ud800\\u0041\""), "lone surrogate in a string"},
        {TEXT("\"\\udc00\\ud800\""), "lone surrogate in a string"},
        {TEXT("\"a\nb\""), "control character in a string"},
        {TEXT("\"\\x41\""), "unknown escape in a string"},
        {TEXT("\"\\u12g4\""), "bad \\u escape in a string"},
        {TEXT("\"abc"), "unfinished string"},
        {TEXT("\"abc\\"), "unfinished string"},
        {TEXT("[1,]"), "not a JSON value"},
        {TEXT("[1 2]"), "expected ',' or ']'"},
        {TEXT("{\"a\":1,}"), "expected a key in quotes"},
        {TEXT("{\"a\" 1}"), "expected ':' after a key"},
        {TEXT("{a:1}"), "expected a key in quotes"},
        {TEXT("{\"a\":1]"), "expected ',' or '}'"},
        {TEXT("[1}"), "expected ',' or ']'"},
        {TEXT("nul"), "not a JSON value"},
        {TEXT("NaN"), "not a JSON value"},
        {TEXT("-"), "not a JSON value"},
        {TEXT("+1"), "not a JSON value"},
        {TEXT(".5"), "not a JSON value"},
        {TEXT("01"), "number with a leading zero"},
        {TEXT("-01"), "number with a leading zero"},
        {TEXT("1."), "number without digits after the point"},
        {TEXT("1e"), "number without digits in its exponent"},
        {TEXT("1e400"), "number out of range"},
        {TEXT("9007199254740992"), "number out of range"},
        {TEXT("-9007199254740992"), "number out of range"},
        {TEXT("'a'"), "not a JSON value"},
        {TEXT("[1,2"), "unfinished value"},
        {TEXT("/**/1"), "not a JSON value"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *why = parse(bad[i].text);
        if (!why || strcmp(why, bad[i].why) != 0)
            fail_msg("%.*s: said \"%s\", expected \"%s\"", (int)bad[i].text.n, bad[i].text.p, why ? why : "fine",
                     bad[i].why);
    }
}

static void takes_what_is_right(void **state)
{
    (void)state;
    static const struct slice good[] = {
        TEXT("{}"),
        TEXT(" [ ] "),
        TEXT("null"),
        TEXT("\"\""),
        TEXT("-0"),
        TEXT("0"),
        TEXT("1e3"),
        TEXT("-1.5E-3"),
        TEXT("9007199254740991"),
        TEXT("{\"a\":{\"a\":{\"a\":1}}}"),
        TEXT("\"\\ud83d\\ude00\""),
        TEXT("\"\xf0\x9f\x98\x80 \xe2\x80\xa8 \x7f\""),
        TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\""),
        TEXT("[true,false,null,{\"\":0}]"),
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const char *why = parse(good[i]);
        if (why)
            fail_msg("%.*s: said \"%s\"", (int)good[i].n, good[i].p, why);
    }
}

static void depth_is_32(void **state)
{
    (void)state;
    for (unsigned depth = 1; depth <= 40; depth++) {
        for (int object = 0; object < 2; object++) {
            struct buf b = BUF_INIT;
            for (unsigned i = 0; i < depth; i++)
                buf_str(&b, object ? "{\"a\":" : "[");
            buf_byte(&b, '1');
            for (unsigned i = 0; i < depth; i++)
                buf_byte(&b, object ? '}' : ']');
            const char *why = parse(buf_slice(&b));
            if (depth <= 32)
                assert_null(why);
            else
                assert_string_equal(why, "nested deeper than 32");
            buf_free(&b);
        }
    }
}

/* 64 KiB of '[' and an object of many keys cost what their size says. */
static void bombs_are_cheap(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    for (unsigned i = 0; i < 65536; i++)
        buf_byte(&b, '[');
    assert_string_equal(parse(buf_slice(&b)), "nested deeper than 32");
    for (int twice = 0; twice < 2; twice++) {
        buf_reset(&b);
        buf_byte(&b, '{');
        for (unsigned i = 0; i < 20000; i++)
            buf_printf(&b, "\"k%u\":0,", i);
        buf_str(&b, twice ? "\"k77\":0}" : "\"z\":0}");
        const char *why = parse(buf_slice(&b));
        assert_true(twice ? why != NULL : why == NULL);
    }
    buf_free(&b);
}

static void typed_members(void **state)
{
    (void)state;
    const char *why;
    struct cJSON *v = json_parse(
        SLICE_LIT("{\"s\":\"x\",\"i\":-7,\"e\":1e3,\"f\":1.5,\"n\":null,\"t\":true,\"a\":[1],\"o\":{}}"), &why);
    struct slice s;
    int64_t i;
    bool t;
    const struct cJSON *c;
    assert_int_equal(json_get_string(v, "s", &s), 1);
    assert_true(slice_eq(s, SLICE_LIT("x")));
    assert_int_equal(json_get_string(v, "S", &s), 0);
    assert_int_equal(json_get_string(v, "n", &s), 0);
    assert_int_equal(json_get_string(v, "i", &s), ERR_INVALID);
    assert_int_equal(json_get_int(v, "i", &i), 1);
    assert_int_equal(i, -7);
    assert_int_equal(json_get_int(v, "e", &i), 1);
    assert_int_equal(i, 1000);
    assert_int_equal(json_get_int(v, "f", &i), ERR_INVALID);
    assert_int_equal(json_get_bool(v, "t", &t), 1);
    assert_int_equal(json_get_bool(v, "i", &t), ERR_INVALID);
    assert_int_equal(json_get_array(v, "a", &c), 1);
    assert_int_equal(json_get_array(v, "o", &c), ERR_INVALID);
    assert_int_equal(json_get_object(v, "o", &c), 1);
    assert_int_equal(json_get_object(v, "a", &c), ERR_INVALID);
    json_free(v);
    v = json_parse(SLICE_LIT("[1]"), &why);
    assert_int_equal(json_get_int(v, "x", &i), 0);
    json_free(v);
}

/* What goes out comes in again, whatever the bytes. */
static void escaping_round_trips(void **state)
{
    (void)state;
    struct buf b = BUF_INIT, raw = BUF_INIT;
    for (unsigned c = 1; c < 0x80; c++)
        buf_byte(&raw, (uint8_t)c);
    buf_str(&raw, "\xc2\x80\xe2\x80\xa8\xf0\x9f\x98\x80");
    buf_lit(&b, "{\"s\":");
    buf_json_string(&b, buf_slice(&raw));
    buf_byte(&b, '}');
    const char *why;
    struct cJSON *v = json_parse(buf_slice(&b), &why);
    struct slice s;
    assert_int_equal(json_get_string(v, "s", &s), 1);
    assert_true(slice_eq(s, buf_slice(&raw)));
    json_free(v);
    buf_free(&b);
    buf_free(&raw);
}

/* In requests an integer may stand where nobody asks for it; it is never taken for a number that it is not. */
static void integers_nobody_knows(void **state)
{
    (void)state;
    static const struct {
        struct slice text;
        bool rounded;
    } cases[] = {
        {TEXT("{\"a\":9007199254740993,\"b\":5}"), true},
        {TEXT("{\"a\":[{\"c\":-18446744073709551616}],\"b\":5}"), true},
        {TEXT("{\"a\":123456789012345678901234567890123456789012345678901234567890,\"b\":5}"), true},
        {TEXT("{\"a\":9007199254740991,\"b\":5}"), false},
        {TEXT("{\"a\":1e300,\"b\":5}"), false}, /* who writes so means a double */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_verdict v;
        int64_t n;
        struct cJSON *tree = json_parse_open(cases[i].text, JSON_DEPTH, &v);
        assert_non_null(tree);
        assert_null(v.why);
        assert_int_equal(v.rounded, cases[i].rounded);
        if (v.rounded)
            assert_true(json_rounded(tree));
        assert_false(json_rounded(json_get(tree, "b")));
        assert_int_equal(json_get_int(tree, "b", &n), 1);
        if (i != 3)
            assert_int_equal(json_get_int(tree, "a", &n), ERR_INVALID);
        json_free(tree);
        const char *why = parse(cases[i].text);
        assert_int_equal(why != NULL, cases[i].rounded);
        assert_int_equal(json_check(cases[i].text) != NULL, cases[i].rounded);
    }
    assert_false(json_rounded(NULL));
}

/* What is refused is told from what is no JSON. */
static void refused_though_json(void **state)
{
    (void)state;
    static const struct {
        struct slice text;
        bool json;
    } cases[] = {
        {TEXT("{\"a\":\"\\ud83d\"}"), true},
        {TEXT("{\"a\":\"\\ud83d\\u0041\"}"), true},
        {TEXT("{\"a\":\"\\u0000\"}"), true},
        {TEXT("{\"a\":1e400}"), true},
        {TEXT("{\"a\":1,\"a\":2}"), true},
        {TEXT("{\"a\":{\"b\":1,\"b\":2}}"), true},
        {TEXT("[[[1]]]"), true},
        {TEXT("{\"a\":01}"), false},
        {TEXT("{\"a\":1"), false},
        {TEXT("{\"a\":\"\\x\"}"), false},
        {TEXT("{\"a\":\"\xff\"}"), false},
        {TEXT(""), false},
        {TEXT("{}{}"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_verdict v;
        assert_null(json_parse_open(cases[i].text, 2, &v));
        assert_non_null(v.why);
        assert_int_equal(v.json, cases[i].json);
    }
}

static void peeks(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int seq; /* -1: not readable */
    } cases[] = {
        {"{\"seq\":7}", 7},
        {" { \"a\" : 1 , \"seq\" : 65535 , }", 65535},
        {"{\"body\":{\"seq\":1,\"x\":\"\\ud83d\"},\"seq\":2}", 2},
        {"{\"body\":[{\"seq\":1}],\"seq\":2,\"x\":1,\"x\":2}", 2},
        {"{\"a\":\"\\\"seq\\\":3\",\"b\":\"\\\\\",\"seq\":4}", 4},
        {"{\"a\":\"seq\",\"seq\":5}", 5},
        {"{\"a\":01,\"seq\":6}", 6},
        {"{\"seq\":6,\"a\":\"", 6},
        {"{\"seq\":6", -1},
        {"{\"seq\":1,\"seq\":2}", -1},
        {"{\"seq\":1,\"seq\":\"\"}", -1},
        {"{\"seq\":65536}", -1},
        {"{\"seq\":99999999999999999999}", -1},
        {"{\"seq\":-1}", -1},
        {"{\"seq\":1.5}", -1},
        {"{\"seq\":\"7\"}", -1},
        {"{\"seq\":7}{\"seq\":8}", 7},
        {"[{\"seq\":7}]", -1},
        {"\"seq\":7", -1},
        {"}{\"seq\":7}", -1},
        {"{\"seq", -1},
        {"{\"seq\\", -1},
        {"{\"seqs\":7}", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t seq = 99;
        size_t n = strlen(cases[i].text);
        char *copy = malloc(n ? n : 1); /* of just that size */
        memcpy(copy, cases[i].text, n);
        print_message("%s\n", cases[i].text);
        assert_int_equal(json_peek(slice_of(copy, n), "seq", &seq), cases[i].seq >= 0);
        assert_int_equal(seq, cases[i].seq >= 0 ? cases[i].seq : 99);
        free(copy);
    }
}

static void paths_lead_into_a_tree(void **state)
{
    (void)state;
    const char *why = NULL, *word = NULL;
    struct cJSON *root = json_parse(SLICE_LIT("{\"a\":{\"b\":{\"c\":7}},\"d\":1}"), &why);
    assert_non_null(root);
    assert_ptr_equal(json_at(root, ""), root);
    assert_int_equal(json_at(root, "a.b.c")->valueint, 7);
    assert_int_equal(json_at(root, "d")->valueint, 1);
    assert_null(json_at(root, "a.x"));
    assert_null(json_at(root, "d.e"));
    assert_null(json_at(root, "a234567890123456789012345678901234567890123456789012345678901234"));
    struct cJSON *parent = json_parent(root, "n.m.word", &word);
    assert_ptr_equal(parent, json_at(root, "n.m"));
    assert_string_equal(word, "word");
    assert_ptr_equal(json_parent(root, "d", &word), root);
    assert_null(json_parent(root, "a234567890123456789012345678901234567890123456789012345678901234.b", &word));
    json_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_lead_into_a_tree), cmocka_unit_test(refuses_with_the_reason),
        cmocka_unit_test(takes_what_is_right),    cmocka_unit_test(depth_is_32),
        cmocka_unit_test(bombs_are_cheap),        cmocka_unit_test(typed_members),
        cmocka_unit_test(escaping_round_trips),   cmocka_unit_test(integers_nobody_knows),
        cmocka_unit_test(refused_though_json),    cmocka_unit_test(peeks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
