/* Actions 2 send to user, 4 send to channel. */
#include "core/hub/registry/action.h"
#include "core/hub/act/acts.h"
#include "core/hub/act/subscriber.h"
#include "core/hub/people/field.h"
#include "core/hub/registry/hook.h"
#include "core/hub/talk/conv.h"
#include "core/hub/talk/encode.h"
#include "core/hub/host/host_op.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/why.h"
#include "core/hub/talk/publish.h"
#include "core/hub/talk/user_mail.h"

#include "core/base/clock.h"
#include "core/base/utf8.h"

#include <stdlib.h>

enum { CLIENT_ID_MAX = 64 };

/* What a policy took for a message. */
struct charge {
    bool bucket;                                    /* a token of the bucket that the hook was given */
    void (*refund)(struct shard *s, uint64_t what); /* for one taken elsewhere */
    uint64_t what;
};

struct send {
    struct owned_req o;
    struct store_append op;
    uint64_t began_us;                      /* of the append; 0: not timed */
    bool member;                            /* channel: the sender is subscribed */
    bool privileged;                        /* from the server itself: past memberships, blocks and limits */
    struct charge user_charge, conv_charge; /* to be taken back when it is a repeat */
    struct hook_advice advice;              /* of the conversation hooks */
    struct host_send *host;                 /* that it is for; NULL: a client's */
    char data[];                            /* sender id, name, clientId, content */
};

