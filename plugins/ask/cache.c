#include "cache.h"

#include <stdlib.h>

enum { BUCKETS = 4096 };

struct entry {
    struct entry *next;          /* in the bucket */
    struct entry *newer, *older; /* by use */
    unsigned char key[KEY_SIZE];
    struct answer *answer; /* a reference */
    uint64_t until_ms;     /* monotonic */
    size_t bytes;
};

struct cache {
    struct entry *buckets[BUCKETS];
    struct entry *newest, *oldest; /* by use */
    size_t count, bytes, limit;
};

struct cache *cache_new(void)
{
    return calloc(1, sizeof(struct cache));
}

/* The place where the entry of this key hangs, or would. The key is a hash itself. */
static struct entry **place_of(struct cache *c, const unsigned char *key)
{
    struct entry **at = &c->buckets[((unsigned)key[0] << 8 | key[1]) % BUCKETS];
    while (*at && memcmp((*at)->key, key, KEY_SIZE) != 0)
        at = &(*at)->next;
    return at;
}

static void unlink_use(struct cache *c, struct entry *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_newest(struct cache *c, struct entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void drop(struct cache *c, struct entry **at)
{
    struct entry *e = *at;
    *at = e->next;
    unlink_use(c, e);
    c->bytes -= e->bytes;
    c->count--;
    answer_unref(e->answer);
    free(e);
}

void cache_limit(struct cache *c, size_t bytes)
{
    c->limit = bytes;
    while (c->oldest && c->bytes > c->limit)
        drop(c, place_of(c, c->oldest->key));
}

void cache_clear(struct cache *c)
{
    while (c->oldest)
        drop(c, place_of(c, c->oldest->key));
}

void cache_free(struct cache *c)
{
    if (c)
        cache_clear(c);
    free(c);
}

struct answer *cache_get(struct cache *c, const unsigned char key[KEY_SIZE], uint64_t now_ms)
{
    struct entry **at = place_of(c, key), *e = *at;
    if (!e)
        return NULL;
    if (now_ms >= e->until_ms) {
        drop(c, at);
        return NULL;
    }
    unlink_use(c, e);
    link_newest(c, e);
    return answer_ref(e->answer);
}

void cache_put(struct cache *c, const unsigned char key[KEY_SIZE], struct answer *a, uint64_t until_ms)
{
    struct entry **at = place_of(c, key), *e;
    size_t bytes = sizeof *e + answer_size(a);
    if (*at)
        drop(c, at);
    if (bytes > c->limit || !(e = malloc(sizeof *e)))
        return;
    *e = (struct entry){.answer = answer_ref(a), .until_ms = until_ms, .bytes = bytes};
    memcpy(e->key, key, KEY_SIZE);
    at = place_of(c, key);
    e->next = *at;
    *at = e;
    link_newest(c, e);
    c->count++;
    c->bytes += bytes;
    cache_limit(c, c->limit);
}

size_t cache_count(const struct cache *c)
{
    return c->count;
}
