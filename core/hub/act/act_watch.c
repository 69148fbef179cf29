/* Action 18 watch presence. */
#include "core/base/json.h"
#include "core/hub/act/acts.h"
#include "core/hub/people/field.h"
#include "core/hub/people/user.h"
#include "core/hub/people/watch.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/hook.h"
#include "core/hub/shard/op.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

enum { IDS_MAX = 100 };

/* Ids of one request, as it names them, each once. */
struct ids {
    uint32_t n;
    struct slice at[IDS_MAX]; /* borrowed */
};

struct watching {
    struct req r;
    struct store_pairs op;
    struct ids ids;         /* in `texts` */
    struct ids seen;        /* those that may be watched */
    uint32_t left;          /* shards that have not answered, and one for the starter */
    struct watch_wait wait; /* until the users' shards have said whether they are online */
    uint8_t self_len;
    char self[64];
    char texts[IDS_MAX * 64];
};

static bool ids_have(const struct ids *list, struct slice id)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (slice_eq(list->at[i], id))
            return true;
    return false;
}

static void take_ids(const struct cJSON *list, struct ids *out)
{
    const struct cJSON *item;
    out->n = 0;
    cJSON_ArrayForEach(item, list)
    {
        struct slice id = slice_str(item->valuestring);
        if (!ids_have(out, id))
            out->at[out->n++] = id;
    }
}

/* --- Begin -------------------------------------------------------------------------------------------------------- */

static struct conn *watching_conn(const struct watching *q)
{
    struct conn *k = conn_find(q->r.home->net, q->r.conn, q->r.generation);
    return k && !(k->flags & CONN_F_CLOSING) ? k : NULL;
}

static void watching_answer(struct watching *q)
{
    struct shard *s = q->r.home;
    struct buf *b = &q->r.body;
    bool first = true, there = watching_conn(q) != NULL;
    buf_lit(b, "{\"online\":[");
    for (uint32_t i = 0; there && i < q->seen.n; i++) {
        if (!watch_answer(s, q->r.conn, q->seen.at[i]))
            continue;
        buf_str(b, first ? "" : ",");
        buf_json_string(b, q->seen.at[i]);
        first = false;
    }
    buf_lit(b, "]}");
    req_done(s, &q->r);
}

static void watching_look(struct shard *s, struct watch_wait *w)
{
    struct watching *q = CONTAINER_OF(w, struct watching, wait);
    for (uint32_t i = 0; watching_conn(q) && i < q->seen.n; i++)
        if (!watch_known(s, q->r.conn, q->seen.at[i])) {
            watch_wait(s, w);
            return;
        }
    watching_answer(q);
}

/* All shards have told what they knew when it began. Of users whom nobody here had watched they may have to ask. */
static void watching_step(struct watching *q)
{
    if (--q->left == 0)
        watching_look(q->r.home, &q->wait);
}

struct probe {
    struct mail mail;
    struct watching *q;
};

static void probe_back(void *owner, struct mail *m)
{
    struct watching *q = ((struct probe *)m)->q;
    (void)owner;
    free(m);
    watching_step(q);
}

static void probe_arrive(void *owner, struct mail *m)
{
    m->run = probe_back;
    shard_post(owner, ((struct probe *)m)->q->r.home, m);
}

/* Behind the mails of watch_add(), which the answers to them come back before. */
static void probe_shards(struct watching *q)
{
    struct shard *s = q->r.home;
    q->left = 1;
    for (unsigned k = 0; k < s->hub->shard_count; k++) {
        struct probe *p = s->hub->shards[k] != s ? malloc(sizeof *p) : NULL;
        if (!p)
            continue; /* without memory they count as offline for now */
        *p = (struct probe){.mail.run = probe_arrive, .q = q};
        q->left++;
        shard_post(s, s->hub->shards[k], &p->mail);
    }
    watching_step(q);
}

