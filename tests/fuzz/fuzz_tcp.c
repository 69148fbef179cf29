/* tcp_parse(): takes frames that lie within the input and put together again make just these bytes; a part of a frame
 * is incomplete, and a bad length is told by its four bytes. */
#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/net/tcp.h"

#include <stdlib.h>

enum { LIMIT = 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_frame(const uint8_t *p, ssize_t n, const struct tcp_frame *f)
{
    struct buf b = BUF_INIT;
    struct tcp_frame again;
    buf_u32(&b, (uint32_t)f->body.n + TCP_HEADER);
    buf_u16(&b, f->action);
    buf_u16(&b, f->seq);
    buf_slice_put(&b, f->body);
    check((ssize_t)b.n == n && memcmp(b.p, p, b.n) == 0);
    for (size_t part = 0; part < b.n; part += part / 3 + 1)
        check(tcp_parse(p, part, LIMIT, &again) == 0);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        struct tcp_frame f;
        ssize_t n = tcp_parse(data + at, size - at, LIMIT, &f);
        uint32_t length = size - at >= 4 ? load_be32(data + at) : 0;
        if (n == 0) {
            check(size - at < 4 || (length >= TCP_HEADER && length <= LIMIT && length > size - at));
            break;
        }
        if (n < 0) {
            check(n == ERR_INVALID ? length < TCP_HEADER : n == ERR_TOOLARGE && length > LIMIT);
            check(tcp_parse(data + at, 4, LIMIT, &f) == n);
            break;
        }
        check((size_t)n <= size - at && (uint32_t)n == length);
        check_frame(data + at, n, &f);
        at += (size_t)n;
    }
    return 0;
}
