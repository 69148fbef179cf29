/* The key of resume tokens: from auth.secret, or from the file `secret` in the data directory, which is made on first
 * use. */
#ifndef MAGPIE_CONFIG_SECRET_H
#define MAGPIE_CONFIG_SECRET_H

#include "core/base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { SECRET_KEY_SIZE = 32, SECRET_DIGEST_SIZE = 32, SECRET_TEXT_SIZE = 65 };

/* A text for a new key: random, hexadecimal digits and a NUL. */
void secret_make(char text[SECRET_TEXT_SIZE]);

/*
 * Derives the key from `text` (auth.secret), or where that is NULL from the text in DIRECTORY/secret. That file is made
 * with a random text, mode 0600, when there is none; refused when others may read or change it, when it is no plain
 * file, or too short: a restored text, put into auth.secret, gives the same key. directory NULL (a store that keeps
 * nothing): a random key. ERR_IO, ERR_AUTH or ERR_INVALID with a sentence for people in `why`.
 */
MUST_CHECK int secret_load(const char *text, const char *directory, uint8_t *key, char *why, size_t why_size);

/* What tells one key from another and can be kept: nothing can be signed with it. ERR_NOMEM. */
MUST_CHECK int secret_digest(const uint8_t *key, uint8_t out[SECRET_DIGEST_SIZE]);

#endif
