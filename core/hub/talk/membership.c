#include "core/hub/talk/membership.h"

#include "core/hub/people/ban.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/hook_wait.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/channel_news.h"
#include "core/hub/talk/follow.h"
#include "core/hub/talk/interest.h"
#include "core/hub/talk/member_news.h"
#include "core/hub/talk/news.h"
#include "core/hub/talk/order.h"

#include <stddef.h>
#include <stdlib.h>

const char *const push_names[MODE_NONE + 1] = {
    [MODE_DEFAULT] = "", [MODE_ALL] = "all", [MODE_MERGED] = "merged", [MODE_NONE] = "none"};

/* For whoever wants to know who is in which channel. `members` are those there are now. */
static void tell_hooks(struct shard *s, uint32_t conv, enum member_change change, struct slice id, struct slice name,
                       uint32_t members)
{
    if (!hooks_any(s, HOOK_MEMBER))
        return;
    struct hook_call h = {.shard = s,
                          .conn = NONE,
                          .user = id,
                          .user_name = name,
                          .channel = conv_channel_name(conv_slice(conv_at(s, conv))),
                          .members = members,
                          .message = member_change_name(change)};
    hooks_run(HOOK_MEMBER, &h);
}

/* --- Subscribing -------------------------------------------------------------------------------------------------- */

static void sub_set(struct shard *s, uint32_t sub, const struct subscribe *q)
{
    sub_set_push(s, sub, q->op.mode, q->op.seq);
    sub_set_events(s, sub, q->op.events);
}

/* What was stored after the user had joined, and was pushed here before that was known. Whoever asked has it from the
 * answer that there is so much; the user's other connections hear it so. */
static void tell_others_behind(struct shard *s, uint32_t user, const struct subscribe *q)
{
    const struct req *r = &q->o.r;
    bool there = r->conn != NONE && conn_find(s->net, r->conn, r->generation);
    user_push_behind(s, user, q->chan, q->op.seq, there ? r->conn : NONE);
}

void subscribe_finish(struct req *r)
{
    struct subscribe *q = (struct subscribe *)r;
    struct shard *s = r->home;
    if (q->counted)
        user_at(s, r->user)->sub_count--;
    if (q->charged && (r->code != CODE_OK || !q->op.created))
        bucket_return(&user_at(s, r->user)->making);
    /* Somebody else may subscribe a user that has no connection now: then its next login finds the membership. */
    uint32_t user = r->user != NONE ? r->user : user_find(s, slice_of(q->id, q->id_len));
    if (user != NONE)
        copy_changed(s, user, q->version);
    if (r->code == CODE_OK && user != NONE) {
        uint32_t sub = sub_find(s, user, q->chan);
        struct chan *ch = chan_at(s, q->chan);
        if (q->op.seq > ch->last_seq)
            ch->last_seq = q->op.seq;
        ch->awaited = 0; /* this answer is as good as a receipt, and what follows it is for the new member */
        if (sub != NONE)
            sub_set(s, sub, q);
        else if (sub_add(s, user, q->chan, q->op.mode, q->op.events, q->op.seq, true) == NONE)
            req_fail(r, CODE_INTERNAL, "out of memory; subscribe again");
        if (!q->op.existed)
            member_news_own(s, user, chan_name(ch), MEMBER_JOINED, q->op.members, r);
        if (!q->op.existed && q->op.seq > q->joined && q->op.mode != MODE_NONE)
            tell_others_behind(s, user, q);
    }
    interest_release(s, q->chan, q->noted);
}

/* A ban that another node has made meanwhile, and whose end of the membership may have come before this one: the
 * membership ends here. */
struct undoing {
    struct store_member_del op;
    struct subscribe *q;
};

static void subscribe_undone(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct undoing *x = OP_END(owner, op, struct undoing, op.op);
    struct owned_req *o = &x->q->o;
    x->q->version = STORE_VERSION_UNKNOWN; /* of two changes */
    membership_ended(s, o->conv, &x->op, MEMBER_BANNED, slice_of(x->q->name, x->q->name_len));
    if (op->status == STORE_OK || op->status == STORE_NOTFOUND)
        req_fail(&o->r, CODE_FORBIDDEN, "you are banned from this channel");
    else
        req_fail_store(&o->r, op->status, "");
    free(x);
    owned_done(o);
}

/* False: there is none, or it cannot be undone. */
static bool subscribe_banned(struct shard *s, struct subscribe *q)
{
    struct slice channel = conv_channel_name(conv_slice(conv_at(s, q->o.conv)));
    if (!s->bus || !ban_member(s, q->op.user, channel))
        return false;
    struct undoing *x = calloc(1, sizeof *x);
    if (!x)
        return false;
    x->q = q;
    x->op = (struct store_member_del){.conv = q->op.conv,
                                      .user = q->op.user,
                                      .name = slice_of(q->name, q->name_len),
                                      .change = channel_news_code(MEMBER_BANNED)};
    op_begin(s, &x->op.op, subscribe_undone);
    store_member_del(s->store, &x->op);
    return true;
}

