#include "core/hub/talk/advice.h"

#include "core/base/buf.h"

/* A version; bits; and by them: mode, slice_ms, slice_max; tier; how many tokens of the conversation and the sender, a
 * nibble each, and of each the bucket's name and thousandths of tokens. */
enum {
    VERSION = 1,
    PUSH = 1,
    OVER_LIMIT = 2,
    TIER = 4,
    CONV = 8,
    USER = 16,
    TAKES = 32,
    HEAD = 2,
    PUSH_SIZE = 9,
    TAKE_SIZE = 12
};

unsigned advice_encode(char out[ADVICE_MAX], const struct advice *a)
{
    const struct hook_advice *h = &a->said;
    unsigned n = HEAD;
    out[0] = VERSION;
    out[1] = (char)((h->has_push ? PUSH : 0) | (h->over_limit ? OVER_LIMIT : 0) | (h->has_tier ? TIER : 0) |
                    (a->charged_conv ? CONV : 0) | (a->charged_user ? USER : 0) |
                    (a->conv_takes + a->user_takes ? TAKES : 0));
    if (h->has_push) {
        out[n] = (char)h->mode;
        store_be32(out + n + 1, h->slice_ms);
        store_be32(out + n + 5, h->slice_max);
        n += PUSH_SIZE;
    }
    if (h->has_tier)
        out[n++] = (char)h->tier;
    if (a->conv_takes + a->user_takes)
        out[n++] = (char)(a->conv_takes << 4 | a->user_takes);
    for (unsigned i = 0; i < a->conv_takes + a->user_takes; i++, n += TAKE_SIZE) {
        store_be64(out + n, a->takes[i].bucket);
        store_be32(out + n + 8, (uint32_t)(a->takes[i].n * 1000));
    }
    return n;
}

void advice_put_takes(struct advice *a, const struct hook_take *takes, unsigned n, bool user)
{
    for (unsigned i = 0; i < n && a->conv_takes + a->user_takes < ADVICE_TAKES; i++) {
        /* What does not fit into the form is no charge that anybody makes. */
        if (!(takes[i].n > 0 && takes[i].n < 4e6f))
            continue;
        a->takes[a->conv_takes + a->user_takes] = takes[i];
        *(user ? &a->user_takes : &a->conv_takes) += 1;
    }
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
        at++;
    }
    if (bits & TAKES) {
        unsigned conv = end - at < 1 ? 0 : (uint8_t)at[0] >> 4, user = end - at < 1 ? 0 : (uint8_t)at[0] & 15;
        if (conv + user > ADVICE_TAKES || end - at < 1 + (ptrdiff_t)(conv + user) * TAKE_SIZE)
            return none;
        a.conv_takes = conv;
        a.user_takes = user;
        at++;
        for (unsigned i = 0; i < conv + user; i++, at += TAKE_SIZE)
            a.takes[i] = (struct hook_take){load_be64(at), (float)load_be32(at + 8) / 1000};
    }
    return a;
}
