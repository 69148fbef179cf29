/*
 * TLS of the server: certificates from the config's files, keys of tickets from the data directory, and the streams of
 * the shards. Private to core/server. Main thread.
 */
#ifndef MAGPIE_SERVER_SECURE_H
#define MAGPIE_SERVER_SECURE_H

#include "core/base/buf.h"
#include "core/base/err.h"

#include <stdbool.h>

struct config;
struct server;

/* Reads the files that a config names, and lets go of them: what is wrong with them is a line each in `errors`, behind
 * `name`. */
void secure_check(const struct config *c, const char *name, struct buf *errors);

/* Makes what the config's listeners need, and gives the shards their streams: after the hub, before it listens. -1,
 * which has been told. */
MUST_CHECK int secure_open(struct server *s);
/* Reads the files of another config. Not 0, with lines in `errors`: they are no good. */
MUST_CHECK int secure_prepare(struct server *s, const struct config *c, struct buf *errors);
/* New connections get what was prepared, from now on; or it is let go of. */
void secure_commit(struct server *s);
void secure_abandon(struct server *s);
/* After the hub is gone. */
void secure_close(struct server *s);

#endif
