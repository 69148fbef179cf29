#include "core/hub/people/user.h"

#include "core/base/frame.h"
#include "core/base/push.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/watch.h"
#include "core/net/send.h"

#include <stdlib.h>

static uint64_t user_hash(void *ctx, uint32_t index)
{
    return hash_bytes(user_id(user_at(ctx, index)));
}

static bool user_matches(void *ctx, uint32_t index, const void *key)
{
    return slice_eq(user_id(user_at(ctx, index)), *(const struct slice *)key);
}

static uint64_t sub_hash(uint32_t user, uint32_t chan)
{
    uint32_t key[2] = {user, chan};
    return hash_bytes(slice_of(key, sizeof key));
}

static uint64_t sub_hash_of(void *ctx, uint32_t index)
{
    const struct sub *b = pool_at(&((struct shard *)ctx)->subs, index);
    return sub_hash(b->user, b->chan);
}

static bool sub_matches(void *ctx, uint32_t index, const void *key)
{
    const struct sub *b = pool_at(&((struct shard *)ctx)->subs, index);
    const uint32_t *k = key;
    return b->user == k[0] && b->chan == k[1];
}

int users_init(struct shard *s)
{
    pool_init(&s->users, (sizeof(struct user) + 7) & ~7u, 1024);
    pool_init(&s->subs, (sizeof(struct sub) + 7) & ~7u, 1024);
    int rc = table_init(&s->user_ids, 8, user_hash, user_matches, s);
    return rc ? rc : table_init(&s->sub_keys, 8, sub_hash_of, sub_matches, s);
}

void users_fini(struct shard *s)
{
    for (uint32_t i = pool_next(&s->users, 0); i != POOL_NONE; i = pool_next(&s->users, i + 1))
        free(user_at(s, i)->strings);
    table_fini(&s->user_ids);
    table_fini(&s->sub_keys);
    pool_fini(&s->users);
    pool_fini(&s->subs);
}

uint32_t user_find(const struct shard *s, struct slice id)
{
    return table_find(&s->user_ids, hash_bytes(id), &id);
}

uint32_t user_new(struct shard *s, struct slice id)
{
    uint32_t i = pool_alloc(&s->users);
    char *strings = i != POOL_NONE ? malloc(id.n) : NULL;
    if (!strings)
        goto fail;
    memcpy(strings, id.p, id.n);
    struct user *u = user_at(s, i);
    u->strings = strings;
    u->id_len = (uint8_t)id.n;
    u->first_conn = u->first_sub = NONE;
    u->rate.at = (uint32_t)s->now_ms;
    if (table_add(&s->user_ids, hash_bytes(id), i) != 0)
        goto fail;
    atomic_store_explicit(&s->user_count, s->user_ids.count, memory_order_relaxed);
    return i;
fail:
    free(strings);
    if (i != POOL_NONE)
        pool_free(&s->users, i);
    return NONE;
}

int user_set_name(struct shard *s, uint32_t user, struct slice name)
{
    struct user *u = user_at(s, user);
    char *p = malloc(u->id_len + name.n);
    if (!p)
        return ERR_NOMEM;
    memcpy(p, u->strings, u->id_len);
    memcpy(p + u->id_len, name.p, name.n);
    free(u->strings);
    u->strings = p;
    u->name_len = (uint8_t)name.n;
    return 0;
}

static void user_free_if_idle(struct shard *s, uint32_t user)
{
    struct user *u = user_at(s, user);
    if (u->pins || u->first_conn != NONE)
        return;
    if (u->state != USER_READY)
        s->events->user_settled(s);
    while (u->first_sub != NONE)
        sub_remove(s, u->first_sub);
    table_remove(&s->user_ids, hash_bytes(user_id(u)), user);
    free(u->strings);
    if (s->copies)
        copy_clear(s, user); /* nothing is due of it any more */
    pool_free(&s->users, user);
    atomic_store_explicit(&s->user_count, s->user_ids.count, memory_order_relaxed);
}

void user_ready(struct shard *s, uint32_t user)
{
    user_at(s, user)->state = USER_READY;
    s->events->user_settled(s);
}

void user_unpin(struct shard *s, uint32_t user)
{
    struct user *u = user_at(s, user);
    ASSERT(u->pins > 0);
    u->pins--;
    user_free_if_idle(s, user);
}

static struct member *sub_member(struct shard *s, const struct sub *b)
{
    struct chan *ch = pool_at(&s->chans, b->chan);
    return &ch->members[b->pos];
}

/* What a member entry says of its user's connections. */
static uint32_t conn_word(struct shard *s, const struct user *u)
{
    if (u->first_conn == NONE)
        return NONE;
    return u->first_conn | (conn_at(s->net, u->first_conn)->user_next != NONE ? MEMBER_MULTI : 0);
}

static void refresh_members(struct shard *s, const struct user *u)
{
    uint32_t word = conn_word(s, u);
    for (uint32_t i = u->first_sub; i != NONE;) {
        const struct sub *b = pool_at(&s->subs, i);
        struct member *m = sub_member(s, b);
        uint32_t fresh = m->conn == NONE ? 0 : m->conn & MEMBER_FRESH;
        m->conn = word == NONE ? NONE : word | fresh;
        i = b->next;
    }
}

void user_add_conn(struct shard *s, uint32_t user, uint32_t conn)
{
    struct user *u = user_at(s, user);
    struct conn *k = conn_at(s->net, conn);
    bool came = u->first_conn == NONE;
    k->user = user;
    k->user_next = u->first_conn;
    u->first_conn = conn;
    refresh_members(s, u);
    if (came && s->watches)
        watch_changed(s, user_id(u), true);
}

