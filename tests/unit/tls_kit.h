/*
 * The client's side of TLS 1.3 records for tests, written apart from core/net/tls/records.c: OpenSSL's own TLS13-KDF,
 * a cipher context for each record, 64-bit sequence numbers. It says whatever it is told, right or wrong, and aborts
 * where it fails itself.
 */
#ifndef MAGPIE_TESTS_TLS_KIT_H
#define MAGPIE_TESTS_TLS_KIT_H

#include "core/net/tls/records.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PEER_ALERT = 21, PEER_HANDSHAKE = 22, PEER_DATA = 23 };

/* One direction. */
struct peer_way {
    const EVP_CIPHER *cipher;
    const char *md; /* OpenSSL's name of the hash */
    size_t key_n, secret_n;
    uint8_t secret[48], key[32], iv[12];
    uint64_t seq;
};

static inline void peer_must(bool ok)
{
    if (!ok)
        abort();
}

static inline void peer_expand(const struct peer_way *w, const char *label, uint8_t *out, size_t n)
{
    static EVP_KDF *kdf; /* fetched once, as that is most of the work */
    kdf = kdf ? kdf : EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
    EVP_KDF_CTX *x = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM p[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, (char *)(uintptr_t) "EXPAND_ONLY", 0),
                      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)w->md, 0),
                      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)w->secret, w->secret_n),
                      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)(uintptr_t) "tls13 ", 6),
                      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)label, strlen(label)),
                      OSSL_PARAM_construct_end()};
    peer_must(x && EVP_KDF_derive(x, out, n, p) == 1);
    EVP_KDF_CTX_free(x);
}

static inline void peer_set(struct peer_way *w, const uint8_t *secret)
{
    memmove(w->secret, secret, w->secret_n);
    peer_expand(w, "key", w->key, w->key_n);
    peer_expand(w, "iv", w->iv, sizeof w->iv);
    w->seq = 0;
}

static inline void peer_update(struct peer_way *w)
{
    uint8_t next[48];
    peer_expand(w, "traffic upd", next, w->secret_n);
    peer_set(w, next);
}

/* suite: 0x1301 to 0x1303 */
static inline struct peer_way peer_way(unsigned suite, const uint8_t *secret)
{
    static const char *const names[] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};
    static EVP_CIPHER *ciphers[3];
    unsigned i = suite - 0x1301;
    ciphers[i] = ciphers[i] ? ciphers[i] : EVP_CIPHER_fetch(NULL, names[i], NULL);
    struct peer_way w = {.cipher = ciphers[i],
                         .md = suite == 0x1302 ? "SHA384" : "SHA256",
                         .key_n = suite == 0x1301 ? 16 : 32,
                         .secret_n = suite == 0x1302 ? 48 : 32};
    peer_must(w.cipher != NULL);
    peer_set(&w, secret);
    return w;
}

static inline void peer_nonce(struct peer_way *w, uint8_t nonce[12])
{
    memcpy(nonce, w->iv, 12);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] ^= (uint8_t)(w->seq >> (56 - 8 * i));
    w->seq++;
}

/* Any n bytes as what is encrypted (TLSInnerPlaintext), a type and padding included. The size of the record. */
static inline size_t peer_seal_inner(struct peer_way *w, const void *inner, size_t n, uint8_t *out)
{
    uint8_t nonce[12];
    int got = 0;
    EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
    peer_nonce(w, nonce);
    out[0] = PEER_DATA, out[1] = out[2] = 3, out[3] = (uint8_t)((n + 16) >> 8), out[4] = (uint8_t)(n + 16);
    peer_must(x && EVP_EncryptInit_ex2(x, w->cipher, w->key, nonce, NULL) == 1);
    peer_must(EVP_EncryptUpdate(x, NULL, &got, out, 5) == 1);
    peer_must(n == 0 || EVP_EncryptUpdate(x, out + 5, &got, inner, (int)n) == 1);
    peer_must(EVP_EncryptFinal_ex(x, out + 5 + n, &got) == 1);
    peer_must(EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, 16, out + 5 + n) == 1);
    EVP_CIPHER_CTX_free(x);
    return 5 + n + 16;
}

/* A record with that many zeros of padding. */
static inline size_t peer_seal(struct peer_way *w, unsigned type, const void *p, size_t n, size_t padding, uint8_t *out)
{
    uint8_t *inner = calloc(1, n + 1 + padding);
    peer_must(inner != NULL);
    if (n)
        memcpy(inner, p, n);
    inner[n] = (uint8_t)type;
    size_t size = peer_seal_inner(w, inner, n + 1 + padding, out);
    free(inner);
    return size;
}

/* Sends a KeyUpdate and goes on with the next key. */
static inline size_t peer_seal_update(struct peer_way *w, unsigned request, uint8_t *out)
{
    const uint8_t message[] = {24, 0, 0, 1, (uint8_t)request};
    size_t size = peer_seal(w, PEER_HANDSHAKE, message, sizeof message, 0, out);
    peer_update(w);
    return size;
}

/* Opens the record at the beginning of n bytes where it is, padding removed; *used: its size. The bytes behind its
 * header, -1 when it is not authentic or not whole. */
static inline long peer_open(struct peer_way *w, uint8_t *record, size_t n, unsigned *type, size_t *used)
{
    uint8_t nonce[12];
    int got = 0;
    if (n < 5 || n < 5u + (record[3] << 8 | record[4]) || (record[3] << 8 | record[4]) < 17)
        return -1;
    *used = 5u + (size_t)(record[3] << 8 | record[4]);
    size_t inner = *used - 5 - 16;
    EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
    peer_nonce(w, nonce);
    peer_must(x && EVP_DecryptInit_ex2(x, w->cipher, w->key, nonce, NULL) == 1);
    peer_must(EVP_DecryptUpdate(x, NULL, &got, record, 5) == 1);
    peer_must(EVP_DecryptUpdate(x, record + 5, &got, record + 5, (int)inner) == 1);
    peer_must(EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_SET_TAG, 16, record + 5 + inner) == 1);
    bool ok = EVP_DecryptFinal_ex(x, record + 5 + inner, &got) == 1;
    EVP_CIPHER_CTX_free(x);
    while (inner && record[5 + inner - 1] == 0)
        inner--;
    if (!ok || !inner)
        return -1;
    *type = record[5 + inner - 1];
    return (long)inner - 1;
}

#endif
