/* What other nodes are told: see tell.h. */
#include "storage/redis/bus/tell.h"

#include "core/base/container.h"
#include "core/base/hash.h"
#include "storage/redis/bus/news.h"
#include "storage/redis/bus/sessions.h"
#include "storage/redis/layout.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <stdlib.h>

enum {
    CHAINS = 256,             /* of messages that are being made */
    MESSAGE_BYTES = 64 << 10, /* above which a message gets no more news */
    SPARE_MESSAGES = 256,     /* so many are kept for the next ones */
    SPARE_NEWS = 16 << 10,    /* but no larger memory of their news */
    TO_MAX = 130              /* bytes of a conversation's key at most */
};

/* What goes to the same receivers in one piece. */
struct message {
    struct call call;
    struct message *next, **at; /* of all that the kernel has not; `at` is what points to this one */
    struct message *later;      /* of those that are being made in this turn; of the spare ones */
    struct message *chain;      /* of those that are being made, by receivers */
    struct buf news;            /* empty once it was posted */
    struct task **waits;        /* operations that are answered once the kernel has it; owned */
    uint32_t wait_n, wait_cap;
    uint16_t part;
    char kind;    /* 'b': a channel's followers; 'n': a node */
    bool gone;    /* the kernel has it, or had it once */
    uint8_t to_n; /* bytes of to */
    char to[TO_MAX];
};

struct telling {
    bool on;
    struct message *all;            /* that the kernel has not */
    struct message *first, **last;  /* being made in this turn, in order */
    struct message *chains[CHAINS]; /* the same */
    struct message *spare;
    uint32_t spare_n;
    _Atomic uint64_t out; /* of tell_stats */
};

int tell_init(struct redis *r)
{
    r->telling = calloc(1, sizeof *r->telling);
    if (!r->telling)
        return ERR_NOMEM;
    r->telling->last = &r->telling->first;
    return 0;
}

void tell_fini(struct redis *r)
{
    struct telling *all = r->telling;
    while (all && all->spare) {
        struct message *m = all->spare;
        all->spare = m->later;
        buf_free(&m->news);
        free(m->waits);
        free(m);
    }
    free(all);
    r->telling = NULL;
}

void tell_start(struct redis *r)
{
    r->telling->on = true;
}

bool tell_is_on(const struct redis *r)
{
    return r->telling->on;
}

bool tell_is_wanted(const struct redis *r)
{
    return r->telling->on && !node_is_alone(r);
}

