/* SHA-1, for the WebSocket handshake and nothing else (so that clients need no crypto library). Pure, any thread. */
#ifndef MAGPIE_CLIENT_CLIENT_SHA1_H
#define MAGPIE_CLIENT_CLIENT_SHA1_H

#include <stddef.h>
#include <stdint.h>

enum {
    CLIENT_SHA1_LEN = 20,       /* bytes of a digest */
    CLIENT_SHA1_INPUT_MAX = 119 /* bytes: what fits in two blocks */
};

/* `n` is at most CLIENT_SHA1_INPUT_MAX. */
void client_sha1(const void *p, size_t n, uint8_t digest[CLIENT_SHA1_LEN]);

#endif
