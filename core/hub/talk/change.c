#include "core/hub/talk/change.h"

#include "core/base/clock.h"
#include "core/base/push.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/op.h"
#include "core/hub/shard/why.h"
#include "core/hub/talk/encode.h"
#include "core/hub/talk/publish.h"
#include "core/hub/talk/send.h"
#include "core/hub/talk/user_mail.h"

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

/* Body of 109 or 110, as `self` sees the conversation. */
static void push_body(struct buf *b, struct slice conv, struct slice self, const struct change *q)
{
    buf_byte(b, '{');
    encode_conversation(b, conv, self);
    buf_lit(b, ",\"seq\":");
    buf_dec(b, q->seq);
    buf_lit(b, ",\"id\":");
    encode_id(b, id_of(q));
    if (q->edit) {
        buf_lit(b, ",\"content\":\"");
        buf_json_escape(b, q->content);
        buf_lit(b, "\",\"editedAt\":");
        buf_dec(b, q->op.edit.edited_ms);
    }
    buf_byte(b, '}');
}

/* Each of the two sees the other as the peer; the connection that asked has its answer. */
static void push_pair(const struct change *q, struct slice conv, struct user_mail *out[2])
{
    struct slice ids[2];
    conv_pair_users(conv, &ids[0], &ids[1]);
    for (int i = 0; i < (slice_eq(ids[0], ids[1]) ? 1 : 2); i++) {
        struct buf b = BUF_INIT;
        push_body(&b, conv, ids[i], q);
        if (buf_ok(&b))
            out[i] = user_mail_new(ids[i], q->edit ? PUSH_EDITED : PUSH_RECALLED, buf_slice(&b),
                                   slice_eq(ids[i], q->user) ? q->o.r.conn : NONE, q->o.r.generation);
        buf_free(&b);
    }
}

/* The message as it is now, for windows that hold the old one. */
static struct slice message_body(struct buf *b, struct slice conv, const struct change *q)
{
    const struct store_edit *e = &q->op.edit;
    const struct store_message m = {.seq = q->seq,
                                    .id = e->id,
                                    .created_ms = e->created_ms,
                                    .edited_ms = e->edited_ms,
                                    .sender = q->user,
                                    .sender_name = slice_of(e->name, e->name_len),
                                    .content = q->content};
    encode_message(b, conv, &m);
    return buf_slice(b);
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
    bool channel = conv_is_channel(key), edit = q->edit;
    uint64_t seq = q->seq;
    struct buf body = BUF_INIT, message = BUF_INIT;
    struct user_mail *mails[2] = {NULL, NULL};
    why_note(s, &(struct why_note){.kind = edit ? WHY_EDITED : WHY_RECALLED,
                                   .id = id_of(q),
                                   .seq = seq,
                                   .conv = hash_bytes(key),
                                   .user = hash_bytes(q->user)});
    if (channel) {
        push_body(&body, key, SLICE_NONE, q);
        if (edit)
            message_body(&message, key, q);
    } else {
        push_pair(q, key, mails);
    }
    struct told *told = told_note(s, q);
    /* The answer goes first, and the request with it; then the pushes. */
    v->pins++;
    owned_done(&q->o);
    if (channel && buf_ok(&body) && buf_ok(&message)) {
        if (edit)
            conv_publish_edit(s, conv, seq, buf_slice(&body), buf_slice(&message));
        else
            conv_publish_recall(s, conv, seq, buf_slice(&body));
    }
    user_mail_post(s->hub, s, mails[0]);
    user_mail_post(s->hub, s, mails[1]);
    told_run(told);
    v->pins--;
    buf_free(&body);
    buf_free(&message);
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
}
