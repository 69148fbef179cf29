#include "core/net/inflate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

enum {
    OUT_FIRST = 16 * 1024,    /* bytes of the buffer at first */
    OUT_KEPT = 256 * 1024,    /* that stay */
    STATE = 7168 + (1 << 15), /* bytes of zlib's state and window */
    RAW = -15,
    GZIP = 15 + 16,      /* what zlib is to read, as its windowBits say it */
    BETWEEN_BLOCKS = 128 /* in z_stream.data_type */
};

void inflater_trim(struct inflater *f)
{
    if (f->cap > OUT_KEPT) {
        free(f->out);
        f->out = NULL;
        f->cap = 0;
    }
}

void inflater_free(struct inflater *f)
{
    if (f->z)
        inflateEnd(f->z);
    free(f->z);
    free(f->out);
    *f = (struct inflater){.z = NULL};
}

uint64_t inflater_memory(const struct inflater *f)
{
    return f->cap + (f->z ? sizeof *f->z + STATE : 0);
}

/* A stream that begins anew. ERR_NOMEM. */
static int begin(struct inflater *f, int bits)
{
    if (f->z)
        return inflateReset2(f->z, bits) == Z_OK ? 0 : ERR_NOMEM;
    f->z = calloc(1, sizeof *f->z);
    if (f->z && inflateInit2(f->z, bits) == Z_OK)
        return 0;
    free(f->z);
    f->z = NULL;
    return ERR_NOMEM;
}

/* Twice the room, and no more than `most`. */
static bool grow(struct inflater *f, size_t most)
{
    size_t cap = f->cap ? f->cap * 2 : OUT_FIRST;
    if (cap > most)
        cap = most;
    uint8_t *p = realloc(f->out, cap);
    if (!p)
        return false;
    f->out = p;
    f->cap = cap;
    return true;
}

enum { TAKEN = 0, ENDED = 1 };

/* Inflates to f->out + *n what z has, until all of it is TAKEN or the stream has ENDED. Or an error. */
static int run(struct inflater *f, size_t limit, size_t *n)
{
    z_stream *z = f->z;
    const size_t most = limit + 1; /* with a byte more than may come, too many are known by it */
    for (;;) {
        if (*n == f->cap && !grow(f, most))
            return ERR_NOMEM;
        size_t room = (f->cap < most ? f->cap : most) - *n;
        z->next_out = f->out + *n;
        z->avail_out = (uInt)room;
        int rc = inflate(z, Z_SYNC_FLUSH);
        *n += room - z->avail_out;
        if (*n > limit)
            return ERR_TOOLARGE;
        if (rc == Z_STREAM_END)
            return ENDED;
        if (rc != Z_OK && rc != Z_BUF_ERROR)
            return rc == Z_MEM_ERROR ? ERR_NOMEM : ERR_INVALID;
        if (z->avail_out > 0)
            return TAKEN;
    }
}

static void feed(struct inflater *f, struct slice in)
{
    f->z->next_in = (Bytef *)(uintptr_t)in.p;
    f->z->avail_in = (uInt)in.n;
}

static int made(struct inflater *f, struct slice in, size_t n, struct slice *out)
{
    f->before += in.n;
    f->after += n;
    *out = slice_of(f->out, n);
    return 0;
}

int inflate_message(struct inflater *f, struct slice in, size_t limit, struct slice *out)
{
    size_t n = 0;
    int rc = in.n < UINT32_MAX / 2 && limit < UINT32_MAX / 2 ? begin(f, RAW) : ERR_TOOLARGE;
    if (rc)
        return rc;
    if (in.n == 0) /* some say nothing in no bytes at all */
        return made(f, in, 0, out);
    feed(f, in);
    /* Behind a block that is marked as the last one others may follow (RFC 7692 7.2.3.4). */
    while ((rc = run(f, limit, &n)) == ENDED && f->z->avail_in)
        inflateReset(f->z);
    if (rc == TAKEN) {
        feed(f, SLICE_LIT("\0\0\xff\xff")); /* which the sender has left out */
        rc = run(f, limit, &n);
        if (rc == TAKEN && !(f->z->data_type & BETWEEN_BLOCKS))
            rc = ERR_INVALID;
    }
    return rc < 0 ? rc : made(f, in, n, out);
}

int inflate_gzip(struct inflater *f, struct slice in, size_t limit, struct slice *out)
{
    size_t n = 0;
    int rc = in.n < UINT32_MAX / 2 && limit < UINT32_MAX / 2 ? begin(f, GZIP) : ERR_TOOLARGE;
    if (rc)
        return rc;
    feed(f, in);
    while ((rc = run(f, limit, &n)) == ENDED && f->z->avail_in)
        inflateReset(f->z);
    if (rc == TAKEN) /* within a member */
        rc = ERR_INVALID;
    return rc < 0 ? rc : made(f, in, n, out);
}
