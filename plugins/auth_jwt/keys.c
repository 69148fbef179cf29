#include "keys.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What RFC 7518 asks of the keys of each algorithm. */
static const struct {
    jwt_alg_t alg;
    const char *name;
    int type; /* EVP_PKEY_…; 0: a secret */
    int bits; /* of the secret, of the curve; at least so many of an RSA modulus */
} algorithms[] = {
    {JWT_ALG_HS256, "HS256", 0, 256},
    {JWT_ALG_HS384, "HS384", 0, 384},
    {JWT_ALG_HS512, "HS512", 0, 512},
    {JWT_ALG_RS256, "RS256", EVP_PKEY_RSA, 2048},
    {JWT_ALG_RS384, "RS384", EVP_PKEY_RSA, 2048},
    {JWT_ALG_RS512, "RS512", EVP_PKEY_RSA, 2048},
    {JWT_ALG_ES256, "ES256", EVP_PKEY_EC, 256},
    {JWT_ALG_ES384, "ES384", EVP_PKEY_EC, 384},
    {JWT_ALG_ES512, "ES512", EVP_PKEY_EC, 521},
};
enum { ALGORITHMS = sizeof algorithms / sizeof algorithms[0] };

static unsigned row_of(jwt_alg_t alg)
{
    unsigned i = 0;
    while (i < ALGORITHMS && algorithms[i].alg != alg)
        i++;
    return i;
}

int alg_is_hmac(jwt_alg_t alg)
{
    unsigned i = row_of(alg);
    return i < ALGORITHMS && algorithms[i].type == 0;
}

static int check_secret(unsigned row, const char *what, size_t n, char *why, size_t why_size)
{
    if (n * 8 >= (size_t)algorithms[row].bits)
        return 0;
    snprintf(why, why_size, "%s: %zu bytes; %s needs a secret of at least %d (RFC 7518, 3.2)", what, n,
             algorithms[row].name, algorithms[row].bits / 8);
    return -1;
}

static int check_public(unsigned row, const char *what, const void *p, size_t n, char *why, size_t why_size)
{
    BIO *bio = BIO_new_mem_buf(p, (int)n);
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    int bits = key ? EVP_PKEY_bits(key) : 0, type = key ? EVP_PKEY_base_id(key) : 0;
    EVP_PKEY_free(key);
    BIO_free(bio);
    if (!key)
        snprintf(why, why_size, "%s: no public key in PEM (\"-----BEGIN PUBLIC KEY-----\")", what);
    else if (type != algorithms[row].type)
        snprintf(why, why_size, "%s: %s needs %s key", what, algorithms[row].name,
                 algorithms[row].type == EVP_PKEY_RSA ? "an RSA" : "an elliptic curve");
    else if (type == EVP_PKEY_RSA ? bits < algorithms[row].bits : bits != algorithms[row].bits)
        snprintf(why, why_size, "%s: a key of %d bits; %s needs %s%d", what, bits, algorithms[row].name,
                 type == EVP_PKEY_RSA ? "at least " : "", algorithms[row].bits);
    else
        return 0;
    return -1;
}

int keys_add(struct keys *k, const char *what, const void *p, size_t n, char *why, size_t why_size)
{
    unsigned row = row_of(k->alg);
    if (row == ALGORITHMS) {
        snprintf(why, why_size, "algorithm: this libjwt does not have it");
        return -1;
    }
    if (k->count == KEYS_MAX) {
        snprintf(why, why_size, "%s: more than %d keys", what, KEYS_MAX);
        return -1;
    }
    if (n == 0 || n > KEY_BYTES_MAX) {
        snprintf(why, why_size, "%s: %s", what, n ? "too large" : "empty");
        return -1;
    }
    int rc =
        algorithms[row].type ? check_public(row, what, p, n, why, why_size) : check_secret(row, what, n, why, why_size);
    if (rc != 0)
        return rc;
    unsigned char *copy = malloc(n + 1);
    if (!copy) {
        snprintf(why, why_size, "%s: out of memory", what);
        return -1;
    }
    memcpy(copy, p, n);
    copy[n] = '\0';
    k->list[k->count++] = (struct key){.p = copy, .n = (int)n};
    return 0;
}

int keys_add_file(struct keys *k, const char *path, char *why, size_t why_size)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        snprintf(why, why_size, "key_files: %s: %s", path, strerror(errno));
        return -1;
    }
    char *text = malloc(KEY_BYTES_MAX + 1);
    size_t n = text ? fread(text, 1, KEY_BYTES_MAX + 1, f) : 0;
    fclose(f);
    if (alg_is_hmac(k->alg) && n && text[n - 1] == '\n')
        n--;
    char what[300];
    snprintf(what, sizeof what, "key_files: %s", path);
    int rc = -1;
    if (text)
        rc = keys_add(k, what, text, n, why, why_size);
    else
        snprintf(why, why_size, "%s: out of memory", what);
    if (text)
        explicit_bzero(text, KEY_BYTES_MAX + 1);
    free(text);
    return rc;
}

void keys_clear(struct keys *k)
{
    for (unsigned i = 0; i < k->count; i++) {
        explicit_bzero(k->list[i].p, (size_t)k->list[i].n);
        free(k->list[i].p);
    }
    k->count = 0;
}
