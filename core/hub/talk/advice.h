/*
 * What policies said of a message and took for it, as the few bytes that travel with the news of it to other servers of
 * a cluster (store_append.advice). Pure. Private to core/hub.
 */
#ifndef MAGPIE_HUB_ADVICE_H
#define MAGPIE_HUB_ADVICE_H

#include "core/hub/registry/hook.h"

enum { ADVICE_TAKES = 8, ADVICE_MAX = 13 + 12 * ADVICE_TAKES /* bytes */ };

/* What came along with a message from elsewhere. */
struct advice {
    struct hook_advice said; /* but for `keep`, which was the store's */
    bool charged_conv;       /* a token was taken from the conversation's bucket */
    bool charged_user;       /* likewise from the sender's */
    /* tokens taken from buckets of hooks: of the conversation's first, then of the sender's */
    struct hook_take takes[ADVICE_TAKES];
    unsigned conv_takes, user_takes;
};

/* Adds some; of the conversation before those of the sender. */
void advice_put_takes(struct advice *a, const struct hook_take *takes, unsigned n, bool user);

/* Returns the bytes written. */
unsigned advice_encode(char out[ADVICE_MAX], const struct advice *a);
/* What it cannot read is no advice. */
struct advice advice_decode(struct slice bytes);

#endif
