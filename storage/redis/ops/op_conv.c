/* What an owner shard must know of a conversation; what a channel's head remembers; blocks. */
#include "storage/conv_key.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/ops/history.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

/* --- Loading ------------------------------------------------------------------------------------------------------ */

struct loading {
    struct history history;
    struct call users[2];
    uint8_t left; /* answers that have not come */
    enum store_status status;
};

static void load_step(struct redis *r, struct task *t, enum store_status status)
{
    struct loading *w = t->own;
    if (status != STORE_OK)
        w->status = status;
    if (--w->left == 0)
        task_end(r, t, w->status);
}

static void head_read(struct redis *r, struct history *h, enum store_status status)
{
    struct task *t = h->ctx;
    struct store_conv_load *c = (struct store_conv_load *)t->op;
    const struct layout_head *head = &h->head;
    bool channel = conv_is_channel(c->conv), made = head->flags & LAYOUT_MADE;
    c->exists = channel ? made && !(head->flags & LAYOUT_WIPING) : head->seq > 0;
    c->seq = head->seq;
    c->first = h->first;
    c->last_id = head->last_id;
    c->members = head->members;
    c->version = head->version;
    c->tier = !channel ? TIER_DM : made ? (enum store_tier)head->tier : TIER_SMALL;
    c->blocks[0] = !channel && head->flags & LAYOUT_LOW_BLOCKS;
    c->blocks[1] = !channel && head->flags & LAYOUT_HIGH_BLOCKS;
    page_drop(&h->page); /* it has no messages */
    load_step(r, t, status);
}

static void load_user(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct loading *w = t->own;
    struct gone_user user;
    if (status == STORE_OK && !gone_read(reply, &user))
        status = STORE_FATAL;
    if (status == STORE_OK)
        ((struct store_conv_load *)t->op)->user_exists[c == &w->users[1]] = user.exists;
    load_step(r, t, status);
}

void begin_conv_load(struct redis *r, struct task *t)
{
    struct store_conv_load *c = (struct store_conv_load *)t->op;
    struct loading *w = task_own(t, sizeof *w);
    if (!w || !c->conv.n || c->conv.n > CONV_KEY_MAX) {
        task_end(r, t, w ? STORE_FATAL : STORE_RETRY);
        return;
    }
    c->user_exists[0] = c->user_exists[1] = false;
    w->left = conv_is_channel(c->conv) ? 1 : 3;
    w->history = (struct history){.conv = c->conv, .done = head_read, .ctx = t};
    history_read(r, &w->history);
    if (!conv_is_channel(c->conv)) {
        struct slice users[2];
        conv_pair_users(c->conv, &users[0], &users[1]);
        for (int i = 0; i < 2; i++)
            gone_ask(r, &w->users[i], users[i], load_user, t);
    }
}

/* --- A channel's tier --------------------------------------------------------------------------------------------- */

static void tier_saved(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    const struct store_channel_save *s = (struct store_channel_save *)t->op;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        status = task_status(reply_u8(&in));
        struct bus_news n = {.kind = NEWS_CHANNEL, .conv = s->conv, .tier = (uint8_t)s->tier};
        n.members = status == STORE_OK ? reply_u32(&in) : 0;
        n.version = status == STORE_OK ? reply_u48(&in) : 0;
        if (!reply_ok(&in))
            status = STORE_FATAL;
        if (status == STORE_OK)
            tell_channel(r, t, &n);
    }
    task_end(r, t, status);
}

void begin_channel_save(struct redis *r, struct task *t)
{
    struct store_channel_save *s = (struct store_channel_save *)t->op;
    struct call *c = task_own(t, sizeof *c);
    if (!c || s->tier >= TIER_COUNT || !s->conv.n || s->conv.n > CONV_KEY_MAX) {
        task_end(r, t, c ? STORE_FATAL : STORE_RETRY);
        return;
    }
    call_begin(r, c, FN_TIER, partition_of(s->conv));
    call_key(r, c, 'm', s->conv);
    call_arg_u64(c, s->tier);
    c->about = task_about(s->conv);
    c->done = tier_saved;
    c->ctx = t;
    call_post(r, c);
}

/* --- Blocks ------------------------------------------------------------------------------------------------------- */

/*
 * What is in force stands in the pair's head, where messages are checked. The user's own record lists whom it blocks,
 * so that this can be lifted when the user is deleted: whoever stands in a head stands in the list, too. So a block is
 * listed first, and struck from the list last.
 */
struct blocking {
    struct call call;
    struct conv_key pair;
    bool last; /* the other of both is done */
};

static void block_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply);

static void block_list(struct redis *r, struct task *t)
{
    struct store_block *b = (struct store_block *)t->op;
    struct blocking *w = t->own;
    call_begin(r, &w->call, b->blocked ? FN_BLOCKS : FN_UNBLOCKED, partition_of_user(b->user));
    call_key(r, &w->call, 'u', b->user);
    call_arg(&w->call, b->target);
    if (b->blocked)
        call_arg_u64(&w->call, 1);
    w->call.about = task_about(b->user);
    w->call.done = block_done;
    w->call.ctx = t;
    call_post(r, &w->call);
}

static void block_pair(struct redis *r, struct task *t)
{
    struct store_block *b = (struct store_block *)t->op;
    struct blocking *w = t->own;
    struct slice lo, hi, pair = conv_key_slice(&w->pair);
    conv_pair_users(pair, &lo, &hi);
    char args[2] = {!slice_eq(b->user, lo), b->blocked};
    call_begin(r, &w->call, FN_BLOCK, partition_of(pair));
    call_key(r, &w->call, 'm', pair);
    call_arg(&w->call, slice_of(args, sizeof args));
    call_arg(&w->call, pair);
    w->call.about = task_about(pair);
    w->call.done = block_done;
    w->call.ctx = t;
    call_post(r, &w->call);
}

static void block_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct blocking *w = t->own;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        status = task_status(reply_u8(&in));
    }
    if (status != STORE_OK || w->last) {
        /* One of both may have been done. */
        task_end(r, t, w->last && status == STORE_RETRY ? STORE_UNKNOWN : status);
        return;
    }
    w->last = true;
    if (((struct store_block *)t->op)->blocked)
        block_pair(r, t);
    else
        block_list(r, t);
}

static void blocker_known(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct gone_user user;
    if (status == STORE_OK && !gone_read(reply, &user))
        status = STORE_FATAL;
    if (status == STORE_OK && user.gone)
        status = STORE_NOTFOUND;
    if (status != STORE_OK)
        task_end(r, t, status);
    else
        block_pair(r, t);
}

void begin_block(struct redis *r, struct task *t)
{
    struct store_block *b = (struct store_block *)t->op;
    struct blocking *w = task_own(t, sizeof *w);
    bool sane = b->user.n >= 1 && b->user.n <= 64 && b->target.n >= 1 && b->target.n <= 64;
    if (!w || !sane) {
        task_end(r, t, sane ? STORE_RETRY : STORE_FATAL);
        return;
    }
    w->pair = conv_key_pair(b->user, b->target);
    task_hold(t); /* the halves of two blocks must not get between each other */
    if (b->blocked)
        block_list(r, t);
    else if (gone_maybe(r, b->user))
        gone_ask(r, &w->call, b->user, blocker_known, t);
    else
        block_pair(r, t);
}
