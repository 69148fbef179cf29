/* What watch.c, on the shard of those who watch, and watch_user.c, on that of the user, have in common. */
#ifndef MAGPIE_HUB_WATCH_PRIVATE_H
#define MAGPIE_HUB_WATCH_PRIVATE_H

#include "core/hub/people/watch.h"

struct list {
    uint32_t first, last; /* targets; NONE, both: empty */
};

struct watches {
    struct pool watched, targets, watchers, links;
    struct table watched_ids, target_ids, conns;
    uint32_t doubtful;          /* watched users of whom the bus is to be asked anew */
    uint32_t doubt_at;          /* where asking goes on */
    struct watch_wait *waiting; /* requests that are answered once something is known; list */
    struct mail wake;           /* to oneself: has them look */
    bool waking;                /* it is under way */
    struct list due;            /* changed too soon after they were told of */
    struct list telling;        /* being told of */
};

/* From a watching shard: begins or ends. From the user's: its state. */
struct presence_mail {
    struct mail mail;
    struct shard *from;
    bool on; /* watches; is online */
    uint8_t id_len;
    char id[64];
};

static inline uint32_t watch_rounded(size_t n)
{
    return (uint32_t)((n + 7) & ~(size_t)7);
}

/* Made when needed; NULL: out of memory. */
struct watches *watches_get(struct shard *s);
/* A state arrives from the user's shard. */
void watch_arrive(void *owner, struct mail *m);

/* Of watch_user.c. */
MUST_CHECK int watch_init_users(struct watches *w);
void watch_fini_users(struct watches *w);
void watch_tick_users(struct shard *s);
/* A beginning or an end arrives from a watching shard. */
void watch_users_arrive(void *owner, struct mail *m);
/* False: out of memory. */
bool watch_post(struct shard *from, struct shard *to, void (*run)(void *, struct mail *), struct slice id, bool on);

#endif
