/* Appending messages: the call, and a private message's second halves. */
#include "storage/conv_key.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/layout.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/ops/halves.h"
#include "storage/redis/ops/known.h"
#include "storage/redis/ops/marks.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/ops/untold.h"
#include "storage/redis/ops/windows.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/rule.h"
#include "storage/redis/task.h"

enum {
    ID_FIELD = 64,                        /* bytes of a user id or a client id at most */
    ARGS_FIXED = 64,                      /* what append is given, packed */
    ARGS_SIZE = ARGS_FIXED + LAYOUT_PAST, /* … with counts of before */
    /* Its bits, as functions/append.lua names them. */
    ONLY_REPEAT = 1,
    ARCHIVED = 2,
    MEMBERS_ONLY = 4,
    UNBLOCKED = 8,
    FROM_HIGH = 16,
    PAIRED = 32,
    INBOX = 128
};
#define CONTENT_MAX (UINT64_C(64) << 20)

struct appending {
    struct call call, peer; /* the message; the second one of two that ask at once */
    struct halves halves;
    uint64_t border;     /* place of the last message of who had the sender's or the receiver's id before; 0: nobody */
    uint64_t since;      /* when patience began */
    uint64_t now, place; /* what its call said: createdAt, and the smallest place of its id */
    uint8_t asks;        /* answers about users that have not come */
    bool paired;         /* the users of a pair have been looked at */
    bool gone;           /* one of them was deleted */
    enum store_status status; /* of what was asked */
};

static bool append_sane(const struct store_append *a)
{
    return a->sender.n >= 1 && a->sender.n <= ID_FIELD && a->sender_name.n <= STORE_NAME_MAX &&
           a->client_id.n <= ID_FIELD && a->receiver.n <= ID_FIELD && a->conv.n >= 2 && a->conv.n <= CONV_KEY_MAX &&
           a->tier < TIER_COUNT && a->content.n <= CONTENT_MAX && a->advice.n <= STORE_ADVICE_MAX;
}

static uint8_t append_bits(struct redis *r, const struct store_append *a, const struct appending *w)
{
    struct slice lo, hi;
    uint8_t bits = a->only_duplicate ? ONLY_REPEAT : 0;
    if (conv_is_channel(a->conv))
        return bits | (a->check == CHECK_MEMBER ? MEMBERS_ONLY : 0);
    conv_pair_users(a->conv, &lo, &hi);
    bits |= a->check == CHECK_BLOCK ? UNBLOCKED : 0;
    bits |= r->options.cluster.archive.url ? ARCHIVED : 0;
    bits |= slice_eq(a->sender, lo) ? 0 : FROM_HIGH;
    return bits | (w->paired ? PAIRED : 0) | (a->receiver.n ? INBOX : 0);
}

static void put_place(char out[7], uint64_t place)
{
    out[0] = (char)(place >> 48);
    layout_put48(out + 1, place & ((UINT64_C(1) << 48) - 1));
}

/* The smallest place that the message may get: above all that were given to this engine's messages before. */
static uint64_t place_next(struct redis *r, uint64_t now)
{
    uint64_t from = (now - LAYOUT_YEAR_2020) << 12;
    r->last_place = from > r->last_place ? from : r->last_place + 1;
    return r->last_place;
}

/* Returns their size. */
static size_t append_args(struct redis *r, const struct store_append *a, struct appending *w, uint64_t now,
                          unsigned part, char out[ARGS_SIZE])
{
    struct layout_rule rule;
    uint64_t window = r->options.dedup_window_ms;
    rule_get(r, &rule);
    layout_put48(out, now);
    store_be16(out + 6, (uint16_t)part);
    out[8] = (char)append_bits(r, a, w);
    out[9] = (char)a->tier;
    layout_put48(out + 10, a->ttl_ms);
    for (unsigned t = 0; t < TIER_COUNT; t++)
        store_be32(out + 16 + 4 * t, rule.max[t]);
    layout_put48(out + 28, known_get(r->known, a->conv).seq);
    put_place(out + 34, w->border);
    layout_put48(out + 41, rule_due(&rule, a->tier, a->ttl_ms));
    layout_put48(out + 47, now > window ? now - window + 1 : 0);
    w->now = now;
    w->place = place_next(r, now);
    put_place(out + 53, w->place);
    store_be32(out + 60, a->max);
    return layout_past_put(out + ARGS_FIXED, &rule) ? ARGS_SIZE : ARGS_FIXED;
}

static void append_replied(struct redis *r, struct call *c, enum store_status status, const struct reply *reply);

