/* The default policies, with their numbers from the config: what scripts will be able to replace. */
#include "core/hub/action.h"

#include "core/hub/bucket.h"

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
    uint32_t wait = bucket_take(h->bucket, h->shard->opt->rate_user, (uint32_t)h->shard->now_ms);
    return wait ? reject_rate(h, wait, "you send too many messages") : HOOK_PASS;
}

static enum hook_verdict limit_conversation(struct hook_call *h, void *ctx)
{
    (void)ctx;
    uint32_t wait = bucket_take(h->bucket, h->shard->opt->rate_channel, (uint32_t)h->shard->now_ms);
    if (!wait)
        return HOOK_PASS;
    if (h->channel.n && h->shard->opt->rate_policy == RATE_COMPLETE) {
        h->over_limit = true;
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

int policy_register(struct hub *hub)
{
    int rc = hook_register(hub, HOOK_MESSAGE, 0, limit_user, NULL);
    if (rc == 0)
        rc = hook_register(hub, HOOK_CONVERSATION, 0, limit_conversation, NULL);
    /* Last of all: a script that accepts a channel comes before. */
    return rc ? rc : hook_register(hub, HOOK_CREATE, -1000, may_create, NULL);
}
