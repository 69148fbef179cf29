/* Memberships: the half at the channel, then the one at the user; and who is a member. */
#include "storage/conv_key.h"
#include "storage/redis/client/fan.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/ops/channels.h"
#include "storage/redis/ops/history.h"
#include "storage/redis/ops/member_half.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <stdlib.h>

enum { MEMBERS_PAGE = 1000 }; /* members that one call returns */

static bool member_sane(struct slice conv, struct slice user)
{
    return conv_is_channel(conv) && conv.n >= 2 && conv.n <= 65 && user.n >= 1 && user.n <= 64;
}

/* What a membership's change keeps between its calls. */
struct membership {
    struct call call;
    struct channels_wait wait;
    struct member_half half;
    struct history look;      /* for the channel's first visible message */
    enum store_status status; /* what it will be answered */
    bool room;                /* the channel may be made */
    uint8_t under_way;        /* the user's half, the look */
};

/* --- Leaving ------------------------------------------------------------------------------------------------------ */

static void del_done(struct redis *r, struct member_half *h, enum store_status status)
{
    ((struct store_member_del *)((struct task *)h->ctx)->op)->user_version = h->version;
    task_end(r, h->ctx, status);
}

static void left(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_member_del *m = (struct store_member_del *)t->op;
    struct member_half *h = &((struct membership *)t->own)->half;
    struct member_left l = {.version = 0};
    status = status == STORE_OK ? member_left_read(r, c, reply, &l) : status;
    m->existed = l.existed;
    m->gone = l.gone;
    m->members = l.members;
    m->version = l.version;
    if (status == STORE_OK && (l.existed || (c->tried && l.version)))
        member_tell(r, t, m->conv, &l, m->user, m->name, m->change);
    if (status != STORE_OK || !l.version) {
        task_end(r, t, status);
        return;
    }
    *h = (struct member_half){
        .what = {.version = l.version, .conv = m->conv, .user = m->user},
        .intent = true,
        .task = t,
        .members = l.members,
        .change = m->change,
        .done = del_done,
        .ctx = t,
    };
    member_half_run(r, h);
}

void begin_member_del(struct redis *r, struct task *t)
{
    struct store_member_del *m = (struct store_member_del *)t->op;
    m->existed = m->gone = false;
    m->members = 0;
    m->version = m->user_version = 0;
    struct membership *w = member_sane(m->conv, m->user) ? task_own(t, sizeof *w) : NULL;
    if (!w) {
        task_end(r, t, member_sane(m->conv, m->user) ? STORE_RETRY : STORE_FATAL);
        return;
    }
    member_leave(r, &w->call, m->conv, m->user);
    w->call.done = left;
    w->call.ctx = t;
    call_post(r, &w->call);
}

/* --- Joining ------------------------------------------------------------------------------------------------------ */

/* One of two that run side by side has ended. */
static void put_end(struct redis *r, struct task *t, enum store_status status)
{
    struct membership *w = t->own;
    if (w->status == STORE_OK)
        w->status = status;
    if (--w->under_way == 0)
        task_end(r, t, w->status);
}

static void put_done(struct redis *r, struct member_half *h, enum store_status status)
{
    struct task *t = h->ctx;
    struct store_member_put *m = (struct store_member_put *)t->op;
    m->mode = h->push;
    m->user_version = h->version;
    m->events = h->events;
    m->created = m->created && !h->gone;
    put_end(r, t, status == STORE_OK && h->gone ? STORE_DENIED : status);
}

static void looked(struct redis *r, struct history *h, enum store_status status)
{
    struct task *t = h->ctx;
    ((struct store_member_put *)t->op)->first = h->first;
    put_end(r, t, status);
}

