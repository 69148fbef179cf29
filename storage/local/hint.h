/*
 * What readers, and the writer's looks, tell the writer: operations of the engine's own, which nobody waits for.
 *
 * Readers find rows that are past their time before a compaction takes them. So that the next reader need not pass over
 * them again, the writer is told: the head's floor rises, inbox entries go, a guest that has conversations loses the
 * mark. Losing a hint does no harm.
 */
#ifndef MAGPIE_STORAGE_HINT_H
#define MAGPIE_STORAGE_HINT_H

#include "storage/local/local_private.h"

struct hint {
    struct store_op op;
    uint64_t floor;  /* OP_FLOOR: no seq at or below is visible any more */
    uint64_t due_ms; /* OP_VACANT: of its row; 0: it has none */
    uint64_t *ids;   /* OP_INBOX_CLEAN: entries to remove; malloc'd, owned */
    uint32_t id_count;
    uint32_t key_n;
    char key[]; /* OP_FLOOR, OP_VACANT: conversation; the others: user id */
};
static inline struct slice hint_key(const struct hint *h)
{
    return slice_of(h->key, h->key_n);
}

void hint_floor(struct local *s, struct slice conv, uint64_t floor);
/* A channel without members may go. Empty: there are no more of them (vacant.h). */
void hint_vacant(struct local *s, struct slice conv, uint64_t due_ms);
/* Takes `ids`. */
void hint_inbox(struct local *s, struct slice user, uint64_t *ids, uint32_t n);
void hint_unguest(struct local *s, struct slice user);
/* Lets the writer persist the clock. */
void hint_tick(struct local *s);
/* Frees a hint that was answered. */
void hint_free(struct store_op *op);

#endif
