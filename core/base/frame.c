#include "core/base/frame.h"

#include <stdlib.h>

static struct wire *wire_alloc(size_t n, uint16_t action, uint16_t seq, uint32_t tag)
{
    struct wire *w = n <= UINT32_MAX ? malloc(sizeof *w + n) : NULL;
    if (w)
        *w = (struct wire){.refs = 1, .len = (uint32_t)n, .tag = tag, .action = action, .seq = seq};
    return w;
}

struct wire *wire_make(const struct slice *parts, unsigned n, uint16_t action, uint16_t seq, uint32_t tag)
{
    size_t all = 0;
    for (unsigned i = 0; i < n; i++)
        all += parts[i].n;
    struct wire *w = wire_alloc(all, action, seq, tag);
    uint8_t *at = w ? w->data : NULL;
    for (unsigned i = 0; w && i < n; i++) {
        if (parts[i].n)
            memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    return w;
}

struct wire *wire_raw(struct slice bytes, uint32_t tag)
{
    return wire_make(&bytes, 1, WIRE_NAMELESS, 0, tag);
}

void wire_unref(struct wire *w)
{
    if (--w->refs == 0)
        free(w);
}

/* With room for `own` bytes behind it. */
static struct frame *frame_alloc(uint16_t action, uint16_t seq, struct slice body, uint32_t tag, size_t own)
{
    struct frame *f = body.n <= UINT32_MAX / 2 ? malloc(sizeof *f + own) : NULL;
    if (f)
        *f = (struct frame){
            .refs = 1, .tag = tag, .action = action, .seq = seq, .body_len = (uint32_t)body.n, .body = body.p};
    return f;
}

struct frame *frame_new(uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    struct frame *f = frame_alloc(action, seq, body, tag, body.n);
    if (!f)
        return NULL;
    if (body.n)
        memcpy(f->own, body.p, body.n);
    f->body = f->own;
    return f;
}

struct frame *frame_borrow(uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    return frame_alloc(action, seq, body, tag, 0);
}

void frame_unref(struct frame *f)
{
    if (--f->refs > 0)
        return;
    for (int i = 0; i < WIRE_ROWS; i++)
        if (f->wires[i])
            wire_unref(f->wires[i]);
    free(f);
}

struct wire *frame_wire(struct frame *f, unsigned form, const struct encoder *e)
{
    if (!f->wires[form])
        f->wires[form] = e->encode(e, f->action, f->seq, slice_of(f->body, f->body_len), f->tag);
    return f->wires[form];
}

bool bundle_add(struct bundle *b, struct frame *f)
{
    if (b->n == BUNDLE_MAX || (b->n && (uint64_t)b->bytes + f->body_len > BUNDLE_BYTES))
        return false;
    b->frames[b->n++] = f;
    b->bytes += f->body_len;
    f->refs++;
    return true;
}

static struct wire *join(struct bundle *b, unsigned form, const struct encoder *e)
{
    size_t n = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct wire *w = frame_wire(b->frames[i], form, e);
        if (!w)
            return NULL;
        n += w->len;
    }
    struct wire *all = wire_alloc(n, b->frames[0]->action, b->frames[0]->seq, b->frames[0]->tag);
    uint8_t *at = all ? all->data : NULL;
    for (uint32_t i = 0; all && i < b->n; i++)
        at = wire_copy(at, b->frames[i]->wires[form]);
    return all;
}

struct wire *bundle_wire(struct bundle *b, unsigned form, const struct encoder *e)
{
    if (b->joined[form] || b->n == 0)
        return b->joined[form];
    if (b->n > 1)
        return b->joined[form] = join(b, form, e);
    struct wire *only = frame_wire(b->frames[0], form, e);
    if (only)
        wire_ref(only);
    return b->joined[form] = only;
}

void bundle_clear(struct bundle *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        frame_unref(b->frames[i]);
    for (int i = 0; i < WIRE_ROWS; i++) {
        if (b->joined[i])
            wire_unref(b->joined[i]);
        b->joined[i] = NULL;
    }
    b->n = b->bytes = 0;
}
