#include "core/hub/act/page.h"

#include "core/base/frame.h"
#include "core/hub/people/user.h"
#include "core/hub/talk/encode.h"

enum { PAGE_MAX = 200 };

bool page_encode(struct buf *b, const struct store_page *page, struct slice conv, bool oldest_first, uint32_t max)
{
    size_t at[PAGE_MAX + 1]; /* where each message begins, its comma included */
    uint32_t n = page->n < PAGE_MAX ? page->n : PAGE_MAX, from = 0, to = n;
    buf_lit(b, "{\"messages\":[");
    size_t start = b->n;
    for (uint32_t i = 0; i < n; i++) {
        at[i] = b->n;
        if (i)
            buf_byte(b, ',');
        const struct store_message *m = &page->messages[i];
        encode_message(b, conv.n ? conv : m->conv, m);
    }
    at[n] = b->n;
    if (!buf_ok(b))
        return false;
    while (max && to - from > 1 && at[to] - at[from] > max)
        if (oldest_first)
            to--;
        else
            from++;
    if (from > 0) {
        /* The first message has no comma before it. */
        size_t skip = at[from] + 1 - start;
        memmove(b->p + start, b->p + start + skip, at[to] - start - skip);
        b->n = at[to] - skip;
    } else {
        b->n = at[to];
    }
    buf_byte(b, ']');
    return from > 0 || to < page->n;
}

void push_others(struct req *r, uint16_t action, struct buf *body)
{
    struct shard *s = r->home;
    if (r->user == NONE || !buf_ok(body))
        return;
    struct frame *f = frame_borrow(action, 0, buf_slice(body), WIRE_TAG_NONE);
    if (!f)
        return;
    bool there = conn_find(s->net, r->conn, r->generation) != NULL;
    user_push(s, r->user, f, there ? r->conn : NONE);
    frame_unref(f);
}
