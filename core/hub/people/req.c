#include "core/hub/people/req.h"

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "core/base/utf8.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/session.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/hook.h"
#include "core/hub/registry/tables.h"
#include "core/net/input.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* So many requests of one connection may be under way; then it is not parsed until half are answered. */
enum { INFLIGHT_MAX = 64 };

/* Pages are large, and an answer is never skipped: so many reads at once that a client which asks for many pages and
 * takes them as fast as it can never fills its queue (when parsing goes on, that is at most half full). */
static uint32_t inflight_max(const struct shard *s, const struct session *x)
{
    if (x->class == CLASS_ALONE)
        return 1;
    if (x->class != CLASS_READ || !s->opt->page_max)
        return INFLIGHT_MAX;
    uint32_t n = s->opt->net.output_queue / 2 / s->opt->page_max;
    return n == 0 ? 1 : n < INFLIGHT_MAX ? n : INFLIGHT_MAX;
}

/* A frame that came while requests of another class were under way. */
struct held {
    bool text;
    uint16_t action, seq;
    size_t n;
    char data[]; /* the body, n bytes */
};

/* --- Answers ---------------------------------------------------------------------------------------------------- */

void *req_begin(struct call *c, size_t size)
{
    struct shard *s = c->shard;
    struct req *r = calloc(1, size);
    struct slice claims = grant_claims(s, c->conn);
    if (r && claims.n)
        r->claims = strdup(claims.p);
    struct session *x = r && (r->claims || !claims.n) ? session_get(s, c->conn) : NULL;
    if (!x || !session_expect(x, c->order, &r->ordinal)) {
        if (r)
            free(r->claims);
        free(r);
        call_fail(c, CODE_INTERNAL, "out of memory");
        return NULL;
    }
    x->class = c->class;
    x->inflight++;
    s->reqs++;
    r->home = s;
    r->conn = c->conn;
    r->generation = conn_at(s->net, c->conn)->generation;
    r->user = c->user;
    if (r->user != NONE)
        user_pin(s, r->user);
    r->order = c->order;
    r->action = c->action;
    r->seq = c->seq;
    return r;
}

void req_fail(struct req *r, enum code code, const char *message)
{
    r->code = code;
    snprintf(r->message, sizeof r->message, "%s", message);
}

void req_fail_read(struct req *r, enum store_status status, const char *what)
{
    if (status == STORE_RETRY || status == STORE_UNKNOWN)
        req_fail(r, CODE_UNAVAILABLE, "the store cannot be read now");
    else
        req_fail_store(r, status, what);
}

void req_fail_store(struct req *r, enum store_status status, const char *what)
{
    switch (status) {
    case STORE_NOTFOUND:
        req_fail(r, CODE_NOT_FOUND, what);
        break;
    case STORE_RETRY:
        req_fail(r, CODE_UNAVAILABLE, "the store cannot write now; nothing was changed");
        break;
    case STORE_UNKNOWN:
        req_fail(r, CODE_UNAVAILABLE, "the store failed; perhaps stored, retry with the same clientId");
        break;
    default:
        req_fail(r, CODE_INTERNAL, "the store failed");
        break;
    }
}

void req_wait(struct req *r)
{
    struct session *x = conn_at(r->home->net, r->conn)->session;
    if (SURELY(x != NULL))
        x->waiting = true;
}

void req_wait_over(const struct req *r)
{
    const struct conn *k = r->home->net ? conn_find(r->home->net, r->conn, r->generation) : NULL;
    struct session *x = k ? k->session : NULL;
    if (x)
        x->waiting = false;
}

void *req_become(struct req *r, size_t size)
{
    struct req *other = calloc(1, size);
    if (!other)
        return NULL;
    *other = *r;
    memset(&other->mail, 0, sizeof other->mail);
    other->finish = other->after = other->destroy = NULL;
    if (r->destroy)
        r->destroy(r);
    free(r);
    return other;
}