void user_remove_conn(struct shard *s, uint32_t conn)
{
    struct conn *k = conn_at(s->net, conn);
    if (k->user == NONE)
        return;
    uint32_t user = k->user;
    struct user *u = user_at(s, user);
    uint32_t *at = &u->first_conn;
    while (*at != conn)
        at = &conn_at(s->net, *at)->user_next;
    *at = k->user_next;
    k->user = k->user_next = NONE;
    refresh_members(s, u);
    if (s->watches) {
        watch_ended(s, conn);
        if (u->first_conn == NONE)
            watch_changed(s, user_id(u), false);
    }
    if (u->first_conn == NONE)
        s->events->user_left(s, user);
    user_free_if_idle(s, user);
}

void user_push(struct shard *s, uint32_t user, struct frame *f, uint32_t except)
{
    uint32_t next;
    enum conn_class class = push_is_skippable(f->action) ? CONN_MAY : CONN_MUST;
    for (uint32_t i = user_at(s, user)->first_conn; i != NONE; i = next) {
        /* A full queue closes the connection, which takes it off the list. */
        next = conn_at(s->net, i)->user_next;
        if (i != except && conn_send_frame(s->net, i, f, class) == 0)
            atomic_fetch_add_explicit(&s->deliveries, 1, memory_order_relaxed);
    }
}

void encode_behind(struct buf *b, const struct chan *ch, uint64_t seq)
{
    buf_lit(b, "{\"channel\":");
    buf_json_string(b, chan_name(ch));
    buf_lit(b, ",\"seq\":");
    buf_dec(b, seq);
    buf_byte(b, '}');
}

void user_push_behind(struct shard *s, uint32_t user, uint32_t chan, uint64_t seq, uint32_t except)
{
    struct buf *b = &s->scratch;
    buf_reset(b);
    encode_behind(b, chan_at(s, chan), seq);
    struct frame *f = buf_ok(b) ? frame_new(PUSH_BEHIND, 0, buf_slice(b), chan) : NULL;
    if (!f)
        return;
    user_push(s, user, f, except);
    frame_unref(f);
}

uint32_t sub_find(const struct shard *s, uint32_t user, uint32_t chan)
{
    uint32_t key[2] = {user, chan};
    return table_find(&s->sub_keys, sub_hash(user, chan), key);
}

uint32_t sub_add(struct shard *s, uint32_t user, uint32_t chan, enum push_mode push, bool events, uint64_t since,
                 bool fresh)
{
    struct user *u = user_at(s, user);
    uint32_t i = pool_alloc(&s->subs);
    if (i == POOL_NONE)
        return NONE;
    struct sub *b = pool_at(&s->subs, i);
    *b = (struct sub){.chan = chan,
                      .user = user,
                      .next = u->first_sub,
                      .events = events,
                      .push = push & 3,
                      .since = (uint32_t)since,
                      .heard = s->member_changes};
    uint32_t word = conn_word(s, u);
    if (word != NONE && fresh)
        word |= MEMBER_FRESH;
    if (chan_add_member(s, chan, i, word) != 0)
        goto fail;
    if (table_add(&s->sub_keys, sub_hash(user, chan), i) != 0) {
        chan_count_events(s, chan, events, false);
        chan_remove_member(s, chan, b->pos);
        goto fail;
    }
    u->first_sub = i;
    u->sub_count++;
    return i;
fail:
    pool_free(&s->subs, i);
    return NONE;
}

/* Who has no connection has nothing to be told: the next one begins with what it finds. */
static void sub_freshen(struct shard *s, const struct sub *b)
{
    struct member *m = sub_member(s, b);
    if (m->conn != NONE)
        m->conn |= MEMBER_FRESH;
}

void sub_set_push(struct shard *s, uint32_t sub, enum push_mode push, uint64_t since)
{
    struct sub *b = pool_at(&s->subs, sub);
    if (b->push == push)
        return;
    struct member *m = sub_member(s, b);
    chan_count_mode(s, b->chan, m->push, push);
    m->push = b->push = push & 3;
    b->since = (uint32_t)since;
    sub_freshen(s, b);
}

void sub_set_events(struct shard *s, uint32_t sub, bool events)
{
    struct sub *b = pool_at(&s->subs, sub);
    if (b->events == events)
        return;
    b->events = events;
    b->heard = s->member_changes;
    chan_count_events(s, b->chan, !events, events);
    s->events->modes_changed(s, b->chan);
}

void sub_hold(struct shard *s, uint32_t sub)
{
    struct sub *b = pool_at(&s->subs, sub);
    b->held = sub_member(s, b)->conn != NONE;
    sub_freshen(s, b);
}

void sub_go(struct shard *s, uint32_t sub, uint64_t since)
{
    struct sub *b = pool_at(&s->subs, sub);
    b->held = false;
    b->since = (uint32_t)since;
    sub_freshen(s, b);
}

void sub_remove(struct shard *s, uint32_t sub)
{
    struct sub *b = pool_at(&s->subs, sub);
    struct user *u = user_at(s, b->user);
    uint32_t *at = &u->first_sub;
    while (*at != sub)
        at = &((struct sub *)pool_at(&s->subs, *at))->next;
    *at = b->next;
    for (uint32_t c = u->first_conn; c != NONE; c = conn_at(s->net, c)->user_next)
        conn_purge(s->net, c, b->chan);
    table_remove(&s->sub_keys, sub_hash(b->user, b->chan), sub);
    uint32_t chan = b->chan, pos = b->pos;
    chan_count_events(s, chan, b->events, false);
    pool_free(&s->subs, sub);
    u->sub_count--;
    chan_remove_member(s, chan, pos);
}
