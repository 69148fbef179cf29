/*
 * What a node of a cluster keeps of a loaded user beside the user itself: of which version its copy is, and which of
 * the messages that came into the inbox it has heard of. So it finds out by number what it was not told. A server alone
 * keeps nothing of it. A shard's own thread. Private to core/hub.
 */
#ifndef MAGPIE_HUB_COPY_H
#define MAGPIE_HUB_COPY_H

#include "core/hub/shard/shard.h"

struct bus_news;

enum { COPY_LATE_MS = 1000 /* so long a missing arrival may be on its way */ };

struct user_copy {
    struct bus_news *news; /* see copy_keep(); list, oldest first; owned */
    uint64_t version;      /* of the user that was read, or told of, last; 0: none yet */
    uint64_t arrivals;     /* the newest arrival that is known of; 0: none */
    uint64_t heard;        /* bit i: of arrival `arrivals` - i */
    uint64_t late;         /* arrivals up to here are late, when … */
    uint32_t late_ms;      /* … it is that time (low half of the monotonic clock) */
    uint32_t changes;      /* of the user, made on this node: what was being read meanwhile is older */
    bool changed;          /* by somebody since it was read, so that its version is another one */
    bool placed;           /* the bus has said from which arrival on this node is told */
    bool lost;             /* an arrival is so far behind that it is not waited for; or the user could not be read */
    bool due;              /* in the list of copies_due() */
    bool reading;          /* it is being read anew (act/resync.h) … */
    bool again;            /* … and once more after that, … */
    bool inbox;            /* … and its connections are told how many messages wait */
};

/* The user was read, or made, with that version. */
void copy_begin(struct shard *s, uint32_t user, uint64_t version);

enum copy_order { COPY_OLD, COPY_NEXT, COPY_GAP };

/* NULL: the server is alone, or without memory. Valid as long as the user is. */
struct user_copy *user_copy(struct shard *s, uint32_t user);
/* A user has gone: nothing is known of the next one. */
void copy_clear(struct shard *s, uint32_t user);
void copies_free(struct shard *s);
/* For copy_changed() alone. */
void copy_change(struct shard *s, uint32_t user, uint64_t version);

/* This node has changed the user: told by whoever is answered so. version: of the user after it; 0: nothing was
 * changed; STORE_VERSION_UNKNOWN: something may have been. */
static inline void copy_changed(struct shard *s, uint32_t user, uint64_t version)
{
    if (__builtin_expect(s->bus != NULL, 0))
        copy_change(s, user, version);
}
/* The version of a change whose operation has ended so. */
static inline uint64_t copy_version(enum store_status status, uint64_t version)
{
    return status == STORE_OK ? version : status == STORE_RETRY ? 0 : STORE_VERSION_UNKNOWN;
}

/* News that were heard of a user who is to be read anew: what they say is told once it has been. Takes n. */
void copy_keep(struct shard *s, uint32_t user, struct bus_news *n);
/* The last of them that says that the user has joined or left the channel; NULL: none does. */
struct bus_news *copy_last(const struct shard *s, uint32_t user, struct slice conv);
/* The newest version that was heard of, those of such news among them. */
uint64_t copy_newest(const struct user_copy *c);
/* Drops them. */
void copy_forget(struct shard *s, uint32_t user);
/* Those that there are, as a list by mail.next; the caller's from now on. */
struct bus_news *copy_take_news(struct shard *s, uint32_t user);

/* How a change of this version that another node tells of stands to the copy. COPY_NEXT: it is to be made, and the copy
 * has that version then; COPY_GAP: the user is to be read anew. */
enum copy_order copy_follow(struct shard *s, uint32_t user, uint64_t version);

/* From now on this node is told of each arrival after this one. */
void arrivals_begin(struct shard *s, uint32_t user, uint64_t arrivals);
/* As shard_events.arrived. */
bool arrival_heard(struct shard *s, uint32_t user, uint64_t arrival);
/* So many have arrived: those not heard of are late in COPY_LATE_MS. */
void arrivals_expect(struct shard *s, uint32_t user, uint64_t arrivals);
/* Its connections are told to look: what is missing up to that arrival is not waited for any longer. */
void arrivals_settle(struct shard *s, uint32_t user, uint64_t upto);
/* The user could not be read: again in COPY_LATE_MS. */
void copy_retry(struct shard *s, uint32_t user);
/* Calls `read` with each user for whom it is time. Four times a second. */
void copies_due(struct shard *s, void (*read)(struct shard *s, uint32_t user));

#endif
