#include "core/net/outq.h"

#include "core/net/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

/* So many queues at most stay on the freelist. */
enum { FREE_MAX = 32768 };

struct outq *outq_get(struct outq_pool *p)
{
    struct outq *q = p->free;
    if (q) {
        p->free = q->next_free;
        if (--p->free_count < p->low)
            p->low = p->free_count;
        return q;
    }
    q = malloc(sizeof *q);
    if (!q)
        return NULL;
    memset(q, 0, sizeof *q);
    q->ring = q->few;
    q->cap = OUTQ_INLINE;
    p->memory += sizeof *q;
    return q;
}

static inline struct wire **slot(const struct outq *q, uint32_t i)
{
    return &q->ring[(q->head + i) & (q->cap - 1)];
}

uint32_t outq_memory(const struct outq *q)
{
    size_t n = sizeof *q + q->tag_cap * sizeof *q->tags;
    if (q->ring != q->few)
        n += q->cap * sizeof *q->ring;
    return (uint32_t)n;
}

int outq_ready(struct outq_pool *p)
{
    struct outq *q = p->free ? NULL : outq_get(p);
    if (q)
        outq_put(p, q);
    return p->free ? 0 : ERR_NOMEM;
}

void outq_put(struct outq_pool *p, struct outq *q)
{
    for (uint32_t i = 0; i < q->count; i++)
        wire_unref(*slot(q, i));
    if (q->rest)
        wire_unref(q->rest);
    q->rest = NULL;
    if (q->ring != q->few || q->tags || p->free_count >= FREE_MAX) {
        p->memory -= outq_memory(q);
        if (q->ring != q->few)
            free(q->ring);
        free(q->tags);
        if (p->free_count >= FREE_MAX) {
            free(q);
            return;
        }
        p->memory += sizeof *q;
        q->ring = q->few;
        q->cap = OUTQ_INLINE;
        q->tags = NULL;
        q->tag_cap = 0;
    }
    q->bytes = q->sent = q->head = q->count = 0;
    q->tag_count = 0;
    q->lost = q->with_user = q->over = false;
    q->charged = 0;
    q->next_free = p->free;
    p->free = q;
    p->free_count++;
}

void outq_trim(struct outq_pool *p)
{
    for (uint32_t n = (p->low + 1) / 2; n && p->free; n--) {
        struct outq *q = p->free;
        p->free = q->next_free;
        p->free_count--;
        p->memory -= sizeof *q;
        free(q);
    }
    p->low = p->free_count;
}

void outq_pool_fini(struct outq_pool *p)
{
    while (p->free) {
        struct outq *q = p->free;
        p->free = q->next_free;
        free(q);
    }
    *p = (struct outq_pool){.memory = 0};
}

int outq_grow(struct outq_pool *p, struct outq *q)
{
    uint32_t cap = q->cap * 2;
    struct wire **ring = malloc(cap * sizeof(struct wire *));
    if (!ring)
        return ERR_NOMEM;
    p->memory -= outq_memory(q);
    for (uint32_t i = 0; i < q->count; i++)
        ring[i] = *slot(q, i);
    if (q->ring != q->few)
        free(q->ring);
    q->ring = ring;
    q->head = 0;
    q->cap = cap;
    p->memory += outq_memory(q);
    return 0;
}

const struct wire *outq_last(const struct outq *q)
{
    return q->count > 1 || (q->count == 1 && !q->sent) ? *slot(q, q->count - 1) : NULL;
}

void outq_pop_last(struct outq *q)
{
    struct wire *w = *slot(q, --q->count);
    q->bytes -= w->len;
    wire_unref(w);
}

static bool tag_find(const struct outq *q, uint32_t tag, uint32_t *at)
{
    uint32_t low = 0, high = q->tag_count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (q->tags[mid] < tag)
            low = mid + 1;
        else
            high = mid;
    }
    *at = low;
    return low < q->tag_count && q->tags[low] == tag;
}

/* What to drop: wires of one tag, of any tag, or all. */
enum drop { DROP_TAG, DROP_TAGGED, DROP_ALL };

static void drop(struct outq *q, enum drop what, uint32_t tag)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < q->count; i++) {
        struct wire *w = *slot(q, i);
        bool goes = what == DROP_ALL || (what == DROP_TAG ? w->tag == tag : w->tag != WIRE_TAG_NONE);
        if (!goes || (i == 0 && q->sent)) { /* a begun one must be finished */
            *slot(q, kept++) = w;
            continue;
        }
        q->bytes -= w->len;
        wire_unref(w);
    }
    q->count = kept;
}

void outq_purge(struct outq *q, uint32_t tag)
{
    uint32_t at;
    drop(q, DROP_TAG, tag);
    if (tag_find(q, tag, &at)) {
        memmove(q->tags + at, q->tags + at + 1, (q->tag_count - at - 1U) * sizeof *q->tags);
        q->tag_count--;
    }
}

void outq_purge_all(struct outq *q)
{
    drop(q, DROP_TAGGED, WIRE_TAG_NONE);
    q->tag_count = 0;
}

