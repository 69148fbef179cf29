/*
 * The second half of a join or a leave: at the user, on another partition than the channel. An intent stands at the
 * channel until it is done, and whoever finds it may do it again: an older membership's half is ignored. Engine's
 * thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_MEMBER_HALF_H
#define MAGPIE_STORAGE_REDIS_MEMBER_HALF_H

#include "storage/redis/client/call.h"
#include "storage/redis/layout.h"

struct task;

struct member_half {
    /* in */
    struct layout_half what; /* conv and user are borrowed until done */
    bool intent;             /* one stands for it, which is settled in the end */
    bool late;               /* found by the sweep: the user must be there still */
    struct task *task;       /* whose answer waits for what the user's other nodes are told; or NULL */
    uint32_t members;        /* for them: the channel's; 0: not known */
    uint8_t change;          /* likewise: store_member_put.change */
    void (*done)(struct redis *r, struct member_half *h, enum store_status status);
    void *ctx; /* the caller's */
    /* out, with STORE_OK */
    uint64_t version;    /* of the user, where it was changed; else 0, or STORE_VERSION_UNKNOWN */
    bool gone;           /* put: the user was deleted; the membership was taken back */
    bool events;         /* put: in force now */
    enum push_mode push; /* likewise */
    struct call call;    /* member_half.c's */
};

/* Does it. done is called once, later. */
void member_half_run(struct redis *r, struct member_half *h);

/* What `leave` replies. */
struct member_left {
    bool existed, gone; /* it was a member; the channel went with it */
    uint8_t tier;
    uint32_t members;
    uint64_t version; /* of the membership that ended: the second half is to be done; 0: there is none */
};
/* Begins a call of `leave`. */
void member_leave(struct redis *r, struct call *c, struct slice conv, struct slice user);
/* Tells the channel's other nodes that it has other members now. who: who joined or left, by its name; empty: nobody
 * did. */
void member_tell(struct redis *r, struct task *t, struct slice conv, const struct member_left *now, struct slice who,
                 struct slice name, uint8_t change);
MUST_CHECK enum store_status member_left_read(struct redis *r, const struct call *c, const struct reply *reply,
                                              struct member_left *out);

#endif
