/* Users: saving, loading, guests, forgetting. */
#include "core/base/random.h"
#include "storage/conv_key.h"
#include "storage/redis/bus/sessions.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/client/broken.h"
#include "storage/redis/client/fan.h"
#include "storage/redis/layout.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/ops/subs.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <stdlib.h>

enum {
    TIDY_MAX = 64,         /* channels left long ago that one load takes out of a user's record */
    LEFT_MS = 3600 * 1000, /* so long it is known with which version a user left */
    LIFT_MAX = 64,         /* blocks that one round lifts */
    FORGET_STEP = 2000,    /* … and so many one FORGET_END: then it is asked again */
    GUESTS_PAGE = 256      /* guests that a partition is asked for at most */
};

#define YEAR_2020_MS UINT64_C(1577836800000)

static bool user_id_sane(struct slice id)
{
    return id.n >= 1 && id.n <= 64;
}

/* --- Saving ------------------------------------------------------------------------------------------------------- */

/* The user's other nodes have another copy of it. in: the nodes, as a reply ends. */
static void saved_tell(struct redis *r, struct task *t, uint64_t version, struct reply_in *in)
{
    const struct store_user_save *u = (struct store_user_save *)t->op;
    struct bus_news n = {.kind = NEWS_USER, .user = u->id, .name = u->name, .version = version, .epoch = u->user.epoch};
    tell_sessions(r, t, &n, in);
}

static void saved(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_user_save *u = (struct store_user_save *)t->op;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        uint8_t code = reply_u8(&in);
        status = code == 'D' ? STORE_DENIED : task_status(code);
        if (status == STORE_OK) {
            u->user.epoch = reply_u32(&in);
            u->user.guest_due_ms = reply_u48(&in);
            u->user.revoked_ms = reply_u48(&in);
            uint64_t version = u->version = reply_u48(&in);
            (void)reply_u8(&in); /* whether it was made */
            status = reply_ok(&in) ? STORE_OK : STORE_FATAL;
            saved_tell(r, t, version, &in);
        }
    }
    task_end(r, t, status);
}

/* Where the version of a user that is made begins: above that of one who had its id before, and another one for each
 * call, by which a repeated one knows its own work. 48 bits until 2089. */
static uint64_t version_new(struct redis *r, uint64_t now)
{
    if (!r->saves)
        r->saves = 1 + random_below(1u << 13);
    uint64_t since = now > YEAR_2020_MS ? (now - YEAR_2020_MS) / 64 : 0;
    return (since << 13 | (r->saves++ & ((1u << 13) - 1))) & ((UINT64_C(1) << 48) - 1);
}

void begin_user_save(struct redis *r, struct task *t)
{
    struct store_user_save *u = (struct store_user_save *)t->op;
    struct call *c = user_id_sane(u->id) && u->name.n <= STORE_NAME_MAX ? task_own(t, sizeof *c) : NULL;
    if (!c) {
        task_end(r, t, user_id_sane(u->id) && u->name.n <= STORE_NAME_MAX ? STORE_RETRY : STORE_FATAL);
        return;
    }
    uint64_t now = time_now(r);
    call_begin(r, c, u->create || u->fresh ? FN_USER_PUT : FN_USER_SET, partition_of_user(u->id));
    call_key(r, c, 'u', u->id);
    call_key(r, c, 'G', SLICE_NONE);
    call_key(r, c, 'p', u->id);
    if (tell_is_wanted(r))
        call_key(r, c, 'S', u->id);
    call_arg_u64(c, now);
    call_arg_u64(c, time_date(r));
    call_arg_u64(c, u->create);
    call_arg(c, u->name);
    call_arg_u64(c, u->user.epoch);
    if (u->user.guest)
        call_arg_u64(c, u->guest_ttl_ms);
    else
        call_arg(c, SLICE_NONE);
    call_arg_u64(c, version_new(r, now));
    c->about = task_about(u->id);
    c->done = saved;
    c->ctx = t;
    call_post(r, c);
}

/* --- Loading ------------------------------------------------------------------------------------------------------ */

