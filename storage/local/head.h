/* A conversation's head within a group: what operations change of it before it is written. The writer's thread. */
#ifndef MAGPIE_STORAGE_HEAD_H
#define MAGPIE_STORAGE_HEAD_H

#include "storage/local/writer.h"

/* It changes in this group. */
void head_touch(struct writer *w, struct head *h);
/* It becomes that of a conversation that never was. */
void head_clear(struct writer *w, struct head *h);
/* It goes into the batch: reserve 1 put, HEAD_ROOM bytes. */
enum { HEAD_ROOM = CONV_KEY_MAX + 1 + HEAD_SIZE };
void head_put(struct writer *w, struct head *h);
/* The smallest visible seq of the conversation as this group sees it: newest + 1 when none is, 0 when there never was
 * one. ERR_*. */
MUST_CHECK int head_first(struct writer *w, struct head *h, uint64_t *first);
/* A head that was added to the cache takes what the database has of it. Frees `f`. */
void head_load(struct writer *w, struct head *h, struct kv_found *f);

#endif
