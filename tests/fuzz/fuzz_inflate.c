/*
 * inflate_message() and inflate_gzip(): a byte that says which, and how much may come out; then what a client sent.
 * Nothing comes out beyond the limit, and no room is made for more. What was read before makes no difference. A larger
 * limit gives the same or more, never something else. What came out is compressed by our own deflater and read again,
 * in each of its windows. And as the fragments of a WebSocket message it is the same.
 */
#include "core/net/deflate.h"
#include "core/net/inflate.h"
#include "core/net/websocket.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT_MAX = 64 * 1024 };

static void check(bool ok)
{
    if (!ok)
        abort();
}

static int inflated(struct inflater *f, bool gzip, struct slice in, size_t limit, struct slice *out)
{
    *out = SLICE_NONE;
    int rc = gzip ? inflate_gzip(f, in, limit, out) : inflate_message(f, in, limit, out);
    check(rc == 0 || rc == ERR_TOOLARGE || rc == ERR_INVALID);
    check(out->n <= limit && (rc == 0 || out->p == NULL));
    return rc;
}

static void check_again(struct inflater *f, struct slice plain)
{
    struct deflater d = {.level = 6};
    struct slice out, packed = deflate_gzip(&d, plain);
    char *copy = malloc(plain.n + 1);
    check(copy != NULL);
    if (plain.n)
        memcpy(copy, plain.p, plain.n);
    plain.p = copy;
    check(!packed.p || packed.n < plain.n);
    if (packed.p)
        check(inflate_gzip(f, packed, plain.n, &out) == 0 && slice_eq(out, plain));
    for (int w = 0; w < DEFLATE_WINDOWS; w++) {
        packed = deflate_message(&d, (enum deflate_window)w, &plain, 1);
        check(!packed.p || packed.n < plain.n);
        if (packed.p)
            check(inflate_message(f, packed, plain.n, &out) == 0 && slice_eq(out, plain));
    }
    deflater_free(&d);
    free(copy);
}

/* As fragments of `piece` bytes, masked with nothing: the message is what it was. */
static void check_fragments(const uint8_t *data, size_t size, size_t piece)
{
    uint8_t *bytes = malloc(size * 9 + 64);
    size_t n = 0;
    check(bytes != NULL);
    for (size_t at = 0; at == 0 || at < size; at += piece) {
        size_t take = size - at < piece ? size - at : piece;
        bytes[n++] = (uint8_t)((at + take == size ? WS_FIN : 0) | (at ? WS_CONTINUATION : WS_BINARY | WS_RSV1));
        bytes[n++] = (uint8_t)(0x80 | take);
        memset(bytes + n, 0, 4);
        n += 4;
        if (take)
            memcpy(bytes + n, data + at, take);
        n += take;
    }
    struct ws_parser ws = {.opcode = 0};
    struct ws_input in = {.p = bytes, .end = n};
    struct ws_result r = ws_parse(&ws, &in, LIMIT_MAX, WS_RSV1);
    if (size > ws_packed_max(LIMIT_MAX))
        check(r.event == WS_EV_ERROR && r.code == WS_CODE_TOO_LARGE);
    else
        check(r.event == WS_EV_MESSAGE && r.rsv == WS_RSV1 && slice_eq(r.data, slice_of(data, size)));
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct inflater used; /* whatever it has read before */
    struct inflater fresh = {.z = NULL};
    struct slice out, other;
    if (size < 1)
        return 0;
    bool gzip = data[0] & 1;
    size_t limit = (size_t)(data[0] >> 1) * 64;
    struct slice in = slice_of(data + 1, size - 1);
    int rc = inflated(&fresh, gzip, in, limit, &out);
    check(fresh.cap <= limit + 1);
    check(inflated(&used, gzip, in, limit, &other) == rc && slice_eq(out, other));
    if (rc != ERR_INVALID) {
        int more = inflated(&used, gzip, in, LIMIT_MAX, &other);
        check(rc == ERR_TOOLARGE || (more == 0 && slice_eq(out, other)));
        if (more == 0)
            check_again(&fresh, other);
    }
    if (!gzip)
        check_fragments(data + 1, size - 1, 1 + data[0] % 100);
    inflater_free(&fresh);
    inflater_trim(&used);
    return 0;
}
