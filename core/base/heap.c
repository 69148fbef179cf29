#include "core/base/heap.h"

#include <malloc.h>
#include <stdbool.h>

/* So few connections gone, and so many bytes more, are not worth it: of a large process a larger part, whose heap takes
 * longer to walk through. */
enum { WORTH = 1000, GROWN = 512 * 1024, GROWN_PART = 64 };
/* So many calls later once more: a minute, with the five seconds of the one caller. */
enum { LATER = 12 };

void heap_setup(void)
{
    /* glibc raises the limit by itself to the size of whatever was freed last, up to 32 MiB; from then on the
     * database's buffers would come from between the small things, and stay when they are free. */
    (void)mallopt(M_MMAP_THRESHOLD, (int)HEAP_MAPPED_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, (int)HEAP_MAPPED_BYTES);
}

int heap_breathe(struct heap_watch *w, uint32_t connections, uint64_t resident)
{
    if (connections > w->peak)
        w->peak = connections;
    if (!w->resident || resident < w->resident)
        w->resident = resident;
    bool gone = w->peak - connections >= WORTH && connections <= w->peak / 2;
    bool grown = resident - w->resident >= GROWN + w->resident / GROWN_PART;
    if (w->size && w->size < resident + GROWN)
        w->later = 0; /* looking once more found nothing */
    bool later = w->later && --w->later == 0;
    w->size = 0;
    if (!gone && !grown && !later)
        return 0;
    w->later = LATER;
    w->size = gone || grown ? 0 : resident;
    w->peak = connections;
    w->resident = 0;
    return malloc_trim(0);
}
