/* Actions 2 send to user, 4 send to channel. */
#include "core/hub/act/acts.h"
#include "core/hub/act/subscriber.h"
#include "core/hub/people/ban.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/field.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/hook_wait.h"
#include "core/hub/shard/shard.h"
#include "core/hub/talk/send.h"

/* --- Hooks that answer later -------------------------------------------------------------------------------------- */

/* A message whose hooks have not all decided yet. The client's next frames wait behind it. */
struct pending {
    struct req r;
    struct conv_key key;
    uint8_t client_id_len;
    char client_id[64];
};

static void pending_refresh(struct hook_call *h, void *ctx)
{
    const struct pending *w = ctx;
    h->bucket = &user_at(h->shard, w->r.user)->rate;
}

/* The hooks let it through: it becomes a send as any other, by what its user may now. */
static void pending_send(struct shard *s, struct pending *w, const struct hook_call *h, bool limited)
{
    struct slice key = conv_key_slice(&w->key), client_id = slice_of(w->client_id, w->client_id_len);
    struct slice channel = conv_is_channel(key) ? conv_channel_name(key) : SLICE_NONE;
    uint32_t chan = channel.n ? chan_find(s, channel) : NONE;
    bool member = !channel.n || (chan != NONE && sub_find(s, w->r.user, chan) != NONE);
    struct conv_key conv = w->key;
    char id[sizeof w->client_id];
    memcpy(id, client_id.p, client_id.n);
    client_id.p = id;
    struct send *q = req_become(&w->r, send_size(h->user, h->user_name, client_id, h->content));
    if (!q) {
        req_fail(&w->r, CODE_INTERNAL, "out of memory");
        req_done(s, &w->r);
        return;
    }
    q->member = member;
    send_fill(q, &conv, h, client_id);
    if (limited)
        send_refuse(q, h);
    owned_post(s, &q->o);
}

static void pending_resume(struct hook_call *h, enum hook_verdict verdict, void *ctx)
{
    struct pending *w = ctx;
    struct shard *s = h->shard;
    uint32_t conn = w->r.conn, generation = w->r.generation;
    bool limited = verdict == HOOK_REJECT && h->code == CODE_RATE_LIMITED && w->client_id_len;
    req_wait_over(&w->r);
    const struct conn *k = conn_find(s->net, conn, generation);
    if (!k || k->flags & CONN_F_CLOSING) {
        /* Kicked, banned, or simply gone: nobody was told that it was sent, so it was not. */
        req_fail(&w->r, CODE_UNAVAILABLE, "the connection has gone");
        req_done(s, &w->r);
    } else if (verdict == HOOK_REJECT && !limited) {
        req_fail(&w->r, h->code, h->message);
        w->r.retry_after_ms = h->retry_after_ms;
        req_done(s, &w->r);
    } else if (verdict != HOOK_DROP && ban_muted(s, h->user, h->channel)) {
        req_fail(&w->r, CODE_FORBIDDEN, "you are muted");
        req_done(s, &w->r);
    } else if (verdict == HOOK_DROP) {
        send_encode_dropped(&w->r.body);
        req_done(s, &w->r);
    } else {
        pending_send(s, w, h, limited);
    }
    req_go_on(s, conn, generation);
}

static void pending_begin(struct call *c, const struct conv_key *key, struct hook_wait *wait, struct slice client_id)
{
    static const struct hook_waiter waiter = {.refresh = pending_refresh, .resume = pending_resume};
    struct pending *w = req_begin(c, sizeof *w);
    if (!w) {
        hook_wait_drop(wait);
        return;
    }
    w->key = *key;
    w->client_id_len = (uint8_t)client_id.n;
    if (client_id.n)
        memcpy(w->client_id, client_id.p, client_id.n);
    req_wait(&w->r);
    hook_wait_for(wait, &waiter, w);
}

/* --- The request -------------------------------------------------------------------------------------------------- */

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
                          .claims = grant_claims(s, c->conn),
                          .content = content,
                          .bucket = &u->rate,
                          .may_wait = true,
                          .repeat_possible = client_id.n > 0};
    send_hook_about(&h, key);
    enum hook_verdict verdict = hooks_run(HOOK_MESSAGE, &h);
    if (verdict == HOOK_LATER) {
        pending_begin(c, key, h.wait, client_id);
        return;
    }
    if (verdict == HOOK_DROP) {
        buf_reset(&s->scratch);
        send_encode_dropped(&s->scratch);
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

int act_send_register(struct hub *hub)
{
    static const struct action actions[] = {
        {.number = 2, .name = "send_user", .class = CLASS_SEND, .handle = handle_send_user},
        {.number = 4, .name = "send_channel", .class = CLASS_SEND, .handle = handle_send_channel},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
