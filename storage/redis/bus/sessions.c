#include "storage/redis/bus/sessions.h"

#include "storage/redis/bus/watch.h"
#include "storage/redis/layout.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>

/* --- Those that live no more -------------------------------------------------------------------------------------- */

enum { GHOSTS_MAX = 64 }; /* being taken away at once; who is met meanwhile is met again */

/* An incarnation that is being taken away from a user, with what it watched. */
struct ghost {
    struct call call;
    uint64_t inc;
    uint8_t n; /* bytes of user */
    char user[64];
};

struct ghosts {
    struct ghost *list[GHOSTS_MAX]; /* under way; owned */
    unsigned n;
};

int sessions_init(struct redis *r)
{
    r->ghosts = calloc(1, sizeof *r->ghosts);
    return r->ghosts ? 0 : ERR_NOMEM;
}

void sessions_fini(struct redis *r)
{
    free(r->ghosts);
    r->ghosts = NULL;
}

static void ghost_gone(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct ghosts *gs = r->ghosts;
    struct ghost *g = c->ctx;
    for (unsigned i = 0; i < gs->n; i++)
        if (gs->list[i] == g)
            gs->list[i--] = gs->list[--gs->n];
    if (status == STORE_OK) { /* else it is met again */
        struct reply_in in = reply_in(reply);
        (void)reply_u8(&in);
        uint64_t s = reply_u48(&in);
        (void)!watch_tell(r, NULL, slice_of(g->user, g->n), s, &in);
    }
    free(g);
    r->background--;
}

static void ghost_take_away(struct redis *r, struct slice user, uint64_t inc)
{
    struct ghosts *gs = r->ghosts;
    for (unsigned i = 0; i < gs->n; i++)
        if (gs->list[i]->inc == inc && slice_eq(slice_of(gs->list[i]->user, gs->list[i]->n), user))
            return;
    struct ghost *g = gs->n < GHOSTS_MAX && !r->ending && user.n <= sizeof g->user ? malloc(sizeof *g) : NULL;
    if (!g)
        return;
    gs->list[gs->n++] = g;
    g->inc = inc;
    g->n = (uint8_t)user.n;
    memcpy(g->user, user.p, user.n);
    sessions_call_del(r, &g->call, user, inc, true);
    g->call.done = ghost_gone;
    g->call.ctx = g;
    r->background++;
    call_post(r, &g->call);
}

/* --- Lists -------------------------------------------------------------------------------------------------------- */

uint64_t sessions_at(struct sessions list, uint16_t i)
{
    return layout_u48(list.p + (size_t)i * 6);
}

uint64_t sessions_other(struct redis *r, struct sessions list, uint16_t i, struct slice user)
{
    uint64_t inc = sessions_at(list, i);
    const struct nodes *ns = node_others(r);
    if (inc == ns->inc)
        return 0;
    if (nodes_may_live(ns, inc))
        return inc;
    ghost_take_away(r, user, inc);
    return 0;
}

bool sessions_elsewhere(struct redis *r, struct sessions list, struct slice user)
{
    bool found = false;
    for (uint16_t i = 0; i < list.n; i++)
        if (sessions_other(r, list, i, user))
            found = true; /* and on: others may be dead */
    return found;
}

void sessions_arg_living(struct redis *r, struct call *c)
{
    const struct nodes *ns = node_others(r);
    call_arg_u64(c, ns->newest);
    call_arg_open(c, (size_t)ns->n * 6);
    for (unsigned i = 0; i < ns->n; i++) {
        char inc[6];
        layout_put48(inc, ns->list[i].inc);
        buf_put(&c->body, inc, sizeof inc);
    }
    call_arg_close(c);
}

void sessions_call_del(struct redis *r, struct call *c, struct slice user, uint64_t inc, bool dead)
{
    call_begin(r, c, FN_SESSION_DEL, partition_of_user(user));
    call_key(r, c, 'u', user);
    call_key(r, c, 'S', user);
    call_key(r, c, 'W', user);
    call_arg_u64(c, inc);
    call_arg_u64(c, time_now(r));
    call_arg_u64(c, dead);
}
