/* A server's record layer and its client (tls_kit.h), with cmocka's assertions. */
#ifndef MAGPIE_TESTS_TLS_PAIR_H
#define MAGPIE_TESTS_TLS_PAIR_H

#include "tests/unit/tls_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/uio.h>

#include <cmocka.h>

static const unsigned suite_ids[] = {0x1301, 0x1302, 0x1303};
enum { SUITE_COUNT = 3, BUFFER = 1 << 18 };

struct pair {
    struct tls_crypto *c;
    struct tls_records *r;
    struct peer_way out, in; /* the client's records; what it opens the server's with */
    uint8_t *buffer;         /* BUFFER bytes: what goes from one to the other */
    uint8_t *kept;           /* BUFFER bytes: what the server has not opened yet */
    size_t kept_n;
    uint8_t *plain; /* BUFFER bytes: what it has opened */
    size_t plain_n;
};

static inline struct tls_secrets some_secrets(unsigned suite)
{
    struct tls_secrets s = {.client_n = suite == 0x1302 ? 48 : 32, .server_n = suite == 0x1302 ? 48 : 32};
    for (unsigned i = 0; i < s.client_n; i++)
        s.client[i] = (uint8_t)(i + 1), s.server[i] = (uint8_t)(200 - i);
    return s;
}

static inline struct pair pair_of(unsigned suite)
{
    struct tls_secrets s = some_secrets(suite);
    struct pair p = {.c = tls_crypto_new(), .out = peer_way(suite, s.client), .in = peer_way(suite, s.server)};
    p.r = tls_records_new(p.c, suite, &s, 1);
    p.in.seq = 1;
    p.buffer = malloc(BUFFER);
    p.kept = malloc(BUFFER);
    p.plain = malloc(BUFFER);
    assert_true(p.c && p.r && p.buffer && p.kept && p.plain);
    return p;
}

static inline void pair_end(struct pair *p)
{
    tls_records_free(p->r);
    tls_crypto_free(p->c);
    free(p->buffer);
    free(p->kept);
    free(p->plain);
}

/* The server reads these bytes as a stream row does: behind what it has kept. What it opens goes to p->plain. Given to
 * the layer in a block of just their size, so that a sanitizer sees a byte too far. */
static inline int pair_feed(struct pair *p, const void *bytes, size_t n)
{
    struct tls_opened o;
    size_t all = p->kept_n + n;
    uint8_t *exact = malloc(all + !all);
    assert_true(exact && all <= BUFFER);
    if (p->kept_n)
        memcpy(exact, p->kept, p->kept_n);
    if (n)
        memcpy(exact + p->kept_n, bytes, n);
    int rc = tls_records_open(p->c, p->r, exact, all, &o);
    assert_true(o.used <= all && o.plain <= o.used && p->plain_n + o.plain <= BUFFER);
    assert_true(rc == 0 ? o.want > all - o.used && o.want <= TLS_RECORD_MAX : o.want == 0 && o.used == all);
    memcpy(p->plain + p->plain_n, exact, o.plain);
    p->plain_n += o.plain;
    p->kept_n = all - o.used;
    memcpy(p->kept, exact + o.used, p->kept_n);
    free(exact);
    return rc;
}

/* Seals so many bytes, and with none what is owed; p->buffer has the records. */
static inline struct tls_sealed pair_seal(struct pair *p, const void *bytes, size_t n)
{
    struct iovec v = {(void *)(uintptr_t)bytes, n};
    struct tls_sealed s;
    assert_int_equal(tls_records_seal(p->c, p->r, &v, n > 0, 0, p->buffer, TLS_SEAL_ROOM, &s), 0);
    assert_true(s.n <= TLS_SEAL_ROOM);
    return s;
}

/* The client opens the record at p->buffer + at, which must be of that type. What is in it is at p->buffer + at + 5;
 * the place behind the record. */
static inline size_t pair_expect(struct pair *p, size_t at, size_t n, unsigned type, size_t content)
{
    unsigned found = 0;
    size_t used = 0;
    assert_int_equal(peer_open(&p->in, p->buffer + at, n - at, &found, &used), content);
    assert_int_equal(found, type);
    return at + used;
}

/* Seals one text and opens it at the client. */
static inline void pair_say(struct pair *p, const char *text)
{
    struct tls_sealed s = pair_seal(p, text, strlen(text));
    assert_int_equal(s.taken, strlen(text));
    assert_int_equal(pair_expect(p, 0, s.n, PEER_DATA, strlen(text)), s.n);
    assert_memory_equal(p->buffer + 5, text, strlen(text));
}

/* The client says it, and the server opens it. */
static inline void pair_hear(struct pair *p, const char *text)
{
    size_t before = p->plain_n;
    assert_int_equal(pair_feed(p, p->buffer, peer_seal(&p->out, PEER_DATA, text, strlen(text), 0, p->buffer)), 0);
    assert_int_equal(p->plain_n - before, strlen(text));
    assert_memory_equal(p->plain + before, text, strlen(text));
}

/* The server has failed: it seals this alert and nothing else, once, and opens nothing any more. */
static inline void pair_failed(struct pair *p, unsigned alert)
{
    struct tls_sealed s;
    struct iovec v = {(void *)(uintptr_t) "late", 4};
    assert_int_equal(tls_records_alert(p->r), alert);
    assert_true(tls_records_owes(p->r));
    size_t plain = p->plain_n;
    assert_int_equal(pair_feed(p, p->buffer, peer_seal(&p->out, PEER_DATA, "late", 4, 0, p->buffer)), ERR_INVALID);
    assert_int_equal(p->plain_n, plain);
    assert_int_equal(tls_records_seal(p->c, p->r, &v, 1, 0, p->buffer, TLS_SEAL_ROOM, &s), 0);
    assert_int_equal(s.taken, 0);
    assert_int_equal(pair_expect(p, 0, s.n, PEER_ALERT, 2), s.n);
    assert_int_equal(p->buffer[5], 2); /* fatal */
    assert_int_equal(p->buffer[6], alert);
    assert_false(tls_records_owes(p->r));
    assert_int_equal(tls_records_seal(p->c, p->r, &v, 1, 0, p->buffer, TLS_SEAL_ROOM, &s), ERR_CLOSED);
    assert_int_equal(s.n, 0);
    for (size_t i = 0; i < tls_records_size(p->r) - sizeof *p->r; i++)
        assert_int_equal(p->r->keys[i], 0);
    assert_int_equal(tls_records_open(p->c, p->r, p->buffer, 0, &(struct tls_opened){0, 0, 0}), ERR_INVALID);
    assert_int_equal(tls_records_alert(p->r), alert);
}

#endif
