#include "core/hub/shard/note_ears.h"

#include "core/base/container.h"
#include "core/hub/shard/shard.h"
#include "core/hub/shard/shards.h"
#include "storage/bus.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 200 };

/* --- Hearing ------------------------------------------------------------------------------------------------------ */

int note_ear_add(struct hub *hub, const struct note_ear *e)
{
    struct note_ears *x = &hub->note_ears;
    pthread_mutex_lock(&x->lock);
    bool room = x->count < NOTE_EARS;
    if (room)
        x->list[x->count++] = *e;
    pthread_mutex_unlock(&x->lock);
    return room ? 0 : ERR_FULL;
}

void note_ear_remove(struct hub *hub, const void *ctx)
{
    struct note_ears *x = &hub->note_ears;
    unsigned kept = 0;
    pthread_mutex_lock(&x->lock);
    for (unsigned i = 0; i < x->count; i++)
        if (x->list[i].ctx != ctx)
            x->list[kept++] = x->list[i];
    x->count = kept;
    pthread_mutex_unlock(&x->lock);
}

/* The next one that hears of it, from number `at` on; false: nobody more. */
static bool next_ear(struct note_ears *x, struct note_ear *out)
{
    bool found = false;
    pthread_mutex_lock(&x->lock);
    while (!found && x->at < x->count) {
        *out = x->list[x->at++];
        size_t n = strlen(out->prefix);
        found = x->now.all || (x->now.key.n >= n && memcmp(x->now.key.p, out->prefix, n) == 0);
    }
    pthread_mutex_unlock(&x->lock);
    return found;
}

void note_applied(struct hub *hub)
{
    struct note_ears *x = &hub->note_ears;
    struct note_ear e;
    if (next_ear(x, &e)) {
        e.changed(e.ctx, &x->now);
        return;
    }
    struct bus_noted *n = x->noted;
    x->noted = NULL;
    bus_applied(store_bus(hub->store), n);
}

void notes_noted(void *ctx, struct bus_noted *n)
{
    struct hub *hub = ctx;
    struct note_ears *x = &hub->note_ears;
    x->noted = n;
    x->at = 0;
    x->now = (struct note_change){.key = n->note.key,
                                  .value = n->note.value,
                                  .removed = n->remove,
                                  .passing = n->passing,
                                  .all = n->all,
                                  .number = n->number};
    note_applied(hub);
}

/* --- Changing ----------------------------------------------------------------------------------------------------- */

uint64_t note_number(struct hub *hub)
{
    return 1 + atomic_fetch_add(&hub->note_ears.number, 1);
}

struct order {
    struct bus_note op;
    struct hub *hub;
    void (*done)(void *ctx, enum store_status status);
    void (*spread)(void *ctx, enum store_status status, const struct silent_nodes *silent);
    void *ctx;
    char data[];
};

static void kept(void *owner, struct store_op *op)
{
    struct order *o = CONTAINER_OF(op, struct order, op.op);
    (void)owner;
    if (o->spread)
        o->spread(o->ctx, op->status, &o->op.silent);
    else
        o->done(o->ctx, op->status);
    hub_step_end(o->hub);
    free(o);
}

int note_order(struct hub *hub, const struct note_order *q)
{
    struct bus *bus = store_bus(hub->store);
    struct order *o = bus ? malloc(sizeof *o + q->key.n + q->value.n) : NULL;
    if (!o)
        return bus ? ERR_NOMEM : ERR_CLOSED;
    memcpy(o->data, q->key.p, q->key.n);
    if (q->value.n)
        memcpy(o->data + q->key.n, q->value.p, q->value.n);
    o->hub = hub;
    o->done = q->done;
    o->spread = q->spread;
    o->ctx = q->ctx;
    o->op = (struct bus_note){.op = {.home = q->home, .done = kept},
                              .note = {slice_of(o->data, q->key.n), slice_of(o->data + q->key.n, q->value.n)},
                              .remove = q->remove,
                              .add = q->add,
                              .passing = q->passing,
                              .behind = !q->spread,
                              .number = q->number};
    hub_step_begin(hub);
    bus_note(bus, &o->op);
    return 0;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

struct reading {
    struct store_notes op;
    struct hub *hub;
    void (*each)(void *ctx, const struct store_note *n, int rc);
    void *ctx;
    char cursor[200];
};

static void page_read(void *owner, struct store_op *op)
{
    struct reading *r = CONTAINER_OF(op, struct reading, op.op);
    bool good = op->status == STORE_OK && !r->hub->stopped; /* an end waits for this page, but for no other */
    (void)owner;
    for (uint32_t i = 0; good && i < r->op.n; i++)
        r->each(r->ctx, &r->op.notes[i], 0);
    if (good && r->op.n) {
        struct slice last = r->op.notes[r->op.n - 1].key;
        memcpy(r->cursor, last.p, last.n);
        r->op.cursor = slice_of(r->cursor, last.n);
    }
    bool more = good && r->op.n && r->op.more;
    free(r->op.notes);
    free(r->op.arena);
    if (more) {
        store_notes(r->hub->store, &r->op);
        return;
    }
    r->each(r->ctx, NULL, good ? 0 : ERR_IO);
    hub_step_end(r->hub);
    free(r);
}

int notes_read(struct hub *hub, const char *prefix, void (*each)(void *ctx, const struct store_note *n, int rc),
               void *ctx)
{
    struct reading *r = calloc(1, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    r->hub = hub;
    r->each = each;
    r->ctx = ctx;
    r->op.prefix = slice_str(prefix);
    r->op.limit = PAGE;
    r->op.op.home = hub->main;
    r->op.op.done = page_read;
    hub_step_begin(hub);
    store_notes(hub->store, &r->op);
    return 0;
}
