/* Actions 12 query presence, 13 list members, 15 block user. */
#include "core/base/json.h"
#include "core/base/utf8.h"
#include "core/hub/act/acts.h"
#include "core/hub/act/subscriber.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/field.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/hook.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/conv.h"
#include "storage/bus.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

enum { PRESENCE_MAX = 100, SURVEY_MAX = 200 };

/* --- Asking all shards who is online ------------------------------------------------------------------------------ */

/* Lives on home until every shard has answered. Shards read the ids and names and write the flags of their own users:
 * no two touch the same byte, and the mailboxes order it. */
struct survey {
    struct req r;
    void (*known)(struct survey *v); /* on home, once all have answered */
    uint32_t left;                   /* answers awaited, and one for the asker */
    uint32_t n;                      /* ids */
    struct slice ids[SURVEY_MAX];    /* borrowed from what the derived struct owns */
    bool online[SURVEY_MAX];
    bool shared[SURVEY_MAX]; /* is in one of the channels */
    struct buf channels;     /* names, each after a byte with its length; empty: not asked for */
};

struct ask {
    struct mail mail;
    struct survey *v;
};

/* The same asked of other nodes, about those who are not online here. */
struct ask_far {
    struct bus_presence op;
    struct survey *v;
    uint32_t n;
    struct slice ids[SURVEY_MAX];
    uint32_t at[SURVEY_MAX]; /* where each stands in v */
    bool online[SURVEY_MAX], shared[SURVEY_MAX];
};

static void far_back(void *owner, struct store_op *op)
{
    struct ask_far *f = OP_END(owner, op, struct ask_far, op.op);
    struct survey *v = f->v;
    for (uint32_t i = 0; op->status == STORE_OK && i < f->n; i++) {
        v->online[f->at[i]] = f->online[i];
        v->shared[f->at[i]] = f->shared[i];
    }
    free(f);
    v->known(v);
}

/* False: all are online here, or without memory they count as offline. */
static bool ask_far(struct survey *v)
{
    struct shard *s = v->r.home;
    struct ask_far *f = calloc(1, sizeof *f);
    for (uint32_t i = 0; f && i < v->n; i++) {
        if (v->online[i])
            continue;
        f->ids[f->n] = v->ids[i];
        f->at[f->n++] = i;
    }
    if (!f || !f->n) {
        free(f);
        return false;
    }
    f->v = v;
    f->op = (struct bus_presence){
        .ids = f->ids, .n = f->n, .channels = buf_slice(&v->channels), .online = f->online, .shared = f->shared};
    op_begin(s, &f->op.op, far_back);
    bus_presence(s->bus, &f->op);
    return true;
}

static void survey_step(struct survey *v)
{
    if (--v->left)
        return;
    if (!v->r.home->bus || !ask_far(v))
        v->known(v);
}

static void ask_back(void *owner, struct mail *m)
{
    (void)owner;
    struct survey *v = ((struct ask *)m)->v;
    free(m);
    survey_step(v);
}

/* Puts the asker's channels that this shard has members of into the present set. */
static void stamp_channels(struct shard *s, const struct buf *names)
{
    s->stamp++;
    for (size_t i = 0; i < names->n;) {
        size_t n = (uint8_t)names->p[i];
        uint32_t chan = chan_find(s, slice_of(names->p + i + 1, n));
        if (chan != NONE)
            chan_at(s, chan)->stamp = s->stamp;
        i += n + 1;
    }
}

static bool in_stamped(const struct shard *s, const struct user *u)
{
    for (uint32_t i = u->first_sub; i != NONE;) {
        const struct sub *b = pool_at(&s->subs, i);
        if (chan_at(s, b->chan)->stamp == s->stamp)
            return true;
        i = b->next;
    }
    return false;
}

static void ask_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct survey *v = ((struct ask *)m)->v;
    stamp_channels(s, &v->channels);
    for (uint32_t i = 0; i < v->n; i++) {
        if (shard_of(s->hub, v->ids[i]) != s)
            continue;
        uint32_t user = user_find(s, v->ids[i]);
        if (user == NONE || user_at(s, user)->first_conn == NONE)
            continue;
        v->online[i] = true;
        v->shared[i] = v->channels.n && in_stamped(s, user_at(s, user));
    }
    m->run = ask_back;
    shard_post(s, v->r.home, m);
}

static void survey_start(struct survey *v, void (*known)(struct survey *v))
{
    struct shard *s = v->r.home;
    v->known = known;
    v->left = 1;
    for (unsigned k = 0; k < s->hub->shard_count; k++) {
        bool any = false;
        for (uint32_t i = 0; i < v->n && !any; i++)
            any = shard_of(s->hub, v->ids[i]) == s->hub->shards[k];
        struct ask *a = any ? calloc(1, sizeof *a) : NULL;
        if (!a)
            continue; /* without memory they count as offline */
        a->v = v;
        a->mail.run = ask_arrive;
        v->left++;
        shard_post(s, s->hub->shards[k], &a->mail);
    }
    survey_step(v);
}

