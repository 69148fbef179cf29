#include "core/net/net_private.h"
#include "core/net/net_shared.h"
#include "core/net/net_shared_private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include <cmocka.h>

static bool add(struct net_shared *s, const char *address, uint32_t limit, uint32_t *slot)
{
    struct sockaddr_storage a = {.ss_family = strchr(address, ':') ? AF_INET6 : AF_INET};
    void *to = a.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)(void *)&a)->sin_addr
                                      : (void *)&((struct sockaddr_in6 *)(void *)&a)->sin6_addr;
    assert_int_equal(inet_pton(a.ss_family, address, to), 1);
    return shared_ip_add(s, (const struct sockaddr *)(const void *)&a, limit, slot);
}

static void connections(void **state)
{
    (void)state;
    struct net_shared *s = net_shared_new();
    assert_true(shared_connection_add(s, 2));
    assert_true(shared_connection_add(s, 2));
    assert_false(shared_connection_add(s, 2));
    assert_true(shared_connection_add(s, 0));
    assert_int_equal(net_shared_connections(s), 3);
    shared_connection_remove(s);
    shared_connection_remove(s);
    assert_true(shared_connection_add(s, 2));
    assert_int_equal(net_shared_connections(s), 2);
    net_shared_free(s);
    net_shared_free(NULL);
}

static void queued(void **state)
{
    (void)state;
    struct net_shared *s = net_shared_new();
    shared_queued_add(s, 1000, 2);
    assert_int_equal(net_shared_queued(s), 1000);
    assert_int_equal(shared_blocked(s), 2);
    /* Another net's difference may come first. */
    shared_queued_add(s, -1500, -3);
    assert_int_equal(net_shared_queued(s), 0);
    assert_int_equal(shared_blocked(s), 0);
    shared_queued_add(s, 500, 1);
    assert_int_equal(net_shared_queued(s), 0);
    shared_queued_add(s, 7, 0);
    assert_int_equal(net_shared_queued(s), 7);
    net_shared_free(s);
}

static void per_address(void **state)
{
    (void)state;
    struct net_shared *s = net_shared_new();
    uint32_t a, b, c;
    assert_true(add(s, "192.0.2.1", 2, &a));
    assert_true(add(s, "192.0.2.1", 2, &b));
    assert_int_equal(a, b);
    assert_false(add(s, "192.0.2.1", 2, &c));
    assert_int_equal(c, IP_SLOT_NONE);
    assert_true(add(s, "192.0.2.2", 2, &c));
    shared_ip_remove(s, a);
    assert_true(add(s, "192.0.2.1", 2, &a));
    /* The same address by way of IPv6; a /64 is one host. */
    assert_false(add(s, "::ffff:192.0.2.1", 2, &c));
    assert_true(add(s, "2001:db8::1", 2, &a));
    assert_true(add(s, "2001:db8::ffff:1", 2, &b));
    assert_int_equal(a, b);
    assert_false(add(s, "2001:db8::2", 2, &c));
    assert_true(add(s, "2001:db8:0:1::2", 2, &c));
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    assert_true(shared_ip_add(s, (struct sockaddr *)&un, 1, &c));
    assert_int_equal(c, IP_SLOT_NONE);
    shared_ip_remove(s, IP_SLOT_NONE);
    net_shared_free(s);
}

/* Thousands of addresses that come and go. */
static void many_addresses(void **state)
{
    (void)state;
    struct net_shared *s = net_shared_new();
    static uint32_t slots[5000];
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 5000; i++) {
            struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000000 + i)};
            assert_true(shared_ip_add(s, (struct sockaddr *)&a, 1, &slots[i]));
            uint32_t none;
            assert_false(shared_ip_add(s, (struct sockaddr *)&a, 1, &none));
        }
        for (uint32_t i = 0; i < 5000; i++)
            shared_ip_remove(s, slots[(i * 7) % 5000]);
    }
    net_shared_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections),
        cmocka_unit_test(queued),
        cmocka_unit_test(per_address),
        cmocka_unit_test(many_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
