/* What is done in the background: see sweep.h. */
#include "storage/redis/sweep.h"

#include "core/base/container.h"
#include "core/base/log.h"
#include "storage/conv_key.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/cold/behind.h"
#include "storage/redis/cold/cold.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/ops/channels.h"
#include "storage/redis/ops/halves.h"
#include "storage/redis/ops/member_half.h"
#include "storage/redis/ops/windows.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/rule.h"
#include "storage/redis/task.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROUND_MS = 2000,  /* in which each partition is looked at once */
    TICKS = 16,       /* … a sixteenth of them at a time */
    OLD_MS = 3000,    /* of an intent: whoever wrote it has given up, or is late */
    PAGE = 256,       /* intents, conversations of one look */
    PAGES = 4,        /* of intents, in one turn of a partition */
    BUSY_MAX = 2048,  /* things under way, above which no turn begins */
    TRIMS = 16,       /* calls of `trim` for a conversation in one turn */
    WINDOWS_MAX = 64, /* windows that one call unlinks */
    /* Names of channels that are gone, which a partition keeps. Of all partitions' 262,144 that went last none has so
     * many: 256 are its share, give or take 16. */
    NAMES_MAX = 384,
    NAMES_BESIDE = 68, /* fields that may stand beside them */
    NAMES_DROPPED = 48 /* names that one call drops */
};

/* What is known of a partition. */
struct swept {
    bool mine;       /* this node sweeps it */
    bool busy;       /* a turn is under way */
    bool eager;      /* there is more to do than one turn did */
    uint32_t old;    /* intents that were old, at the last look */
    uint64_t cursor; /* where its intents are looked at next */
};

struct sweeper {
    struct redis *r;
    ev_timer timer;
    uint32_t tick;                             /* which sixteenth comes next */
    uint64_t nodes;                            /* a hash of who lives: `mine` goes by it */
    uint32_t busy;                             /* jobs and looks under way */
    bool stopped;                              /* nothing may be posted */
    bool mended;                               /* of users in `users` something was done that was left undone */
    uint8_t users[BUS_PARTS];                  /* partitions of theirs */
    _Atomic uint64_t intents, trimmed, behind; /* of sweep_stats */
    struct swept parts[PARTITIONS];
};

/* A turn of a partition: looks, and what they found, until nothing of it is under way. */
struct turn {
    struct call call; /* the look, or windows */
    uint16_t part;
    uint16_t pages; /* of intents that were looked at */
    uint32_t left;  /* calls and jobs under way */
    bool first;     /* the first look, which asks for everything */
    bool more;      /* there is more than this turn does */
};

/* One thing to be done for a turn. */
struct job {
    struct turn *turn;
    struct call call;     /* but for private messages */
    struct halves halves; /* a private message's */
    struct member_half member;
    uint16_t tries; /* calls of `trim` */
    uint16_t n;     /* bytes of key */
    char key[224];  /* a conversation's key; or an intent's field */
};

static void look(struct redis *r, struct turn *t);

/* --- Turns -------------------------------------------------------------------------------------------------------- */

static void turn_end(struct redis *r, struct turn *t)
{
    struct sweeper *s = r->sweeper;
    s->busy--;
    if (--t->left)
        return;
    struct swept *p = &s->parts[t->part];
    if (p->cursor && t->pages < PAGES && !s->stopped) {
        t->first = false;
        look(r, t);
        return;
    }
    p->eager = p->cursor || t->more;
    p->busy = false;
    free(t);
}

/* A job for the turn; NULL: out of memory, and the next turn finds it again. */
static struct job *job_new(struct redis *r, struct turn *t, struct slice key)
{
    struct job *j = key.n <= sizeof j->key ? malloc(sizeof *j) : NULL;
    if (!j)
        return NULL;
    j->turn = t;
    j->tries = 0;
    j->n = (uint16_t)key.n;
    if (key.n)
        memcpy(j->key, key.p, key.n);
    t->left++;
    r->sweeper->busy++;
    return j;
}

