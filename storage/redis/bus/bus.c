/* The bus of a Redis engine: its doors, and who is told what. See bus_private.h. */
#include "storage/redis/bus/bus_private.h"

#include "core/base/log.h"
#include "storage/redis/bus/ear.h"
#include "storage/redis/bus/errand.h"
#include "storage/redis/bus/errand_in.h"
#include "storage/redis/bus/follow.h"
#include "storage/redis/bus/order.h"
#include "storage/redis/bus/patrol.h"
#include "storage/redis/bus/session.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/bus/watch.h"
#include "storage/redis/io.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/notes_log.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/ops/op.h"
#include "storage/redis/task.h"

#include <stdio.h>
#include <stdlib.h>

enum { REFUSED_AGAIN = 60000 }; /* ms between two lines about news that cannot be read */

_Static_assert(OP_KINDS + BUS_OP_KINDS <= UINT8_MAX, "store_op.kind has room for both");

/* --- Operations --------------------------------------------------------------------------------------------------- */

/* clang-format off */
#define ROW(NAME, op_name, w, of, field)                                                                               \
    [BUS_##NAME] = {.name = #op_name, .writes = w, .whose = of, .key = offsetof(struct bus_##op_name, field)}
const struct store_op_row redis_bus_rows[BUS_OP_KINDS] = {
    ROW(FOLLOW,      follow,      true,  (enum store_whose)WHOSE_FOLLOWED,  conv),
    ROW(UNFOLLOW,    unfollow,    true,  (enum store_whose)WHOSE_FOLLOWED,  conv),
    ROW(SESSION_PUT, session_put, true,  (enum store_whose)WHOSE_CONNECTED, user),
    ROW(SESSION_DEL, session_del, true,  (enum store_whose)WHOSE_CONNECTED, user),
    ROW(LOOK,        look,        false, (enum store_whose)WHOSE_CONNECTED, user),
    ROW(PRESENCE,    presence,    false, WHOSE_NONE, op),
    ROW(WATCH,       watch,       true,  (enum store_whose)WHOSE_CONNECTED, user),
    ROW(ORDER,       order,       true,  WHOSE_NONE, op),
    ROW(CALL,        call,        false, WHOSE_NONE, op),
    ROW(NOTE,        note,        true,  WHOSE_NONE, op),
};
/* clang-format on */

static void (*const begin[BUS_OP_KINDS])(struct redis *r, struct task *t) = {
    [BUS_FOLLOW] = begin_bus_follow,
    [BUS_UNFOLLOW] = begin_bus_unfollow,
    [BUS_SESSION_PUT] = begin_bus_session_put,
    [BUS_SESSION_DEL] = begin_bus_session_del,
    [BUS_LOOK] = begin_bus_look,
    [BUS_PRESENCE] = begin_bus_presence,
    [BUS_WATCH] = begin_bus_watch,
    [BUS_ORDER] = begin_bus_order,
    [BUS_CALL] = begin_bus_call,
    [BUS_NOTE] = begin_bus_note,
};

void redis_bus_begin(struct redis *r, struct task *t)
{
    begin[redis_bus_kind(t->op)](r, t);
}

static void redis_bus_post(struct bus *b, struct store_op *op)
{
    op->kind = (uint8_t)(op->kind + OP_KINDS);
    redis_io_post(redis_of_bus(b), op);
}

/* --- Who is told -------------------------------------------------------------------------------------------------- */

static void redis_bus_listen(struct bus *base, const struct bus_ears *ears)
{
    struct redis_bus *b = (struct redis_bus *)base;
    pthread_mutex_lock(&b->lock);
    b->listening = ears != NULL;
    b->heard = ears ? *ears : (struct bus_ears){0};
    pthread_mutex_unlock(&b->lock);
    notes_log_listen(b->r, ears != NULL);
}

/* Calls what somebody listens with; whether anybody does, and with that. */
#define TELL(r, ear, ...)                                                                                              \
    ({                                                                                                                 \
        struct redis_bus *b = (r)->bus;                                                                                \
        pthread_mutex_lock(&b->lock);                                                                                  \
        bool told = b->listening && b->heard.ear;                                                                      \
        if (told)                                                                                                      \
            b->heard.ear(b->heard.ctx, __VA_ARGS__);                                                                   \
        pthread_mutex_unlock(&b->lock);                                                                                \
        told;                                                                                                          \
    })

void redis_bus_heard(struct redis *r, struct bus_news *n)
{
    if (!TELL(r, heard, n))
        free(n);
}

void redis_bus_reset(struct redis *r, const uint8_t parts[BUS_PARTS])
{
    (void)TELL(r, reset, parts);
}

void redis_bus_event(struct redis *r, enum bus_event what, uint64_t node)
{
    (void)TELL(r, event, what, node);
}

bool redis_bus_ordered(struct redis *r, struct bus_order *o)
{
    return TELL(r, ordered, o);
}

bool redis_bus_called(struct redis *r, struct bus_called *c)
{
    return TELL(r, called, c);
}

bool redis_bus_noted(struct redis *r, struct bus_noted *n)
{
    return TELL(r, noted, n);
}

/* --- What has come ------------------------------------------------------------------------------------------------ */

/* A change of a note. */
static void log_message(struct redis *r, const struct news_more *m)
{
    notes_log_heard(r, m->number, m->body);
}

/* Who takes what no hub hears; it may look at it until it returns. */
static void (*const more[NEWS_MORE_KINDS - NEWS_ORDER])(struct redis *r, const struct news_more *m) = {
    [NEWS_ORDER - NEWS_ORDER] = errand_heard, [NEWS_RECEIPT - NEWS_ORDER] = errand_heard,
    [NEWS_CALL - NEWS_ORDER] = errand_heard,  [NEWS_ANSWER - NEWS_ORDER] = errand_heard,
    [NEWS_LOG - NEWS_ORDER] = log_message,
};

static void refused(struct redis *r, const struct news_in *in)
{
    if (r->bus->refused_told_ms && r->turn_ms < r->bus->refused_told_ms + REFUSED_AGAIN)
        return;
    r->bus->refused_told_ms = r->turn_ms;
    log_event(LOG_WARN, "cluster.news_refused", LOG_INT("kind", in ? in->kind : 0),
              LOG_INT("origin", in ? in->origin : 0));
}

static void more_message(struct redis *r, const struct news_in *in)
{
    struct news_more m;
    if (news_more_read(in, &m))
        refused(r, in);
    else
        more[m.kind - NEWS_ORDER](r, &m);
}

/* News for the hub; of some the engine takes note itself. */
static void news_heard(struct redis *r, struct bus_news *n)
{
    if (n->kind == NEWS_USER && n->gone)
        gone_heard(r, n->user);
    if (n->kind == NEWS_PRESENCE)
        watch_heard(r, n);
    else
        redis_bus_heard(r, n);
}

void redis_bus_message(struct redis *r, struct slice message)
{
    struct news_in in;
    struct bus_news *n;
    int got;
    while ((got = news_next(&message, &in)) > 0) {
        if (node_is_own(r, in.origin))
            continue;
        atomic_fetch_add_explicit(&r->stats.news_in, 1, memory_order_relaxed);
        if (!in.origin) /* which is nobody's, and means in the hub that it told itself */
            refused(r, &in);
        else if (in.kind >= NEWS_ORDER)
            more_message(r, &in);
        else if (news_read(&in, &n) != 0)
            refused(r, &in);
        else
            news_heard(r, n);
    }
    if (got < 0)
        refused(r, NULL);
}

uint64_t redis_bus_inc(const struct redis *r)
{
    return node_others(r)->inc;
}

/* --- Names of channels -------------------------------------------------------------------------------------------- */

static struct slice name(const struct redis *r, char out[BUS_CHANNEL_MAX], char kind, unsigned part, struct slice rest)
{
    struct slice tag = partition_tag(&r->tags, (uint16_t)part);
    int n = snprintf(out, BUS_CHANNEL_MAX, "%s%c{%.*s}:", r->options.cluster.prefix, kind, (int)tag.n, tag.p);
    memcpy(out + n, rest.p, rest.n); /* 16 + 11 + 130 at most */
    return slice_of(out, (size_t)n + rest.n);
}

struct slice redis_bus_to_node(const struct redis *r, char out[BUS_CHANNEL_MAX], unsigned part, uint64_t inc)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)inc);
    return name(r, out, 'n', part, slice_of(digits, (size_t)n));
}

