/* How operations of host.h begin and end. Private to core/hub. */
#ifndef MAGPIE_HUB_HOST_OP_H
#define MAGPIE_HUB_HOST_OP_H

#include "core/hub/host/host.h"
#include "core/hub/shard/shard.h"

/* Sends the operation to a shard, where `run` goes on with it. */
void host_begin(struct shard *to, struct host_op *op, void (*run)(void *owner, struct mail *m));
void host_fail(struct host_op *op, enum code code, const char *message);
/* Some nodes have not said `what` ("that it is done there"), which may be empty: the operation may be repeated. before:
 * what is sure, or "". */
void host_fail_silent(struct host_op *op, const struct silent_nodes *silent, const char *before, const char *what);
/* The failure of a store operation. `what` is said for STORE_NOTFOUND. */
void host_fail_store(struct host_op *op, enum store_status status, const char *what);
/* Sends it home. */
void host_end(struct host_op *op);
/* Keeps an operation about a user whose login is under way (neither known nor gone) until some user has become one or
 * the other; then it is run again. */
void host_park(struct shard *s, struct host_op *op);
void host_unpark(struct shard *s);
/* Whether the hub is stopping: sockets are gone, and nothing new may begin. Fails the operation. */
bool host_stopping(const struct shard *s, struct host_op *op);

#endif
