#include "core/hub/talk/send.h"

#include "core/base/clock.h"
#include "core/base/push.h"
#include "core/hub/people/ban.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/op.h"
#include "core/hub/shard/why.h"
#include "core/hub/talk/encode.h"
#include "core/hub/talk/news.h"
#include "core/hub/talk/offline.h"
#include "core/hub/talk/tell.h"

#include <stdlib.h>

static const char blocked_text[] = "the receiver has blocked you";
static const char member_text[] = "channel: subscribe before you send";

static struct charge charge_of(const struct hook_call *h)
{
    struct charge c = {.bucket = h->charged, .refund = h->refund, .what = h->refund_what, .take_count = h->take_count};
    memcpy(c.takes, h->takes, h->take_count * sizeof h->takes[0]);
    return c;
}

/* A repeat costs nothing. */
static void charge_back(struct shard *s, const struct charge *c, struct bucket *bucket)
{
    if (c->bucket && bucket)
        bucket_return(bucket);
    if (c->refund)
        c->refund(s, c->what);
}

static void send_finish(struct req *r)
{
    struct send *q = (struct send *)r;
    uint32_t user = r->user != NONE ? r->user : user_find(r->home, q->op.sender);
    if (r->code == CODE_OK && q->op.duplicate)
        charge_back(r->home, &q->user_charge, user != NONE ? &user_at(r->home, user)->rate : NULL);
}

void send_encode_dropped(struct buf *b)
{
    encode_sent(b, 0, 0, clock_wall_ms());
}

/* --- Telling that it was delivered: the request is gone by then, so its texts are copied. --- */

struct delivered {
    struct hook_call h;
    char data[]; /* sender id, name, content, claims */
};

static struct delivered *delivered_note(struct shard *s, const struct send *q)
{
    struct slice claims = slice_str(q->o.r.claims);
    size_t n = q->op.sender.n + q->op.sender_name.n + q->op.content.n + claims.n;
    struct delivered *d = hooks_any(s, HOOK_DELIVERED) ? malloc(sizeof *d + n) : NULL;
    if (!d)
        return NULL;
    d->h =
        (struct hook_call){.shard = s, .conn = NONE, .id = q->op.id, .seq = q->op.seq, .created_ms = q->op.created_ms};
    char *at = d->data;
    memcpy(at, q->op.sender.p, q->op.sender.n);
    d->h.user = slice_of(at, q->op.sender.n);
    at += q->op.sender.n;
    memcpy(at, q->op.sender_name.p, q->op.sender_name.n);
    d->h.user_name = slice_of(at, q->op.sender_name.n);
    at += q->op.sender_name.n;
    memcpy(at, q->op.content.p, q->op.content.n);
    d->h.content = slice_of(at, q->op.content.n);
    at += q->op.content.n;
    if (claims.n)
        memcpy(at, claims.p, claims.n);
    d->h.claims = slice_of(at, claims.n);
    return d;
}

static void delivered_run(struct shard *s, uint32_t conv, struct delivered *d)
{
    if (!d)
        return;
    struct slice key = conv_slice(conv_at(s, conv));
    if (conv_is_channel(key))
        d->h.channel = conv_channel_name(key);
    else
        d->h.peer = conv_pair_peer(key, d->h.user);
    d->h.members = conv_at(s, conv)->members;
    hooks_run(HOOK_DELIVERED, &d->h);
    free(d);
}

/* The store refuses it, or cannot tell. */
static void send_refused(struct shard *s, struct send *q)
{
    struct req *r = &q->o.r;
    enum store_status status = q->op.op.status;
    if (status == STORE_NOTFOUND && q->op.only_duplicate) {
        /* It is no repeat, so the rejection stands: r->code and the rest were set when it was made. */
    } else if (status == STORE_DENIED) {
        struct conv *v = conv_at(s, q->o.conv);
        if (v->pins == 1)
            v->state = CONV_NEW; /* what was known of the two is no more so */
        if (q->op.refused == CHECK_NONE)
            req_fail(r, CODE_NOT_FOUND, q->op.receiver.n ? "receiverId: no such user" : "the sender was deleted");
        else
            req_fail(r, CODE_FORBIDDEN, q->op.refused == CHECK_BLOCK ? blocked_text : member_text);
    } else {
        if (status == STORE_NOTFOUND)
            conv_gone(s, q->o.conv);
        req_fail_store(r, status, "channel: no such channel");
    }
    owned_done(&q->o);
}