/* Whom the asker may ask about is known now. */
static void watching_known(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct watching *q = OP_END(owner, op, struct watching, op.op);
    uint32_t more = 0;
    if (op->status != STORE_OK) {
        req_fail_read(&q->r, op->status, "");
        req_done(s, &q->r);
        return;
    }
    for (uint32_t i = 0; watching_conn(q) && i < q->ids.n; i++) {
        struct slice id = q->ids.at[i];
        if (!q->op.known[i] && !slice_eq(id, slice_of(q->self, q->self_len)))
            continue;
        q->seen.at[q->seen.n++] = id;
        more += !watch_has(s, q->r.conn, id);
    }
    if (more && watch_count(s, q->r.conn) + more > WATCH_MAX) {
        req_fail(&q->r, CODE_QUOTA, "a connection may watch 1000 users");
        req_done(s, &q->r);
        return;
    }
    q->wait.look = watching_look;
    for (uint32_t i = 0; i < q->seen.n; i++) {
        if (watch_add(s, q->r.conn, q->seen.at[i]) == 0)
            continue;
        req_fail(&q->r, CODE_INTERNAL, "out of memory");
        req_done(s, &q->r);
        return;
    }
    probe_shards(q);
}

static void watch_begin(struct call *c, const struct ids *ids)
{
    struct shard *s = c->shard;
    struct hook_call h = {.shard = s, .user = call_user_id(c), .user_name = call_user_name(c)};
    if (hooks_run(HOOK_PRESENCE, &h) == HOOK_REJECT) {
        call_reject(c, &h);
        return;
    }
    struct watching *q = req_begin(c, sizeof *q);
    if (!q)
        return;
    struct slice self = call_user_id(c);
    char *at = q->texts;
    q->self_len = (uint8_t)self.n;
    memcpy(q->self, self.p, self.n);
    for (uint32_t i = 0; i < ids->n; i++) {
        memcpy(at, ids->at[i].p, ids->at[i].n);
        q->ids.at[q->ids.n++] = slice_of(at, ids->at[i].n);
        at += ids->at[i].n;
    }
    q->op =
        (struct store_pairs){.user = slice_of(q->self, q->self_len), .ids = q->ids.at, .n = q->ids.n, .channels = true};
    op_begin(s, &q->op.op, watching_known);
    store_pairs(s->store, &q->op);
}

/* --- End ---------------------------------------------------------------------------------------------------------- */

/* Answers with those who were online when the watch of them ended. */
static void watch_stop(struct call *c, const struct ids *ids)
{
    struct shard *s = c->shard;
    struct buf b = BUF_INIT;
    bool first = true;
    buf_lit(&b, "{\"online\":[");
    for (uint32_t i = 0; i < ids->n; i++) {
        bool online = watch_answer(s, c->conn, ids->at[i]);
        watch_remove(s, c->conn, ids->at[i]);
        if (!online)
            continue;
        buf_str(&b, first ? "" : ",");
        buf_json_string(&b, ids->at[i]);
        first = false;
    }
    buf_lit(&b, "]}");
    if (buf_ok(&b))
        call_reply(c, buf_slice(&b));
    else
        call_fail(c, CODE_INTERNAL, "out of memory");
    buf_free(&b);
}

static void handle_watch(struct call *c)
{
    const struct cJSON *list = NULL;
    struct ids ids;
    bool watch = false;
    if (!call_get_user_ids(c, "ids", IDS_MAX, &list))
        return;
    if (json_get_bool(c->body, "watch", &watch) != 1) {
        call_fail(c, CODE_BAD_REQUEST, "watch: expected true or false");
        return;
    }
    take_ids(list, &ids);
    if (watch)
        watch_begin(c, &ids);
    else
        watch_stop(c, &ids);
}

int act_watch_register(struct hub *hub)
{
    static const struct action actions[] = {
        {.number = 18, .name = "watch", .class = CLASS_ALONE, .handle = handle_watch},
    };
    return actions_register(hub, actions, sizeof actions / sizeof actions[0]);
}
