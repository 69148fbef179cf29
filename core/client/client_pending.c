/* Requests that wait for their answers: see client_pending.h. */
#include "core/client/client_pending.h"

#include <stdlib.h>

enum { SIZE_MIN = 4, SIZE_MAX_SLOTS = 65536 };

static struct client_pending *table_new(uint32_t size)
{
    struct client_pending *table = calloc(1, sizeof(*table) + size * sizeof(table->slots[0]));
    if (table)
        table->size = size;
    return table;
}

/* Doubles the table. No two can collide in the larger one that did not in the smaller. */
static int table_grow(struct client_pending **at)
{
    struct client_pending *old = *at;
    struct client_pending *table = table_new(old->size * 2);

    if (!table)
        return ERR_NOMEM;
    table->used = old->used;
    for (uint32_t i = 0; i < old->size; i++)
        if (old->slots[i].seq)
            table->slots[old->slots[i].seq & (table->size - 1)] = old->slots[i];
    free(old);
    *at = table;
    return 0;
}

static uint16_t seq_next(uint16_t seq)
{
    return seq == UINT16_MAX ? 1 : (uint16_t)(seq + 1);
}

int client_pending_add(struct client_pending **table, uint16_t *last, const struct client_slot *slot)
{
    uint16_t seq = seq_next(*last);

    if (!*table) {
        *table = table_new(SIZE_MIN);
        if (!*table)
            return ERR_NOMEM;
    }
    if ((*table)->used == UINT16_MAX)
        return ERR_FULL;
    while ((*table)->slots[seq & ((*table)->size - 1)].seq) {
        if ((*table)->size == SIZE_MAX_SLOTS) {
            seq = seq_next(seq); /* an old request holds it; a free one exists */
            continue;
        }
        int status = table_grow(table);
        if (status < 0)
            return status;
    }
    struct client_slot *free_slot = &(*table)->slots[seq & ((*table)->size - 1)];
    *free_slot = *slot;
    free_slot->seq = seq;
    (*table)->used++;
    *last = seq;
    return 0;
}

bool client_pending_take(struct client_pending **table, uint16_t action, uint16_t seq, struct client_slot *out)
{
    if (!*table || seq == 0)
        return false;
    struct client_slot *slot = &(*table)->slots[seq & ((*table)->size - 1)];
    if (slot->seq != seq || slot->action != action)
        return false;
    *out = *slot;
    slot->seq = 0;
    if (--(*table)->used == 0) {
        free(*table);
        *table = NULL;
    }
    return true;
}