void tell_get_stats(struct redis *r, struct tell_stats *out)
{
    out->out = atomic_load_explicit(&r->telling->out, memory_order_relaxed);
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static struct message *message_new(struct telling *all)
{
    struct message *m = all->spare;
    if (m) {
        all->spare = m->later;
        all->spare_n--;
        *m = (struct message){.news = m->news, .waits = m->waits, .wait_cap = m->wait_cap};
        buf_reset(&m->news);
    } else if (!(m = calloc(1, sizeof *m))) {
        return NULL;
    }
    m->at = &all->all;
    m->next = all->all;
    if (m->next)
        m->next->at = &m->next;
    all->all = m;
    return m;
}

/* Whoever waits for it waits no more. */
static void message_told(struct redis *r, struct message *m)
{
    if (m->gone)
        return;
    m->gone = true;
    *m->at = m->next;
    if (m->next)
        m->next->at = m->at;
    for (uint32_t i = 0; i < m->wait_n; i++)
        if (m->waits[i])
            task_told(r, m->waits[i]);
    m->wait_n = 0;
}

static void message_free(struct redis *r, struct message *m)
{
    struct telling *all = r->telling;
    message_told(r, m);
    if (all->spare_n >= SPARE_MESSAGES) {
        buf_free(&m->news);
        free(m->waits);
        free(m);
        return;
    }
    if (m->news.cap > SPARE_NEWS)
        buf_free(&m->news);
    m->later = all->spare;
    all->spare = m;
    all->spare_n++;
}

/* The operation waits for it, too. Without memory it does not. */
static void message_wait(struct message *m, struct task *t)
{
    if (m->wait_n && m->waits[m->wait_n - 1] == t)
        return;
    if (m->wait_n == m->wait_cap) {
        uint32_t cap = m->wait_cap ? m->wait_cap * 2 : 4;
        struct task **waits = realloc(m->waits, cap * sizeof(struct task *));
        if (!waits)
            return;
        m->waits = waits;
        m->wait_cap = cap;
    }
    m->waits[m->wait_n++] = t;
    task_tells(t);
}

static struct message **chain_of(struct telling *all, char kind, unsigned part, struct slice to)
{
    return &all->chains[(hash_bytes(to) ^ part ^ (unsigned)(uint8_t)kind) % CHAINS];
}

/* The message of this turn to those receivers, with room for more; NULL: out of memory. */
static struct message *message_of(struct redis *r, char kind, unsigned part, struct slice to)
{
    struct telling *all = r->telling;
    struct message **chain = chain_of(all, kind, part, to), *m;
    for (m = *chain; m; m = m->chain) /* the newest first */
        if (m->part == part && m->kind == kind && slice_eq(slice_of(m->to, m->to_n), to))
            break;
    if (m && m->news.n < MESSAGE_BYTES)
        return m;
    m = message_new(all);
    if (!m)
        return NULL;
    m->kind = kind;
    m->part = (uint16_t)part;
    m->to_n = (uint8_t)to.n;
    memcpy(m->to, to.p, to.n);
    m->chain = *chain;
    *chain = m;
    *all->last = m;
    all->last = &m->later;
    return m;
}

static void published(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)status, (void)reply; /* whoever hears it or not: nothing more can be done */
    message_free(r, CONTAINER_OF(c, struct message, call));
}

static void message_post(struct redis *r, struct message *m)
{
    struct call *c = &m->call;
    if (!m->news.n || !buf_ok(&m->news)) {
        message_free(r, m);
        return;
    }
    call_begin(r, c, FN_NEWS, m->part);
    call_arg(c, SLICE_LIT("SPUBLISH"));
    call_key(r, c, m->kind, slice_of(m->to, m->to_n));
    call_arg(c, buf_slice(&m->news));
    c->since = r->turn_ms;
    c->done = published;
    buf_reset(&m->news);
    call_post(r, c);
}

void tell_turn(struct redis *r)
{
    struct telling *all = r->telling;
    struct message *m = all->first;
    all->first = NULL;
    all->last = &all->first;
    for (struct message *one = m; one; one = one->later)
        *chain_of(all, one->kind, one->part, slice_of(one->to, one->to_n)) = NULL;
    while (m) {
        struct message *later = m->later;
        message_post(r, m);
        m = later;
    }
}

/* Operations that have waited for as long as they may are answered: what they changed is stored. */
void tell_tick(struct redis *r)
{
    uint64_t patience = r->options.cluster.patience_ms;
    for (struct message *m = r->telling->all; m; m = m->next) {
        for (uint32_t i = 0; i < m->wait_n; i++) {
            struct task *t = m->waits[i];
            if (!t || r->turn_ms <= t->since + patience)
                continue;
            m->waits[i] = NULL;
            task_told(r, t);
        }
    }
}

void tell_gone(struct redis *r, struct call *c)
{
    message_told(r, CONTAINER_OF(c, struct message, call));
}

/* --- Telling ------------------------------------------------------------------------------------------------------ */

struct buf *tell_open(struct redis *r, struct task *t, char kind, unsigned part, struct slice to)
{
    struct message *m = r->stopped || to.n > TO_MAX ? NULL : message_of(r, kind, part, to);
    if (!m)
        return NULL;
    if (t)
        message_wait(m, t);
    atomic_fetch_add_explicit(&r->telling->out, 1, memory_order_relaxed);
    return &m->news;
}

