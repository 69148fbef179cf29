#include "core/hub/host/host_member.h"

#include "core/base/utf8.h"
#include "core/hub/host/host_op.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/op.h"
#include "core/hub/shard/shard.h"
#include "core/hub/talk/interest.h"
#include "core/hub/talk/membership.h"

#include <stdlib.h>

static void host_member_end(struct host_member *p, const struct req *r, uint32_t members, bool existed)
{
    p->op.code = r->code;
    p->op.retry_after_ms = r->retry_after_ms;
    memcpy(p->op.message, r->message, sizeof r->message);
    p->members = members;
    p->existed = existed;
    host_end(&p->op);
}

static void host_joined(struct req *r)
{
    struct subscribe *q = (struct subscribe *)r;
    host_member_end(q->host, r, q->op.members, q->op.existed);
}

static void host_left(struct req *r)
{
    struct unsubscribe *q = (struct unsubscribe *)r;
    struct host_member *p = q->host;
    p->op.silent = q->silent;
    host_member_end(q->host, r, q->op.members, q->op.existed);
}

static void host_req(struct shard *s, struct owned_req *o, struct host_member *p, void (*finish)(struct req *),
                     void (*after)(struct req *))
{
    o->r.home = s;
    o->r.conn = o->r.user = NONE;
    o->r.finish = finish;
    o->r.after = after;
    o->key = conv_key_channel(p->channel);
    s->reqs++;
}

static void keep_name(uint8_t *len, char name[64], struct slice text)
{
    *len = (uint8_t)(text.n < 64 ? text.n : 64);
    if (*len)
        memcpy(name, text.p, *len);
}

static bool host_leave(struct shard *s, struct host_member *p, struct slice name)
{
    struct unsubscribe *q = calloc(1, sizeof *q);
    if (!q)
        return false;
    q->host = p;
    q->going = p->going;
    q->change = p->change;
    q->id_len = (uint8_t)p->user.n;
    memcpy(q->id, p->user.p, p->user.n);
    keep_name(&q->name_len, q->name, name);
    q->o.ready = unsubscribe_ready;
    host_req(s, &q->o, p, unsubscribe_finish, host_left);
    owned_post(s, &q->o);
    return true;
}

static bool host_join(struct shard *s, struct host_member *p, struct slice name)
{
    uint32_t chan = chan_get(s, p->channel);
    if (chan == NONE)
        return false;
    interest_hold(s, chan);
    struct subscribe *q = calloc(1, sizeof *q);
    if (!q) {
        interest_release(s, chan, 0);
        return false;
    }
    q->host = p;
    q->past_hooks = true;
    q->may_create = p->may_create;
    q->chan = chan;
    q->id_len = (uint8_t)p->user.n;
    memcpy(q->id, p->user.p, p->user.n);
    keep_name(&q->name_len, q->name, name);
    q->op.set_push = p->set_push;
    q->op.push = p->push;
    q->o.ready = subscribe_ready;
    host_req(s, &q->o, p, subscribe_finish, host_joined);
    owned_post(s, &q->o);
    return true;
}

/* Asking whether there is such a user, and what it is called. */
struct joiner {
    struct store_user_load load;
    struct host_member *p;
};

static void host_user_known(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct joiner *f = OP_END(owner, op, struct joiner, load.op);
    struct host_member *p = f->p;
    enum store_status status = op->status;
    bool begun = false;
    if (p->leave) /* whatever is known of the user, its membership can end */
        begun = host_leave(s, p, status == STORE_OK ? f->load.name : SLICE_NONE);
    else if (status == STORE_OK)
        begun = host_join(s, p, f->load.name);
    else
        host_fail_store(&p->op, status, "no such user");
    store_user_load_free(&f->load);
    free(f);
    if (begun)
        return;
    if (p->op.code == CODE_OK)
        host_fail(&p->op, CODE_INTERNAL, "out of memory");
    host_end(&p->op);
}

/* Whether a membership is ended without asking for the user's name: it is known where the user is, and nobody asks for
 * it where a channel is closed. A login under way must not hold this up, nor miss it. */
static bool host_leave_now(struct shard *s, struct host_member *p)
{
    uint32_t user = user_find(s, p->user);
    if (!p->leave || (user == NONE && p->change != MEMBER_CLOSED))
        return false;
    return host_leave(s, p, user != NONE ? user_name(user_at(s, user)) : SLICE_NONE);
}

static void host_member_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct host_member *p = (struct host_member *)m;
    if (!value_user_id(p->user) || !value_channel(p->channel))
        host_fail(&p->op, CODE_BAD_REQUEST, "expected a user's id and a channel's name");
    if (p->op.code != CODE_OK || host_stopping(s, &p->op)) {
        host_end(&p->op);
        return;
    }
    if (host_leave_now(s, p))
        return;
    struct joiner *f = calloc(1, sizeof *f);
    if (!f) {
        host_fail(&p->op, CODE_INTERNAL, "out of memory");
        host_end(&p->op);
        return;
    }
    f->p = p;
    f->load = (struct store_user_load){.id = p->user};
    op_begin(s, &f->load.op, host_user_known);
    store_user_load(s->store, &f->load);
}

void host_member(struct hub *hub, struct host_member *p)
{
    host_begin(shard_of(hub, p->user), &p->op, host_member_run);
}