static struct slice job_key(const struct job *j)
{
    return slice_of(j->key, j->n);
}

static void job_end(struct redis *r, struct job *j)
{
    struct turn *t = j->turn;
    free(j);
    turn_end(r, t);
}

/* --- What this node itself is told -------------------------------------------------------------------------------- */

/* Other nodes hear of what is done here for whoever has died; this one has no operation that would tell it. So it looks
 * at its users of those partitions, as after news that it may have missed. */
static void user_mended(struct redis *r, struct slice user)
{
    redis_bus_part_add(r->sweeper->users, partition_of_user(user));
    r->sweeper->mended = true;
}

static void mended_tell(struct redis *r)
{
    struct sweeper *s = r->sweeper;
    if (s->mended && r->bus)
        redis_bus_reset(r, s->users);
    memset(s->users, 0, sizeof s->users);
    s->mended = false;
}

/* --- Intents: private messages ------------------------------------------------------------------------------------ */

/* What was not done, the next turn finds. */
static void halves_done(struct redis *r, struct halves *h, enum store_status status)
{
    struct slice users[2];
    conv_pair_users(conv_key_slice(&h->conv), &users[0], &users[1]);
    for (unsigned i = 0; status == STORE_OK && i < 2; i++)
        user_mended(r, users[i]);
    job_end(r, CONTAINER_OF(h, struct job, halves));
}

static void message_again(struct redis *r, struct turn *t, struct slice field, struct slice value)
{
    struct layout_intent intent;
    struct job *j = field.n == 9 && layout_intent(value, &intent) == 0 ? job_new(r, t, field) : NULL;
    if (!j)
        return;
    j->halves.task = NULL;
    j->halves.message = NULL;
    j->halves.done = halves_done;
    halves_run(r, &j->halves, load_be64(field.p + 1), &intent);
}

/* --- Intents: memberships ----------------------------------------------------------------------------------------- */

/* What was not done, the next turn finds. */
static void membership_done(struct redis *r, struct member_half *h, enum store_status status)
{
    if (status == STORE_OK)
        user_mended(r, h->what.user);
    job_end(r, CONTAINER_OF(h, struct job, member));
}

static void membership_again(struct redis *r, struct turn *t, struct slice field, struct slice value)
{
    struct job *j = job_new(r, t, field);
    if (!j)
        return;
    j->member = (struct member_half){.intent = true, .late = true, .done = membership_done};
    struct slice key = job_key(j); /* which the half borrows from */
    if (layout_half(slice_of(key.p + 1, key.n - 1), value, &j->member.what))
        job_end(r, j);
    else
        member_half_run(r, &j->member);
}

/* --- Conversations ------------------------------------------------------------------------------------------------ */

static void conv_keys(struct redis *r, struct call *c, enum fn fn, struct slice conv)
{
    call_begin(r, c, fn, partition_of(conv));
    call_key(r, c, 'm', conv);
    call_key(r, c, 'M', conv);
    for (const char *kind = "eAc"; *kind; kind++)
        call_key(r, c, *kind, SLICE_NONE);
    call_arg(c, conv);
    c->about = task_about(conv);
}

void sweep_trim(struct redis *r, struct call *c, struct slice conv)
{
    char rule[LAYOUT_RULE];
    conv_keys(r, c, FN_TRIM, conv);
    rule_now(r, rule);
    call_arg(c, slice_of(rule, sizeof rule));
    call_arg_u64(c, r->options.keep_vacant || time_paused(r));
}

/* A channel is no more, as a version of its members' changes: nodes may know it still. */
static void gone_tell(struct redis *r, struct slice conv, uint64_t version)
{
    struct bus_news n = {.kind = NEWS_CHANNEL, .conv = conv, .version = version, .gone = true};
    tell_channel(r, NULL, &n);
}

