/*
 * The record layer of TLS 1.3 by itself: sealing and opening a record, KeyUpdate, a new connection, over as many
 * connections as the caches do not hold, and over one. Beside each the same by a cipher context that keeps its key,
 * which is the least that OpenSSL can do.
 *
 *     records_bench [--json]
 */
#include "core/net/tls/records.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

enum { CONNECTIONS = 4000, ROUNDS = 50, SIZES = 3 };

static const unsigned suites[] = {0x1301, 0x1302, 0x1303};
static const char *const names[] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};

struct bench {
    struct tls_crypto *c;
    struct tls_records *r[CONNECTIONS];
    unsigned suite; /* index */
    bool json;
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(bool ok)
{
    if (!ok) {
        fprintf(stderr, "records_bench: the record layer failed\n");
        exit(1);
    }
}

static struct tls_records *connection(struct bench *b, bool mirrored)
{
    uint8_t n = suites[b->suite] == 0x1302 ? 48 : 32;
    struct tls_secrets s = {.client_n = n, .server_n = n};
    memset(mirrored ? s.server : s.client, 1, n);
    memset(mirrored ? s.client : s.server, 2, n);
    return tls_records_new(b->c, suites[b->suite], &s, 0);
}

static void tell(const struct bench *b, const char *what, size_t bytes, unsigned connections, double us)
{
    if (b->json)
        printf("{\"what\": \"%s\", \"suite\": \"%s\", \"bytes\": %zu, \"connections\": %u, \"us\": %.3f}\n", what,
               names[b->suite], bytes, connections, us);
    else
        printf("%-18s %-10s %6zu B  %5u connections  %8.3f us\n", names[b->suite], what, bytes, connections, us);
}

static void bench_seal(struct bench *b, size_t bytes, unsigned connections)
{
    static uint8_t plain[TLS_PLAIN_MAX], out[TLS_SEAL_ROOM];
    struct iovec v = {plain, bytes};
    struct tls_sealed s;
    double best = 1e9;
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = now_us();
        for (unsigned i = 0; i < CONNECTIONS; i++)
            must(tls_records_seal(b->c, b->r[i % connections], &v, 1, 0, out, sizeof out, &s) == 0 && s.taken);
        double us = (now_us() - start) / CONNECTIONS;
        best = us < best ? us : best;
    }
    tell(b, "seal", bytes, connections, best);
}

/* The client's records are made beforehand, one a connection, and each round by another client. */
static void bench_open(struct bench *b, size_t bytes)
{
    static uint8_t plain[TLS_PLAIN_MAX];
    size_t size = bytes + TLS_RECORD_OVERHEAD;
    uint8_t *records = malloc(CONNECTIONS * (size + TLS_SEAL_MIN));
    struct iovec v = {plain, bytes};
    double best = 1e9;
    must(records != NULL);
    for (unsigned round = 0; round < 10; round++) {
        struct tls_records *client = connection(b, true), *server = connection(b, false);
        struct tls_sealed s;
        struct tls_opened o;
        must(client && server);
        for (unsigned i = 0; i < CONNECTIONS; i++)
            must(tls_records_seal(b->c, client, &v, 1, 0, records + i * size, size + TLS_OWED_MAX, &s) == 0 &&
                 s.n == size);
        double start = now_us();
        for (unsigned i = 0; i < CONNECTIONS; i++)
            must(tls_records_open(b->c, server, records + i * size, size, &o) == 0 && o.plain == bytes);
        double us = (now_us() - start) / CONNECTIONS;
        best = us < best ? us : best;
        tls_records_free(client);
        tls_records_free(server);
    }
    tell(b, "open", bytes, 1, best);
    free(records);
}

/* The yardstick: one context with its key, a new nonce for each record. */
static void bench_bare(struct bench *b, size_t bytes)
{
    static uint8_t plain[TLS_PLAIN_MAX], out[TLS_PLAIN_MAX + 64], key[32], nonce[12];
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, names[b->suite], NULL);
    EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
    int n = 0;
    double best = 1e9;
    must(cipher && x && EVP_EncryptInit_ex2(x, cipher, key, nonce, NULL) == 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double start = now_us();
        for (unsigned i = 0; i < CONNECTIONS; i++) {
            nonce[0] = (uint8_t)i;
            must(EVP_EncryptInit_ex2(x, NULL, NULL, nonce, NULL) == 1 && EVP_EncryptUpdate(x, NULL, &n, key, 5) == 1 &&
                 EVP_EncryptUpdate(x, out, &n, plain, (int)bytes) == 1 && EVP_EncryptFinal_ex(x, out, &n) == 1);
            must(EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, 16, out) == 1);
        }
        double us = (now_us() - start) / CONNECTIONS;
        best = us < best ? us : best;
    }
    EVP_CIPHER_CTX_free(x);
    EVP_CIPHER_free(cipher);
    tell(b, "bare", bytes, 1, best);
}

static void bench_new(struct bench *b)
{
    double start = now_us();
    for (unsigned i = 0; i < CONNECTIONS; i++)
        must((b->r[i] = connection(b, false)) != NULL);
    tell(b, "new", tls_records_size(b->r[0]), CONNECTIONS, (now_us() - start) / CONNECTIONS);
}

int main(int argc, char **argv)
{
    static const size_t sizes[SIZES] = {240, 4800, 16384};
    struct bench b = {.c = tls_crypto_new(), .json = argc > 1 && strcmp(argv[1], "--json") == 0};
    if (argc > 2 || (argc == 2 && !b.json)) {
        fprintf(stderr, "usage: records_bench [--json]\n");
        return 2;
    }
    must(b.c != NULL);
    for (b.suite = 0; b.suite < sizeof suites / sizeof *suites; b.suite++) {
        bench_new(&b);
        for (unsigned i = 0; i < SIZES; i++) {
            bench_bare(&b, sizes[i]);
            bench_seal(&b, sizes[i], 1);
            bench_seal(&b, sizes[i], CONNECTIONS);
            bench_open(&b, sizes[i]);
        }
        for (unsigned i = 0; i < CONNECTIONS; i++)
            tls_records_free(b.r[i]);
    }
    tls_crypto_free(b.c);
    return 0;
}
