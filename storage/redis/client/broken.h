/*
 * What cannot be read: a record that somebody else wrote, or a reply that no Redis gives. Whoever meets one in a list
 * passes over it, for the rest of the list is as good as ever; what is left out stays where it is. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_BROKEN_H
#define MAGPIE_STORAGE_REDIS_BROKEN_H

#include "core/base/slice.h"

#include <stdint.h>

struct link;
struct redis;

enum { BROKEN_AGAIN = 60000 /* ms between two lines of the log about such things */ };

/* A record was passed over. kind: what it is, static; key: of the conversation or user it belongs to; seq: 0 if it is
 * no message. */
void broken_record(struct redis *r, const char *kind, struct slice key, uint64_t seq);
/* A link ends because of what the other side says. */
void broken_reply(struct redis *r, const struct link *l, const char *why);

#endif