/* The frame that was held is looked at again. False: the connection is gone, or the frame has it wait again. */
static bool held_dispatch(struct shard *s, uint32_t conn, uint32_t generation, struct session *x)
{
    struct held *h = x->held;
    x->held = NULL;
    struct net_message m = {.text = h->text, .action = h->action, .seq = h->seq, .body = slice_of(h->data, h->n)};
    enum conn_verdict v = dispatch(s, conn, &m);
    free(h);
    return conn_find(s->net, conn, generation) && v != CONN_PAUSE;
}

/* What waits for the connection's requests to be answered goes on. */
static void session_advance(struct shard *s, uint32_t conn, uint32_t generation)
{
    struct session *x = conn_at(s->net, conn)->session;
    if (x->inflight == 0 && x->closing) {
        conn_close(s->net, conn, CLOSE_SHUTDOWN, NULL, 1 + random_below(s->drain_spread_ms + 1));
        return;
    }
    if (x->inflight == 0 && x->ended) {
        conn_hang_up(s->net, conn, x->end_code);
        return;
    }
    if (s->halted & HALT_BURIED)
        return; /* req_go_on_all() comes */
    if (x->inflight == 0 && x->held) {
        if (!held_dispatch(s, conn, generation, x))
            return;
        x = conn_at(s->net, conn)->session;
    }
    if (x && x->paused && !x->held && !x->closing && x->inflight <= inflight_max(s, x) / 2) {
        x->paused = false;
        conn_resume(s->net, conn);
    }
    session_trim(s, conn);
}

void req_go_on(struct shard *s, uint32_t conn, uint32_t generation)
{
    const struct conn *k = s->net ? conn_find(s->net, conn, generation) : NULL;
    struct session *x = k ? k->session : NULL;
    if (!x)
        return;
    if (s->halted & HALT_BURIED)
        return;
    /* The held one may go along with it now, or waits for an answer as it would have without the hook. */
    if (x->held && !held_dispatch(s, conn, generation, x))
        return;
    if (conn_at(s->net, conn)->session)
        session_advance(s, conn, generation);
}

static void req_home(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct req *r = (struct req *)m;
    if (r->finish)
        r->finish(r);
    struct conn *k = s->net ? conn_find(s->net, r->conn, r->generation) : NULL;
    struct buf error = BUF_INIT;
    if (r->code == CODE_OK && !buf_ok(&r->body))
        req_fail(r, CODE_INTERNAL, "out of memory");
    if (k && k->session) {
        if (r->code != CODE_OK) {
            code_encode(&error, r->code, r->message, code_wait(s, r->code, r->retry_after_ms));
            code_count(s, r->code);
        }
        struct slice body = r->code != CODE_OK ? code_slice(&error) : r->body.n ? buf_slice(&r->body) : SLICE_LIT("{}");
        session_answer(s, r->conn, r->order, r->ordinal, r->action, r->seq, body);
    }
    if (r->after)
        r->after(r);
    s->reqs--;
    if (r->user != NONE)
        user_unpin(s, r->user);
    k = s->net ? conn_find(s->net, r->conn, r->generation) : NULL;
    if (k && k->session) {
        ((struct session *)k->session)->inflight--;
        session_advance(s, r->conn, r->generation);
    }
    if (r->destroy)
        r->destroy(r);
    buf_free(&error);
    buf_free(&r->body);
    free(r->claims);
    free(r);
}

void req_done(struct shard *here, struct req *r)
{
    r->mail.run = req_home;
    shard_post(here, r->home, &r->mail);
}

/* --- Entry ------------------------------------------------------------------------------------------------------ */

