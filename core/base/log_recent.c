#include "core/base/log_recent.h"

#include <string.h>

_Static_assert((int)LOG_LINE_MAX <= (int)UINT16_MAX && (int)LOG_LINE_MAX <= (int)LOG_RECENT_BYTES, "any line fits");

/* The index of the line that is `back` older than the newest. */
static unsigned index_of(const struct log_recent *r, unsigned back)
{
    return (r->newest + LOG_RECENT_LINES - back) % LOG_RECENT_LINES;
}

void log_recent_put(struct log_recent *r, const struct log_line *line)
{
    while (r->count && (r->count == LOG_RECENT_LINES || r->used + line->n > LOG_RECENT_BYTES))
        r->used -= r->length[index_of(r, --r->count)];
    size_t first = LOG_RECENT_BYTES - r->next < line->n ? LOG_RECENT_BYTES - r->next : line->n;
    memcpy(r->bytes + r->next, line->p, first);
    memcpy(r->bytes, line->p + first, line->n - first);
    r->next = (r->next + line->n) % LOG_RECENT_BYTES;
    r->used += line->n;
    r->newest = (r->newest + 1) % LOG_RECENT_LINES;
    r->length[r->newest] = (uint16_t)line->n;
    r->count++;
}

void log_recent_get(const struct log_recent *r, unsigned n, struct buf *out)
{
    size_t bytes = 0;
    n = n < r->count ? n : r->count;
    for (unsigned i = 0; i < n; i++)
        bytes += r->length[index_of(r, i)];
    size_t at = (r->next + LOG_RECENT_BYTES - bytes) % LOG_RECENT_BYTES;
    size_t first = LOG_RECENT_BYTES - at < bytes ? LOG_RECENT_BYTES - at : bytes;
    buf_put(out, r->bytes + at, first);
    buf_put(out, r->bytes, bytes - first);
}
