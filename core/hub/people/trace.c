#include "core/hub/people/trace.h"

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/shard.h"
#include "core/net/send.h"

#include <stdlib.h>

enum { UNDER_WAY = 2000 }; /* events of a shard that may wait for the main thread */

struct trace {
    uint64_t asked_by;
    uint32_t conn, generation; /* conn NONE: a user */
    uint8_t user_len;
    char user[64];
};

struct traces {
    struct trace list[TRACES_MAX];
    unsigned count;
    uint32_t login_conn; /* of the last login that was followed: not yet its user's when it is answered */
    uint8_t login_len;
    char login[64];
    uint32_t lost;
    _Atomic uint32_t under_way;
};

/* An event on its way. */
struct traced_mail {
    struct trace_event event; /* first: its mail */
    struct shard *shard;
};

void trace_set_sink(struct hub *hub, void (*sink)(void *ctx, const struct trace_event *e), void *ctx)
{
    hub->trace_sink = sink;
    hub->trace_ctx = ctx;
}

static struct slice trace_user(const struct trace *t)
{
    return slice_of(t->user, t->user_len);
}

static struct slice conn_user(const struct shard *s, uint32_t conn)
{
    uint32_t user = conn_at(s->net, conn)->user;
    if (user != NONE)
        return user_id(user_at(s, user));
    const struct traces *all = s->traces;
    return all && all->login_len && all->login_conn == conn ? slice_of(all->login, all->login_len) : SLICE_NONE;
}

static bool follows(const struct trace *t, uint32_t conn, uint32_t generation, struct slice user)
{
    if (t->conn != NONE)
        return t->conn == conn && t->generation == generation;
    return slice_eq(trace_user(t), user);
}

/* --- Following ---------------------------------------------------------------------------------------------------- */

/* Flags the user's connections anew. */
static void flag_user(struct shard *s, struct slice user)
{
    uint32_t u = s->net ? user_find(s, user) : NONE;
    for (uint32_t c = u != NONE ? user_at(s, u)->first_conn : NONE; c != NONE; c = conn_at(s->net, c)->user_next)
        conn_set(s->net, c, CONN_F_TRACE);
}

static struct trace *trace_add(struct shard *s, uint64_t asked_by, uint32_t conn, uint32_t generation,
                               struct slice user)
{
    if (!s->traces && !(s->traces = calloc(1, sizeof *s->traces)))
        return NULL;
    struct traces *all = s->traces;
    for (unsigned i = 0; i < all->count; i++) {
        struct trace *t = &all->list[i];
        if (t->asked_by == asked_by && t->conn == conn &&
            (conn != NONE ? t->generation == generation : slice_eq(trace_user(t), user)))
            return t;
    }
    if (all->count == TRACES_MAX)
        return NULL;
    struct trace *t = &all->list[all->count++];
    *t = (struct trace){.asked_by = asked_by, .conn = conn, .generation = generation, .user_len = (uint8_t)user.n};
    if (user.n)
        memcpy(t->user, user.p, user.n);
    return t;
}

bool trace_start_user(struct shard *s, uint64_t asked_by, struct slice user)
{
    if (user.n > sizeof((struct trace *)0)->user || !trace_add(s, asked_by, NONE, 0, user))
        return false;
    flag_user(s, user);
    return true;
}

bool trace_start_conn(struct shard *s, uint64_t asked_by, uint32_t conn, uint32_t generation)
{
    if (!s->net || !conn_find(s->net, conn, generation) || !trace_add(s, asked_by, conn, generation, SLICE_NONE))
        return false;
    conn_set(s->net, conn, CONN_F_TRACE);
    return true;
}

/* Takes the flag off a connection that nobody follows any more. */
static void unflag(struct shard *s, uint32_t conn)
{
    const struct conn *k = conn_at(s->net, conn);
    struct slice user = conn_user(s, conn);
    for (unsigned i = 0; i < s->traces->count; i++)
        if (follows(&s->traces->list[i], conn, k->generation, user))
            return;
    conn_clear(s->net, conn, CONN_F_TRACE);
}

