/*
 * What the layers above (scripts, plugins, console) ask of the hub. Any thread.
 *
 * An operation is a struct that begins with struct host_op. The caller owns it and all it points to, keeps both
 * unchanged until `done`, and frees them there. `done` arrives by mail at `home` (a shard's mailbox, or hub_main()),
 * never inside the call. Reading history, members and conversations: storage/store.h, directly.
 */
#ifndef MAGPIE_HUB_HOST_H
#define MAGPIE_HUB_HOST_H

#include "core/base/mailbox.h"
#include "core/base/slice.h"
#include "core/hub/registry/code.h"
#include "storage/cluster.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stdint.h>

struct hub;
struct shard;

struct host_op {
    struct mail mail; /* the hub's while it is under way */
    struct mailbox *home;
    void (*done)(void *owner, struct host_op *op); /* on home's thread; owner is what home's mailbox_run() was given */
    enum code code;                                /* the result; CODE_OK, or with `message` for people */
    uint32_t retry_after_ms;                       /* of CODE_RATE_LIMITED, or of a mute; 0: not known */
    char message[96];
    /* Of several nodes: who has not said in time that it is done there. Mostly with CODE_UNAVAILABLE; else what it says
     * is true all the same, and what was queued there may still go out. */
    struct silent_nodes silent;
};

/* Closes a user's connections (reason `kicked`). CODE_NOT_FOUND: no such user. */
struct host_kick {
    struct host_op op;
    struct slice user;
    struct slice message; /* of push 105; empty: none */
    bool revoke;          /* raise the user's epoch: no token works any more */
    /* out */
    uint32_t connections; /* closed */
};
void host_kick(struct hub *hub, struct host_kick *q);

/* What is known of a user. CODE_NOT_FOUND: there never was one. */
struct host_user {
    struct host_op op;
    struct slice user;
    bool here; /* other nodes do not matter */
    /* out; free with store_user_load_free(&load) */
    struct store_user_load load; /* the stored part */
    uint32_t connections;        /* open now, on this server; none here but some on other nodes: 1 */
};
void host_user(struct hub *hub, struct host_user *q);

/* --- Without an answer. They copy what they are given; out of memory: ERR_NOMEM; an id or
 * an action that cannot be one: ERR_INVALID. `from`: the calling shard, NULL on other threads. --- */

/* A push (action >= 100) to every connection of a user. */
int host_push(struct hub *hub, struct shard *from, struct slice user, uint16_t action, struct slice body);
/* Push 106 to every connection, in steps; on all nodes, where the server is one of several. ERR_TOOLARGE: it is above
 * what nodes tell each other so, some 4000 bytes. */
int host_announce(struct hub *hub, struct shard *from, struct slice content);
/* The same, for somebody who waits until every node has it: `told` is called on the main thread, with who has not said
 * so in time; by a server alone inside this call. STORE_OK, or nobody else has it. Main thread. */
int host_announce_told(struct hub *hub, struct slice content,
                       void (*told)(void *ctx, enum store_status status, const struct silent_nodes *silent), void *ctx);
/* Closes one connection (kicked), by handle. */
int host_close(struct hub *hub, struct shard *from, unsigned shard, uint32_t conn, uint32_t generation,
               struct slice message);

#endif
