/*
 * A connection of a WebSocket listener before it is one: its HTTP request is awaited, then upgraded or answered.
 *
 * An upgrade is served on any path; the owner may claim some for protocols of its own. Requests that ask for none are
 * the owner's if it wants them. One request a connection: whoever waits for the next one would hold a descriptor, and
 * must be timed, for little.
 */
#include "core/net/http_conn.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/net/conn_private.h"
#include "core/net/extension.h"
#include "core/net/handshake.h"
#include "core/net/http.h"
#include "core/net/http_conn_private.h"
#include "core/net/input.h"
#include "core/net/net_private.h"
#include "core/net/net_shared_private.h"
#include "core/net/origin.h"
#include "core/net/proxy.h"
#include "core/net/proxy_conn_private.h"
#include "core/net/send_private.h"
#include "core/net/shake_private.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

/* Queues an answer with a line of text and closes after it. `fields`: header lines of this one; NULL: none. */
static void answer_with(struct net *net, uint32_t idx, struct conn *c, unsigned status, const char *fields,
                        const char *text, bool body)
{
    char out[640];
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
                     "Content-Length: %zu\r\nConnection: %s\r\n%s\r\n%s%s",
                     status, http_phrase(status), strlen(text) + 1, status == 426 ? "close, Upgrade" : "close", fields,
                     body ? text : "", body ? "\n" : "");
    if (SURELY(n > 0 && (size_t)n < sizeof out))
        conn_push_raw(net, idx, c, slice_of(out, (size_t)n));
    log_event(LOG_DEBUG, "http.refused", LOG_INT("status", status), LOG_STR("because", text));
    conn_end_http(net, idx, c);
}

static void answer(struct net *net, uint32_t idx, struct conn *c, unsigned status, const char *text, bool body)
{
    const char *fields = status == 405   ? "Allow: GET\r\n"
                         : status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         : status == 503 ? "Retry-After: 5\r\n"
                                         : "";
    answer_with(net, idx, c, status, fields, text, body);
}

void http_answer_text(struct net *net, uint32_t idx, struct conn *c, unsigned status, const char *text)
{
    answer(net, idx, c, status, text, true);
}

void http_refuse(struct net *net, uint32_t idx, struct conn *c, unsigned status)
{
    answer(net, idx, c, status,
           status == 408   ? "no request came in time"
           : status == 504 ? "no answer came in time"
                           : "no more connections are taken now",
           true);
}

/* The address that the connection came to; its family is AF_UNSPEC when that is not known. */
static struct sockaddr_storage came_to(const struct conn *c)
{
    struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof a;
    if (getsockname(c->fd, (struct sockaddr *)&a, &n) != 0)
        a.ss_family = AF_UNSPEC;
    return a;
}

/* Whether a proxy that is believed has named another machine as the client: by a PROXY header or, `upgrade`, in the
 * head of a request for a WebSocket. In other requests a page's script could write the same, but not in those. */
static bool is_remote(const struct net *net, const struct conn *c, bool upgrade)
{
    struct address client;
    bool by_header;
    return shared_named(net->shared, c->ip_slot, &client, &by_header) && (by_header || upgrade) &&
           !address_is_loopback(&client);
}

static enum origin_way way_of(const struct net *net, const struct conn *c, bool upgrade)
{
    struct sockaddr_storage a = came_to(c);
    struct address to;
    if (is_remote(net, c, upgrade))
        return ORIGIN_NETWORK;
    if (a.ss_family == AF_UNIX)
        return ORIGIN_UNIX;
    return address_of((const struct sockaddr *)&a, &to) && address_is_loopback(&to) ? ORIGIN_LOOPBACK : ORIGIN_NETWORK;
}

/* No browser reaches a Unix socket: who speaks there is a proxy, which answers for the name. */
bool conn_knows_host(struct net *net, uint32_t conn, const struct http_head *h)
{
    return way_of(net, conn_at(net, conn), false) != ORIGIN_LOOPBACK || origin_knows_host(h->host, net->limits.origins);
}