static void append_post(struct redis *r, struct task *t)
{
    struct store_append *a = (struct store_append *)t->op;
    struct appending *w = t->own;
    unsigned part = partition_of(a->conv);
    uint64_t now = time_now(r);
    char args[ARGS_SIZE], digest[LAYOUT_DIGEST];
    call_begin(r, &w->call, FN_APPEND, part);
    for (const char *kind = "mM"; *kind; kind++)
        call_key(r, &w->call, *kind, a->conv);
    for (const char *kind = "ogeA"; *kind; kind++)
        call_key(r, &w->call, *kind, SLICE_NONE);
    if (a->client_id.n) {
        windows_keys(r, &w->call, now);
        layout_digest(digest, a->sender, a->conv, a->client_id);
    }
    call_arg(&w->call, slice_of(args, append_args(r, a, w, now, part, args)));
    call_arg(&w->call, a->client_id.n ? slice_of(digest, sizeof digest) : SLICE_NONE);
    call_arg_open(&w->call, 2 + a->sender.n + a->sender_name.n + a->content.n);
    layout_texts_put(&w->call.body, a->sender, a->sender_name, a->content);
    call_arg_close(&w->call);
    call_arg(&w->call, a->conv);
    w->call.once = !a->client_id.n;
    w->call.relaxed = r->options.tiers[a->tier].durability == DURABILITY_ASYNC;
    w->call.about = task_about(a->conv);
    w->call.since = w->since;
    w->call.done = append_replied;
    w->call.ctx = t;
    call_post(r, &w->call);
    w->since = w->call.since;
}

/* --- Asking about the users first --------------------------------------------------------------------------------- */

/* All answers about users are there. */
static void users_known(struct redis *r, struct task *t)
{
    struct store_append *a = (struct store_append *)t->op;
    struct appending *w = t->own;
    if (w->status != STORE_OK)
        task_end(r, t, w->status);
    else if (w->gone)
        task_end(r, t, a->only_duplicate ? STORE_NOTFOUND : STORE_DENIED);
    else
        append_post(r, t);
}

static void user_known(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct appending *w = t->own;
    struct gone_user user;
    if (status == STORE_OK && !gone_read(reply, &user))
        status = STORE_FATAL;
    if (status != STORE_OK) {
        w->status = status;
    } else {
        w->gone |= user.gone;
        uint64_t place = user.until ? layout_place(user.until) : 0;
        w->border = place > w->border ? place : w->border;
    }
    if (--w->asks == 0)
        users_known(r, t);
}

/* The sender or the receiver may have an id that was another's: what stands of them? */
static void users_ask(struct redis *r, struct task *t)
{
    struct store_append *a = (struct store_append *)t->op;
    struct appending *w = t->own;
    w->asks = a->receiver.n && !slice_eq(a->sender, a->receiver) ? 2 : 1;
    if (w->asks == 2)
        gone_ask(r, &w->peer, a->receiver, user_known, t);
    gone_ask(r, &w->call, a->sender, user_known, t);
}

static void user_paired(struct redis *r, struct task *t, struct call *c, struct slice user)
{
    call_begin(r, c, FN_PAIRED, partition_of_user(user));
    call_key(r, c, 'u', user);
    call_key(r, c, 'G', SLICE_NONE);
    c->about = task_about(user);
    c->done = user_known; /* it replies as `there` does */
    c->ctx = t;
    call_post(r, c);
}

/* It is a pair's first message: from now on neither is a guest who may be forgotten. */
static void users_pair(struct redis *r, struct task *t)
{
    struct store_append *a = (struct store_append *)t->op;
    struct appending *w = t->own;
    struct slice peer = conv_pair_peer(a->conv, a->sender);
    w->paired = true;
    w->asks = slice_eq(peer, a->sender) ? 1 : 2;
    if (w->asks == 2)
        user_paired(r, t, &w->peer, peer);
    user_paired(r, t, &w->call, a->sender);
}

/* --- Its answer --------------------------------------------------------------------------------------------------- */

/* The send fails, and yet the message is stored, or may be: others are told when it is repeated. */
static void note_untold(struct redis *r, const struct store_append *a, uint64_t created_ms, uint64_t place)
{
    char digest[LAYOUT_DIGEST];
    if (!a->client_id.n)
        return;
    layout_digest(digest, a->sender, a->conv, a->client_id);
    untold_note(r->untold, digest, created_ms, place);
}

/* Whether a repeat is of such a message, and those behind it in its conversation were not told of: pushes ascend. */
static bool was_untold(struct redis *r, const struct store_append *a)
{
    char digest[LAYOUT_DIGEST];
    layout_digest(digest, a->sender, a->conv, a->client_id);
    return untold_take(r->untold, digest, a->created_ms, layout_place(a->id)) &&
           known_get(r->known, a->conv).seq <= a->seq;
}

static void halves_done(struct redis *r, struct halves *h, enum store_status status)
{
    struct task *t = h->ctx;
    struct store_append *a = (struct store_append *)t->op;
    if (status != STORE_OK && !a->duplicate)
        note_untold(r, a, a->created_ms, layout_place(a->id));
    a->arrival = h->arrival;
    /* The message is stored, whatever became of the rest. */
    task_end(r, t, status == STORE_RETRY ? STORE_UNKNOWN : status);
}

