/*
 * A connection whose peer is one of listen.proxy. What the proxy says of its client is the connection's address from
 * then on, for all that asks for one: it is kept in net_shared's table, by the connection's ip_slot.
 *
 * The PROXY header comes before all else, TLS included, and nothing behind it may be read with it. So the bytes are
 * looked at where they lie in the socket, and taken off it once the header is whole; until then the descriptor tells
 * once of each arrival (EPOLLET), or the loop would turn for as long as half a header waits.
 */
#include "core/net/proxy_conn_private.h"

#include "core/base/log.h"
#include "core/net/conn_private.h"
#include "core/net/counts_private.h"
#include "core/net/http_conn_private.h"
#include "core/net/net_shared_private.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

bool proxy_trusts(const struct net *net, const struct sockaddr *a)
{
    struct address address;
    if (a->sa_family == AF_UNIX)
        return net->proxies.unix_peers;
    return net->proxies.count && address_of(a, &address) && proxies_have(&net->proxies, &address);
}

bool conn_peer_address(const struct conn *c, struct address *out)
{
    struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof a;
    return getpeername(c->fd, (struct sockaddr *)&a, &n) == 0 && address_of((const struct sockaddr *)&a, out);
}

bool conn_address(const struct net *net, const struct conn *c, struct address *out)
{
    return shared_named(net->shared, c->ip_slot, out, NULL) || conn_peer_address(c, out);
}

/* --- Naming ------------------------------------------------------------------------------------------------------- */

/* Its address is this from now on; NULL: its peer's. 0; ERR_FULL: over limits.connections_per_ip; ERR_NOMEM. */
static int rename_to(struct net *net, struct conn *c, const struct address *a, bool by_header)
{
    uint32_t limit = net->limits.connections_per_ip, slot;
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof peer;
    int rc = 0;
    if (a)
        rc = shared_named_add(net->shared, a, by_header, limit ? limit : UINT32_MAX, &slot);
    else if (c->ip_slot != IP_SLOT_NONE || getpeername(c->fd, (struct sockaddr *)&peer, &n) != 0)
        return 0;
    else
        rc = shared_ip_add(net->shared, (const struct sockaddr *)&peer, limit ? limit : UINT32_MAX, &slot) ? 0
                                                                                                           : ERR_FULL;
    if (rc != 0)
        return rc;
    conn_renamed(net, c, slot);
    return 0;
}

static void told(const struct net *net, const struct conn *c, const char *event, const char *because)
{
    char text[ADDRESS_TEXT] = "unix";
    struct address a;
    (void)net;
    if (conn_peer_address(c, &a))
        address_print(&a, text, sizeof text);
    log_event(LOG_INFO, event, LOG_STR("peer", text), LOG_STR("because", because));
}

/* --- The PROXY header --------------------------------------------------------------------------------------------- */

void proxy_await(struct net *net, uint32_t idx, struct conn *c)
{
    c->state = CONN_ST_PROXY;
    conn_interest(net, idx, c);
}

/* The one that it speaks for has too many connections. Where HTTP is plain it is told so when it has asked. */
static void refuse(struct net *net, uint32_t idx, struct conn *c, int rc)
{
    count_refused(net, rc == ERR_FULL ? LIMIT_PER_IP : LIMIT_MEMORY);
    if (conn_first_state(net, c) != CONN_ST_HEAD || net->waiting == WAITING_MAX) {
        conn_finish(net, idx);
        return;
    }
    c->state = CONN_ST_HEAD;
    shared_connection_remove(net->shared);
    c->inner |= CONN_I_REFUSED;
    net->waiting++;
    c->heard = net->tick;
    conn_arm(net, idx, c);
    conn_interest(net, idx, c);
}

/* The header is off the socket, or there is none: what follows is the client's. */
static void go_on(struct net *net, uint32_t idx, struct conn *c, const struct proxy_header *h)
{
    /* Of a request the head may still name somebody. */
    bool later = !h->named && c->transport == CONN_WEBSOCKET;
    int rc = later ? 0 : rename_to(net, c, h->named ? &h->source : NULL, true);
    if (rc != 0) {
        refuse(net, idx, c, rc);
        return;
    }
    c->state = (uint8_t)conn_first_state(net, c);
    conn_arm(net, idx, c);
    conn_interest(net, idx, c);
    if (c->state == CONN_ST_OPEN)
        conn_tell_opened(net, idx, c);
}

void proxy_readable(struct net *net, uint32_t idx, uint32_t events)
{
    struct conn *c = conn_ptr(net, idx);
    struct proxy_header h;
    const char *why = NULL;
    ssize_t n = stream_peek(c->fd, net->read, PROXY_HEADER_MAX);
    if (n < 0 && errno == EAGAIN && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t size = n > 0 ? proxy_parse(net->read, (size_t)n, &h, &why) : 0;
    if (size == ERR_NOTFOUND) {
        go_on(net, idx, c, &h);
    } else if (size < 0) {
        told(net, c, "proxy.refused", why);
        conn_finish(net, idx);
    } else if (size == 0) {
        /* It is cut, or nothing ever came: a proxy looks whether the port is open. */
        if (n <= 0 || events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
            conn_finish(net, idx);
    } else if (stream_take(c->fd, net->read, (size_t)size) != size) {
        conn_finish(net, idx);
    } else {
        net->bytes_in += (uint64_t)size;
        go_on(net, idx, c, &h);
    }
}

/* --- In the head of a request ------------------------------------------------------------------------------------- */

bool proxy_http(struct net *net, uint32_t idx, struct conn *c, const struct http_head *h)
{
    struct address from, client;
    const char *why = NULL;
    if (!net->proxies.count && !net->proxies.unix_peers)
        return true;
    bool trusted = conn_address(net, c, &from) ? proxies_have(&net->proxies, &from) : net->proxies.unix_peers;
    if (!trusted)
        return true;
    int rc = proxy_forwarded(h, &net->proxies, &client, &why);
    if (rc < 0) {
        told(net, c, "proxy.refused", why);
        http_answer_text(net, idx, c, 400, why);
        return false;
    }
    rc = rename_to(net, c, rc ? &client : NULL, false);
    if (rc == 0)
        return true;
    count_refused(net, rc == ERR_FULL ? LIMIT_PER_IP : LIMIT_MEMORY);
    http_refuse(net, idx, c, 503);
    return false;
}
