/* What is known of the news of one conversation: for news.c, news_gap.c, news_reset.c and channel_news.c alone. */
#ifndef MAGPIE_HUB_NEWS_LANE_H
#define MAGPIE_HUB_NEWS_LANE_H

#include "core/hub/talk/news.h"

/* News that wait. */
struct held {
    struct held *next;
    struct bus_news *news;       /* owned */
    uint32_t except, generation; /* of one's own in a pair: the connection that has its answer, and is news->user's */
    bool alone;                  /* NUDGE: only the receiver is to have it */
};

struct edit {
    uint64_t seq, at; /* editedAt; UINT64_MAX: recalled */
};

/* News in the order of a number, with a moment's patience for what is missing. */
struct lane {
    ev_timer patience;  /* runs while something is missing */
    uint64_t number;    /* the last one that was given: a seq, a version */
    struct held *first; /* ascending */
    uint32_t count;
};

struct heard {
    struct shard *shard;
    uint32_t conv;
    uint32_t asking;      /* channel: bus_follow() under way, whose head says where it begins */
    uint32_t left;        /* pair: see news_left(), when something was heard last */
    uint32_t filled;      /* messages that were read for the present gap */
    uint32_t life;        /* changes when the numbers begin anew */
    uint8_t tries;        /* that failed */
    uint8_t edit_next;    /* where the next one goes */
    bool begun;           /* the lanes' numbers count */
    bool reading;         /* the store is asked for what is missing */
    struct lane messages; /* by seq */
    uint64_t target;      /* a seq that is known to be there */
    uint32_t sends, sent; /* pair: this server's own that went to the store, and those of them that are answered */
    uint32_t due;         /* pair: `sends` when the present gap began */
    uint8_t waits;        /* … and how often its patience went on, since one of these may be what is missing */
    uint64_t since;       /* pair: what is below this seq was perhaps not given here */
    uint64_t from;        /* channel that is not followed yet: see news_from(); 0: it begins behind its head */
    struct lane changes;  /* channel: NEWS_CHANNEL, by version */
    uint64_t changed_ms;  /* channel: when the number of members was heard last, monotonic */
    struct edit *edits;   /* NEWS_EDITS; NULL: none yet; owned */
};

/* Puts it in its place. False: out of memory, and its news are gone. */
bool held_put(struct lane *l, struct held h);
/* Takes out the first. Its news are the caller's. */
struct held held_take(struct lane *l);
void held_free(struct lane *l);
/* The one of that kind and seq; NULL: none. */
struct held *held_find(const struct lane *l, uint64_t seq, enum bus_news_kind kind);
/* A message comes before what is said about it: 0 a message, 1 a nudge, 2 a change. */
unsigned held_rank(const struct bus_news *n);

#endif
