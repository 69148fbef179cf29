/*
 * Conversations on their owner shard: who may, at what rate, in which tier, and what is published to whom when.
 *
 * A request that concerns a conversation travels to the owner as a struct owned_req; there the conversation is loaded
 * from the store when needed, and requests wait for that in their order. Private to core/hub.
 */
#ifndef MAGPIE_HUB_CONV_H
#define MAGPIE_HUB_CONV_H

#include "core/hub/people/req.h"

struct heard;
struct member_news;
struct window;
struct owned_req;

enum conv_state { CONV_NEW, CONV_LOADING, CONV_READY };

struct conv {
    char *key;                 /* not NUL-terminated; owned */
    struct owned_req *waiting; /* the newest request that waits for the load; its `next` is the oldest, in a ring */
    struct heard *heard;       /* of news.c; NULL: nothing is heard of it, or the server is alone; owned */
    /* channel: per shard, bits 1 << enum push_mode of its members, INTEREST_EVENTS; NULL: none yet; owned */
    uint8_t *interest;
    struct member_news *news; /* channel: whose joining and leaving was told lately; NULL: nobody's; owned */
    struct window *merged;    /* messages of the present window for push mode merged; NULL: none; owned */
    /* … for everybody else, while the channel is over its limit (policy complete); NULL: none; owned */
    struct window *plain;
    uint64_t used_ms; /* monotonic, last use */
    uint32_t members; /* channel */
    uint32_t pins;    /* requests and store operations under way */
    struct bucket rate;
    float meter;         /* messages lately, fading away: see conv_rate() */
    uint32_t meter_at;   /* ms, when `meter` was true */
    uint32_t window_ms;  /* length of windows that open now; 0: push.slice_ms */
    uint32_t window_max; /* messages of them; 0: push.max */
    double window_due;   /* when the last window of push mode merged was due, by ev_now(); 0: none yet */
    uint8_t key_len;
    uint8_t state; /* enum conv_state */
    uint8_t tier;  /* enum store_tier */
    /* enum push_mode that a policy chose for subscriptions without their own; MODE_DEFAULT: the tier's */
    uint8_t mode;
    bool tier_by_policy; /* the tier is another one than the number of members asks for */
    bool exists;         /* channel: was made */
    bool following;      /* channel: the bus has been asked to follow it */
    bool followed;       /* channel: the bus has said that it does */
    bool user_exists[2]; /* pair: lower, higher id */
    bool blocks[2];      /* pair: lower blocks higher, higher blocks lower */
    uint32_t users_gone; /* pair: hub->users_gone when it was loaded; another one now: it is loaded again */
};

/* A request on its way to, or at, the owner of a conversation. First member of the handler's own struct. */
struct owned_req {
    struct req r;
    struct owned_req *next; /* while it waits for the load */
    uint32_t conv;          /* on the owner, pinned; NONE before */
    struct shard *owner;
    bool fresh; /* where another server may have changed what is known of the conversation, it is looked up */
    struct conv_key key;
    /* On the owner, with the conversation loaded and pinned. Ends with owned_done() or starts a store operation that
     * does. */
    void (*ready)(struct owned_req *q);
};

static inline struct conv *conv_at(const struct shard *s, uint32_t conv)
{
    return pool_at(&s->convs, conv);
}
static inline struct slice conv_slice(const struct conv *v)
{
    return slice_of(v->key, v->key_len);
}

MUST_CHECK int convs_init(struct shard *s);
void convs_fini(struct shard *s);
/* Frees conversations that have not been used for a while; some at each call. */
void convs_sweep(struct shard *s);
/* Frees it at once where it does not exist and nothing refers to it: names that are only asked about cost nothing. */
void conv_release(struct shard *s, uint32_t conv);

/* Finds or makes the conversation of this key; NONE: out of memory. On its owner. */
uint32_t conv_get(struct shard *s, struct slice key);

/* Sends the request to the owner of q->key. */
void owned_post(struct shard *home, struct owned_req *q);
/* Unpins the conversation and sends the request home. */
void owned_done(struct owned_req *q);
/* Prepares a store operation that ends on the owner shard. */
void owned_op(struct owned_req *q, struct store_op *op, void (*done)(void *owner, struct store_op *op));

/* Whether any shard has members with one of these bits of interest. */
bool conv_has(const struct shard *s, uint32_t conv, uint8_t mask);
/* The channel is gone: nothing that was known of it counts for the next one of its name. */
void conv_gone(struct shard *s, uint32_t conv);
/* The number of members changed: keeps it, and switches the tier where the thresholds say so. */
void conv_set_members(struct shard *s, uint32_t conv, uint32_t members);
/* Another server says so. Whoever passed a threshold saves the tier. */
void conv_hear_members(struct shard *s, uint32_t conv, uint32_t members);
/* Another server has saved that tier. */
void conv_hear_tier(struct shard *s, uint32_t conv, enum store_tier tier);
/* The store has that tier now, saved who knows when: thresholds that changed since go before it, as at a load. */
void conv_read_tier(struct shard *s, uint32_t conv, enum store_tier tier);
/* The channel is followed, and this is what the store had of it then. */
struct bus_follow;
void conv_followed(struct shard *s, uint32_t conv, const struct bus_follow *head);
/* A message comes: counts it, and returns messages a second, lately. */
float conv_rate(struct shard *s, struct conv *v);
/* The same without a message. */
float conv_rate_now(const struct shard *s, const struct conv *v);
struct hook_advice;
/* What a policy said of a message that is about to be published. `own`: on this server, which saves a new tier. */
void conv_take_advice(struct shard *s, uint32_t conv, const struct hook_advice *a, bool own);
/* The rule that an operator has set for a channel has changed. On its owner. */
void conv_follow_rule(struct shard *s, struct slice channel);
/* All of them may have. */
void convs_follow_rules(struct shard *s);
/* The push mode a subscription without one of its own has now. */
enum push_mode conv_default_push(const struct conv *v);
#endif
