/*
 * Compressing what the server sends: permessage-deflate for WebSocket (RFC 7692), gzip for TCP (RFC 1952).
 *
 * Each message is compressed for itself, with nothing of those before it. So all its receivers share it, and no
 * connection has a compressor. One deflater a net, on its thread; it allocates at its first use.
 */
#ifndef MAGPIE_NET_DEFLATE_H
#define MAGPIE_NET_DEFLATE_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct z_stream_s;

/* How far back a receiver can look. */
enum deflate_window {
    DEFLATE_WIDE,   /* 32 KiB */
    DEFLATE_NARROW, /* 256 bytes, the least that a receiver may ask for: whoever asks for less than 32 KiB reads it */
    DEFLATE_WINDOWS
};

struct deflater {
    uint32_t threshold;                          /* bytes: what is smaller is not compressed */
    int level;                                   /* zlib's, 1 to 9; 0: nothing is compressed */
    struct z_stream_s *streams[DEFLATE_WINDOWS]; /* owned; NULL until the first use */
    int levels[DEFLATE_WINDOWS];                 /* that each stream has now */
    uint8_t *out;                                /* what was compressed last; owned */
    size_t cap;                                  /* bytes of out */
    uint64_t before, after;                      /* bytes of all that became smaller; each once, whoever is sent it */
};

/* From now on. Level 0: nothing is compressed. */
void deflater_configure(struct deflater *d, uint32_t threshold, int level);
/* Gives back a buffer that one large message has needed. Once a second. */
void deflater_trim(struct deflater *d);
void deflater_free(struct deflater *d);
/* Bytes. */
uint64_t deflater_memory(const struct deflater *d);

/* The payload of a permessage-deflate message whose parts are these, one after the other. Borrowed until the next call.
 * p is NULL: it goes as it is, because it is below the threshold or would not become smaller, or there is no memory. */
struct slice deflate_message(struct deflater *d, enum deflate_window window, const struct slice *parts, unsigned n);
/* The same as gzip. */
struct slice deflate_gzip(struct deflater *d, struct slice body);

#endif