/* Reads the numbers, and the channel's tier. Whether the second halves are to be done: then *intent says how. False
 * also for what is no reply. */
static bool append_take(struct store_append *a, struct reply_in *in, uint8_t *tier, struct layout_intent *intent)
{
    a->id = reply_u64(in);
    a->seq = reply_u48(in);
    a->created_ms = reply_u48(in);
    uint64_t k = reply_u48(in);
    a->members = reply_u32(in);
    *tier = reply_u8(in);
    reply_u48(in); /* version */
    bool pending = reply_u8(in) == 1;
    *intent =
        (struct layout_intent){.birth_ms = a->created_ms,
                               .seq = a->seq,
                               .k = k,
                               .ttl_ms = a->ttl_ms,
                               .sender = a->sender,
                               .receiver = conv_is_channel(a->conv) ? SLICE_NONE : conv_pair_peer(a->conv, a->sender),
                               .conv = a->conv};
    return pending && reply_ok(in);
}

/* Whether a repeat is of nobody's message but this call's own, whose first reply was lost: nobody was told of it. */
static bool append_own(const struct call *c, const struct store_append *a, const struct appending *w)
{
    return c->tried && a->created_ms == w->now && layout_place(a->id) >= w->place;
}

/* A channel's other nodes are told. fresh: what is stored is what the operation has; else it is of a repeat, which may
 * have said something else. */
static void append_tell(struct redis *r, struct task *t, bool fresh, uint8_t tier)
{
    const struct store_append *a = (struct store_append *)t->op;
    struct bus_news n = {.kind = NEWS_NUDGE, .conv = a->conv, .seq = a->seq};
    if (fresh) {
        n.kind = NEWS_MESSAGE;
        n.id = a->id;
        n.time = a->created_ms;
        n.members = a->members;
        n.tier = tier;
        n.sender = a->sender;
        n.name = a->sender_name;
        n.content = a->content;
        n.advice = a->advice;
    }
    tell_channel(r, t, &n);
}

static void append_replied(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_append *a = (struct store_append *)t->op;
    struct appending *w = t->own;
    struct layout_intent intent;
    if (status != STORE_OK) {
        if (status == STORE_UNKNOWN)
            note_untold(r, a, w->now, w->place);
        task_end(r, t, status);
        return;
    }
    struct reply_in in = reply_in(reply);
    uint8_t code = reply_u8(&in);
    if (code == 'G' && !w->paired) {
        users_pair(r, t);
        return;
    }
    if (code != 'N' && code != 'D') {
        a->refused = code == 'F' ? CHECK_MEMBER : code == 'B' ? CHECK_BLOCK : CHECK_NONE;
        task_end(r, t, code == 'G' ? STORE_FATAL : task_status(code));
        return;
    }
    uint8_t tier;
    bool pending = append_take(a, &in, &tier, &intent);
    if (!reply_ok(&in)) {
        task_end(r, t, STORE_FATAL);
        return;
    }
    bool fresh = code == 'N' || append_own(c, a, w);
    a->duplicate = !fresh && !was_untold(r, a);
    atomic_fetch_add_explicit(a->duplicate ? &r->stats.duplicates : &r->stats.appended, 1, memory_order_relaxed);
    known_put(r->known, a->conv, a->seq, 0);
    if (!a->duplicate && layout_place(a->id) > r->last_place)
        r->last_place = layout_place(a->id);
    if (pending) {
        w->halves.task = t;
        w->halves.message = fresh ? a : NULL;
        w->halves.done = halves_done;
        w->halves.ctx = t;
        task_go(r, t);
        halves_run(r, &w->halves, a->id, &intent);
        return;
    }
    if (conv_is_channel(a->conv) && !a->stranger && !a->duplicate)
        marks_note(r, a->sender, a->conv, a->seq);
    if (conv_is_channel(a->conv))
        append_tell(r, t, fresh, tier);
    task_end(r, t, STORE_OK);
}

void begin_append(struct redis *r, struct task *t)
{
    struct store_append *a = (struct store_append *)t->op;
    struct appending *w = append_sane(a) ? task_own(t, sizeof *w) : NULL;
    a->refused = CHECK_NONE;
    a->arrival = 0;
    a->members = 0;
    if (!w) {
        task_end(r, t, append_sane(a) ? STORE_RETRY : STORE_FATAL);
        return;
    }
    if (gone_maybe(r, a->sender) || (a->receiver.n && gone_maybe(r, a->receiver))) {
        task_hold(t);
        users_ask(r, t);
        return;
    }
    if (!conv_is_channel(a->conv) && !known_get(r->known, a->conv).seq)
        task_hold(t); /* the first message may have to ask, and those behind it may not overtake it */
    append_post(r, t);
}
