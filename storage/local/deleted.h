/*
 * Users that were deleted: what is kept of each, so that an id that is made again is another user.
 *
 * A row of 14 bytes: the epoch that the next user of that id gets, whether there is one now, and the newest message id
 * when the deletion began. Messages up to there are the former user's: shown without a name, and neither changed nor
 * repeated by who has the id now, who does not read the former's pairs either. Few servers ever delete many, so a bit
 * field tells nearly always that there is no such row, without asking the database.
 */
#ifndef MAGPIE_STORAGE_DELETED_H
#define MAGPIE_STORAGE_DELETED_H

#include "storage/local/record.h"

struct local;
struct writer;
struct store_page;

/* Reads what the bit field is made from, at a start. 0 or an enum err. */
MUST_CHECK int deleted_begin(struct local *s);

/* The writer's thread: the row as this group sees it; 1, 0 or an enum err. */
MUST_CHECK int deleted_get(struct writer *w, struct slice user, struct deleted_record *d);
/* The writer's thread: whether a user was deleted and not made again; 1, 0 or an enum err. */
MUST_CHECK int deleted_now(struct writer *w, struct slice user);
/* The writer's thread: whether a message of that id is of the time before the user was deleted; 1, 0 or an enum err. */
MUST_CHECK int deleted_before(struct writer *w, struct slice user, uint64_t id);
/* Puts the row: reserve 1 put, KEY_MAX + DELETED_SIZE bytes. */
void deleted_put(struct writer *w, struct slice user, const struct deleted_record *d);

/* A reader's thread: up to which message id all was another user's, who had that id; 0: there was none. 0 or an enum
 * err. */
MUST_CHECK int deleted_until(struct local *s, struct slice user, uint64_t *until);
/* A reader's thread: takes the names of deleted senders from a page that is done. On an error frees the page. Returns
 * `code` when that is one, or 0 or an enum err. */
MUST_CHECK int deleted_names(struct local *s, int code, struct store_page *page);

#endif
