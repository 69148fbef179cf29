/*
 * Reading what clients have compressed: permessage-deflate (RFC 7692) and gzip (RFC 1952), never past a limit.
 *
 * Each message stands for itself (client_no_context_takeover), so one inflater a net is enough. On its thread; it
 * allocates at its first use.
 */
#ifndef MAGPIE_NET_INFLATE_H
#define MAGPIE_NET_INFLATE_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdint.h>

struct z_stream_s;

struct inflater {
    struct z_stream_s *z;   /* owned; NULL until the first use */
    uint8_t *out;           /* what was inflated last; owned */
    size_t cap;             /* bytes of out */
    uint64_t before, after; /* bytes of all that was inflated */
};

/* Gives back a buffer that one large message has needed. Once a second. */
void inflater_trim(struct inflater *f);
void inflater_free(struct inflater *f);
/* Bytes. */
uint64_t inflater_memory(const struct inflater *f);

/* The payload of a permessage-deflate message, all fragments together. 0: *out, borrowed until the next call;
 * ERR_TOOLARGE: it would have more than `limit` bytes, and was given up there; ERR_INVALID: it is not DEFLATE, or ends
 * within a block; ERR_NOMEM. */
MUST_CHECK int inflate_message(struct inflater *f, struct slice in, size_t limit, struct slice *out);
/* The same for gzip, of one member or several. */
MUST_CHECK int inflate_gzip(struct inflater *f, struct slice in, size_t limit, struct slice *out);

#endif
