#include "core/hub/registry/code.h"

#include "core/base/buf.h"
#include "core/base/utf8.h"
#include "core/hub/shard/figures.h"
#include "core/hub/shard/metric.h"
#include "core/hub/shard/shard.h"

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

enum { STORE_AWAY_MS = 1000 };

uint32_t code_wait(const struct shard *s, enum code code, uint32_t retry_after_ms)
{
    return code == CODE_UNAVAILABLE && !retry_after_ms && s->bus ? STORE_AWAY_MS : retry_after_ms;
}

struct slice code_slice(const struct buf *b)
{
    return buf_ok(b) ? buf_slice(b) : SLICE_LIT("{\"error\":{\"code\":\"internal\",\"message\":\"out of memory\"}}");
}

/* --- Counted ------------------------------------------------------------------------------------------------------ */

_Static_assert((int)CODE_COUNT <= (int)CODES_MAX, "each has its counter");

void code_count(struct shard *s, enum code code)
{
    if ((unsigned)code < CODE_COUNT)
        figure_add(&s->figures.refusals[code], 1);
}

static void refusals(struct hub *hub, void *ctx, const struct metric_told *told)
{
    struct figures_sum sum;
    (void)ctx;
    figures_get(hub, &sum, 0);
    /* Where framing is lost the net answers by itself. */
    sum.refusals[CODE_BAD_REQUEST] += sum.net.unframed;
    sum.refusals[CODE_TOO_LARGE] += sum.net.oversized;
    for (unsigned i = CODE_OK + 1; i < CODE_COUNT; i++)
        metric_tell(told, "code", code_name((enum code)i), (double)sum.refusals[i]);
}

static void rate_limited(struct hub *hub, void *ctx, const struct metric_told *told)
{
    struct figures_sum sum;
    (void)ctx;
    figures_get(hub, &sum, 0);
    metric_tell(told, "effect", "refused", (double)sum.refusals[CODE_RATE_LIMITED]);
    metric_tell(told, "effect", "sliced", (double)sum.sliced);
}

int codes_register(struct hub *hub)
{
    static const struct metric list[] = {
        {.name = "magpie_refusals_total",
         .help = "Errors that clients were answered with, by their code.",
         .kind = METRIC_COUNTER,
         .each = refusals},
        {.name = "magpie_rate_limited_total",
         .help = "What rate limits have done: requests refused, channel messages stored and sent by slices.",
         .kind = METRIC_COUNTER,
         .each = rate_limited},
    };
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < sizeof list / sizeof list[0]; i++)
        rc = metric_register(hub, &list[i]);
    return rc < 0 ? rc : 0;
}
