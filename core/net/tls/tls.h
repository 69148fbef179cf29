/*
 * TLS for the connections of all shards: the context that new handshakes get, the keys of tickets, and a table of what
 * is kept by descriptor. The rows of streams that a net is given (net_set_stream()) come from here.
 *
 * Making, turning and freeing: main thread. All else: any thread.
 */
#ifndef MAGPIE_NET_TLS_TLS_H
#define MAGPIE_NET_TLS_TLS_H

#include "core/base/err.h"

#include <stdint.h>

struct tls;
struct tls_context;

/* Takes over the reference to the context. NULL: out of memory (and the reference is given back). */
struct tls *tls_new(struct tls_context *context);
/* After its rows. NULL is let pass. */
void tls_free(struct tls *tls);
/* New handshakes get this one from now on; whoever is connected stays so. Takes over the reference. */
void tls_use(struct tls *tls, struct tls_context *context);
/* The context in force; the reference is the caller's. */
struct tls_context *tls_context_of(struct tls *tls);

struct tls_figures {
    uint64_t full, resumed, failed; /* handshakes since the start */
    uint64_t tls12, tls13;          /* of those that succeeded */
};
void tls_figures(const struct tls *tls, struct tls_figures *out);

#endif
