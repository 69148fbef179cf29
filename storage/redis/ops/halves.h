/*
 * The second halves of a private message: into the receiver's inbox, and read by its sender. Both are on other
 * partitions than the message. An intent stands at it until both are done, and whoever finds it may do them again.
 * Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_HALVES_H
#define MAGPIE_STORAGE_REDIS_HALVES_H

#include "storage/conv_key.h"
#include "storage/redis/client/call.h"
#include "storage/redis/layout.h"

struct task;

struct halves {
    /* in */
    struct task *task;                  /* whose answer waits for what other nodes are told of it; or NULL */
    const struct store_append *message; /* what is told, until done; NULL: only that there is such a message */
    /* Both are done and the intent is about to be settled (STORE_OK), or it is left to the sweep. */
    void (*done)(struct redis *r, struct halves *h, enum store_status status);
    void *ctx;
    uint64_t arrival; /* out: its place among all that came into the receiver's inbox; 0: not known, or not there */
    /* halves.c's */
    struct call put, sent;
    struct conv_key conv;
    bool from_high; /* the sender is the pair's higher id */
    uint64_t id, seq;
    uint16_t part;
    uint8_t left; /* calls under way */
    enum store_status status;
};

/* Does what the intent of message `id` says. What it points to is not needed afterwards. done is called later. */
void halves_run(struct redis *r, struct halves *h, uint64_t id, const struct layout_intent *intent);

#endif