struct slice redis_bus_to_followers(const struct redis *r, char out[BUS_CHANNEL_MAX], struct slice conv)
{
    return name(r, out, 'b', partition_of(conv), conv);
}

struct slice redis_bus_to_all(const struct redis *r, char out[BUS_CHANNEL_MAX])
{
    return name(r, out, 'b', 0, redis_bus_log());
}

static unsigned part_conv(struct slice conv)
{
    return partition_of(conv);
}

static unsigned part_user(struct slice user)
{
    return partition_of_user(user);
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

static void redis_bus_applied(struct bus *b, struct bus_noted *n)
{
    notes_log_applied(redis_of_bus(b), n);
}

static unsigned redis_bus_nodes(struct bus *b, struct bus_node *out, unsigned n)
{
    return node_list(redis_of_bus(b), out, n);
}

static bool redis_bus_leads(struct bus *b)
{
    return node_leads(redis_of_bus(b));
}

static void redis_bus_drain(struct bus *b)
{
    node_drain(redis_of_bus(b));
}

/* A change of a note, to all nodes. */
static void log_tell(struct redis *r, uint64_t place, struct slice body)
{
    struct news_more m = {.kind = NEWS_LOG, .origin = node_origin(r), .number = place, .body = body};
    struct buf *b = tell_open(r, NULL, 'b', 0, redis_bus_log());
    if (b)
        news_more_put(b, &m);
}

static const struct node_ears node_ears = {
    .listens = ears_listen,
    .event = redis_bus_event,
    .noted = redis_bus_noted,
    .tell_log = log_tell,
    .patrol = patrol_all,
};

static const struct bus_ops ops = {
    .post = redis_bus_post,
    .listen = redis_bus_listen,
    .receipt = errand_receipt,
    .answer = errand_answer,
    .applied = redis_bus_applied,
    .nodes = redis_bus_nodes,
    .leads = redis_bus_leads,
    .drain = redis_bus_drain,
    .part_conv = part_conv,
    .part_user = part_user,
};

int redis_bus_init(struct redis *r)
{
    struct redis_bus *b = calloc(1, sizeof *b);
    if (!b)
        return ERR_NOMEM;
    b->base.ops = &ops;
    b->r = r;
    pthread_mutex_init(&b->lock, NULL);
    r->bus = b;
    r->base.bus = &b->base;
    tell_start(r);
    if (!r->node_ears) /* else a test has its own */
        r->node_ears = &node_ears;
    int e = ears_init(r);
    e = e ? e : follows_init(r);
    e = e ? e : patrol_init(r);
    e = e ? e : session_init(r);
    e = e ? e : errands_init(r);
    return e ? e : errands_in_init(r);
}

void redis_bus_fini(struct redis *r)
{
    if (!r->bus)
        return;
    errands_in_fini(r);
    errands_fini(r);
    session_fini(r);
    patrol_fini(r);
    follows_fini(r);
    ears_fini(r);
    pthread_mutex_destroy(&r->bus->lock);
    free(r->bus);
    r->bus = NULL;
    r->base.bus = NULL;
}

void redis_bus_tick(struct redis *r)
{
    if (!r->bus)
        return;
    ears_tick(r);
    follows_tick(r);
    patrol_tick(r);
    session_tick(r);
    errands_tick(r);
    errands_in_tick(r);
}

bool redis_bus_busy(const struct redis *r)
{
    return r->bus && (ears_busy(r) || errands_busy(r));
}

void redis_bus_rest(struct redis *r)
{
    if (!r->bus)
        return;
    follows_rest(r);
    errands_rest(r);
}
