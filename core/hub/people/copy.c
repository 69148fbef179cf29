#include "core/hub/people/copy.h"

#include "core/hub/people/user.h"
#include "storage/bus.h"

#include <stdlib.h>

enum { CHUNK = 1024 };

/* Beside the pool of users: entries have the same indexes, and do not move. */
struct copies {
    struct user_copy **chunks; /* owned; NULL where none was asked for */
    uint32_t chunk_count;
    uint32_t *due; /* users; owned. Those whose `due` is not set any more have gone */
    uint32_t due_count, due_cap;
};

static struct user_copy *copy_find(const struct shard *s, uint32_t user)
{
    const struct copies *x = s->copies;
    struct user_copy *chunk = x && user / CHUNK < x->chunk_count ? x->chunks[user / CHUNK] : NULL;
    return chunk ? &chunk[user % CHUNK] : NULL;
}

static void news_free(struct bus_news *n)
{
    while (n) {
        struct bus_news *next = (struct bus_news *)n->mail.next;
        free(n);
        n = next;
    }
}

struct user_copy *user_copy(struct shard *s, uint32_t user)
{
    struct user_copy *c = copy_find(s, user);
    if (c || !s->bus)
        return c;
    if (!s->copies && !(s->copies = calloc(1, sizeof *s->copies)))
        return NULL;
    struct copies *x = s->copies;
    uint32_t chunk = user / CHUNK;
    if (chunk >= x->chunk_count) {
        struct user_copy **p = realloc(x->chunks, (chunk + 1) * sizeof *p);
        if (!p)
            return NULL;
        x->chunks = p;
        for (; x->chunk_count <= chunk; x->chunk_count++)
            p[x->chunk_count] = NULL;
    }
    if (!x->chunks[chunk] && !(x->chunks[chunk] = calloc(CHUNK, sizeof **x->chunks)))
        return NULL;
    return &x->chunks[chunk][user % CHUNK];
}

void copy_clear(struct shard *s, uint32_t user)
{
    struct user_copy *c = copy_find(s, user);
    if (!c)
        return;
    news_free(c->news);
    *c = (struct user_copy){.version = 0};
}

void copies_free(struct shard *s)
{
    struct copies *x = s->copies;
    if (!x)
        return;
    for (uint32_t i = 0; i < x->chunk_count; i++) {
        for (uint32_t k = 0; x->chunks[i] && k < CHUNK; k++)
            news_free(x->chunks[i][k].news);
        free(x->chunks[i]);
    }
    free(x->chunks);
    free(x->due);
    free(x);
    s->copies = NULL;
}

/* --- Versions ----------------------------------------------------------------------------------------------------- */

void copy_change(struct shard *s, uint32_t user, uint64_t version)
{
    struct user_copy *c = version ? user_copy(s, user) : NULL;
    if (!c)
        return;
    c->changes++;
    if (version == c->version + 1 && c->version)
        c->version = version;
    else if (version != c->version) /* there is one between, of which this node has not heard yet */
        c->changed = true;
    /* What this change does to the copy now, a later one may have undone, which it has already: the store says. */
    if (version < c->version)
        s->events->user_overtaken(s, user);
}

void copy_begin(struct shard *s, uint32_t user, uint64_t version)
{
    struct user_copy *c = user_copy(s, user);
    if (!c)
        return;
    c->version = version;
    c->changed = false;
}

void copy_keep(struct shard *s, uint32_t user, struct bus_news *n)
{
    struct user_copy *c = user_copy(s, user);
    if (!c) {
        free(n);
        return;
    }
    struct bus_news **at = &c->news;
    while (*at)
        at = (struct bus_news **)&(*at)->mail.next; /* the mail comes first */
    n->mail.next = NULL;
    *at = n;
}

struct bus_news *copy_last(const struct shard *s, uint32_t user, struct slice conv)
{
    const struct user_copy *c = copy_find(s, user);
    struct bus_news *out = NULL;
    for (struct bus_news *n = c ? c->news : NULL; n; n = (struct bus_news *)n->mail.next)
        if (n->change && slice_eq(n->conv, conv))
            out = n;
    return out;
}

uint64_t copy_newest(const struct user_copy *c)
{
    uint64_t newest = c->version;
    for (const struct bus_news *n = c->news; n; n = (const struct bus_news *)n->mail.next)
        newest = n->version > newest ? n->version : newest;
    return newest;
}

void copy_forget(struct shard *s, uint32_t user)
{
    news_free(copy_take_news(s, user));
}

struct bus_news *copy_take_news(struct shard *s, uint32_t user)
{
    struct user_copy *c = copy_find(s, user);
    struct bus_news *n = c ? c->news : NULL;
    if (c)
        c->news = NULL;
    return n;
}

