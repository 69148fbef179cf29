#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What RFC 7518 (EdDSA: RFC 8037) asks of the keys of each algorithm. */
struct algorithm {
    const char *name;
    int type;                    /* EVP_PKEY_…; 0: a secret */
    int bits;                    /* of the secret; at least so many of an RSA modulus */
    const char *curve;           /* of an EC key, as OpenSSL calls it */
    size_t half;                 /* bytes of each of the two numbers of an ECDSA signature */
    const EVP_MD *(*hash)(void); /* NULL: the algorithm has its own */
};

static const struct algorithm algorithms[] = {
    {"HS256", 0, 256, NULL, 0, EVP_sha256},
    {"HS384", 0, 384, NULL, 0, EVP_sha384},
    {"HS512", 0, 512, NULL, 0, EVP_sha512},
    {"RS256", EVP_PKEY_RSA, 2048, NULL, 0, EVP_sha256},
    {"RS384", EVP_PKEY_RSA, 2048, NULL, 0, EVP_sha384},
    {"RS512", EVP_PKEY_RSA, 2048, NULL, 0, EVP_sha512},
    {"ES256", EVP_PKEY_EC, 256, "prime256v1", 32, EVP_sha256},
    {"ES384", EVP_PKEY_EC, 384, "secp384r1", 48, EVP_sha384},
    {"ES512", EVP_PKEY_EC, 521, "secp521r1", 66, EVP_sha512},
    {"EdDSA", EVP_PKEY_ED25519, 0, NULL, 0, NULL},
};
enum { ALGORITHMS = sizeof algorithms / sizeof algorithms[0] };
enum { HALF_MAX = 66 }; /* of ES512 */

const struct algorithm *algorithm_find(const char *name)
{
    for (unsigned i = 0; i < ALGORITHMS; i++)
        if (strcmp(algorithms[i].name, name) == 0)
            return &algorithms[i];
    return NULL;
}

const char *algorithm_name(const struct algorithm *a)
{
    return a->name;
}

bool algorithm_is_hmac(const struct algorithm *a)
{
    return a->type == 0;
}

/* --- Judging ------------------------------------------------------------------------------------------------------ */

static bool begins(const char *p, size_t n, const char *with)
{
    return n >= strlen(with) && memcmp(p, with, strlen(with)) == 0;
}

static int add_secret(struct keys *k, const char *what, const void *p, size_t n, char *why, size_t why_size)
{
    const struct algorithm *a = k->algorithm;
    if (n * 8 < (size_t)a->bits) {
        snprintf(why, why_size, "%s: %zu bytes; %s needs a secret of at least %d (RFC 7518, 3.2)", what, n, a->name,
                 a->bits / 8);
        return -1;
    }
    /* Whoever knows a public key could sign with it (RFC 8725, 2.1). */
    if (begins(p, n, "-----BEGIN PUBLIC") || begins(p, n, "-----BEGIN RSA PUBLIC") || begins(p, n, "-----BEGIN CERT")) {
        snprintf(why, why_size, "%s: a public key, which everybody may know; %s needs a secret", what, a->name);
        return -1;
    }
    unsigned char *copy = malloc(n);
    if (!copy) {
        snprintf(why, why_size, "%s: out of memory", what);
        return -1;
    }
    memcpy(copy, p, n);
    k->list[k->count++] = (struct key){.secret = copy, .n = n};
    return 0;
}

static bool curve_is(const EVP_PKEY *key, const char *curve)
{
    char name[64];
    return EVP_PKEY_get_group_name(key, name, sizeof name, NULL) == 1 && strcmp(name, curve) == 0;
}

/* 0; else -1 with a sentence: what is wrong with a public key for this algorithm. */
static int check_public(const struct algorithm *a, const char *what, const EVP_PKEY *key, char *why, size_t why_size)
{
    int bits = EVP_PKEY_bits(key), type = EVP_PKEY_base_id(key);
    bool fits = type == a->type || (a->type == EVP_PKEY_ED25519 && type == EVP_PKEY_ED448);
    if (!fits)
        snprintf(why, why_size, "%s: %s needs %s key", what, a->name,
                 a->type == EVP_PKEY_RSA  ? "an RSA"
                 : a->type == EVP_PKEY_EC ? "an elliptic curve"
                                          : "an Ed25519 or Ed448");
    else if (type == EVP_PKEY_RSA && bits < a->bits)
        snprintf(why, why_size, "%s: a key of %d bits; %s needs at least %d", what, bits, a->name, a->bits);
    else if (type == EVP_PKEY_EC && bits != a->bits)
        snprintf(why, why_size, "%s: a key of %d bits; %s needs %d", what, bits, a->name, a->bits);
    else if (type == EVP_PKEY_EC && !curve_is(key, a->curve))
        snprintf(why, why_size, "%s: a key on another curve; %s needs P-%d (%s)", what, a->name, a->bits, a->curve);
    else
        return 0;
    return -1;
}

static int add_public(struct keys *k, const char *what, const void *p, size_t n, char *why, size_t why_size)
{
    BIO *bio = BIO_new_mem_buf(p, (int)n);
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL,
             *second = key ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    int rc = -1;
    if (!key)
        snprintf(why, why_size, "%s: no public key in PEM (\"-----BEGIN PUBLIC KEY-----\")", what);
    else if (second)
        snprintf(why, why_size, "%s: more than one key; give each a file of its own", what);
    else
        rc = check_public(k->algorithm, what, key, why, why_size);
    if (rc == 0)
        k->list[k->count++] = (struct key){.public = key};
    else
        EVP_PKEY_free(key);
    EVP_PKEY_free(second);
    BIO_free(bio);
    ERR_clear_error();
    return rc;
}

