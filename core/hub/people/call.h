/*
 * A call: what the handler of an action is given, and the answers it gives inside itself. For all who register actions;
 * an answer that comes later: later.h.
 */
#ifndef MAGPIE_HUB_CALL_H
#define MAGPIE_HUB_CALL_H

#include "core/base/slice.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/code.h"

#include <stdbool.h>
#include <stdint.h>

struct cJSON;
struct hook_call;
struct shard;

/* On the stack of whoever dispatches it. */
struct call {
    struct shard *shard;
    uint32_t conn; /* index */
    uint32_t user; /* index, NONE before login */
    uint16_t action, seq;
    uint8_t class;    /* enum action_class of the action */
    bool pause;       /* set by a handler that takes over the connection (login): no further frame until it resumes */
    bool again;       /* set by one that looks something up first: the frame is kept, and comes again (req_go_on()) */
    void *action_ctx; /* what the action was registered with */
    const struct cJSON *body; /* an object; borrowed until the handler returns */
    uint64_t order;           /* set by the handler once it knows the conversation; 0: none */
};

void call_reply(struct call *c, struct slice body);
void call_fail(struct call *c, enum code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void call_rate_limited(struct call *c, uint32_t retry_after_ms, const char *message);
/* What a hook said with HOOK_REJECT. */
void call_reject(struct call *c, const struct hook_call *h);

/* The caller's id; logged in only. Borrowed until the handler returns. */
struct slice call_user_id(const struct call *c);
struct slice call_user_name(const struct call *c);
/* What the provider vouches for on the caller's connection: a JSON object; empty: nothing. */
struct slice call_claims(const struct call *c);

#endif
