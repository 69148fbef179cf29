#include "core/hub/act/subscriber.h"

#include "core/hub/people/chan.h"
#include "core/hub/people/user.h"
#include "core/hub/talk/conv.h"

bool call_subscribed(const struct call *c, struct slice channel)
{
    uint32_t chan = chan_find(c->shard, channel);
    return chan != NONE && sub_find(c->shard, c->user, chan) != NONE;
}

static void deny_ready(struct owned_req *q)
{
    if (conv_at(q->owner, q->conv)->exists)
        req_fail(&q->r, CODE_FORBIDDEN, "only subscribers of the channel may");
    else
        req_fail(&q->r, CODE_NOT_FOUND, "no such channel");
    owned_done(q);
}

void call_deny_stranger(struct call *c, const struct conv_key *key)
{
    struct owned_req *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    q->key = *key;
    q->ready = deny_ready;
    owned_post(c->shard, q);
}
