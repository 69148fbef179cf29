/* Accepting, its limits, and what to do when descriptors run out. */
#include "core/net/accept.h"

#include "core/base/log.h"
#include "core/base/random.h"
#include "core/net/accept_private.h"
#include "core/net/conn_private.h"
#include "core/net/counts_private.h"
#include "core/net/net.h"
#include "core/net/net_private.h"
#include "core/net/net_shared.h"
#include "core/net/net_shared_private.h"
#include "core/net/proxy_conn_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Descriptors left to the store, the console and the logs. */
enum { FD_RESERVE_MIN = 4, FD_RESERVE_MAX = 640 };
/* It rests many times while they are short, and says so once in that many seconds. */
enum { REST_TOLD_TICKS = 10 };

void accept_options(const struct net *net, int fd)
{
    int on = 1, domain = AF_UNSPEC;
    socklen_t n = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) != 0 || (domain != AF_INET && domain != AF_INET6))
        return;
    /* Accepted sockets inherit all of these, which saves four system calls a connection. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!net->limits.idle_timeout)
        return;
    int idle = net->limits.idle_timeout > 32767 ? 32767 : (int)net->limits.idle_timeout;
    int interval = idle / 4 > 0 ? idle / 4 : 1, count = 4;
    if (interval > 75)
        interval = 75;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static int listening_add(struct net *net, unsigned i)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = i};
    return epoll_ctl(net->epoll_fd, EPOLL_CTL_ADD, net->listening[i].fd, &e) == 0 || errno == EEXIST ? 0 : ERR_IO;
}

int net_listen(struct net *net, int fd, enum conn_transport transport, unsigned stream)
{
    if (net->listening_count == LISTEN_MAX)
        return ERR_FULL;
    if (stream >= STREAM_ROWS || !net->streams[stream])
        return ERR_INVALID;
    unsigned i = net->listening_count;
    net->listening[i] =
        (struct listening){.fd = fd,
                           .transport = (uint8_t)(transport == CONN_METRICS ? CONN_WEBSOCKET : transport),
                           .stream = (uint8_t)stream,
                           .metrics = transport == CONN_METRICS};
    accept_options(net, fd);
    if (listening_add(net, i) != 0)
        return ERR_IO;
    net->listening_count++;
    net->accepting = true;
    return 0;
}

void accept_start(struct net *net)
{
    net->accepting = true;
    for (unsigned i = 0; i < net->listening_count; i++)
        if (listening_add(net, i) != 0)
            net->accepting = false;
    if (!net->accepting) {
        ev_timer_set(&net->retry, 0.2, 0.);
        ev_timer_start(net->loop, &net->retry);
    }
}

void accept_stop(struct net *net)
{
    net->accepting = false;
    for (unsigned i = 0; i < net->listening_count; i++)
        epoll_ctl(net->epoll_fd, EPOLL_CTL_DEL, net->listening[i].fd, NULL);
}

void net_stop_listening(struct net *net)
{
    accept_stop(net);
    net->listening_count = 0;
    ev_timer_stop(net->loop, &net->retry);
}

/* Out of descriptors or memory: those who knock wait in the backlog for a moment. */
static void rest(struct net *net, int error)
{
    if (!net->rest_told || net->tick + 1 - net->rest_told >= REST_TOLD_TICKS) {
        net->rest_told = net->tick + 1;
        log_event(LOG_WARN, "accept.paused", LOG_STR("because", strerror(error)),
                  LOG_INT("connections", net_count(net)));
    }
    accept_stop(net);
    net->fd_ceiling = -1;
    ev_timer_set(&net->retry, 0.1 + random_below(100) / 1000., 0.);
    ev_timer_start(net->loop, &net->retry);
}

/* The limit may have been changed from outside (prlimit), so it is read anew after each rest. */
static int fd_ceiling(struct net *net)
{
    struct rlimit r;
    if (net->fd_ceiling < 0 && getrlimit(RLIMIT_NOFILE, &r) == 0) {
        rlim_t limit = r.rlim_cur > INT32_MAX ? INT32_MAX : r.rlim_cur, reserve = limit / 16;
        reserve = reserve > FD_RESERVE_MAX ? FD_RESERVE_MAX : reserve < FD_RESERVE_MIN ? FD_RESERVE_MIN : reserve;
        net->fd_ceiling = limit > reserve ? (int)(limit - reserve) : 0;
    }
    return net->fd_ceiling;
}

/* Over a cap. A TCP client is told nothing; a WebSocket client gets a 503 once its request is read, or without waiting
 * for it when too many do. */
static void refuse(struct net *net, int fd, const struct listening *l)
{
    static const char busy[] =
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";
    const struct stream *stream = net->streams[l->stream];
    if (l->transport == CONN_WEBSOCKET && !stream->hear) {
        uint32_t idx = net->waiting < WAITING_MAX ? conn_new(net, fd, CONN_WEBSOCKET, l->stream) : CONN_NONE;
        if (idx != CONN_NONE) {
            struct conn *c = conn_ptr(net, idx);
            c->inner |= CONN_I_REFUSED;
            net->waiting++;
            conn_arm(net, idx, c);
            return;
        }
        (void)!stream->send(stream, fd, busy, sizeof busy - 1, NULL);
    }
    stream->close(stream, fd);
}

static void admit(struct net *net, int fd, const struct listening *l, const struct sockaddr *a)
{
    bool proxy = proxy_trusts(net, a);
    /* Who watches over the server must get in when it is full. */
    uint32_t most = l->metrics ? 0 : net->limits.connections;
    uint32_t slot = IP_SLOT_NONE;
    if (!shared_connection_add(net->shared, most)) {
        count_refused(net, LIMIT_CONNECTIONS);
        refuse(net, fd, l);
        return;
    }
    /* Whom a proxy speaks for is known later. */
    if (!proxy && !l->metrics && net->limits.connections_per_ip &&
        !shared_ip_add(net->shared, a, net->limits.connections_per_ip, &slot)) {
        count_refused(net, LIMIT_PER_IP);
        shared_connection_remove(net->shared);
        refuse(net, fd, l);
        return;
    }
    uint32_t idx = conn_new(net, fd, (enum conn_transport)l->transport, l->stream);
    if (idx == CONN_NONE) {
        count_refused(net, LIMIT_MEMORY);
        shared_connection_remove(net->shared);
        shared_ip_remove(net->shared, slot);
        net->streams[l->stream]->close(net->streams[l->stream], fd);
        return;
    }
    struct conn *c = conn_ptr(net, idx);
    c->ip_slot = slot;
    if (l->metrics)
        c->flags |= CONN_F_METRICS;
    if (proxy)
        proxy_await(net, idx, c);
    conn_arm(net, idx, c);
    if (c->state == CONN_ST_OPEN)
        conn_tell_opened(net, idx, c);
}

void accept_ready(struct net *net, unsigned listening)
{
    for (int i = 0; i < ACCEPT_BATCH && net->accepting && listening < net->listening_count; i++) {
        struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
        socklen_t n = sizeof a;
        bool name = net->limits.connections_per_ip != 0 || net->proxies.count || net->proxies.unix_peers;
        int fd = accept4(net->listening[listening].fd, name ? (struct sockaddr *)&a : NULL, name ? &n : NULL,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                rest(net, errno);
            if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO)
                continue;
            return;
        }
        if (fd >= fd_ceiling(net)) {
            count_refused(net, LIMIT_DESCRIPTORS);
            close(fd);
            rest(net, EMFILE);
            return;
        }
        admit(net, fd, &net->listening[listening], (const struct sockaddr *)&a);
    }
}
