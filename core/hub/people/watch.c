#include "core/hub/people/watch.h"

#include "core/base/container.h"
#include "core/base/frame.h"
#include "core/base/push.h"
#include "core/hub/people/watch_private.h"
#include "core/net/send.h"

#include <stdlib.h>

/* In one turn of the loop so many connections are looked at, and so many are sent something. */
enum { STEP_VISITS = 8192, STEP_SENDS = 128 };

/* What a connection was told of a user. */
enum told { TOLD_NOTHING, TOLD_OFFLINE, TOLD_ONLINE };

/* A user, of whatever shard, whom connections of this shard watch. */
struct target {
    uint32_t first;   /* its watches; NONE: none left */
    uint32_t cursor;  /* the watch that is told next, while it is in `telling`; NONE: all are */
    uint32_t next;    /* in the list that it is in */
    uint32_t told_ms; /* when it was last told of, low half of the monotonic clock */
    bool told;        /* it ever was */
    bool sent;        /* in this round of telling */
    bool listed;      /* in one of the lists, and not freed before it is out of it */
    bool telling;     /* in that of `telling` */
    bool online;
    bool known; /* its shard has said so */
    uint8_t id_len;
    char id[64];
};

/* A connection that watches. */
struct watcher {
    uint32_t conn;
    uint32_t first; /* its watches */
    uint32_t count;
};

/* One connection's watch of one user. */
struct watch {
    uint32_t target, watcher;
    uint32_t next, prev; /* of the target */
    uint32_t next_of_watcher;
    uint8_t told; /* enum told */
};

/* --- Tables ------------------------------------------------------------------------------------------------------- */

static struct slice target_id(const struct target *t)
{
    return slice_of(t->id, t->id_len);
}

static uint64_t target_hash(void *ctx, uint32_t i)
{
    return hash_bytes(target_id(pool_at(&((struct watches *)ctx)->targets, i)));
}

static bool target_matches(void *ctx, uint32_t i, const void *key)
{
    return slice_eq(target_id(pool_at(&((struct watches *)ctx)->targets, i)), *(const struct slice *)key);
}

static uint64_t conn_hash(uint32_t conn)
{
    return hash_bytes(slice_of(&conn, sizeof conn));
}

static uint64_t watcher_hash(void *ctx, uint32_t i)
{
    return conn_hash(((struct watcher *)pool_at(&((struct watches *)ctx)->watchers, i))->conn);
}

static bool watcher_matches(void *ctx, uint32_t i, const void *key)
{
    return ((struct watcher *)pool_at(&((struct watches *)ctx)->watchers, i))->conn == *(const uint32_t *)key;
}

struct watches *watches_get(struct shard *s)
{
    struct watches *w = s->watches;
    if (w)
        return w;
    if (!(w = calloc(1, sizeof *w)))
        return NULL;
    pool_init(&w->targets, watch_rounded(sizeof(struct target)), 64);
    pool_init(&w->watchers, watch_rounded(sizeof(struct watcher)), 64);
    pool_init(&w->links, watch_rounded(sizeof(struct watch)), 256);
    w->due = w->telling = (struct list){NONE, NONE};
    s->watches = w;
    if (watch_init_users(w) || table_init(&w->target_ids, 0, target_hash, target_matches, w) ||
        table_init(&w->conns, 0, watcher_hash, watcher_matches, w)) {
        watches_free(s);
        return NULL;
    }
    return w;
}

void watches_free(struct shard *s)
{
    struct watches *w = s->watches;
    if (!w)
        return;
    watch_fini_users(w);
    table_fini(&w->target_ids);
    table_fini(&w->conns);
    pool_fini(&w->targets);
    pool_fini(&w->watchers);
    pool_fini(&w->links);
    free(w);
    s->watches = NULL;
}

static void list_push(struct watches *w, struct list *l, uint32_t target)
{
    struct target *t = pool_at(&w->targets, target);
    t->next = NONE;
    t->listed = true;
    if (l->last == NONE)
        l->first = target;
    else
        ((struct target *)pool_at(&w->targets, l->last))->next = target;
    l->last = target;
}

