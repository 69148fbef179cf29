/*
 * What other nodes are told: news of a change, to those that follow its channel or have its users. Engine's thread.
 *
 * An operation tells, and then ends (task_end). It is answered once the kernel has what it told, or after its patience:
 * the change is stored, and whoever was not told finds out by number. News of one turn to the same receivers go in one
 * message, in the order told. They are tried until Redis has taken them (publish.h), and forgotten when the engine
 * ends.
 *
 * Nothing is told before tell_start(), nor while this node is known to be the only one.
 */
#ifndef MAGPIE_STORAGE_REDIS_TELL_H
#define MAGPIE_STORAGE_REDIS_TELL_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "storage/bus.h"
#include "storage/redis/client/resp.h"

struct call;
struct redis;
struct task;

/* ERR_NOMEM. */
MUST_CHECK int tell_init(struct redis *r);
void tell_fini(struct redis *r);
/* There is a bus: from now on changes are told. */
void tell_start(struct redis *r);
bool tell_is_on(const struct redis *r);
/* Whether anybody would hear of a change that is made now. Where that is false, keys need not be asked for sessions. */
bool tell_is_wanted(const struct redis *r);

/* In what follows, `t` is the operation that is answered only after this; NULL: nobody waits. `origin` of news is
 * filled in. Nothing that is given is needed afterwards. */

/* To the nodes that follow the channel n->conv. */
void tell_channel(struct redis *r, struct task *t, struct bus_news *n);
/* To the nodes that a function named as the user's (sessions_pack() in functions/head.lua), which are taken from *in:
 * not to this one, nor to those that live no more. `n->user` says whose they are. */
void tell_sessions(struct redis *r, struct task *t, struct bus_news *n, struct reply_in *in);
/* To all other nodes. `n->user` says over which master. */
void tell_all(struct redis *r, struct task *t, struct bus_news *n);
/* As tell_sessions(), where no function has named the nodes: they are asked for. */
void tell_user(struct redis *r, struct task *t, struct bus_news *n);

/* What is to be told to whoever listens to PREFIX kind {tag of part} : to, to be appended with news_put() or
 * news_more_put() at once. NULL: out of memory, or the engine ends. Told even if nobody else is known. */
struct buf *tell_open(struct redis *r, struct task *t, char kind, unsigned part, struct slice to);
/* The same for one node, whose incarnation this is. */
struct buf *tell_node(struct redis *r, struct task *t, unsigned part, uint64_t inc);

struct tell_stats {
    uint64_t out; /* news told, each to so many receivers as it was published to */
};
/* Any thread. */
void tell_get_stats(struct redis *r, struct tell_stats *out);

/* For the transport: a turn ends; now and then; the kernel has a call's bytes. */
void tell_turn(struct redis *r);
void tell_tick(struct redis *r);
void tell_gone(struct redis *r, struct call *c);

#endif