/* --- Presence --- */

struct presence {
    struct survey survey;
    struct store_pairs op;
    struct slice unsure[PRESENCE_MAX]; /* online, but in no channel of the asker's */
    uint32_t unsure_at[PRESENCE_MAX];
    uint8_t self_len;
    char self[64];
    char strings[PRESENCE_MAX * 64];
};

static void presence_destroy(struct req *r)
{
    buf_free(&((struct presence *)r)->survey.channels);
}

static void presence_answer(struct presence *q)
{
    struct buf *b = &q->survey.r.body;
    bool first = true;
    buf_lit(b, "{\"online\":[");
    for (uint32_t i = 0; i < q->survey.n; i++) {
        if (!q->survey.online[i] || !q->survey.shared[i])
            continue;
        buf_str(b, first ? "" : ",");
        buf_json_string(b, q->survey.ids[i]);
        first = false;
    }
    buf_lit(b, "]}");
    req_done(q->survey.r.home, &q->survey.r);
}

static void presence_paired(void *owner, struct store_op *op)
{
    struct presence *q = OP_END(owner, op, struct presence, op.op);
    for (uint32_t i = 0; op->status == STORE_OK && i < q->op.n; i++)
        q->survey.shared[q->unsure_at[i]] = q->op.known[i];
    presence_answer(q);
}

static void presence_known(struct survey *v)
{
    struct presence *q = (struct presence *)v;
    struct shard *s = v->r.home;
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        if (slice_eq(v->ids[i], slice_of(q->self, q->self_len)))
            v->shared[i] = true;
        if (!v->online[i] || v->shared[i])
            continue;
        q->unsure[n] = v->ids[i];
        q->unsure_at[n++] = i;
    }
    if (n == 0) {
        presence_answer(q);
        return;
    }
    q->op = (struct store_pairs){.user = slice_of(q->self, q->self_len), .ids = q->unsure, .n = n};
    op_begin(s, &q->op.op, presence_paired);
    store_pairs(s->store, &q->op);
}

static void note_channels(struct shard *s, const struct user *u, struct buf *b)
{
    for (uint32_t i = u->first_sub; i != NONE;) {
        const struct sub *sub = pool_at(&s->subs, i);
        struct slice name = chan_name(chan_at(s, sub->chan));
        buf_byte(b, (uint8_t)name.n);
        buf_slice_put(b, name);
        i = sub->next;
    }
}

static void handle_presence(struct call *c)
{
    struct shard *s = c->shard;
    const struct cJSON *list = NULL, *item;
    if (!call_get_user_ids(c, "ids", PRESENCE_MAX, &list))
        return;
    struct hook_call h = {
        .shard = s, .user = call_user_id(c), .user_name = call_user_name(c), .claims = grant_claims(s, c->conn)};
    if (hooks_run(HOOK_PRESENCE, &h) == HOOK_REJECT) {
        call_reject(c, &h);
        return;
    }
    struct presence *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    const struct user *u = user_at(s, c->user);
    q->self_len = u->id_len;
    memcpy(q->self, user_id(u).p, u->id_len);
    char *at = q->strings;
    cJSON_ArrayForEach(item, list)
    {
        size_t n = strlen(item->valuestring);
        memcpy(at, item->valuestring, n);
        q->survey.ids[q->survey.n++] = slice_of(at, n);
        at += n;
    }
    q->survey.r.destroy = presence_destroy;
    note_channels(s, u, &q->survey.channels);
    if (!buf_ok(&q->survey.channels))
        buf_free(&q->survey.channels); /* then only pairs are known */
    survey_start(&q->survey, presence_known);
}

/* --- Members --- */

struct members {
    struct survey survey;
    struct store_members op;
    struct conv_key key;
    char cursor[64];
};

static void members_destroy(struct req *r)
{
    struct members *q = (struct members *)r;
    free(q->op.people);
    free(q->op.arena);
}

static void members_known(struct survey *v)
{
    struct members *q = (struct members *)v;
    struct buf *b = &v->r.body;
    buf_lit(b, "{\"members\":[");
    for (uint32_t i = 0; i < v->n; i++) {
        buf_str(b, i ? ",{\"id\":" : "{\"id\":");
        buf_json_string(b, q->op.people[i].id);
        buf_lit(b, ",\"name\":");
        buf_json_string(b, q->op.people[i].name);
        buf_str(b, v->online[i] ? ",\"online\":true}" : ",\"online\":false}");
    }
    buf_byte(b, ']');
    if (q->op.more && v->n) {
        buf_lit(b, ",\"cursor\":");
        buf_json_string(b, q->op.people[v->n - 1].id);
    }
    buf_byte(b, '}');
    req_done(v->r.home, &v->r);
}