/* A copy for later, where messages of other servers come before this one; or for its arrival, where its turn has
 * passed. */
static struct bus_news *later(const struct conv *v, const struct send *q, const struct store_message *m)
{
    const struct bus_news n = {.kind = NEWS_MESSAGE,
                               .tier = (uint8_t)q->op.tier,
                               .seq = m->seq,
                               .id = m->id,
                               .time = m->created_ms,
                               .arrival = q->op.arrival,
                               .conv = conv_slice(v),
                               .user = q->op.receiver,
                               .sender = m->sender,
                               .name = m->sender_name,
                               .content = m->content,
                               .advice = q->op.advice};
    return news_copy(&n);
}

/* What the turn of a message leaves to be done. */
static void turn_over(struct shard *s, uint32_t conv, uint64_t seq, enum news_turn turn, struct bus_news *held,
                      struct tell_except *except)
{
    if (turn == NEWS_NOW)
        news_given(s, conv, seq);
    else
        news_hold(s, conv, held, except);
}

static void send_stored(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct send *q = OP_END(owner, op, struct send, op.op);
    struct req *r = &q->o.r;
    figures_append_end(s, q->began_us);
    if (q->counted)
        news_sent(s, q->o.conv);
    if (op->status != STORE_OK) {
        send_refused(s, q);
        return;
    }
    r->code = CODE_OK;
    encode_sent(&r->body, q->op.id, q->op.seq, q->op.created_ms);
    struct conv *v = conv_at(s, q->o.conv);
    if (q->op.duplicate) {
        charge_back(s, &q->conv_charge, &v->rate);
        owned_done(&q->o);
        return;
    }
    v->exists = true;
    atomic_fetch_add_explicit(&s->messages, 1, memory_order_relaxed);
    struct store_message m = {.seq = q->op.seq,
                              .id = q->op.id,
                              .created_ms = q->op.created_ms,
                              .sender = q->op.sender,
                              .sender_name = q->op.sender_name,
                              .content = q->op.content};
    bool channel = conv_is_channel(conv_slice(v)), over_limit = q->advice.over_limit;
    struct tell_except except = {.user = q->op.sender, .conn = r->conn, .generation = r->generation};
    struct tell t;
    tell_message(&t, conv_slice(v), &m, q->op.arrival, &except);
    conv_take_advice(s, q->o.conv, &q->advice, true);
    struct delivered *news = delivered_note(s, q);
    struct missed *missed = missed_note(s, q->o.conv, q->op.tier, &m, slice_str(q->o.r.claims));
    uint64_t seq = q->op.seq;
    uint32_t conv = q->o.conv;
    enum news_turn turn = s->bus ? news_turn_message(s, conv, seq) : NEWS_NOW;
    bool later_on = turn == NEWS_WAITS || (turn == NEWS_PAST && q->op.arrival);
    struct bus_news *held = later_on ? later(v, q, &m) : NULL;
    why_note(
        s, &(struct why_note){.kind = WHY_STORED,
                              .id = q->op.id,
                              .seq = seq,
                              .conv = hash_bytes(conv_slice(v)),
                              .user = hash_bytes(q->op.sender),
                              .first = channel ? 0 : hash_bytes(q->op.receiver),
                              .a = (uint32_t)t.body.n,
                              .b = v->members,
                              .tier = (uint8_t)q->op.tier,
                              .push = (uint8_t)conv_default_push(v),
                              .bits = (uint8_t)((channel ? WHY_B_CHANNEL : 0) | (over_limit ? WHY_B_OVER_LIMIT : 0))});
    /* The answer goes first, and the request with it; then the pushes. */
    v->pins++;
    owned_done(&q->o);
    if (channel && over_limit)
        figure_add(&s->figures.sliced, 1);
    if (turn == NEWS_NOW)
        tell_go(s, conv, &t, over_limit);
    else
        tell_drop(&t);
    if (s->bus)
        turn_over(s, conv, seq, turn, held, &except);
    missed_ask(s, conv, missed);
    delivered_run(s, conv, news);
    v->pins--;
}

