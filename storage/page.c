/* Pages of messages: see page.h. */
#include "storage/page.h"

#include <stdlib.h>

/* Copies to *at, inside the arena; the slice holds an offset for now. */
static struct slice arena_add(const struct page_builder *b, char **at, struct slice s)
{
    struct slice out = {(const char *)(uintptr_t)(*at - b->arena.p), s.n};
    if (s.n) {
        memcpy(*at, s.p, s.n);
        *at += s.n;
    }
    return out;
}

void page_expect(struct page_builder *b, uint32_t n, size_t bytes)
{
    n = n < 256 ? n : 256;
    b->messages = malloc(n * sizeof(*b->messages));
    b->cap = b->messages ? n : 0;
    if (bytes < 1024) { /* large ones grow as they come */
        (void)buf_reserve(&b->arena, n * bytes);
        b->arena.oom = false;
    }
}

int page_add(struct page_builder *b, struct slice conv, uint64_t seq, const struct message_record *m)
{
    if (b->n == b->cap) {
        uint32_t cap = b->cap ? b->cap * 2 : 32;
        struct store_message *messages = realloc(b->messages, cap * sizeof(*messages));
        if (!messages) {
            return ERR_NOMEM;
        }
        b->messages = messages;
        b->cap = cap;
    }
    size_t size = conv.n + m->sender.n + m->sender_name.n + m->content.n;
    char *at = buf_reserve(&b->arena, size);
    if (!at && size) {
        return ERR_NOMEM;
    }
    b->arena.n += size;
    b->messages[b->n++] = (struct store_message){.seq = seq,
                                                 .id = m->id,
                                                 .created_ms = m->created_ms,
                                                 .recalled = m->row.flags & ROW_RECALLED,
                                                 .conv = arena_add(b, &at, conv),
                                                 .sender = arena_add(b, &at, m->sender),
                                                 .sender_name = arena_add(b, &at, m->sender_name),
                                                 .content = arena_add(b, &at, m->content)};
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

static void slice_settle(const struct page_builder *b, struct slice *s)
{
    s->p = s->n ? b->arena.p + (uintptr_t)s->p : NULL;
}

int page_finish(struct page_builder *b, int code, struct store_page *out)
{
    code = code ? code : buf_ok(&b->arena) ? 0 : ERR_NOMEM;
    *out = (struct store_page){0};
    if (code) {
        free(b->messages);
        buf_free(&b->arena);
        return code;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        slice_settle(b, &b->messages[i].conv);
        slice_settle(b, &b->messages[i].sender);
        slice_settle(b, &b->messages[i].sender_name);
        slice_settle(b, &b->messages[i].content);
    }
    *out = (struct store_page){.messages = b->messages, .n = b->n, .arena = b->arena.p};
    return 0;
}

void store_page_free(struct store_page *p)
{
    free(p->messages);
    free(p->arena);
    *p = (struct store_page){0};
}
