/* Telling the layers above what has changed, one change at a time, and when it is in force on all nodes. See
 * notes_log.h. */
#include "storage/redis/nodes/notes_log_private.h"

#include "core/base/container.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>
#include <string.h>

enum {
    SPREAD_MS = 2000, /* a change that is not in force everywhere is answered then */
    OWN_NUMBERS = 47  /* the bit by which numbers of ours differ from those that are given */
};

static struct bus_noted *noted_of(struct mail *m)
{
    return (struct bus_noted *)m; /* its first member */
}

/* --- Telling ------------------------------------------------------------------------------------------------------ */

static void deliver(struct redis *r)
{
    struct notes_log *l = r->notes_log;
    while (!l->out && l->first && atomic_load(&l->listens)) {
        struct bus_noted *n = l->first;
        uint64_t place = n->seq;
        l->first = n->mail.next ? noted_of(n->mail.next) : NULL;
        if (!l->first)
            l->last = NULL;
        l->count--;
        n->mail.next = NULL;
        l->out++;
        if (r->node_ears->noted(r, n))
            return;
        l->out--;
        free(n);
        l->applied = place;
    }
}

static void clear(struct notes_log *l)
{
    for (struct bus_noted *n = l->first, *next; n; n = next) {
        next = n->mail.next ? noted_of(n->mail.next) : NULL;
        free(n);
    }
    l->first = l->last = NULL;
    l->count = 0;
}

static struct bus_noted *noted_new(const struct notes_log *l, const struct note_change *c)
{
    size_t size = c ? c->key.n + c->value.n : 0;
    struct bus_noted *n = malloc(sizeof *n + size);
    if (!n)
        return NULL;
    *n = (struct bus_noted){.seq = l->told, .all = c == NULL};
    if (!c)
        return n;
    n->origin = c->inc;
    n->number = c->inc == l->born && c->number >> OWN_NUMBERS == 0 ? c->number : 0;
    n->remove = c->flags & NOTE_CHANGE_REMOVE;
    n->passing = c->flags & NOTE_CHANGE_PASSING;
    n->add = c->flags & NOTE_CHANGE_ADD;
    memcpy(n->data, c->key.p, c->key.n);
    if (c->value.n)
        memcpy(n->data + c->key.n, c->value.p, c->value.n);
    n->note = (struct store_note){{n->data, c->key.n}, {n->data + c->key.n, c->value.n}};
    return n;
}

void notes_log_tell(struct redis *r, const struct note_change *c)
{
    struct notes_log *l = r->notes_log;
    if (!r->node_ears || l->deaf) {
        l->applied = l->told;
        return;
    }
    if (l->count == NOTES_LOG_GAP)
        c = NULL;
    if (!c)
        clear(l);
    struct bus_noted *n = noted_new(l, c);
    if (!n) { /* no memory: what was missed is read with the next change */
        clear(l);
        r->notes->known = false;
        l->anew = true;
        return;
    }
    if (l->last)
        l->last->mail.next = &n->mail;
    else
        l->first = n;
    l->last = n;
    l->count++;
    deliver(r);
}

void notes_log_applied(struct redis *r, struct bus_noted *n)
{
    struct notes_log *l = r->notes_log;
    pthread_mutex_lock(&l->lock);
    n->mail.next = l->back ? &l->back->mail : NULL;
    l->back = n;
    pthread_mutex_unlock(&l->lock);
    ev_async_send(r->loop, &l->wake);
}

void notes_log_listen(struct redis *r, bool on)
{
    struct notes_log *l = r->notes_log;
    atomic_store(&l->listens, on);
    if (!on)
        atomic_store(&l->deaf_wanted, true);
    ev_async_send(r->loop, &l->wake);
}

static void on_wake(struct ev_loop *loop, ev_async *w, int events)
{
    struct notes_log *l = CONTAINER_OF(w, struct notes_log, wake);
    (void)loop, (void)events;
    pthread_mutex_lock(&l->lock);
    struct bus_noted *n = l->back;
    l->back = NULL;
    pthread_mutex_unlock(&l->lock);
    while (n) {
        struct bus_noted *next = n->mail.next ? noted_of(n->mail.next) : NULL;
        l->applied = n->seq;
        l->out--;
        free(n);
        n = next;
    }
    l->deaf = atomic_load(&l->deaf_wanted) && !atomic_load(&l->listens);
    if (l->deaf) { /* what nobody hears any more is in force */
        clear(l);
        l->applied = l->told;
    }
    deliver(l->r);
    notes_log_moved(l->r);
}

/* --- Beats -------------------------------------------------------------------------------------------------------- */