static bool pair_admits(struct owned_req *o, const struct conv *v, struct slice sender, bool privileged,
                        const char *unknown)
{
    struct slice lo, hi;
    conv_pair_users(conv_slice(v), &lo, &hi);
    bool sender_is_lo = slice_eq(lo, sender);
    if (!v->user_exists[sender_is_lo ? 1 : 0] && !slice_eq(lo, hi)) {
        req_fail(&o->r, CODE_NOT_FOUND, unknown);
        return false;
    }
    if (!privileged && v->blocks[sender_is_lo ? 1 : 0] && !slice_eq(lo, hi)) {
        req_fail(&o->r, CODE_FORBIDDEN, blocked_text);
        return false;
    }
    return true;
}

static bool channel_admits(struct owned_req *o, const struct conv *v, struct slice sender, bool member)
{
    struct shard *s = o->owner;
    if (!v->exists) {
        req_fail(&o->r, CODE_NOT_FOUND, "channel: no such channel");
        return false;
    }
    if (member)
        return true;
    if (s->opt->send != SEND_ANY) {
        req_fail(&o->r, CODE_FORBIDDEN, member_text);
        return false;
    }
    /* A ban has ended memberships, and closing a channel has ended all: strangers are under the same rules. */
    struct channel_rule rule;
    struct slice name = conv_channel_name(conv_slice(v));
    if (ban_member(s, sender, name)) {
        req_fail(&o->r, CODE_FORBIDDEN, "you are banned from this channel");
        return false;
    }
    if (channel_rule_find(s, name, &rule) && rule.closed) {
        req_fail(&o->r, CODE_FORBIDDEN, "this channel is closed");
        return false;
    }
    return true;
}

static bool admits(struct owned_req *o, struct slice sender, bool member, bool privileged, const char *unknown)
{
    struct conv *v = conv_at(o->owner, o->conv);
    bool channel = conv_is_channel(conv_slice(v));
    if (channel ? channel_admits(o, v, sender, member || privileged) : pair_admits(o, v, sender, privileged, unknown))
        return true;
    /* A user that did not exist may exist by now: look again next time. */
    if (!channel && o->r.code == CODE_NOT_FOUND && v->pins == 1)
        v->state = CONV_NEW;
    owned_done(o);
    return false;
}

bool send_admitted(struct owned_req *o, struct slice sender, bool member, const char *unknown)
{
    return admits(o, sender, member, false, unknown);
}

/* What other servers are to know of it, and what they may have changed. */
static void send_with_bus(struct send *q, bool channel)
{
    struct advice a = {.said = q->advice, .charged_conv = q->conv_charge.bucket, .charged_user = q->user_charge.bucket};
    advice_put_takes(&a, q->conv_charge.takes, q->conv_charge.take_count, false);
    advice_put_takes(&a, q->user_charge.takes, q->user_charge.take_count, true);
    q->op.advice = slice_of(q->told, advice_encode(q->told, &a));
    if (!channel)
        q->op.check = q->privileged ? CHECK_NONE : CHECK_BLOCK;
    else
        q->op.check = q->member && !q->privileged && !q->op.stranger ? CHECK_MEMBER : CHECK_NONE;
    q->counted = !channel && news_sends(q->o.owner, q->o.conv);
}

