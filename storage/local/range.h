/* What readers know of a conversation without a walk over its messages: its head, and its first visible message. */
#ifndef MAGPIE_STORAGE_RANGE_H
#define MAGPIE_STORAGE_RANGE_H

#include "storage/local/msgs.h"

/* A head, 1, 0 (absent; out is zeroed), or an enum err. */
int head_read(struct local *s, struct slice conv, struct head_record *out);
/* msgs_first() by what is known if it can; tells the writer when it had to pass over many expired rows. May move the
 * walk. 0 or an enum err. */
MUST_CHECK int first_read(struct msgs *m, uint64_t *first);

#endif