enum copy_order copy_follow(struct shard *s, uint32_t user, uint64_t version)
{
    struct user_copy *c = user_copy(s, user);
    if (!c)
        return COPY_GAP;
    if (version <= c->version)
        return COPY_OLD;
    if (c->changed || !c->version || version != c->version + 1)
        return COPY_GAP;
    c->version = version;
    return COPY_NEXT;
}

/* --- Arrivals ----------------------------------------------------------------------------------------------------- */

/* A mark in the list is enough: without memory for it, it is found out later. */
static void due_add(struct shard *s, uint32_t user, struct user_copy *c)
{
    struct copies *x = s->copies;
    if (c->due)
        return;
    if (x->due_count == x->due_cap) {
        uint32_t cap = x->due_cap ? x->due_cap * 2 : 64;
        uint32_t *p = realloc(x->due, cap * sizeof *p);
        if (!p)
            return;
        x->due = p;
        x->due_cap = cap;
    }
    x->due[x->due_count++] = user;
    c->due = true;
    c->late = c->arrivals;
    c->late_ms = (uint32_t)s->now_ms + COPY_LATE_MS;
}

/* Whether one up to that arrival was not heard of. */
static bool lacks(const struct user_copy *c, uint64_t upto)
{
    uint64_t newer = c->arrivals > upto ? c->arrivals - upto : 0;
    return newer < 64 && c->heard >> newer != UINT64_MAX >> newer;
}

static void reach(struct user_copy *c, uint64_t arrival)
{
    uint64_t more = arrival - c->arrivals;
    if (more > 64 || (more == 64 ? c->heard != UINT64_MAX : c->heard >> (64 - more) != UINT64_MAX >> (64 - more)))
        c->lost = true; /* out of sight */
    c->heard = more < 64 ? c->heard << more : 0;
    c->arrivals = arrival;
}

void arrivals_begin(struct shard *s, uint32_t user, uint64_t arrivals)
{
    struct user_copy *c = user_copy(s, user);
    if (!c || c->placed)
        return;
    c->placed = true;
    if (arrivals >= c->arrivals) {
        c->arrivals = arrivals;
        c->heard = UINT64_MAX;
    } else if (c->arrivals - arrivals < 64) { /* told of some before the answer came */
        c->heard |= UINT64_MAX << (c->arrivals - arrivals);
    }
    c->lost = false;
    if (lacks(c, c->arrivals))
        due_add(s, user, c);
}

bool arrival_heard(struct shard *s, uint32_t user, uint64_t arrival)
{
    struct user_copy *c = user_copy(s, user);
    if (!c)
        return true;
    if (arrival > c->arrivals)
        reach(c, arrival);
    uint64_t back = c->arrivals - arrival;
    if (back >= 64 || c->heard >> back & 1)
        return false;
    c->heard |= UINT64_C(1) << back;
    if (c->placed && (c->lost || lacks(c, c->arrivals)))
        due_add(s, user, c);
    return true;
}

void arrivals_expect(struct shard *s, uint32_t user, uint64_t arrivals)
{
    struct user_copy *c = user_copy(s, user);
    if (!c || !c->placed || arrivals <= c->arrivals)
        return;
    reach(c, arrivals);
    due_add(s, user, c);
}

void arrivals_settle(struct shard *s, uint32_t user, uint64_t upto)
{
    struct user_copy *c = user_copy(s, user);
    if (!c)
        return;
    uint64_t newer = c->arrivals > upto ? c->arrivals - upto : 0;
    c->lost = newer >= 64;
    if (!c->lost)
        c->heard |= UINT64_MAX << newer;
    if (c->placed && (c->lost || lacks(c, c->arrivals)))
        due_add(s, user, c);
}

void copy_retry(struct shard *s, uint32_t user)
{
    struct user_copy *c = user_copy(s, user);
    if (!c)
        return;
    c->lost = true;
    due_add(s, user, c);
}

void copies_due(struct shard *s, void (*read)(struct shard *s, uint32_t user))
{
    struct copies *x = s->copies;
    uint32_t n = x ? x->due_count : 0, kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t user = x->due[i];
        struct user_copy *c = user_copy(s, user);
        if (!c || !c->due)
            continue;
        if ((int32_t)((uint32_t)s->now_ms - c->late_ms) < 0) {
            x->due[kept++] = user;
            continue;
        }
        c->due = false;
        bool late = c->lost || lacks(c, c->late);
        if (!late && lacks(c, c->arrivals))
            due_add(s, user, c);
        if (late)
            read(s, user); /* which adds nobody inside the call but behind the rest */
    }
    /* Those who were added meanwhile move up. */
    for (uint32_t i = n; x && i < x->due_count; i++)
        x->due[kept++] = x->due[i];
    if (x)
        x->due_count = kept;
}
