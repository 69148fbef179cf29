#include "core/net/proxy.h"
#include "core/net/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct http_limits limits = {.head = HTTP_HEAD_USUAL, .fields = HTTP_FIELDS_USUAL};

/* The header as a buffer of just its size, so that a sanitizer sees a look beyond. */
static ssize_t parse(const void *p, size_t n, struct proxy_header *h, const char **why)
{
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, p, n);
    *why = NULL;
    ssize_t rc = proxy_parse(copy, n, h, why);
    free(copy);
    return rc;
}

/* Whole, with something behind it, and cut at each byte. `source` NULL: nobody is named. */
static void good(const void *p, size_t n, const char *source)
{
    struct proxy_header h;
    const char *why;
    char shown[ADDRESS_TEXT] = "", more[PROXY_HEADER_MAX + 8];
    memcpy(more, p, n);
    memcpy(more + n, "\0\0\0\10x", 5);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(parse(p, cut, &h, &why), 0);
    assert_int_equal(parse(more, n + 5, &h, &why), n);
    assert_int_equal(parse(p, n, &h, &why), n);
    assert_int_equal(h.named, source != NULL);
    if (source) {
        address_print(&h.source, shown, sizeof shown);
        assert_string_equal(shown, source);
    }
}

static void bad(const void *p, size_t n)
{
    struct proxy_header h;
    const char *why;
    assert_int_equal(parse(p, n, &h, &why), ERR_INVALID);
    assert_non_null(why);
    /* It stays so. */
    bool over = false;
    for (size_t cut = 0; cut <= n; cut++) {
        ssize_t rc = parse(p, cut, &h, &why);
        assert_true(over ? rc == ERR_INVALID : rc == 0 || rc == ERR_INVALID);
        over = rc == ERR_INVALID;
    }
}