static void wiped(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    if (reply_u8(&in) == 'N') {
        uint32_t channels = reply_u32(&in);
        uint64_t version = reply_u48(&in);
        if (reply_ok(&in)) {
            channels_counted(r, c->part, channels);
            gone_tell(r, job_key(CONTAINER_OF(c, struct job, call)), version);
        }
    } /* else there are members: whoever deletes it puts them out */
    job_end(r, CONTAINER_OF(c, struct job, call));
}

static void trimmed(struct redis *r, struct call *c, enum store_status status, const struct reply *reply);

static void trim(struct redis *r, struct job *j)
{
    sweep_trim(r, &j->call, job_key(j));
    j->call.done = trimmed;
    call_post(r, &j->call);
}

static void trimmed(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct job *j = CONTAINER_OF(c, struct job, call);
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    uint8_t code = reply_u8(&in);
    atomic_fetch_add_explicit(&r->sweeper->trimmed, 1, memory_order_relaxed);
    if (code == 'W' && !r->sweeper->stopped) {
        conv_keys(r, c, FN_WIPE, job_key(j));
        c->done = wiped;
        call_post(r, c);
        return;
    }
    (void)reply_u48(&in); /* low */
    (void)reply_u48(&in); /* seq */
    bool again = reply_u8(&in), gone = reply_u8(&in);
    uint32_t channels = reply_u32(&in);
    uint64_t version = reply_u48(&in);
    if (code == 'N' && reply_ok(&in) && gone) {
        channels_counted(r, c->part, channels);
        gone_tell(r, job_key(j), version);
    }
    again = again && code == 'N' && reply_ok(&in) && !r->sweeper->stopped;
    if (again && ++j->tries < TRIMS) {
        trim(r, j);
        return;
    }
    j->turn->more = j->turn->more || again;
    job_end(r, j);
}

/* --- Dedup windows ------------------------------------------------------------------------------------------------ */

static void windows_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)status, (void)reply; /* the next turn finds what is left */
    job_end(r, CONTAINER_OF(c, struct job, call));
}

/* oldest: the oldest window that may still be there; 0: that is not known, since nobody has swept here yet; 1: and
 * there is none. */
static void windows_unlink(struct redis *r, struct turn *t, uint64_t oldest)
{
    uint64_t now = expiry_now(time_expiry(r)), back = r->options.dedup_window_ms + 2 * WINDOW_SLACK;
    uint64_t needed = now > back ? (now - back) / WINDOW_MS : 0;
    if (oldest >= needed || oldest == 1)
        return;
    struct job *j = job_new(r, t, SLICE_NONE);
    if (!j)
        return;
    struct call *c = &j->call;
    call_begin(r, c, FN_WINDOWS, t->part);
    call_key(r, c, 'c', SLICE_NONE);
    uint64_t to = oldest && needed - oldest > WINDOWS_MAX ? oldest + WINDOWS_MAX : needed;
    for (uint64_t b = oldest ? oldest : to; b < to; b++)
        windows_key(r, c, b);
    call_arg_u64(c, to);
    t->more = t->more || to < needed;
    c->done = windows_done;
    call_post(r, c);
}

/* --- Names of channels that are gone ------------------------------------------------------------------------------ */

static void names_dropped(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)status, (void)reply; /* the next turn finds what is left */
    job_end(r, CONTAINER_OF(c, struct job, call));
}

static void names_found(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct job *j = CONTAINER_OF(c, struct job, call);
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    struct slice names[NAMES_DROPPED];
    (void)reply_u8(&in); /* the code */
    unsigned n = reply_u16(&in);
    bool good = reply_ok(&in) && n && n <= NAMES_DROPPED && !r->sweeper->stopped;
    for (unsigned i = 0; good && i < n; i++) {
        names[i] = reply_slice8(&in);
        good = reply_ok(&in) && conv_is_channel(names[i]) && names[i].n <= CONV_KEY_MAX;
    }
    if (!good) {
        job_end(r, j);
        return;
    }
    call_begin(r, c, FN_NAMES_DROP, j->turn->part);
    call_key(r, c, 'c', SLICE_NONE);
    for (unsigned i = 0; i < n; i++)
        call_key(r, c, 'm', names[i]);
    for (unsigned i = 0; i < n; i++)
        call_arg(c, names[i]);
    c->done = names_dropped;
    call_post(r, c);
}

