/* The keys that tokens are checked with, and what can be told of them before a token comes. */
#ifndef MAGPIE_PLUGINS_AUTH_JWT_KEYS_H
#define MAGPIE_PLUGINS_AUTH_JWT_KEYS_H

#include <jwt.h>
#include <stddef.h>

enum { KEYS_MAX = 8, KEY_BYTES_MAX = 64 * 1024 };

struct key {
    unsigned char *p; /* for an HMAC the secret itself, else a public key in PEM, NUL-terminated; owned */
    int n;            /* bytes, without the NUL */
};

struct keys {
    jwt_alg_t alg; /* the only one that is taken */
    unsigned count;
    struct key list[KEYS_MAX];
};

/* Whether the algorithm is symmetric: HS256, HS384, HS512. */
int alg_is_hmac(jwt_alg_t alg);
/* Adds a key from memory, or from a file. A secret's trailing line feed does not count. 0; else -1 with a sentence in
 * `why`. `what` names the key in it. */
int keys_add(struct keys *k, const char *what, const void *p, size_t n, char *why, size_t why_size);
int keys_add_file(struct keys *k, const char *path, char *why, size_t why_size);
/* Wipes and frees. */
void keys_clear(struct keys *k);

#endif
