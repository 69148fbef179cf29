#include "core/base/wheel.h"

#include <stdlib.h>

/* The first item of a list has the number of its slot as prev, with the top bit set. There is one slot more than
 * slot_count says: the list that is being run, so that its items can be cancelled like any other. */
static const uint32_t slot_mark = 1u << 31;

int wheel_init(struct wheel *w, uint32_t slot_count, uint64_t now, struct wheel_node *(*node_of)(void *, uint32_t),
               uint64_t (*due)(void *, uint32_t), void *ctx)
{
    ASSERT(slot_count && (slot_count & (slot_count - 1)) == 0);
    *w = (struct wheel){.slot_count = slot_count, .now = now, .node_of = node_of, .due = due, .ctx = ctx};
    w->slots = malloc((slot_count + 1) * sizeof *w->slots);
    if (!w->slots)
        return ERR_NOMEM;
    for (uint32_t i = 0; i <= slot_count; i++)
        w->slots[i] = WHEEL_NONE;
    return 0;
}

void wheel_fini(struct wheel *w)
{
    free(w->slots);
    w->slots = NULL;
}

void wheel_cancel(struct wheel *w, uint32_t index)
{
    struct wheel_node *n = w->node_of(w->ctx, index);
    if (n->prev == WHEEL_NONE)
        return;
    if (n->prev & slot_mark)
        w->slots[n->prev & ~slot_mark] = n->next;
    else
        w->node_of(w->ctx, n->prev)->next = n->next;
    if (n->next != WHEEL_NONE)
        w->node_of(w->ctx, n->next)->prev = n->prev;
    *n = WHEEL_NODE_INIT;
}

void wheel_set(struct wheel *w, uint32_t index, uint64_t when)
{
    wheel_cancel(w, index);
    if (when <= w->now)
        when = w->now + 1;
    if (when > w->now + w->slot_count)
        when = w->now + w->slot_count;
    uint32_t slot = (uint32_t)when & (w->slot_count - 1);
    struct wheel_node *n = w->node_of(w->ctx, index);
    n->next = w->slots[slot];
    n->prev = slot | slot_mark;
    if (n->next != WHEEL_NONE)
        w->node_of(w->ctx, n->next)->prev = index;
    w->slots[slot] = index;
}

/* The items of a slot become those that are being run. */
static void begin_slot(struct wheel *w, uint32_t slot)
{
    uint32_t *running = &w->slots[w->slot_count];
    *running = w->slots[slot];
    w->slots[slot] = WHEEL_NONE;
    if (*running != WHEEL_NONE)
        w->node_of(w->ctx, *running)->prev = w->slot_count | slot_mark;
}

bool wheel_run(struct wheel *w, uint64_t now, uint32_t max)
{
    const uint32_t *running = &w->slots[w->slot_count];
    /* After a long sleep one turn visits every slot; items see the time themselves. */
    if (now > w->now + w->slot_count)
        w->now = now - w->slot_count;
    for (;;) {
        while (*running != WHEEL_NONE) {
            uint32_t index = *running;
            if (max-- == 0)
                return true;
            wheel_cancel(w, index);
            uint64_t again = w->due(w->ctx, index);
            if (again)
                wheel_set(w, index, again);
        }
        if (w->now >= now)
            return false;
        w->now++;
        begin_slot(w, (uint32_t)w->now & (w->slot_count - 1));
    }
}
