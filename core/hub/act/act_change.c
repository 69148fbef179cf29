/* Actions 14 recall message, 17 edit message. */
#include "core/base/clock.h"
#include "core/hub/act/acts.h"
#include "core/hub/act/pending.h"
#include "core/hub/act/subscriber.h"
#include "core/hub/people/field.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/action.h"
#include "core/hub/talk/change.h"
#include "core/hub/talk/send.h"

static struct hook_call hook_of(struct call *c, const struct conv_key *key, uint64_t seq)
{
    struct hook_call h = {.shard = c->shard,
                          .conn = c->conn,
                          .user = call_user_id(c),
                          .user_name = call_user_name(c),
                          .claims = call_claims(c),
                          .seq = seq};
    send_hook_about(&h, key);
    return h;
}

/* Nobody needs to subscribe to a private conversation. */
static bool is_member(const struct call *c, const struct conv_key *key)
{
    struct slice k = conv_key_slice(key);
    return !conv_is_channel(k) || call_subscribed(c, conv_channel_name(k));
}

/* As call_looks(), where being subscribed matters. */
static bool looks(struct call *c, const struct conv_key *key)
{
    struct slice k = conv_key_slice(key);
    return c->shard->opt->send != SEND_ANY && conv_is_channel(k) && call_looks(c, conv_channel_name(k));
}

static void change_begin(struct call *c, const struct conv_key *key, const struct hook_call *h, bool member)
{
    struct change *q = req_begin(c, change_size(h->user, h->user_name, h->content));
    if (!q)
        return;
    q->member = member;
    change_fill(q, key, h);
    owned_post(c->shard, &q->o);
}

static void handle_recall(struct call *c)
{
    struct conv_key key;
    uint64_t seq = 0;
    bool has;
    if (!call_get_conversation(c, &key) || !call_get_int(c, "seq", 1, true, &has, &seq))
        return;
    if (c->shard->opt->send != SEND_ANY && !is_member(c, &key)) { /* whoever may send there may take it back */
        if (!looks(c, &key))
            call_deny_stranger(c, &key);
        return;
    }
    struct hook_call h = hook_of(c, &key, seq);
    enum hook_verdict verdict = hooks_run(HOOK_RECALL, &h);
    if (verdict == HOOK_DROP)
        call_reply(c, SLICE_NONE);
    else if (verdict == HOOK_REJECT)
        call_reject(c, &h);
    else
        change_begin(c, &key, &h, true);
}

/* --- Edits, and hooks that answer later --------------------------------------------------------------------------- */

/* The message hooks let it through: it becomes a change as any other, by what its user may now. */
static void edit_go_on(struct shard *s, struct pending *w, const struct hook_call *h)
{
    struct conv_key key = w->key;
    bool member = pending_member(w, s);
    struct change *q = req_become(&w->r, change_size(h->user, h->user_name, h->content));
    if (!q) {
        req_fail(&w->r, CODE_INTERNAL, "out of memory");
        req_done(s, &w->r);
        return;
    }
    q->member = member;
    change_fill(q, &key, h);
    owned_post(s, &q->o);
}

static void edit_resume(struct hook_call *h, enum hook_verdict verdict, void *ctx)
{
    struct pending *w = ctx;
    struct shard *s = h->shard;
    uint32_t conn = w->r.conn, generation = w->r.generation;
    h->may_wait = false;
    if (pending_here(w, s) && verdict != HOOK_DROP && verdict != HOOK_REJECT)
        verdict = hooks_run(HOOK_EDIT, h);
    if (pending_refused(w, h, verdict)) {
        ;
    } else if (verdict == HOOK_DROP) {
        change_encode_edited(&w->r.body, clock_wall_ms());
        req_done(s, &w->r);
    } else {
        edit_go_on(s, w, h);
    }
    req_go_on(s, conn, generation);
}

static void handle_edit(struct call *c)
{
    static const struct hook_waiter waiter = {.refresh = pending_refresh, .resume = edit_resume};
    struct shard *s = c->shard;
    struct conv_key key;
    uint64_t seq = 0;
    bool has;
    struct slice content;
    if (!call_get_conversation(c, &key) || !call_get_int(c, "seq", 1, true, &has, &seq) ||
        !call_get_content(c, &content) || looks(c, &key))
        return;
    struct hook_call h = hook_of(c, &key, seq);
    h.content = content;
    h.bucket = &user_at(s, c->user)->rate;
    h.edit = h.may_wait = true;
    enum hook_verdict verdict = hooks_run(HOOK_MESSAGE, &h);
    if (verdict == HOOK_LATER) {
        pending_begin(c, &key, h.wait, &waiter, SLICE_NONE, seq);
        return;
    }
    h.may_wait = false;
    if (verdict != HOOK_DROP && verdict != HOOK_REJECT)
        verdict = hooks_run(HOOK_EDIT, &h);
    if (verdict == HOOK_REJECT) {
        call_reject(c, &h);
    } else if (verdict == HOOK_DROP) {
        buf_reset(&s->scratch);
        change_encode_edited(&s->scratch, clock_wall_ms());
        call_reply(c, buf_slice(&s->scratch));
    } else {
        change_begin(c, &key, &h, is_member(c, &key));
    }
}

int act_change_register(struct hub *hub)
{
    static const struct action actions[] = {
        {.number = 14, .name = "recall", .class = CLASS_ALONE, .handle = handle_recall},
        {.number = 17, .name = "edit", .class = CLASS_ALONE, .handle = handle_edit},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
