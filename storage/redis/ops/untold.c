/* Messages that nobody was told of: see untold.h. */
#include "storage/redis/ops/untold.h"

#include <stdlib.h>
#include <string.h>

static struct untold *at(struct untold *table, const char digest[LAYOUT_DIGEST])
{
    return &table[((uint8_t)digest[0] << 8 | (uint8_t)digest[1]) % UNTOLD_MAX]; /* a digest is even already */
}

int untold_init(struct untold **table)
{
    *table = calloc(UNTOLD_MAX, sizeof **table);
    return *table ? 0 : ERR_NOMEM;
}

void untold_note(struct untold *table, const char digest[LAYOUT_DIGEST], uint64_t created_ms, uint64_t place)
{
    struct untold *u = at(table, digest);
    memcpy(u->digest, digest, sizeof u->digest);
    u->created_ms = created_ms;
    u->place = place;
}

bool untold_take(struct untold *table, const char digest[LAYOUT_DIGEST], uint64_t created_ms, uint64_t place)
{
    struct untold *u = at(table, digest);
    if (!u->created_ms || memcmp(u->digest, digest, sizeof u->digest) != 0)
        return false;
    bool same = u->created_ms == created_ms && place >= u->place;
    u->created_ms = 0;
    return same;
}
