#include "storage/redis/client/link.h"

#include "core/base/container.h"
#include "core/base/log.h"
#include "storage/redis/client/broken.h"
#include "storage/redis/io.h"
#include "storage/redis/redis_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_readable(struct ev_loop *loop, ev_io *w, int events);
static void on_writable(struct ev_loop *loop, ev_io *w, int events);

void redis_link_init(struct link *l, struct redis *r, const struct link_events *events)
{
    *l = (struct link){.r = r, .events = events, .fd = -1, .oldest = UINT64_MAX};
    ev_init(&l->readable, on_readable);
    ev_init(&l->writable, on_writable);
}

/* With SO_LINGER 0 a close resets: what was given up must not be delivered and done later. */
static void redis_link_close(struct link *l)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (l->fd < 0)
        return;
    ev_io_stop(l->r->loop, &l->readable);
    ev_io_stop(l->r->loop, &l->writable);
    setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(l->fd);
    l->fd = -1;
}

void redis_link_fini(struct link *l)
{
    redis_link_close(l);
    l->state = LINK_DOWN;
    resp_fini(&l->in);
    buf_free(&l->out);
}

void redis_link_end(struct link *l, const char *why)
{
    if (l->state == LINK_DOWN)
        return;
    log_event(LOG_DEBUG, "cluster.link_ended", LOG_STR("host", l->host), LOG_INT("port", l->port), LOG_STR("why", why));
    redis_link_close(l);
    l->state = LINK_DOWN;
    l->events->lost(l);
    resp_fini(&l->in);
    buf_reset(&l->out);
    l->own = l->awaited = 0;
}

/* --- Connecting --- */

/* numeric address → socket address; 0 when it is none. */
static socklen_t address_of(const char *host, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        return sizeof *four;
    }
    if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        return sizeof *six;
    }
    return 0;
}

/* Says who we are, and asks for the first sign of life. */
static void link_greet(struct link *l)
{
    const struct redis_login *login = &l->r->login;
    l->state = LINK_GREETING;
    l->heard = l->asked = l->r->turn_ms;
    if (login->password) {
        struct slice auth[3] = {SLICE_LIT("AUTH"), slice_str(login->username), slice_str(login->password)};
        if (!login->username)
            auth[1] = auth[2];
        resp_command(&l->out, auth, login->username ? 3 : 2);
        l->own++;
    }
    resp_command(&l->out, (struct slice[]){SLICE_LIT("TIME")}, 1);
    l->own++;
    redis_link_flush(l);
}

void redis_link_open(struct link *l, const char *host, uint16_t port)
{
    struct sockaddr_storage address;
    socklen_t size = address_of(host, port, &address);
    int one = 1;
    if (l->state != LINK_DOWN || (l->opened && l->r->turn_ms - l->opened < LINK_AGAIN))
        return;
    l->opened = l->heard = l->asked = l->r->turn_ms;
    snprintf(l->host, sizeof l->host, "%s", host);
    l->port = port;
    buf_reset(&l->out);
    l->out_sent = l->sent = 0;
    l->own = l->awaited = 0;
    l->oldest = UINT64_MAX;
    if (!size || resp_init(&l->in))
        return;
    l->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0) {
        resp_fini(&l->in);
        return;
    }
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    ev_io_set(&l->readable, l->fd, EV_READ);
    ev_io_set(&l->writable, l->fd, EV_WRITE);
    l->state = LINK_CONNECTING;
    if (connect(l->fd, (struct sockaddr *)&address, size) == 0 || errno == EINPROGRESS)
        ev_io_start(l->r->loop, &l->writable);
    else
        redis_link_end(l, "refused");
}

/* --- Sending --- */

void redis_link_sent(struct link *l, uint32_t replies)
{
    if (!l->awaited)
        l->asked = l->r->turn_ms;
    l->awaited += replies;
}