int keys_add(struct keys *k, const char *what, const void *p, size_t n, char *why, size_t why_size)
{
    if (k->count == KEYS_MAX) {
        snprintf(why, why_size, "%s: more than %d keys", what, KEYS_MAX);
        return -1;
    }
    if (n == 0 || n > KEY_BYTES_MAX) {
        snprintf(why, why_size, "%s: %s", what, n ? "too large" : "empty");
        return -1;
    }
    return algorithm_is_hmac(k->algorithm) ? add_secret(k, what, p, n, why, why_size)
                                           : add_public(k, what, p, n, why, why_size);
}

/* --- Files -------------------------------------------------------------------------------------------------------- */

/* Whether an editor may have made it: no control characters but those of lines, and no stray bytes beyond ASCII. A
 * secret of random bytes is never that, in practice. */
static bool is_text(const unsigned char *p, size_t n)
{
    size_t more = 0; /* bytes of the character that are missing */
    for (size_t i = 0; i < n; i++) {
        bool inside = (p[i] & 0xc0) == 0x80;
        if (inside != (more > 0) || p[i] == 0x7f || p[i] >= 0xf5)
            return false;
        if (p[i] < 0x20 && p[i] != '\t' && p[i] != '\n' && p[i] != '\r')
            return false;
        if (inside)
            more--;
        else
            more = p[i] < 0xc0 ? 0 : p[i] < 0xe0 ? 1 : p[i] < 0xf0 ? 2 : 3;
    }
    return more == 0;
}

/* Takes off what editors put around a text. */
static void trim(const char **p, size_t *n)
{
    if (!is_text((const unsigned char *)*p, *n))
        return;
    if (begins(*p, *n, "\xef\xbb\xbf")) {
        *p += 3;
        *n -= 3;
    }
    if (*n && (*p)[*n - 1] == '\n')
        --*n;
    if (*n && (*p)[*n - 1] == '\r')
        --*n;
}

/* The bytes of a plain file into text[size], cut there. -1: it cannot be read, *why says why (static, or of
 * strerror()). A pipe would hang the server. */
static ssize_t read_file(const char *path, char *text, size_t size, const char **why)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = -1;
    *why = NULL;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        if (!S_ISREG(st.st_mode))
            *why = "is no plain file";
        else
            n = read(fd, text, size);
    }
    if (n < 0 && !*why)
        *why = strerror(errno);
    if (fd >= 0)
        close(fd);
    return n;
}

int keys_add_file(struct keys *k, const char *path, char *why, size_t why_size)
{
    char what[300];
    const char *wrong, *p;
    int rc = -1;
    snprintf(what, sizeof what, "key_files: %s", path);
    char *text = malloc(KEY_BYTES_MAX + 1);
    p = text;
    if (!text) {
        snprintf(why, why_size, "%s: out of memory", what);
        return -1;
    }
    ssize_t got = read_file(path, text, KEY_BYTES_MAX + 1, &wrong);
    size_t n = got < 0 ? 0 : (size_t)got;
    trim(&p, &n);
    if (got < 0)
        snprintf(why, why_size, "%s: %s", what, wrong);
    else
        rc = keys_add(k, what, p, n, why, why_size);
    explicit_bzero(text, KEY_BYTES_MAX + 1);
    free(text);
    return rc;
}

void keys_clear(struct keys *k)
{
    for (unsigned i = 0; i < k->count; i++) {
        if (k->list[i].secret)
            explicit_bzero(k->list[i].secret, k->list[i].n);
        free(k->list[i].secret);
        EVP_PKEY_free(k->list[i].public);
    }
    k->count = 0;
}

/* --- Signatures --------------------------------------------------------------------------------------------------- */

static bool hmac_signed(const struct algorithm *a, const struct key *key, const void *data, size_t n,
                        const unsigned char *signature, size_t signature_n)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_n = 0;
    if (!HMAC(a->hash(), key->secret, (int)key->n, data, n, mac, &mac_n))
        return false;
    return signature_n == mac_n && CRYPTO_memcmp(mac, signature, mac_n) == 0;
}

/* OpenSSL takes ECDSA's two numbers as DER, and a token has them side by side (RFC 7518, 3.4). The bytes of *der, which
 * is OPENSSL_free()d; 0: none. */
static size_t to_der(const unsigned char *signature, size_t half, unsigned char **der)
{
    ECDSA_SIG *numbers = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, (int)half, NULL), *s = BN_bin2bn(signature + half, (int)half, NULL);
    int n = 0;
    *der = NULL;
    if (numbers && r && s && ECDSA_SIG_set0(numbers, r, s)) {
        r = s = NULL; /* they are its own now */
        n = i2d_ECDSA_SIG(numbers, der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(numbers);
    return n > 0 ? (size_t)n : 0;
}

bool key_signed(const struct algorithm *a, const struct key *key, const void *data, size_t n,
                const unsigned char *signature, size_t signature_n)
{
    if (algorithm_is_hmac(a))
        return hmac_signed(a, key, data, n, signature, signature_n);
    unsigned char *der = NULL;
    if (a->half) {
        if (signature_n != 2 * a->half || !(signature_n = to_der(signature, a->half, &der)))
            return false;
        signature = der;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, a->hash ? a->hash() : NULL, NULL, key->public) == 1 &&
                EVP_DigestVerify(ctx, signature, signature_n, data, n) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    ERR_clear_error(); /* of this thread: what is wrong with a token is no error here */
    return good;
}
