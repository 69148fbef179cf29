#include "core/net/inbuf.h"

#include <stdlib.h>
#include <string.h>

/* Below this, giving back a part is not worth the call. */
enum { SHRINK_MIN = 2048 };

struct inbuf *inbuf_new(size_t cap)
{
    struct inbuf *in = malloc(sizeof *in + cap);
    if (in) {
        memset(in, 0, sizeof *in);
        in->cap = (uint32_t)cap;
    }
    return in;
}

void inbuf_compact(struct inbuf *in)
{
    if (in->start) {
        memmove(in->data, in->data + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
}

struct inbuf *inbuf_grow(struct inbuf *in, size_t extra, size_t max)
{
    size_t need = in->end + extra, cap = in->cap;
    if (need <= cap)
        return in;
    cap += cap / 2;
    if (cap > max)
        cap = max;
    if (cap < need)
        cap = need;
    struct inbuf *p = realloc(in, sizeof *in + cap);
    if (p)
        p->cap = (uint32_t)cap;
    return p;
}

struct inbuf *inbuf_shrink(struct inbuf *in)
{
    if (in->cap < SHRINK_MIN || in->end - in->start > in->cap / 4)
        return in;
    inbuf_compact(in);
    struct inbuf *p = realloc(in, sizeof *in + in->end);
    if (!p)
        return in;
    p->cap = p->end;
    return p;
}
