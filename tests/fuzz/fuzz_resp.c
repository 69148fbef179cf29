/*
 * What comes from Redis. The first byte picks: replies, in one piece and in pieces, which must be the same; a packed
 * reply, read by the rest's first bytes; or what CLUSTER NODES says, after which the partitions still add up.
 */
#include "storage/redis/redis_private.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

/* A reply as text: each element's kind, size and bytes. */
static void write_down(const struct reply *r, struct buf *out)
{
    buf_printf(out, "%d %zu %lld %u ", (int)r->type, r->text.n, (long long)r->number, r->n);
    buf_slice_put(out, r->text);
    for (uint32_t i = 0; i < r->n; i++)
        write_down(&r->list[i], out);
}

/* Feeds it in pieces; what it says is written down. The code that ends it, 0 or an error. */
static int read_all(const char *p, size_t n, size_t piece, struct buf *out)
{
    struct resp in;
    const struct reply *r;
    int code = 0;
    if (resp_init(&in))
        abort();
    for (size_t at = 0; at < n && code == 0; at += piece) {
        code = resp_feed(&in, p + at, n - at < piece ? n - at : piece);
        while (code == 0 && (code = resp_next(&in, &r)) == 1) {
            write_down(r, out);
            resp_forget(&in);
            code = 0;
        }
    }
    resp_fini(&in);
    return code;
}

static void replies(const char *p, size_t n, size_t piece)
{
    struct buf whole = BUF_INIT, pieces = BUF_INIT;
    int a = read_all(p, n, n ? n : 1, &whole), b = read_all(p, n, piece, &pieces);
    must(a == b && slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    buf_free(&whole);
    buf_free(&pieces);
}

static void packed(const char *p, size_t n, uint8_t steps)
{
    struct reply r = {.type = REPLY_STRING, .text = slice_of(p, n)};
    struct reply_in in = reply_in(&r);
    for (uint8_t i = 0; i < steps; i++) {
        size_t left = reply_left(&in);
        struct slice s = SLICE_NONE;
        switch ((steps + i) % 8) {
        case 0:
            s = reply_slice8(&in);
            break;
        case 1:
            s = reply_slice16(&in);
            break;
        case 2:
            s = reply_slice32(&in);
            break;
        case 3:
            (void)reply_u48(&in);
            break;
        case 4:
            (void)reply_u64(&in);
            break;
        case 5:
            (void)reply_u32(&in);
            break;
        case 6:
            (void)reply_u16(&in);
            break;
        default:
            (void)reply_u8(&in);
            break;
        }
        must(reply_left(&in) < left || !reply_ok(&in));
        must(!s.n || (s.p >= p && s.p + s.n <= p + n));
    }
    struct slice rest = reply_rest(&in);
    must(rest.n == (reply_ok(&in) ? (size_t)(p + n - rest.p) : 0));
}

static void view(const char *p, size_t n)
{
    struct redis *r = calloc(1, sizeof *r);
    struct address from = {"127.0.0.1", 6379};
    unsigned parts = 0;
    if (!r)
        abort();
    slots_start(r, NULL, 0);
    for (int round = 0; round < 2; round++) {
        slots_view(r, slice_of(p, n), &from);
        parts = r->slots.nobody.parts;
        for (const struct master *m = r->slots.masters; m; m = m->next)
            parts += m->parts;
        must(parts == PARTITIONS);
        must(slots_whole(r) == (r->slots.nobody.parts == 0));
    }
    slots_stop(r);
    free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    char *copy = malloc(size - 2 + 1); /* so that a byte too far is seen */
    if (!copy)
        return 0;
    memcpy(copy, data + 2, size - 2);
    if (data[0] % 3 == 0)
        replies(copy, size - 2, data[1] ? data[1] : 1);
    else if (data[0] % 3 == 1)
        packed(copy, size - 2, data[1]);
    else
        view(copy, size - 2);
    free(copy);
    return 0;
}
