/* Notes of the store that are read before anything runs: bans, what scripts keep. */
#ifndef MAGPIE_HUB_NOTES_LOAD_H
#define MAGPIE_HUB_NOTES_LOAD_H

#include "core/base/err.h"
#include "core/base/slice.h"

struct store;
struct store_note;

/* Calls `each` for every note whose key begins with `prefix`, in the order of keys; what it is given is gone when it
 * returns. Waits for the store: at the start, on the main thread. ERR_IO: the store cannot be read; or what `each`
 * returned that was not 0, which ends it. */
MUST_CHECK int notes_load(struct store *store, struct slice prefix, int (*each)(void *ctx, const struct store_note *n),
                          void *ctx);

#endif