/* What a proxy that is not listed, and adds nothing to the head, hands on cannot be told from a request of its own: but
 * for the name, since it must be reached by another one than this machine has. */
bool conn_is_local(struct net *net, uint32_t conn, const struct http_head *h)
{
    const struct conn *c = conn_at(net, conn);
    struct address a;
    if (shared_named(net->shared, c->ip_slot, &a, NULL) || !conn_peer_address(c, &a))
        return false;
    return address_is_loopback(&a) && !proxies_have(&net->proxies, &a) && !proxy_in_head(h) &&
           origin_knows_host(h->host, NULL);
}

/* Whether the last element of the list in Forwarded has proto=https: what the nearest proxy says. */
static bool forwarded_tls(const struct http_head *h)
{
    unsigned count;
    struct slice list = http_get(h, "forwarded", &count), item, last = SLICE_NONE;
    static const char proto[] = "proto=";
    while (count == 1 && http_list_next(&list, &item))
        last = item;
    while (last.n) {
        const char *end = memchr(last.p, ';', last.n);
        struct slice pair = slice_of(last.p, end ? (size_t)(end - last.p) : last.n);
        last = end ? slice_of(end + 1, last.n - pair.n - 1) : SLICE_NONE;
        while (pair.n && *pair.p == ' ')
            pair = slice_of(pair.p + 1, pair.n - 1);
        if (pair.n > sizeof proto - 1 && strncasecmp(pair.p, proto, sizeof proto - 1) == 0) {
            pair = slice_of(pair.p + sizeof proto - 1, pair.n - sizeof proto + 1);
            return http_is(pair, "https") || http_is(pair, "\"https\"");
        }
    }
    return false;
}

/* A proxy that has named its client by a PROXY header hands the head on as it came: nothing in it is the proxy's. */
bool conn_by_tls(struct net *net, uint32_t conn, const struct http_head *h)
{
    const struct conn *c = conn_at(net, conn);
    struct address a;
    unsigned count;
    bool by_header = false;
    if (conn_is_secure(c))
        return true;
    if ((shared_named(net->shared, c->ip_slot, &a, &by_header) && by_header) ||
        !(conn_peer_address(c, &a) ? proxies_have(&net->proxies, &a) : net->proxies.unix_peers))
        return false;
    struct slice proto = http_get(h, "x-forwarded-proto", &count);
    return (count == 1 && http_is(proto, "https")) || forwarded_tls(h);
}

/* A page in a browser says where it is from; whoever says nothing is no browser. NULL: it may connect; else why it may
 * not. */
static const char *page_refused(const struct net *net, const struct conn *c, const struct http_head *h)
{
    unsigned count;
    struct slice origin = http_get(h, "origin", &count);
    enum origin_way way = way_of(net, c, true);
    const char *const *list = net->limits.origins;
    if (count == 0 || origin_allowed(origin, h->host, list, way))
        return NULL;
    if (way == ORIGIN_LOOPBACK && !(list && *list) && !origin_knows_host(h->host, NULL))
        return "pages under this name may not connect: on a loopback address come by IP address or localhost, or list "
               "the "
               "page's origin in the server's config (origins)";
    return "pages of this origin may not connect (the server's config: origins)";
}

static void push_switching(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h, const char *accept,
                           const struct extension *e)
{
    char out[512 + EXTENSION_ANSWER_MAX], extensions[EXTENSION_ANSWER_MAX];
    struct slice protocol = handshake_protocol(h, net->limits.protocols);
    extension_answer(e, extensions);
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                     "Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s%s%.*s%s\r\n",
                     accept, extensions, protocol.n ? "Sec-WebSocket-Protocol: " : "", (int)protocol.n,
                     protocol.n ? protocol.p : "", protocol.n ? "\r\n" : "");
    conn_push_raw(net, idx, c, slice_of(out, (size_t)n));
}

