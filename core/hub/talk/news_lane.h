/* What is known of the news of one conversation: for news.c, news_gap.c and channel_news.c alone. */
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
    struct lane changes;  /* channel: NEWS_CHANNEL, by version */
    uint64_t changed_ms;  /* channel: when the number of members was heard last, monotonic */
    struct edit *edits;   /* NEWS_EDITS; NULL: none yet; owned */
};

/* Puts it in its place in the lane: messages before what is said about them. False: out of memory; takes it anyway. */
bool held_put(struct lane *l, uint64_t number, struct held h);
/* Takes out the first. Its news are the caller's. */
struct held held_take(struct lane *l);
void held_free(struct lane *l);

/* --- Giving, in news.c --------------------------------------------------------------------------------------------- */

/* Gives what has its turn, and waits for what is missing. The conversation is pinned. */
void news_go_on(struct shard *s, uint32_t conv);
/* Only the first half of that. */
void news_give(struct shard *s, uint32_t conv);
/* A message that was read. */
void news_give_read(struct shard *s, uint32_t conv, const struct store_message *m);

/* --- The gap, in news_gap.c ---------------------------------------------------------------------------------------- */

void gap_wait(struct shard *s, uint32_t conv);
void gap_over(struct shard *s, struct heard *h);
void gap_due(struct ev_loop *loop, ev_timer *w, int events);

/* --- Members, in channel_news.c ------------------------------------------------------------------------------------ */

/* Takes it. */
void changes_heard(struct shard *s, uint32_t conv, struct bus_news *n);
void changes_go_on(struct shard *s, uint32_t conv);
void changes_due(struct ev_loop *loop, ev_timer *w, int events);

#endif
