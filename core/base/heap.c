#include "core/base/heap.h"

#include <malloc.h>

/* So few connections gone are not worth it. */
enum { WORTH = 1000 };

void heap_setup(void)
{
    /* glibc raises the limit by itself to the size of whatever was freed last, up to 32 MiB; from then on the database's buffers would come from
     * between the small things, and stay when they are free. */
    (void)mallopt(M_MMAP_THRESHOLD, (int)HEAP_MAPPED_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, (int)HEAP_MAPPED_BYTES);
}

int heap_breathe(struct heap_watch *w, uint32_t connections)
{
    if (connections > w->peak)
        w->peak = connections;
    if (w->peak - connections < WORTH || connections > w->peak / 2)
        return 0;
    w->peak = connections;
    return malloc_trim(0);
}