static struct charge charge_of(const struct hook_call *h)
{
    return (struct charge){.bucket = h->charged, .refund = h->refund, .what = h->refund_what};
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

/* Answers as if it had been sent: an id that nothing bears, and seq 0. */
static void encode_dropped(struct buf *b)
{
    encode_sent(b, 0, 0, clock_wall_ms());
}

/* --- Telling that it was delivered: the request is gone by then, so its texts are copied. --- */

struct delivered {
    struct hook_call h;
    char data[]; /* sender id, name, content */
};

static struct delivered *delivered_note(struct shard *s, const struct send *q)
{
    size_t n = q->op.sender.n + q->op.sender_name.n + q->op.content.n;
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

static void send_stored(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct send *q = (struct send *)((char *)op - offsetof(struct send, op.op));
    struct req *r = &q->o.r;
    s->ops--;
    figures_append_end(s, q->began_us);
    if (op->status == STORE_NOTFOUND && q->op.only_duplicate) {
        /* It is no repeat, so the rejection stands: r->code and the rest were set when it was made. */
        owned_done(&q->o);
        return;
    }
    if (op->status != STORE_OK) {
        req_fail_store(r, op->status, "");
        owned_done(&q->o);
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
    struct buf body = BUF_INIT;
    encode_message(&body, conv_slice(v), &m);
    bool channel = conv_is_channel(conv_slice(v)), over_limit = q->advice.over_limit;
    conv_take_advice(s, q->o.conv, &q->advice);
    struct delivered *news = delivered_note(s, q);
    uint64_t seq = q->op.seq;
    uint32_t conv = q->o.conv;
    struct user_mail *to_receiver = NULL, *to_sender = NULL;
    if (!channel && buf_ok(&body)) {
        if (!slice_eq(q->op.receiver, q->op.sender))
            to_receiver = user_mail_new(q->op.receiver, 101, buf_slice(&body), NONE, 0);
        to_sender = user_mail_new(q->op.sender, 101, buf_slice(&body), r->conn, r->generation);
    }
    user_mail_about(to_receiver, q->op.id);
    user_mail_about(to_sender, q->op.id);
    why_note(
        s, &(struct why_note){.kind = WHY_STORED,
                              .id = q->op.id,
                              .seq = seq,
                              .conv = hash_bytes(conv_slice(v)),
                              .user = hash_bytes(q->op.sender),
                              .first = channel ? 0 : hash_bytes(q->op.receiver),
                              .a = (uint32_t)body.n,
                              .b = v->members,
                              .tier = (uint8_t)q->op.tier,
                              .push = (uint8_t)conv_default_push(v),
                              .bits = (uint8_t)((channel ? WHY_B_CHANNEL : 0) | (over_limit ? WHY_B_OVER_LIMIT : 0))});
    /* The answer goes first, and the request with it; then the pushes. */
    v->pins++;
    owned_done(&q->o);
    if (channel && buf_ok(&body))
        conv_publish(s, conv, seq, buf_slice(&body), over_limit);
    user_mail_post(s->hub, s, to_receiver);
    user_mail_post(s->hub, s, to_sender);
    delivered_run(s, conv, news);
    v->pins--;
    buf_free(&body);
}

static bool pair_admits(struct send *q, const struct conv *v)
{
    struct slice lo, hi;
    conv_pair_users(conv_slice(v), &lo, &hi);
    bool sender_is_lo = slice_eq(lo, q->op.sender);
    if (!v->user_exists[sender_is_lo ? 1 : 0] && !slice_eq(lo, hi)) {
        req_fail(&q->o.r, CODE_NOT_FOUND, "receiverId: no such user");
        return false;
    }
    if (!q->privileged && v->blocks[sender_is_lo ? 1 : 0] && !slice_eq(lo, hi)) {
        req_fail(&q->o.r, CODE_FORBIDDEN, "the receiver has blocked you");
        return false;
    }
    return true;
}

static bool channel_admits(struct send *q, const struct conv *v)
{
    if (!v->exists) {
        req_fail(&q->o.r, CODE_NOT_FOUND, "channel: no such channel");
        return false;
    }
    if (!q->member && !q->privileged) {
        req_fail(&q->o.r, CODE_FORBIDDEN, "channel: subscribe before you send");
        return false;
    }
    return true;
}

/* On the owner: may it be sent, and how? */
static void send_ready(struct owned_req *o)
{
    struct send *q = (struct send *)o;
    struct shard *s = o->owner;
    struct conv *v = conv_at(s, o->conv);
    bool channel = conv_is_channel(conv_slice(v));
    bool limited = q->op.only_duplicate; /* with the rejection in r */
    if (!(channel ? channel_admits(q, v) : pair_admits(q, v))) {
        /* A user that did not exist may exist by now: look again next time. */
        if (!channel && o->r.code == CODE_NOT_FOUND && v->pins == 1)
            v->state = CONV_NEW;
        owned_done(o);
        return;
    }
    if (!limited) {
        struct hook_call h = {.shard = s,
                              .conn = NONE,
                              .rate = conv_rate(s, v),
                              .tier = v->tier,
                              .user = q->op.sender,
                              .user_name = q->op.sender_name,
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
            encode_dropped(&o->r.body);
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
    if (!channel)
        q->op.receiver = conv_pair_peer(conv_slice(v), q->op.sender);
    owned_op(o, &q->op.op, send_stored);
    q->began_us = figures_append_begin(s);
    store_append(s->store, &q->op);
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

static size_t send_size(struct slice sender, struct slice name, struct slice client_id, struct slice content)
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

/* What the message hooks let through goes into the request, which copies it. */
static void send_fill(struct send *q, const struct conv_key *key, const struct hook_call *h, struct slice client_id)
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

/* It is over a limit: only a repeat of something that was sent before is answered well. */
static void send_refuse(struct send *q, const struct hook_call *h)
{
    q->op.only_duplicate = true;
    req_fail(&q->o.r, h->code, h->message);
    q->o.r.retry_after_ms = h->retry_after_ms;
}

static void hook_about(struct hook_call *h, const struct conv_key *key)
{
    if (conv_is_channel(conv_key_slice(key)))
        h->channel = conv_channel_name(conv_key_slice(key));
    else
        h->peer = conv_pair_peer(conv_key_slice(key), h->user);
}

/* On the sender's shard. */
static void send_begin(struct call *c, const struct conv_key *key, bool member, struct slice content,
                       struct slice client_id)
{
    struct shard *s = c->shard;
    struct user *u = user_at(s, c->user);
    struct hook_call h = {.shard = s,
                          .conn = c->conn,
                          .user = user_id(u),
                          .user_name = user_name(u),
                          .content = content,
                          .bucket = &u->rate,
                          .repeat_possible = client_id.n > 0};
    hook_about(&h, key);
    enum hook_verdict verdict = hooks_run(HOOK_MESSAGE, &h);
    if (verdict == HOOK_DROP) {
        buf_reset(&s->scratch);
        encode_dropped(&s->scratch);
        call_reply(c, buf_slice(&s->scratch));
        return;
    }
    bool limited = verdict == HOOK_REJECT;
    if (limited && !(client_id.n && h.code == CODE_RATE_LIMITED)) {
        call_reject(c, &h);
        return;
    }
    struct send *q = req_begin(c, send_size(h.user, h.user_name, client_id, h.content));
    if (!q)
        return;
    q->member = member;
    send_fill(q, key, &h, client_id);
    if (limited)
        send_refuse(q, &h);
    owned_post(s, &q->o);
}

static void handle_send_user(struct call *c)
{
    struct slice receiver, content, client_id;
    if (!call_get_user_id(c, "receiverId", &receiver))
        return;
    struct conv_key key = conv_key_pair(call_user_id(c), receiver);
    c->order = hash_bytes(conv_key_slice(&key));
    if (!call_get_content(c, &content) || !call_get_text(c, "clientId", &client_id))
        return;
    send_begin(c, &key, true, content, client_id);
}

static void handle_send_channel(struct call *c)
{
    struct slice channel, content, client_id;
    if (!call_get_channel(c, "channel", &channel))
        return;
    struct conv_key key = conv_key_channel(channel);
    c->order = hash_bytes(conv_key_slice(&key));
    if (!call_get_content(c, &content) || !call_get_text(c, "clientId", &client_id))
        return;
    send_begin(c, &key, call_subscribed(c, channel), content, client_id);
}

/* --- For the layers above ----------------------------------------------------------------------------------------- */

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

static void host_sender_known(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct sender *f = (struct sender *)op;
    struct host_send *p = f->p;
    s->ops--;
    if (op->status != STORE_OK) {
        host_fail_store(&p->op, op->status, "no such sender");
        host_end(&p->op);
    } else {
        uint32_t user = user_find(s, p->sender);
        struct conv_key key = host_key(p);
        struct hook_call h = {.shard = s,
                              .conn = NONE,
                              .user = p->sender,
                              .user_name = f->load.name,
                              .content = p->content,
                              .bucket = user != NONE ? &user_at(s, user)->rate : NULL,
                              .repeat_possible = p->client_id.n > 0};
        hook_about(&h, &key);
        host_go(s, p, hooks_run(HOOK_MESSAGE, &h), &h, !p->channel.n || is_member(&f->load, p->channel));
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
    f->load = (struct store_user_load){.id = p->sender, .op = {.home = &s->mailbox, .done = host_sender_known}};
    s->ops++;
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

int act_send_register(struct hub *hub)
{
    static const struct action actions[] = {
        {.number = 2, .name = "send_user", .class = CLASS_SEND, .handle = handle_send_user},
        {.number = 4, .name = "send_channel", .class = CLASS_SEND, .handle = handle_send_channel},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
