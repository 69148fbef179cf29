#include "core/hub/host/host_recall.h"

#include "core/base/utf8.h"
#include "core/hub/host/host_op.h"
#include "core/hub/talk/change.h"

#include <stdlib.h>

static void recalled(struct req *r)
{
    struct change *c = (struct change *)r;
    struct host_recall *q = c->host;
    q->op.code = r->code;
    memcpy(q->op.message, r->message, sizeof r->message);
    q->again = c->op.recall.again;
    host_end(&q->op);
}

static void recall_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct host_recall *q = (struct host_recall *)m;
    bool good = q->channel.n ? value_channel(q->channel) : value_user_id(q->users[0]) && value_user_id(q->users[1]);
    q->again = false;
    if (!good || q->seq == 0)
        host_fail(&q->op, CODE_BAD_REQUEST, "expected a channel's name or two users' ids, and a message's seq");
    if (q->op.code != CODE_OK || host_stopping(s, &q->op)) {
        host_end(&q->op);
        return;
    }
    struct conv_key key = q->channel.n ? conv_key_channel(q->channel) : conv_key_pair(q->users[0], q->users[1]);
    struct change *c = calloc(1, change_size(SLICE_NONE, SLICE_NONE, SLICE_NONE));
    if (!c) {
        host_fail(&q->op, CODE_INTERNAL, "out of memory");
        host_end(&q->op);
        return;
    }
    const struct hook_call h = {.shard = s, .conn = NONE, .seq = q->seq};
    c->o.r.home = s;
    c->o.r.conn = c->o.r.user = NONE;
    c->o.r.after = recalled;
    c->host = q;
    c->privileged = true;
    change_fill(c, &key, &h);
    s->reqs++;
    owned_post(s, &c->o);
}

void host_recall(struct hub *hub, struct host_recall *q)
{
    /* Any shard would do: the conversation's own saves a way. */
    bool channel = q->channel.n && value_channel(q->channel);
    struct conv_key key = {.n = 0};
    if (channel)
        key = conv_key_channel(q->channel);
    else if (value_user_id(q->users[0]) && value_user_id(q->users[1]))
        key = conv_key_pair(q->users[0], q->users[1]);
    host_begin(shard_of(hub, conv_key_slice(&key)), &q->op, recall_run);
}