struct loading {
    struct call call;
    struct buf arena;  /* the name, then channels; slices are offsets into it until the end */
    uint32_t cap;      /* of subscriptions */
    bool there;        /* and its deletion is not under way */
    bool paged;        /* a page was read */
    struct call *tidy; /* takes old fields away, made with the first one; owned */
    uint32_t tidy_n;
};

static int subscription_cmp(const void *a, const void *b)
{
    const struct store_subscription *x = a, *y = b;
    return slice_cmp(x->channel, y->channel);
}

/* Puts the subscriptions in order. Pages may have had some twice. */
static void subscriptions_sort(struct store_user_load *u)
{
    uint32_t n = 0;
    if (!u->subscription_count)
        return;
    qsort(u->subscriptions, u->subscription_count, sizeof *u->subscriptions, subscription_cmp);
    for (uint32_t i = 1; i < u->subscription_count; i++)
        if (!slice_eq(u->subscriptions[n].channel, u->subscriptions[i].channel))
            u->subscriptions[++n] = u->subscriptions[i];
    u->subscription_count = n + 1;
}

static void tidied(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)status, (void)reply; /* the next load does it */
    r->background--;
    free(c);
}

static void load_end(struct redis *r, struct task *t, enum store_status status)
{
    struct store_user_load *u = (struct store_user_load *)t->op;
    struct loading *l = t->own;
    if (l->tidy) {
        r->background++;
        call_post(r, l->tidy);
    }
    if (status == STORE_OK && !(l->there || u->going))
        status = STORE_NOTFOUND;
    if (status == STORE_OK && !buf_ok(&l->arena))
        status = STORE_RETRY;
    if (status != STORE_OK) {
        buf_free(&l->arena);
        store_user_load_free(u);
        task_end(r, t, status);
        return;
    }
    u->arena = l->arena.p;
    u->name.p = u->arena;
    for (uint32_t i = 0; i < u->subscription_count; i++)
        u->subscriptions[i].channel.p = u->arena + (uintptr_t)u->subscriptions[i].channel.p;
    subscriptions_sort(u);
    task_end(r, t, STORE_OK);
}

/* What need not be known of a user any more is taken away: a channel that it left long ago; or none (SLICE_NONE), and
 * that it was a guest. */
static void load_tidy(struct redis *r, struct store_user_load *u, struct loading *l, struct slice conv)
{
    uint64_t now = time_now(r);
    if (!l->tidy) {
        l->tidy = malloc(sizeof *l->tidy);
        if (!l->tidy)
            return;
        call_begin(r, l->tidy, FN_USER_TIDY, partition_of_user(u->id));
        call_key(r, l->tidy, 'u', u->id);
        call_arg_u64(l->tidy, now > LEFT_MS ? now - LEFT_MS : 0);
        l->tidy->done = tidied;
    }
    if (conv.n && l->tidy_n++ < TIDY_MAX)
        call_arg(l->tidy, conv);
}

/* Takes what stands of a channel. */
static enum store_status load_field(struct redis *r, struct store_user_load *u, struct loading *l, struct slice conv,
                                    struct slice value)
{
    struct layout_sub sub;
    if (conv.n < 2 || layout_sub(value, &sub) || (sub.member && sub.push > MODE_NONE)) {
        broken_record(r, "subscription", u->id, 0);
        return STORE_OK;
    }
    if (!sub.member) {
        if (time_now(r) > sub.left_ms + LEFT_MS)
            load_tidy(r, u, l, conv);
        return STORE_OK;
    }
    if (u->subscription_count == l->cap) {
        uint32_t cap = l->cap ? l->cap * 2 : 8;
        struct store_subscription *grown = realloc(u->subscriptions, cap * sizeof *grown);
        if (!grown)
            return STORE_RETRY;
        u->subscriptions = grown;
        l->cap = cap;
    }
    struct slice name = conv_channel_name(conv);
    u->subscriptions[u->subscription_count++] =
        (struct store_subscription){.channel = {(const char *)(uintptr_t)l->arena.n, name.n},
                                    .push = (enum push_mode)sub.push,
                                    .events = sub.events};
    buf_slice_put(&l->arena, name);
    return STORE_OK;
}