static void subscribe_stored(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct subscribe *q = OP_END(owner, op, struct subscribe, op.op);
    struct owned_req *o = &q->o;
    q->version = copy_version(op->status, q->op.user_version);
    if (op->status == STORE_OK && subscribe_banned(s, q))
        return;
    if (op->status == STORE_NOTFOUND && !q->op.may_create) {
        /* The channel went meanwhile, with its last member or message: this request is the one that makes it. */
        q->creating = false;
        conv_gone(s, o->conv);
        subscribe_ready(o);
        return;
    }
    if (op->status == STORE_LIMIT)
        req_fail(&o->r, CODE_QUOTA, "there are as many channels as limits.channels allows");
    else if (op->status != STORE_OK)
        req_fail_store(&o->r, op->status, "no such channel");
    if (op->status != STORE_OK) {
        owned_done(o);
        return;
    }
    conv_at(s, o->conv)->exists = true;
    q->joined = q->op.seq;
    q->op.seq = news_told(conv_at(s, o->conv), q->op.seq);
    const struct channel_change change = {.version = q->op.version,
                                          .members = q->op.members,
                                          .changed = !q->op.existed,
                                          .change = MEMBER_JOINED,
                                          .id = q->op.user,
                                          .name = slice_of(q->name, q->name_len)};
    channel_news_own(s, o->conv, &change);
    if (q->op.created && s->bans) /* the rules of a name outlive its channel */
        conv_follow_rule(s, conv_channel_name(conv_slice(conv_at(s, o->conv))));
    q->noted = (uint8_t)(1u << q->op.mode | (q->op.events ? INTEREST_EVENTS : 0));
    if (!q->op.existed)
        tell_hooks(s, o->conv, MEMBER_JOINED, q->op.user, slice_of(q->name, q->name_len), q->op.members);
    interest_add(s, o->conv, o->r.home->index, q->noted);
    const struct conv *v = conv_at(s, o->conv);
    struct buf *b = &o->r.body;
    enum push_mode push = q->op.mode == MODE_DEFAULT ? conv_default_push(v) : q->op.mode;
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
    buf_str(b, q->op.events ? "\",\"events\":true}" : "\",\"events\":false}");
    owned_done(o);
}

/* The channel is heard from now on, so the new member misses nothing. Bans and hooks are asked only now. */
static void subscribe_followed(struct shard *s, void *ctx, enum store_status status)
{
    struct owned_req *o = ctx;
    (void)s;
    if (status == STORE_OK) {
        subscribe_ready(o);
        return;
    }
    req_fail_store(&o->r, status, "");
    owned_done(o);
}

/* A subscribe hook has answered later. What was looked at before it is looked at again: bans and the channel may have
 * changed meanwhile. */
static void subscribe_resume(struct hook_call *h, enum hook_verdict verdict, void *ctx)
{
    struct owned_req *o = ctx;
    struct subscribe *q = ctx;
    if (verdict == HOOK_REJECT) {
        req_fail(&o->r, h->code, h->message);
        o->r.retry_after_ms = h->retry_after_ms;
        owned_done(o);
        return;
    }
    q->admitted = true;
    subscribe_ready(o);
}

