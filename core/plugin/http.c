/* HTTP requests that a plugin answers, and the WebSockets of paths that it claimed. */
#include "core/plugin/http.h"

#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/hub/registry/route.h"
#include "core/net/http.h"
#include "core/net/url.h"
#include "core/net/websocket.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/register.h"
#include "core/plugin/threads.h"
#include "core/plugin/ticket.h"

#include <stdio.h>
#include <stdlib.h>

/* --- The request -------------------------------------------------------------------------------------------------- */

struct open_http {
    struct open open;
    struct mp_thread *thread;
    uint32_t conn, generation;
    bool no_body; /* a HEAD */
    struct mp_http_request q;
    struct http_head head; /* its slices point into `text` */
    char ip[64];
    char text[];
};

/* Moves a slice of the request's bytes into the copy. */
static struct slice moved(struct slice s, struct slice from, const char *to)
{
    return s.p && s.p >= from.p && s.p <= from.p + from.n ? slice_of(to + (s.p - from.p), s.n) : SLICE_NONE;
}

/* The head's bytes: from the method to the end of its last field. */
static struct slice head_bytes(const struct http_head *h)
{
    const char *end = h->target.p + h->target.n;
    for (uint32_t i = 0; i < h->field_count; i++) {
        const char *at = h->fields[i].value.n ? h->fields[i].value.p + h->fields[i].value.n
                                              : h->fields[i].name.p + h->fields[i].name.n;
        end = at > end ? at : end;
    }
    return slice_of(h->method.p, (size_t)(end - h->method.p));
}

static struct slice bearer_of(const struct http_head *h)
{
    unsigned count;
    struct slice v = http_get(h, "authorization", &count);
    if (count != 1 || v.n < 7 || !http_is(slice_of(v.p, 7), "bearer "))
        return SLICE_NONE;
    v = slice_of(v.p + 7, v.n - 7);
    while (v.n && *v.p == ' ')
        v = slice_of(v.p + 1, v.n - 1);
    return v;
}

static struct open_http *http_new(const struct route_call *q)
{
    struct slice bytes = head_bytes(q->head);
    struct open_http *h = malloc(sizeof *h + bytes.n + q->body.n);
    if (!h)
        return NULL;
    memcpy(h->text, bytes.p, bytes.n);
    if (q->body.n)
        memcpy(h->text + bytes.n, q->body.p, q->body.n);
    h->head = *q->head;
    struct slice *parts[] = {&h->head.method, &h->head.target, &h->head.path, &h->head.query, &h->head.host};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        *parts[i] = moved(*parts[i], bytes, h->text);
    for (uint32_t i = 0; i < h->head.field_count; i++) {
        h->head.fields[i].name = moved(h->head.fields[i].name, bytes, h->text);
        h->head.fields[i].value = moved(h->head.fields[i].value, bytes, h->text);
    }
    conn_peer(q->shard->net, q->conn, h->ip, sizeof h->ip);
    h->conn = q->conn;
    h->generation = q->generation;
    h->no_body = slice_eq(h->head.method, SLICE_LIT("HEAD"));
    h->q = (struct mp_http_request){
        .size = sizeof h->q,
        .method = str_out(h->head.method),
        .path = str_out(h->head.path),
        .rest = str_out(moved(q->rest, bytes, h->text)),
        .query = str_out(h->head.query),
        .host = str_out(h->head.host),
        .bearer = str_out(bearer_of(&h->head)),
        .body = mp_str_of(h->text + bytes.n, q->body.n),
        .ip = mp_str(h->ip),
        .foreign = q->foreign,
        .local = q->local,
        .metrics = q->metrics,
        .secure = q->secure,
    };
    return h;
}

static void http_end(struct open_http *h, const struct mp_http_answer *given);

static void http_abandon(struct open *o)
{
    http_end((struct open_http *)o, &(struct mp_http_answer){.size = sizeof(struct mp_http_answer),
                                                             .status = 503,
                                                             .content_type = "text/plain; charset=utf-8",
                                                             .body = mp_str("the plugin was unloaded\n")});
}

void http_run(const struct route_call *q, void *ctx)
{
    struct reg *r = ctx;
    struct mp_self *p = r->plugin;
    struct mp_thread *t = thread_of(p->plugins, q->shard);
    struct open_http *h = http_new(q);
    mp_http *http = h ? open_begin(p, &h->open, OPEN_HTTP, http_abandon) : NULL;
    if (!http) {
        free(h);
        route_answer(q->shard, q->conn, q->generation, 503, SLICE_NONE, SLICE_NONE, false);
        return;
    }
    h->thread = t;
    struct visit v = visit_begin(t, p, "a route");
    r->route.handle(http, &h->q, t, r->route.ctx);
    visit_end(t, &v);
}

