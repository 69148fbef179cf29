/* Actions 3 subscribe to channel, 6 unsubscribe from channel. */
#include "core/hub/registry/action.h"
#include "core/hub/act/acts.h"
#include "core/hub/act/subscriber.h"
#include "core/hub/people/ban.h"
#include "core/hub/people/field.h"
#include "core/hub/registry/hook.h"
#include "core/hub/people/chan.h"
#include "core/hub/talk/conv.h"
#include "core/hub/host/host_op.h"
#include "core/hub/act/login.h"
#include "core/hub/people/user.h"
#include "core/hub/talk/interest.h"

#include "core/base/json.h"
#include "core/base/utf8.h"

#include <stdlib.h>

static const char *const push_names[] = {
    [PUSH_DEFAULT] = "", [PUSH_ALL] = "all", [PUSH_MERGED] = "merged", [PUSH_NONE] = "none"};

/* --- Subscribe --- */

struct subscribe {
    struct owned_req o;
    struct store_member_put op;
    uint32_t chan;            /* on home, pending */
    struct host_member *host; /* that it is for, past the hooks; NULL: a client's */
    uint8_t noted;            /* the interest the owner noted for home */
    /* in the user's sub_count, so that requests under way on its other connections do not pass the limit together */
    bool counted;
    uint8_t id_len, name_len; /* of the user; no name where somebody else asks */
    char id[64], name[64];
};

static void subscribe_finish(struct req *r)
{
    struct subscribe *q = (struct subscribe *)r;
    struct shard *s = r->home;
    if (q->counted)
        user_at(s, r->user)->sub_count--;
    /* Somebody else may subscribe a user that has no connection now: then its next login finds the membership. */
    uint32_t user = r->user != NONE ? r->user : user_find(s, slice_of(q->id, q->id_len));
    if (r->code == CODE_OK && user != NONE) {
        uint32_t sub = sub_find(s, user, q->chan);
        struct chan *ch = chan_at(s, q->chan);
        if (q->op.seq > ch->last_seq)
            ch->last_seq = q->op.seq;
        ch->awaited = 0; /* this answer is as good as a receipt, and what follows it is for the new member */
        if (sub != NONE)
            sub_set_push(s, sub, q->op.mode, q->op.seq);
        else if (sub_add(s, user, q->chan, q->op.mode, q->op.seq, true) == NONE)
            req_fail(r, CODE_INTERNAL, "out of memory; subscribe again");
    }
    interest_release(s, q->chan, q->noted);
}

static void subscribe_stored(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct subscribe *q = (struct subscribe *)((char *)op - offsetof(struct subscribe, op.op));
    struct owned_req *o = &q->o;
    s->ops--;
    if (op->status == STORE_LIMIT)
        req_fail(&o->r, CODE_QUOTA, "there are as many channels as limits.channels allows");
    else if (op->status != STORE_OK)
        req_fail_store(&o->r, op->status, "no such channel");
    if (op->status != STORE_OK) {
        owned_done(o);
        return;
    }
    conv_at(s, o->conv)->exists = true;
    conv_set_members(s, o->conv, q->op.members);
    q->noted = (uint8_t)(1u << q->op.mode);
    interest_add(s, o->conv, o->r.home->index, q->noted);
    const struct conv *v = conv_at(s, o->conv);
    struct buf *b = &o->r.body;
    enum store_push push = q->op.mode == PUSH_DEFAULT ? conv_default_push(v) : q->op.mode;
    buf_lit(b, "{\"name\":");
    buf_json_string(b, conv_channel_name(conv_slice(v)));
    buf_lit(b, ",\"seq\":");
    buf_dec(b, q->op.seq);
    buf_lit(b, ",\"first\":");
    buf_dec(b, q->op.first);
    buf_lit(b, ",\"members\":");
    buf_dec(b, q->op.members);
    buf_str(b, v->tier == TIER_LARGE ? ",\"tier\":\"large\",\"push\":\"" : ",\"tier\":\"small\",\"push\":\"");
    buf_str(b, push_names[push]);
    buf_lit(b, "\"}");
    owned_done(o);
}

