#include "core/net/tcp.h"

#include "core/base/buf.h"
#include "core/base/err.h"

ssize_t tcp_parse(const uint8_t *p, size_t n, uint32_t limit, struct tcp_frame *f)
{
    if (n < 4)
        return 0;
    uint32_t length = load_be32(p);
    if (length < TCP_HEADER)
        return ERR_INVALID;
    if (length > limit)
        return ERR_TOOLARGE;
    if (n < length)
        return 0;
    f->action = load_be16(p + 4);
    f->seq = load_be16(p + 6);
    f->body = slice_of(p + TCP_HEADER, length - TCP_HEADER);
    return (ssize_t)length;
}