static void loaded(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_user_load *u = (struct store_user_load *)t->op;
    struct loading *l = t->own;
    struct user_reply in;
    if (status == STORE_OK)
        status = user_reply_read(reply, &in);
    if (status != STORE_OK) {
        load_end(r, t, status);
        return;
    }
    if (!l->paged) { /* it is the same on each page, or was changed meanwhile */
        l->there = in.code == 'N';
        u->user = (struct store_user){.epoch = in.epoch,
                                      .guest = in.due_ms != 0,
                                      .revoked_ms = in.revoked_ms,
                                      .guest_due_ms = in.due_ms,
                                      .guest_due = in.due_ms && in.due_ms <= time_now(r)};
        u->inbox = in.inbox;
        u->version = in.version;
        u->arrivals = in.arrivals;
        if (in.was_guest)
            load_tidy(r, u, l, SLICE_NONE);
        u->name.n = in.name.n;
        buf_slice_put(&l->arena, in.name);
    }
    l->paged = true;
    while (status == STORE_OK && reply_left(&in.fields)) {
        struct slice conv = reply_slice8(&in.fields), value = reply_slice8(&in.fields);
        status = reply_ok(&in.fields) ? load_field(r, u, l, conv, value) : STORE_FATAL;
    }
    if (status != STORE_OK || !in.next) {
        load_end(r, t, status);
        return;
    }
    user_ask(r, c, u->id, in.next);
    c->done = loaded;
    c->ctx = t;
    call_post(r, c);
}

void begin_user_load(struct redis *r, struct task *t)
{
    struct store_user_load *u = (struct store_user_load *)t->op;
    u->subscriptions = NULL;
    u->subscription_count = 0;
    u->inbox = 0;
    u->version = u->arrivals = 0;
    u->arena = NULL;
    u->name = SLICE_NONE;
    struct loading *l = user_id_sane(u->id) ? task_own(t, sizeof *l) : NULL;
    if (!l) {
        task_end(r, t, user_id_sane(u->id) ? STORE_RETRY : STORE_NOTFOUND);
        return;
    }
    user_ask(r, &l->call, u->id, 0);
    l->call.done = loaded;
    l->call.ctx = t;
    call_post(r, &l->call);
}

/* --- Guests ------------------------------------------------------------------------------------------------------- */

/* A guest whose time has come. */
struct due_guest {
    uint64_t due_ms;
    uint8_t n;
    char id[64];
};

struct hunt {
    struct fan fan;
    struct due_guest *found; /* owned */
    uint32_t n, cap;
};

static void hunt_each(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    struct hunt *h = f->task->own;
    (void)r, (void)i;
    if (reply->type != REPLY_LIST) {
        fan_fail(f, STORE_FATAL);
        return;
    }
    for (uint32_t k = 0; k + 1 < reply->n; k += 2) {
        struct slice id = reply->list[k].text;
        uint64_t due;
        if (!user_id_sane(id) || !reply_decimal(&reply->list[k + 1], &due)) {
            fan_fail(f, STORE_FATAL);
            return;
        }
        if (h->n == h->cap) {
            uint32_t cap = h->cap ? h->cap * 2 : 64;
            struct due_guest *grown = realloc(h->found, cap * sizeof *grown);
            if (!grown) {
                fan_fail(f, STORE_RETRY);
                return;
            }
            h->found = grown;
            h->cap = cap;
        }
        h->found[h->n] = (struct due_guest){.due_ms = due, .n = (uint8_t)id.n};
        memcpy(h->found[h->n++].id, id.p, id.n);
    }
}

static int due_cmp(const void *a, const void *b)
{
    const struct due_guest *x = a, *y = b;
    if (x->due_ms != y->due_ms)
        return x->due_ms < y->due_ms ? -1 : 1;
    return slice_cmp(slice_of(x->id, x->n), slice_of(y->id, y->n));
}

