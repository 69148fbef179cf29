/*
 * A walk over the visible messages of one conversation, ascending or descending, over all tiers that it was ever stored
 * in.
 *
 * Visible: not past its time, above what its tier's count keeps, not newer than the head. One walk belongs to one
 * thread.
 */
#ifndef MAGPIE_STORAGE_MSGS_H
#define MAGPIE_STORAGE_MSGS_H

#include "storage/local/local_private.h"

struct msgs {
    struct local *store;
    struct kv_iter *it[TIER_COUNT]; /* over the whole family; NULL: tier not used */
    bool has[TIER_COUNT];           /* it[t] stands on a visible message */
    uint64_t at[TIER_COUNT];        /* its seq */
    struct message_record rows[TIER_COUNT];
    uint64_t low[TIER_COUNT]; /* nothing at or below is visible */
    uint64_t top;             /* newest seq of the head */
    uint64_t now_ms;          /* expiry clock for the whole walk */
    uint32_t version;         /* live.version at its beginning */
    struct slice conv;        /* borrowed */
    uint32_t skipped;         /* rows passed over because they are expired */
    bool up;                  /* direction */
    bool alone;               /* one tier at most is used */
    bool owned;               /* the iterators end with the walk */
    int error;                /* sticky; 0 or an enum err */
    /* The message the walk stands on. */
    bool valid;
    unsigned tier; /* where it is stored */
    uint64_t seq;
    const struct message_record *row; /* until the next step */
};

/* What tier `t` hides of a conversation: seqs up to this. */
uint64_t head_low(struct local *s, const struct head_record *h, unsigned t);
/* head, conv and iters are borrowed for the walk's life; the walk is not positioned. iters: where the iterators come
 * from, one walk at a time; NULL: new ones. ERR_NOMEM. msgs_close() in any case. */
MUST_CHECK int msgs_open(struct msgs *m, struct local *s, struct iter_cache *iters, struct slice conv,
                         const struct head_record *head);
void msgs_close(struct msgs *m);
/* To the first visible message with seq >= from, going up; to the last with seq < below, going down. */
void msgs_up(struct msgs *m, uint64_t from);
void msgs_down(struct msgs *m, uint64_t below);
void msgs_step(struct msgs *m);
/* The smallest visible seq; newest + 1 when none is visible, 0 when there never was one. Moves the walk. Look at
 * m->error. end_ms (may be NULL) gets when that message ends. */
uint64_t msgs_first(struct msgs *m, uint64_t *end_ms);

#endif
