/*
 * A connection of a WebSocket listener before it is one: its HTTP request is awaited, then upgraded or answered.
 *
 * An upgrade is served on any path. Requests that ask for none are answered by plain(), and nothing else: there is the place for
 * those who want to serve pages, since they then never see an upgrade.
 */
#include "core/base/log.h"
#include "core/net/handshake.h"
#include "core/net/http.h"
#include "core/net/net_internal.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

/* Queues an answer with a line of text and closes after it. */
static void answer(struct net *net, uint32_t idx, struct conn *c, unsigned status, const char *text, bool body)
{
    const char *extra = status == 405   ? "Allow: GET\r\n"
                        : status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                        : status == 503 ? "Retry-After: 5\r\n"
                                        : "";
    char out[512];
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
                     "Connection: %s\r\n%s\r\n%s%s",
                     status, http_phrase(status), strlen(text) + 1, status == 426 ? "close, Upgrade" : "close", extra, body ? text : "",
                     body ? "\n" : "");
    if (SURELY(n > 0 && (size_t)n < sizeof out))
        conn_push_raw(net, idx, c, slice_of(out, (size_t)n));
    log_event(LOG_DEBUG, "http.refused", LOG_INT("status", status), LOG_STR("because", text));
    conn_end_http(net, idx, c);
}

void http_refuse(struct net *net, uint32_t idx, struct conn *c, unsigned status)
{
    answer(net, idx, c, status, status == 408 ? "no request came in time" : "no more connections are taken now", true);
}

/* Whether the connection came to a loopback address, or by way of a Unix socket. */
static bool came_locally(const struct conn *c)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    a.ss_family = AF_UNSPEC;
    if (getsockname(c->fd, (struct sockaddr *)&a, &n) != 0)
        return false;
    if (a.ss_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)&a)->sin_addr.s_addr) >> 24) == 127;
    if (a.ss_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)&a)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
    }
    return a.ss_family == AF_UNIX;
}

/* A page in a browser says where it is from; whoever says nothing is no browser. */
static bool origin_allowed(const struct net *net, const struct conn *c, const struct http_head *h)
{
    unsigned count;
    struct slice origin = http_get(h, "origin", &count);
    return count == 0 || handshake_origin(origin, h->host, net->limits.origins, came_locally(c));
}

static void upgrade(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h)
{
    const char *why = NULL;
    char accept[HANDSHAKE_ACCEPT + 1], out[256];
    unsigned status = handshake_check(h, &why), count;
    if (status == 101 && !origin_allowed(net, c, h)) {
        status = 403;
        why = "pages of this origin may not connect (the server's config: origins)";
    }
    if (status == 101 && !handshake_accept(http_get(h, "sec-websocket-key", &count), accept)) {
        status = 503;
        why = "no key could be made";
    }
    if (status != 101) {
        answer(net, idx, c, status, why, true);
        return;
    }
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                     accept);
    conn_push_raw(net, idx, c, slice_of(out, (size_t)n));
    if (!c->out) { /* no memory for the answer: the other side would wait for ever */
        conn_end_http(net, idx, c);
        return;
    }
    c->state = CONN_ST_OPEN;
    conn_tell_opened(net, idx, c);
}

/* A request that asks for no upgrade. */
static void plain(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h)
{
    bool head = slice_eq(h->method, SLICE_LIT("HEAD"));
    if (!head && !slice_eq(h->method, SLICE_LIT("GET")))
        answer(net, idx, c, 405, "only GET is served here", true);
    else if (h->content_length || h->chunked)
        answer(net, idx, c, 413, "a request with a body is not taken here", !head);
    else
        answer(net, idx, c, 426, "this is a chat server's WebSocket port: connect with ws://", !head);
}

bool http_step(struct net *net, uint32_t idx, struct conn *c, struct ws_input *in)
{
    struct http_head h;
    if (c->inner & CONN_I_REFUSED) {
        in->pos = in->end;
        http_refuse(net, idx, c, 503);
        return false;
    }
    ssize_t n = http_parse(in->p + in->pos, in->end - in->pos, &h);
    if (n == 0)
        return false;
    if (n < 0) {
        in->pos = in->end;
        answer(net, idx, c, h.status, h.why, true);
        return false;
    }
    in->pos += (size_t)n;
    net->cur.rest = in->p + in->pos;
    net->cur.rest_n = in->end - in->pos;
    if (handshake_wanted(&h))
        upgrade(net, idx, c, &h);
    else
        plain(net, idx, c, &h);
    return true;
}
