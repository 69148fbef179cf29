/* Read marks of senders: see marks.h. */
#include "storage/redis/ops/marks.h"

#include "core/base/container.h"
#include "core/base/hash.h"
#include "storage/conv_key.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/task.h"

#include <stdlib.h>

enum { CHAINS = 4096, MARKS_EVERY = 1 /* s */ };

/* One channel that a user has sent to. */
struct mark {
    struct mark *next;
    uint64_t seq; /* read up to here */
    uint8_t n;    /* bytes of conv */
    char conv[];
};

/* A user with marks that are noted or under way. */
struct marker {
    struct marker *next; /* in its chain */
    struct mark *noted;  /* to be sent; owned */
    struct marks_wait *waits;
    uint32_t under_way; /* calls */
    uint8_t n;          /* bytes of user */
    char user[];
};

struct marks {
    struct redis *r;
    struct marker *chains[CHAINS];
    ev_timer timer;
    uint32_t n; /* markers */
};

/* A call under way. */
struct marking {
    struct call call;
    struct marker *marker;
};

void marks_call(struct redis *r, struct call *c, struct slice user, struct slice conv, uint64_t seq, bool tell)
{
    bool channel = conv_is_channel(conv);
    call_begin(r, c, FN_MARK, partition_of_user(user));
    call_key(r, c, 'u', user);
    call_key(r, c, 'r', user);
    if (tell)
        call_key(r, c, 'S', user);
    call_arg_u64(c, seq);
    call_arg(c, channel ? conv : SLICE_NONE);
    call_arg(c, channel ? SLICE_NONE : conv_pair_peer(conv, user));
    c->about = task_about(user);
}

static struct marker **chain_of(struct marks *ms, struct slice user)
{
    return &ms->chains[hash_bytes(user) % CHAINS];
}

static struct marker *marker_find(struct marks *ms, struct slice user)
{
    struct marker *m = *chain_of(ms, user);
    while (m && !slice_eq(slice_of(m->user, m->n), user))
        m = m->next;
    return m;
}

/* Frees it if nothing of it is left. */
static void marker_end(struct marks *ms, struct marker *m)
{
    if (m->noted || m->under_way || m->waits)
        return;
    struct marker **at = chain_of(ms, slice_of(m->user, m->n));
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    if (!--ms->n)
        ev_timer_stop(ms->r->loop, &ms->timer);
    free(m);
}

/* What came of it is not asked: a mark that was lost is one that was not made. */
static void on_marked(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct marking *g = CONTAINER_OF(c, struct marking, call);
    struct marker *m = g->marker;
    (void)status, (void)reply;
    r->background--;
    free(g);
    if (--m->under_way)
        return;
    struct marks_wait *w = m->waits;
    m->waits = NULL;
    marker_end(r->marks, m);
    while (w) {
        struct marks_wait *next = w->next;
        w->done(r, w);
        w = next;
    }
}

static void marker_send(struct redis *r, struct marker *m)
{
    while (m->noted) {
        struct mark *mark = m->noted;
        struct marking *g = malloc(sizeof *g);
        m->noted = mark->next;
        if (g) {
            marks_call(r, &g->call, slice_of(m->user, m->n), slice_of(mark->conv, mark->n), mark->seq, false);
            g->call.relaxed = true;
            g->call.done = on_marked;
            g->marker = m;
            m->under_way++;
            r->background++;
            call_post(r, &g->call);
        }
        free(mark);
    }
}

void marks_flush(struct redis *r)
{
    for (uint32_t i = 0; i < CHAINS && r->marks->n; i++) {
        for (struct marker *m = r->marks->chains[i], *next; m; m = next) {
            next = m->next;
            marker_send(r, m);
            marker_end(r->marks, m); /* without memory nothing was sent */
        }
    }
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    marks_flush(CONTAINER_OF(w, struct marks, timer)->r);
}

static void marks_drop(struct marker *m)
{
    while (m->noted) {
        struct mark *mark = m->noted;
        m->noted = mark->next;
        free(mark);
    }
}

int marks_init(struct redis *r)
{
    r->marks = calloc(1, sizeof *r->marks);
    if (!r->marks)
        return ERR_NOMEM;
    r->marks->r = r;
    ev_init(&r->marks->timer, on_timer);
    r->marks->timer.repeat = MARKS_EVERY;
    return 0;
}

/* All are sent before an engine ends by itself; one that ends in the middle loses them. */
void marks_fini(struct redis *r)
{
    for (uint32_t i = 0; r->marks && i < CHAINS; i++) {
        for (struct marker *m = r->marks->chains[i], *next; m; m = next) {
            next = m->next;
            marks_drop(m);
            free(m);
        }
    }
    free(r->marks);
    r->marks = NULL;
}

static struct marker *marker_of(struct redis *r, struct slice user)
{
    struct marker *m = marker_find(r->marks, user), **chain = chain_of(r->marks, user);
    if (m)
        return m;
    m = malloc(sizeof *m + user.n);
    if (!m)
        return NULL;
    *m = (struct marker){.next = *chain, .n = (uint8_t)user.n};
    memcpy(m->user, user.p, user.n);
    *chain = m;
    if (!r->marks->n++)
        ev_timer_again(r->loop, &r->marks->timer);
    return m;
}

void marks_note(struct redis *r, struct slice user, struct slice conv, uint64_t seq)
{
    struct marker *m = marker_of(r, user);
    if (!m)
        return;
    for (struct mark *mark = m->noted; mark; mark = mark->next) {
        if (slice_eq(slice_of(mark->conv, mark->n), conv)) {
            mark->seq = seq > mark->seq ? seq : mark->seq;
            return;
        }
    }
    struct mark *mark = malloc(sizeof *mark + conv.n);
    if (mark) {
        *mark = (struct mark){.next = m->noted, .seq = seq, .n = (uint8_t)conv.n};
        memcpy(mark->conv, conv.p, conv.n);
        m->noted = mark;
    }
    marker_end(r->marks, m);
}

bool marks_send(struct redis *r, struct slice user, struct marks_wait *w)
{
    struct marker *m = marker_find(r->marks, user);
    if (!m)
        return true;
    marker_send(r, m);
    if (!m->under_way) {
        marker_end(r->marks, m);
        return true;
    }
    if (w) {
        w->next = m->waits;
        m->waits = w;
    }
    return false;
}
