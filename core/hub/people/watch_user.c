/*
 * On the shard of the user: who of the shards watches it, and with a bus, whether it is connected to other nodes.
 *
 * The bus tells this node of a user from the first shard's watch to the last one's end. It numbers what it says
 * (bus_watch.changes), so the newest is known, whatever comes first. Where something may have been missed, or a node is
 * dead, it is asked again.
 */
#include "core/hub/people/user.h"
#include "core/hub/people/watch_private.h"
#include "core/hub/shard/op.h"
#include "storage/bus.h"

#include <stdlib.h>

/* In one tick so many watched users are looked at, and so many asked about. */
enum { TICK_VISITS = 8192, TICK_ASKS = 256 };

/* A user of this shard whom others watch. */
struct watched {
    uint64_t shards[WATCH_SHARDS / 64]; /* a bit each */
    uint64_t changes;                   /* number of what `far` is; 0: nothing yet */
    bool far;                           /* is connected to another node */
    bool known;                         /* whether it is; true for a server alone */
    bool doubtful;                      /* the bus is to be asked, again or at all */
    bool asking;                        /* it is being asked */
    uint8_t id_len;
    char id[64];
};

static struct slice watched_id(const struct watched *x)
{
    return slice_of(x->id, x->id_len);
}

static uint64_t watched_hash(void *ctx, uint32_t i)
{
    return hash_bytes(watched_id(pool_at(&((struct watches *)ctx)->watched, i)));
}

static bool watched_matches(void *ctx, uint32_t i, const void *key)
{
    return slice_eq(watched_id(pool_at(&((struct watches *)ctx)->watched, i)), *(const struct slice *)key);
}

int watch_init_users(struct watches *w)
{
    pool_init(&w->watched, watch_rounded(sizeof(struct watched)), 64);
    return table_init(&w->watched_ids, 0, watched_hash, watched_matches, w);
}

void watch_fini_users(struct watches *w)
{
    table_fini(&w->watched_ids);
    pool_fini(&w->watched);
}

static struct watched *watched_find(const struct shard *s, struct slice id)
{
    struct watches *w = s->watches;
    uint32_t i = w ? table_find(&w->watched_ids, hash_bytes(id), &id) : TABLE_NONE;
    return i != TABLE_NONE ? pool_at(&w->watched, i) : NULL;
}

/* --- Telling the shards ------------------------------------------------------------------------------------------- */

bool watch_post(struct shard *from, struct shard *to, void (*run)(void *, struct mail *), struct slice id, bool on)
{
    struct presence_mail *p = malloc(sizeof *p);
    if (!p)
        return false;
    p->mail.run = run;
    p->from = from;
    p->on = on;
    p->id_len = (uint8_t)id.n;
    memcpy(p->id, id.p, id.n);
    shard_post(from, to, &p->mail);
    return true;
}

static bool online_here(const struct shard *s, struct slice id)
{
    uint32_t user = user_find(s, id);
    return user != NONE && user_at(s, user)->first_conn != NONE;
}

/* All shards that watch. What is told at once, on this very shard, may end the watch. False: some were not told. */
static bool tell_shards(struct shard *s, const struct watched *watched, bool online)
{
    const struct watched x = *watched;
    bool all = true;
    for (unsigned k = 0; k < s->hub->shard_count; k++)
        if (x.shards[k / 64] & UINT64_C(1) << k % 64)
            all &= watch_post(s, s->hub->shards[k], watch_arrive, watched_id(&x), online);
    return all;
}

void watch_changed(struct shard *s, struct slice id, bool online)
{
    const struct watched *x = watched_find(s, id);
    if (x && x->known && !x->far)
        (void)tell_shards(s, x, online);
}

/* --- Other nodes -------------------------------------------------------------------------------------------------- */

struct asking {
    struct bus_watch op;
    uint8_t id_len;
    char id[64];
};

static void doubt(struct shard *s, struct watched *x)
{
    if (!x->doubtful)
        s->watches->doubtful++;
    x->doubtful = true;
}

/* Takes what is known by now. */
static void take_far(struct shard *s, struct watched *x, bool far)
{
    struct slice id = watched_id(x);
    char text[64];
    memcpy(text, id.p, id.n);
    bool same = x->known && x->far == far;
    x->far = far;
    x->known = true;
    if (same || tell_shards(s, x, far || online_here(s, id)))
        return;
    x = watched_find(s, slice_of(text, id.n));
    if (x) { /* without memory: once more later */
        x->known = false;
        doubt(s, x);
    }
}

