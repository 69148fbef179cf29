/* Messages that are recalled or edited. */
#include "storage/conv_key.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/cold/cold_change.h"
#include "storage/redis/layout.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/rule.h"
#include "storage/redis/task.h"

/* What both operations ask for. */
struct wish {
    struct slice conv, sender, content;
    uint64_t seq, window_ms;
    bool edit;
};

struct changing {
    struct call call;
    struct wish wish;
    uint64_t until; /* of gone_user */
    uint64_t now_ms;
    struct cold_change cold;
};

/* Those who follow the channel, or the nodes of both users. */
static void change_tell(struct redis *r, struct task *t, uint64_t id, uint64_t created, uint64_t edited,
                        struct slice name)
{
    const struct wish *wish = &((struct changing *)t->own)->wish;
    struct bus_news n = {.kind = wish->edit ? NEWS_EDITED : NEWS_RECALLED,
                         .conv = wish->conv,
                         .seq = wish->seq,
                         .id = id,
                         .time = edited,
                         .created = created,
                         .sender = wish->sender,
                         .name = name,
                         .content = wish->content};
    if (conv_is_channel(wish->conv)) {
        tell_channel(r, t, &n);
        return;
    }
    struct slice lo, hi;
    conv_pair_users(wish->conv, &lo, &hi);
    n.user = lo;
    tell_user(r, t, &n);
    n.user = hi;
    if (!slice_eq(lo, hi))
        tell_user(r, t, &n);
}

/* again: it was done before, by whoever told of it. */
static void change_done(struct redis *r, struct task *t, bool again, uint64_t id, uint64_t created, uint64_t edited,
                        struct slice name)
{
    if (!again)
        change_tell(r, t, id, created, edited, name);
    if (t->op->kind == OP_RECALL) {
        struct store_recall *q = (struct store_recall *)t->op;
        q->id = id;
        q->again = again;
        return;
    }
    struct store_edit *e = (struct store_edit *)t->op;
    e->id = id;
    e->created_ms = created;
    e->edited_ms = edited;
    e->name_len = (uint8_t)name.n;
    memcpy(e->name, name.p ? name.p : "", e->name_len);
}

static void change_take(struct redis *r, struct task *t, bool again, struct reply_in *in)
{
    uint64_t id = reply_u64(in), created = reply_u48(in), edited = reply_u48(in);
    reply_u16(in);
    struct slice name = reply_rest(in);
    if (reply_ok(in))
        change_done(r, t, again, id, created, edited, name);
}

/* It was in the archive alone. */
static void cold_changed(struct redis *r, struct cold_change *c, enum store_status status)
{
    if (status == STORE_OK)
        change_done(r, c->ctx, c->again, c->id, c->created_ms, c->edited_ms, slice_of(c->name, c->name_len));
    task_end(r, c->ctx, status);
}

static void change_cold(struct redis *r, struct task *t)
{
    struct changing *w = t->own;
    w->cold = (struct cold_change){.conv = w->wish.conv,
                                   .sender = w->wish.sender,
                                   .content = w->wish.content,
                                   .seq = w->wish.seq,
                                   .window_ms = w->wish.window_ms,
                                   .until = w->until,
                                   .now_ms = w->now_ms,
                                   .edit = w->wish.edit,
                                   .done = cold_changed,
                                   .ctx = t};
    cold_change(r, &w->cold);
}

static void change_replied(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        uint8_t code = reply_u8(&in);
        status = task_status(code);
        if (code == 'X' && reply_u8(&in) == 1 && r->cold && !conv_is_channel(((struct changing *)t->own)->wish.conv)) {
            change_cold(r, t);
            return;
        }
        if (status == STORE_OK)
            change_take(r, t, code == 'D' && !c->tried, &in); /* tried: its own first reply may have been lost */
        if (!reply_ok(&in))
            status = STORE_FATAL;
    }
    task_end(r, t, status);
}

static void change_post(struct redis *r, struct task *t, uint64_t until)
{
    struct changing *w = t->own;
    const struct wish *wish = &w->wish;
    uint64_t border = layout_place(until);
    char args[26 + LAYOUT_RULE];
    w->until = until;
    w->now_ms = time_now(r);
    layout_put48(args, w->now_ms);
    layout_put48(args + 6, wish->seq);
    layout_put48(args + 12, wish->window_ms);
    args[18] = wish->edit;
    args[19] = (char)(border >> 48);
    layout_put48(args + 20, border & ((UINT64_C(1) << 48) - 1));
    rule_now(r, args + 26);
    call_begin(r, &w->call, FN_CHANGE, partition_of(wish->conv));
    call_key(r, &w->call, 'm', wish->conv);
    call_key(r, &w->call, 'A', SLICE_NONE);
    call_arg(&w->call, slice_of(args, sizeof args));
    call_arg(&w->call, wish->sender);
    call_arg(&w->call, wish->content);
    call_arg(&w->call, wish->conv);
    w->call.about = task_about(wish->conv);
    w->call.done = change_replied;
    w->call.ctx = t;
    call_post(r, &w->call);
}

static void sender_known(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct gone_user user;
    if (status == STORE_OK && !gone_read(reply, &user))
        status = STORE_FATAL;
    if (status != STORE_OK) {
        task_end(r, t, status);
        return;
    }
    change_post(r, t, user.until);
    task_go(r, t);
}

static void change_begin(struct redis *r, struct task *t, const struct wish *wish)
{
    struct changing *w = task_own(t, sizeof *w);
    if (!w || !wish->conv.n || wish->conv.n > CONV_KEY_MAX || wish->sender.n > 64) {
        task_end(r, t, w ? STORE_FATAL : STORE_RETRY);
        return;
    }
    w->wish = *wish;
    if (wish->sender.n && gone_maybe(r, wish->sender)) {
        task_hold(t);
        gone_ask(r, &w->call, wish->sender, sender_known, t);
    } else {
        change_post(r, t, 0);
    }
}

/* More than a message can have: there is no such one. */
static uint64_t seq_of(uint64_t seq)
{
    return seq >> 48 ? 0 : seq;
}

static uint64_t window_of(uint64_t ms)
{
    return ms >> 48 ? 0 : ms;
}

void begin_recall(struct redis *r, struct task *t)
{
    struct store_recall *q = (struct store_recall *)t->op;
    q->again = false;
    change_begin(
        r, t,
        &(struct wish){
            .conv = q->conv, .sender = q->sender, .seq = seq_of(q->seq), .window_ms = window_of(q->window_ms)});
}

void begin_edit(struct redis *r, struct task *t)
{
    struct store_edit *e = (struct store_edit *)t->op;
    change_begin(r, t,
                 &(struct wish){.conv = e->conv,
                                .sender = e->sender,
                                .content = e->content,
                                .seq = seq_of(e->seq),
                                .window_ms = window_of(e->window_ms),
                                .edit = true});
}
