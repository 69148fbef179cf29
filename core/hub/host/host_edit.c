#include "core/hub/host/host_edit.h"

#include "core/base/utf8.h"
#include "core/hub/host/host_op.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/hook_wait.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/change.h"
#include "core/hub/talk/send.h"

#include <stdlib.h>

/* What is known of the sender, while hooks decide. */
struct editor {
    struct store_user_load load;
    struct host_edit *q;
};

static struct conv_key edit_key(const struct host_edit *q)
{
    return q->channel.n ? conv_key_channel(q->channel) : conv_key_pair(q->sender, q->peer);
}

static void edited(struct req *r)
{
    struct change *c = (struct change *)r;
    struct host_edit *q = c->host;
    q->op.code = r->code;
    q->op.retry_after_ms = r->retry_after_ms;
    memcpy(q->op.message, r->message, sizeof r->message);
    q->edited_ms = r->code == CODE_OK ? c->op.edit.edited_ms : 0;
    host_end(&q->op);
}

static bool is_member(const struct editor *e)
{
    bool member = !e->q->channel.n;
    for (uint32_t i = 0; !member && i < e->load.subscription_count; i++)
        member = slice_eq(e->load.subscriptions[i].channel, e->q->channel);
    return member;
}

/* The hooks have decided: on its way, or to its end. Frees the editor. */
static void edit_go(struct shard *s, struct editor *e, const struct hook_call *h, enum hook_verdict verdict)
{
    struct host_edit *q = e->q;
    bool goes = verdict != HOOK_DROP && verdict != HOOK_REJECT;
    struct change *c = goes ? calloc(1, change_size(h->user, h->user_name, h->content)) : NULL;
    if (c) {
        struct conv_key key = edit_key(q);
        c->o.r.home = s;
        c->o.r.conn = c->o.r.user = NONE;
        c->o.r.after = edited;
        c->host = q;
        c->member = is_member(e);
        change_fill(c, &key, h);
        s->reqs++;
        owned_post(s, &c->o);
    } else {
        if (goes)
            host_fail(&q->op, CODE_INTERNAL, "out of memory");
        else if (verdict == HOOK_REJECT)
            host_fail(&q->op, h->code, h->message);
        q->op.retry_after_ms = verdict == HOOK_REJECT ? h->retry_after_ms : 0;
        host_end(&q->op);
    }
    store_user_load_free(&e->load);
    free(e);
}

static void edit_refresh(struct hook_call *h, void *ctx)
{
    const struct editor *e = ctx;
    uint32_t user = user_find(h->shard, e->q->sender);
    h->bucket = user != NONE ? &user_at(h->shard, user)->rate : NULL;
}

/* The hook `message` has let it pass: now `edit`. */
static void edit_asked(struct shard *s, struct editor *e, struct hook_call *h, enum hook_verdict verdict)
{
    h->may_wait = false;
    if (verdict != HOOK_DROP && verdict != HOOK_REJECT)
        verdict = hooks_run(HOOK_EDIT, h);
    edit_go(s, e, h, verdict);
}

static void edit_resume(struct hook_call *h, enum hook_verdict verdict, void *ctx)
{
    struct shard *s = h->shard;
    edit_asked(s, ctx, h, verdict);
    s->reqs--;
}

static void editor_known(void *owner, struct store_op *op)
{
    static const struct hook_waiter waiter = {.refresh = edit_refresh, .resume = edit_resume};
    struct shard *s = owner;
    struct editor *e = OP_END(owner, op, struct editor, load.op);
    struct host_edit *q = e->q;
    if (op->status != STORE_OK) {
        host_fail_store(&q->op, op->status, "no such sender");
        host_end(&q->op);
        store_user_load_free(&e->load);
        free(e);
        return;
    }
    struct conv_key key = edit_key(q);
    struct hook_call h = {.shard = s,
                          .conn = NONE,
                          .may_wait = true,
                          .user = q->sender,
                          .user_name = e->load.name,
                          .content = q->content,
                          .seq = q->seq,
                          .edit = true};
    edit_refresh(&h, e);
    send_hook_about(&h, &key);
    enum hook_verdict verdict = hooks_run(HOOK_MESSAGE, &h);
    if (verdict == HOOK_LATER) {
        s->reqs++;
        hook_wait_for(h.wait, &waiter, e);
        return;
    }
    edit_asked(s, e, &h, verdict);
}

/* What cannot be; NULL: nothing. */
static const char *edit_wrong(const struct host_edit *q)
{
    if (!value_user_id(q->sender))
        return "sender: expected a user's id";
    if ((q->channel.n != 0) + (q->peer.n != 0) != 1)
        return "peer, channel: expected exactly one of them";
    if (q->channel.n ? !value_channel(q->channel) : !value_user_id(q->peer))
        return q->channel.n ? "channel: expected a channel's name" : "peer: expected a user's id";
    if (q->seq == 0)
        return "seq: expected a message's number";
    return q->content.n && utf8_valid(q->content) ? NULL : "content: expected at least 1 byte of UTF-8";
}

static void edit_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct host_edit *q = (struct host_edit *)m;
    uint32_t max = s->opt->content_max;
    const char *wrong = edit_wrong(q);
    struct editor *e = NULL;
    if (wrong)
        host_fail(&q->op, CODE_BAD_REQUEST, wrong);
    else if (max && q->content.n > max)
        host_fail(&q->op, CODE_TOO_LARGE, "content: over limits.content");
    else if (!host_stopping(s, &q->op) && !(e = calloc(1, sizeof *e)))
        host_fail(&q->op, CODE_INTERNAL, "out of memory");
    if (!e) {
        host_end(&q->op);
        return;
    }
    e->q = q;
    e->load = (struct store_user_load){.id = q->sender};
    op_begin(s, &e->load.op, editor_known);
    store_user_load(s->store, &e->load);
}

void host_edit(struct hub *hub, struct host_edit *q)
{
    q->edited_ms = 0;
    host_begin(shard_of(hub, q->sender), &q->op, edit_run);
}