static uint32_t list_pop(struct watches *w, struct list *l)
{
    uint32_t target = l->first;
    struct target *t = pool_at(&w->targets, target);
    l->first = t->next;
    if (l->first == NONE)
        l->last = NONE;
    t->listed = false;
    return target;
}

/* --- On the watching shard ---------------------------------------------------------------------------------------- */

static void target_free(struct shard *s, uint32_t target)
{
    struct watches *w = s->watches;
    struct target *t = pool_at(&w->targets, target);
    if (t->first != NONE || t->listed)
        return;
    table_remove(&w->target_ids, hash_bytes(target_id(t)), target);
    (void)watch_post(s, shard_of(s->hub, target_id(t)), watch_users_arrive, target_id(t), false);
    pool_free(&w->targets, target);
}

static uint32_t target_get(struct shard *s, struct slice id)
{
    struct watches *w = s->watches;
    uint32_t i = table_find(&w->target_ids, hash_bytes(id), &id);
    if (i != TABLE_NONE)
        return i;
    if ((i = pool_alloc(&w->targets)) == POOL_NONE)
        return NONE;
    struct target *t = pool_at(&w->targets, i);
    t->first = t->cursor = t->next = NONE;
    t->id_len = (uint8_t)id.n;
    memcpy(t->id, id.p, id.n);
    if (table_add(&w->target_ids, hash_bytes(id), i) != 0) {
        pool_free(&w->targets, i);
        return NONE;
    }
    if (watch_post(s, shard_of(s->hub, id), watch_users_arrive, id, true))
        return i;
    table_remove(&w->target_ids, hash_bytes(id), i);
    pool_free(&w->targets, i);
    return NONE;
}

static uint32_t watcher_find(const struct shard *s, uint32_t conn)
{
    return s->watches ? table_find(&s->watches->conns, conn_hash(conn), &conn) : NONE;
}

static uint32_t watcher_get(struct shard *s, uint32_t conn)
{
    struct watches *w = s->watches;
    uint32_t i = watcher_find(s, conn);
    if (i != TABLE_NONE || (i = pool_alloc(&w->watchers)) == POOL_NONE)
        return i;
    *(struct watcher *)pool_at(&w->watchers, i) = (struct watcher){.conn = conn, .first = NONE};
    if (table_add(&w->conns, conn_hash(conn), i) == 0)
        return i;
    pool_free(&w->watchers, i);
    return NONE;
}

static void watcher_free(struct watches *w, uint32_t watcher)
{
    const struct watcher *x = pool_at(&w->watchers, watcher);
    if (x->first != NONE)
        return;
    table_remove(&w->conns, conn_hash(x->conn), watcher);
    pool_free(&w->watchers, watcher);
}

/* --- Those who wait until it is known ----------------------------------------------------------------------------- */

static void waiting_look(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct watches *w = CONTAINER_OF(m, struct watches, wake);
    struct watch_wait *x = w->waiting;
    w->waiting = NULL;
    w->waking = false;
    while (x) {
        struct watch_wait *next = x->next;
        x->look(s, x);
        x = next;
    }
}

/* Later, since whoever calls is in the middle of something. */
static void waiting_wake(struct shard *s)
{
    struct watches *w = s->watches;
    if (w->waking)
        return;
    w->waking = true;
    w->wake.run = waiting_look;
    mailbox_post(&s->mailbox, &w->wake);
}

void watch_wait(struct shard *s, struct watch_wait *x)
{
    x->next = s->watches->waiting;
    s->watches->waiting = x;
}

/* Where the connection's watch of this user stands in its list; NULL: there is none. */
static uint32_t *watch_at(const struct shard *s, uint32_t conn, struct slice id)
{
    struct watches *w = s->watches;
    uint32_t watcher = watcher_find(s, conn);
    uint32_t target = watcher != TABLE_NONE ? table_find(&w->target_ids, hash_bytes(id), &id) : TABLE_NONE;
    if (target == TABLE_NONE)
        return NULL;
    uint32_t *at = &((struct watcher *)pool_at(&w->watchers, watcher))->first;
    while (*at != NONE && ((struct watch *)pool_at(&w->links, *at))->target != target)
        at = &((struct watch *)pool_at(&w->links, *at))->next_of_watcher;
    return *at != NONE ? at : NULL;
}

