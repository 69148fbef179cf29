/*
 * Connecting to PostgreSQL, on a thread of its own: libpq resolves names, reads files of passwords and certificates,
 * and tries one host after the other, each of which may block for long. The thread also makes ready what the connection
 * needs (setup.h) and hands it over.
 */
#ifndef MAGPIE_STORAGE_ARCHIVE_DIAL_H
#define MAGPIE_STORAGE_ARCHIVE_DIAL_H

#include "core/base/err.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ev_async;
struct ev_loop;
struct dial;

enum { DIAL_WHY = 256 };

struct dial_options {
    char *url;           /* of libpq; must be one that PQconninfoParse() takes */
    uint32_t timeout_ms; /* of each statement later */
    unsigned partitions; /* of the table, where it is made */
};

/* Begins to connect. `wake` is sent on the loop once dial_take() has a result. The options are copied. NULL: there is
 * no memory or no thread for it. */
struct dial *dial_begin(const struct dial_options *options, struct ev_loop *loop, struct ev_async *wake);
/* The loop's thread: the connection, which is the caller's now, in pipeline mode and non-blocking; or NULL and why
 * there is none. Ends the dial. ERR_AGAIN: there is no result yet, and the dial goes on. */
MUST_CHECK int dial_take(struct dial *d, PGconn **conn, char why[DIAL_WHY]);
/* The loop's thread: gives up. The thread goes on inside libpq until that returns, and is not waited for. */
void dial_abandon(struct dial *d);
/* Whether such a thread has not ended yet. Frees those that have. Any thread. */
bool dial_left(void);

#endif