/* --- Reading it --------------------------------------------------------------------------------------------------- */

struct mp_str http_header_of(const mp_http *http, const char *name)
{
    const struct open_http *h = (struct open_http *)open_peek(http, OPEN_HTTP);
    unsigned count = 0;
    struct slice v = h ? http_get(&h->head, name, &count) : SLICE_NONE;
    return count ? mp_str_of(v.p ? v.p : "", v.n) : mp_str(NULL);
}

int http_decode(struct mp_str s, char *out, size_t size)
{
    int n = url_decode(slice_in(s), false, out, size);
    return n < 0 ? plugin_error(n) : n;
}

int http_param_of(const mp_http *http, const char *name, char *out, size_t size)
{
    const struct open_http *h = (struct open_http *)open_peek(http, OPEN_HTTP);
    if (!h)
        return MP_ENOTFOUND;
    int n = url_param(h->head.query, slice_str(name), out, size);
    return n < 0 ? plugin_error(n) : n;
}

/* --- The answer --------------------------------------------------------------------------------------------------- */

struct answer {
    struct mail mail;
    uint32_t conn, generation;
    unsigned status;
    bool no_body;
    struct buf fields, body;
};

static void answer_arrive(void *owner, struct mail *m)
{
    struct answer *a = (struct answer *)m;
    bool good = buf_ok(&a->fields) && buf_ok(&a->body);
    route_answer(owner, a->conn, a->generation, good ? a->status : 503, good ? buf_slice(&a->fields) : SLICE_NONE,
                 good ? buf_slice(&a->body) : SLICE_NONE, a->no_body);
    buf_free(&a->fields);
    buf_free(&a->body);
    free(a);
}

/* Nothing that could end the line, or the head. */
static bool field_good(const char *name, const char *value)
{
    if (!name || !value || !*name || strpbrk(name, " \t\r\n:\"(),/;<=>?@[]{}\\") || strpbrk(value, "\r\n"))
        return false;
    return strcasecmp(name, "content-length") != 0 && strcasecmp(name, "connection") != 0 &&
           strcasecmp(name, "date") != 0 && strcasecmp(name, "transfer-encoding") != 0;
}

static bool has_field(const struct mp_http_answer *a, const char *name)
{
    for (size_t i = 0; i < a->header_count; i++)
        if (a->headers[i].name && strcasecmp(a->headers[i].name, name) == 0)
            return true;
    return false;
}

/* False: one of them cannot stand in a head. What the plugin says itself is not said once more. */
static bool put_fields(struct buf *out, const struct mp_http_answer *a)
{
    if (!has_field(a, "X-Content-Type-Options"))
        buf_lit(out, "X-Content-Type-Options: nosniff\r\n");
    if (a->content_type && !has_field(a, "Content-Type")) {
        if (!field_good("Content-Type", a->content_type))
            return false;
        buf_printf(out, "Content-Type: %s\r\n", a->content_type);
    }
    for (size_t i = 0; i < a->header_count; i++) {
        if (!field_good(a->headers[i].name, a->headers[i].value))
            return false;
        buf_str(out, a->headers[i].name);
        buf_lit(out, ": ");
        buf_str(out, a->headers[i].value);
        buf_lit(out, "\r\n");
    }
    return true;
}

static void http_end(struct open_http *h, const struct mp_http_answer *given)
{
    struct mp_http_answer a;
    struct mp_self *p = h->open.plugin;
    bool good = STRUCT_IN(&a, given) && a.status >= 200 && a.status <= 599;
    struct answer *m = calloc(1, sizeof *m);
    if (!m) { /* the net answers 504 in the end */
        free(h);
        return;
    }
    *m = (struct answer){.mail.run = answer_arrive,
                         .conn = h->conn,
                         .generation = h->generation,
                         .status = a.status,
                         .no_body = h->no_body};
    good = good && put_fields(&m->fields, &a);
    if (good) {
        buf_put(&m->body, a.body.p, a.body.n);
    } else {
        log_event(LOG_ERROR, "plugin.bug", LOG_STR("plugin", p->name),
                  LOG_STR("about", "an HTTP answer with a wrong status or header"));
        buf_reset(&m->fields);
        m->status = 500;
    }
    struct mailbox *home = h->thread->mailbox;
    free(h);
    mailbox_post(home, &m->mail);
}