/* The half at the channel is done. */
static void joined(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_member_put *m = (struct store_member_put *)t->op;
    struct membership *w = t->own;
    uint8_t set = (uint8_t)((m->set_push ? 1 : 0) | (m->set_events ? 2 : 0));
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    if (status == STORE_OK)
        status = task_status(reply_u8(&in));
    if (status != STORE_OK) {
        task_end(r, t, status == STORE_NOTFOUND && m->may_create && !w->room ? STORE_LIMIT : status);
        return;
    }
    m->created = reply_u8(&in);
    m->existed = reply_u8(&in);
    m->members = reply_u32(&in);
    m->seq = reply_u48(&in);
    uint64_t low = reply_u48(&in);
    uint8_t tier = reply_u8(&in);
    m->version = reply_u48(&in);
    uint32_t channels = reply_u32(&in);
    if (!reply_ok(&in)) {
        task_end(r, t, STORE_FATAL);
        return;
    }
    if (m->created)
        channels_counted(r, c->part, channels);
    if (!m->existed || set || c->tried) {
        struct member_left now = {.members = m->members, .tier = tier, .version = m->version};
        member_tell(r, t, m->conv, &now, m->existed ? SLICE_NONE : m->user, m->name, m->change);
    }
    m->first = m->seq ? m->seq + 1 : 0;
    w->under_way = 1;
    w->half = (struct member_half){.what = {.version = m->version,
                                            .put = true,
                                            .push = (uint8_t)m->push,
                                            .events = m->events,
                                            .set = set,
                                            .seq = m->seq,
                                            .conv = m->conv,
                                            .user = m->user},
                                   .intent = !m->existed || set,
                                   .task = t,
                                   .members = m->members,
                                   .change = m->existed ? 0 : m->change,
                                   .done = put_done,
                                   .ctx = t};
    member_half_run(r, &w->half);
    if (m->seq > low) {
        w->under_way++;
        w->look = (struct history){.conv = m->conv, .done = looked, .ctx = t};
        history_read(r, &w->look);
    }
}

static void join_begin(struct redis *r, struct task *t)
{
    struct store_member_put *m = (struct store_member_put *)t->op;
    struct membership *w = t->own;
    struct call *c = &w->call;
    call_begin(r, c, FN_JOIN, partition_of(m->conv));
    call_key(r, c, 'm', m->conv);
    call_key(r, c, 'M', m->conv);
    call_key(r, c, 'o', SLICE_NONE);
    call_key(r, c, 'c', SLICE_NONE);
    call_arg(c, m->conv);
    call_arg_u64(c, time_now(r));
    call_arg(c, m->user);
    call_arg_u64(c, m->push);
    call_arg_u64(c, m->events);
    call_arg_u64(c, (m->set_push ? 1u : 0u) | (m->set_events ? 2u : 0u));
    call_arg_u64(c, m->may_create && w->room);
    c->about = task_about(m->conv);
    c->done = joined;
    c->ctx = t;
    call_post(r, c);
}

/* How many channels there are is known now. */
static void channels_ready(struct redis *r, struct task *t, enum store_status status)
{
    struct store_member_put *m = (struct store_member_put *)t->op;
    struct membership *w = t->own;
    if (status != STORE_OK) {
        task_end(r, t, status);
        return;
    }
    w->room = channels_room(r, m->channels_max, &w->wait) > 0;
    join_begin(r, t);
    task_go(r, t);
}

void begin_member_put(struct redis *r, struct task *t)
{
    struct store_member_put *m = (struct store_member_put *)t->op;
    m->created = m->existed = false;
    m->version = 0;
    if (!member_sane(m->conv, m->user) || m->push > MODE_NONE) {
        task_end(r, t, STORE_FATAL);
        return;
    }
    struct membership *w = task_own(t, sizeof *w);
    if (!w) {
        task_end(r, t, STORE_RETRY);
        return;
    }
    w->wait = (struct channels_wait){.task = t, .ready = channels_ready};
    int room = m->may_create && m->channels_max ? channels_room(r, m->channels_max, &w->wait) : 1;
    w->room = room > 0;
    if (room < 0)
        task_hold(t);
    else
        join_begin(r, t);
}

/* --- Who is a member ---------------------------------------------------------------------------------------------- */

/* A page that is being collected. */
struct listing {
    struct call call;
    struct fan fan;   /* names of people[named …] */
    uint32_t cap;     /* of people */
    uint32_t named;   /* of the page, those whose names were found */
    struct buf arena; /* ids and names; slices in the page are offsets into it until the end */
};

static void members_end(struct redis *r, struct task *t, enum store_status status)
{
    struct store_members *m = (struct store_members *)t->op;
    struct listing *l = t->own;
    if (status == STORE_OK && !buf_ok(&l->arena))
        status = STORE_RETRY;
    if (status == STORE_OK) {
        m->arena = l->arena.p;
        for (uint32_t i = 0; i < m->n; i++) {
            m->people[i].id.p = m->arena + (uintptr_t)m->people[i].id.p;
            m->people[i].name.p = m->arena + (uintptr_t)m->people[i].name.p;
        }
    } else {
        buf_free(&l->arena);
        free(m->people);
        m->people = NULL;
        m->n = 0;
        m->more = false;
    }
    task_end(r, t, status);
}

static void members_ask(struct redis *r, struct task *t);