static void asked(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct asking *q = OP_END(owner, op, struct asking, op.op);
    struct watched *x = q->op.on ? watched_find(s, slice_of(q->id, q->id_len)) : NULL;
    if (x) {
        x->asking = false;
        bool good = op->status == STORE_OK, newer = good && q->op.changes >= x->changes;
        if (!good)
            doubt(s, x);
        if (newer)
            x->changes = q->op.changes;
        take_far(s, x, newer ? q->op.online : x->far); /* what cannot be known counts as offline for now */
    }
    free(q);
}

/* False: out of memory. */
static bool ask(struct shard *s, struct slice id, bool on)
{
    struct asking *q = malloc(sizeof *q);
    if (!q)
        return false;
    q->id_len = (uint8_t)id.n;
    memcpy(q->id, id.p, id.n);
    q->op = (struct bus_watch){.user = slice_of(q->id, id.n), .on = on};
    op_begin(s, &q->op.op, asked);
    bus_watch(s->bus, &q->op);
    return true;
}

static void ask_about(struct shard *s, struct watched *x)
{
    if (x->asking || !ask(s, watched_id(x), true)) {
        doubt(s, x); /* once more, after this one */
        return;
    }
    x->asking = true;
    if (x->doubtful)
        s->watches->doubtful--;
    x->doubtful = false;
}

void watch_far(struct shard *s, struct slice id, uint64_t changes, bool online)
{
    struct watched *x = watched_find(s, id);
    if (!x || changes <= x->changes)
        return;
    x->changes = changes;
    if (x->known)
        take_far(s, x, online);
    else
        x->far = online; /* the answer that is awaited tells it, or is older */
}

void watch_doubt(struct shard *s, bool (*which)(const void *ctx, struct slice id, bool far), const void *ctx)
{
    struct watches *w = s->watches;
    for (uint32_t i = w ? pool_next(&w->watched, 0) : POOL_NONE; i != POOL_NONE; i = pool_next(&w->watched, i + 1)) {
        struct watched *x = pool_at(&w->watched, i);
        if (which(ctx, watched_id(x), x->far))
            doubt(s, x);
    }
}

void watch_tick_users(struct shard *s)
{
    struct watches *w = s->watches;
    uint32_t asks = TICK_ASKS, i = w->doubt_at;
    for (uint32_t n = 0; w->doubtful && asks && n < TICK_VISITS; n++, i++) {
        i = pool_next(&w->watched, i);
        if (i == POOL_NONE) {
            w->doubt_at = 0;
            return;
        }
        struct watched *x = pool_at(&w->watched, i);
        if (!x->doubtful || x->asking)
            continue;
        ask_about(s, x);
        asks--;
    }
    w->doubt_at = i;
}

/* --- Watches begin and end ---------------------------------------------------------------------------------------- */

static struct watched *watched_get(struct shard *s, struct slice id)
{
    struct watched *x = watched_find(s, id);
    struct watches *w = x ? NULL : watches_get(s);
    uint32_t i = w ? pool_alloc(&w->watched) : POOL_NONE;
    if (i == POOL_NONE)
        return x;
    x = pool_at(&w->watched, i);
    x->id_len = (uint8_t)id.n;
    memcpy(x->id, id.p, id.n);
    x->known = !s->bus;
    if (table_add(&w->watched_ids, hash_bytes(id), i) == 0)
        return x;
    pool_free(&w->watched, i);
    return NULL;
}

static void watched_end(struct shard *s, struct slice id, unsigned shard)
{
    struct watches *w = s->watches;
    uint32_t i = w ? table_find(&w->watched_ids, hash_bytes(id), &id) : TABLE_NONE;
    if (i == TABLE_NONE)
        return;
    struct watched *x = pool_at(&w->watched, i);
    uint64_t left = 0;
    x->shards[shard / 64] &= ~(UINT64_C(1) << shard % 64);
    for (unsigned k = 0; k < WATCH_SHARDS / 64; k++)
        left |= x->shards[k];
    if (left)
        return;
    if (x->doubtful)
        w->doubtful--;
    table_remove(&w->watched_ids, hash_bytes(id), i);
    pool_free(&w->watched, i);
    if (s->bus)
        (void)ask(s, id, false); /* without memory this node is told in vain */
}

void watch_users_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct presence_mail *p = (struct presence_mail *)m;
    struct slice id = slice_of(p->id, p->id_len);
    unsigned shard = p->from->index;
    if (!p->on) {
        watched_end(s, id, shard);
        free(p);
        return;
    }
    struct watched *x = watched_get(s, id);
    if (x)
        x->shards[shard / 64] |= UINT64_C(1) << shard % 64;
    if (x && !x->known && !x->asking)
        ask_about(s, x);
    if (x && !x->known) { /* the answer tells all who watch by then */
        free(p);
        return;
    }
    p->on = (x && x->far) || online_here(s, id);
    struct shard *to = p->from;
    p->from = s;
    p->mail.run = watch_arrive;
    shard_post(s, to, m);
}
