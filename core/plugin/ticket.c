#include "core/plugin/ticket.h"

#include "core/base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TICKET_ALIGN = 128, /* so that an address has room for TURN_BITS */
    TURN_BITS = TICKET_ALIGN - 1,
    CHUNK_TICKETS = 1024, /* made at once */
    RESTING_MIN = 1024    /* a place rests until so many others have been given up, so that turns come round slowly */
};
_Static_assert(sizeof((struct plugins *)0)->tickets.chunks / sizeof(void *) * (uint64_t)CHUNK_TICKETS < UINT32_MAX,
               "numbers fit");

/*
 * A place for a ticket. Its memory is kept until there are no plugins any more, so that looking at it is always right.
 * A ticket is the place's address with the low bits of `turn` in it.
 */
struct place {
    _Alignas(TICKET_ALIGN) struct plugins *plugins;
    struct place *next;     /* in the list of free ones; under tickets.lock */
    struct open *open;      /* what waits; valid while state says so */
    uint32_t index;         /* of the place */
    _Atomic uint32_t state; /* turn << 1, and 1 while something waits */
    _Atomic int kind;       /* enum open_kind of the present or last turn */
    char plugin[65];        /* whose it is, or was */
};
_Static_assert(sizeof(struct place) == TICKET_ALIGN, "the address has room for the turn");

void tickets_init(struct plugins *ps)
{
    pthread_mutex_init(&ps->tickets.lock, NULL);
    ps->tickets.last = &ps->tickets.first;
}

void tickets_free(struct plugins *ps)
{
    for (unsigned i = 0; i < ps->tickets.chunk_count; i++)
        free(ps->tickets.chunks[i]);
    pthread_mutex_destroy(&ps->tickets.lock);
}

/* --- Places ------------------------------------------------------------------------------------------------------- */

/* Under the lock. */
static void place_put(struct plugins *ps, struct place *t)
{
    t->next = NULL;
    *ps->tickets.last = t;
    ps->tickets.last = &t->next;
    ps->tickets.free_count++;
}

/* Under the lock. */
static void make_places(struct plugins *ps)
{
    unsigned n = ps->tickets.chunk_count;
    struct place *chunk = n < sizeof ps->tickets.chunks / sizeof ps->tickets.chunks[0]
                              ? aligned_alloc(TICKET_ALIGN, CHUNK_TICKETS * sizeof *chunk)
                              : NULL;
    if (!chunk)
        return;
    memset(chunk, 0, CHUNK_TICKETS * sizeof *chunk);
    for (uint32_t i = 0; i < CHUNK_TICKETS; i++) {
        chunk[i].plugins = ps;
        chunk[i].index = n * CHUNK_TICKETS + i;
        place_put(ps, &chunk[i]);
    }
    ps->tickets.chunks[n] = chunk;
    atomic_store(&ps->tickets.chunk_count, n + 1);
}

static struct place *place_get(struct plugins *ps)
{
    pthread_mutex_lock(&ps->tickets.lock);
    if (ps->tickets.free_count < RESTING_MIN)
        make_places(ps);
    struct place *t = ps->tickets.first;
    if (t) {
        ps->tickets.first = t->next;
        if (!t->next)
            ps->tickets.last = &ps->tickets.first;
        ps->tickets.free_count--;
    }
    pthread_mutex_unlock(&ps->tickets.lock);
    return t;
}

static struct place *place_of(const void *ticket, uint32_t *turn)
{
    *turn = (uint32_t)((uintptr_t)ticket & TURN_BITS);
    return (struct place *)((uintptr_t)ticket & ~(uintptr_t)TURN_BITS);
}

/* Whether this is the place's present turn. Of `turn` the bits of `mask` are known. */
static bool in_turn(uint32_t state, uint32_t turn, uint32_t mask)
{
    return state & 1 && ((state >> 1) & mask) == turn;
}

