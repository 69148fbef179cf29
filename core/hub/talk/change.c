#include "core/hub/talk/change.h"

#include "core/base/clock.h"
#include "core/hub/shard/op.h"
#include "core/hub/shard/why.h"
#include "core/hub/talk/news.h"
#include "core/hub/talk/send.h"
#include "core/hub/talk/tell.h"

#include <stdlib.h>

void change_encode_edited(struct buf *b, uint64_t edited_ms)
{
    buf_lit(b, "{\"editedAt\":");
    buf_dec(b, edited_ms);
    buf_byte(b, '}');
}

static struct slice put(char **at, struct slice s)
{
    char *p = *at;
    if (s.n)
        memcpy(p, s.p, s.n);
    *at += s.n;
    return slice_of(p, s.n);
}

/* --- Telling those who may have it -------------------------------------------------------------------------------- */

static uint64_t id_of(const struct change *q)
{
    return q->edit ? q->op.edit.id : q->op.recall.id;
}

/* As other servers are told of it. */
static struct bus_news news_of(const struct change *q, struct slice conv)
{
    const struct store_edit *e = &q->op.edit;
    struct bus_news n = {.kind = q->edit ? NEWS_EDITED : NEWS_RECALLED,
                         .seq = q->seq,
                         .id = id_of(q),
                         .conv = conv,
                         .user = q->user,
                         .sender = q->user};
    if (q->edit) {
        n.time = e->edited_ms;
        n.created = e->created_ms;
        n.name = slice_of(e->name, e->name_len);
        n.content = q->content;
    }
    return n;
}

/* What the hooks are told: the request is gone by then, so its texts are copied. */
struct told {
    struct hook_call h;
    struct conv_key key;
    char data[]; /* user, user_name, content, claims */
};

static struct told *told_note(struct shard *s, const struct change *q)
{
    if (!hooks_any(s, q->edit ? HOOK_EDITED : HOOK_RECALLED))
        return NULL;
    struct slice claims = slice_str(q->o.r.claims);
    struct told *t = malloc(sizeof *t + q->user.n + q->user_name.n + q->content.n + claims.n);
    if (!t)
        return NULL;
    char *at = t->data;
    t->key = q->o.key;
    t->h = (struct hook_call){.shard = s,
                              .conn = NONE,
                              .user = put(&at, q->user),
                              .user_name = put(&at, q->user_name),
                              .content = put(&at, q->content),
                              .claims = put(&at, claims),
                              .members = conv_at(s, q->o.conv)->members,
                              .id = id_of(q),
                              .seq = q->seq,
                              .edit = q->edit,
                              .edited_ms = q->edit ? q->op.edit.edited_ms : 0};
    send_hook_about(&t->h, &t->key);
    if (!q->user.n && !t->h.channel.n)
        conv_pair_users(conv_key_slice(&t->key), &t->h.pair[0], &t->h.pair[1]);
    return t;
}

static void told_run(struct told *t)
{
    if (!t)
        return;
    hooks_run(t->h.edit ? HOOK_EDITED : HOOK_RECALLED, &t->h);
    free(t);
}

/* It is stored: answers, then tells. */
static void change_tell(struct shard *s, struct change *q)
{
    uint32_t conv = q->o.conv;
    struct conv *v = conv_at(s, conv);
    struct slice key = conv_slice(v);
    const struct bus_news n = news_of(q, key);
    struct tell_except except = {.user = q->user, .conn = q->o.r.conn, .generation = q->o.r.generation};
    enum news_turn turn = s->bus ? news_turn_change(s, conv, q->seq, q->edit ? n.time : UINT64_MAX) : NEWS_NOW;
    struct bus_news *held = turn == NEWS_WAITS ? news_copy(&n) : NULL;
    struct tell t;
    why_note(s, &(struct why_note){.kind = q->edit ? WHY_EDITED : WHY_RECALLED,
                                   .id = id_of(q),
                                   .seq = q->seq,
                                   .conv = hash_bytes(key),
                                   .user = hash_bytes(q->user)});
    tell_change(&t, key, &n, &except);
    struct told *told = told_note(s, q);
    /* The answer goes first, and the request with it; then the pushes. */
    v->pins++;
    owned_done(&q->o);
    if (turn == NEWS_NOW)
        tell_go(s, conv, &t, false);
    else
        tell_drop(&t);
    if (held)
        news_hold(s, conv, held, &except);
    told_run(told);
    v->pins--;
}

/* --- What the store says ------------------------------------------------------------------------------------------ */

