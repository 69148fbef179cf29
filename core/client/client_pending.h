/*
 * The requests of one connection that wait for their answers: a table over seq.
 *
 * Seqs are given in turn, so the ones under way are nearly a window: a slot is seq modulo the table's size, and the
 * table grows when two would share one. It exists only while something is pending. Private to the library; the loop's
 * thread.
 */
#ifndef MAGPIE_CLIENT_CLIENT_PENDING_H
#define MAGPIE_CLIENT_CLIENT_PENDING_H

#include "core/client/client.h"

struct client_slot {
    CLIENT_ANSWER_FN(answer); /* may be NULL */
    void *arg;                /* its argument */
    uint16_t action;          /* of the request */
    uint16_t seq;             /* of the request; 0: the slot is free */
};

struct client_pending {
    uint32_t used;              /* slots taken */
    uint32_t size;              /* slots; a power of two, 4 to 65,536 */
    struct client_slot slots[]; /* at seq % size */
};

/* Gives the request the seq after *last (never 0) and stores it; makes the table if *table is NULL. 0, ERR_NOMEM, or
 * ERR_FULL when all seqs are under way; then nothing has changed. slot->seq need not be set. */
MUST_CHECK int client_pending_add(struct client_pending **table, uint16_t *last, const struct client_slot *slot);
/* Takes the request out, freeing the table (*table = NULL) with the last one. False: no such request. */
MUST_CHECK bool client_pending_take(struct client_pending **table, uint16_t action, uint16_t seq,
                                    struct client_slot *out);

#endif
