#include "core/net/deflate.h"

#include "core/base/err.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    MEM_LEVEL = 8,        /* less makes both bytes and time more */
    LARGE = 8192,         /* bytes: from here on level 1 saves nearly as much in two thirds of the time */
    TAIL = 4,             /* bytes of the empty block that ends a message and is not sent (RFC 7692 7.2.1) */
    GZIP_HEAD = 10,       /* bytes before the compressed ones (RFC 1952 2.3) */
    GZIP_TAIL = 8,        /* and behind them: CRC-32 and size */
    OUT_KEPT = 256 * 1024 /* bytes of the buffer that stay */
};

/* A raw window of 8 bits is what zlib cannot do. But it looks back by 262 bytes less than its window has, so what it
 * makes with 9 bits never points back by more than 250: every receiver reads it. */
static const int window_bits[DEFLATE_WINDOWS] = {[DEFLATE_WIDE] = -15, [DEFLATE_NARROW] = -9};

void deflater_configure(struct deflater *d, uint32_t threshold, int level)
{
    d->threshold = threshold;
    d->level = level;
}

void deflater_trim(struct deflater *d)
{
    if (d->cap > OUT_KEPT) {
        free(d->out);
        d->out = NULL;
        d->cap = 0;
    }
}

void deflater_free(struct deflater *d)
{
    for (int i = 0; i < DEFLATE_WINDOWS; i++) {
        if (d->streams[i])
            deflateEnd(d->streams[i]);
        free(d->streams[i]);
    }
    free(d->out);
    *d = (struct deflater){.threshold = 0};
}

uint64_t deflater_memory(const struct deflater *d)
{
    uint64_t n = d->cap;
    for (int i = 0; i < DEFLATE_WINDOWS; i++) /* as zlib's manual has it */
        if (d->streams[i])
            n += (1U << (2 - window_bits[i])) + (1U << (MEM_LEVEL + 9));
    return n;
}

/* The stream of a window. NULL: out of memory. */
static z_stream *stream(struct deflater *d, enum deflate_window window)
{
    z_stream *z = d->streams[window];
    if (z)
        return z;
    z = calloc(1, sizeof *z);
    if (!z || deflateInit2(z, d->level, Z_DEFLATED, window_bits[window], MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(z);
        return NULL;
    }
    d->levels[window] = d->level;
    return d->streams[window] = z;
}

/* The stream, beginning anew, for so many bytes, to be written to `out`. NULL: out of memory. */
static z_stream *begin(struct deflater *d, enum deflate_window window, size_t bytes, uint8_t *out, size_t most)
{
    int level = bytes > LARGE ? 1 : d->level;
    z_stream *z = stream(d, window);
    if (!z)
        return NULL;
    deflateReset(z);
    z->next_in = NULL;
    z->avail_in = 0;
    z->next_out = out;
    z->avail_out = (uInt)most;
    if (d->levels[window] != level) {
        if (!SURELY(deflateParams(z, level, Z_DEFAULT_STRATEGY) == Z_OK))
            return NULL;
        d->levels[window] = level;
    }
    return z;
}

static bool room(struct deflater *d, size_t n)
{
    if (d->cap >= n)
        return true;
    uint8_t *p = realloc(d->out, n);
    if (!p)
        return false;
    d->out = p;
    d->cap = n;
    return true;
}

/* Compresses the parts to d->out + at. Bytes; 0: they are more than `most`, or there is no memory. */
static size_t run(struct deflater *d, enum deflate_window window, const struct slice *parts, unsigned n, size_t all,
                  size_t at, size_t most, int flush)
{
    /* With a byte more than may be used, deflate() is never full when what it made is little enough. */
    z_stream *z = room(d, at + most + 1) ? begin(d, window, all, d->out + at, most + 1) : NULL;
    if (!z)
        return 0;
    for (unsigned i = 0; i < n; i++) {
        bool last = i + 1 == n;
        if (parts[i].n == 0 && !last)
            continue;
        z->next_in = (Bytef *)(uintptr_t)parts[i].p;
        z->avail_in = (uInt)parts[i].n;
        (void)!deflate(z, last ? flush : Z_NO_FLUSH);
        if (z->avail_out == 0)
            return 0;
    }
    return most + 1 - z->avail_out;
}

static bool wanted(const struct deflater *d, size_t n)
{
    return d->level && n && n >= d->threshold && n <= UINT32_MAX / 2;
}

static struct slice made(struct deflater *d, size_t before, size_t after)
{
    d->before += before;
    d->after += after;
    return slice_of(d->out, after);
}

struct slice deflate_message(struct deflater *d, enum deflate_window window, const struct slice *parts, unsigned n)
{
    size_t all = 0;
    for (unsigned i = 0; i < n; i++)
        all += parts[i].n;
    if (!wanted(d, all))
        return SLICE_NONE;
    /* The flush leaves no block open and none marked as the last: some receivers read nothing behind such a one. */
    size_t size = run(d, window, parts, n, all, 0, all - 1 + TAIL, Z_SYNC_FLUSH);
    if (size == 0 || !SURELY(size > TAIL && memcmp(d->out + size - TAIL, "\0\0\xff\xff", TAIL) == 0))
        return SLICE_NONE;
    return made(d, all, size - TAIL);
}

static void store_le32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

struct slice deflate_gzip(struct deflater *d, struct slice body)
{
    static const uint8_t head[GZIP_HEAD] = {0x1f, 0x8b, Z_DEFLATED, 0, 0, 0, 0, 0, 0, 255 /* of no system */};
    const size_t around = GZIP_HEAD + GZIP_TAIL;
    if (!wanted(d, body.n) || body.n <= around + 1)
        return SLICE_NONE;
    size_t size = run(d, DEFLATE_WIDE, &body, 1, body.n, GZIP_HEAD, body.n - 1 - around, Z_FINISH);
    if (size == 0 || !room(d, size + around))
        return SLICE_NONE;
    memcpy(d->out, head, GZIP_HEAD);
    store_le32(d->out + GZIP_HEAD + size, (uint32_t)crc32(0, (const Bytef *)body.p, (uInt)body.n));
    store_le32(d->out + GZIP_HEAD + size + 4, (uint32_t)body.n);
    return made(d, body.n, size + around);
}
