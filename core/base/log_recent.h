/*
 * The newest lines of the log, kept for people who look at it from afar: a fixed number in memory of a fixed size. No
 * locks: the caller sees to that. Private to core/base.
 */
#ifndef MAGPIE_BASE_LOG_RECENT_H
#define MAGPIE_BASE_LOG_RECENT_H

#include "core/base/buf.h"
#include "core/base/log_line.h"

#include <stddef.h>

enum { LOG_RECENT_BYTES = 64 * 1024, LOG_RECENT_LINES = 200 };

struct log_recent {
    size_t next;                       /* where the next line goes in `bytes`; it may go on at the beginning */
    size_t used;                       /* bytes of all lines that are kept; they end at `next` */
    unsigned count;                    /* of those lines */
    unsigned newest;                   /* index in `length` of the newest */
    uint16_t length[LOG_RECENT_LINES]; /* bytes of each, the line feed included */
    char bytes[LOG_RECENT_BYTES];
};

/* Keeps a copy; the oldest ones make room for it. */
void log_recent_put(struct log_recent *r, const struct log_line *line);
/* Appends the newest `n` lines that are kept, oldest first, each with its line feed. */
void log_recent_get(const struct log_recent *r, unsigned n, struct buf *out);

#endif