void redis_link_flush(struct link *l)
{
    if (l->state < LINK_GREETING || l->out_sent == l->out.n)
        return;
    if (l->out.oom) {
        redis_link_end(l, "out of memory");
        return;
    }
    /* The loop may have stood still since the calls were put here: nothing that old is sent. */
    if (l->oldest != UINT64_MAX && redis_io_clock(l->r) > l->oldest + l->r->options.cluster.patience_ms) {
        redis_link_end(l, "its calls are too old");
        return;
    }
    ssize_t n = send(l->fd, l->out.p + l->out_sent, l->out.n - l->out_sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        redis_link_end(l, "cannot be written to");
        return;
    }
    l->out_sent += n > 0 ? (size_t)n : 0;
    if (l->out_sent == l->out.n) {
        l->sent += l->out_sent;
        l->out_sent = 0;
        if (l->out.cap > RESP_KEEP)
            buf_free(&l->out);
        buf_reset(&l->out);
        ev_io_stop(l->r->loop, &l->writable);
    } else {
        ev_io_start(l->r->loop, &l->writable);
    }
}

static void on_writable(struct ev_loop *loop, ev_io *w, int events)
{
    struct link *l = CONTAINER_OF(w, struct link, writable);
    int error = 0;
    socklen_t size = sizeof error;
    (void)events;
    if (l->state != LINK_CONNECTING) {
        redis_link_flush(l);
        return;
    }
    getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        redis_link_end(l, "refused");
        return;
    }
    ev_io_stop(loop, w);
    ev_io_start(loop, &l->readable);
    link_greet(l);
}

/* --- Receiving --- */

/* A reply to the greeting or to TIME. */
static void own_reply(struct link *l, const struct reply *reply)
{
    l->own--;
    if (reply->type == REPLY_ERROR) {
        log_event(LOG_WARN, "cluster.refused", LOG_STR("host", l->host), LOG_INT("port", l->port),
                  LOG_SLICE("error", reply->text));
        redis_link_end(l, "it refuses us");
    } else if (l->state == LINK_GREETING && !l->own) {
        l->state = LINK_READY;
        l->events->ready(l);
    }
}

/* What it says is no reply of Redis, or endless. */
static void link_garbled(struct link *l, const char *why)
{
    broken_reply(l->r, l, why);
    redis_link_end(l, why);
}

/* Hands over what has come. */
static void link_replies(struct link *l)
{
    const struct reply *reply;
    while (l->state != LINK_DOWN) {
        int r = resp_next(&l->in, &reply);
        if (r == ERR_NOMEM)
            link_garbled(l, "its replies are too large");
        else if (r < 0)
            link_garbled(l, "what it says is not Redis's protocol");
        if (r <= 0)
            return;
        if (l->own) {
            own_reply(l, reply);
        } else if (l->pushes) {
            l->events->reply(l, reply);
        } else if (l->awaited) {
            l->awaited--;
            l->asked = l->r->turn_ms;
            l->events->reply(l, reply);
        } else {
            redis_link_end(l, "it says what nobody asked for");
        }
    }
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct link *l = CONTAINER_OF(w, struct link, readable);
    (void)loop, (void)events;
    ssize_t n = recv(l->fd, l->r->input, LINK_READ_SIZE, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        redis_link_end(l, n ? strerror(errno) : "closed by the other side");
        return;
    }
    uint64_t since = l->asked > l->heard ? l->asked : l->heard;
    if (l->r->turn_ms > since + LINK_SILENCE && l->own + l->awaited) {
        redis_link_end(l, "its reply is too late");
        return;
    }
    l->heard = l->r->turn_ms;
    if (resp_feed(&l->in, l->r->input, (size_t)n))
        link_garbled(l, "its reply is too large");
    else
        link_replies(l);
}

void redis_link_forget(struct link *l)
{
    if (l->state != LINK_DOWN)
        resp_forget(&l->in);
}

/* --- Silence --- */

void redis_link_tick(struct link *l)
{
    uint64_t now = l->r->turn_ms;
    uint64_t since = l->asked > l->heard && l->own + l->awaited ? l->asked : l->heard;
    if (l->state == LINK_DOWN)
        return;
    if (now > since + (l->silence && l->state == LINK_READY ? l->silence : LINK_SILENCE)) {
        redis_link_end(l, "silent");
    } else if (l->state == LINK_READY && !l->pushes && !l->own && !l->awaited && now >= l->heard + LINK_PING) {
        resp_command(&l->out, (struct slice[]){SLICE_LIT("TIME")}, 1);
        l->own = 1;
        redis_link_flush(l);
    } else {
        redis_link_flush(l);
    }
}
