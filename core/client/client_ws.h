/*
 * The client's half of RFC 6455: handshake, frame headers, masking. A codec without any I/O; pure functions, any
 * thread.
 */
#ifndef MAGPIE_CLIENT_CLIENT_WS_H
#define MAGPIE_CLIENT_CLIENT_WS_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum {
    CLIENT_WS_HEADER_MAX = 14,    /* bytes of the largest header of a masked frame */
    CLIENT_WS_ACCEPT_LEN = 28,    /* bytes of Sec-WebSocket-Accept */
    CLIENT_WS_RESPONSE_MAX = 8192 /* bytes of the largest handshake answer taken */
};

enum client_ws_opcode {
    CLIENT_WS_CONTINUATION = 0,
    CLIENT_WS_TEXT = 1,
    CLIENT_WS_BINARY = 2,
    CLIENT_WS_CLOSE = 8,
    CLIENT_WS_PING = 9,
    CLIENT_WS_PONG = 10
};

/* A frame that came from a server. */
struct client_ws_frame {
    struct slice payload; /* borrowed from the bytes that were parsed */
    size_t size;          /* header and payload, bytes; also set when it is known but not all is there yet, else 0 */
    uint8_t opcode;       /* an enum client_ws_opcode that may stand here */
    bool fin;             /* the message's last frame */
};

/* The frame at the start of the bytes. 1: *out is filled; 0: not all there yet; ERR_INVALID: *why says what is wrong
 * with it (static); ERR_TOOLARGE: over `max` bytes. */
int client_ws_parse(struct slice bytes, size_t max, struct client_ws_frame *out, const char **why);

/* Writes the header of a final, masked frame; returns its size. `mask` is the key as it goes on the wire, in memory
 * order. */
size_t client_ws_header(uint8_t out[CLIENT_WS_HEADER_MAX], uint8_t opcode, uint64_t payload, uint32_t mask);
/* Masks (or unmasks) `n` bytes from `in` to `out` (which may be the same). `at` is the offset in the payload where `in`
 * begins. */
void client_ws_mask(char *out, const char *in, size_t n, uint32_t mask, size_t at);

/* Appends the upgrade request and writes what the server must answer to its random key. */
void client_ws_request(struct buf *out, const char *host, const char *path, char accept[CLIENT_WS_ACCEPT_LEN]);
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key. */
void client_ws_accept(struct slice key, char accept[CLIENT_WS_ACCEPT_LEN]);
/* The server's answer. > 0: it is good and has so many bytes; 0: not all there yet; ERR_INVALID: it is no upgrade, *why
 * says why (static). */
int client_ws_response(struct slice bytes, const char accept[CLIENT_WS_ACCEPT_LEN], const char **why);

#endif
