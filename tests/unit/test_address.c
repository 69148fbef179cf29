#include "core/net/address.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include <cmocka.h>

static void texts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown; /* NULL: no address */
    } cases[] = {{"192.0.2.1", "192.0.2.1"},
                 {"2001:db8::1", "2001:db8::1"},
                 {"2001:0DB8:0:0::1", "2001:db8::1"},
                 {"::ffff:192.0.2.1", "192.0.2.1"},
                 {"::", "::"},
                 {"", NULL},
                 {"192.0.2", NULL},
                 {"192.0.2.256", NULL},
                 {"192.0.2.01", NULL},
                 {" 192.0.2.1", NULL},
                 {"192.0.2.1 ", NULL},
                 {"[::1]", NULL},
                 {"fe80::1%lo", NULL},
                 {"localhost", NULL},
                 {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct address a;
        char shown[ADDRESS_TEXT];
        print_message("%s\n", cases[i].text);
        assert_int_equal(address_parse(slice_str(cases[i].text), &a), cases[i].shown != NULL);
        if (!cases[i].shown)
            continue;
        address_print(&a, shown, sizeof shown);
        assert_string_equal(shown, cases[i].shown);
    }
    struct address a;
    assert_false(address_parse(slice_of("::1\0", 4), &a));
}

static void sockets(void **state)
{
    (void)state;
    struct address a, b;
    char shown[ADDRESS_TEXT];
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    assert_true(address_of((const struct sockaddr *)&v4, &a));
    address_print(&a, shown, sizeof shown);
    assert_string_equal(shown, "127.0.0.2");
    assert_true(address_is_v4(&a) && address_is_loopback(&a));
    assert_true(address_of((const struct sockaddr *)&v6, &b));
    assert_true(!address_is_v4(&b) && address_is_loopback(&b));
    assert_false(address_of((const struct sockaddr *)&un, &b));
    assert_true(address_parse(SLICE_LIT("::ffff:127.0.0.2"), &b));
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(address_parse(SLICE_LIT("127.0.0.2"), &b));
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(address_parse(SLICE_LIT("128.0.0.1"), &b) && !address_is_loopback(&b));
    assert_true(address_parse(SLICE_LIT("::2"), &b) && !address_is_loopback(&b));
}

static void networks(void **state)
{
    (void)state;
    static const struct {
        const char *network, *in, *out; /* NULL, NULL: no network */
    } cases[] = {{"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
                 {"10.1.2.3/8", "10.255.0.1", "11.0.0.0"},
                 {"192.0.2.1", "192.0.2.1", "192.0.2.2"},
                 {"192.0.2.1/32", "192.0.2.1", "192.0.2.0"},
                 {"192.0.2.2/31", "192.0.2.3", "192.0.2.4"},
                 {"0.0.0.0/0", "255.255.255.255", "::1"},
                 {"::/0", "2001:db8::1", "192.0.2.1"},
                 {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
                 {"::1", "::1", "::2"},
                 {"::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"},
                 {"10.0.0.0/33", NULL, NULL},
                 {"::/129", NULL, NULL},
                 {"10.0.0.0/", NULL, NULL},
                 {"10.0.0.0/8x", NULL, NULL},
                 {"10.0.0.0/-1", NULL, NULL},
                 {"10.0.0.0/0008", NULL, NULL},
                 {"10.0.0/8", NULL, NULL},
                 {"/8", NULL, NULL},
                 {"", NULL, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct network n;
        struct address a;
        print_message("%s\n", cases[i].network);
        assert_int_equal(network_parse(slice_str(cases[i].network), &n), cases[i].in != NULL);
        if (!cases[i].in)
            continue;
        assert_true(address_parse(slice_str(cases[i].in), &a));
        assert_true(network_has(&n, &a));
        assert_true(address_parse(slice_str(cases[i].out), &a));
        assert_false(network_has(&n, &a));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(sockets),
        cmocka_unit_test(networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
