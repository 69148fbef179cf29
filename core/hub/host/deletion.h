/*
 * One deletion under way, of a user or a channel (host_delete.h), step by step. Private to core/hub/host.
 *
 * A step begins something and returns. Its answer begins the next step, the same one again for what is left, or the
 * same one later, after a failure.
 */
#ifndef MAGPIE_HUB_DELETION_H
#define MAGPIE_HUB_DELETION_H

#include "core/hub/host/ban_change.h"
#include "core/hub/host/host.h"
#include "core/hub/shard/shard.h"

/* A user's: HOLD, BEGIN, KICK, LEAVE, FREE, BANS, RECALL, END. A channel's: BEGIN, LEAVE, BANS, END. */
enum deletion_step { STEP_HOLD, STEP_BEGIN, STEP_KICK, STEP_LEAVE, STEP_FREE, STEP_BANS, STEP_RECALL, STEP_END };

/* One deletion under way, on the owner shard of the user or the conversation. */
struct deletion {
    struct mail mail;      /* for the next step */
    struct deletion *next; /* in shard.deletions */
    struct shard *shard;
    struct mail *askers; /* operations that wait for its end; list */
    enum deletion_step step;
    bool channel;                  /* else a user */
    bool recall;                   /* user: messages too */
    bool loaded;                   /* user: it was known, and nothing has happened yet */
    bool asleep;                   /* nothing is under way: until wake_ms */
    uint64_t wake_ms;              /* monotonic */
    uint32_t user;                 /* pinned while it is held back; NONE: not */
    uint32_t from;                 /* STEP_BANS: where the look goes on */
    uint32_t left;                 /* leaves or recalls under way, and one for the starter */
    bool failed;                   /* one of them has */
    bool moved;                    /* STEP_LEAVE: a membership has ended in this round */
    bool walking;                  /* STEP_RECALL: op.sent is that of the walk */
    bool walked;                   /* … which is at its end */
    uint32_t connections, members; /* closed; ended */
    uint64_t messages;             /* recalled */
    void *some;                    /* leaves or recalls; owned */
    union {
        struct store_user_load load;
        struct store_user_forget forget;
        struct store_channel_wipe wipe;
        struct store_members members;
        struct store_sent sent;
        struct ban_change ban;
    } op;
    struct { /* STEP_BANS: the one that was found */
        enum ban_kind kind;
        uint8_t user_n, channel_n;
        char user[64], channel[64];
    } found;
    uint8_t id_n;
    char id[64]; /* the user's, or the channel's name */
    struct conv_key key;
};

static inline struct slice deletion_id(const struct deletion *d)
{
    return slice_of(d->id, d->id_n);
}

/* The one that is under way on this shard; NULL: none. */
struct deletion *deletion_find(const struct shard *s, bool channel, struct slice id);
/* On its shard's list, asleep. NULL: out of memory. */
struct deletion *deletion_new(struct shard *s, bool channel, struct slice id);
/* A deletion that slept takes its step. It may be gone afterwards. */
void deletion_wake(struct deletion *d);

/* For the steps: each is the last thing that a step does. The next step, which may be the same. */
void deletion_next(struct deletion *d, enum deletion_step step);
/* The same step in the next turn of the loop. */
void deletion_yield(struct deletion *d);
/* … so much later. */
void deletion_sleep(struct deletion *d, uint64_t ms);
/* … after a failure. */
void deletion_again(struct deletion *d);
/* Answers all who wait for it, takes it off its shard and frees it. */
void deletion_end(struct deletion *d, enum code code, const char *message);

#endif
