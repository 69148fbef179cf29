/* The record layer of TLS 1.3 against another one (tls_kit.h), the trace of RFC 8448, and OpenSSL's client. */
#include "tests/unit/tls_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/uio.h>

#include <cmocka.h>

static const unsigned suites[] = {0x1301, 0x1302, 0x1303};
enum { SUITES = 3, BUFFER = 1 << 17 };

/* A server's record layer and its client. */
struct pair {
    struct tls_crypto *c;
    struct tls_records *r;
    struct peer_way out, in; /* the client's records; what it opens the server's with */
    uint8_t *buffer;         /* BUFFER bytes */
};

static struct tls_secrets some_secrets(unsigned suite)
{
    struct tls_secrets s = {.client_n = suite == 0x1302 ? 48 : 32, .server_n = suite == 0x1302 ? 48 : 32};
    for (unsigned i = 0; i < s.client_n; i++)
        s.client[i] = (uint8_t)(i + 1), s.server[i] = (uint8_t)(200 - i);
    return s;
}

static struct pair pair_of(unsigned suite)
{
    struct tls_secrets s = some_secrets(suite);
    struct pair p = {.c = tls_crypto_new(), .out = peer_way(suite, s.client), .in = peer_way(suite, s.server)};
    p.r = tls_records_new(p.c, suite, &s, 1);
    p.in.seq = 1;
    p.buffer = malloc(BUFFER);
    assert_true(p.c && p.r && p.buffer);
    return p;
}

static void pair_end(struct pair *p)
{
    tls_records_free(p->r);
    tls_crypto_free(p->c);
    free(p->buffer);
}

/* Seals one text and opens it at the client. */
static void say(struct pair *p, const char *text)
{
    struct iovec v = {(void *)(uintptr_t)text, strlen(text)};
    struct tls_sealed s;
    unsigned type = 0;
    size_t used = 0;
    assert_int_equal(tls_records_seal(p->c, p->r, &v, 1, 0, p->buffer, TLS_SEAL_ROOM, &s), 0);
    assert_int_equal(s.taken, v.iov_len);
    assert_int_equal(peer_open(&p->in, p->buffer, s.n, &type, &used), v.iov_len);
    assert_int_equal(used, s.n);
    assert_int_equal(type, PEER_DATA);
    assert_memory_equal(p->buffer + 5, text, v.iov_len);
}

static void hear(struct pair *p, const char *text)
{
    struct tls_opened o;
    size_t n = peer_seal(&p->out, PEER_DATA, text, strlen(text), 0, p->buffer);
    assert_int_equal(tls_records_open(p->c, p->r, p->buffer, n, &o), 0);
    assert_int_equal(o.used, n);
    assert_int_equal(o.plain, strlen(text));
    assert_memory_equal(p->buffer, text, o.plain);
}

static void both_ways(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SUITES; i++) {
        struct pair p = pair_of(suites[i]);
        say(&p, "hello");
        hear(&p, "hello yourself");
        say(&p, "good");
        hear(&p, "bye");
        pair_end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
