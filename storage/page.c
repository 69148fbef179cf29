/* Pages of messages: see page.h. */
#include "storage/page.h"

#include <stdlib.h>

static struct slice offset_slice(uintptr_t offset, size_t n)
{
    return (struct slice){(const char *)offset, n};
}

void page_expect(struct page_builder *b, uint32_t n, size_t bytes)
{
    if (b->cap)
        return; /* emptied and filled again */
    n = n < 256 ? n : 256;
    b->messages = malloc(n * sizeof(*b->messages));
    b->cap = b->messages ? n : 0;
    if (bytes < 1024) { /* large ones grow as they come */
        (void)buf_reserve(&b->arena, n * bytes);
        b->arena.oom = false;
    }
}

int page_add(struct page_builder *b, const struct store_message *m)
{
    if (b->n == b->cap) {
        uint32_t cap = b->cap ? b->cap * 2 : 32;
        struct store_message *messages = realloc(b->messages, cap * sizeof(*messages));
        if (!messages)
            return ERR_NOMEM;
        b->messages = messages;
        b->cap = cap;
    }
    size_t conv = m->conv.n, sender = m->sender.n, name = m->sender_name.n, texts = sender + name + m->content.n;
    if (b->arena.cap - b->arena.n < conv + texts && !buf_reserve(&b->arena, conv + texts))
        return ERR_NOMEM;
    uintptr_t offset = b->arena.n; /* what the slices hold for now */
    b->arena.n += conv + texts;
    if (conv)
        memcpy(b->arena.p + offset, m->conv.p, conv);
    if (texts)
        memcpy(b->arena.p + offset + conv, m->sender.p, texts);
    struct store_message *out = &b->messages[b->n++];
    *out = *m;
    out->conv = offset_slice(offset, conv);
    out->sender = offset_slice(offset += conv, sender);
    out->sender_name = offset_slice(offset += sender, name);
    out->content = offset_slice(offset + name, m->content.n);
    b->content += m->content.n;
    return 0;
}

void page_reverse(struct page_builder *b)
{
    for (uint32_t i = 0, j = b->n; i + 1 < j; i++) {
        struct store_message swap = b->messages[i];
        b->messages[i] = b->messages[--j];
        b->messages[j] = swap;
    }
}

static inline void slice_settle(const char *arena, struct slice *s)
{
    s->p = s->n ? arena + (uintptr_t)s->p : NULL;
}

void page_drop(struct page_builder *b)
{
    free(b->messages);
    buf_free(&b->arena);
    *b = (struct page_builder){0};
}

int page_finish(struct page_builder *b, int code, struct store_page *out)
{
    code = code ? code : buf_ok(&b->arena) ? 0 : ERR_NOMEM;
    *out = (struct store_page){0};
    if (code) {
        page_drop(b);
        return code;
    }
    for (struct store_message *m = b->messages, *end = m + b->n; m < end; m++) {
        slice_settle(b->arena.p, &m->conv);
        slice_settle(b->arena.p, &m->sender);
        slice_settle(b->arena.p, &m->sender_name);
        slice_settle(b->arena.p, &m->content);
    }
    *out = (struct store_page){.messages = b->messages, .n = b->n, .arena = b->arena.p};
    return 0;
}