void subscribe_ready(struct owned_req *o)
{
    static const struct hook_waiter waiter = {.resume = subscribe_resume};
    struct subscribe *q = (struct subscribe *)o;
    struct shard *s = o->owner;
    if (follow_waits(s, o->conv, subscribe_followed, o))
        return;
    struct conv *v = conv_at(s, o->conv);
    struct hook_call h = {.shard = s,
                          .may_wait = !q->past_hooks,
                          .user = slice_of(q->id, q->id_len),
                          .user_name = slice_of(q->name, q->name_len),
                          .claims = slice_str(o->r.claims),
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
    if (!v->exists && q->wait_ms) {
        req_fail(&o->r, CODE_RATE_LIMITED, "you make too many channels");
        o->r.retry_after_ms = q->wait_ms;
        owned_done(o);
        return;
    }
    enum hook_verdict verdict = HOOK_PASS;
    if (!v->exists && !q->creating) {
        h.may_wait = false;
        verdict = hooks_run(HOOK_CREATE, &h);
        h.may_wait = !q->past_hooks;
        q->creating = verdict != HOOK_REJECT;
    }
    if (verdict != HOOK_REJECT && !q->admitted)
        verdict = hooks_run(HOOK_SUBSCRIBE, &h);
    if (verdict == HOOK_LATER) {
        hook_wait_for(h.wait, &waiter, o);
        return;
    }
    if (q->past_hooks && !v->exists && !q->may_create) {
        req_fail(&o->r, CODE_NOT_FOUND, "no such channel");
        owned_done(o);
        return;
    }
    if (verdict == HOOK_REJECT && !q->past_hooks) {
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
    q->admitted = true;
    q->op.conv = conv_slice(v);
    q->op.user = slice_of(q->id, q->id_len);
    q->op.may_create = !v->exists;
    q->op.name = h.user_name;
    q->op.change = channel_news_code(MEMBER_JOINED);
    q->op.channels_max = s->opt->channels_max;
    owned_op(o, &q->op.op, subscribe_stored);
    store_member_put(s->store, &q->op);
}

/* --- Unsubscribing ------------------------------------------------------------------------------------------------ */

void unsubscribe_finish(struct req *r)
{
    struct unsubscribe *q = (struct unsubscribe *)r;
    uint32_t chan = r->code == CODE_OK ? chan_find(r->home, conv_channel_name(conv_key_slice(&q->o.key))) : NONE;
    uint32_t user = r->user != NONE ? r->user : user_find(r->home, slice_of(q->id, q->id_len));
    uint32_t sub = chan != NONE && user != NONE ? sub_find(r->home, user, chan) : NONE;
    if (user != NONE)
        copy_changed(r->home, user, q->version);
    if (r->code == CODE_OK && user != NONE && q->op.existed)
        member_news_own(r->home, user, conv_channel_name(conv_key_slice(&q->o.key)), q->change, q->op.members, r);
    if (sub != NONE)
        sub_remove(r->home, sub);
    else if (r->code == CODE_OK && user != NONE && user_at(r->home, user)->state != USER_READY)
        r->home->events->membership_ended(r->home, user);
}

void membership_ended(struct shard *s, uint32_t conv, const struct store_member_del *op, enum member_change change,
                      struct slice name)
{
    if (op->op.status == STORE_OK && op->existed)
        tell_hooks(s, conv, change, op->user, name, op->members);
    if (op->op.status == STORE_NOTFOUND || (op->op.status == STORE_OK && op->gone)) {
        conv_gone(s, conv);
    } else if (op->op.status == STORE_OK) {
        const struct channel_change c = {.version = op->version,
                                         .members = op->members,
                                         .changed = op->existed,
                                         .change = change,
                                         .id = op->user,
                                         .name = name};
        channel_news_own(s, conv, &c);
    }
}

/* A node that does not say so in time is told by number, and named to those who can use that. */
static void removed_elsewhere(void *ctx, const struct order_end *e)
{
    struct unsubscribe *q = ctx;
    q->silent = e->silent;
    owned_done(&q->o);
}

/* Nothing that is queued for the user goes out after the answer, wherever its connections are. Of a channel that is
 * closed nothing more is queued. */
static void unsubscribe_stored(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct unsubscribe *q = OP_END(owner, op, struct unsubscribe, op.op);
    q->version = copy_version(op->status, q->op.user_version);
    bool ended = op->status == STORE_OK && q->op.existed && q->change != MEMBER_CLOSED;
    membership_ended(s, q->o.conv, &q->op, q->change, slice_of(q->name, q->name_len));
    if (op->status != STORE_OK)
        req_fail_store(&q->o.r, op->status, "name: no such channel");
    uint64_t version = q->version != STORE_VERSION_UNKNOWN ? q->version : 0;
    if (!ended ||
        !order_remove(s, q->op.user, conv_channel_name(conv_key_slice(&q->o.key)), version, removed_elsewhere, q))
        owned_done(&q->o);
}

void unsubscribe_ready(struct owned_req *o)
{
    struct unsubscribe *q = (struct unsubscribe *)o;
    struct shard *s = o->owner;
    struct conv *v = conv_at(s, o->conv);
    if (!v->exists && !q->going) {
        req_fail(&o->r, CODE_NOT_FOUND, "name: no such channel");
        owned_done(o);
        return;
    }
    struct hook_call h = {.shard = s,
                          .user = slice_of(q->id, q->id_len),
                          .user_name = slice_of(q->name, q->name_len),
                          .claims = slice_str(o->r.claims),
                          .channel = conv_channel_name(conv_slice(v)),
                          .members = v->members};
    hooks_run(HOOK_UNSUBSCRIBE, &h);
    q->op.conv = conv_slice(v);
    q->op.user = slice_of(q->id, q->id_len);
    q->op.name = h.user_name;
    q->op.change = channel_news_code(q->change);
    owned_op(o, &q->op.op, unsubscribe_stored);
    store_member_del(s->store, &q->op);
}