void outq_drop(struct outq *q)
{
    drop(q, DROP_ALL, WIRE_TAG_NONE);
    q->tag_count = 0;
}

void outq_skip(struct outq_pool *p, struct outq *q, uint32_t tag)
{
    uint32_t at;
    if (tag == WIRE_TAG_NONE || tag_find(q, tag, &at))
        return;
    if (q->tag_count == q->tag_cap) {
        uint32_t cap = q->tag_cap ? q->tag_cap * 2U : 8;
        uint32_t *tags = cap <= UINT16_MAX ? realloc(q->tags, cap * sizeof *tags) : NULL;
        if (!tags) {
            q->lost = true;
            return;
        }
        p->memory += (cap - q->tag_cap) * sizeof *tags;
        q->tags = tags;
        q->tag_cap = (uint16_t)cap;
    }
    memmove(q->tags + at + 1, q->tags + at, (q->tag_count - at) * sizeof *q->tags);
    q->tags[at] = tag;
    q->tag_count++;
}

bool outq_exclusive(const struct outq *q)
{
    for (uint32_t i = 0; i < q->count; i++)
        if ((*slot(q, i))->refs != 1)
            return false;
    return !q->rest || q->rest->refs == 1;
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

void outq_advance(struct outq *q, size_t n)
{
    q->bytes -= (uint32_t)n;
    n += q->sent;
    while (q->count) {
        struct wire *w = q->ring[q->head];
        if (n < w->len)
            break;
        n -= w->len;
        wire_unref(w);
        q->head = (q->head + 1) & (q->cap - 1);
        q->count--;
    }
    q->sent = (uint32_t)n;
}

void outq_keep_rest(struct outq *q, struct wire *rest)
{
    if (!SURELY(!q->rest)) {
        q->bytes -= q->rest->len;
        wire_unref(q->rest);
    }
    q->rest = rest;
    q->bytes += rest->len;
}

/* What was sealed must leave as it is, before anything else. 0: it is out. */
static int write_rest(struct outq *q, const struct stream *stream, int fd)
{
    struct wire *w = q->rest;
    ssize_t n;
    do
        n = stream->resend(stream, fd, w->data, w->len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? ERR_AGAIN : ERR_CLOSED;
    q->bytes -= (uint32_t)n;
    w->len -= (uint32_t)n;
    if (w->len) {
        memmove(w->data, w->data + n, w->len);
        return ERR_AGAIN;
    }
    q->rest = NULL;
    wire_unref(w);
    return 0;
}

void gather_clear(struct gather *g)
{
    for (uint32_t i = 0; i < g->count; i++)
        wire_unref(g->wires[i]);
    g->count = g->n = 0;
}

/* Up to 16 KiB are copied together: cheaper than an iovec a message, and receivers of the same messages share the
 * copy. */
static void gather(struct gather *g, const struct outq *q)
{
    const uint32_t straight = q->cap - q->head;
    if (g->count == q->count && q->count <= straight &&
        memcmp(g->wires, q->ring + q->head, q->count * sizeof *g->wires) == 0)
        return;
    gather_clear(g);
    for (uint32_t i = 0; i < q->count; i++) {
        struct wire *w = *slot(q, i);
        g->n = (uint32_t)(wire_copy(g->bytes + g->n, w) - g->bytes);
        g->wires[g->count++] = w;
        wire_ref(w);
    }
}

static ssize_t write_vector(const struct outq *q, const struct stream *stream, int fd, struct wire **rest)
{
    struct iovec v[GATHER_WIRES];
    unsigned n = q->count < GATHER_WIRES ? q->count : GATHER_WIRES;
    for (unsigned i = 0; i < n; i++) {
        struct wire *w = *slot(q, i);
        uint32_t skip = i == 0 ? q->sent : 0;
        v[i] = (struct iovec){w->data + skip, w->len - skip};
    }
    return stream->sendv(stream, fd, v, (int)n, rest);
}

int outq_write(struct outq *q, struct gather *g, const struct stream *stream, int fd)
{
    if (q->rest) {
        int rc = write_rest(q, stream, fd);
        if (rc != 0)
            return rc;
    }
    while (q->count) {
        ssize_t n;
        size_t want = q->bytes;
        struct wire *rest = NULL;
        if (q->count == 1) {
            struct wire *w = q->ring[q->head];
            n = stream->send(stream, fd, w->data + q->sent, w->len - q->sent, &rest);
        } else if (q->sent == 0 && q->count <= GATHER_WIRES && q->bytes <= GATHER_BYTES) {
            gather(g, q);
            n = stream->send(stream, fd, g->bytes, g->n, &rest);
        } else {
            n = write_vector(q, stream, fd, &rest);
            if (q->count > GATHER_WIRES || stream->resend)
                want = 0;
        }
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? ERR_AGAIN : ERR_CLOSED;
        }
        outq_advance(q, (size_t)n);
        if (rest) {
            outq_keep_rest(q, rest);
            return ERR_AGAIN;
        }
        /* A short write means a full socket; asking again would only be told so. */
        if ((size_t)n < want && !stream->resend)
            return ERR_AGAIN;
    }
    return 0;
}