/* A beat at once, but not one after the other. */
static void beat_soon(struct redis *r)
{
    struct notes_log *l = r->notes_log;
    l->due = true;
    if (ev_is_active(&l->timer))
        return;
    l->due = false;
    node_beat_now(r);
    l->timer.repeat = notes_log_gap_ms(node_others(r)->n) / 1000.0;
    ev_timer_again(r->loop, &l->timer);
}

/* Those that wait for this node alone. */
static void here_look(struct redis *r)
{
    struct notes_log *l = r->notes_log;
    struct notes_writer *n = l->here;
    l->here = NULL;
    l->here_last = &l->here;
    while (n) {
        struct notes_writer *next = n->next;
        if (n->place <= l->applied || r->turn_ms >= n->until_ms) {
            n->done(r, n, &(struct silent_nodes){.n = 0});
        } else {
            n->next = NULL;
            *l->here_last = n;
            l->here_last = &n->next;
        }
        n = next;
    }
}

void notes_log_here(struct redis *r, struct notes_writer *n)
{
    struct notes_log *l = r->notes_log;
    n->until_ms = r->turn_ms + SPREAD_MS;
    n->next = NULL;
    *l->here_last = n;
    l->here_last = &n->next;
    here_look(r);
}

void notes_log_tick(struct redis *r)
{
    here_look(r);
}

void notes_log_moved(struct redis *r)
{
    struct notes_log *l = r->notes_log;
    here_look(r);
    uint64_t place = notes_log_place(r);
    if (place == l->moved)
        return;
    l->moved = place;
    if (node_others(r)->n > 1) /* else nobody sees it */
        beat_soon(r);
}

uint64_t notes_log_place(const struct redis *r)
{
    const struct notes_log *l = r->notes_log;
    return r->notes->known ? l->applied + 1 : 0;
}

/* --- Who waits for all nodes -------------------------------------------------------------------------------------- */

/* On which nodes that place is not in force, as far as is known. */
static struct silent_nodes missing(const struct redis *r, uint64_t place)
{
    const struct nodes *ns = node_others(r);
    const struct node *own = nodes_find(ns, ns->inc);
    struct silent_nodes out = {.n = 0};
    if (r->notes_log->applied < place)
        silent_add(&out, own ? own->number : 0);
    for (unsigned i = 0; i < ns->n; i++) {
        const struct node *n = &ns->list[i];
        /* Whoever has none of it yet reads it later. */
        if (n != own && !node_is_dead(n) && n->about.log && n->about.log <= place)
            silent_add(&out, n->number);
    }
    return out;
}

static void spread_look(struct redis *r, uint64_t told)
{
    struct notes_log *l = r->notes_log;
    struct notes_writer *n = l->writers;
    l->writers = NULL;
    while (n) {
        struct notes_writer *next = n->next;
        struct silent_nodes silent = missing(r, n->place);
        if ((n->place <= told && !silent.n) || r->turn_ms >= n->until_ms) {
            n->done(r, n, &silent);
        } else {
            n->next = l->writers;
            l->writers = n;
        }
        n = next;
    }
}

void notes_log_spread_look(struct redis *r, uint64_t told)
{
    spread_look(r, told);
}

void notes_log_spread(struct redis *r, struct notes_writer *n)
{
    struct notes_log *l = r->notes_log;
    n->until_ms = r->turn_ms + SPREAD_MS;
    n->next = l->writers;
    l->writers = n;
    beat_soon(r);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct notes_log *l = CONTAINER_OF(w, struct notes_log, timer);
    (void)events;
    spread_look(l->r, 0);
    if (!l->due && !l->writers) {
        ev_timer_stop(loop, w);
        return;
    }
    l->due = false;
    node_beat_now(l->r);
}

uint64_t notes_log_born(const struct redis *r)
{
    return r->notes_log->born;
}

uint64_t notes_log_number(struct redis *r)
{
    return (UINT64_C(1) << OWN_NUMBERS) + ++r->notes_log->numbers;
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

int notes_log_init(struct redis *r)
{
    struct notes_log *l = calloc(1, sizeof *l);
    if (!l)
        return ERR_NOMEM;
    r->notes_log = l;
    l->r = r;
    l->here_last = &l->here;
    pthread_mutex_init(&l->lock, NULL);
    ev_init(&l->timer, on_timer);
    ev_async_init(&l->wake, on_wake);
    ev_async_start(r->loop, &l->wake);
    return 0;
}

void notes_log_fini(struct redis *r)
{
    struct notes_log *l = r->notes_log;
    if (!l)
        return;
    clear(l);
    for (struct bus_noted *n = l->back, *next; n; n = next) {
        next = n->mail.next ? noted_of(n->mail.next) : NULL;
        free(n);
    }
    notes_free(&l->loading);
    pthread_mutex_destroy(&l->lock);
    free(l);
    r->notes_log = NULL;
}