/* fields: of c. */
static void names_bound(struct redis *r, struct turn *t, uint32_t fields)
{
    uint32_t most = NAMES_BESIDE + (r->hooks.names_max ? r->hooks.names_max : NAMES_MAX);
    struct job *j = fields > most ? job_new(r, t, SLICE_NONE) : NULL;
    if (!j)
        return;
    uint32_t more = fields - most;
    t->more = t->more || more > NAMES_DROPPED;
    call_begin(r, &j->call, FN_NAMES, t->part);
    call_key(r, &j->call, 'c', SLICE_NONE);
    call_arg_u64(&j->call, more < NAMES_DROPPED ? more : NAMES_DROPPED);
    j->call.done = names_found;
    call_post(r, &j->call);
}

/* --- Looks -------------------------------------------------------------------------------------------------------- */

/* Decimal digits. */
static uint64_t number_of(struct slice s)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++)
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    return v;
}

static void looked_intents(struct redis *r, struct turn *t, struct reply_in *in)
{
    unsigned n = reply_u16(in);
    for (unsigned i = 0; i < n && reply_ok(in); i++) {
        struct slice field = reply_slice16(in), value = reply_slice16(in);
        if (!reply_ok(in) || field.n < 2)
            continue;
        if (field.p[0] == 'p')
            message_again(r, t, field, value);
        else if (field.p[0] == 'j')
            membership_again(r, t, field, value);
    }
    r->sweeper->parts[t->part].old += n;
    atomic_fetch_add_explicit(&r->sweeper->intents, n, memory_order_relaxed);
    if (n)
        log_event(LOG_INFO, "cluster.intent_repeated", LOG_INT("partition", t->part), LOG_INT("count", n));
}

static void looked_due(struct redis *r, struct turn *t, struct reply_in *in)
{
    unsigned n = reply_u16(in);
    t->more = t->more || n == PAGE;
    for (unsigned i = 0; i < n && reply_ok(in); i++) {
        (void)reply_u48(in); /* when */
        struct slice conv = reply_slice8(in);
        bool archived = r->cold && !conv_is_channel(conv);
        struct job *j = reply_ok(in) && !archived ? job_new(r, t, conv) : NULL;
        if (j)
            trim(r, j);
        else if (reply_ok(in) && archived)
            behind_due(r, t->part, conv);
    }
}

/* Pairs with rows that the archive lacks, the longest waiting first. */
static void looked_archive(struct redis *r, struct turn *t, struct reply_in *in)
{
    unsigned n = reply_u16(in);
    uint64_t oldest = 0;
    for (unsigned i = 0; i < n && reply_ok(in); i++) {
        uint64_t birth = reply_u48(in);
        struct slice conv = reply_slice8(in);
        if (!reply_ok(in))
            break;
        oldest = i ? oldest : birth;
        behind_found(r, t->part, conv);
    }
    if (t->first && reply_ok(in))
        behind_swept(r, t->part, oldest);
}

static void looked(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct turn *t = CONTAINER_OF(c, struct turn, call);
    struct swept *p = &r->sweeper->parts[t->part];
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    (void)reply_u8(&in); /* the code */
    uint32_t channels = reply_u32(&in), fields = reply_u32(&in);
    uint64_t window = reply_u48(&in), cursor = number_of(reply_slice8(&in));
    (void)channels; /* op_member.c counts them */
    if (reply_ok(&in) && !r->sweeper->stopped) {
        p->cursor = cursor;
        if (t->first)
            p->old = 0;
        looked_intents(r, t, &in);
        looked_due(r, t, &in);
        looked_archive(r, t, &in);
        if (t->first && reply_ok(&in)) {
            windows_unlink(r, t, window);
            names_bound(r, t, fields);
        }
    } else {
        p->cursor = 0; /* from the start, and in its turn */
        t->more = false;
    }
    turn_end(r, t);
}