struct buf *tell_node(struct redis *r, struct task *t, unsigned part, uint64_t inc)
{
    char digits[24], *p = digits + sizeof digits;
    do
        *--p = (char)('0' + inc % 10);
    while (inc /= 10);
    return tell_open(r, t, 'n', part, slice_of(p, (size_t)(digits + sizeof digits - p)));
}

static void news_add(struct buf *b, const struct bus_news *n)
{
    if (b)
        news_put(b, n);
}

void tell_channel(struct redis *r, struct task *t, struct bus_news *n)
{
    if (!tell_is_wanted(r))
        return;
    n->origin = node_origin(r);
    news_add(tell_open(r, t, 'b', partition_of(n->conv), n->conv), n);
}

void tell_sessions(struct redis *r, struct task *t, struct bus_news *n, struct reply_in *in)
{
    if (!reply_ok(in) || !tell_is_wanted(r))
        return;
    if (!reply_left(in)) { /* it was not asked for them: this node was the only one then */
        tell_user(r, t, n);
        return;
    }
    struct sessions list = sessions_read(in);
    n->origin = node_origin(r);
    for (uint16_t i = 0; i < list.n; i++) {
        uint64_t inc = sessions_other(r, list, i, n->user);
        if (inc)
            news_add(tell_node(r, t, partition_of_user(n->user), inc), n);
    }
}

void tell_all(struct redis *r, struct task *t, struct bus_news *n)
{
    const struct nodes *ns = node_others(r);
    if (!tell_is_wanted(r))
        return;
    n->origin = node_origin(r);
    for (unsigned i = 0; i < ns->n; i++)
        if (ns->list[i].inc != ns->inc)
            news_add(tell_node(r, t, partition_of_user(n->user), ns->list[i].inc), n);
}

/* --- Where a user is, asked for ----------------------------------------------------------------------------------- */

/* News that wait for the answer. */
struct asking {
    struct call call;
    struct task *task;
    struct buf news; /* one, as it is published */
    uint8_t n;       /* bytes of user */
    char user[64];
};

static void asked(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct asking *a = CONTAINER_OF(c, struct asking, call);
    struct slice user = slice_of(a->user, a->n);
    struct reply_in in = status == STORE_OK ? reply_in(reply) : (struct reply_in){.bad = true};
    (void)reply_u8(&in);
    (void)reply_u8(&in); /* whether it shares a channel */
    struct sessions list = sessions_read(&in);
    for (uint16_t i = 0; i < list.n; i++) {
        uint64_t inc = sessions_other(r, list, i, user);
        struct buf *b = inc ? tell_node(r, a->task, partition_of_user(user), inc) : NULL;
        if (b)
            buf_slice_put(b, buf_slice(&a->news));
    }
    r->background--;
    buf_free(&a->news);
    if (a->task)
        task_told(r, a->task);
    free(a);
}

void tell_user(struct redis *r, struct task *t, struct bus_news *n)
{
    struct asking *a = tell_is_wanted(r) && n->user.n <= sizeof a->user ? malloc(sizeof *a) : NULL;
    if (!a)
        return;
    *a = (struct asking){.task = t, .n = (uint8_t)n->user.n};
    memcpy(a->user, n->user.p, n->user.n);
    n->origin = node_origin(r);
    news_put(&a->news, n);
    if (!buf_ok(&a->news)) {
        buf_free(&a->news);
        free(a);
        return;
    }
    call_begin(r, &a->call, FN_PRESENCE, partition_of_user(n->user));
    call_key(r, &a->call, 'u', n->user);
    call_key(r, &a->call, 'S', n->user);
    a->call.about = task_about(n->user);
    a->call.done = asked;
    r->background++;
    if (t)
        task_tells(t);
    call_post(r, &a->call);
}
