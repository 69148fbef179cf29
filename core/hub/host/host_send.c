#include "core/hub/host/host_send.h"

#include "core/base/utf8.h"
#include "core/hub/host/host_op.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/hook_wait.h"
#include "core/hub/shard/op.h"
#include "core/hub/shard/shard.h"
#include "core/hub/talk/send.h"

#include <stdlib.h>

enum { CLIENT_ID_MAX = 64 };

static void host_sent(struct req *r)
{
    struct send *q = (struct send *)r;
    struct host_send *p = q->host;
    p->op.code = r->code;
    p->op.retry_after_ms = r->retry_after_ms;
    memcpy(p->op.message, r->message, sizeof r->message);
    p->seq = q->op.seq;
    p->id = q->op.id;
    p->created_ms = q->op.created_ms;
    p->duplicate = q->op.duplicate;
    host_end(&p->op);
}

/* Asking who the sender is, and what it is a member of. */
struct sender {
    struct store_user_load load;
    struct host_send *p;
};

static struct conv_key host_key(const struct host_send *p)
{
    if (p->channel.n)
        return conv_key_channel(p->channel);
    return conv_key_pair(p->sender.n ? p->sender : SLICE_LIT("system"), p->receiver);
}

/* The hooks have been run: on its way, or to its end. */
static void host_go(struct shard *s, struct host_send *p, enum hook_verdict verdict, struct hook_call *h, bool member)
{
    bool limited = verdict == HOOK_REJECT && h->code == CODE_RATE_LIMITED && p->client_id.n;
    if (verdict == HOOK_DROP || (verdict == HOOK_REJECT && !limited)) {
        if (verdict == HOOK_REJECT)
            host_fail(&p->op, h->code, h->message);
        p->op.retry_after_ms = h->retry_after_ms;
        host_end(&p->op);
        return;
    }
    struct send *q = calloc(1, send_size(h->user, h->user_name, p->client_id, h->content));
    if (!q) {
        host_fail(&p->op, CODE_INTERNAL, "out of memory");
        host_end(&p->op);
        return;
    }
    struct conv_key key = host_key(p);
    q->o.r.home = s;
    q->o.r.conn = q->o.r.user = NONE;
    q->o.r.after = host_sent;
    q->host = p;
    q->member = member;
    q->privileged = p->sender.n == 0;
    send_fill(q, &key, h, p->client_id);
    if (limited)
        send_refuse(q, h);
    s->reqs++;
    owned_post(s, &q->o);
}

static bool is_member(const struct store_user_load *l, struct slice channel)
{
    for (uint32_t i = 0; i < l->subscription_count; i++)
        if (slice_eq(l->subscriptions[i].channel, channel))
            return true;
    return false;
}

/* The hooks decide later; what is known of the sender is kept for then. */
static void host_refresh(struct hook_call *h, void *ctx)
{
    const struct sender *f = ctx;
    uint32_t user = user_find(h->shard, f->p->sender);
    h->bucket = user != NONE ? &user_at(h->shard, user)->rate : NULL;
}

static void host_resume(struct hook_call *h, enum hook_verdict verdict, void *ctx)
{
    struct sender *f = ctx;
    struct shard *s = h->shard;
    host_go(s, f->p, verdict, h, !f->p->channel.n || is_member(&f->load, f->p->channel));
    s->reqs--;
    store_user_load_free(&f->load);
    free(f);
}

static void host_sender_known(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct sender *f = OP_END(owner, op, struct sender, load.op);
    struct host_send *p = f->p;
    if (op->status != STORE_OK) {
        host_fail_store(&p->op, op->status, "no such sender");
        host_end(&p->op);
    } else {
        uint32_t user = user_find(s, p->sender);
        struct conv_key key = host_key(p);
        static const struct hook_waiter waiter = {.refresh = host_refresh, .resume = host_resume};
        struct hook_call h = {.shard = s,
                              .conn = NONE,
                              .may_wait = true,
                              .user = p->sender,
                              .user_name = f->load.name,
                              .content = p->content,
                              .bucket = user != NONE ? &user_at(s, user)->rate : NULL,
                              .repeat_possible = p->client_id.n > 0};
        send_hook_about(&h, &key);
        enum hook_verdict verdict = hooks_run(HOOK_MESSAGE, &h);
        if (verdict == HOOK_LATER) {
            s->reqs++;
            hook_wait_for(h.wait, &waiter, f);
            return;
        }
        host_go(s, p, verdict, &h, !p->channel.n || is_member(&f->load, p->channel));
    }
    store_user_load_free(&f->load);
    free(f);
}

/* What cannot be a sender, a receiver, a channel or a clientId; NULL: nothing. */
static const char *host_wrong(const struct host_send *p)
{
    if (p->sender.n && !value_user_id(p->sender))
        return "sender: expected a user's id";
    if ((p->channel.n != 0) + (p->receiver.n != 0) != 1)
        return "receiver, channel: expected exactly one of them";
    if (p->channel.n ? !value_channel(p->channel) : !value_user_id(p->receiver))
        return p->channel.n ? "channel: expected a channel's name" : "receiver: expected a user's id";
    return p->client_id.n > CLIENT_ID_MAX ? "clientId: expected 64 bytes at most" : NULL;
}

static void host_send_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct host_send *p = (struct host_send *)m;
    uint32_t max = s->opt->content_max;
    const char *wrong = host_wrong(p);
    if (host_stopping(s, &p->op))
        ;
    else if (wrong)
        host_fail(&p->op, CODE_BAD_REQUEST, wrong);
    else if (p->content.n == 0 || !utf8_valid(p->content))
        host_fail(&p->op, CODE_BAD_REQUEST, "content: expected at least 1 byte of UTF-8");
    else if (max && p->content.n > max)
        host_fail(&p->op, CODE_TOO_LARGE, "content: over limits.content");
    if (p->op.code != CODE_OK) {
        host_end(&p->op);
        return;
    }
    if (!p->sender.n) {
        struct hook_call h = {
            .shard = s, .user = SLICE_LIT("system"), .user_name = SLICE_LIT("system"), .content = p->content};
        host_go(s, p, HOOK_PASS, &h, true);
        return;
    }
    struct sender *f = calloc(1, sizeof *f);
    if (!f) {
        host_fail(&p->op, CODE_INTERNAL, "out of memory");
        host_end(&p->op);
        return;
    }
    f->p = p;
    f->load = (struct store_user_load){.id = p->sender};
    op_begin(s, &f->load.op, host_sender_known);
    store_user_load(s->store, &f->load);
}

void host_send(struct hub *hub, struct host_send *p)
{
    /* The server's own go straight to the conversation's owner, so that they do not all meet on one shard. */
    struct conv_key key = {.n = 0};
    if (!p->sender.n && !host_wrong(p))
        key = host_key(p);
    p->seq = p->id = p->created_ms = 0;
    p->duplicate = false;
    host_begin(shard_of(hub, p->sender.n ? p->sender : conv_key_slice(&key)), &p->op, host_send_run);
}
