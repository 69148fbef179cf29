#include "core/hub/people/grant.h"

#include "core/base/hash.h"
#include "core/base/wheel.h"
#include "core/hub/shard/shard.h"
#include "core/net/send.h"

#include <stdlib.h>

/* SECONDS: a turn of the wheel, in which most tokens end. EACH: so many a tick, so that tokens that all end together do
 * not stop everybody else. */
enum { SECONDS = 4096, EACH = 256 };

struct grant {
    uint32_t conn;          /* index */
    struct wheel_node node; /* set while it has an end */
    uint64_t expires_ms;    /* date; 0: never */
    uint64_t end_s;         /* the same as a second of the shard's clock, which does not jump */
    char *claims;           /* JSON object; NULL: none; owned */
};

struct grants {
    struct pool pool;     /* struct grant */
    struct table by_conn; /* index in pool, by conn */
    struct wheel wheel;
};

static struct grant *grant_at(const struct grants *g, uint32_t i)
{
    return pool_at(&g->pool, i);
}

static uint64_t conn_hash(uint32_t conn)
{
    return hash_bytes(slice_of(&conn, sizeof conn));
}

static uint64_t hash_of(void *ctx, uint32_t i)
{
    return conn_hash(grant_at(ctx, i)->conn);
}

static bool matches(void *ctx, uint32_t i, const void *key)
{
    return grant_at(ctx, i)->conn == *(const uint32_t *)key;
}

static struct wheel_node *node_of(void *ctx, uint32_t i)
{
    return &grant_at(((struct shard *)ctx)->grants, i)->node;
}

static uint64_t due(void *ctx, uint32_t i)
{
    struct shard *s = ctx;
    const struct grant *g = grant_at(s->grants, i);
    if (g->end_s > s->grants->wheel.now)
        return g->end_s;
    conn_close(s->net, g->conn, CLOSE_KICKED, "token expired", 0);
    return 0;
}

static struct grants *grants_get(struct shard *s)
{
    if (s->grants)
        return s->grants;
    struct grants *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    pool_init(&g->pool, sizeof(struct grant), 256);
    if (table_init(&g->by_conn, 4, hash_of, matches, g) != 0)
        goto fail;
    if (wheel_init(&g->wheel, SECONDS, s->now_ms / 1000, node_of, due, s) != 0)
        goto fail_table;
    s->grants = g;
    return g;
fail_table:
    table_fini(&g->by_conn);
fail:
    free(g);
    return NULL;
}

void grants_fini(struct shard *s)
{
    struct grants *g = s->grants;
    if (!g)
        return;
    for (uint32_t i = pool_next(&g->pool, 0); i != POOL_NONE; i = pool_next(&g->pool, i + 1))
        free(grant_at(g, i)->claims);
    wheel_fini(&g->wheel);
    table_fini(&g->by_conn);
    pool_fini(&g->pool);
    free(g);
    s->grants = NULL;
}

static uint32_t find(const struct shard *s, uint32_t conn)
{
    return s->grants ? table_find(&s->grants->by_conn, conn_hash(conn), &conn) : TABLE_NONE;
}

void grant_drop(struct shard *s, uint32_t conn)
{
    uint32_t i = find(s, conn);
    if (i == TABLE_NONE)
        return;
    struct grants *g = s->grants;
    wheel_cancel(&g->wheel, i);
    table_remove(&g->by_conn, conn_hash(conn), i);
    free(grant_at(g, i)->claims);
    pool_free(&g->pool, i);
}

static uint32_t add(struct grants *g, uint32_t conn)
{
    uint32_t i = pool_alloc(&g->pool);
    if (i == POOL_NONE)
        return TABLE_NONE;
    *grant_at(g, i) = (struct grant){.conn = conn, .node = WHEEL_NODE_INIT};
    if (table_add(&g->by_conn, conn_hash(conn), i) == 0)
        return i;
    pool_free(&g->pool, i);
    return TABLE_NONE;
}

int grant_set(struct shard *s, uint32_t conn, uint64_t expires_ms, char *claims)
{
    if (!expires_ms && !claims) {
        grant_drop(s, conn);
        return 0;
    }
    struct grants *g = grants_get(s);
    uint32_t i = g ? find(s, conn) : TABLE_NONE;
    if (g && i == TABLE_NONE)
        i = add(g, conn);
    if (i == TABLE_NONE) {
        free(claims);
        return ERR_NOMEM;
    }
    struct grant *e = grant_at(g, i);
    free(e->claims);
    e->claims = claims;
    e->expires_ms = expires_ms;
    uint64_t now = store_date_ms(s->store), left = expires_ms > now ? expires_ms - now : 0;
    e->end_s = (s->now_ms + left + 999) / 1000;
    if (expires_ms)
        wheel_set(&g->wheel, i, e->end_s);
    else
        wheel_cancel(&g->wheel, i);
    return 0;
}

struct slice grant_claims(const struct shard *s, uint32_t conn)
{
    uint32_t i = conn == NONE ? TABLE_NONE : find(s, conn);
    return i == TABLE_NONE ? SLICE_NONE : slice_str(grant_at(s->grants, i)->claims);
}

uint64_t grant_expires_ms(const struct shard *s, uint32_t conn)
{
    uint32_t i = find(s, conn);
    return i == TABLE_NONE ? 0 : grant_at(s->grants, i)->expires_ms;
}

void grants_tick(struct shard *s)
{
    if (s->grants)
        (void)wheel_run(&s->grants->wheel, s->now_ms / 1000, EACH);
}
