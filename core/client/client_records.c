#include "core/client/client_records.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

/* Appendix B.1 and B.3, and the ends of a connection in B.2. */
enum { CONTENT_ALERT = 21, CONTENT_HANDSHAKE = 22, CONTENT_DATA = 23 };
enum { NEW_SESSION_TICKET = 4, KEY_UPDATE = 24, ALERT_CLOSE_NOTIFY = 0, ALERT_USER_CANCELED = 90 };
enum {
    TAG = 16,               /* bytes of what authenticates a record */
    MESSAGE_HEADER = 4,     /* bytes before a message of the handshake: type and length */
    UPDATE_AFTER = 1 << 23, /* records after which our key is replaced (5.5); a server of Magpie's bears 2^24.5 */
    EXPANSIONS = 3          /* labels that a secret is expanded with */
};

struct client_cipher {
    EVP_CIPHER_CTX *open, *seal; /* without a key, which each record brings */
    EVP_KDF_CTX *kdf;            /* HKDF-Expand-Label (7.1) */
};

/* ---- once a thread ---- */

static EVP_CIPHER_CTX *context_new(int seals)
{
    EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
    if (x && EVP_CipherInit_ex(x, EVP_aes_128_gcm(), NULL, NULL, NULL, seals) == 1)
        return x;
    EVP_CIPHER_CTX_free(x);
    return NULL;
}

struct client_cipher *client_cipher_new(void)
{
    struct client_cipher *cipher = calloc(1, sizeof(*cipher));
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);

    if (cipher) {
        cipher->open = context_new(0);
        cipher->seal = context_new(1);
        cipher->kdf = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    }
    EVP_KDF_free(kdf);
    if (cipher && cipher->open && cipher->seal && cipher->kdf)
        return cipher;
    ERR_clear_error();
    client_cipher_free(cipher);
    return NULL;
}

void client_cipher_free(struct client_cipher *cipher)
{
    if (!cipher)
        return;
    EVP_CIPHER_CTX_free(cipher->open);
    EVP_CIPHER_CTX_free(cipher->seal);
    EVP_KDF_CTX_free(cipher->kdf);
    free(cipher);
}

/* ---- keys ---- */

/* 7.1, with an empty context. */
static bool expand(struct client_cipher *cipher, const uint8_t secret[32], const char *label, uint8_t *out, size_t n)
{
    char mode[] = "EXPAND_ONLY", digest[] = "SHA256", prefix[] = "tls13 ", name[16];
    uint8_t key[32];
    size_t length = strlen(label);

    memcpy(key, secret, sizeof(key));
    memcpy(name, label, length);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, mode, 0),
                           OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key, sizeof(key)),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, sizeof(prefix) - 1),
                           OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, name, length),
                           OSSL_PARAM_construct_end()};
    bool ok = EVP_KDF_derive(cipher->kdf, out, n, params) == 1;
    OPENSSL_cleanse(key, sizeof(key));
    if (!ok)
        ERR_clear_error();
    return ok;
}

/* 7.3 */
static bool way_begin(struct client_cipher *cipher, struct client_record_way *way)
{
    way->seq = 0;
    return expand(cipher, way->secret, "key", way->key, sizeof(way->key)) &&
           expand(cipher, way->secret, "iv", way->iv, sizeof(way->iv));
}

/* 7.2 */
static bool way_update(struct client_cipher *cipher, struct client_record_way *way)
{
    uint8_t next[sizeof(way->secret)];
    bool ok = expand(cipher, way->secret, "traffic upd", next, sizeof(next));
    if (ok)
        memcpy(way->secret, next, sizeof(next));
    OPENSSL_cleanse(next, sizeof(next));
    return ok && way_begin(cipher, way);
}

/* 5.3; counts the record. */
static void way_nonce(struct client_record_way *way, uint8_t nonce[12])
{
    memcpy(nonce, way->iv, sizeof(way->iv));
    for (unsigned i = 0; i < sizeof(way->seq); i++)
        nonce[11 - i] ^= (uint8_t)(way->seq >> 8 * i);
    way->seq++;
}

void client_records_secret(struct client_records *r, const char *line)
{
    static const char client[] = "CLIENT_TRAFFIC_SECRET_0 ", server[] = "SERVER_TRAFFIC_SECRET_0 ";
    bool out = strncmp(line, client, sizeof(client) - 1) == 0;
    const char *random = line + sizeof(client) - 1;

    if (!out && strncmp(line, server, sizeof(server) - 1) != 0)
        return;
    struct client_record_way *way = out ? &r->out : &r->in;
    const char *p = strchr(random, ' ');
    size_t n = p ? strspn(p + 1, "0123456789abcdefABCDEF") : 0;
    if (n != 2 * sizeof(way->secret) || (p[1 + n] && p[1 + n] != '\n'))
        return;
    for (size_t i = 0; i < sizeof(way->secret); i++)
        way->secret[i] = (uint8_t)(OPENSSL_hexchar2int((unsigned char)p[1 + 2 * i]) << 4 |
                                   OPENSSL_hexchar2int((unsigned char)p[2 + 2 * i]));
    *(out ? &r->heard_out : &r->heard_in) = true;
}

bool client_records_begin(struct client_cipher *cipher, struct client_records *r)
{
    return r->heard_in && r->heard_out && way_begin(cipher, &r->in) && way_begin(cipher, &r->out);
}

void client_records_wipe(struct client_records *r)
{
    OPENSSL_cleanse(r, sizeof(*r));
}

/* ---- opening ---- */

size_t client_record_size(const uint8_t *p, size_t n)
{
    return n < CLIENT_RECORD_HEADER ? 0 : CLIENT_RECORD_HEADER + ((size_t)p[3] << 8 | p[4]);
}

