#include "core/hub/talk/advice.h"

#include "core/base/buf.h"

/* A version; bits; and by them: mode, slice_ms, slice_max; tier. */
enum { VERSION = 1, PUSH = 1, OVER_LIMIT = 2, TIER = 4, CONV = 8, USER = 16, HEAD = 2, PUSH_SIZE = 9 };

unsigned advice_encode(char out[ADVICE_MAX], const struct advice *a)
{
    const struct hook_advice *h = &a->said;
    unsigned n = HEAD;
    out[0] = VERSION;
    out[1] = (char)((h->has_push ? PUSH : 0) | (h->over_limit ? OVER_LIMIT : 0) | (h->has_tier ? TIER : 0) |
                    (a->charged_conv ? CONV : 0) | (a->charged_user ? USER : 0));
    if (h->has_push) {
        out[n] = (char)h->mode;
        store_be32(out + n + 1, h->slice_ms);
        store_be32(out + n + 5, h->slice_max);
        n += PUSH_SIZE;
    }
    if (h->has_tier)
        out[n++] = (char)h->tier;
    return n;
}

struct advice advice_decode(struct slice bytes)
{
    static const struct advice none;
    struct advice a = none;
    const char *at = bytes.p + HEAD, *end = bytes.p + bytes.n;
    if (bytes.n < HEAD || bytes.p[0] != VERSION)
        return none;
    uint8_t bits = (uint8_t)bytes.p[1];
    a.charged_conv = bits & CONV;
    a.charged_user = bits & USER;
    a.said.over_limit = bits & OVER_LIMIT;
    if (bits & PUSH) {
        if (end - at < PUSH_SIZE || (uint8_t)at[0] > MODE_NONE)
            return none;
        a.said.has_push = true;
        a.said.mode = (enum push_mode)at[0];
        a.said.slice_ms = load_be32(at + 1);
        a.said.slice_max = load_be32(at + 5);
        at += PUSH_SIZE;
    }
    if (bits & TIER) {
        if (end - at < 1 || (at[0] != TIER_SMALL && at[0] != TIER_LARGE))
            return none;
        a.said.has_tier = true;
        a.said.tier = (enum store_tier)at[0];
    }
    return a;
}