static void hunt_end(struct redis *r, struct fan *f)
{
    struct task *t = f->task;
    struct store_guests_due *g = (struct store_guests_due *)t->op;
    struct hunt *h = t->own;
    struct buf arena = BUF_INIT;
    enum store_status status = f->status;
    if (h->n)
        qsort(h->found, h->n, sizeof *h->found, due_cmp);
    uint32_t n = h->n < g->limit ? h->n : g->limit;
    g->ids = calloc(n ? n : 1, sizeof *g->ids);
    for (uint32_t i = 0; g->ids && i < n; i++)
        buf_put(&arena, h->found[i].id, h->found[i].n);
    if (status == STORE_OK && (!g->ids || !buf_ok(&arena)))
        status = STORE_RETRY;
    if (status == STORE_OK) {
        const char *p = g->arena = arena.p;
        for (g->n = 0; g->n < n; p += h->found[g->n++].n)
            g->ids[g->n] = slice_of(p, h->found[g->n].n);
    } else {
        free(g->ids);
        buf_free(&arena);
        g->ids = NULL;
    }
    free(h->found);
    task_end(r, t, status);
}

/* Those who are in a private conversation have lost the mark before its first message was stored (`paired`). */
void begin_guests_due(struct redis *r, struct task *t)
{
    static const struct slice range[] = {SLICE_LIT("ZRANGEBYSCORE")};
    struct store_guests_due *g = (struct store_guests_due *)t->op;
    struct hunt *h = task_own(t, sizeof *h);
    g->n = 0;
    g->arena = NULL;
    g->ids = NULL;
    if (!h || fan_begin(&h->fan, t, PARTITIONS)) {
        task_end(r, t, STORE_RETRY);
        return;
    }
    uint64_t now = time_now(r);
    for (unsigned part = 0; part < PARTITIONS; part++) {
        struct call *c = &h->fan.calls[part];
        call_raw(r, c, part, false, range, 1);
        call_key(r, c, 'G', SLICE_NONE);
        call_arg(c, SLICE_LIT("(0")); /* 0: its deletion is under way */
        call_arg_u64(c, now);
        call_arg(c, SLICE_LIT("WITHSCORES"));
        call_arg(c, SLICE_LIT("LIMIT"));
        call_arg_u64(c, 0);
        call_arg_u64(c, g->limit < GUESTS_PAGE ? g->limit : GUESTS_PAGE);
    }
    h->fan.each = hunt_each;
    h->fan.end = hunt_end;
    fan_post(r, &h->fan);
}

/* --- Forgetting --------------------------------------------------------------------------------------------------- */

struct forgetting {
    struct call call;
    struct fan fan;               /* lifts blocks at the pairs */
    uint32_t lifted;              /* blocks so far */
    uint32_t n;                   /* of peers */
    struct slice peers[LIFT_MAX]; /* whose blocks are being lifted; slices of text */
    char text[LIFT_MAX * 64];
};

static void forget_ask(struct redis *r, struct task *t);

static void forgotten_blocks(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_user_forget *f = (struct store_user_forget *)t->op;
    struct forgetting *w = t->own;
    (void)reply;
    w->lifted += w->n;
    f->more = f->force && w->lifted >= FORGET_STEP;
    if (status != STORE_OK || f->more)
        task_end(r, t, status);
    else
        forget_ask(r, t);
}

static void block_lifted(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    struct reply_in in = reply_in(reply);
    (void)r, (void)i;
    if (task_status(reply_u8(&in)) != STORE_OK)
        fan_fail(f, STORE_FATAL);
}

static void blocks_lifted(struct redis *r, struct fan *f)
{
    struct task *t = f->task;
    struct store_user_forget *op = (struct store_user_forget *)t->op;
    struct forgetting *w = t->own;
    if (f->status != STORE_OK) {
        task_end(r, t, f->status);
        return;
    }
    call_begin(r, &w->call, FN_UNBLOCKED, partition_of_user(op->id));
    call_key(r, &w->call, 'u', op->id);
    for (uint32_t i = 0; i < w->n; i++)
        call_arg(&w->call, w->peers[i]);
    w->call.done = forgotten_blocks;
    w->call.ctx = t;
    call_post(r, &w->call);
}