/* Decrypts the n bytes behind the header, before the tag. */
static bool decrypt(struct client_cipher *cipher, struct client_record_way *way, uint8_t *record, size_t n)
{
    uint8_t nonce[12], *p = record + CLIENT_RECORD_HEADER;
    int got = 0;

    way_nonce(way, nonce);
    bool ok = EVP_DecryptInit_ex(cipher->open, NULL, NULL, way->key, nonce) == 1 &&
              EVP_DecryptUpdate(cipher->open, NULL, &got, record, CLIENT_RECORD_HEADER) == 1 &&
              EVP_DecryptUpdate(cipher->open, p, &got, p, (int)n) == 1 &&
              EVP_CIPHER_CTX_ctrl(cipher->open, EVP_CTRL_AEAD_SET_TAG, TAG, p + n) == 1 &&
              EVP_DecryptFinal_ex(cipher->open, p + n, &got) == 1;
    if (!ok)
        ERR_clear_error();
    return ok;
}

/* Messages after the handshake (4.6). Tickets are passed over: who wants one keeps OpenSSL's object for it. That a
 * message goes on in another record is allowed, but no server does so with such small ones. */
static int take_handshake(struct client_cipher *cipher, struct client_records *r, const uint8_t *p, size_t n)
{
    while (n >= MESSAGE_HEADER) {
        size_t size = MESSAGE_HEADER + ((size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3]);
        if (size > n)
            return ERR_INVALID;
        if (p[0] == KEY_UPDATE) {
            /* 5.1: nothing stands behind it, as the key changes there. */
            if (size != MESSAGE_HEADER + 1 || n != size || p[4] > 1 || !way_update(cipher, &r->in))
                return ERR_INVALID;
            r->owes = r->owes || p[4] == 1;
        } else if (p[0] != NEW_SESSION_TICKET) {
            return ERR_INVALID;
        }
        p += size;
        n -= size;
    }
    return n ? ERR_INVALID : 0;
}

static int take_alert(const uint8_t *p, size_t n)
{
    if (n != 2)
        return ERR_INVALID;
    return p[1] == ALERT_CLOSE_NOTIFY ? ERR_CLOSED : p[1] == ALERT_USER_CANCELED ? 0 : ERR_IO;
}

static int record_open(struct client_cipher *cipher, struct client_records *r, uint8_t *record, size_t size,
                       struct slice *plain)
{
    uint8_t *p = record + CLIENT_RECORD_HEADER;

    if (size < CLIENT_RECORD_HEADER + 1 + TAG || size > CLIENT_RECORD_MAX || record[0] != CONTENT_DATA ||
        r->in.seq == UINT32_MAX)
        return ERR_INVALID;
    size_t n = size - CLIENT_RECORD_HEADER - TAG;
    if (!decrypt(cipher, &r->in, record, n))
        return ERR_INVALID;
    while (n && p[n - 1] == 0) /* 5.4: padding */
        n--;
    switch (n ? p[--n] : 0) {
    case CONTENT_DATA:
        *plain = slice_of((const char *)p, n);
        return 0;
    case CONTENT_HANDSHAKE:
        return n ? take_handshake(cipher, r, p, n) : ERR_INVALID;
    case CONTENT_ALERT:
        return take_alert(p, n);
    default:
        return ERR_INVALID;
    }
}

int client_records_open(struct client_cipher *cipher, struct client_records *r, uint8_t *p, size_t size,
                        struct slice *plain)
{
    *plain = SLICE_NONE;
    if (!r->end)
        r->end = (int8_t)record_open(cipher, r, p, size, plain);
    return r->end;
}

/* ---- sealing ---- */

/* A record of the n bytes at p; its size, or 0. */
static size_t record_seal(struct client_cipher *cipher, struct client_record_way *way, uint8_t type, const void *p,
                          size_t n, uint8_t *out)
{
    EVP_CIPHER_CTX *x = cipher->seal;
    uint8_t nonce[12], *inner = out + CLIENT_RECORD_HEADER;
    size_t length = n + 1 + TAG;
    int got = 0;
    const uint8_t header[CLIENT_RECORD_HEADER] = {CONTENT_DATA, 3, 3, (uint8_t)(length >> 8), (uint8_t)length};

    memcpy(out, header, sizeof(header));
    memcpy(inner, p, n);
    inner[n] = type;
    way_nonce(way, nonce);
    bool ok = EVP_EncryptInit_ex(x, NULL, NULL, way->key, nonce) == 1 &&
              EVP_EncryptUpdate(x, NULL, &got, out, sizeof(header)) == 1 &&
              EVP_EncryptUpdate(x, inner, &got, inner, (int)n + 1) == 1 &&
              EVP_EncryptFinal_ex(x, inner + n + 1, &got) == 1 &&
              EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, TAG, inner + n + 1) == 1;
    if (!ok)
        ERR_clear_error();
    return ok ? CLIENT_RECORD_HEADER + length : 0;
}

size_t client_records_seal(struct client_cipher *cipher, struct client_records *r, const void *p, size_t n,
                           uint8_t *out)
{
    static const uint8_t update[] = {KEY_UPDATE, 0, 0, 1, 0};
    size_t before = 0;

    ASSERT(n > 0 && n <= CLIENT_RECORD_PLAIN);
    if (r->owes || r->out.seq >= UPDATE_AFTER) {
        before = record_seal(cipher, &r->out, CONTENT_HANDSHAKE, update, sizeof(update), out);
        if (!before || !way_update(cipher, &r->out))
            return 0;
        r->owes = false;
    }
    size_t size = record_seal(cipher, &r->out, CONTENT_DATA, p, n, out + before);
    return size ? before + size : 0;
}