static void change_fail(struct change *q, enum store_status status)
{
    struct req *r = &q->o.r;
    if (status == STORE_DENIED)
        req_fail(r, CODE_FORBIDDEN,
                 q->edit ? "only the sender may edit a message" : "only the sender may recall a message");
    else if (status == STORE_LATE)
        req_fail(r, CODE_FORBIDDEN,
                 q->edit ? "the time to edit this message has passed" : "the time to recall this message has passed");
    else
        req_fail_store(r, status,
                       q->edit ? "seq: there is no such message, or it was recalled" : "seq: there is no such message");
    owned_done(&q->o);
}

static void recall_stored(void *owner, struct store_op *op)
{
    struct change *q = OP_END(owner, op, struct change, op.recall.op);
    if (op->status != STORE_OK)
        change_fail(q, op->status);
    else if (q->op.recall.again)
        owned_done(&q->o);
    else
        change_tell(owner, q);
}

static void edit_stored(void *owner, struct store_op *op)
{
    struct change *q = OP_END(owner, op, struct change, op.edit.op);
    if (op->status != STORE_OK) {
        change_fail(q, op->status);
        return;
    }
    change_encode_edited(&q->o.r.body, q->op.edit.edited_ms);
    change_tell(owner, q);
}

/* --- On the owner ------------------------------------------------------------------------------------------------- */

static void recall_ready(struct owned_req *o)
{
    struct change *q = (struct change *)o;
    struct shard *s = o->owner;
    q->op.recall = (struct store_recall){.conv = conv_slice(conv_at(s, o->conv)),
                                         .sender = q->privileged ? SLICE_NONE : q->user,
                                         .seq = q->seq,
                                         .window_ms = q->privileged ? 0 : s->opt->recall_ms};
    owned_op(o, &q->op.recall.op, recall_stored);
    store_recall(s->store, &q->op.recall);
}

/* Asks the hooks of the conversation, as a new message would be. False: it has been answered. */
static bool edit_passes(struct change *q, struct conv *v)
{
    struct owned_req *o = &q->o;
    struct shard *s = o->owner;
    struct hook_call h = {.shard = s,
                          .conn = NONE,
                          .rate = conv_rate_now(s, v),
                          .tier = v->tier,
                          .user = q->user,
                          .user_name = q->user_name,
                          .claims = slice_str(o->r.claims),
                          .members = v->members,
                          .bucket = &v->rate,
                          .content = q->content,
                          .seq = q->seq,
                          .edit = true};
    send_hook_about(&h, &o->key);
    enum hook_verdict verdict = hooks_run(HOOK_CONVERSATION, &h);
    if (verdict == HOOK_DROP) {
        change_encode_edited(&o->r.body, clock_wall_ms());
    } else if (verdict == HOOK_REJECT) {
        req_fail(&o->r, h.code, h.message);
        o->r.retry_after_ms = h.retry_after_ms;
    } else if (h.advice.over_limit) {
        /* Policy "complete" spares receivers by slices of new messages. An edit that waits for none is refused. */
        req_fail(&o->r, CODE_RATE_LIMITED, "too many messages in this conversation");
        o->r.retry_after_ms = h.advice.slice_ms ? h.advice.slice_ms : s->opt->slice_ms;
    } else {
        return true;
    }
    owned_done(o);
    return false;
}

static void edit_ready(struct owned_req *o)
{
    struct change *q = (struct change *)o;
    struct shard *s = o->owner;
    struct conv *v = conv_at(s, o->conv);
    if (!send_admitted(o, q->user, q->member, "peerId: no such user") || !edit_passes(q, v))
        return;
    q->op.edit = (struct store_edit){
        .conv = conv_slice(v), .sender = q->user, .seq = q->seq, .window_ms = s->opt->edit_ms, .content = q->content};
    owned_op(o, &q->op.edit.op, edit_stored);
    store_edit(s->store, &q->op.edit);
}

/* --- Made --------------------------------------------------------------------------------------------------------- */

size_t change_size(struct slice user, struct slice user_name, struct slice content)
{
    return sizeof(struct change) + user.n + user_name.n + content.n;
}

void change_fill(struct change *q, const struct conv_key *key, const struct hook_call *h)
{
    char *at = q->data;
    q->edit = h->edit;
    q->user = put(&at, h->user);
    q->user_name = put(&at, h->user_name);
    q->content = put(&at, h->content);
    q->seq = h->seq;
    q->o.key = *key;
    q->o.ready = h->edit ? edit_ready : recall_ready;
    q->o.fresh =
        h->edit && !conv_is_channel(conv_key_slice(key)); /* whether it is blocked, for no append looks at that again */
}
