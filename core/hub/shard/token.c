#include "core/hub/shard/token.h"

#include "core/base/buf.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

enum { VERSION = 1, HEAD = 1 + 4 + 8, MAC = 32, RAW_MAX = HEAD + 64 + MAC };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t base64url_encode(char *out, const uint8_t *in, size_t n)
{
    size_t o = 0;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0) | (i + 2 < n ? in[i + 2] : 0);
        out[o++] = digits[v >> 18];
        out[o++] = digits[v >> 12 & 63];
        if (i + 1 < n)
            out[o++] = digits[v >> 6 & 63];
        if (i + 2 < n)
            out[o++] = digits[v & 63];
    }
    out[o] = '\0';
    return o;
}

/* Decodes canonical base64url only: stray bits in the last character would make two tokens of one. */
static int base64url_decode(uint8_t *out, size_t cap, struct slice in, size_t *n)
{
    uint32_t v = 0;
    unsigned bits = 0;
    *n = 0;
    for (size_t i = 0; i < in.n; i++) {
        const char *d = in.p[i] ? strchr(digits, in.p[i]) : NULL;
        if (!d)
            return ERR_INVALID;
        v = v << 6 | (uint32_t)(d - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            if (*n == cap)
                return ERR_INVALID;
            out[(*n)++] = (uint8_t)(v >> bits);
            v &= (1u << bits) - 1;
        }
    }
    return v == 0 && bits < 6 ? 0 : ERR_INVALID;
}

int token_key_set(struct token_key *key, const uint8_t secret[TOKEN_SECRET_BYTES])
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *keyed = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
    EVP_MAC_free(hmac); /* the context holds it */
    if (!keyed || !EVP_MAC_init(keyed, secret, TOKEN_SECRET_BYTES, params)) {
        EVP_MAC_CTX_free(keyed);
        return ERR_NOMEM;
    }
    token_key_fini(key);
    key->mac = keyed;
    return 0;
}

void token_key_fini(struct token_key *key)
{
    EVP_MAC_CTX_free(key->mac);
    key->mac = NULL;
}

static void mac(uint8_t out[MAC], struct token_key *key, const uint8_t *raw, size_t n)
{
    size_t len = 0;
    ASSERT(EVP_MAC_init(key->mac, NULL, 0, NULL) && EVP_MAC_update(key->mac, raw, n) &&
           EVP_MAC_final(key->mac, out, &len, MAC) && len == MAC);
}

size_t token_make(char out[TOKEN_MAX + 1], struct token_key *key, struct slice id, uint32_t epoch, uint64_t now_ms)
{
    uint8_t raw[RAW_MAX];
    raw[0] = VERSION;
    store_be32(raw + 1, epoch);
    store_be64(raw + 5, now_ms);
    memcpy(raw + HEAD, id.p, id.n);
    mac(raw + HEAD + id.n, key, raw, HEAD + id.n);
    return base64url_encode(out, raw, HEAD + id.n + MAC);
}

int token_check(struct slice token, struct token_key *key, char id_buf[64], struct slice *id, uint32_t *epoch,
                uint64_t *issued_ms)
{
    uint8_t raw[RAW_MAX], want[MAC];
    size_t n;
    if (token.n > TOKEN_MAX || base64url_decode(raw, sizeof raw, token, &n) != 0 || n <= HEAD + MAC ||
        raw[0] != VERSION)
        return ERR_AUTH;
    mac(want, key, raw, n - MAC);
    if (CRYPTO_memcmp(want, raw + n - MAC, MAC) != 0)
        return ERR_AUTH;
    *epoch = load_be32(raw + 1);
    *issued_ms = load_be64(raw + 5);
    memcpy(id_buf, raw + HEAD, n - HEAD - MAC);
    *id = slice_of(id_buf, n - HEAD - MAC);
    return 0;
}
