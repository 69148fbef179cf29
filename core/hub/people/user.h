/* Users with connections on their owner shard, their connections and subscriptions. Private to core/hub. */
#ifndef MAGPIE_HUB_USER_H
#define MAGPIE_HUB_USER_H

#include "core/hub/shard/shard.h"

struct buf;
struct chan;

enum user_state {
    USER_LOADING,   /* the store is asked; logins wait */
    USER_READY,     /* known */
    USER_FORGETTING /* a guest being forgotten; logins wait, and are refused in the end */
};

struct user {
    char *strings;            /* id, then name, not NUL-terminated; malloc'd, owned */
    struct login *waiting;    /* logins that wait for the state to change; list */
    uint32_t first_conn;      /* its logged-in connections, linked by conn.user_next; NONE: none */
    uint32_t first_sub;       /* its subscriptions, linked by sub.next; NONE: none */
    uint32_t epoch;           /* of its tokens */
    uint32_t pins;            /* requests and logins under way that refer to it by index */
    struct bucket rate;       /* actions 2 and 4 */
    struct bucket making;     /* channels that it makes */
    uint16_t unsent;          /* pages of 4 KiB that those of its connections hold whose socket is full */
    uint16_t sub_count;       /* subscriptions, those under way included */
    uint8_t id_len, name_len; /* bytes, 1-64 */
    uint8_t state;            /* enum user_state */
    bool guest;               /* may be forgotten */
};
_Static_assert(sizeof(struct user) <= 56, "a million users pay for each byte");

static inline struct slice user_id(const struct user *u)
{
    return slice_of(u->strings, u->id_len);
}
static inline struct slice user_name(const struct user *u)
{
    return slice_of(u->strings + u->id_len, u->name_len);
}

/* A loaded user's subscription. */
struct sub {
    uint32_t chan;       /* index of the channel on this shard */
    uint32_t user;       /* index of the user */
    uint32_t next;       /* next subscription of the user; NONE: last */
    uint32_t pos : 28;   /* place in the channel's member array */
    uint32_t held : 1;   /* gets no messages yet: see sub_hold() */
    uint32_t events : 1; /* wants to hear who joins and leaves */
    uint32_t push : 2;   /* enum push_mode */
    /* low half of the channel's seq at (re)subscription: nothing up to it is pushed; counts while MEMBER_FRESH is
     * set */
    uint32_t since;
    uint32_t heard; /* events: shard.member_changes when it began to listen: those before are not for it */
};
_Static_assert(sizeof(struct sub) == 24, "one a subscription");

static inline struct user *user_at(const struct shard *s, uint32_t user)
{
    return pool_at(&s->users, user);
}

MUST_CHECK int users_init(struct shard *s);
void users_fini(struct shard *s);

/* The loaded user of this id, in whatever state; NONE: not loaded. */
uint32_t user_find(const struct shard *s, struct slice id);
/* Loads a user of which nothing but the id is known, in state USER_LOADING; NONE: out of memory. It is freed when it
 * has neither connections nor pins (see user_unpin). */
uint32_t user_new(struct shard *s, struct slice id);
MUST_CHECK int user_set_name(struct shard *s, uint32_t user, struct slice name);
/* A pin keeps the user loaded although it may have no connection. */
static inline void user_pin(struct shard *s, uint32_t user)
{
    user_at(s, user)->pins++;
}
void user_unpin(struct shard *s, uint32_t user);
/* It is known now: USER_READY. */
void user_ready(struct shard *s, uint32_t user);

/* Makes a logged-in connection the user's, and a receiver in all its channels. */
void user_add_conn(struct shard *s, uint32_t user, uint32_t conn);
/* The reverse; the user may be freed by it. No effect on a connection without user. */
void user_remove_conn(struct shard *s, uint32_t conn);
/* Sends a frame to every connection of the user but `except` (NONE: to all). */
void user_push(struct shard *s, uint32_t user, struct frame *f, uint32_t except);

/* Push 107: the user has missed messages of the channel, up to that seq or others, and pulls. `except` as above. */
void user_push_behind(struct shard *s, uint32_t user, uint32_t chan, uint64_t seq, uint32_t except);
/* The body of it. */
void encode_behind(struct buf *b, const struct chan *ch, uint64_t seq);

/* The user's subscription to a channel of this shard; NONE: none. */
uint32_t sub_find(const struct shard *s, uint32_t user, uint32_t chan);
/* Adds one that is not there. since: see struct sub; fresh: whether it counts. NONE: out of memory. */
uint32_t sub_add(struct shard *s, uint32_t user, uint32_t chan, enum push_mode push, bool events, uint64_t since,
                 bool fresh);
void sub_set_push(struct shard *s, uint32_t sub, enum push_mode push, uint64_t since);
void sub_set_events(struct shard *s, uint32_t sub, bool events);
/* Nothing of the channel's messages is pushed to the user's connections until sub_go(), and then what comes after that
 * seq. */
void sub_hold(struct shard *s, uint32_t sub);
void sub_go(struct shard *s, uint32_t sub, uint64_t since);
/* Ends it, and takes what is queued of the channel from the user's connections. */
void sub_remove(struct shard *s, uint32_t sub);

#endif