static void name_found(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply)
{
    struct store_members *m = (struct store_members *)f->task->op;
    struct listing *l = f->task->own;
    struct slice name = reply->type == REPLY_STRING ? reply->text : SLICE_NONE;
    (void)r;
    m->people[l->named + i].name = (struct slice){(const char *)(uintptr_t)l->arena.n, name.n};
    buf_slice_put(&l->arena, name);
}

static void names_found(struct redis *r, struct fan *f)
{
    struct task *t = f->task;
    struct store_members *m = (struct store_members *)t->op;
    struct listing *l = t->own;
    l->named = m->n;
    if (f->status != STORE_OK || !m->more || m->n >= m->limit)
        members_end(r, t, f->status);
    else
        members_ask(r, t);
}

/* Asks for the names of those that a page has brought. */
static void names_ask(struct redis *r, struct task *t)
{
    static const struct slice hget[] = {SLICE_LIT("HGET")};
    struct store_members *m = (struct store_members *)t->op;
    struct listing *l = t->own;
    uint32_t n = m->n - l->named;
    if (!buf_ok(&l->arena) || fan_begin(&l->fan, t, n)) {
        members_end(r, t, STORE_RETRY);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct slice *at = &m->people[l->named + i].id;
        struct slice id = slice_of(l->arena.p + (uintptr_t)at->p, at->n);
        call_raw(r, &l->fan.calls[i], partition_of_user(id), false, hget, 1);
        call_key(r, &l->fan.calls[i], 'u', id);
        call_arg(&l->fan.calls[i], SLICE_LIT("n"));
    }
    l->fan.each = name_found;
    l->fan.end = names_found;
    fan_post(r, &l->fan);
}

/* Makes room for a page's members. False: there is no memory. */
static bool members_room(struct store_members *m, struct listing *l, uint32_t n)
{
    if (m->n + n <= l->cap)
        return true;
    uint32_t cap = m->n + n > 2 * l->cap ? m->n + n : 2 * l->cap;
    struct store_person *people = realloc(m->people, cap * sizeof *people);
    if (people) {
        m->people = people;
        l->cap = cap;
    }
    return people != NULL;
}

static void members_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct task *t = c->ctx;
    struct store_members *m = (struct store_members *)t->op;
    struct listing *l = t->own;
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    if (status == STORE_OK)
        status = task_status(reply_u8(&in));
    if (status != STORE_OK) {
        members_end(r, t, status);
        return;
    }
    m->more = reply_u8(&in);
    while (reply_ok(&in) && reply_left(&in) && m->n < m->limit && members_room(m, l, 1)) {
        struct slice id = reply_slice8(&in);
        m->people[m->n++] = (struct store_person){.id = (struct slice){(const char *)(uintptr_t)l->arena.n, id.n}};
        buf_slice_put(&l->arena, id);
    }
    if (!reply_ok(&in) || reply_left(&in))
        members_end(r, t, reply_ok(&in) ? STORE_RETRY : STORE_FATAL);
    else if (m->n > l->named)
        names_ask(r, t);
    else
        members_end(r, t, STORE_OK);
}

/* Asks for the next members. */
static void members_ask(struct redis *r, struct task *t)
{
    struct store_members *m = (struct store_members *)t->op;
    struct listing *l = t->own;
    struct call *c = &l->call;
    struct slice after = m->cursor.n <= 64 ? m->cursor : SLICE_NONE;
    if (m->n)
        after = slice_of(l->arena.p + (uintptr_t)m->people[m->n - 1].id.p, m->people[m->n - 1].id.n);
    call_begin(r, c, FN_MEMBERS, partition_of(m->conv));
    call_key(r, c, 'm', m->conv);
    call_key(r, c, 'M', m->conv);
    call_arg_u64(c, m->going);
    call_arg(c, after);
    call_arg_u64(c, m->limit - m->n < MEMBERS_PAGE ? m->limit - m->n : MEMBERS_PAGE);
    c->done = members_read;
    c->ctx = t;
    call_post(r, c);
}

void begin_members(struct redis *r, struct task *t)
{
    struct store_members *m = (struct store_members *)t->op;
    m->people = NULL;
    m->arena = NULL;
    m->n = 0;
    m->more = false;
    if (!conv_is_channel(m->conv) || m->conv.n > 65) {
        task_end(r, t, STORE_NOTFOUND);
        return;
    }
    if (task_own(t, sizeof(struct listing)))
        members_ask(r, t);
    else
        task_end(r, t, STORE_RETRY);
}
