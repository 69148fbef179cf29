/*
 * The decoders of what stands in Redis: never a byte read outside; slices lie inside the value; what they take keeps
 * its promises. The first byte picks the decoder.
 */
#include "core/base/utf8.h"
#include "storage/redis/layout.h"

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

static void record(struct slice v)
{
    struct layout_record m, meta;
    if (layout_record(v, &m) == 0) {
        inside(m.sender, v);
        inside(m.sender_name, v);
        inside(m.content, v);
        must(m.tier < TIER_COUNT);
        /* What is no text is cut where it ends, and nothing comes behind it. */
        must(utf8_valid(m.sender) && utf8_valid(m.sender_name) && utf8_valid(m.content));
        must(m.sender.p == v.p + LAYOUT_RECORD_FIXED && m.sender.n <= (uint8_t)v.p[37]);
        must(m.sender_name.p == m.sender.p + (uint8_t)v.p[37] && m.sender_name.n <= (uint8_t)v.p[38]);
        must(m.content.p == m.sender_name.p + (uint8_t)v.p[38]);
        must(layout_meta(v, &meta) == 0 && meta.id == m.id && meta.birth_ms == m.birth_ms && meta.ttl_ms == m.ttl_ms);
    }
}

static void head(struct slice v)
{
    struct layout_head h;
    if (layout_head(v, &h) == 0)
        must((v.n == 0 && h.kind == 0) ||
             ((h.kind == LAYOUT_CHANNEL || h.kind == LAYOUT_PAIR) && h.tier < TIER_COUNT && h.low <= h.seq));
}

static void others(struct slice v)
{
    struct layout_intent i;
    struct layout_entry e;
    struct layout_sub s;
    struct layout_gone g;
    uint64_t read;
    if (layout_intent(v, &i) == 0) {
        inside(i.conv, v);
        inside(i.sender, i.conv);
        inside(i.receiver, i.conv);
        must(i.sender.n && i.receiver.n);
    }
    if (layout_entry(v, &e) == 0)
        inside(e.peer, v);
    if (layout_sub(v, &s) == 0)
        must(v.n == LAYOUT_SUB || v.n == LAYOUT_LEFT);
    if (layout_gone(v, &g) == 0)
        must(v.n == 0 || v.n == LAYOUT_GONE);
    if (layout_peer_read(v, &read) == 0)
        must(v.n >= LAYOUT_PEER_READ);
}

/* The value in front, then the field. */
static void half(struct slice v)
{
    struct layout_half h;
    size_t n = v.n < LAYOUT_HALF ? v.n : LAYOUT_HALF;
    struct slice field = slice_of(v.p + n, v.n - n);
    if (layout_half(field, slice_of(v.p, n), &h) == 0) {
        inside(h.conv, field);
        inside(h.user, field);
        must(h.conv.n && h.user.n && h.conv.n + 1 + h.user.n == field.n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *copy = malloc(size); /* to the byte, for sanitizers */
    if (!copy)
        return 0;
    memcpy(copy, data + 1, size - 1);
    struct slice v = slice_of(copy, size - 1);
    if (data[0] == 'm')
        record(v);
    else if (data[0] == 'h')
        head(v);
    else if (data[0] == 'j')
        half(v);
    else
        others(v);
    free(copy);
    return 0;
}
