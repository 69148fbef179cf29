/* The length framing of TCP connections (protocol.md 1). Pure functions over bytes. */
#ifndef MAGPIE_NET_TCP_H
#define MAGPIE_NET_TCP_H

#include "core/base/slice.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { TCP_HEADER = 8 };

struct tcp_frame {
    uint16_t action, seq;
    struct slice body; /* within the bytes that were parsed */
};

/* Takes the first frame off p[0..n). Returns its size; 0 when it is not complete; ERR_INVALID (length below 8) or
 * ERR_TOOLARGE (length over `limit`), which are known as soon as the length is there. */
ssize_t tcp_parse(const uint8_t *p, size_t n, uint32_t limit, struct tcp_frame *f);

#endif
