/* One connection: connecting, reading, writing, ending. See client.h. */
#include "core/client/client_conn.h"

#include "core/base/clock.h"
#include "core/client/client_frame.h"
#include "core/client/client_pending.h"
#include "core/client/client_private.h"
#include "core/client/client_tls.h"
#include "core/client/client_ws.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    CHUNK_MIN = 512,                   /* bytes of the smallest output buffer */
    CHUNK_SPARE = CLIENT_TLS_READ_MIN, /* room in the read buffer beyond a known frame */
    READS_MAX = 16                     /* full read buffers of one connection before the others' turn */
};

/* Edges: the kernel need not look again at every connection that was just read, and writing needs no calls to ask for
 * room. */
#define INTEREST (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

void *client_conn_user(const struct client_conn *conn)
{
    return conn->user;
}
uint32_t client_conn_pending(const struct client_conn *conn)
{
    return conn->pending ? conn->pending->used : 0;
}

/* ---- ending ---- */

static void conn_fragment_free(struct client_conn *conn)
{
    if (conn->ws.fragment && conn->state == CLIENT_OPEN)
        buf_free(conn->ws.fragment);
    free(conn->ws.fragment); /* or the accept string, which is the same pointer */
    conn->ws.fragment = NULL;
}

/* Gives back everything but the struct itself, which lives on until the list is walked. */
static void conn_end(struct client_conn *conn)
{
    struct client_pending *pending = conn->pending;

    conn_fragment_free(conn);
    conn->state = CLIENT_GONE;
    client_tls_end(conn);
    close(conn->fd);
    conn->fd = -1;
    free(conn->in);
    free(conn->out);
    conn->in = conn->out = NULL;
    conn->pending = NULL;
    conn->client->count--;
    client_list(conn->client, conn);
    for (uint32_t i = 0; pending && i < pending->size; i++) {
        struct client_slot *slot = &pending->slots[i];
        if (slot->seq && slot->answer)
            slot->answer(conn, slot->arg, ERR_CLOSED, SLICE_NONE);
    }
    free(pending);
}

void client_conn_fail(struct client_conn *conn, int code, const char *why)
{
    conn_end(conn);
    if (conn->handlers->close)
        conn->handlers->close(conn, conn->user, code, why);
}

void client_conn_close(struct client_conn *conn)
{
    if (conn->state != CLIENT_GONE)
        conn_end(conn);
}

/* ---- writing ---- */

char *client_conn_room(struct client_conn *conn, size_t n)
{
    struct client_chunk *out = conn->out;
    size_t used = out ? out->n : 0;

    if (n > CLIENT_BACKLOG_MAX || used + n > CLIENT_BACKLOG_MAX)
        return NULL;
    if (!out || used + n > out->cap) {
        size_t cap = out ? (size_t)out->cap * 2 : CHUNK_MIN;
        while (cap < used + n)
            cap *= 2;
        out = realloc(conn->out, sizeof(*out) + cap);
        if (!out)
            return NULL;
        if (!conn->out)
            out->n = out->at = 0;
        out->cap = (uint32_t)cap;
        conn->out = out;
    }
    out->n += (uint32_t)n;
    client_list(conn->client, conn);
    return out->data + used;
}

void client_conn_write(struct client_conn *conn)
{
    struct client_chunk *out = conn->out;

    if (!out || conn->state <= CLIENT_SHAKING)
        return;
    ssize_t n = client_tls_send(conn, out->data + out->at, out->n - out->at);
    bool lost = n < 0 && (errno == EPIPE || errno == ECONNRESET);
    if (n < 0 && !lost && errno != EAGAIN && errno != EINTR) {
        client_conn_fail(conn, ERR_IO, strerror(errno));
        return;
    }
    out->at += n > 0 ? (uint32_t)n : 0;
    /* When the other side is gone, what it said last (why, perhaps) may still wait: reading finds out, after that. */
    if (lost || out->at == out->n) {
        free(out);
        conn->out = NULL;
        return;
    }
    /* The rest goes when the socket has room: that is an edge, but where TLS has taken a record of it only. */
    if (n > 0 && client_tls_has(conn))
        client_list(conn->client, conn);
    if (out->at > out->n / 2) {
        memmove(out->data, out->data + out->at, out->n - out->at);
        out->n -= out->at;
        out->at = 0;
    }
}

