/* The JSON of answers and pushes (protocol.md sections 4 and 5). Appends to a buffer; errors show in buf_ok(). Pure. */
#ifndef MAGPIE_HUB_ENCODE_H
#define MAGPIE_HUB_ENCODE_H

#include "core/base/buf.h"
#include "storage/store.h"

struct pub;

/* The id as 19 digits in quotes. */
void encode_id(struct buf *b, uint64_t id);
/* A message of this conversation: body of 101 or 102, element of history and inbox pages. */
void encode_message(struct buf *b, struct slice conv, const struct store_message *m);
/* Answer to a send: {id, seq, createdAt}. */
void encode_sent(struct buf *b, uint64_t id, uint64_t seq, uint64_t created_ms);
/* "channel":"…" or, seen by `self`, "peerId":"…" (without braces). */
void encode_conversation(struct buf *b, struct slice conv, struct slice self);
/* Body of 104 with the publication's items from `first` on. */
void encode_merged(struct buf *b, struct slice channel, struct pub *p, uint32_t first, uint64_t from, uint32_t omitted);

#endif