static void subscribe_ready(struct owned_req *o)
{
    struct subscribe *q = (struct subscribe *)o;
    struct shard *s = o->owner;
    struct conv *v = conv_at(s, o->conv);
    struct hook_call h = {.shard = s,
                          .user = slice_of(q->id, q->id_len),
                          .user_name = slice_of(q->name, q->name_len),
                          .channel = conv_channel_name(conv_slice(v)),
                          .members = v->members};
    if (ban_member(s, h.user, h.channel)) {
        req_fail(&o->r, CODE_FORBIDDEN, "you are banned from this channel");
        owned_done(o);
        return;
    }
    struct channel_rule rule;
    if (channel_rule_find(s, h.channel, &rule) && rule.closed) {
        req_fail(&o->r, CODE_FORBIDDEN, "this channel is closed");
        owned_done(o);
        return;
    }
    enum hook_verdict verdict = v->exists ? HOOK_PASS : hooks_run(HOOK_CREATE, &h);
    if (verdict != HOOK_REJECT)
        verdict = hooks_run(HOOK_SUBSCRIBE, &h);
    if (q->host && !v->exists && !q->host->may_create) {
        req_fail(&o->r, CODE_NOT_FOUND, "no such channel");
        owned_done(o);
        return;
    }
    if (verdict == HOOK_REJECT && !q->host) {
        req_fail(&o->r, h.code, h.message);
        o->r.retry_after_ms = h.retry_after_ms;
        owned_done(o);
        return;
    }
    if (!interest_reserve(s, o->conv)) {
        req_fail(&o->r, CODE_INTERNAL, "out of memory");
        owned_done(o);
        return;
    }
    q->op.conv = conv_slice(v);
    q->op.user = slice_of(q->id, q->id_len);
    q->op.may_create = !v->exists;
    q->op.channels_max = s->opt->channels_max;
    owned_op(o, &q->op.op, subscribe_stored);
    store_member_put(s->store, &q->op);
}

static bool get_push(struct call *c, bool *set, enum store_push *push)
{
    struct slice text;
    int rc = json_get_string(c->body, "push", &text);
    *set = rc == 1;
    for (unsigned i = PUSH_ALL; rc == 1 && i <= PUSH_NONE; i++) {
        if (slice_eq(text, slice_str(push_names[i]))) {
            *push = (enum store_push)i;
            return true;
        }
    }
    if (rc != 0)
        call_fail(c, CODE_BAD_REQUEST, "push: expected \"all\", \"merged\" or \"none\"");
    return rc == 0;
}

static void handle_subscribe(struct call *c)
{
    struct shard *s = c->shard;
    struct slice name;
    bool set_push;
    enum store_push push = PUSH_DEFAULT;
    if (!call_get_channel(c, "name", &name) || !get_push(c, &set_push, &push))
        return;
    struct conv_key key = conv_key_channel(name);
    c->order = hash_bytes(conv_key_slice(&key));
    struct user *u = user_at(s, c->user);
    uint32_t max = s->opt->subscriptions_max;
    bool more = !call_subscribed(c, name);
    if (more && ((max && u->sub_count >= max) || u->sub_count == UINT16_MAX)) {
        call_fail(c, CODE_QUOTA, "you are subscribed to %u channels, as many as allowed", u->sub_count);
        return;
    }
    uint32_t chan = chan_get(s, name);
    if (chan == NONE) {
        call_fail(c, CODE_INTERNAL, "out of memory");
        return;
    }
    interest_hold(s, chan);
    struct subscribe *q = req_begin(c, sizeof *q);
    if (!q) {
        interest_release(s, chan, 0);
        return;
    }
    u->sub_count += more;
    q->counted = more;
    q->chan = chan;
    q->id_len = u->id_len;
    q->name_len = u->name_len;
    memcpy(q->id, user_id(u).p, u->id_len);
    memcpy(q->name, user_name(u).p, u->name_len);
    q->op.set_push = set_push;
    q->op.push = push;
    q->o.key = key;
    q->o.ready = subscribe_ready;
    q->o.r.finish = subscribe_finish;
    owned_post(s, &q->o);
}

/* --- Unsubscribe --- */

struct unsubscribe {
    struct owned_req o;
    struct store_member_del op;
    struct host_member *host; /* that it is for; NULL: a client's */
    uint8_t id_len, name_len; /* of the user; no name where somebody else asks */
    char id[64], name[64];
};

static void unsubscribe_finish(struct req *r)
{
    struct unsubscribe *q = (struct unsubscribe *)r;
    uint32_t chan = r->code == CODE_OK ? chan_find(r->home, conv_channel_name(conv_key_slice(&q->o.key))) : NONE;
    uint32_t user = r->user != NONE ? r->user : user_find(r->home, slice_of(q->id, q->id_len));
    uint32_t sub = chan != NONE && user != NONE ? sub_find(r->home, user, chan) : NONE;
    if (sub != NONE)
        sub_remove(r->home, sub);
    else if (r->code == CODE_OK && user != NONE && user_at(r->home, user)->state != USER_READY)
        login_stale(r->home, user);
}

