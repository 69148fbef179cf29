/*
 * What nodes tell each other: never a byte read outside; slices lie in the copy; and what was read is written as it
 * came.
 */
#include "storage/redis/bus/news.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void inside(struct slice part, struct slice whole)
{
    must(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

static void written_again(const struct buf *b, const struct news_in *in)
{
    must(buf_ok(b) && b->n == 4 + NEWS_HEAD + in->fields.n);
    must(in->fields.n == 0 || memcmp(b->p + 4 + NEWS_HEAD, in->fields.p, in->fields.n) == 0);
}

static void hub_news(const struct news_in *in, struct buf *b)
{
    struct bus_news *n;
    if (news_read(in, &n))
        return;
    struct slice whole = slice_of(n->data, in->fields.n);
    inside(n->conv, whole);
    inside(n->user, whole);
    inside(n->sender, whole);
    inside(n->name, whole);
    inside(n->content, whole);
    inside(n->advice, whole);
    buf_reset(b);
    news_put(b, n);
    written_again(b, in);
    free(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b = BUF_INIT;
    struct news_in in;
    struct news_more m;
    char *copy = malloc(size ? size : 1); /* to the byte, for sanitizers */
    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    struct slice message = slice_of(copy, size), whole = message;
    while (news_next(&message, &in) > 0) {
        inside(in.fields, whole);
        hub_news(&in, &b);
        if (news_more_read(&in, &m))
            continue;
        inside(m.user, in.fields);
        inside(m.body, in.fields);
        buf_reset(&b);
        news_more_put(&b, &m);
        written_again(&b, &in);
    }
    buf_free(&b);
    free(copy);
    return 0;
}