static void members_read(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct members *q = OP_END(owner, op, struct members, op.op);
    if (op->status != STORE_OK) {
        req_fail_read(&q->survey.r, op->status, "name: no such channel");
        req_done(s, &q->survey.r);
        return;
    }
    q->survey.n = q->op.n < SURVEY_MAX ? q->op.n : SURVEY_MAX;
    for (uint32_t i = 0; i < q->survey.n; i++)
        q->survey.ids[i] = q->op.people[i].id;
    survey_start(&q->survey, members_known);
}

static void handle_members(struct call *c)
{
    struct shard *s = c->shard;
    struct slice name, cursor;
    uint32_t limit;
    if (!call_get_channel(c, "name", &name) || !call_get_limit(c, &limit) || !call_get_cursor(c, &cursor))
        return;
    if (cursor.n && !value_user_id(cursor)) {
        call_fail(c, CODE_BAD_REQUEST, "cursor: not one of this server's");
        return;
    }
    struct conv_key key = conv_key_channel(name);
    c->order = hash_bytes(conv_key_slice(&key));
    if (!call_subscribed(c, name)) {
        if (!call_looks(c, name))
            call_deny_stranger(c, &key);
        return;
    }
    struct members *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    q->key = key;
    if (cursor.n)
        memcpy(q->cursor, cursor.p, cursor.n);
    q->survey.r.destroy = members_destroy;
    q->op = (struct store_members){
        .conv = conv_key_slice(&q->key), .cursor = slice_of(q->cursor, cursor.n), .limit = limit};
    op_begin(s, &q->op.op, members_read);
    store_members(s->store, &q->op);
}

/* --- Block --- */

struct block {
    struct owned_req o;
    struct store_block op;
    uint8_t id_len;
    char id[64];
};

static void block_stored(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct block *q = OP_END(owner, op, struct block, op.op);
    struct conv *v = conv_at(s, q->o.conv);
    if (op->status == STORE_OK) {
        struct slice lo, hi;
        conv_pair_users(conv_slice(v), &lo, &hi);
        v->blocks[slice_eq(lo, q->op.user) ? 0 : 1] = q->op.blocked;
    } else {
        req_fail_store(&q->o.r, op->status, "id: no such user");
    }
    owned_done(&q->o);
}

static void block_ready(struct owned_req *o)
{
    struct block *q = (struct block *)o;
    struct conv *v = conv_at(o->owner, o->conv);
    struct slice lo, hi;
    conv_pair_users(conv_slice(v), &lo, &hi);
    q->op.user = slice_of(q->id, q->id_len);
    bool self_is_lo = slice_eq(lo, q->op.user);
    q->op.target = self_is_lo ? hi : lo;
    if (!v->user_exists[self_is_lo ? 1 : 0]) {
        if (v->pins == 1)
            v->state = CONV_NEW; /* it may exist the next time */
        req_fail(&o->r, CODE_NOT_FOUND, "id: no such user");
        owned_done(o);
        return;
    }
    owned_op(o, &q->op.op, block_stored);
    store_block(o->owner->store, &q->op);
}

static void handle_block(struct call *c)
{
    struct slice target;
    bool blocked = false;
    if (!call_get_user_id(c, "id", &target))
        return;
    if (json_get_bool(c->body, "blocked", &blocked) != 1) {
        call_fail(c, CODE_BAD_REQUEST, "blocked: expected true or false");
        return;
    }
    struct slice id = call_user_id(c);
    if (slice_eq(id, target)) {
        call_fail(c, CODE_BAD_REQUEST, "id: you cannot block yourself");
        return;
    }
    struct conv_key key = conv_key_pair(id, target);
    c->order = hash_bytes(conv_key_slice(&key));
    struct block *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    q->id_len = (uint8_t)id.n;
    memcpy(q->id, id.p, id.n);
    q->op.blocked = blocked;
    q->o.key = key;
    q->o.ready = block_ready;
    owned_post(c->shard, &q->o);
}

int act_people_register(struct hub *hub)
{
    static const struct action actions[] = {
        {.number = 12, .name = "presence", .class = CLASS_READ, .handle = handle_presence},
        {.number = 13, .name = "members", .class = CLASS_READ, .handle = handle_members},
        {.number = 15, .name = "block", .class = CLASS_ALONE, .handle = handle_block},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
