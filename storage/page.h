/* Builds a struct store_page: messages whose bytes lie in one arena. For engines. */
#ifndef MAGPIE_STORAGE_PAGE_H
#define MAGPIE_STORAGE_PAGE_H

#include "core/base/buf.h"
#include "storage/store.h"

struct page_builder {
    struct store_message *messages; /* malloc'd; their slices hold offsets into the arena until page_finish() */
    uint32_t n, cap;
    struct buf arena;
    uint64_t content; /* bytes of contents */
};

/* Whether adding a message with so large a content would make the contents larger than `bytes` (0: no bound; the first
 * one always fits). */
static inline bool page_is_full(const struct page_builder *b, size_t content, uint32_t bytes)
{
    return bytes && b->n && b->content + content > bytes;
}
/* Makes room for about n messages of about `bytes` each at once; best effort. */
void page_expect(struct page_builder *b, uint32_t n, size_t bytes);
/* Appends a copy. Its sender, name and content lie one behind the other. ERR_NOMEM. */
MUST_CHECK int page_add(struct page_builder *b, const struct store_message *m);
/* Empties it and keeps its memory. */
static inline void page_reset(struct page_builder *b)
{
    b->n = 0;
    b->content = 0;
    buf_reset(&b->arena);
}
/* Turns the order of the messages around. */
void page_reverse(struct page_builder *b);
/* Frees what has been built. */
void page_drop(struct page_builder *b);
/* Moves the page out, or, when code is an error, frees it and empties `out`; returns the code, or ERR_NOMEM. */
MUST_CHECK int page_finish(struct page_builder *b, int code, struct store_page *out);

#endif
