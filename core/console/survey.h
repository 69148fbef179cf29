/*
 * Asking shards: a walk over all of them in steps, its rows streamed to the console; and an errand to one.
 *
 * One step is under way at a time; the next one goes out when the reader has room. So neither a million connections nor
 * a slow reader holds up a shard, and memory stays bounded.
 */
#ifndef MAGPIE_CONSOLE_SURVEY_H
#define MAGPIE_CONSOLE_SURVEY_H

#include "core/base/mailbox.h"
#include "core/hub/registry/command.h"
#include "core/hub/shard/shard.h"

/* Which rows of a list are wanted. */
struct survey_page {
    struct slice filter; /* rows must hold it; empty: all. Borrowed from the call */
    uint64_t skip;       /* so many of them are passed over first */
    uint64_t limit;      /* so many are told at most */
};

struct survey {
    struct mail mail;
    struct command_call *call;
    /* On the shard's thread: adds rows, from index `at` on, and returns where to go on, NONE at the end of this
     * shard. */
    uint32_t (*visit)(struct shard *s, struct survey *v);
    unsigned shard; /* where it is */
    uint32_t at;
    struct slice filter; /* rows must hold it; empty: all. Borrowed from the call */
    uint64_t skip;       /* rows still to be passed over */
    uint64_t left;       /* rows still wanted */
    struct buf rows;     /* elements; owned */
};

/* Walks all shards; ends the call. */
void survey_start(struct command_call *c, uint32_t (*visit)(struct shard *s, struct survey *v),
                  const struct survey_page *page);
/* Begins a row; false: no more are wanted now. The caller adds a whole object. */
bool survey_row(struct survey *v);
/* Whether one of the texts holds the filter, and the row is not one of those to be passed over. Asked once for each
 * row, but for the one at which survey_row() has stopped. */
bool survey_wants(struct survey *v, const struct slice *texts, unsigned n);
/* [filter] [limit N] [skip N] of a list command, from argument `first` on. False: the call has failed. */
bool survey_arguments(struct command_call *c, unsigned first, struct survey_page *page);

/* Runs `there` on a shard, then `back` on the main thread, which ends the call. Both see c->state and c->out. ERR_NOMEM
 * ends the call too. */
void errand_start(struct command_call *c, struct shard *to, void (*there)(struct shard *s, struct command_call *c),
                  void (*back)(struct command_call *c));

/* A decimal number up to `max`; false: it is none. */
bool argument_number(struct slice text, uint64_t max, uint64_t *out);

#endif
