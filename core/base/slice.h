/* A borrowed run of bytes. Not NUL-terminated; never owns. */
#ifndef MAGPIE_BASE_SLICE_H
#define MAGPIE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p; /* first byte; may be NULL when n is 0 */
    size_t n;      /* bytes */
};

#define SLICE_LIT(s) ((struct slice){"" s "", sizeof(s) - 1})
#define SLICE_NONE   ((struct slice){NULL, 0})

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){(const char *)p, n};
}
static inline struct slice slice_str(const char *s)
{
    return (struct slice){s, s ? strlen(s) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Byte-wise order, as RocksDB's default comparator: <0, 0, >0. */
static inline int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

#endif
