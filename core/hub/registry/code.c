#include "core/hub/registry/code.h"

#include "core/base/buf.h"
#include "core/base/utf8.h"

static const char *const names[CODE_COUNT] = {
    [CODE_OK] = "ok",
    [CODE_BAD_REQUEST] = "bad_request",
    [CODE_UNKNOWN_ACTION] = "unknown_action",
    [CODE_UNAUTHORIZED] = "unauthorized",
    [CODE_FORBIDDEN] = "forbidden",
    [CODE_NOT_FOUND] = "not_found",
    [CODE_TOO_LARGE] = "too_large",
    [CODE_QUOTA] = "quota",
    [CODE_RATE_LIMITED] = "rate_limited",
    [CODE_UNAVAILABLE] = "unavailable",
    [CODE_INTERNAL] = "internal",
};

const char *code_name(enum code code)
{
    return (unsigned)code < CODE_COUNT ? names[code] : "internal";
}

void code_encode(struct buf *b, enum code code, const char *message, uint32_t retry_after_ms)
{
    buf_lit(b, "{\"error\":{\"code\":\"");
    buf_str(b, code_name(code));
    buf_lit(b, "\",\"message\":");
    buf_json_string(b, utf8_prefix(slice_str(message))); /* it may have been cut */
    if (code == CODE_RATE_LIMITED || retry_after_ms) {
        buf_lit(b, ",\"retryAfter\":");
        buf_dec(b, retry_after_ms);
    }
    buf_lit(b, "}}");
}

struct slice code_slice(const struct buf *b)
{
    return buf_ok(b) ? buf_slice(b) : SLICE_LIT("{\"error\":{\"code\":\"internal\",\"message\":\"out of memory\"}}");
}