/* ---- reading ---- */

/* Keeps the start of a frame until more of it comes, and sees to it that all of it will fit the read buffer. */
static int rest_keep(struct client_conn *conn, struct slice rest, size_t need)
{
    struct client *client = conn->client;

    conn->in = malloc(sizeof(*conn->in) + rest.n);
    if (!conn->in)
        return ERR_NOMEM;
    conn->in->n = conn->in->cap = (uint32_t)rest.n;
    conn->in->at = 0;
    memcpy(conn->in->data, rest.p, rest.n);
    if (need + CHUNK_SPARE > client->read_cap) {
        char *grown = malloc(need + CHUNK_SPARE);
        if (!grown)
            return ERR_NOMEM;
        free(client->read_buf);
        client->read_buf = grown;
        client->read_cap = need + CHUNK_SPARE;
    }
    return 0;
}

/* One read; false when there is nothing more to read for now. */
static bool conn_read_once(struct client_conn *conn)
{
    struct client *client = conn->client;
    size_t kept = conn->in ? conn->in->n : 0;
    size_t room = client->read_cap - kept;
    size_t need = 0;
    bool more = false;
    ssize_t n = client_tls_recv(conn, client->read_buf + kept, room, &more);

    if (n <= 0) {
        if (n == 0)
            client_conn_fail(conn, ERR_CLOSED, "closed by the server");
        else if (errno != EAGAIN && errno != EINTR)
            client_conn_fail(conn, ERR_IO, strerror(errno));
        return n < 0 && errno == EINTR;
    }
    client->read_us = clock_mono_us();
    if (kept) {
        memcpy(client->read_buf, conn->in->data, kept);
        free(conn->in);
        conn->in = NULL;
    }
    struct slice bytes = slice_of(client->read_buf, kept + (size_t)n);
    size_t used = client_frame_feed(conn, bytes, &need);
    if (conn->state != CLIENT_GONE && used < bytes.n &&
        rest_keep(conn, slice_of(bytes.p + used, bytes.n - used), need) < 0)
        client_conn_fail(conn, ERR_NOMEM, err_str(ERR_NOMEM));
    return more && !conn->deaf;
}

/*
 * Reads after an edge. A read that does not fill the buffer has emptied the socket, and what comes later is a new edge:
 * no second call to find that out. Only the end of the stream has no edge of its own when it came together with the
 * last bytes; then `ended` is set.
 */
static void conn_read(struct client_conn *conn, bool ended)
{
    for (int i = 0; i < READS_MAX; i++) {
        bool more = conn_read_once(conn);
        if (conn->state == CLIENT_GONE || conn->deaf || !(more || ended))
            return;
    }
    /* Others have their turn first: setting the same interest again makes a new edge if there is more. */
    struct epoll_event event = {.events = INTEREST, .data.ptr = conn};
    if (epoll_ctl(conn->client->epoll_fd, EPOLL_CTL_MOD, conn->fd, &event) < 0)
        client_conn_fail(conn, ERR_IO, strerror(errno));
}

void client_conn_deafen(struct client_conn *conn)
{
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.ptr = conn};

    conn->deaf = true;
    if (conn->state != CLIENT_GONE)
        (void)epoll_ctl(conn->client->epoll_fd, EPOLL_CTL_MOD, conn->fd, &event); /* else it is told in vain */
}

/* ---- connecting ---- */

