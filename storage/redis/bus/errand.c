/* What other nodes are to do: see errand.h. */
#include "storage/redis/bus/errand.h"

#include "core/base/random.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/time.h"

#include <stdlib.h>

enum {
    CHAINS = 256,
    AGAIN_MS = 250,     /* until it is told again; then twice as long each time */
    AGAIN_MAX_MS = 1000 /* but no longer */
};

struct errands {
    struct errand *chains[CHAINS]; /* under way, by number */
    uint32_t n;
    uint64_t number; /* of the newest; they begin anywhere, and so are never those of another engine */
};

int errands_init(struct redis *r)
{
    r->bus->errands = calloc(1, sizeof *r->bus->errands);
    if (!r->bus->errands)
        return ERR_NOMEM;
    random_bytes(&r->bus->errands->number, sizeof r->bus->errands->number);
    return 0;
}

void errands_fini(struct redis *r)
{
    free(r->bus->errands);
    r->bus->errands = NULL;
}

int errand_room(struct errand *e, uint32_t n)
{
    *e = (struct errand){.to = calloc(n, sizeof *e->to)};
    return e->to ? 0 : ERR_NOMEM;
}

void errand_add(struct errand *e, uint64_t inc)
{
    e->to[e->n++].inc = inc;
    e->left++;
}

void errand_free(struct errand *e)
{
    for (uint32_t i = 0; i < e->n; i++)
        free(e->to[i].body);
    free(e->to);
    e->to = NULL;
    e->n = 0;
}

/* --- Telling ------------------------------------------------------------------------------------------------------ */

static bool is_well(const struct master *m)
{
    return m->parts && !m->lost && !m->copies.few.since && m->lanes[LANE_NEWS].link.state == LINK_READY;
}

unsigned errand_part(const struct redis *r, unsigned part, uint32_t tries)
{
    const struct master *first = r->parts[part].master;
    for (unsigned k = 0; k < PARTITIONS; k++) {
        unsigned other = (part + k + tries * 377) % PARTITIONS; /* far from those of other tries */
        const struct master *m = r->parts[other].master;
        if (is_well(m) && (m != first || tries % 2 == 0))
            return other;
    }
    return part;
}

static void errand_tell(struct redis *r, struct errand *e)
{
    uint32_t gap = e->tries < 3 ? AGAIN_MS << e->tries : AGAIN_MAX_MS;
    e->say.origin = node_others(r)->inc;
    e->say.time_ms = time_now(r);
    for (uint32_t i = 0; i < e->n && e->say.origin; i++) {
        unsigned part = errand_part(r, (unsigned)((e->say.number + i) % PARTITIONS), e->tries);
        struct buf *b = e->to[i].over ? NULL : tell_node(r, NULL, part, e->to[i].inc);
        if (b)
            news_more_put(b, &e->say);
    }
    e->tries++;
    e->again_ms = r->turn_ms + (gap < AGAIN_MAX_MS ? gap : AGAIN_MAX_MS);
}

uint64_t errand_number(struct redis *r)
{
    return ++r->bus->errands->number;
}

void errand_begin(struct redis *r, struct errand *e)
{
    struct errands *all = r->bus->errands;
    e->say.number = errand_number(r);
    e->at = &all->chains[e->say.number % CHAINS];
    e->next = *e->at;
    if (e->next)
        e->next->at = &e->next;
    *e->at = e;
    all->n++;
    errand_tell(r, e);
}

static void errand_end(struct redis *r, struct errand *e)
{
    *e->at = e->next;
    if (e->next)
        e->next->at = e->at;
    r->bus->errands->n--;
    e->end(r, e);
}

/* --- What becomes of it ------------------------------------------------------------------------------------------- */

static void reply_take(struct errand_to *to, const struct news_more *m)
{
    size_t n = m->body.n < BUS_CALL_MAX ? m->body.n : BUS_CALL_MAX;
    if (n && !(to->body = malloc(n)))
        return; /* it is told again, and answers again */
    if (n)
        memcpy(to->body, m->body.p, n);
    to->n = n;
    to->connections = m->connections;
    to->over = to->replied = true;
}

void errand_reply(struct redis *r, const struct news_more *m)
{
    struct errand *e = r->bus->errands->chains[m->number % CHAINS];
    while (e && e->say.number != m->number)
        e = e->next;
    bool asked = m->kind == NEWS_ANSWER;
    if (!e || asked != (e->say.kind == NEWS_CALL))
        return;
    for (uint32_t i = 0; i < e->n; i++) {
        if (e->to[i].inc != m->origin || e->to[i].over)
            continue;
        reply_take(&e->to[i], m);
        e->left -= e->to[i].over;
        break;
    }
    if (!e->left)
        errand_end(r, e);
}

/* Whoever is dead by now is not waited for. Whether it is over. */
static bool errand_look(struct redis *r, struct errand *e)
{
    for (uint32_t i = 0; i < e->n; i++) {
        if (e->to[i].over || nodes_may_live(node_others(r), e->to[i].inc))
            continue;
        e->to[i].over = true;
        e->left--;
    }
    return !e->left || (e->until_ms && r->turn_ms >= e->until_ms);
}

/* Calls each of them once, whatever becomes of the others meanwhile. */
static void errands_each(struct redis *r, void (*each)(struct redis *r, struct errand *e))
{
    for (unsigned i = 0; i < CHAINS && r->bus->errands->n; i++) {
        for (struct errand *e = r->bus->errands->chains[i], *next; e; e = next) {
            next = e->next; /* a new one comes before it */
            each(r, e);
        }
    }
}

static void errand_tick(struct redis *r, struct errand *e)
{
    if (errand_look(r, e))
        errand_end(r, e);
    else if (r->turn_ms >= e->again_ms)
        errand_tell(r, e);
}

void errands_tick(struct redis *r)
{
    errands_each(r, errand_tick);
}

bool errands_busy(const struct redis *r)
{
    return r->bus->errands->n > 0;
}

void errands_rest(struct redis *r)
{
    errands_each(r, errand_end);
}