/* Keeps a frame for when the requests under way are answered. */
static enum conn_verdict hold(struct shard *s, struct call *c, const struct net_message *m, struct session *x)
{
    struct held *h = malloc(sizeof *h + m->body.n);
    if (!h) {
        call_fail(c, CODE_INTERNAL, "out of memory");
        return CONN_CONTINUE;
    }
    h->text = m->text;
    h->action = m->action;
    h->seq = m->seq;
    h->n = m->body.n;
    if (m->body.n)
        memcpy(h->data, m->body.p, m->body.n);
    if (!SURELY(!x->held))
        free(x->held);
    x->held = h;
    x->paused = true;
    (void)s;
    return CONN_PAUSE;
}

/* Takes {"action":…,"seq":…,"body":…} apart. Returns what is wrong, or NULL. */
static const char *open_text(struct call *c, const struct cJSON *tree)
{
    int64_t action = 0, seq = 0;
    int has_seq = json_get_int(tree, "seq", &seq);
    if (has_seq < 0 || seq < 0 || seq > UINT16_MAX)
        return "seq: expected an integer from 0 to 65535";
    c->seq = (uint16_t)seq;
    if (json_get_int(tree, "action", &action) != 1 || action < 0 || action > UINT16_MAX)
        return "action: expected an integer from 0 to 65535";
    const struct cJSON *body = NULL;
    if (json_get_object(tree, "body", &body) < 0)
        return "body: expected an object";
    c->action = (uint16_t)action;
    c->body = body;
    return NULL;
}

/* A text message that could not be parsed. Who waits for its seq is answered all the same; where it is JSON, which
 * only our rules refuse, under its action. False: it was answered. */
static bool open_refused(struct call *c, struct slice text, const struct json_verdict *v, const char **why)
{
    uint16_t action;
    (void)json_peek(text, "seq", &c->seq);
    if (!v->json || !json_peek(text, "action", &action)) {
        call_fail(c, CODE_BAD_REQUEST, "expected {\"action\":…,\"seq\":…,\"body\":{…}}: %s", v->why);
        return false;
    }
    c->action = action;
    *why = v->why;
    return true;
}

/* `wrong`: what is wrong with the body; NULL: nothing. Who reads fields by their names is never given an integer
 * that was rounded (json_get_int()), and what stands in a field that nobody knows is nobody's concern. */
static void run_handler(struct call *c, const struct action *a, bool rounded, const char *wrong)
{
    c->action_ctx = a->ctx;
    if (!wrong && rounded && a->whole_body && json_rounded(c->body))
        wrong = "number out of range";
    if (wrong)
        call_fail(c, CODE_BAD_REQUEST, "the body is not valid JSON: %s", wrong);
    else
        a->handle(c);
}

/* The body as it came in a binary frame. */
static void run_binary(struct call *c, const struct action *a, struct slice text)
{
    struct json_verdict v;
    struct cJSON *tree = json_parse_open(text.n ? text : SLICE_LIT("{}"), JSON_DEPTH, &v);
    struct slice open = text;
    while (open.n && (*open.p == ' ' || *open.p == '\t' || *open.p == '\n' || *open.p == '\r'))
        open.p++, open.n--;
    if (!tree)
        call_fail(c, CODE_BAD_REQUEST, "the body is not valid JSON: %s", v.why);
    else if (open.n && *open.p != '{')
        call_fail(c, CODE_BAD_REQUEST, "the body is not a JSON object");
    else {
        c->body = tree;
        run_handler(c, a, v.rounded, NULL);
    }
    json_free(tree);
}

/* Whether the frame may go to a handler; answers the error otherwise. */
static const struct action *admit(struct call *c)
{
    const struct action *a = action_find(c->shard->tables, c->action & 0x7fff);
    if (c->user == NONE && (!a || !a->before_login || c->action & 0x8000)) {
        call_fail(c, CODE_UNAUTHORIZED, "log in first (action 1)");
        return NULL;
    }
    if (c->action & 0x8000) {
        const struct conn *k = conn_at(c->shard->net, c->conn);
        c->action &= 0x7fff;
        if (k->transport == CONN_WEBSOCKET)
            call_fail(c, CODE_BAD_REQUEST, "action: bit 15 (gzip) is for TCP, a WebSocket has permessage-deflate");
        else if (!(k->flags & CONN_F_PACKED))
            call_fail(c, CODE_BAD_REQUEST, "action: bit 15 (gzip) was not agreed upon at login");
        else
            call_fail(c, CODE_BAD_REQUEST, "body: bit 15 of action says gzip, and it is none");
        return NULL;
    }
    if (!a)
        call_fail(c, CODE_UNKNOWN_ACTION, "there is no action %u", c->action);
    return a;
}

