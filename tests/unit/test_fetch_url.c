/* URLs that scripts may fetch, and addresses that they may not reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/script/fetch_address.h"
#include "core/script/fetch_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static void taken(void **state)
{
    static const struct {
        const char *text, *again;
    } cases[] = {
        {"http://example.com", "http://example.com:80/"},
        {"HTTPS://Example.COM:8443/A/b?c=d&e=%2F", "https://example.com:8443/A/b?c=d&e=%2F"},
        {"https://example.com?q", "https://example.com:443/?q"},
        {"http://127.0.0.1:9/", "http://127.0.0.1:9/"},
        {"http://[::1]/x", "http://[::1]:80/x"},
        {"http://[0:0::0001]:81", "http://[::1]:81/"},
        {"http://a-b.c/..a/b../.../%2e%2ea", "http://a-b.c:80/..a/b../.../%2e%2ea"},
        {"http://h/a@b:c", "http://h:80/a@b:c"},
        {"http://h//a//", "http://h:80//a//"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fetch_url u;
        char again[200];
        const char *wrong = fetch_url_parse(slice_str(cases[i].text), &u);
        if (wrong)
            fail_msg("%s: %s", cases[i].text, wrong);
        assert_true(fetch_url_text(&u, again, sizeof again));
        assert_string_equal(again, cases[i].again);
        wrong = fetch_url_parse(slice_str(again), &u);
        if (wrong)
            fail_msg("%s: %s", again, wrong);
        char small[200];
        assert_false(fetch_url_text(&u, small, strlen(again)));
    }
}

static void refused(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "http://"},
        {"ftp://a/", "http://"},
        {"file:///etc/passwd", "http://"},
        {"//a/", "http://"},
        {" http://a/", "http://"},
        {"http:/a", "http://"},
        {"http://", "no host"},
        {"http:///x", "no host"},
        {"http://user@a/", "a user"},
        {"http://user:pw@a/", "a user"},
        {"http://a:80@b/", "a user"},
        {"http://a%40b/", "no host has"},
        {"http://a@b@c/", "a user"},
        {"http://a\\@b/", "a user"},
        {"http://a#@b/", "a fragment"},
        {"http://a/#x", "a fragment"},
        {"http://a_b/", "no host has"},
        {"http://\xc3\xbc.de/", "no host"},
        {"http://a.b./", "ends in a dot"},
        {"http://.a/", "empty part"},
        {"http://a..b/", "empty part"},
        {"http://127.1/", "no IPv4"},
        {"http://2130706433/", "no IPv4"},
        {"http://0x7f000001/", "no IPv4"},
        {"http://0x7f.0.0.1/", "no IPv4"},
        {"http://a.0x1/", "no IPv4"},
        {"http://127.0.0.01/", "no IPv4"},
        {"http://0177.0.0.1/", "no IPv4"},
        {"http://1.2.3.4.5/", "no IPv4"},
        {"http://[::1/", "brackets"},
        {"http://[]/", "brackets"},
        {"http://[::1%25lo]/", "brackets"},
        {"http://[127.0.0.1]/", "brackets"},
        {"http://::1/", "no host"},
        {"http://a:/", "its port"},
        {"http://a:0/", "its port"},
        {"http://a:65536/", "its port"},
        {"http://a:99999999999/", "its port"},
        {"http://a:8x/", "no host has"},
        {"http://a:80b/", "no host has"},
        {"http://a/ b", "%XX"},
        {"http://a/\r\nHost: b", "%XX"},
        {"http://a/\"", "%XX"},
        {"http://a/\\b", "%XX"},
        {"http://a/\x7f", "%XX"},
        {"http://a/%", "two hexadecimal"},
        {"http://a/%4", "two hexadecimal"},
        {"http://a/%4g", "two hexadecimal"},
        {"http://a/?%zz", "two hexadecimal"},
        {"http://a/../b", "segment"},
        {"http://a/b/..", "segment"},
        {"http://a/./b", "segment"},
        {"http://a/%2e%2E/b", "segment"},
        {"http://a/.%2e", "segment"},
        {"http://a/b%2fc", "%2F"},
        {"http://a/b%5Cc", "%2F"},
        {"http://a/%00", "control"},
        {"http://a/%0d%0a", "control"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fetch_url u;
        const char *wrong = fetch_url_parse(slice_str(cases[i].text), &u);
        if (!wrong || !strstr(wrong, cases[i].why))
            fail_msg("%s: expected %s, got %s", cases[i].text, cases[i].why, wrong ? wrong : "nothing");
    }
    char text[FETCH_URL_MAX + 2];
    struct fetch_url u;
    memset(text, 'a', sizeof text);
    memcpy(text, "http://a/", 9);
    assert_null(fetch_url_parse(slice_of(text, FETCH_URL_MAX), &u));
    assert_non_null(fetch_url_parse(slice_of(text, FETCH_URL_MAX + 1), &u));
    assert_non_null(fetch_url_parse(slice_of(text, 7 + FETCH_HOST_MAX + 1), &u) == NULL ? "taken" : NULL);
    text[8] = 'a';
    assert_non_null(fetch_url_parse(slice_of(text, 7 + FETCH_HOST_MAX + 1), &u));
}

static void prefixes(void **state)
{
    static const struct {
        const char *prefix, *url;
        bool below;
    } cases[] = {
        {"https://a.example/", "https://a.example/x?y", true},
        {"https://a.example", "https://A.example:443/", true},
        {"https://a.example/api", "https://a.example/api", true},
        {"https://a.example/api", "https://a.example/api/", true},
        {"https://a.example/api", "https://a.example/api?x", true},
        {"https://a.example/api/", "https://a.example/api/v1", true},
        {"https://a.example/api/", "https://a.example/api", true},
        {"https://a.example/api", "https://a.example/apiary", false},
        {"https://a.example/api", "https://a.example/API", false},
        {"https://a.example/api", "https://a.example/", false},
        {"https://a.example/api", "https://a.example/%61pi", false},
        {"https://a.example", "http://a.example/", false},
        {"https://a.example", "https://a.example:8443/", false},
        {"https://a.example", "https://a.example.evil.test/", false},
        {"https://a.example", "https://xa.example/", false},
        {"http://[::1]", "http://[0::1]/x", true},
        {"http://127.0.0.1", "http://localhost/", false},
        {"http://127.0.0.1", "http://[::ffff:127.0.0.1]/", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fetch_url p, u;
        assert_null(fetch_url_parse(slice_str(cases[i].prefix), &p));
        assert_null(fetch_url_parse(slice_str(cases[i].url), &u));
        if (fetch_url_below(&u, &p) != cases[i].below)
            fail_msg("%s below %s: expected %d", cases[i].url, cases[i].prefix, cases[i].below);
    }
}

static const char *kind(const char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    struct sockaddr_in6 b = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &a.sin_addr) == 1)
        return fetch_address_kind((struct sockaddr *)&a);
    assert_int_equal(inet_pton(AF_INET6, text, &b.sin6_addr), 1);
    return fetch_address_kind((struct sockaddr *)&b);
}

static void addresses(void **state)
{
    static const char *const open[] = {"1.1.1.1",         "8.8.8.8",         "93.184.216.34",  "172.15.255.255",
                                       "172.32.0.0",      "192.167.255.255", "100.63.255.255", "100.128.0.0",
                                       "223.255.255.255", "2606:4700::1111", "2a00:1450::1",   "64:ff9b::808:808",
                                       "::ffff:8.8.8.8",  "2002:808:808::1"},
                             *const closed[] = {"0.0.0.0",
                                                "10.1.2.3",
                                                "100.64.0.1",
                                                "127.0.0.1",
                                                "127.255.255.254",
                                                "169.254.169.254",
                                                "172.16.0.1",
                                                "172.31.255.255",
                                                "192.0.0.1",
                                                "192.0.2.1",
                                                "192.168.1.1",
                                                "198.18.0.1",
                                                "198.19.255.255",
                                                "198.51.100.1",
                                                "203.0.113.1",
                                                "224.0.0.1",
                                                "239.1.1.1",
                                                "240.0.0.1",
                                                "255.255.255.255",
                                                "::",
                                                "::1",
                                                "::2",
                                                "fe80::1",
                                                "febf::1",
                                                "fec0::1",
                                                "fc00::1",
                                                "fdff::1",
                                                "ff02::1",
                                                "2001:db8::1",
                                                "2001::1",
                                                "2001:10::1",
                                                "3fff::1",
                                                "::ffff:127.0.0.1",
                                                "::ffff:10.0.0.1",
                                                "::ffff:0:7f00:1",
                                                "::127.0.0.1",
                                                "64:ff9b::7f00:1",
                                                "64:ff9b::a00:1",
                                                "64:ff9b:1::1",
                                                "2002:7f00:1::1",
                                                "2002:a00:1::1",
                                                "100::1",
                                                "4000::1",
                                                "5f00::1"};
    (void)state;
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        if (kind(open[i]))
            fail_msg("%s: %s", open[i], kind(open[i]));
    for (size_t i = 0; i < sizeof closed / sizeof closed[0]; i++)
        if (!kind(closed[i]))
            fail_msg("%s is open", closed[i]);
    assert_string_equal(kind("::ffff:127.0.0.1"), "a loopback address");
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
    assert_true(fetch_address_is((struct sockaddr *)&a, "127.0.0.1"));
    assert_false(fetch_address_is((struct sockaddr *)&a, "127.0.0.2"));
    assert_false(fetch_address_is((struct sockaddr *)&a, "::ffff:127.0.0.1"));
    struct sockaddr other = {.sa_family = AF_UNIX};
    assert_non_null(fetch_address_kind(&other));
    assert_false(fetch_address_is(&other, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(taken), cmocka_unit_test(refused), cmocka_unit_test(prefixes),
                                       cmocka_unit_test(addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
