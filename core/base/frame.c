#include "core/base/frame.h"

#include "core/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

/* RFC 6455 section 5.2: FIN and opcode, no mask. Returns the header's length. */
static size_t ws_header(uint8_t out[10], uint8_t opcode, size_t n)
{
    out[0] = (uint8_t)(0x80 | opcode);
    if (n < 126) {
        out[1] = (uint8_t)n;
        return 2;
    }
    if (n <= UINT16_MAX) {
        out[1] = 126;
        store_be16(out + 2, (uint16_t)n);
        return 4;
    }
    out[1] = 127;
    store_be64(out + 2, n);
    return 10;
}

static struct wire *wire_alloc(size_t n, uint32_t tag)
{
    struct wire *w = n <= UINT32_MAX ? malloc(sizeof *w + n) : NULL;
    if (w)
        *w = (struct wire){.refs = 1, .len = (uint32_t)n, .tag = tag};
    return w;
}

static struct wire *wire_of_parts(struct slice head, struct slice front, struct slice body, struct slice back,
                                  uint32_t tag)
{
    struct slice parts[] = {head, front, body, back};
    struct wire *w = wire_alloc(head.n + front.n + body.n + back.n, tag);
    uint8_t *at = w ? w->data : NULL;
    for (size_t i = 0; w && i < 4; i++) {
        if (parts[i].n)
            memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    return w;
}

struct wire *wire_new(enum wire_form form, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    uint8_t head[10], front[8];
    char text[64];
    if (form == WIRE_TCP) {
        store_be32(front, (uint32_t)(8 + body.n));
        store_be16(front + 4, action);
        store_be16(front + 6, seq);
        return wire_of_parts(SLICE_NONE, slice_of(front, 8), body, SLICE_NONE, tag);
    }
    if (form == WIRE_WS_BINARY) {
        store_be16(front, action);
        store_be16(front + 2, seq);
        size_t n = ws_header(head, 2, 4 + body.n);
        return wire_of_parts(slice_of(head, n), slice_of(front, 4), body, SLICE_NONE, tag);
    }
    if (body.n == 0)
        body = SLICE_LIT("{}");
    int t = snprintf(text, sizeof text, "{\"action\":%u,\"seq\":%u,\"body\":", action, seq);
    size_t n = ws_header(head, 1, (size_t)t + body.n + 1);
    return wire_of_parts(slice_of(head, n), slice_of(text, (size_t)t), body, SLICE_LIT("}"), tag);
}

struct wire *wire_message(bool text, struct slice data)
{
    uint8_t head[10];
    return wire_of_parts(slice_of(head, ws_header(head, text ? 1 : 2, data.n)), SLICE_NONE, data, SLICE_NONE,
                         WIRE_TAG_NONE);
}

struct wire *wire_raw(struct slice bytes, uint32_t tag)
{
    return wire_of_parts(SLICE_NONE, SLICE_NONE, bytes, SLICE_NONE, tag);
}

void wire_unref(struct wire *w)
{
    if (--w->refs == 0)
        free(w);
}

struct frame *frame_new(uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    struct frame *f = body.n <= UINT32_MAX / 2 ? malloc(sizeof *f + body.n) : NULL;
    if (!f)
        return NULL;
    *f = (struct frame){.refs = 1, .tag = tag, .action = action, .seq = seq, .body_len = (uint32_t)body.n};
    if (body.n)
        memcpy(f->body, body.p, body.n);
    return f;
}

void frame_unref(struct frame *f)
{
    if (--f->refs > 0)
        return;
    for (int i = 0; i < WIRE_FORMS; i++)
        if (f->wires[i])
            wire_unref(f->wires[i]);
    free(f);
}

struct wire *frame_wire(struct frame *f, enum wire_form form)
{
    if (!f->wires[form])
        f->wires[form] = wire_new(form, f->action, f->seq, slice_of(f->body, f->body_len), f->tag);
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

static struct wire *join(struct bundle *b, enum wire_form form)
{
    size_t n = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        const struct wire *w = frame_wire(b->frames[i], form);
        if (!w)
            return NULL;
        n += w->len;
    }
    struct wire *all = wire_alloc(n, b->frames[0]->tag);
    uint8_t *at = all ? all->data : NULL;
    for (uint32_t i = 0; all && i < b->n; i++) {
        const struct wire *w = b->frames[i]->wires[form];
        memcpy(at, w->data, w->len);
        at += w->len;
    }
    return all;
}

struct wire *bundle_wire(struct bundle *b, enum wire_form form)
{
    if (b->joined[form] || b->n == 0)
        return b->joined[form];
    if (b->n > 1)
        return b->joined[form] = join(b, form);
    struct wire *only = frame_wire(b->frames[0], form);
    if (only)
        wire_ref(only);
    return b->joined[form] = only;
}

void bundle_clear(struct bundle *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        frame_unref(b->frames[i]);
    for (int i = 0; i < WIRE_FORMS; i++) {
        if (b->joined[i])
            wire_unref(b->joined[i]);
        b->joined[i] = NULL;
    }
    b->n = b->bytes = 0;
}