static void look(struct redis *r, struct turn *t)
{
    struct swept *p = &r->sweeper->parts[t->part];
    struct call *c = &t->call;
    uint64_t now = time_now(r), due = t->first ? expiry_now(time_expiry(r)) : 0;
    t->left++;
    t->pages++;
    r->sweeper->busy++;
    call_begin(r, c, FN_SWEEP, t->part);
    for (const char *kind = "oeAGcg"; *kind; kind++)
        call_key(r, c, *kind, SLICE_NONE);
    call_arg_u64(c, p->cursor);
    call_arg_u64(c, now > OLD_MS ? now - OLD_MS : 0);
    call_arg_u64(c, due);
    call_arg_u64(c, r->cold && t->first ? now - BEHIND_AFTER_MS : 0);
    call_arg_u64(c, PAGE);
    c->done = looked;
    call_post(r, c);
}

static void turn_begin(struct redis *r, uint16_t part)
{
    struct swept *p = &r->sweeper->parts[part];
    struct turn *t = p->mine && !p->busy && r->sweeper->busy < BUSY_MAX ? calloc(1, sizeof *t) : NULL;
    if (!t)
        return;
    p->busy = true;
    p->eager = false;
    t->part = part;
    t->first = true;
    look(r, t);
}

/* --- The clock's ticks -------------------------------------------------------------------------------------------- */

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct sweeper *s = CONTAINER_OF(w, struct sweeper, timer);
    uint64_t behind = 0;
    (void)loop, (void)events;
    if (s->r->ending)
        return;
    for (uint16_t part = 0; part < PARTITIONS; part++) {
        /* Those of one tick are spread over all masters, which have neighbours each. */
        if (part % TICKS == s->tick || s->parts[part].eager)
            turn_begin(s->r, part);
        behind += s->parts[part].old;
    }
    atomic_store_explicit(&s->behind, behind, memory_order_relaxed);
    s->tick = (s->tick + 1) % TICKS;
    if (s->tick % (TICKS / 4) == 0) /* users are looked at twice a second at most */
        mended_tell(s->r);
}

void sweep_nodes(struct redis *r)
{
    struct sweeper *s = r->sweeper;
    const struct nodes *ns = node_others(r);
    uint64_t hash = ns->inc;
    for (unsigned i = 0; i < ns->n; i++)
        hash = (hash ^ (ns->list[i].inc * 4 + ns->list[i].about.state)) * UINT64_C(0x9e3779b97f4a7c15);
    if (hash == s->nodes)
        return;
    s->nodes = hash;
    for (uint16_t part = 0; part < PARTITIONS; part++) {
        s->parts[part].mine = r->hooks.sweep_all || nodes_sweeps(ns, part);
        if (!s->parts[part].mine)
            behind_swept(r, part, 0);
    }
    if (!ev_is_active(&s->timer)) {
        ev_timer_again(r->loop, &s->timer);
        node_ready(r);
    }
}

int sweep_init(struct redis *r)
{
    struct sweeper *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    r->sweeper = s;
    s->r = r;
    ev_init(&s->timer, on_timer);
    s->timer.repeat = ROUND_MS / 1000.0 / TICKS;
    return 0;
}

void sweep_fini(struct redis *r)
{
    free(r->sweeper);
    r->sweeper = NULL;
}

void sweep_stop(struct redis *r)
{
    r->sweeper->stopped = true;
    ev_timer_stop(r->loop, &r->sweeper->timer);
}

void sweep_get_stats(struct redis *r, struct sweep_stats *out)
{
    out->intents = atomic_load_explicit(&r->sweeper->intents, memory_order_relaxed);
    out->trimmed = atomic_load_explicit(&r->sweeper->trimmed, memory_order_relaxed);
    out->behind = atomic_load_explicit(&r->sweeper->behind, memory_order_relaxed);
}
