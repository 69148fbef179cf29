/* What is known of conversations: see known.h. */
#include "storage/redis/ops/known.h"

#include "core/base/hash.h"

#include <stdlib.h>

int known_init(struct known **table)
{
    *table = calloc(KNOWN_MAX, sizeof **table);
    return *table ? 0 : ERR_NOMEM;
}

struct known known_get(const struct known *table, struct slice conv)
{
    uint64_t hash = hash_bytes(conv);
    const struct known *k = &table[hash % KNOWN_MAX];
    return k->hash == hash ? *k : (struct known){0};
}

void known_moving(struct known *table, struct slice conv, bool moving)
{
    uint64_t hash = hash_bytes(conv);
    struct known *k = &table[hash % KNOWN_MAX];
    if (k->hash == hash)
        k->moving = moving;
}

bool known_lost(struct known *table, struct slice conv)
{
    uint64_t hash = hash_bytes(conv);
    struct known *k = &table[hash % KNOWN_MAX];
    bool was = k->hash == hash && k->lost;
    if (k->hash == hash)
        k->lost = true;
    return !was;
}

void known_put(struct known *table, struct slice conv, uint64_t seq, uint64_t first)
{
    uint64_t hash = hash_bytes(conv);
    struct known *k = &table[hash % KNOWN_MAX];
    if (k->hash != hash)
        *k = (struct known){.hash = hash};
    k->lost = k->lost && seq <= k->seq;
    k->seq = seq > k->seq ? seq : k->seq;
    k->first = first > k->first ? first : k->first;
}