uint32_t watch_count(const struct shard *s, uint32_t conn)
{
    uint32_t i = watcher_find(s, conn);
    return i != TABLE_NONE ? ((struct watcher *)pool_at(&s->watches->watchers, i))->count : 0;
}

bool watch_has(const struct shard *s, uint32_t conn, struct slice id)
{
    return watch_at(s, conn, id) != NULL;
}

int watch_add(struct shard *s, uint32_t conn, struct slice id)
{
    struct watches *w = watches_get(s);
    if (w && watch_at(s, conn, id))
        return 0;
    uint32_t link = w ? pool_alloc(&w->links) : POOL_NONE;
    uint32_t watcher = link != POOL_NONE ? watcher_get(s, conn) : NONE;
    uint32_t target = watcher != NONE ? target_get(s, id) : NONE;
    if (target == NONE) {
        if (watcher != NONE)
            watcher_free(w, watcher);
        if (link != POOL_NONE)
            pool_free(&w->links, link);
        return ERR_NOMEM;
    }
    struct watcher *x = pool_at(&w->watchers, watcher);
    struct target *t = pool_at(&w->targets, target);
    *(struct watch *)pool_at(&w->links, link) = (struct watch){
        .target = target, .watcher = watcher, .next = t->first, .prev = NONE, .next_of_watcher = x->first};
    if (t->first != NONE)
        ((struct watch *)pool_at(&w->links, t->first))->prev = link;
    t->first = x->first = link;
    x->count++;
    return 0;
}

bool watch_known(const struct shard *s, uint32_t conn, struct slice id)
{
    const uint32_t *at = watch_at(s, conn, id);
    if (!at)
        return true;
    const struct watch *l = pool_at(&s->watches->links, *at);
    return ((struct target *)pool_at(&s->watches->targets, l->target))->known;
}

bool watch_answer(struct shard *s, uint32_t conn, struct slice id)
{
    uint32_t *at = watch_at(s, conn, id);
    if (!at)
        return false;
    struct watch *l = pool_at(&s->watches->links, *at);
    const struct target *t = pool_at(&s->watches->targets, l->target);
    l->told = t->online ? TOLD_ONLINE : TOLD_OFFLINE;
    return t->online;
}

/* Ends the watch that stands there in its watcher's list. */
static void watch_end(struct shard *s, uint32_t *at)
{
    struct watches *w = s->watches;
    uint32_t link = *at;
    struct watch *l = pool_at(&w->links, link);
    struct target *t = pool_at(&w->targets, l->target);
    uint32_t target = l->target;
    *at = l->next_of_watcher;
    ((struct watcher *)pool_at(&w->watchers, l->watcher))->count--;
    if (t->cursor == link)
        t->cursor = l->next;
    if (l->prev != NONE)
        ((struct watch *)pool_at(&w->links, l->prev))->next = l->next;
    else
        t->first = l->next;
    if (l->next != NONE)
        ((struct watch *)pool_at(&w->links, l->next))->prev = l->prev;
    pool_free(&w->links, link);
    target_free(s, target);
    if (w->waiting)
        waiting_wake(s);
}

void watch_remove(struct shard *s, uint32_t conn, struct slice id)
{
    uint32_t *at = watch_at(s, conn, id);
    if (!at)
        return;
    watch_end(s, at);
    watcher_free(s->watches, watcher_find(s, conn));
}

void watch_ended(struct shard *s, uint32_t conn)
{
    uint32_t watcher = watcher_find(s, conn);
    if (watcher == TABLE_NONE)
        return;
    struct watcher *x = pool_at(&s->watches->watchers, watcher);
    while (x->first != NONE)
        watch_end(s, &x->first);
    watcher_free(s->watches, watcher);
}

/* --- Telling ------------------------------------------------------------------------------------------------------ */

static bool is_quiet(const struct shard *s, const struct target *t)
{
    return !t->told || (uint32_t)s->now_ms - t->told_ms >= WATCH_QUIET_MS;
}

static void tell_begin(struct watches *w, uint32_t target)
{
    struct target *t = pool_at(&w->targets, target);
    t->cursor = t->first;
    t->telling = true;
    t->sent = false;
    list_push(w, &w->telling, target);
}

