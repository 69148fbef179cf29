/* Users that were deleted: see gone.h. */
#include "storage/redis/ops/gone.h"

#include "core/base/container.h"
#include "core/base/hash.h"
#include "storage/redis/layout.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <stdlib.h>

enum { GONE_BITS = 1 << 20, GONE_PAGE = 1000, GONE_EVERY = 2 /* s */ };

struct gone {
    struct redis *r;
    struct call call; /* that reads D{z} */
    ev_timer timer;
    uint64_t n;  /* users that have been read */
    bool asking; /* the call is under way */
    bool loaded; /* all that there were have been read once */
    uint64_t bits[GONE_BITS / 64];
};

static void gone_read_more(struct redis *r, struct gone *g);

static void bit_set(struct gone *g, struct slice user)
{
    uint64_t h = hash_bytes(user) % GONE_BITS;
    g->bits[h / 64] |= UINT64_C(1) << h % 64;
}

static void on_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct gone *g = c->ctx;
    uint32_t n = 0;
    g->asking = false;
    if (status != STORE_OK)
        return; /* the timer asks again */
    struct reply_in in = reply_in(reply);
    if (reply_u8(&in) != 'N')
        return;
    for (; reply_left(&in) && reply_ok(&in); n++)
        bit_set(g, reply_slice8(&in));
    g->n += n;
    g->loaded |= n < GONE_PAGE;
    if (n == GONE_PAGE)
        gone_read_more(r, g);
}

static void gone_read_more(struct redis *r, struct gone *g)
{
    if (g->asking)
        return;
    g->asking = true;
    call_begin(r, &g->call, FN_GONE_LIST, 0);
    call_key(r, &g->call, 'D', SLICE_NONE);
    call_arg_u64(&g->call, g->n);
    call_arg_u64(&g->call, GONE_PAGE);
    g->call.done = on_read;
    g->call.ctx = g;
    call_post(r, &g->call);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    struct gone *g = CONTAINER_OF(w, struct gone, timer);
    (void)loop, (void)events;
    if (!g->r->ending)
        gone_read_more(g->r, g);
}

int gone_init(struct redis *r)
{
    r->gone = calloc(1, sizeof *r->gone);
    if (!r->gone)
        return ERR_NOMEM;
    r->gone->r = r;
    ev_timer_init(&r->gone->timer, on_timer, GONE_EVERY, GONE_EVERY);
    return 0;
}

void gone_fini(struct redis *r)
{
    free(r->gone);
    r->gone = NULL;
}

void gone_start(struct redis *r)
{
    ev_timer_start(r->loop, &r->gone->timer);
    gone_read_more(r, r->gone);
}

void gone_heard(struct redis *r, struct slice user)
{
    bit_set(r->gone, user);
}

bool gone_maybe(const struct redis *r, struct slice user)
{
    uint64_t h = hash_bytes(user) % GONE_BITS;
    return !r->gone->loaded || r->gone->bits[h / 64] >> h % 64 & 1;
}

/* Should it fail: the deletion is under way, and whoever goes on with it notes it again. */
static void on_put(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    (void)status, (void)reply;
    r->background--;
    free(c);
}

void gone_add(struct redis *r, struct slice user)
{
    struct call *c = malloc(sizeof *c);
    bit_set(r->gone, user);
    if (!c)
        return;
    call_begin(r, c, FN_GONE_PUT, 0);
    call_key(r, c, 'D', SLICE_NONE);
    call_arg(c, user);
    c->done = on_put;
    r->background++;
    call_post(r, c);
}

void gone_ask(struct redis *r, struct call *c, struct slice user,
              void (*done)(struct redis *r, struct call *c, enum store_status status, const struct reply *reply),
              void *ctx)
{
    call_begin(r, c, FN_THERE, partition_of_user(user));
    call_key(r, c, 'u', user);
    c->about = task_about(user);
    c->done = done;
    c->ctx = ctx;
    call_post(r, c);
}

bool gone_read(const struct reply *reply, struct gone_user *out)
{
    struct reply_in in = reply_in(reply);
    uint8_t code = reply_u8(&in);
    out->gone = code == 'X';
    out->exists = reply_u8(&in) & 1;
    uint64_t until = reply_u48(&in);
    out->until = until ? layout_id_end(until) : 0;
    return out->gone || (code == 'N' && reply_ok(&in));
}

/* --- Names -------------------------------------------------------------------------------------------------------- */

static void names_replied(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct gone_names *n = c->ctx;
    struct gone_user user;
    if (status == STORE_OK && !gone_read(reply, &user))
        status = STORE_FATAL;
    if (status != STORE_OK) {
        n->done(r, n, status);
        return;
    }
    struct slice sender = n->page->messages[n->at].sender;
    for (uint32_t i = n->at; i < n->page->n; i++) { /* all of this sender */
        struct store_message *m = &n->page->messages[i];
        if (slice_eq(m->sender, sender) && m->id <= user.until)
            m->sender_name = SLICE_NONE;
    }
    n->at++;
    if (!gone_names(r, n))
        n->done(r, n, STORE_OK);
}

/* Whether a message before this one has the same sender, who was asked for then. */
static bool names_seen(const struct gone_names *n)
{
    for (uint32_t i = 0; i < n->at; i++)
        if (slice_eq(n->page->messages[i].sender, n->page->messages[n->at].sender))
            return true;
    return false;
}

bool gone_names(struct redis *r, struct gone_names *n)
{
    for (; n->at < n->page->n; n->at++) {
        struct slice sender = n->page->messages[n->at].sender;
        if (gone_maybe(r, sender) && !names_seen(n)) {
            gone_ask(r, &n->call, sender, names_replied, n);
            return true;
        }
    }
    return false;
}