/* What was looked up for a frame is of no use to the next one. */
static void looked_end(struct shard *s, uint32_t conn, uint32_t generation)
{
    const struct conn *k = conn_find(s->net, conn, generation);
    struct session *x = k ? k->session : NULL;
    if (x && x->looked && !x->held) {
        x->looked = 0;
        x->vouched = false;
    }
}

enum conn_verdict req_keep(struct shard *s, uint32_t conn, const struct net_message *m)
{
    struct session *x = session_get(s, conn);
    struct call c = {.shard = s, .conn = conn, .user = conn_at(s->net, conn)->user, .action = m->action, .seq = m->seq};
    if (x)
        return hold(s, &c, m, x);
    call_fail(&c, CODE_INTERNAL, "out of memory");
    return CONN_CONTINUE;
}

void req_go_on_all(struct shard *s)
{
    for (uint32_t i = s->net ? net_next(s->net, 0) : CONN_NONE; i != CONN_NONE; i = net_next(s->net, i + 1)) {
        const struct conn *k = conn_at(s->net, i);
        const struct session *x = k->session;
        if (x && x->paused && !(k->flags & (CONN_F_CLOSING | CONN_F_RAW)))
            session_advance(s, i, k->generation);
    }
}

enum conn_verdict dispatch(struct shard *s, uint32_t conn, const struct net_message *m)
{
    struct conn *k = conn_at(s->net, conn);
    uint32_t generation = k->generation;
    struct session *x = k->session;
    struct call c = {.shard = s, .conn = conn, .user = k->user, .action = m->action, .seq = m->seq};
    struct cJSON *tree = NULL;
    struct json_verdict json = {.why = NULL};
    const char *wrong = NULL;
    if (m->text) {
        /* The body's own levels count, not what it is wrapped in. */
        tree = json_parse_open(m->body, JSON_DEPTH + 1, &json);
        const char *why = tree ? open_text(&c, tree) : NULL;
        if (why)
            call_fail(&c, CODE_BAD_REQUEST, "expected {\"action\":…,\"seq\":…,\"body\":{…}}: %s", why);
        if (why || (!tree && !open_refused(&c, m->body, &json, &wrong))) {
            json_free(tree);
            return CONN_CONTINUE;
        }
    }
    const struct action *a = admit(&c);
    enum conn_verdict v = CONN_CONTINUE;
    if (a) {
        c.class = (uint8_t)a->class;
        /* A hook may close the very connection, and the user with it. */
        if (c.user != NONE)
            user_pin(s, c.user);
        if (x && x->inflight && a->class != CLASS_NOW &&
            (a->class != x->class || x->class == CLASS_ALONE || x->waiting))
            v = hold(s, &c, m, x);
        else if (c.body || wrong)
            run_handler(&c, a, json.rounded, wrong);
        else
            run_binary(&c, a, m->text ? SLICE_NONE : m->body);
        if (c.again)
            v = hold(s, &c, m, conn_at(s->net, conn)->session);
        else
            looked_end(s, conn, generation);
        if (c.user != NONE)
            user_unpin(s, c.user);
    }
    json_free(tree);
    k = conn_find(s->net, conn, generation);
    if (!k || c.pause)
        return CONN_PAUSE;
    x = k->session;
    if (x && x->inflight && (x->closing || x->inflight >= inflight_max(s, x))) {
        x->paused = true;
        v = CONN_PAUSE;
    }
    return v;
}
