/*
 * Channels without members: when they go, and what is kept of those that are gone.
 *
 * A channel goes when it has neither members nor visible messages: with its last member, or when its last message has
 * ended. What it was takes no room then. If it ever had a message, its newest seq alone is kept, with its name. It may
 * be made again, and no seq is given twice.
 *
 * Of channels whose messages are still there, rows of `meta` say when to look again: when the newest message ends, and
 * once a day, since options change. So nothing is searched for; the writer wakes for the first of these rows.
 *
 * NAMES_MAX names are kept. Then the one that went first is dropped, and its seq joins a table of floors by hash: a
 * channel of an unknown name begins above the floor of its places. So the memory is bounded. In return, a name that was
 * dropped begins with a larger seq than 1, and in rare cases a new one does.
 */
#ifndef MAGPIE_STORAGE_VACANT_H
#define MAGPIE_STORAGE_VACANT_H

#include "storage/local/record.h"

struct writer;
struct head;

/* Of the writer. */
struct vacant {
    uint64_t names;      /* names kept of channels that are gone, this group's included */
    uint64_t names_from; /* none of them went before that (guarded clock) */
    uint64_t due_ms;     /* when to look, expiry clock; UINT64_MAX: nothing is watched */
    uint64_t from_ms;    /* no row is due before that */
    bool swept;          /* no channel without members is unwatched: not so in databases of older servers */
    struct key sweep;    /* the last head that was looked at for that */
};

/* Reads what there is at a start, or after the database was opened anew. 0 or an enum err. */
MUST_CHECK int vacant_begin(struct writer *w);
/* Milliseconds until vacant_look() has something to do. */
uint64_t vacant_wait_ms(const struct writer *w);
/* Has the writer look at channels whose time has come. Between groups. */
void vacant_look(struct writer *w);

/* What becomes of a channel that has no member any more. */
struct vacancy {
    bool goes;          /* nothing is left of it */
    uint64_t due_ms;    /* it stays: when to look again */
    struct key drop;    /* goes: the row of the name that is dropped for it; n 0: none */
    uint64_t drop_seq;  /* the newest seq of that name */
    uint64_t floors[2]; /* of that name */
};
/* Judges and reserves room for what it puts, and for CALLER_PUTS changes of at most KEY_MAX bytes beside. 0; an enum
 * err; or 1: cut the group before the operation. */
enum { CALLER_PUTS = 4 };
MUST_CHECK int vacancy_judge(struct writer *w, struct head *h, struct vacancy *v);
/* Puts the head, whose member count is 0 by now, and the rest. Whether the channel is gone. */
bool vacancy_settle(struct writer *w, struct head *h, const struct vacancy *v);

/* The same for a channel that is being deleted: it goes with all its messages, whatever is visible. For
 * vacancy_settle(); nothing may be pending in the group. */
MUST_CHECK int vacancy_wipe(struct writer *w, struct head *h, struct vacancy *v);

/* Where a channel that is made begins: the newest seq that its name may have had. 0 or an enum err. */
MUST_CHECK int vacant_floor(struct writer *w, const struct head *h, uint64_t *seq);
enum { REVIVE_PUTS = 2, REVIVE_ROOM = KEY_MAX + 64 }; /* what vacant_revive() needs of the batch */
/* A channel is made under that name: what was kept of it goes into the head. */
void vacant_revive(struct writer *w, struct head *h, uint64_t seq);

#endif