static void upgrade(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h)
{
    const char *why = NULL;
    char accept[HANDSHAKE_ACCEPT + 1];
    unsigned status = handshake_check(h, &why), count;
    struct extension e = {.deflate = false};
    if (status == 101 && (why = page_refused(net, c, h)) != NULL)
        status = 403;
    if (status == 101 && extension_negotiate(h, &e) != 0) {
        status = 400;
        why = "Sec-WebSocket-Extensions is malformed";
    }
    if (status == 101 && !handshake_accept(http_get(h, "sec-websocket-key", &count), accept)) {
        status = 503;
        why = "no key could be made";
    }
    if (status != 101) {
        answer(net, idx, c, status, why, true);
        return;
    }
    e.deflate = e.deflate && net->limits.compress_level;
    push_switching(net, idx, c, h, accept, &e);
    if (!c->out) { /* no memory for the answer: the other side would wait for ever */
        conn_end_http(net, idx, c);
        return;
    }
    c->state = CONN_ST_OPEN;
    c->inner &= (uint8_t)~CONN_I_HTTP;
    c->http_need = CONN_NONE;
    if (e.deflate)
        c->flags |= (uint16_t)(CONN_F_PACKED | (extension_narrow(&e) ? CONN_F_NARROW : 0));
    c->form = wire_form_ws(false, e.deflate, extension_narrow(&e));
    if (net->ops->claim && net->ops->claim(net->owner, idx, h->path)) {
        conn_release_held(net, c);
        c->flags |= CONN_F_RAW;
        c->form = WIRE_SILENT;
        (void)conn_ip_slot(net, c);
        conn_set(net, idx, CONN_F_READY);
    }
    conn_tell_opened(net, idx, c);
}

/* The owner serves the path, but not for this method. */
static void refuse_method(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h, bool body)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    struct http_head other = *h;
    char fields[128];
    size_t n = (size_t)snprintf(fields, sizeof fields, "Allow: ");
    const char *comma = "";
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        other.method = slice_str(methods[i]);
        if (net->ops->http_wanted(net->owner, idx, &other) >= 0) {
            n += (size_t)snprintf(fields + n, sizeof fields - n, "%s%s", comma, methods[i]);
            comma = ", ";
        }
    }
    snprintf(fields + n, sizeof fields - n, "\r\n");
    answer_with(net, idx, c, 405, fields, "this path is not served for this method", body);
}

/* A request that asks for no upgrade, and that the owner does not want. */
static void refuse_plain(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h, unsigned status)
{
    bool head = slice_eq(h->method, SLICE_LIT("HEAD"));
    if (status == 405)
        refuse_method(net, idx, c, h, !head);
    else if (status != 426)
        answer(net, idx, c, status, "no such page", !head);
    else if (!head && !slice_eq(h->method, SLICE_LIT("GET")))
        answer(net, idx, c, 405, "only GET is served here", true);
    else if (h->content_length || h->chunked)
        answer(net, idx, c, 413, "a request with a body is not taken here", !head);
    else
        answer(net, idx, c, 426,
               conn_is_secure(c) ? "this is a chat server's WebSocket port: connect with wss://"
                                 : "this is a chat server's WebSocket port: connect with ws://",
               !head);
}

/* --- A request that asks for no upgrade --------------------------------------------------------------------------- */

/* Whether another request may follow on the connection. Not where a proxy names the client in each request's head: the
 * next one may be somebody else's. */
static bool goes_on(const struct net *net, const struct conn *c, const struct http_head *h)
{
    struct address client;
    bool by_header;
    return h->minor > 0 && !http_has_token(h, "connection", "close") &&
           !(shared_named(net->shared, c->ip_slot, &client, &by_header) && !by_header);
}

/* It is whole: hands it to the owner. Nothing is parsed before it is answered. */
static void serve(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h, struct slice body,
                  struct ws_input *in)
{
    c->state = CONN_ST_ASKED;
    c->inner |= CONN_I_HTTP;
    c->flags |= CONN_F_PAUSED;
    c->http_need = goes_on(net, c, h) ? 0 : CONN_NONE;
    c->heard = net->tick;
    if (c->http_need == CONN_NONE)
        in->pos = in->end; /* what follows it is not read */
    conn_arm(net, idx, c);
    net->ops->http(net->owner, idx, h, body);
}