static void version_1(void **state)
{
    (void)state;
    static const struct {
        const char *line, *source; /* "-": nobody; NULL: refused */
    } cases[] = {
        {"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", "192.0.2.1"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"},
        {"PROXY TCP4 0.0.0.0 192.0.2.2 0 443\r\n", "0.0.0.0"},
        {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "2001:db8::1"},
        {"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"PROXY UNKNOWN\r\n", "-"},
        {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
         "65535\r\n",
         "-"},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\n", NULL},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 \r\n", NULL},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 56324 \r\n", NULL},
        {"PROXY TCP4 192.0.2.1\r\n", NULL},
        {"PROXY TCP4\r\n", NULL},
        {"PROXY \r\n", NULL},
        {"PROXY  TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", NULL},
        {"PROXY TCP4  192.0.2.1 192.0.2.2 56324 443\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 56324 65536\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 056324 443\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 0x1 443\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n", NULL},
        {"PROXY TCP4 192.0.2 192.0.2.2 56324 443\r\n", NULL},
        {"PROXY TCP4 192.0.2.1 localhost 56324 443\r\n", NULL},
        {"PROXY TCP4 2001:db8::1 ::1 1 2\r\n", NULL},
        {"PROXY TCP6 192.0.2.1 192.0.2.2 56324 443\r\n", NULL},
        {"PROXY TCP6 [2001:db8::1] ::1 1 2\r\n", NULL},
        {"PROXY tcp4 192.0.2.1 192.0.2.2 56324 443\r\n", NULL},
        {"PROXY UDP4 192.0.2.1 192.0.2.2 56324 443\r\n", NULL},
        {"PROXY UNKNOWNS\r\n", NULL},
        {"PROXY TCP4 192.0.2.1\r192.0.2.2 56324 443\r\n", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("%s", cases[i].line);
        if (cases[i].source)
            good(cases[i].line, strlen(cases[i].line), *cases[i].source == '-' ? NULL : cases[i].source);
        else
            bad(cases[i].line, strlen(cases[i].line));
    }
    /* One that has a NUL in it, and lines as long as may be, and longer. */
    bad("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n", 38);
    char line[200];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    bad(line, sizeof line);
    memcpy(line + PROXY_LINE_MAX - 2, "\r\n", 2);
    good(line, PROXY_LINE_MAX, NULL);
    line[PROXY_LINE_MAX - 2] = 'x';
    memcpy(line + PROXY_LINE_MAX - 1, "\r\n", 2);
    bad(line, PROXY_LINE_MAX + 1);
}

enum { SIGNATURE = 12 };

/* A header of version 2; its length says `length`, whatever follows. */
static size_t put_v2(uint8_t *out, uint8_t command, uint8_t family, unsigned length, const void *body, size_t n)
{
    memcpy(out, "\r\n\r\n\0\r\nQUIT\n", SIGNATURE);
    out[12] = command;
    out[13] = family;
    out[14] = (uint8_t)(length >> 8);
    out[15] = (uint8_t)length;
    memcpy(out + 16, body, n);
    return 16 + n;
}

static void version_2(void **state)
{
    (void)state;
    static const uint8_t four[12] = {192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb};
    static const uint8_t six[36] = {0x20, 1, 0xd, 0xb8, [15] = 1, [31] = 1};
    static const uint8_t tlvs[] = {192, 0, 2, 1,   192, 0, 2, 2, 0, 1,    0, 2, /* then ALPN, NOOP, an empty one */
                                   1,   0, 2, 'h', '2', 4, 0, 1, 0, 0xEE, 0, 0};
    uint8_t ends[216] = {0}, h[PROXY_HEADER_MAX + 1];
    good(h, put_v2(h, 0x21, 0x11, 12, four, 12), "192.0.2.1");
    good(h, put_v2(h, 0x21, 0x21, 36, six, 36), "2001:db8::1");
    good(h, put_v2(h, 0x21, 0x11, sizeof tlvs, tlvs, sizeof tlvs), "192.0.2.1");
    /* It speaks for itself; what else stands there means nothing. */
    good(h, put_v2(h, 0x20, 0x00, 0, "", 0), NULL);
    good(h, put_v2(h, 0x20, 0x11, 12, four, 12), NULL);
    good(h, put_v2(h, 0x20, 0xFF, 5, four, 5), NULL);
    /* It does not know, or not by an IP address, or not by TCP. */
    good(h, put_v2(h, 0x21, 0x00, 0, "", 0), NULL);
    good(h, put_v2(h, 0x21, 0x00, 7, four, 7), NULL);
    good(h, put_v2(h, 0x21, 0x31, 216, ends, 216), NULL);
    good(h, put_v2(h, 0x21, 0x32, 216, ends, 216), NULL);
    good(h, put_v2(h, 0x21, 0x12, 12, four, 12), NULL);
    good(h, put_v2(h, 0x21, 0x22, 36, six, 36), NULL);
    /* Lengths that lie: shorter than the addresses, longer than anything, extensions that end elsewhere. */
    bad(h, put_v2(h, 0x21, 0x11, 11, four, 11));
    bad(h, put_v2(h, 0x21, 0x11, 0, "", 0));
    bad(h, put_v2(h, 0x21, 0x21, 12, four, 12));
    bad(h, put_v2(h, 0x21, 0x31, 36, six, 36));
    bad(h, put_v2(h, 0x21, 0x11, 0xFFFF, four, 12));
    bad(h, put_v2(h, 0x20, 0x00, PROXY_HEADER_MAX - 15, "", 0));
    for (size_t n = sizeof four + 1; n < sizeof tlvs; n++)
        if (n != 17 && n != 21)
            bad(h, put_v2(h, 0x21, 0x11, (unsigned)n, tlvs, n));
    /* Unknown versions, commands, families. */
    for (unsigned v = 0; v < 256; v++)
        if (v != 0x20 && v != 0x21)
            bad(h, put_v2(h, (uint8_t)v, 0x11, 12, four, 12));
    bad(h, put_v2(h, 0x21, 0x01, 12, four, 12));
    bad(h, put_v2(h, 0x21, 0x13, 12, four, 12));
    bad(h, put_v2(h, 0x21, 0x41, 12, four, 12));
    /* As long as may be. */
    memset(h + 16, 0, PROXY_HEADER_MAX - 16);
    uint8_t *big = calloc(1, PROXY_HEADER_MAX);
    put_v2(big, 0x20, 0, PROXY_HEADER_MAX - 16, "", 0);
    struct proxy_header out;
    const char *why;
    assert_int_equal(parse(big, PROXY_HEADER_MAX - 1, &out, &why), 0);
    assert_int_equal(parse(big, PROXY_HEADER_MAX, &out, &why), PROXY_HEADER_MAX);
    free(big);
}

/* What clients begin with is told apart at its first bytes. */
static void none(void **state)
{
    (void)state;
    static const struct {
        const char *p;
        size_t n;
    } cases[] = {{"GET / HTTP/1.1\r\n", 16},
                 {"P", 0},
                 {"PUT / HTTP/1.1\r\n", 16},
                 {"PROPFIND / HTTP/1.1\r\n", 21},
                 {"PROXYTCP4", 9},
                 {"\0\0\0\x1f\0\1\0\1{\"name\":\"Ada\"}", 22},
                 {"\x16\3\1\2\0\1\0\1", 8},
                 {"\r\nGET / HTTP/1.1\r\n", 18},
                 {"\r\n\r\n\0\r\nQUIT\r", 12},
                 {"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 36}};
    struct proxy_header h;
    const char *why;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(parse(cases[i].p, cases[i].n, &h, &why), cases[i].n ? ERR_NOTFOUND : 0);
    assert_true(proxy_begins((const uint8_t *)"PROXY TCP4 ", 11));
    assert_true(proxy_begins((const uint8_t *)"PROX", 4));
    assert_true(proxy_begins((const uint8_t *)"\r\n\r\n\0\r\nQUIT\n!", 13));
    assert_false(proxy_begins((const uint8_t *)"PRO", 3));
    assert_false(proxy_begins((const uint8_t *)"PROXIES", 7));
}

static void lists(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "unix", "unix:/run/x", "localhost", "10.0.0.0/33", "127.0.0.1:80", "*"};
    struct proxies list = {.count = 0};
    struct address a;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(proxies_add(&list, wrong[i]));
    assert_true(proxies_add(&list, "10.0.0.0/8") && proxies_add(&list, "::1"));
    assert_true(address_parse(SLICE_LIT("10.1.1.1"), &a) && proxies_have(&list, &a));
    assert_true(address_parse(SLICE_LIT("::1"), &a) && proxies_have(&list, &a));
    assert_true(address_parse(SLICE_LIT("127.0.0.1"), &a) && !proxies_have(&list, &a));
    assert_false(list.unix_peers);
    assert_true(proxies_add(&list, "unix:") && list.unix_peers);
    while (list.count < PROXIES_MAX)
        assert_true(proxies_add(&list, "192.0.2.1"));
    assert_false(proxies_add(&list, "192.0.2.1"));
}

/* --- Heads -------------------------------------------------------------------------------------------------------- */

/* 10.0.0.0/8 and ::1 are proxies. */
static int forwarded(const char *fields, char shown[ADDRESS_TEXT])
{
    char text[2048];
    struct http_head h;
    struct address a;
    const char *why = NULL;
    struct proxies list = {.count = 0};
    assert_true(proxies_add(&list, "10.0.0.0/8") && proxies_add(&list, "::1"));
    int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
    assert_int_equal(http_parse((const uint8_t *)text, (size_t)n, &limits, &h), n);
    int rc = proxy_forwarded(&h, &list, &a, &why);
    assert_int_equal(rc < 0, why != NULL);
    snprintf(shown, ADDRESS_TEXT, "-");
    if (rc > 0)
        address_print(&a, shown, ADDRESS_TEXT);
    return rc;
}

#define XFF(s) "X-Forwarded-For: " s "\r\n"
#define FWD(s) "Forwarded: " s "\r\n"

static void heads(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *client; /* "-": nobody; NULL: refused */
    } cases[] = {
        {"", "-"},
        {XFF("192.0.2.1"), "192.0.2.1"},
        {XFF("192.0.2.1:4711"), "192.0.2.1"},
        {XFF("2001:db8::1"), "2001:db8::1"},
        {XFF("[2001:db8::1]:4711"), "2001:db8::1"},
        {XFF("198.51.100.7, 192.0.2.1"), "192.0.2.1"}, /* what the client wrote itself stands before */
        {XFF("192.0.2.1, 10.1.1.1,10.2.2.2"), "192.0.2.1"},
        {XFF("198.51.100.7, 192.0.2.1, 10.1.1.1, ::1"), "192.0.2.1"},
        {XFF("10.1.1.1, 10.2.2.2"), "10.1.1.1"},
        {XFF("198.51.100.7") XFF("192.0.2.1, 10.1.1.1"), "192.0.2.1"},
        {XFF("198.51.100.7") XFF("10.1.1.1"), "198.51.100.7"},
        {XFF(" , ,192.0.2.1,, "), "192.0.2.1"},
        {XFF(""), "-"},
        {XFF("unknown"), "-"},
        {XFF("192.0.2.1, unknown"), "-"},
        {XFF("192.0.2.1, unknown, 10.1.1.1"), "10.1.1.1"}, /* nobody answers for what stands before it */
        {XFF("198.51.100.7, <script>, 192.0.2.1"), "192.0.2.1"},
        {XFF("192.0.2.1:99999"), "-"},
        {XFF("[192.0.2.1]"), "-"},
        {XFF("unix:"), "-"},
        {FWD("for=192.0.2.1"), "192.0.2.1"},
        {FWD("For=\"192.0.2.1:4711\""), "192.0.2.1"},
        {FWD("proto=https;for=\"[2001:db8::1]:4711\";by=_x"), "2001:db8::1"},
        {FWD("for=\"[2001:db8::1]\", for=10.1.1.1;proto=http"), "2001:db8::1"},
        {FWD("for=198.51.100.7 , for=192.0.2.1 ;by=10.0.0.1"), "192.0.2.1"},
        {FWD("for=198.51.100.7") FWD("for=192.0.2.1"), "192.0.2.1"},
        {FWD("for=\"192.0.\\2.1\""), "192.0.2.1"},
        {FWD("for=\"_hidden\""), "-"},
        {FWD("for=unknown"), "-"},
        {FWD("for=192.0.2.1, for=unknown"), "-"},
        {FWD("for=192.0.2.1, proto=https"), "-"}, /* the nearest proxy does not say */
        {FWD("proto=https, for=192.0.2.1"), "192.0.2.1"},
        {FWD("for=\"192.0.2.1:_obf\""), "192.0.2.1"},
        {FWD(", for=192.0.2.1,"), "192.0.2.1"},
        {FWD("by=\"a,for=198.51.100.7\";for=192.0.2.1"), "192.0.2.1"},
        {FWD("for"), NULL},
        {FWD("for="), NULL},
        {FWD("for=192.0.2.1 for=192.0.2.2"), NULL},
        {FWD("for=192.0.2.1;for=192.0.2.2"), NULL},
        {FWD("for=192.0.2.1;"), NULL},
        {FWD("for = 192.0.2.1"), NULL},
        {FWD("=192.0.2.1"), NULL},
        {FWD("for=\"198.51.100.7, for=192.0.2.1"), NULL}, /* the client's quote would swallow what its proxy adds */
        {FWD("for=\"198.51.100.7, for=\"192.0.2.1\""), NULL},
        {FWD("for=\"x\\"), NULL},
        {FWD("for=[2001:db8::1]"), NULL},
        {FWD("for=192.0.2.1") XFF("192.0.2.1"), "192.0.2.1"},
        {FWD("for=192.0.2.1") XFF("unknown"), "192.0.2.1"},
        {FWD("proto=https") XFF("192.0.2.1"), "192.0.2.1"},
        {FWD("for=198.51.100.7") XFF("192.0.2.1"), NULL}, /* one of them is the client's own */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char shown[ADDRESS_TEXT];
        print_message("%s", cases[i].fields);
        int rc = forwarded(cases[i].fields, shown);
        assert_int_equal(rc < 0, cases[i].client == NULL);
        if (cases[i].client)
            assert_string_equal(shown, cases[i].client);
    }
    /* A value longer than any address. */
    char field[700] = "Forwarded: for=\"", shown[ADDRESS_TEXT];
    memset(field + 16, '1', 600);
    strcpy(field + 616, "\"\r\n");
    assert_int_equal(forwarded(field, shown), 0);
}

static void tells_of_a_proxy(void **state)
{
    (void)state;
    static const struct {
        const char *line, *fields;
        bool tells;
    } cases[] = {{"GET /metrics HTTP/1.1", "Accept: */*\r\n", false},
                 {"GET /metrics HTTP/1.1", "Connection: close\r\n", false},
                 {"GET /metrics HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false},
                 {"GET /metrics HTTP/1.1", "Connection: upgrade\r\n", true},
                 {"GET /metrics HTTP/1.0", "", true},
                 {"GET /metrics HTTP/1.1", "x-forwarded-proto: https\r\n", true},
                 {"GET /metrics HTTP/1.1", "X-Forwarded-For:\r\n", true},
                 {"GET /metrics HTTP/1.1", "X-Real-IP: 1.2.3.4\r\n", true},
                 {"GET /metrics HTTP/1.1", "Forwarded: proto=http\r\n", true},
                 {"GET /metrics HTTP/1.1", "Via: 1.1 x\r\n", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        struct http_head h;
        int n = snprintf(text, sizeof text, "%s\r\nHost: h\r\n%s\r\n", cases[i].line, cases[i].fields);
        assert_int_equal(http_parse((const uint8_t *)text, (size_t)n, &limits, &h), n);
        assert_int_equal(proxy_in_head(&h), cases[i].tells);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1), cmocka_unit_test(version_2), cmocka_unit_test(none),
        cmocka_unit_test(lists),     cmocka_unit_test(heads),     cmocka_unit_test(tells_of_a_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