void trace_stop(struct shard *s, uint64_t asked_by, struct slice user, uint32_t conn)
{
    struct traces *all = s->traces;
    for (unsigned i = 0; all && i < all->count;) {
        struct trace t = all->list[i];
        bool meant =
            t.asked_by == asked_by && (t.conn != NONE ? (conn == t.conn || (conn == NONE && !user.n))
                                                      : conn == NONE && (!user.n || slice_eq(trace_user(&t), user)));
        if (!meant) {
            i++;
            continue;
        }
        all->list[i] = all->list[--all->count];
        if (!s->net)
            continue;
        if (t.conn != NONE) {
            if (conn_find(s->net, t.conn, t.generation))
                unflag(s, t.conn);
            continue;
        }
        uint32_t u = user_find(s, trace_user(&t));
        for (uint32_t c = u != NONE ? user_at(s, u)->first_conn : NONE; c != NONE; c = conn_at(s->net, c)->user_next)
            unflag(s, c);
    }
}

void traces_free(struct shard *s)
{
    free(s->traces);
    s->traces = NULL;
}

/* --- Events ------------------------------------------------------------------------------------------------------- */

static void event_arrive(void *owner, struct mail *m)
{
    struct trace_event *e = (struct trace_event *)m;
    struct hub *hub = ((struct traced_mail *)m)->shard->hub;
    (void)owner;
    atomic_fetch_sub(&((struct traced_mail *)m)->shard->traces->under_way, 1);
    if (hub->trace_sink)
        hub->trace_sink(hub->trace_ctx, e);
    free(m);
}

static void tell(struct shard *s, uint32_t conn, struct slice user, struct trace_event *what)
{
    struct traces *all = s->traces;
    const struct conn *k = conn_at(s->net, conn);
    what->shard = s->index;
    what->conn = conn;
    what->generation = k->generation;
    what->queued = conn_queued(s->net, conn);
    what->wall_ms = clock_wall_ms();
    what->user_len = (uint8_t)user.n;
    if (user.n)
        memcpy(what->user, user.p, user.n);
    for (unsigned i = 0; all && i < all->count; i++) {
        if (!follows(&all->list[i], conn, k->generation, user))
            continue;
        struct traced_mail *m = atomic_load(&all->under_way) < UNDER_WAY && s->hub->main ? malloc(sizeof *m) : NULL;
        if (!m) {
            all->lost++;
            continue;
        }
        m->event = *what;
        m->shard = s;
        m->event.asked_by = all->list[i].asked_by;
        m->event.lost = all->lost;
        m->event.mail.run = event_arrive;
        all->lost = 0;
        atomic_fetch_add(&all->under_way, 1);
        mailbox_post(s->hub->main, &m->event.mail);
    }
}

void trace_login(struct shard *s, uint32_t conn, struct slice user)
{
    struct traces *all = s->traces;
    bool wanted = false;
    for (unsigned i = 0; all && i < all->count && !wanted; i++)
        wanted = follows(&all->list[i], conn, conn_at(s->net, conn)->generation, user);
    if (!wanted)
        return;
    all->login_conn = conn;
    all->login_len = (uint8_t)user.n;
    memcpy(all->login, user.p, user.n);
    conn_set(s->net, conn, CONN_F_TRACE);
    struct trace_event e = {.what = TRACE_LOGIN};
    tell(s, conn, user, &e);
}

void trace_message(struct shard *s, uint32_t conn, const struct net_message *m)
{
    struct trace_event e = {.what = TRACE_IN, .action = m->action, .seq = m->seq, .size = (uint32_t)m->body.n};
    if (m->text) {
        (void)json_peek(m->body, "action", &e.action);
        (void)json_peek(m->body, "seq", &e.seq);
    }
    tell(s, conn, conn_user(s, conn), &e);
}

void trace_wire(void *owner, uint32_t conn, const struct wire *w, int rc)
{
    struct shard *s = owner;
    struct trace_event e = {.what = TRACE_OUT, .action = w->action, .seq = w->seq, .size = w->len, .rc = rc};
    if (w->action != WIRE_NAMELESS)
        tell(s, conn, conn_user(s, conn), &e);
}

void trace_close(struct shard *s, uint32_t conn)
{
    struct trace_event e = {.what = TRACE_CLOSE};
    tell(s, conn, conn_user(s, conn), &e);
}
