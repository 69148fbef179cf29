/* The default policies, with their numbers from the config. A script named `ratelimit` stands in for the rate
 * limits. */
#include "core/hub/act/policy.h"

#include "core/hub/registry/action.h"
#include "core/hub/registry/hook.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/bucket.h"
#include "core/hub/shard/shard.h"

static enum hook_verdict reject_rate(struct hook_call *h, uint32_t wait_ms, const char *message)
{
    h->code = CODE_RATE_LIMITED;
    h->retry_after_ms = wait_ms;
    h->message = message;
    return HOOK_REJECT;
}

static enum hook_verdict limit_user(struct hook_call *h, void *ctx)
{
    (void)ctx;
    if (!h->bucket)
        return HOOK_PASS;
    uint32_t wait = bucket_take(h->bucket, h->shard->opt->rate_user, (uint32_t)h->shard->now_ms);
    h->charged = !wait;
    return wait ? reject_rate(h, wait, "you send too many messages") : HOOK_PASS;
}

static enum hook_verdict limit_conversation(struct hook_call *h, void *ctx)
{
    (void)ctx;
    if (!h->bucket)
        return HOOK_PASS;
    uint32_t wait = bucket_take(h->bucket, h->shard->opt->rate_channel, (uint32_t)h->shard->now_ms);
    h->charged = !wait;
    if (!wait)
        return HOOK_PASS;
    if (h->channel.n && h->shard->opt->rate_policy == RATE_COMPLETE) {
        if (!h->advice.has_push)
            h->advice = (struct hook_advice){.has_push = true, .over_limit = true};
        return HOOK_PASS;
    }
    return reject_rate(h, wait, "too many messages in this conversation");
}

static enum hook_verdict may_create(struct hook_call *h, void *ctx)
{
    (void)ctx;
    if (h->shard->opt->create == CREATE_ANY)
        return HOOK_PASS;
    h->code = CODE_FORBIDDEN;
    h->message = "channels cannot be made here";
    return HOOK_REJECT;
}

/* Who the rate hooks belong to, so that they can be taken out. */
static const char rate_owner;

int policy_rate(struct hub *hub, bool on)
{
    static const struct hook hooks[] = {{.event = HOOK_MESSAGE, .fn = limit_user, .owner = &rate_owner},
                                        {.event = HOOK_CONVERSATION, .fn = limit_conversation, .owner = &rate_owner}};
    tables_remove(hub, &rate_owner);
    int rc = 0;
    for (size_t i = 0; on && rc == 0 && i < sizeof hooks / sizeof hooks[0]; i++)
        rc = hook_register(hub, &hooks[i]);
    return rc;
}

int policy_register(struct hub *hub)
{
    /* Last of all: a script that accepts a channel comes before. */
    static const struct hook create = {.event = HOOK_CREATE, .priority = -1000, .fn = may_create};
    int rc = policy_rate(hub, true);
    return rc ? rc : hook_register(hub, &create);
}
