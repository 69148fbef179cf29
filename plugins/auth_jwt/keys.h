/* The keys that tokens are checked with, and what can be told of them before a token comes. Reading is for the main
 * thread, key_signed() for any. */
#ifndef MAGPIE_PLUGINS_AUTH_JWT_KEYS_H
#define MAGPIE_PLUGINS_AUTH_JWT_KEYS_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

enum { KEYS_MAX = 8, KEY_BYTES_MAX = 64 * 1024 };

struct algorithm; /* a row of the table in keys.c */

struct key {
    unsigned char *secret; /* for an HMAC; owned */
    size_t n;              /* bytes of the secret */
    EVP_PKEY *public;      /* for all others; owned */
};

struct keys {
    const struct algorithm *algorithm; /* the only one that is taken */
    unsigned count;
    struct key list[KEYS_MAX];
};

/* By the name that RFC 7518 (or 8037) gives it, case and all; NULL: not one of ours. */
const struct algorithm *algorithm_find(const char *name);
const char *algorithm_name(const struct algorithm *a);
/* Whether it is symmetric: HS256, HS384, HS512. */
bool algorithm_is_hmac(const struct algorithm *a);

/* Adds a key from memory. 0; else -1 with a sentence in `why`, in which `what` names the key. */
int keys_add(struct keys *k, const char *what, const void *p, size_t n, char *why, size_t why_size);
/* Adds a key from a file. Of a secret that is text, the line end behind it and a byte order mark before it do not
 * count; one that is not is taken byte for byte. */
int keys_add_file(struct keys *k, const char *path, char *why, size_t why_size);
/* Wipes and frees. */
void keys_clear(struct keys *k);

/* Whether this key made this signature (as it stands in a token, decoded) over these bytes. */
bool key_signed(const struct algorithm *a, const struct key *key, const void *data, size_t n,
                const unsigned char *signature, size_t signature_n);

#endif
