/* Answers that are good for a while, by what was asked. Bounded by bytes: what was used longest ago goes first. The
 * caller locks. */
#ifndef MAGPIE_PLUGINS_ASK_CACHE_H
#define MAGPIE_PLUGINS_ASK_CACHE_H

#include "answer.h"

enum { KEY_SIZE = 32 }; /* a SHA-256 of what was asked, so that nothing of it is kept */

struct cache;

struct cache *cache_new(void);
void cache_free(struct cache *c);
/* Bytes at most from now on; 0: nothing is kept. */
void cache_limit(struct cache *c, size_t bytes);
/* A reference, or NULL: not there, or too old. now_ms: monotonic. */
struct answer *cache_get(struct cache *c, const unsigned char key[KEY_SIZE], uint64_t now_ms);
/* Keeps it until then, in place of what it had under the key; takes a reference of its own. Without memory it keeps
 * nothing. */
void cache_put(struct cache *c, const unsigned char key[KEY_SIZE], struct answer *a, uint64_t until_ms);
void cache_clear(struct cache *c);
size_t cache_count(const struct cache *c);

#endif
