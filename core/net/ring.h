/*
 * Many sends by one system call: io_uring, used synchronously. What is asked for is done when the call returns, so no
 * buffer outlives it, and no descriptor has to be waited for.
 *
 * Linux 6.1 is needed. A kernel, container or unit may refuse it: then nothing here is used, and each send leaves by
 * send(2).
 */
#ifndef MAGPIE_NET_RING_H
#define MAGPIE_NET_RING_H

#include "core/base/err.h"
#include "core/net/stream.h"

#include <stddef.h>
#include <stdint.h>

enum { RING_MAX = 128 }; /* sends of one call */

struct ring;

/* A send, and what has become of it. */
struct ring_send {
    struct stream_offer offer; /* what is to leave: bytes are borrowed until the call returns */
    int32_t fd;
    int32_t sent; /* as send(2) without waiting: bytes, maybe fewer than there are; or a negative errno */
};

/* The kernel is asked when something is sent; the thread that sends first is the only one that may. NULL: out of
 * memory. */
struct ring *ring_new(void);
/* NULL is let pass. Any thread. */
void ring_free(struct ring *r);
/* Does all of them in order, RING_MAX at most, and fills in `sent`. One that fails does not keep others from being
 * done. Whatever happens to the ring: when it fails they leave by send(2), now and from then on. Whether it works. */
bool ring_send(struct ring *r, struct ring_send *sends, unsigned n);
/* The same, by a send(2) for each. */
void ring_send_each(struct ring_send *sends, unsigned n);
/* Tries it out with a socket of its own. 0, or ERR_IO with why not, for people. */
MUST_CHECK int ring_probe(char *why, size_t size);

#endif
