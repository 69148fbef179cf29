#include "core/hub/shard/note_sweep.h"

#include "core/base/container.h"
#include "core/hub/shard/note_ears.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/shard.h"

enum {
    SOON_MS = 2000,    /* between two sweeps */
    WHOLE_MS = 600000, /* whatever has ended: for those that ended while nobody led */
    GONE_MAX = 500     /* notes that one sweep takes away; the next one comes soon */
};

int note_sweeper_add(struct hub *hub, const struct note_sweeper *s)
{
    struct note_sweep *w = &hub->note_sweep;
    if (w->count == NOTE_SWEEPERS)
        return ERR_FULL;
    w->list[w->count++] = *s;
    return 0;
}

void note_sweeper_remove(struct hub *hub, const void *ctx)
{
    struct note_sweep *w = &hub->note_sweep;
    for (unsigned i = 0; i < w->count; i++)
        if (w->list[i].ctx == ctx)
            w->list[i].is_over = NULL;
}

void note_sweep_soon(struct hub *hub)
{
    atomic_store(&hub->note_sweep.soon, true);
}

/* --- A sweep: main thread ----------------------------------------------------------------------------------------- */

static void next(struct hub *hub);

static void gone(void *ctx, enum store_status status)
{
    if (status == STORE_RETRY || status == STORE_UNKNOWN) /* others: it has gone, or is another one by now */
        note_sweep_soon(ctx);
}

static void look(void *ctx, const struct store_note *n, int rc)
{
    struct hub *hub = ctx;
    struct note_sweep *w = &hub->note_sweep;
    const struct note_sweeper *s = &w->list[w->at];
    if (!n) {
        (void)rc; /* what could not be read is read with the next sweep */
        w->at++;
        next(hub);
        return;
    }
    if (!n->value.n || !s->is_over || !s->is_over(s->ctx, n))
        return;
    if (w->gone == GONE_MAX) {
        note_sweep_soon(hub);
        return;
    }
    const struct note_order o = {
        .key = n->key, .value = n->value, .remove = true, .home = hub->main, .done = gone, .ctx = hub};
    w->gone += note_order(hub, &o) == 0;
}

static void next(struct hub *hub)
{
    struct note_sweep *w = &hub->note_sweep;
    while (w->at < w->count && !hub->stopped && hub_leads(hub)) {
        if (notes_read(hub, w->list[w->at].prefix, look, hub) == 0)
            return;
        w->at++;
    }
    atomic_store(&w->busy, false);
}

static void begin(void *owner, struct mail *m)
{
    struct hub *hub = CONTAINER_OF(m, struct hub, note_sweep.mail);
    (void)owner;
    hub->note_sweep.at = hub->note_sweep.gone = 0;
    next(hub);
}

void note_sweep_tick(struct shard *s)
{
    struct note_sweep *w = &s->hub->note_sweep;
    uint64_t now = s->now_ms;
    if (!s->bus || !s->hub->main || atomic_load(&w->busy))
        return;
    if (!w->swept_ms)
        w->swept_ms = now;
    bool due = now - w->swept_ms >= WHOLE_MS || (atomic_load(&w->soon) && now - w->swept_ms >= SOON_MS);
    if (!due)
        return;
    w->swept_ms = now;
    atomic_store(&w->soon, false);
    if (!hub_leads(s->hub))
        return;
    atomic_store(&w->busy, true);
    w->mail.run = begin;
    mailbox_post(s->hub->main, &w->mail);
}
