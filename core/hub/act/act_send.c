/* Actions 2 send to user, 4 send to channel. */
#include "core/hub/act/acts.h"
#include "core/hub/act/pending.h"
#include "core/hub/act/subscriber.h"
#include "core/hub/people/field.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/action.h"
#include "core/hub/shard/shard.h"
#include "core/hub/talk/send.h"

/* --- Hooks that answer later -------------------------------------------------------------------------------------- */

/* The hooks let it through: it becomes a send as any other, by what its user may now. */
static void send_go_on(struct shard *s, struct pending *w, const struct hook_call *h, bool limited)
{
    struct conv_key key = w->key;
    bool member = pending_member(w, s);
    char id[sizeof w->client_id];
    struct slice client_id = slice_of(id, w->client_id_len);
    memcpy(id, w->client_id, w->client_id_len);
    struct send *q = req_become(&w->r, send_size(h->user, h->user_name, client_id, h->content));
    if (!q) {
        req_fail(&w->r, CODE_INTERNAL, "out of memory");
        req_done(s, &w->r);
        return;
    }
    q->member = member;
    send_fill(q, &key, h, client_id);
    if (limited)
        send_refuse(q, h);
    owned_post(s, &q->o);
}

static void send_resume(struct hook_call *h, enum hook_verdict verdict, void *ctx)
{
    struct pending *w = ctx;
    struct shard *s = h->shard;
    uint32_t conn = w->r.conn, generation = w->r.generation;
    if (pending_refused(w, h, verdict)) {
        ;
    } else if (verdict == HOOK_DROP) {
        send_encode_dropped(&w->r.body);
        req_done(s, &w->r);
    } else {
        send_go_on(s, w, h, verdict == HOOK_REJECT);
    }
    req_go_on(s, conn, generation);
}

/* --- The request -------------------------------------------------------------------------------------------------- */

/* On the sender's shard. */
static void send_begin(struct call *c, const struct conv_key *key, bool member, struct slice content,
                       struct slice client_id)
{
    static const struct hook_waiter waiter = {.refresh = pending_refresh, .resume = send_resume};
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
        pending_begin(c, key, h.wait, &waiter, client_id, 0);
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
    if (c->shard->opt->send != SEND_ANY && call_looks(c, channel))
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
