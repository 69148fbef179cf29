#include "core/script/breaker.h"

#include <stddef.h>
#include <stdlib.h>

/* Costly failures that shut it, and for how long: doubled each time up to the last. */
enum { FAILURES = 10, SHUT_MS = 5000, SHUT_MAX_MS = 300000, DOUBLINGS = 6 };
/* Callers that must fail before it is taken for broken: one alone may have found an input that it does not bear. */
enum { BROKEN_FOR = 3 };
/* While it is left out for all, a stranger is asked this often; doubled like the pause. */
enum { TRY_MS = 1000, TRY_MAX_MS = 60000 };
/* A caller's failures are forgotten one by one. Not by a success: he could make one between any two. */
enum { FORGET_MS = 10000 };
/* Callers that are remembered; the least of them gives way. */
enum { CALLERS = 32 };

struct caller {
    uint64_t hash;
    uint64_t shut_until;
    uint64_t since; /* forgetting began */
    uint32_t failures;
    uint32_t row; /* of the breaker, when he failed last */
};

struct breaker_callers {
    unsigned count;
    struct caller list[CALLERS];
};

static uint64_t doubled(uint64_t ms, uint32_t times, uint64_t max)
{
    ms <<= times < DOUBLINGS ? times : DOUBLINGS;
    return ms < max ? ms : max;
}

static void forget(struct caller *c, uint64_t now)
{
    uint64_t n = now > c->since ? (now - c->since) / FORGET_MS : 0;
    c->failures = n < c->failures ? c->failures - (uint32_t)n : 0;
    c->since += n * FORGET_MS;
}

/* NULL: he has done nothing lately. Drops those who have not, on the way. */
static struct caller *find(struct breaker *b, uint64_t hash, uint64_t now)
{
    struct breaker_callers *all = b->callers;
    struct caller *found = NULL;
    for (unsigned i = 0; all && i < all->count;) {
        forget(&all->list[i], now);
        if (all->list[i].failures == 0 && all->list[i].row != b->row) {
            all->list[i] = all->list[--all->count];
            continue;
        }
        if (all->list[i].hash == hash)
            found = &all->list[i];
        i++;
    }
    return found;
}

/* NULL: out of memory. */
static struct caller *find_or_add(struct breaker *b, uint64_t hash, uint64_t now)
{
    struct caller *c = find(b, hash, now);
    if (c)
        return c;
    if (!b->callers && !(b->callers = calloc(1, sizeof *b->callers)))
        return NULL;
    struct breaker_callers *all = b->callers;
    if (all->count < CALLERS) {
        c = &all->list[all->count++];
    } else {
        c = all->list;
        for (unsigned i = 1; i < CALLERS; i++)
            if (all->list[i].failures < c->failures)
                c = &all->list[i];
    }
    *c = (struct caller){.hash = hash, .since = now, .row = b->row - 1};
    return c;
}

enum breaker_says breaker_ask(struct breaker *b, uint64_t caller, uint64_t now_ms)
{
    const struct caller *c = find(b, caller, now_ms);
    if (c && now_ms < c->shut_until)
        return b->open ? BREAKER_LEFT_OUT : BREAKER_REFUSE;
    if (!b->open || now_ms >= b->shut_until)
        return BREAKER_ASK;
    if (caller == BREAKER_NOBODY || (c && c->row == b->row) || now_ms < b->try_at)
        return BREAKER_LEFT_OUT;
    b->try_at = now_ms + doubled(TRY_MS, b->opened - 1, TRY_MAX_MS);
    return BREAKER_ASK;
}

struct breaker_news breaker_failed(struct breaker *b, uint64_t caller, bool costly, uint64_t now_ms)
{
    struct breaker_news news = {.failures = 0};
    if (caller != BREAKER_NOBODY && !costly)
        return news;
    b->failures += b->failures < UINT32_MAX;
    struct caller *c = caller == BREAKER_NOBODY ? NULL : find_or_add(b, caller, now_ms);
    if (c) {
        b->failing += c->row != b->row;
        c->row = b->row;
        c->since = now_ms;
        c->failures += c->failures < UINT32_MAX;
    }
    if (c && c->failures >= FAILURES) {
        news =
            (struct breaker_news){.failures = c->failures, .ms = doubled(SHUT_MS, c->failures - FAILURES, SHUT_MAX_MS)};
        c->since = c->shut_until = now_ms + news.ms;
    }
    if (b->failures >= FAILURES && (!c || b->failing >= BROKEN_FOR)) {
        news = (struct breaker_news){
            .failures = b->failures, .ms = doubled(SHUT_MS, b->opened++, SHUT_MAX_MS), .for_all = true};
        b->shut_until = now_ms + news.ms;
        b->open = true;
    }
    return news;
}

void breaker_fini(struct breaker *b)
{
    free(b->callers);
    b->callers = NULL;
}