/* On the owner: may it be sent, and how? */
static void send_ready(struct owned_req *o)
{
    struct send *q = (struct send *)o;
    struct shard *s = o->owner;
    struct conv *v = conv_at(s, o->conv);
    bool channel = conv_is_channel(conv_slice(v));
    bool limited = q->op.only_duplicate; /* with the rejection in r */
    if (!admits(o, q->op.sender, q->member, q->privileged, "receiverId: no such user"))
        return;
    if (!limited) {
        struct hook_call h = {.shard = s,
                              .conn = NONE,
                              .rate = conv_rate(s, v),
                              .tier = v->tier,
                              .user = q->op.sender,
                              .user_name = q->op.sender_name,
                              .claims = slice_str(o->r.claims),
                              .members = v->members,
                              .bucket = q->privileged ? NULL : &v->rate,
                              .channel = channel ? conv_channel_name(conv_slice(v)) : SLICE_NONE,
                              .peer = channel ? SLICE_NONE : conv_pair_peer(conv_slice(v), q->op.sender),
                              .content = q->op.content,
                              .repeat_possible = q->op.client_id.n > 0};
        enum hook_verdict verdict = hooks_run(HOOK_CONVERSATION, &h);
        q->conv_charge = charge_of(&h);
        q->advice = h.advice;
        if (verdict == HOOK_DROP && !q->privileged) {
            send_encode_dropped(&o->r.body);
            owned_done(o);
            return;
        }
        if (verdict == HOOK_REJECT && !q->privileged) {
            req_fail(&o->r, h.code, h.message);
            o->r.retry_after_ms = h.retry_after_ms;
            limited = true;
        }
    }
    if (limited && !q->op.client_id.n) {
        owned_done(o);
        return;
    }
    q->op.only_duplicate = limited;
    q->op.conv = conv_slice(v);
    q->op.tier = q->advice.has_tier && channel ? q->advice.tier : v->tier;
    if (q->advice.has_keep) {
        q->op.ttl_ms = q->advice.ttl_ms;
        q->op.max = q->advice.keep_max;
    }
    q->op.stranger = channel && (!q->member || slice_eq(q->op.sender, SLICE_LIT("system")));
    if (!channel)
        q->op.receiver = conv_pair_peer(conv_slice(v), q->op.sender);
    if (s->bus)
        send_with_bus(q, channel);
    owned_op(o, &q->op.op, send_stored);
    q->began_us = figures_append_begin(s);
    store_append(s->store, &q->op);
}

/* --- Made --------------------------------------------------------------------------------------------------------- */

size_t send_size(struct slice sender, struct slice name, struct slice client_id, struct slice content)
{
    return sizeof(struct send) + sender.n + name.n + client_id.n + content.n;
}

static struct slice put(char **at, struct slice s)
{
    char *p = *at;
    if (s.n)
        memcpy(p, s.p, s.n);
    *at += s.n;
    return slice_of(p, s.n);
}

void send_fill(struct send *q, const struct conv_key *key, const struct hook_call *h, struct slice client_id)
{
    char *at = q->data;
    q->op.sender = put(&at, h->user);
    q->op.sender_name = put(&at, h->user_name);
    q->op.client_id = put(&at, client_id);
    q->op.content = put(&at, h->content);
    q->user_charge = charge_of(h);
    q->o.key = *key;
    q->o.ready = send_ready;
    q->o.r.finish = send_finish;
}

void send_refuse(struct send *q, const struct hook_call *h)
{
    q->op.only_duplicate = true;
    req_fail(&q->o.r, h->code, h->message);
    q->o.r.retry_after_ms = h->retry_after_ms;
}

void send_hook_about(struct hook_call *h, const struct conv_key *key)
{
    if (conv_is_channel(conv_key_slice(key)))
        h->channel = conv_channel_name(conv_key_slice(key));
    else
        h->peer = conv_pair_peer(conv_key_slice(key), h->user);
}
