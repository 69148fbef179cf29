#include "core/net/origin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void origins(void **state)
{
    (void)state;
    static const char *const list[] = {"https://chat.example", "http://h:1", NULL}, *const none[] = {NULL};
    static const struct {
        const char *origin, *host;
        const char *const *allowed;
        enum origin_way way;
        bool ok;
    } cases[] = {
        {"http://chat.example", "chat.example", none, ORIGIN_NETWORK, true},
        {"http://chat.example", "chat.example", NULL, ORIGIN_NETWORK, true},
        {"https://Chat.Example", "chat.example:8082", none, ORIGIN_NETWORK, true},
        {"http://chat.example:8000", "chat.example:8082", none, ORIGIN_NETWORK, true},
        {"http://[::2]:1", "[::2]", none, ORIGIN_NETWORK, true},
        {"http://evil.example", "chat.example", none, ORIGIN_NETWORK, false},
        {"http://chat.example.evil.example", "chat.example", none, ORIGIN_NETWORK, false},
        {"http://evilchat.example", "chat.example", none, ORIGIN_NETWORK, false},
        {"http://chat.example/", "chat.example", none, ORIGIN_NETWORK, false},
        {"http://chat.example@evil.example", "chat.example", none, ORIGIN_NETWORK, false},
        {"http://evil.example#chat.example", "chat.example", none, ORIGIN_NETWORK, false},
        {"ftp://chat.example", "chat.example", none, ORIGIN_NETWORK, false},
        {"chat.example", "chat.example", none, ORIGIN_NETWORK, false},
        {"null", "null", none, ORIGIN_NETWORK, false},
        {"null", "chat.example", none, ORIGIN_LOOPBACK, false},
        {"", "chat.example", none, ORIGIN_LOOPBACK, false},
        {"http://", "chat.example", none, ORIGIN_LOOPBACK, false},
        {"http://chat.example", "", none, ORIGIN_NETWORK, false},
        /* Loopback origins, where the server is on a loopback address. */
        {"http://localhost:3000", "127.0.0.1:8082", none, ORIGIN_LOOPBACK, true},
        {"http://127.0.0.1", "localhost:8082", none, ORIGIN_LOOPBACK, true},
        {"http://127.1.2.3:9", "x", none, ORIGIN_LOOPBACK, true},
        {"https://[::1]", "127.0.0.1", none, ORIGIN_LOOPBACK, true},
        {"http://localhost:3000", "chat.example", none, ORIGIN_NETWORK, false},
        {"http://127.0.0.1.evil.example", "127.0.0.1", none, ORIGIN_LOOPBACK, false},
        {"http://127.evil.example", "127.0.0.1", none, ORIGIN_LOOPBACK, false},
        {"http://localhost.evil.example", "localhost", none, ORIGIN_LOOPBACK, false},
        {"http://evil.example", "127.0.0.1", none, ORIGIN_LOOPBACK, false},
        {"http://127.1.2.3:9", "x.example", none, ORIGIN_UNIX, true},
        {"http://chat.example", "chat.example", none, ORIGIN_UNIX, true},
        /* A page whose name has come to mean this machine is of the same host; its name is not one of ours. */
        {"http://evil.example:8082", "evil.example:8082", none, ORIGIN_LOOPBACK, false},
        {"http://evil.example", "evil.example", NULL, ORIGIN_LOOPBACK, false},
        {"http://127.0.0.1.evil.example", "127.0.0.1.evil.example", none, ORIGIN_LOOPBACK, false},
        {"http://localhost:3000", "evil.example", none, ORIGIN_LOOPBACK, false},
        {"http://chat.localhost:1", "chat.localhost:8082", none, ORIGIN_LOOPBACK, true},
        {"http://myhost", "myhost:8082", none, ORIGIN_LOOPBACK, true},
        {"http://192.0.2.1", "192.0.2.1:8082", none, ORIGIN_LOOPBACK, true},
        {"http://[::1]:9", "[::1]:8082", none, ORIGIN_LOOPBACK, true},
        /* A list is all there is. */
        {"https://chat.example", "x", list, ORIGIN_NETWORK, true},
        {"http://h:1", "x", list, ORIGIN_NETWORK, true},
        {"http://h", "h", list, ORIGIN_LOOPBACK, false},
        {"https://chat.example:443", "chat.example", list, ORIGIN_LOOPBACK, false},
        {"HTTPS://chat.example", "chat.example", list, ORIGIN_LOOPBACK, false},
        {"http://localhost", "localhost", list, ORIGIN_LOOPBACK, false},
        {"null", "null", list, ORIGIN_LOOPBACK, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("%s to %s\n", cases[i].origin, cases[i].host);
        assert_int_equal(
            origin_allowed(slice_str(cases[i].origin), slice_str(cases[i].host), cases[i].allowed, cases[i].way),
            cases[i].ok);
    }
}

static void hosts(void **state)
{
    (void)state;
    static const char *const list[] = {"https://Chat.example", "http://h.example:1", NULL}, *const none[] = {NULL};
    static const struct {
        const char *host;
        const char *const *allowed;
        bool known;
    } cases[] = {
        {"", none, true}, /* HTTP/1.0: no browser */
        {"127.0.0.1:8082", NULL, true},
        {"127.0.0.1", none, true},
        {"10.1.2.3:80", none, true},
        {"127.1", none, true},
        {"[::1]:8082", none, true},
        {"[fe80::1]", none, true},
        {"localhost:8082", none, true},
        {"LocalHost", none, true},
        {"localhost.", none, true},
        {"chat.localhost:1", none, true},
        {"chat:8082", none, true},
        {"evil.example:8082", none, false},
        {"evil.example", NULL, false},
        {"evil.example.", none, false},
        {"localhost.evil.example", none, false},
        {"notlocalhost.example", none, false},
        {"evil.notlocalhost", none, false},
        {"127.0.0.1.evil.example", none, false},
        {"127.0.0.1.x", none, false},
        {"1.2.3.4e", none, false},
        {"chat.example", list, true},
        {"CHAT.example:8082", list, true},
        {"chat.example.", list, true},
        {"h.example:2", list, true},
        {"h.example.evil.example", list, false},
        {"xh.example", list, false},
        {".example", list, false},
        {"127.0.0.1", list, true},
        {"localhost", list, true},
        {"evil@127.0.0.1", list, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("%s\n", cases[i].host);
        assert_int_equal(origin_knows_host(slice_str(cases[i].host), cases[i].allowed), cases[i].known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins),
        cmocka_unit_test(hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