/* A socket on its way to the target; -1 and errno. */
static int socket_open(const struct client_target *target)
{
    int family = target->address.ss_family;
    int one = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* we gather ourselves */
    if (target->receive_buffer)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &target->receive_buffer, sizeof(target->receive_buffer));
    if (family == AF_INET && target->source) {
        struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = target->source};
        /* The port is then chosen by connect(), where it need only be unique together with the target. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
        if (bind(fd, (const struct sockaddr *)&source, sizeof(source)) < 0)
            goto fail;
    }
    if (connect(fd, (const struct sockaddr *)&target->address, target->address_len) < 0 && errno != EINPROGRESS &&
        errno != EINTR)
        goto fail;
    return fd;

fail:;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Queues the upgrade request; it is written once connected. */
static int upgrade_start(struct client_conn *conn, const struct client_target *target)
{
    struct buf *request = client_body(conn->client);

    conn->websocket = true;
    conn->ws.accept = malloc(CLIENT_WS_ACCEPT_LEN);
    if (!conn->ws.accept)
        return ERR_NOMEM;
    client_ws_request(request, target->host, target->path, conn->ws.accept);
    char *room = buf_ok(request) ? client_conn_room(conn, request->n) : NULL;
    if (!room)
        return ERR_NOMEM;
    memcpy(room, request->p, request->n);
    return 0;
}

struct client_conn *client_conn_open(struct client *client, const struct client_target *target,
                                     const struct client_handlers *handlers, void *user)
{
    struct client_conn *conn = calloc(1, sizeof(*conn));
    struct epoll_event event = {.events = INTEREST, .data.ptr = conn};

    if (!conn)
        return NULL;
    conn->client = client;
    conn->user = user;
    conn->handlers = handlers;
    conn->state = CLIENT_CONNECTING;
    conn->fd = socket_open(target);
    if (conn->fd < 0) {
        free(conn);
        return NULL;
    }
    client->count++;
    if (epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0)
        goto fail;
    if ((target->tls && client_tls_start(conn, target->name) < 0) ||
        (target->transport == CLIENT_WEBSOCKET && upgrade_start(conn, target) < 0)) {
        errno = ENOMEM;
        goto fail;
    }
    return conn;

fail:;
    int error = errno;
    conn_end(conn); /* frees it later: it may be listed */
    errno = error;
    return NULL;
}

/* Connected, and by TLS as well where that is wanted. */
static void conn_ready(struct client_conn *conn)
{
    if (conn->websocket) {
        conn->state = CLIENT_UPGRADING;
        client_list(conn->client, conn); /* the upgrade's request waits to be written */
        return;
    }
    conn->state = CLIENT_OPEN;
    if (conn->handlers->open)
        conn->handlers->open(conn, conn->user);
}

static void conn_shake(struct client_conn *conn)
{
    const char *why = "";
    int rc = client_tls_shake(conn, &why);
    if (rc == 0)
        conn_ready(conn);
    else if (rc != ERR_AGAIN)
        client_conn_fail(conn, ERR_IO, why);
}

static void conn_connected(struct client_conn *conn)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error) {
        client_conn_fail(conn, ERR_IO, strerror(error));
        return;
    }
    if (client_tls_has(conn))
        conn->state = CLIENT_SHAKING;
    else
        conn_ready(conn);
}

void client_conn_event(struct client_conn *conn, uint32_t events)
{
    bool ended = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

    if (conn->state == CLIENT_CONNECTING)
        conn_connected(conn);
    else if (conn->state > CLIENT_SHAKING && conn->state != CLIENT_GONE && (events & EPOLLOUT))
        client_conn_write(conn);
    if (conn->state == CLIENT_SHAKING)
        conn_shake(conn);
    if (conn->state == CLIENT_GONE || conn->state == CLIENT_SHAKING)
        return;
    if (conn->deaf) {
        if (events & (EPOLLHUP | EPOLLERR))
            client_conn_fail(conn, ERR_IO, "reset by the server");
    } else if (ended || (events & EPOLLIN)) {
        conn_read(conn, ended);
    }
}