void http_done(mp_http *http, const struct mp_http_answer *given)
{
    struct open_http *h = (struct open_http *)open_take(http, OPEN_HTTP);
    if (h)
        http_end(h, given);
}

/* --- WebSockets of claimed paths ---------------------------------------------------------------------------------- */

static struct mp_conn handle_of(const struct shard *s, uint32_t conn, uint32_t generation)
{
    return (struct mp_conn){s->index, conn, generation};
}

void ws_opened(struct shard *s, uint32_t conn, uint32_t generation, void *ctx)
{
    struct reg *r = ctx;
    struct mp_thread *t = thread_of(r->plugin->plugins, s);
    if (!r->upgrade.opened)
        return;
    struct visit v = visit_begin(t, r->plugin, "a WebSocket");
    r->upgrade.opened(handle_of(s, conn, generation), t, r->upgrade.ctx);
    visit_end(t, &v);
}

void ws_message(struct shard *s, uint32_t conn, uint32_t generation, bool text, struct slice data, void *ctx)
{
    struct reg *r = ctx;
    struct mp_thread *t = thread_of(r->plugin->plugins, s);
    struct visit v = visit_begin(t, r->plugin, "a WebSocket message");
    r->upgrade.message(handle_of(s, conn, generation), text, str_out(data), t, r->upgrade.ctx);
    visit_end(t, &v);
}

void ws_closed(struct shard *s, uint32_t conn, uint32_t generation, void *ctx)
{
    struct reg *r = ctx;
    struct mp_thread *t = thread_of(r->plugin->plugins, s);
    if (!r->upgrade.closed)
        return;
    struct visit v = visit_begin(t, r->plugin, "a WebSocket's end");
    r->upgrade.closed(handle_of(s, conn, generation), t, r->upgrade.ctx);
    visit_end(t, &v);
}

struct ws_mail {
    struct mail mail;
    uint32_t conn, generation;
    bool text, close;
    uint16_t code;
    size_t n;
    char data[];
};

static void ws_arrive(void *owner, struct mail *m)
{
    struct ws_mail *w = (struct ws_mail *)m;
    struct slice data = slice_of(w->data, w->n);
    if (w->close)
        upgrade_close(owner, w->conn, w->generation, w->code, data);
    else
        (void)upgrade_send(owner, w->conn, w->generation, w->text, data);
    free(w);
}

static int ws_post(mp_self *p, const struct ws_mail *w, struct mp_conn conn, struct mp_str data)
{
    struct ws_mail *m = malloc(sizeof *m + data.n);
    if (!m)
        return MP_ENOMEM;
    *m = *w;
    m->mail.run = ws_arrive;
    m->conn = conn.index;
    m->generation = conn.generation;
    m->n = data.n;
    if (data.n)
        memcpy(m->data, data.p, data.n);
    mailbox_post(p->plugins->threads[conn.shard + 1].mailbox, &m->mail);
    return 0;
}

/* The connection's shard, when this is its thread: then it is served at once. */
static struct shard *shard_here(mp_self *p, struct mp_conn conn)
{
    struct mp_thread *t = &p->plugins->threads[conn.shard + 1];
    return atomic_load_explicit(&t->self, memory_order_relaxed) == (uintptr_t)pthread_self() ? t->shard : NULL;
}

int ws_send_to(mp_self *p, struct mp_conn conn, bool text, struct mp_str data)
{
    if (conn.shard + 1 >= p->plugins->thread_count || data.n > ROUTE_BODY_MAX || (text && !utf8_valid(slice_in(data))))
        return MP_EINVALID;
    struct shard *s = shard_here(p, conn);
    if (s)
        return plugin_error(upgrade_send(s, conn.index, conn.generation, text, slice_in(data)));
    return ws_post(p, &(struct ws_mail){.text = text}, conn, data);
}

int ws_close_it(mp_self *p, struct mp_conn conn, uint16_t code, struct mp_str reason)
{
    if (conn.shard + 1 >= p->plugins->thread_count || !ws_code_valid(code) || !utf8_valid(slice_in(reason)))
        return MP_EINVALID;
    struct shard *s = shard_here(p, conn);
    if (!s)
        return ws_post(p, &(struct ws_mail){.close = true, .code = code}, conn, reason);
    upgrade_close(s, conn.index, conn.generation, code, slice_in(reason));
    return 0;
}
