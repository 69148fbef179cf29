/*
 * The header of rows that can expire, with which their values begin, and when such a row ends:
 *
 *     version u8 (1) | flags u8 | class u8 | birth u48 | ttl u48
 *
 * Databases read it so that they may drop what is past its time; the rest of a value is the engine's
 * (storage/local/record.h).
 */
#ifndef MAGPIE_STORAGE_ROW_H
#define MAGPIE_STORAGE_ROW_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/slice.h"
#include "storage/expiry.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    ROW_VERSION = 1,
    ROW_RECALLED = 1, /* in flags: a message whose content was taken back */
    ROW_EDITED = 2,   /* in flags: a message with another content than it was sent with */
    ROW_HEADER_SIZE = 15
};
#define ROW_MS_MAX ((UINT64_C(1) << 48) - 1) /* of births and lifetimes */

struct row_header {
    uint8_t flags;     /* ROW_* */
    uint8_t cls;       /* enum expiry_class */
    uint64_t birth_ms; /* guarded clock */
    uint64_t ttl_ms;   /* its own; 0: the class's */
};

static inline void row_put48(char *p, uint64_t v)
{
    v = v > ROW_MS_MAX ? ROW_MS_MAX : v;
    store_be16(p, (uint16_t)(v >> 32));
    store_be32(p + 2, (uint32_t)v);
}

/* Writes ROW_HEADER_SIZE bytes; returns what is behind them. */
static inline char *row_encode(char *p, const struct row_header *h)
{
    p[0] = ROW_VERSION;
    p[1] = (char)h->flags;
    p[2] = (char)h->cls;
    row_put48(p + 3, h->birth_ms);
    row_put48(p + 9, h->ttl_ms);
    return p + ROW_HEADER_SIZE;
}

/* 0, or ERR_INVALID for what is no such row. Inline: each row of a page goes through here. */
static inline int row_decode(struct slice v, struct row_header *h)
{
    uint8_t flags, cls;
    if (v.n < ROW_HEADER_SIZE || v.p[0] != ROW_VERSION || ((flags = (uint8_t)v.p[1]) & ~(ROW_RECALLED | ROW_EDITED)) ||
        (cls = (uint8_t)v.p[2]) == EXPIRY_NONE || cls >= EXPIRY_CLASSES)
        return ERR_INVALID;
    h->flags = flags;
    h->cls = cls;
    h->birth_ms = (uint64_t)load_be16(v.p + 3) << 32 | load_be32(v.p + 5);
    h->ttl_ms = (uint64_t)load_be16(v.p + 9) << 32 | load_be32(v.p + 11);
    return 0;
}

/* Whether a row is past its time. */
static inline bool row_expired(const struct row_header *h, const struct expiry *e, uint64_t now_ms)
{
    return now_ms >= expiry_end(e, h->cls, h->birth_ms, h->ttl_ms);
}

#endif
