/*
 * What readers know of conversations that were read lately: the head, and the oldest visible message. So a page needs
 * one look into the database and not three.
 *
 * A head holds until the writer changes it: the writer says so once the change is written and before anybody hears of
 * it. A reader that looked into the database meanwhile has read a stale head. Its ticket, from before the change, tells
 * that this head must not be kept.
 *
 * The oldest visible message only ever moves forward: an answer stays right until that message ends, falls below its
 * tier's count, or options or the clock are changed by hand (live.version). Any thread; a fixed table, newest wins.
 */
#ifndef MAGPIE_STORAGE_RECENT_H
#define MAGPIE_STORAGE_RECENT_H

#include "core/base/err.h"
#include "storage/local/record.h"

#include <stdbool.h>
#include <stdint.h>

struct recent;

/* What is known of a conversation's oldest visible message. */
struct recent_first {
    uint64_t seq;
    uint64_t until_ms; /* when that message ends, by the expiry clock */
    uint32_t version;  /* live.version that this was found under */
    uint8_t tier;      /* where it is stored */
};

struct recent *recent_new(void);
void recent_free(struct recent *r);

/* conv: CONV_KEY_MAX bytes at most, in all of these. */

/* The head as the database has it. False: not known; *ticket is then for recent_put_head(). */
bool recent_head(struct recent *r, struct slice conv, struct head_record *out, uint64_t *ticket);
/* A head that was read after recent_head() gave the ticket. */
void recent_put_head(struct recent *r, struct slice conv, const struct head_record *head, uint64_t ticket);
/* A head was changed. The writer: after writing it, before telling anybody. */
void recent_changed(struct recent *r, struct slice conv);
/* The database was replaced: nothing that was known holds. */
void recent_clear(struct recent *r);

/* False: not known. Whether it still holds is the caller's to judge. */
bool recent_first(struct recent *r, struct slice conv, struct recent_first *out);
void recent_put_first(struct recent *r, struct slice conv, const struct recent_first *first);

#endif
