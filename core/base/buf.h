/*
 * A growable byte buffer.
 *
 * Writers do not check each append: a failed allocation sets `oom`, later appends do nothing, and the one who uses the
 * result checks buf_ok() once.
 */
#ifndef MAGPIE_BASE_BUF_H
#define MAGPIE_BASE_BUF_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *p;    /* malloc'd; NULL until the first append; owned */
    size_t n;   /* bytes in use */
    size_t cap; /* bytes allocated */
    bool oom;   /* an append failed: the contents are not to be used */
};

#define BUF_INIT ((struct buf){NULL, 0, 0, false})

static inline bool buf_ok(const struct buf *b)
{
    return !b->oom;
}
static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->p, b->n);
}

/* Frees the memory and makes the buffer empty and usable again. */
void buf_free(struct buf *b);
/* Empties the buffer and keeps its memory. */
static inline void buf_reset(struct buf *b)
{
    b->n = 0;
    b->oom = false;
}
/* Makes room for `extra` more bytes; returns where they go (advance b->n yourself), or NULL when out of memory. */
char *buf_reserve(struct buf *b, size_t extra);

void buf_put(struct buf *b, const void *p, size_t n);
static inline void buf_slice_put(struct buf *b, struct slice s)
{
    buf_put(b, s.p, s.n);
}
#define buf_lit(b, s) buf_put((b), "" s "", sizeof(s) - 1)
void buf_str(struct buf *b, const char *s);
void buf_byte(struct buf *b, uint8_t c);
/* Big-endian integers. */
void buf_u16(struct buf *b, uint16_t v);
void buf_u32(struct buf *b, uint32_t v);
/* Decimal digits of v, without padding. */
void buf_dec(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The bytes of `s` (valid UTF-8) escaped as the inside of a JSON string (RFC 8259 section 7), without quotes: only ", \
 * and control characters below 0x20 are escaped. */
void buf_json_escape(struct buf *b, struct slice s);
/* The same with the quotes. */
void buf_json_string(struct buf *b, struct slice s);

static inline uint16_t load_be16(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint16_t)(b[0] << 8 | b[1]);
}
static inline uint32_t load_be32(const void *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}
static inline uint64_t load_be64(const void *p)
{
    return (uint64_t)load_be32(p) << 32 | load_be32((const char *)p + 4);
}
static inline void store_be16(void *p, uint16_t v)
{
    uint8_t *b = (uint8_t *)p;
    b[0] = (uint8_t)(v >> 8);
    b[1] = (uint8_t)v;
}
static inline void store_be32(void *p, uint32_t v)
{
    store_be16(p, (uint16_t)(v >> 16));
    store_be16((char *)p + 2, (uint16_t)v);
}
static inline void store_be64(void *p, uint64_t v)
{
    store_be32(p, (uint32_t)(v >> 32));
    store_be32((char *)p + 4, (uint32_t)v);
}

#endif
