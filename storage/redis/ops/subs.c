/* A user's channels: see subs.h. */
#include "storage/redis/ops/subs.h"

#include "storage/redis/client/broken.h"
#include "storage/redis/layout.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/rule.h"

#include <stdlib.h>

void user_ask(struct redis *r, struct call *c, struct slice user, uint64_t at)
{
    char rule[LAYOUT_RULE];
    call_begin(r, c, FN_USER_GET, partition_of_user(user));
    call_key(r, c, 'u', user);
    call_key(r, c, 'i', user);
    call_key(r, c, 'I', user);
    call_arg_u64(c, at);
    rule_now(r, rule);
    call_arg(c, slice_of(rule, sizeof rule));
}

enum store_status user_reply_read(const struct reply *reply, struct user_reply *u)
{
    struct reply_in in = reply_in(reply);
    u->code = reply_u8(&in);
    u->was_guest = reply_u8(&in);
    u->next = reply_u48(&in);
    u->epoch = reply_u32(&in);
    u->due_ms = reply_u48(&in);
    u->revoked_ms = reply_u48(&in);
    u->version = reply_u48(&in);
    u->arrivals = reply_u48(&in);
    u->inbox = reply_u32(&in);
    u->until_ms = reply_u48(&in);
    u->name = reply_slice8(&in);
    u->fields = in;
    return reply_ok(&in) && (u->code == 'N' || u->code == 'W' || u->code == 'X') ? STORE_OK : STORE_FATAL;
}

/* --- Channels ----------------------------------------------------------------------------------------------------- */

static enum store_status subs_add(struct redis *r, struct subs *s, struct slice conv, struct slice value)
{
    struct layout_sub sub;
    if (conv.n < 2 || layout_sub(value, &sub)) {
        broken_record(r, "subscription", s->user, 0);
        return STORE_OK;
    }
    if (!sub.member)
        return STORE_OK;
    if (s->n == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 16;
        struct sub *grown = realloc(s->list, cap * sizeof *grown);
        if (!grown)
            return STORE_RETRY;
        s->list = grown;
        s->cap = cap;
    }
    s->list[s->n++] = (struct sub){.at = (uint32_t)s->arena.n, .n = (uint8_t)conv.n, .read = sub.read};
    buf_slice_put(&s->arena, conv);
    return STORE_OK;
}

static int sub_cmp(const void *a, const void *b, void *arena)
{
    const struct sub *x = a, *y = b;
    return slice_cmp(slice_of((const char *)arena + x->at, x->n), slice_of((const char *)arena + y->at, y->n));
}

/* Puts them in order; pages may have had one twice. */
static void subs_sort(struct subs *s)
{
    uint32_t n = 0;
    if (!s->n)
        return;
    qsort_r(s->list, s->n, sizeof *s->list, sub_cmp, s->arena.p);
    for (uint32_t i = 1; i < s->n; i++)
        if (!slice_eq(sub_key(s, n), sub_key(s, i)))
            s->list[++n] = s->list[i];
    s->n = n + 1;
}

static void subs_read(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct subs *s = c->ctx;
    struct user_reply u;
    if (status == STORE_OK)
        status = user_reply_read(reply, &u);
    while (status == STORE_OK && reply_left(&u.fields)) {
        struct slice conv = reply_slice8(&u.fields), value = reply_slice8(&u.fields);
        status = reply_ok(&u.fields) ? subs_add(r, s, conv, value) : STORE_FATAL;
    }
    if (status == STORE_OK && !buf_ok(&s->arena))
        status = STORE_RETRY;
    if (status == STORE_OK && u.next) {
        user_ask(r, &s->call, s->user, u.next);
        s->call.done = subs_read;
        s->call.ctx = s;
        call_post(r, &s->call);
        return;
    }
    if (status == STORE_OK)
        subs_sort(s);
    s->done(r, s, status);
}

void subs_ask(struct redis *r, struct subs *s)
{
    user_ask(r, &s->call, s->user, 0);
    s->call.done = subs_read;
    s->call.ctx = s;
    call_post(r, &s->call);
}

void subs_fini(struct subs *s)
{
    buf_free(&s->arena);
    free(s->list);
    s->list = NULL;
    s->n = s->cap = 0;
}
