/* Actions 5 query history, 10 list conversations, 11 mark read. */
#include "core/base/push.h"
#include "core/hub/act/acts.h"
#include "core/hub/act/page.h"
#include "core/hub/act/subscriber.h"
#include "core/hub/people/field.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/hook.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/conv.h"
#include "core/hub/talk/encode.h"

#include <stdlib.h>

/* Whether the caller may read the conversation; answers when not. */
static bool may_read(struct call *c, const struct conv_key *key)
{
    struct slice k = conv_key_slice(key);
    if (!conv_is_channel(k) || call_subscribed(c, conv_channel_name(k)))
        return true;
    if (!call_looks(c, conv_channel_name(k)))
        call_deny_stranger(c, key);
    return false;
}

/* --- History --- */

struct history {
    struct req r;
    struct store_range op;
    struct conv_key key;
};

static void history_read(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct history *q = OP_END(owner, op, struct history, op.op);
    if (op->status != STORE_OK) {
        req_fail_read(&q->r, op->status, "");
    } else {
        struct buf *b = &q->r.body;
        bool oldest_first = q->op.has_after && !q->op.has_before;
        bool cut = page_encode(b, &q->op.page, conv_key_slice(&q->key), oldest_first, s->opt->page_max);
        buf_printf(b, ",\"first\":%llu,\"last\":%llu,\"more\":%s}", (unsigned long long)q->op.first,
                   (unsigned long long)q->op.last, q->op.more || cut ? "true" : "false");
    }
    store_page_free(&q->op.page);
    req_done(s, &q->r);
}

static void handle_history(struct call *c)
{
    struct shard *s = c->shard;
    struct conv_key key;
    uint64_t after = 0, before = 0;
    bool has_after, has_before;
    uint32_t limit;
    if (!call_get_conversation(c, &key) || !call_get_int(c, "after", 0, false, &has_after, &after) ||
        !call_get_int(c, "before", 0, false, &has_before, &before) || !call_get_limit(c, &limit) || !may_read(c, &key))
        return;
    struct slice k = conv_key_slice(&key);
    struct hook_call h = {
        .shard = s, .user = call_user_id(c), .user_name = call_user_name(c), .claims = grant_claims(s, c->conn)};
    if (conv_is_channel(k))
        h.channel = conv_channel_name(k);
    else
        h.peer = conv_pair_peer(k, h.user);
    if (hooks_run(HOOK_HISTORY, &h) == HOOK_REJECT) {
        call_reject(c, &h);
        return;
    }
    struct history *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    q->key = key;
    q->op = (struct store_range){.conv = conv_key_slice(&q->key),
                                 .has_after = has_after,
                                 .has_before = has_before,
                                 .after = after,
                                 .before = before,
                                 .limit = limit,
                                 .page_bytes = s->opt->page_max};
    if (!conv_is_channel(k)) /* the caller's id, of which the key has a copy that stays */
        q->op.reader = conv_pair_peer(q->op.conv, h.peer);
    op_begin(s, &q->op.op, history_read);
    store_range(s->store, &q->op);
}

/* --- Conversations --- */

struct conversations {
    struct req r;
    struct store_conversations op;
    char strings[64 + STORE_CURSOR_MAX]; /* user id, cursor */
};

static void encode_entry(struct buf *b, const struct store_conversations *o, uint32_t i, struct slice self)
{
    const struct store_conversation *v = &o->list[i];
    buf_str(b, i ? ",{" : "{");
    encode_conversation(b, v->conv, self);
    buf_printf(b, ",\"seq\":%llu,\"read\":%llu,\"unread\":%llu", (unsigned long long)v->seq,
               (unsigned long long)v->read, (unsigned long long)v->unread);
    if (v->last >= 0) {
        buf_lit(b, ",\"last\":");
        encode_message(b, v->conv, &o->page.messages[v->last]);
    }
    buf_byte(b, '}');
}

static void conversations_read(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct conversations *q = OP_END(owner, op, struct conversations, op.op);
    if (op->status == STORE_NOTFOUND) {
        req_fail(&q->r, CODE_BAD_REQUEST, "cursor: not one of this server's");
    } else if (op->status != STORE_OK) {
        req_fail_read(&q->r, op->status, "");
    } else {
        buf_lit(&q->r.body, "{\"conversations\":[");
        for (uint32_t i = 0; i < q->op.n; i++)
            encode_entry(&q->r.body, &q->op, i, q->op.user);
        buf_byte(&q->r.body, ']');
        if (q->op.next_cursor[0]) {
            buf_lit(&q->r.body, ",\"cursor\":");
            buf_json_string(&q->r.body, slice_str(q->op.next_cursor));
        }
        buf_byte(&q->r.body, '}');
    }
    store_conversations_free(&q->op);
    req_done(s, &q->r);
}

static void handle_conversations(struct call *c)
{
    struct shard *s = c->shard;
    uint32_t limit;
    struct slice cursor, id = call_user_id(c);
    if (!call_get_limit(c, &limit) || !call_get_cursor(c, &cursor))
        return;
    struct conversations *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    memcpy(q->strings, id.p, id.n);
    if (cursor.n)
        memcpy(q->strings + id.n, cursor.p, cursor.n);
    q->op = (struct store_conversations){.user = slice_of(q->strings, id.n),
                                         .cursor = slice_of(q->strings + id.n, cursor.n),
                                         .limit = limit,
                                         .page_bytes = s->opt->page_max};
    op_begin(s, &q->op.op, conversations_read);
    store_conversations(s->store, &q->op);
}

/* --- Mark read --- */

struct mark {
    struct req r;
    struct store_mark_read op;
    struct conv_key key;
    char id[64];
};

static void mark_after(struct req *r)
{
    struct mark *q = (struct mark *)r;
    if (r->code != CODE_OK || !q->op.moved)
        return;
    struct buf *b = &r->home->scratch;
    buf_reset(b);
    buf_byte(b, '{');
    encode_conversation(b, conv_key_slice(&q->key), q->op.user);
    buf_printf(b, ",\"seq\":%llu}", (unsigned long long)q->op.read);
    push_others(r, PUSH_READ_ELSEWHERE, b);
}

static void mark_stored(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct mark *q = OP_END(owner, op, struct mark, op.op);
    if (op->status != STORE_OK)
        req_fail_store(&q->r, op->status, "there is no such conversation");
    else
        buf_printf(&q->r.body, "{\"unread\":%llu}", (unsigned long long)q->op.unread);
    req_done(s, &q->r);
}

static void handle_mark_read(struct call *c)
{
    struct shard *s = c->shard;
    struct conv_key key;
    uint64_t seq = 0;
    bool has;
    if (!call_get_conversation(c, &key) || !call_get_int(c, "seq", 0, true, &has, &seq) || !may_read(c, &key))
        return;
    struct mark *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    struct slice id = call_user_id(c);
    memcpy(q->id, id.p, id.n);
    q->key = key;
    q->r.after = mark_after;
    q->op = (struct store_mark_read){.conv = conv_key_slice(&q->key), .user = slice_of(q->id, id.n), .seq = seq};
    op_begin(s, &q->op.op, mark_stored);
    store_mark_read(s->store, &q->op);
}

int act_history_register(struct hub *hub)
{
    static const struct action actions[] = {
        {.number = 5, .name = "history", .class = CLASS_READ, .handle = handle_history},
        {.number = 10, .name = "conversations", .class = CLASS_READ, .handle = handle_conversations},
        {.number = 11, .name = "mark_read", .class = CLASS_ALONE, .handle = handle_mark_read},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
