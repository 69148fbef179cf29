/*
 * Resume tokens: proof that a connection is a user, without a record on the server.
 *
 *     base64url( version 1 | epoch u32 | issued u64 ms | id | HMAC-SHA256 of all that under the server's secret )
 *
 * A secret is made ready once (struct token_key): keying an HMAC costs several times what hashing a token does.
 */
#ifndef MAGPIE_HUB_TOKEN_H
#define MAGPIE_HUB_TOKEN_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdint.h>

struct evp_mac_ctx_st; /* OpenSSL's */

enum {
    TOKEN_SECRET_BYTES = 32,
    TOKEN_MAX = 160 /* characters of a token at most, without NUL */
};
#define TOKEN_LIFETIME_MS (30ull * 24 * 3600 * 1000) /* since it was issued; each login issues a new one */

/* A secret, ready to sign with. All zero: none yet. One thread. */
struct token_key {
    struct evp_mac_ctx_st *mac; /* keyed with it; owned */
};

/* Makes the key that of `secret`. ERR_NOMEM: the key is as it was before. */
MUST_CHECK int token_key_set(struct token_key *key, const uint8_t secret[TOKEN_SECRET_BYTES]);
/* Frees it, wiped. */
void token_key_fini(struct token_key *key);

/* Writes a token and a NUL; returns its length. id: 1-64 bytes. now_ms: the store's time (store_time_ms). */
size_t token_make(char out[TOKEN_MAX + 1], struct token_key *key, struct slice id, uint32_t epoch, uint64_t now_ms);

/* Checks a token in constant time as far as the secret is concerned. On success fills in id (copied into id_buf), epoch
 * and when it was issued. The caller must still compare the epoch with the user's, and see how old the token is
 * (store_age_ms, TOKEN_LIFETIME_MS): one from the future was issued while a clock was wrong, and is as good as new.
 * ERR_AUTH: forged, mangled, or from another server. */
MUST_CHECK int token_check(struct slice token, struct token_key *key, char id_buf[64], struct slice *id,
                           uint32_t *epoch, uint64_t *issued_ms);

#endif
