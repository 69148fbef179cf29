/*
 * Following a user's, or a connection's, frames live: what comes, what goes, when, how large; never what is in it.
 * Traced connections bear CONN_F_TRACE, so that all others pay nothing. Events go to the main thread by mail; when it
 * falls behind they are left out and counted.
 */
#ifndef MAGPIE_HUB_TRACE_H
#define MAGPIE_HUB_TRACE_H

#include "core/base/frame.h"
#include "core/base/mailbox.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct hub;
struct net_message;
struct shard;

enum { TRACES_MAX = 32 }; /* followed things, on one shard */

enum trace_what { TRACE_IN, TRACE_OUT, TRACE_LOGIN, TRACE_CLOSE };

struct trace_event {
    struct mail mail;
    uint64_t asked_by; /* of trace_start() */
    unsigned shard;
    uint32_t conn, generation;
    enum trace_what what;
    uint16_t action, seq;
    uint32_t size;   /* bytes: in, of the body; out, on the wire */
    int rc;          /* out: 0 queued, ERR_AGAIN skipped, else refused */
    uint32_t queued; /* bytes in the output queue before it */
    uint64_t wall_ms;
    uint32_t lost; /* events left out before this one */
    uint8_t user_len;
    char user[64];
};

/* Who takes the events, on the main thread; set once. */
void trace_set_sink(struct hub *hub, void (*sink)(void *ctx, const struct trace_event *e), void *ctx);

/* On the shard of the user or connection. Following the same thing again for the same asker changes nothing. False: as
 * many are followed as can be, or there is no such connection. */
bool trace_start_user(struct shard *s, uint64_t asked_by, struct slice user);
bool trace_start_conn(struct shard *s, uint64_t asked_by, uint32_t conn, uint32_t generation);
/* Ends what this asker follows here: the user, the connection, or (user empty, conn NONE) all. */
void trace_stop(struct shard *s, uint64_t asked_by, struct slice user, uint32_t conn);

/* --- For the hub, of connections with CONN_F_TRACE --- */

/* A user's connection is about to be logged in. */
void trace_login(struct shard *s, uint32_t conn, struct slice user);
void trace_message(struct shard *s, uint32_t conn, const struct net_message *m);
void trace_wire(void *owner, uint32_t conn, const struct wire *w, int rc);
void trace_close(struct shard *s, uint32_t conn);
void traces_free(struct shard *s);

#endif
