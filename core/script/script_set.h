/* A *script set*: the scripts of one load on every shard, read, loaded and checked. Private to core/script. */
#ifndef MAGPIE_SCRIPT_SCRIPT_SET_H
#define MAGPIE_SCRIPT_SCRIPT_SET_H

#include "core/script/scripts_private.h"

/* --- script_set.c --- */
/* Loads the scripts on the main thread, once for every shard; nothing of the host changes but its records of new names.
 * Else not 0, with every error as a line in `errors`. */
MUST_CHECK int script_set_build(struct scripts *s, const struct scripts_options *o, struct buf *errors,
                                struct script_set **out);
/* No shard runs it. NULL is allowed. */
void script_set_free(struct script_set *g);

#endif