/* Makes the ticket good no longer. NULL: it is not good. */
static struct open *close_place(struct place *t, int kind, uint32_t turn, uint32_t mask)
{
    uint32_t state = atomic_load(&t->state);
    do
        if (!in_turn(state, turn, mask) || atomic_load(&t->kind) != kind)
            return NULL;
    while (!atomic_compare_exchange_weak(&t->state, &state, state & ~1u));
    struct open *o = t->open;
    pthread_mutex_lock(&o->plugin->lock);
    *o->at = o->next;
    if (o->next)
        o->next->at = o->at;
    pthread_mutex_unlock(&o->plugin->lock);
    pthread_mutex_lock(&t->plugins->tickets.lock);
    place_put(t->plugins, t);
    pthread_mutex_unlock(&t->plugins->tickets.lock);
    return o;
}

/* --- What waits --------------------------------------------------------------------------------------------------- */

static const char *const kind_names[] = {[OPEN_ACTION] = "an action",
                                         [OPEN_COMMAND] = "a command",
                                         [OPEN_HTTP] = "an HTTP request",
                                         [OPEN_LOGIN] = "a login",
                                         [OPEN_HOOK] = "a hook"};

void *open_begin(struct mp_self *p, struct open *o, enum open_kind kind, void (*abandon)(struct open *o))
{
    struct place *t = place_get(p->plugins);
    if (!t)
        return NULL;
    uint32_t turn = (atomic_load(&t->state) >> 1) + 1;
    o->plugin = p;
    o->abandon = abandon;
    o->ticket = (void *)((uintptr_t)t | (turn & TURN_BITS));
    t->open = o;
    memcpy(t->plugin, p->name, sizeof t->plugin);
    atomic_store(&t->kind, (int)kind);
    pthread_mutex_lock(&p->lock);
    o->next = p->open;
    o->at = &p->open;
    if (o->next)
        o->next->at = &o->next;
    p->open = o;
    pthread_mutex_unlock(&p->lock);
    void *ticket = o->ticket;
    atomic_store(&t->state, turn << 1 | 1);
    return ticket;
}

static void log_twice(const char *plugin, enum open_kind kind)
{
    log_event(LOG_ERROR, "plugin.answered_twice", LOG_STR("plugin", plugin), LOG_STR("what", kind_names[kind]));
}

void open_log_twice(const struct mp_self *p, enum open_kind kind)
{
    log_twice(p->name, kind);
}

struct open *open_take(const void *ticket, enum open_kind kind)
{
    uint32_t turn;
    struct place *t = place_of(ticket, &turn);
    if (!t)
        return NULL;
    struct open *o = close_place(t, (int)kind, turn, TURN_BITS);
    if (!o)
        log_twice(t->plugin, kind);
    return o;
}

struct open *open_take_named(struct mp_self *p, struct mp_ticket ticket, enum open_kind kind)
{
    struct plugins *ps = p->plugins;
    uint32_t chunk = ticket.conn / CHUNK_TICKETS;
    struct open *o = NULL;
    if (ticket.shard == (uint32_t)kind && chunk < atomic_load(&ps->tickets.chunk_count))
        o = close_place(&ps->tickets.chunks[chunk][ticket.conn % CHUNK_TICKETS], (int)kind, ticket.generation,
                        UINT32_MAX >> 1);
    if (!o)
        log_twice(p->name, kind);
    return o;
}

struct open *open_peek(const void *ticket, enum open_kind kind)
{
    uint32_t turn;
    const struct place *t = place_of(ticket, &turn);
    return t && in_turn(atomic_load(&t->state), turn, TURN_BITS) && atomic_load(&t->kind) == (int)kind ? t->open : NULL;
}

struct mp_ticket open_name(const void *ticket)
{
    uint32_t turn;
    const struct place *t = place_of(ticket, &turn);
    return (struct mp_ticket){(uint32_t)atomic_load(&t->kind), t->index, atomic_load(&t->state) >> 1};
}

struct open *open_withdraw(const void *ticket)
{
    uint32_t turn;
    struct place *t = place_of(ticket, &turn);
    return close_place(t, atomic_load(&t->kind), turn, TURN_BITS);
}

void opens_abandon(struct mp_self *p)
{
    while (p->open) {
        struct open *o = open_withdraw(p->open->ticket);
        o->abandon(o);
    }
}