void watch_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct presence_mail *p = (struct presence_mail *)m;
    struct watches *w = s->watches;
    struct slice id = slice_of(p->id, p->id_len);
    uint32_t i = w ? table_find(&w->target_ids, hash_bytes(id), &id) : TABLE_NONE;
    struct target *t = i != TABLE_NONE ? pool_at(&w->targets, i) : NULL;
    if (t && !t->known) {
        t->known = true;
        if (w->waiting)
            waiting_wake(s);
    }
    if (t && t->online != p->on) {
        t->online = p->on;
        if (t->telling && !t->sent)
            t->cursor = t->first; /* who began to watch in this round hears of it too */
        else if (t->listed)
            ; /* it is looked at again */
        else if (is_quiet(s, t))
            tell_begin(w, i);
        else
            list_push(w, &w->due, i);
    }
    free(p);
}

static struct frame *state_frame(struct shard *s, const struct target *t)
{
    struct buf *b = &s->scratch;
    buf_reset(b);
    buf_lit(b, "{\"id\":");
    buf_json_string(b, target_id(t));
    buf_str(b, t->online ? ",\"online\":true}" : ",\"online\":false}");
    return buf_ok(b) ? frame_new(PUSH_PRESENCE, 0, buf_slice(b), WIRE_TAG_NONE) : NULL;
}

/* Goes on with one user. True: all who watch it have been told. */
static bool tell_some(struct shard *s, struct target *t, uint32_t *visits, uint32_t *sends)
{
    struct watches *w = s->watches;
    bool online = t->online; /* of the frame; a send may change it */
    enum told told = online ? TOLD_ONLINE : TOLD_OFFLINE;
    struct frame *f = NULL;
    while (t->cursor != NONE && t->online == online && *visits && *sends) {
        struct watch *l = pool_at(&w->links, t->cursor);
        uint32_t conn = ((struct watcher *)pool_at(&w->watchers, l->watcher))->conn;
        t->cursor = l->next;
        --*visits;
        if (l->told == TOLD_NOTHING || l->told == told || (!f && !(f = state_frame(s, t))))
            continue;
        --*sends;
        l->told = (uint8_t)told; /* before the send, which may end the watch */
        t->sent = true;
        if (conn_send_frame(s->net, conn, f, CONN_MAY) == 0)
            atomic_fetch_add_explicit(&s->deliveries, 1, memory_order_relaxed);
        else
            figure_add(&s->figures.skipped, 1);
    }
    if (f)
        frame_unref(f);
    return t->cursor == NONE;
}

/* The last has been told. What has changed meanwhile is due later. */
static void tell_end(struct shard *s, uint32_t target)
{
    struct watches *w = s->watches;
    struct target *t = pool_at(&w->targets, target);
    t->telling = false;
    if (t->sent) {
        t->told = true;
        t->told_ms = (uint32_t)s->now_ms;
        list_push(w, &w->due, target);
    } else {
        target_free(s, target);
    }
}

bool watch_step(struct shard *s)
{
    struct watches *w = s->watches;
    uint32_t visits = STEP_VISITS, sends = STEP_SENDS;
    while (w && w->telling.first != NONE && visits && sends) {
        uint32_t target = w->telling.first;
        if (!tell_some(s, pool_at(&w->targets, target), &visits, &sends)) {
            if (visits && sends) /* its state has changed meanwhile: whoever is left hears of that when it is due */
                ((struct target *)pool_at(&w->targets, target))->cursor = NONE;
            continue;
        }
        (void)list_pop(w, &w->telling);
        tell_end(s, target);
    }
    return w && w->telling.first != NONE;
}

void watch_tick(struct shard *s)
{
    struct watches *w = s->watches;
    uint32_t last = w ? w->due.last : NONE, target = NONE;
    while (last != NONE && target != last) {
        target = list_pop(w, &w->due);
        struct target *t = pool_at(&w->targets, target);
        if (t->first == NONE)
            target_free(s, target);
        else if (is_quiet(s, t))
            tell_begin(w, target);
        else
            list_push(w, &w->due, target);
    }
    if (w)
        watch_tick_users(s);
}
