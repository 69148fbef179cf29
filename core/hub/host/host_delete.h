/*
 * Deleting users and channels: operations of host.h. Any thread.
 *
 * A deletion takes steps: the store says that it is under way and the thing disappears; memberships end; bans and rules
 * go; messages are recalled, or the channel's are taken away; the rest goes. Each step is bounded, and a failing store
 * is asked again. What is interrupted by a kill goes on after the next start. So an operation that has come to
 * CODE_UNAVAILABLE after the first step may be done later all the same.
 */
#ifndef MAGPIE_HUB_HOST_DELETE_H
#define MAGPIE_HUB_HOST_DELETE_H

#include "core/hub/host/host.h"

/* Deletes a user: name, inbox, memberships, read marks, tokens, bans. Its connections are closed (`kicked`). Its
 * messages stay, without its name, or are recalled. `done` comes when all of that is done. CODE_NOT_FOUND. */
struct host_user_delete {
    struct host_op op;
    struct slice user;
    bool recall; /* its messages, in all conversations: one walk over all that is stored */
    /* out */
    uint32_t connections; /* closed */
    uint32_t channels;    /* memberships ended */
    uint64_t messages;    /* recalled */
};
void host_user_delete(struct hub *hub, struct host_user_delete *q);

/* Deletes a channel: members, messages, bans, mutes and its rule. Made again, it goes on with its numbers.
 * CODE_NOT_FOUND. */
struct host_channel_delete {
    struct host_op op;
    struct slice channel;
    /* out */
    uint32_t members; /* put out */
};
void host_channel_delete(struct hub *hub, struct host_channel_delete *q);

struct shard;
/* Housekeeping on every shard: goes on with what was interrupted, or failed. */
void deletions_tick(struct shard *s);
/* Gives up for now: the shard ends. No store operation is under way. */
void deletions_drop(struct shard *s);
/* Frees what still waits for the main thread. */
void deletions_free(struct shard *s);

#endif
