/*
 * Lines of the log that wait to be written, oldest first, in memory of a fixed size. No locks: the caller sees to that.
 * Private to core/base. /
 */
#ifndef MAGPIE_BASE_LOG_RING_H
#define MAGPIE_BASE_LOG_RING_H

#include "core/base/log_line.h"

#include <stdbool.h>
#include <stddef.h>

/* Some 2000 lines of usual length: more than a short stall costs, and little memory. */
enum { LOG_RING_BYTES = 256 * 1024 };

struct log_ring {
    size_t head;                /* where the oldest line begins: two bytes of length, then the line */
    size_t used;                /* bytes of all lines and their lengths */
    char bytes[LOG_RING_BYTES]; /* the lines; one may go on at the beginning */
};

/* Whether any line fits now. */
bool log_ring_has_room(const struct log_ring *r);
/* Appends a copy. Only with room. */
void log_ring_put(struct log_ring *r, const struct log_line *line);
/* Copies the oldest line; false when there is none. */
bool log_ring_peek(const struct log_ring *r, struct log_line *out);
/* Removes the oldest line. Only when there is one. */
void log_ring_pop(struct log_ring *r);

#endif
