/* What a connection has sent and nobody could use yet: the beginning of a message, or what waits while it is paused. */
#ifndef MAGPIE_NET_INBUF_H
#define MAGPIE_NET_INBUF_H

#include "core/net/websocket.h"

#include <stddef.h>
#include <stdint.h>

struct inbuf {
    uint32_t cap;        /* bytes in data */
    uint32_t start;      /* first byte in use */
    uint32_t msg_n;      /* bytes of the WebSocket message so far, from start on */
    uint32_t end;        /* after the last byte in use */
    uint32_t early;      /* bytes that are counted as memory before login while a connection has it (net_shared.h) */
    struct ws_parser ws; /* of a WebSocket */
    uint8_t data[];
};

/* NULL: out of memory. */
struct inbuf *inbuf_new(size_t cap);
/* Moves what is in use to the front. */
void inbuf_compact(struct inbuf *in);
/* The buffer with room for `extra` more bytes: grows to half as much again, or to what is needed, whichever is more,
 * but beyond `max` only to what is needed. NULL: out of memory, the old one stays. */
struct inbuf *inbuf_grow(struct inbuf *in, size_t extra, size_t max);
/* Gives back memory that is far more than what is in use. */
struct inbuf *inbuf_shrink(struct inbuf *in);

#endif