static void unsubscribe_stored(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct unsubscribe *q = (struct unsubscribe *)((char *)op - offsetof(struct unsubscribe, op.op));
    s->ops--;
    if (op->status == STORE_OK)
        conv_set_members(s, q->o.conv, q->op.members);
    else
        req_fail_store(&q->o.r, op->status, "name: no such channel");
    owned_done(&q->o);
}

static void unsubscribe_ready(struct owned_req *o)
{
    struct unsubscribe *q = (struct unsubscribe *)o;
    struct shard *s = o->owner;
    struct conv *v = conv_at(s, o->conv);
    if (!v->exists) {
        req_fail(&o->r, CODE_NOT_FOUND, "name: no such channel");
        owned_done(o);
        return;
    }
    struct hook_call h = {.shard = s,
                          .user = slice_of(q->id, q->id_len),
                          .user_name = slice_of(q->name, q->name_len),
                          .channel = conv_channel_name(conv_slice(v)),
                          .members = v->members};
    hooks_run(HOOK_UNSUBSCRIBE, &h);
    q->op.conv = conv_slice(v);
    q->op.user = slice_of(q->id, q->id_len);
    owned_op(o, &q->op.op, unsubscribe_stored);
    store_member_del(s->store, &q->op);
}

static void handle_unsubscribe(struct call *c)
{
    struct slice name;
    if (!call_get_channel(c, "name", &name))
        return;
    struct conv_key key = conv_key_channel(name);
    c->order = hash_bytes(conv_key_slice(&key));
    struct unsubscribe *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    struct slice id = call_user_id(c);
    q->id_len = (uint8_t)id.n;
    memcpy(q->id, id.p, id.n);
    struct slice name_of = call_user_name(c);
    q->name_len = (uint8_t)name_of.n;
    memcpy(q->name, name_of.p, name_of.n);
    q->o.key = key;
    q->o.ready = unsubscribe_ready;
    q->o.r.finish = unsubscribe_finish;
    owned_post(c->shard, &q->o);
}

/* --- For the layers above ----------------------------------------------------------------------------------------- */

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

static bool host_leave(struct shard *s, struct host_member *p)
{
    struct unsubscribe *q = calloc(1, sizeof *q);
    if (!q)
        return false;
    q->host = p;
    q->id_len = (uint8_t)p->user.n;
    memcpy(q->id, p->user.p, p->user.n);
    q->o.ready = unsubscribe_ready;
    host_req(s, &q->o, p, unsubscribe_finish, host_left);
    owned_post(s, &q->o);
    return true;
}

static bool host_join(struct shard *s, struct host_member *p)
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
    q->chan = chan;
    q->id_len = (uint8_t)p->user.n;
    memcpy(q->id, p->user.p, p->user.n);
    q->op.set_push = p->set_push;
    q->op.push = p->push;
    q->o.ready = subscribe_ready;
    host_req(s, &q->o, p, subscribe_finish, host_joined);
    owned_post(s, &q->o);
    return true;
}

/* Asking whether there is such a user. */
struct joiner {
    struct store_user_load load;
    struct host_member *p;
};

static void host_joiner_known(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct joiner *f = (struct joiner *)op;
    struct host_member *p = f->p;
    s->ops--;
    enum store_status status = op->status;
    store_user_load_free(&f->load);
    free(f);
    if (status != STORE_OK)
        host_fail_store(&p->op, status, "no such user");
    else if (host_join(s, p))
        return;
    else
        host_fail(&p->op, CODE_INTERNAL, "out of memory");
    host_end(&p->op);
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
    struct joiner *f = p->leave ? NULL : calloc(1, sizeof *f);
    if (f) {
        f->p = p;
        f->load = (struct store_user_load){.id = p->user, .op = {.home = &s->mailbox, .done = host_joiner_known}};
        s->ops++;
        store_user_load(s->store, &f->load);
        return;
    }
    if (p->leave && host_leave(s, p))
        return;
    host_fail(&p->op, CODE_INTERNAL, "out of memory");
    host_end(&p->op);
}

void host_member(struct hub *hub, struct host_member *p)
{
    host_begin(shard_of(hub, p->user), &p->op, host_member_run);
}

int act_channel_register(struct hub *hub)
{
    static const struct action actions[] = {
        {.number = 3, .name = "subscribe", .class = CLASS_ALONE, .handle = handle_subscribe},
        {.number = 6, .name = "unsubscribe", .class = CLASS_ALONE, .handle = handle_unsubscribe},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
