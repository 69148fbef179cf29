/* Actions 2 send to user, 4 send to channel. */
#include "core/hub/action.h"
#include "core/hub/conv.h"
#include "core/hub/encode.h"
#include "core/hub/user.h"

#include "core/base/clock.h"

#include <stdio.h>

struct send {
    struct owned_req o;
    struct store_append op;
    bool member;       /* channel: the sender is subscribed */
    bool charged;      /* the user's bucket was charged */
    bool conv_charged; /* the conversation's bucket was charged */
    bool over_limit;   /* accepted over the channel's limit */
    char data[];       /* sender id, name, clientId, content */
};

static void send_finish(struct req *r)
{
    struct send *q = (struct send *)r;
    /* A repeat costs nothing. */
    if (q->charged && r->code == CODE_OK && q->op.duplicate)
        bucket_return(&user_at(r->home, r->user)->rate);
}

static void send_stored(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct send *q = (struct send *)((char *)op - offsetof(struct send, op.op));
    struct req *r = &q->o.r;
    s->ops--;
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
        if (q->conv_charged)
            bucket_return(&v->rate);
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
    bool channel = conv_is_channel(conv_slice(v)), over_limit = q->over_limit;
    uint64_t seq = q->op.seq;
    uint32_t conv = q->o.conv;
    struct user_mail *to_receiver = NULL, *to_sender = NULL;
    if (!channel && buf_ok(&body)) {
        if (!slice_eq(q->op.receiver, q->op.sender))
            to_receiver = user_mail_new(q->op.receiver, 101, buf_slice(&body), NONE, 0);
        to_sender = user_mail_new(q->op.sender, 101, buf_slice(&body), r->conn, r->generation);
    }
    /* The answer goes first, and the request with it; then the pushes. */
    v->pins++;
    owned_done(&q->o);
    if (channel && buf_ok(&body))
        conv_publish(s, conv, seq, buf_slice(&body), over_limit);
    user_mail_post(s, to_receiver);
    user_mail_post(s, to_sender);
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
    if (v->blocks[sender_is_lo ? 1 : 0] && !slice_eq(lo, hi)) {
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
    if (!q->member) {
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
                              .user = q->op.sender,
                              .user_name = q->op.sender_name,
                              .members = v->members,
                              .bucket = &v->rate,
                              .channel = channel ? conv_channel_name(conv_slice(v)) : SLICE_NONE,
                              .peer = channel ? SLICE_NONE : conv_pair_peer(conv_slice(v), q->op.sender),
                              .content = q->op.content,
                              .repeat_possible = q->op.client_id.n > 0};
        enum hook_verdict verdict = hooks_run(s->hub, HOOK_CONVERSATION, &h);
        q->conv_charged = verdict != HOOK_REJECT && !h.over_limit;
        q->over_limit = h.over_limit;
        if (verdict == HOOK_REJECT) {
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
    q->op.tier = v->tier;
    if (!channel)
        q->op.receiver = conv_pair_peer(conv_slice(v), q->op.sender);
    owned_op(o, &q->op.op, send_stored);
    store_append(s->store, &q->op);
}

/* On the sender's shard. */
static void send_begin(struct call *c, const struct conv_key *key, bool member, struct slice content, struct slice client_id)
{
    struct shard *s = c->shard;
    struct user *u = user_at(s, c->user);
    struct hook_call h = {.shard = s,
                          .user = user_id(u),
                          .user_name = user_name(u),
                          .content = content,
                          .bucket = &u->rate,
                          .repeat_possible = client_id.n > 0};
    if (conv_is_channel(conv_key_slice(key)))
        h.channel = conv_channel_name(conv_key_slice(key));
    else
        h.peer = conv_pair_peer(conv_key_slice(key), user_id(u));
    enum hook_verdict verdict = hooks_run(s->hub, HOOK_MESSAGE, &h);
    if (verdict == HOOK_DROP) {
        char text[96];
        int n = snprintf(text, sizeof text, "{\"id\":\"0000000000000000000\",\"seq\":0,\"createdAt\":%llu}",
                         (unsigned long long)clock_wall_ms());
        call_reply(c, slice_of(text, (size_t)n));
        return;
    }
    bool limited = verdict == HOOK_REJECT;
    if (limited && !(client_id.n && h.code == CODE_RATE_LIMITED)) {
        if (h.code == CODE_RATE_LIMITED)
            call_rate_limited(c, h.retry_after_ms, h.message);
        else
            call_fail(c, h.code, "%s", h.message);
        return;
    }
    content = h.content;
    size_t at = (size_t)u->id_len + u->name_len + client_id.n;
    struct send *q = req_begin(c, sizeof *q + at + content.n);
    if (!q)
        return;
    u = user_at(s, c->user);
    memcpy(q->data, u->strings, (size_t)u->id_len + u->name_len);
    if (client_id.n)
        memcpy(q->data + u->id_len + u->name_len, client_id.p, client_id.n);
    memcpy(q->data + at, content.p, content.n);
    q->op.sender = slice_of(q->data, u->id_len);
    q->op.sender_name = slice_of(q->data + u->id_len, u->name_len);
    q->op.client_id = slice_of(q->data + u->id_len + u->name_len, client_id.n);
    q->op.content = slice_of(q->data + at, content.n);
    q->member = member;
    q->charged = !limited;
    q->o.key = *key;
    q->o.ready = send_ready;
    q->o.r.finish = send_finish;
    if (limited) {
        q->op.only_duplicate = true;
        req_fail(&q->o.r, h.code, h.message);
        q->o.r.retry_after_ms = h.retry_after_ms;
    }
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

int act_send_register(struct hub *hub)
{
    static const struct action actions[] = {
        {2, "send_user", CLASS_SEND, false, handle_send_user},
        {4, "send_channel", CLASS_SEND, false, handle_send_channel},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
