/*
 * Looking at what is there, for people: connections, users, channels of one shard as plain data. On the shard's thread,
 * in steps: each call looks at no more than SNAPSHOT_STEP things, so that a dump of a million holds no shard for long.
 */
#ifndef MAGPIE_HUB_SNAPSHOT_H
#define MAGPIE_HUB_SNAPSHOT_H

#include "core/base/slice.h"
#include "core/hub/shard/shard.h"

#include <stdbool.h>
#include <stdint.h>

enum { SNAPSHOT_STEP = 1024 };

/* All slices are borrowed for the call. */
struct snapshot_conn {
    unsigned shard;
    uint32_t conn, generation;                  /* with the shard, a handle */
    struct slice user, name;                    /* empty before login */
    const char *ip, *transport, *form, *device; /* device NULL: none */
    const char *compression;                    /* "gzip", "deflate" or "none" */
    uint32_t queued;                            /* bytes */
    uint32_t silent;                            /* seconds since it was heard */
    uint32_t inflight;                          /* requests under way */
    bool slow;                                  /* over its soft half: channel pushes are skipped */
    bool closing;
    bool merge; /* accepts 104 */
};

struct snapshot_user {
    struct slice user, name;
    uint32_t connections, channels;
    bool guest;
};

struct snapshot_channel {
    struct slice channel;
    bool loaded; /* the next ones are known */
    uint32_t members;
    const char *tier, *push;
    float rate; /* messages a second, lately */
};

/* The snapshot_* functions call `fn` for things from index `from` on, until a step is done or it returns false: that
 * thing comes again. They return where to go on, NONE at the end. */
uint32_t snapshot_conns(struct shard *s, uint32_t from, bool (*fn)(void *ctx, const struct snapshot_conn *c),
                        void *ctx);
/* Those that have output waiting. */
uint32_t snapshot_slow(struct shard *s, uint32_t from, void (*fn)(void *ctx, const struct snapshot_conn *c), void *ctx);
uint32_t snapshot_users(struct shard *s, uint32_t from, bool (*fn)(void *ctx, const struct snapshot_user *u),
                        void *ctx);
/* Channels whose owner the shard is, as far as they are in memory: those with members online, or lately used. */
uint32_t snapshot_channels(struct shard *s, uint32_t from, bool (*fn)(void *ctx, const struct snapshot_channel *c),
                           void *ctx);

/* One channel whose owner the shard is; false: not in memory. The name borrows from the argument. */
bool snapshot_channel(struct shard *s, struct slice channel, struct snapshot_channel *out);
/* How many members with a connection this shard has. Costs a walk over its members. */
uint32_t snapshot_channel_online(const struct shard *s, struct slice channel);
/* A user's subscription to the channel whose conversation has this hash. On the user's shard. */
struct snapshot_membership {
    bool found;
    unsigned push; /* enum push_mode: its own */
    /* the channel's seq when it (last) subscribed, as far as it still counts; 0: before all that is pushed */
    uint64_t since;
    char channel[65];
};
void snapshot_membership(struct shard *s, struct slice user, uint64_t conv_hash, struct snapshot_membership *out);
/* One connection by handle; false: gone. */
bool snapshot_conn(struct shard *s, uint32_t conn, uint32_t generation,
                   void (*fn)(void *ctx, const struct snapshot_conn *c), void *ctx);
/* The connections of a user whose owner the shard is. */
void snapshot_user_conns(struct shard *s, struct slice user, void (*fn)(void *ctx, const struct snapshot_conn *c),
                         void *ctx);

/* A handle as text, "SHARD.CONNECTION.GENERATION", and back; false: it is none. */
void snapshot_handle(char out[40], unsigned shard, uint32_t conn, uint32_t generation);
bool snapshot_handle_parse(struct slice text, unsigned *shard, uint32_t *conn, uint32_t *generation);

#endif