/* Reads on in a chunked body. The head and what has come of the body stand together at in->msg. */
static bool chunks(struct net *net, uint32_t idx, struct conn *c, struct ws_parser *ws, struct ws_input *in)
{
    struct http_chunks k = {.left = ws->left, .in_data = ws->in_frame, .last = ws->fin};
    struct http_head h;
    size_t to = in->msg + in->msg_n, most = in->msg + c->http_need - READ_BYTES;
    enum http_chunked r = http_chunks_take(&k, in->p, &to, &in->pos, in->end, most);
    in->msg_n = to - in->msg;
    *ws = (struct ws_parser){.left = k.left, .in_frame = k.in_data, .fin = k.last};
    if (r == HTTP_CHUNKED_MORE)
        return false;
    const uint8_t *p = in->p + in->msg;
    size_t n = in->msg_n;
    *ws = (struct ws_parser){.left = 0};
    in->msg_n = 0;
    ssize_t head_n = r == HTTP_CHUNKED_DONE ? http_parse(p, n, &net->limits.http, &h) : 0;
    if (head_n > 0) {
        serve(net, idx, c, &h, slice_of(p + head_n, n - (size_t)head_n), in);
        return true;
    }
    in->pos = in->end;
    answer(net, idx, c, r == HTTP_CHUNKED_LARGE ? 413 : 400,
           r == HTTP_CHUNKED_LARGE ? "the body is too large" : "the body's chunks are malformed", true);
    return false;
}

static void say_continue(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h)
{
    unsigned count;
    if (http_is(http_get(h, "expect", &count), "100-continue"))
        conn_push_raw(net, idx, c, SLICE_LIT("HTTP/1.1 100 Continue\r\n\r\n"));
}

/* Its head is `head_n` bytes at in->pos. False: its body is awaited. */
static bool plain(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h, size_t head_n,
                  struct ws_parser *ws, struct ws_input *in)
{
    int32_t most = net->ops->http_wanted ? net->ops->http_wanted(net->owner, idx, h) : -426;
    if (most < 0 || h->content_length > (uint32_t)most) {
        in->pos = in->end;
        if (most < 0)
            refuse_plain(net, idx, c, h, (unsigned)-most);
        else
            answer(net, idx, c, 413, "the body is too large", true);
        return true;
    }
    if (h->chunked) {
        in->msg = in->pos;
        in->msg_n = head_n;
        in->pos += head_n;
        *ws = (struct ws_parser){.left = 0};
        if (in->pos == in->end)
            say_continue(net, idx, c, h);
        c->http_need = (uint32_t)(head_n + (uint32_t)most + READ_BYTES);
        return chunks(net, idx, c, ws, in);
    }
    size_t need = head_n + (size_t)h->content_length;
    if (in->end - in->pos < need) {
        if (c->http_need == CONN_NONE)
            say_continue(net, idx, c, h);
        c->http_need = (uint32_t)need;
        return false;
    }
    const uint8_t *body = in->p + in->pos + head_n;
    in->pos += need;
    serve(net, idx, c, h, slice_of(body, (size_t)h->content_length), in);
    return true;
}

