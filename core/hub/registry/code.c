#include "core/hub/registry/code.h"

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
