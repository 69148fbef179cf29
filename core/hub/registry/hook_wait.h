/*
 * Hooks that answer later. A hook calls hook_later() and returns HOOK_LATER: the chain stands still until hook_answer()
 * gives its verdict, and goes on with the hooks behind it. Whoever ran the chain says with hook_wait_for() what happens
 * then, or that it does not wait (hook_wait_drop()).
 */
#ifndef MAGPIE_HUB_HOOK_WAIT_H
#define MAGPIE_HUB_HOOK_WAIT_H

#include "core/base/buf.h"
#include "core/base/mailbox.h"
#include "core/hub/registry/hook.h"

struct hook_wait;

/* What goes on when a chain does. Both on the shard where it stood still. */
struct hook_waiter {
    /* Before the rest of the chain runs: sets what may have moved meanwhile (bucket). NULL: nothing. */
    void (*refresh)(struct hook_call *h, void *ctx);
    /* The chain has ended with this verdict, exactly once; h is borrowed until it returns. */
    void (*resume)(struct hook_call *h, enum hook_verdict verdict, void *ctx);
};

/* What a hook says later. */
struct hook_answer {
    enum hook_verdict verdict; /* but HOOK_LATER */
    enum code code;            /* HOOK_REJECT */
    uint32_t retry_after_ms;
    char message[96];   /* HOOK_REJECT: for people, NUL-terminated UTF-8 */
    struct buf content; /* message, HOOK_PASS: goes on with this, valid UTF-8; empty: as it is; given away */
};

/* Inside a hook, whose call has may_wait: the chain is going to wait. NULL: it cannot, or no memory. */
struct hook_wait *hook_later(struct hook_call *h);
/* Any thread, exactly once: the verdict. Takes answer->content. */
void hook_answer(struct hook_wait *w, const struct hook_answer *answer);

/* For who ran the chain and got HOOK_LATER, before anything else happens on the shard: one of these, with h->wait. */
void hook_wait_for(struct hook_wait *w, const struct hook_waiter *waiter, void *ctx);
void hook_wait_drop(struct hook_wait *w);

/* For hook.c: where the chain stands. */
void hook_wait_place(struct hook_wait *w, const struct hook_place *place);

#endif