/* "Date: Wed, 25 Nov 2026 15:47:34 GMT". Not by strftime(): a locale must not change it. */
static void put_date(struct buf *b)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm t;
    if (gmtime_r(&now, &t))
        buf_printf(b, "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n", days + t.tm_wday * 3, t.tm_mday,
                   months + t.tm_mon * 3, t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

/* Where others' unsent output is over a cap already, an answer that its socket takes at once is sent all the same: who
 * reads is not held up by those who do not. One that would have to wait is given up. */
static void cut_unread(struct net *net, uint32_t idx, struct conn *c)
{
    if (!c->out || conn_may_queue(net, c) || conn_write(net, c) != ERR_AGAIN)
        return;
    log_event(LOG_DEBUG, "http.cut", LOG_STR("limit", "output"), LOG_INT("unsent", c->out->bytes));
    c->state = CONN_ST_DEAD;
    conn_dirty(net, idx, c);
}

/* Whether the connection ends with this answer: whoever is refused altogether need not be kept. */
static bool ends_with(const struct conn *c, unsigned status)
{
    return c->http_need == CONN_NONE || status == 400 || status == 401 || status == 413 || status >= 500;
}

/* It is answered: the next request may come. While the answer waits for its reader nothing is read. */
static void await_next(struct net *net, uint32_t idx, struct conn *c)
{
    c->state = CONN_ST_HEAD;
    c->http_need = CONN_NONE;
    c->heard = net->tick;
    if (c->out && conn_write(net, c) == ERR_AGAIN)
        c->flags |= CONN_F_SOFT;
    conn_arm(net, idx, c);
    conn_dirty(net, idx, c);
    conn_resume(net, idx);
}

int conn_http_answer(struct net *net, uint32_t conn, uint32_t generation, unsigned status, struct slice fields,
                     struct slice body, bool no_body)
{
    struct conn *c = conn_find(net, conn, generation);
    if (!c || c->state != CONN_ST_ASKED || c->flags & CONN_F_CLOSING)
        return ERR_CLOSED;
    bool ends = ends_with(c, status);
    struct buf b = BUF_INIT;
    buf_printf(&b, "HTTP/1.1 %u %s\r\n", status, http_phrase(status));
    put_date(&b);
    buf_slice_put(&b, fields);
    if (status != 204 && status != 304)
        buf_printf(&b, "Content-Length: %zu\r\n", body.n);
    buf_str(&b, ends ? "Connection: close\r\n\r\n" : "\r\n");
    if (!no_body && status != 204 && status != 304)
        buf_slice_put(&b, body);
    if (buf_ok(&b))
        conn_push_raw(net, conn, c, buf_slice(&b));
    int rc = buf_ok(&b) && c->out ? 0 : ERR_NOMEM;
    buf_free(&b);
    if (ends || rc != 0 || !conn_may_queue(net, c)) {
        conn_end_http(net, conn, c);
        cut_unread(net, conn, c);
    } else {
        await_next(net, conn, c);
    }
    return rc;
}

bool http_step(struct net *net, uint32_t idx, struct conn *c, struct ws_parser *ws, struct ws_input *in)
{
    struct http_head h;
    if (c->inner & CONN_I_REFUSED) {
        in->pos = in->end;
        http_refuse(net, idx, c, 503);
        return false;
    }
    if (in->msg_n)
        return chunks(net, idx, c, ws, in);
    const uint8_t *p = in->p + in->pos;
    size_t there = in->end - in->pos;
    if (c->http_need != CONN_NONE ? there < c->http_need : !http_changed(p, there, net->cur.fresh, &net->limits.http))
        return false;
    ssize_t n = http_parse(p, there, &net->limits.http, &h);
    if (n == 0)
        return false;
    if (n < 0) {
        in->pos = in->end;
        answer(net, idx, c, h.status,
               proxy_begins(p, there) ? proxy_stranger
               : there > 1 && p[0] == 0x16 && p[1] == 0x03
                   ? "this is TLS, and the port speaks none: use http:// or ws://"
                   : h.why,
               true);
        return false;
    }
    if (c->http_need == CONN_NONE && !proxy_http(net, idx, c, &h)) {
        in->pos = in->end;
        return false;
    }
    if (c->flags & CONN_F_METRICS || !handshake_wanted(&h))
        return plain(net, idx, c, &h, (size_t)n, ws, in);
    in->pos += (size_t)n;
    net->cur.rest = in->p + in->pos;
    net->cur.rest_n = in->end - in->pos;
    upgrade(net, idx, c, &h);
    return true;
}
