/* The hub's world: members, history and blocks, read from the store for scripts. */
#include "core/base/container.h"
#include "core/hub/host/host.h"
#include "core/hub/shard/shard.h"
#include "core/script/read_result.h"
#include "core/script/waiting.h"
#include "core/script/world_hub.h"

#include <stdlib.h>

/* A read under way; the shard does not end before it is back. Owns copies of its texts. */
struct reading {
    union {
        struct store_op op;
        struct store_members members;
        struct store_range range;
    } u;
    struct waiting *waiting;
    struct conv_key key;
    char cursor[64];
};

static const char *error_of(enum store_status status)
{
    switch (status) {
    case STORE_OK:
        return NULL;
    case STORE_NOTFOUND:
        return "not_found";
    case STORE_FATAL:
        return "internal";
    default:
        return "unavailable";
    }
}

static void push_members(struct state *st, lua_State *L, void *ctx)
{
    read_push_members(st, L, ctx);
}

static void push_history(struct state *st, lua_State *L, void *ctx)
{
    read_push_history(st, L, ctx);
}

static void members_back(void *owner, struct store_op *op)
{
    struct reading *r = (struct reading *)op;
    ((struct shard *)owner)->ops--;
    waiting_answer(r->waiting, error_of(op->status), push_members, &r->u.members);
    free(r->u.members.people);
    free(r->u.members.arena);
    free(r);
}

static void history_back(void *owner, struct store_op *op)
{
    struct reading *r = (struct reading *)op;
    ((struct shard *)owner)->ops--;
    waiting_answer(r->waiting, error_of(op->status), push_history, &r->u.range);
    store_page_free(&r->u.range.page);
    free(r);
}

static struct reading *begin(struct shard *s, struct waiting *w, void (*done)(void *owner, struct store_op *op),
                             struct reading **out)
{
    struct reading *r = *out = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->waiting = w;
    r->u.op.home = &s->mailbox;
    r->u.op.done = done;
    s->ops++;
    return r;
}

int hub_world_members(struct world *world, struct waiting *w, struct slice channel, struct slice cursor)
{
    struct shard *s = ((struct hub_world *)world)->shard;
    struct reading *r;
    if (!begin(s, w, members_back, &r))
        return ERR_NOMEM;
    r->key = conv_key_channel(channel);
    if (cursor.n)
        memcpy(r->cursor, cursor.p, cursor.n);
    r->u.members.conv = conv_key_slice(&r->key);
    r->u.members.cursor = slice_of(r->cursor, cursor.n);
    r->u.members.limit = READ_MEMBERS;
    store_members(s->store, &r->u.members);
    return 0;
}

int hub_world_history(struct world *world, struct waiting *w, const struct history_query *h)
{
    struct shard *s = ((struct hub_world *)world)->shard;
    struct reading *r;
    if (!begin(s, w, history_back, &r))
        return ERR_NOMEM;
    r->key = h->conv;
    r->u.range.conv = conv_key_slice(&r->key);
    r->u.range.has_after = h->has_after;
    r->u.range.has_before = h->has_before;
    r->u.range.after = h->after;
    r->u.range.before = h->before;
    r->u.range.limit = h->limit;
    r->u.range.page_bytes = READ_PAGE_BYTES;
    store_range(s->store, &r->u.range);
    return 0;
}

/* --- A push from somebody who may be blocked ---------------------------------------------------------------------- */

/* Asks the store about the pair first. Owns copies of its texts. */
struct pushing {
    struct store_conv_load load;
    struct conv_key key;
    struct slice user, body; /* in data */
    uint16_t action;
    char data[];
};

static void pair_known(void *owner, struct store_op *op)
{
    struct pushing *p = (struct pushing *)op;
    struct shard *s = owner;
    struct slice lo, hi;
    s->ops--;
    conv_pair_users(conv_key_slice(&p->key), &lo, &hi);
    bool blocked = p->load.blocks[slice_eq(lo, p->user) ? 0 : 1] && !slice_eq(lo, hi);
    if (op->status == STORE_OK && !blocked)
        (void)!host_push(s->hub, NULL, p->user, p->action, p->body); /* without memory it is not pushed */
    free(p);
}

int hub_world_push_from(struct world *world, struct slice user, uint16_t action, struct slice body, struct slice from)
{
    struct shard *s = ((struct hub_world *)world)->shard;
    struct pushing *p = calloc(1, sizeof *p + user.n + body.n);
    if (!p)
        return ERR_NOMEM;
    p->key = conv_key_pair(user, from);
    memcpy(p->data, user.p, user.n);
    p->user = slice_of(p->data, user.n);
    memcpy(p->data + user.n, body.p, body.n);
    p->body = slice_of(p->data + user.n, body.n);
    p->action = action;
    p->load.op.home = &s->mailbox;
    p->load.op.done = pair_known;
    p->load.conv = conv_key_slice(&p->key);
    s->ops++;
    store_conv_load(s->store, &p->load);
    return 0;
}
