#include "core/base/log_ring.h"

#include <string.h>

enum { LENGTH_BYTES = 2 }; /* before each line */

bool log_ring_has_room(const struct log_ring *r)
{
    return sizeof r->bytes - r->used >= LENGTH_BYTES + LOG_LINE_MAX;
}

static void copy_in(struct log_ring *r, const char *p, size_t n)
{
    size_t at = (r->head + r->used) % sizeof r->bytes, first = sizeof r->bytes - at;
    if (first > n)
        first = n;
    memcpy(r->bytes + at, p, first);
    memcpy(r->bytes, p + first, n - first);
    r->used += n;
}

static void copy_out(const struct log_ring *r, size_t from, char *p, size_t n)
{
    size_t at = (r->head + from) % sizeof r->bytes, first = sizeof r->bytes - at;
    if (first > n)
        first = n;
    memcpy(p, r->bytes + at, first);
    memcpy(p + first, r->bytes, n - first);
}

void log_ring_put(struct log_ring *r, const struct log_line *line)
{
    const char length[LENGTH_BYTES] = {(char)(line->n >> 8), (char)(line->n & 0xFF)};
    /* From the beginning when empty, so that a log that is never behind touches no more than a page or two. */
    if (r->used == 0)
        r->head = 0;
    copy_in(r, length, sizeof length);
    copy_in(r, line->p, line->n);
}

static size_t first_length(const struct log_ring *r)
{
    char length[LENGTH_BYTES];
    copy_out(r, 0, length, sizeof length);
    return (size_t)(unsigned char)length[0] << 8 | (unsigned char)length[1];
}

bool log_ring_peek(const struct log_ring *r, struct log_line *out)
{
    if (r->used == 0)
        return false;
    out->n = first_length(r);
    copy_out(r, LENGTH_BYTES, out->p, out->n);
    return true;
}

void log_ring_pop(struct log_ring *r)
{
    size_t n = LENGTH_BYTES + first_length(r);
    r->head = (r->head + n) % sizeof r->bytes;
    r->used -= n;
}