/* Whom it blocks is known at the pairs: there it is lifted, then its own list is shortened. */
static void blocks_lift(struct redis *r, struct task *t, struct reply_in *in)
{
    struct store_user_forget *op = (struct store_user_forget *)t->op;
    struct forgetting *w = t->own;
    char *to = w->text;
    for (w->n = 0; reply_ok(in) && reply_left(in) && w->n < sizeof w->peers / sizeof *w->peers; w->n++) {
        struct slice peer = reply_slice8(in);
        if (!user_id_sane(peer))
            in->bad = true;
        else
            memcpy(to, peer.p, peer.n);
        w->peers[w->n] = slice_of(to, peer.n);
        to += peer.n;
    }
    if (!reply_ok(in) || !w->n || fan_begin(&w->fan, t, w->n)) {
        task_end(r, t, reply_ok(in) && w->n ? STORE_RETRY : STORE_FATAL);
        return;
    }
    for (uint32_t i = 0; i < w->n; i++) {
        struct conv_key pair = conv_key_pair(op->id, w->peers[i]);
        struct call *c = &w->fan.calls[i];
        bool high = slice_cmp(op->id, w->peers[i]) > 0;
        call_begin(r, c, FN_BLOCK, partition_of(conv_key_slice(&pair)));
        call_key(r, c, 'm', conv_key_slice(&pair));
        call_arg(c, high ? SLICE_LIT("\1\0") : SLICE_LIT("\0\0"));
        call_arg(c, conv_key_slice(&pair));
        c->about = task_about(conv_key_slice(&pair));
    }
    w->fan.each = block_lifted;
    w->fan.end = blocks_lifted;
    fan_post(r, &w->fan);
}

static void forgotten(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_user_forget *f = (struct store_user_forget *)t->op;
    if (status == STORE_OK) {
        struct reply_in in = reply_in(reply);
        uint8_t code = reply_u8(&in);
        if (code == 'B') {
            blocks_lift(r, t, &in);
            return;
        }
        status = task_status(code);
        if (status == STORE_OK && f->force && f->step == FORGET_BEGIN) {
            f->recall = reply_u8(&in);
            struct bus_news n = {.kind = NEWS_USER, .user = f->id, .gone = true};
            n.epoch = reply_u32(&in);
            n.version = reply_u48(&in);
            status = reply_ok(&in) ? STORE_OK : STORE_FATAL;
            gone_add(r, f->id);
            if (status == STORE_OK)
                tell_all(r, t, &n); /* whoever knows the user takes nothing more for it */
        }
    }
    task_end(r, t, status);
}

static void forget_ask(struct redis *r, struct task *t)
{
    struct store_user_forget *f = (struct store_user_forget *)t->op;
    struct call *c = &((struct forgetting *)t->own)->call;
    static const char kinds[] = "upriISW";
    call_begin(r, c, FN_FORGET, partition_of_user(f->id));
    for (const char *kind = kinds; *kind; kind++)
        call_key(r, c, *kind, f->id);
    call_key(r, c, 'G', SLICE_NONE);
    call_arg(c, !f->force               ? SLICE_LIT("guest")
                : f->step == FORGET_END ? SLICE_LIT("end")
                : f->recall             ? SLICE_LIT("recall")
                                        : SLICE_LIT("keep"));
    call_arg_u64(c, time_now(r));
    sessions_arg_living(r, c);
    c->about = task_about(f->id);
    c->done = forgotten;
    c->ctx = t;
    call_post(r, c);
}

void begin_user_forget(struct redis *r, struct task *t)
{
    struct store_user_forget *f = (struct store_user_forget *)t->op;
    f->more = false;
    if (!user_id_sane(f->id))
        task_end(r, t, STORE_FATAL);
    else if (!task_own(t, sizeof(struct forgetting)))
        task_end(r, t, STORE_RETRY);
    else
        forget_ask(r, t);
}
