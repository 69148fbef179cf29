/*
 * The yardstick: bare epoll loops that speak just enough of the protocol for magpie-bench to drive them.
 *
 * They log everybody in, have one channel, keep nothing, check nothing and forget nobody's name because they never knew
 * it. What is left is what the kernel charges for accepting, reading and sending: no server of this kind can cost less
 * in the same way of sending. Three ways:
 *
 *     each     one send(2) a message and receiver
 *     gather   one send(2) a receiver for all that one epoll_wait(2) brought together
 *     batch    one send(2) a receiver for every BATCH messages (or what there is after some time): what gathering
 *              could save at best
 *
 * With several threads each has its own epoll set, its own listening sockets and its own receivers; a message is handed
 * to the others under one lock.
 */
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/client/client_fields.h"
#include "core/client/client_ws.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, THREADS_MAX = 64, READ_BYTES = 128 * 1024, BATCH = 16, BATCH_MS = 200, IN_MAX = 64 * 1024 };
enum way { WAY_EACH, WAY_GATHER, WAY_BATCH };
enum form { FORM_TCP, FORM_WS, FORMS };

static const char *const way_names[] = {"each", "gather", "batch"};

/* One a descriptor number; all zero: not open. */
struct peer {
    struct buf in;   /* the start of a frame */
    struct buf out;  /* what the socket did not take */
    uint8_t form;    /* enum form */
    bool upgraded;   /* the HTTP request is behind us */
    bool subscribed; /* gets the channel's messages */
    bool writable;   /* waits for EPOLLOUT */
    uint32_t place;  /* in the thread's receivers */
};

/* A message on its way to the receivers, encoded for both transports. */
struct bundle {
    struct buf form[FORMS];
    struct buf ends[FORMS]; /* where each message ends: uint32_t */
    unsigned messages;
};

struct thread {
    struct world *world;
    pthread_t id;
    int epoll_fd, event_fd;
    int *receivers;      /* descriptors; owned */
    uint32_t count, cap; /* of receivers */
    struct bundle inbox; /* under world->lock */
    struct bundle now;   /* being sent */
    uint64_t since_ms;   /* batch: when the first of `now` came */
    uint8_t *read;       /* READ_BYTES */
};

struct world {
    enum way way;
    pthread_mutex_t lock; /* seq and inboxes */
    uint64_t seq;         /* of the newest message */
    _Atomic uint32_t logins;
    struct peer *peers; /* by descriptor */
    unsigned peer_count;
    int listening[FORMS][THREADS_MAX];
    struct thread threads[THREADS_MAX];
    unsigned thread_count;
};

static void die(const char *what)
{
    fprintf(stderr, "bare: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

static void interest(struct thread *t, int fd, bool writable)
{
    struct peer *p = &t->world->peers[fd];
    struct epoll_event e = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data.fd = fd};
    if (p->writable != writable && epoll_ctl(t->epoll_fd, EPOLL_CTL_MOD, fd, &e) != 0)
        die("epoll_ctl");
    p->writable = writable;
}

static void say(struct thread *t, int fd, const void *bytes, size_t n)
{
    struct peer *p = &t->world->peers[fd];
    ssize_t sent = p->out.n ? 0 : send(fd, bytes, n, MSG_NOSIGNAL);
    if (sent < 0)
        sent = 0; /* a broken one is found by reading */
    if ((size_t)sent < n) {
        buf_put(&p->out, (const char *)bytes + sent, n - (size_t)sent);
        interest(t, fd, true);
    }
}

static void go_on(struct thread *t, int fd)
{
    struct peer *p = &t->world->peers[fd];
    ssize_t n = send(fd, p->out.p, p->out.n, MSG_NOSIGNAL);
    if (n <= 0)
        return;
    memmove(p->out.p, p->out.p + n, p->out.n - (size_t)n);
    p->out.n -= (size_t)n;
    if (p->out.n == 0) {
        buf_free(&p->out);
        interest(t, fd, false);
    }
}

static void frame(struct buf *b, enum form form, uint16_t action, uint16_t seq, struct slice body)
{
    if (form == FORM_TCP) {
        buf_u32(b, (uint32_t)(8 + body.n));
    } else if (body.n + 4 < 126) {
        buf_byte(b, 0x82);
        buf_byte(b, (uint8_t)(body.n + 4));
    } else {
        buf_byte(b, 0x82);
        buf_byte(b, 126);
        buf_u16(b, (uint16_t)(body.n + 4));
    }
    buf_u16(b, action);
    buf_u16(b, seq);
    buf_slice_put(b, body);
}

static void answer(struct thread *t, int fd, uint16_t action, uint16_t seq, struct buf *body)
{
    struct buf b = BUF_INIT;
    frame(&b, (enum form)t->world->peers[fd].form, action, seq, buf_slice(body));
    say(t, fd, b.p, b.n);
    buf_free(&b);
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static void bundle_reset(struct bundle *b)
{
    for (int f = 0; f < FORMS; f++) {
        buf_reset(&b->form[f]);
        buf_reset(&b->ends[f]);
    }
    b->messages = 0;
}

/* To all receivers of this thread. */
static void deliver(struct thread *t, struct bundle *b)
{
    if (!b->messages)
        return;
    bool each = t->world->way == WAY_EACH;
    for (uint32_t i = 0; i < t->count; i++) {
        int fd = t->receivers[i];
        enum form form = (enum form)t->world->peers[fd].form;
        const char *bytes = (const char *)b->form[form].p;
        const uint32_t *ends = (const uint32_t *)(const void *)b->ends[form].p;
        if (!each) {
            say(t, fd, bytes, b->form[form].n);
            continue;
        }
        for (unsigned m = 0; m < b->messages; m++) {
            uint32_t from = m ? ends[m - 1] : 0;
            say(t, fd, bytes + from, ends[m] - from);
        }
    }
    bundle_reset(b);
}

/* What has come in from all threads goes out, if it is time. Returns ms until it will be, or -1. */
static int turn(struct thread *t)
{
    struct world *w = t->world;
    bool fresh = t->now.messages == 0;
    pthread_mutex_lock(&w->lock);
    if (fresh) {
        struct bundle spare = t->now;
        t->now = t->inbox;
        t->inbox = spare;
    }
    pthread_mutex_unlock(&w->lock);
    if (!t->now.messages)
        return -1;
    deliver(t, &t->now);
    return -1;
}

/* The batch way: whole batches only, and the rest when it has waited long enough. */
static int turn_batch(struct thread *t)
{
    struct world *w = t->world;
    pthread_mutex_lock(&w->lock);
    unsigned n = t->inbox.messages;
    pthread_mutex_unlock(&w->lock);
    uint64_t now = clock_mono_ms();
    if (!n)
        return -1;
    if (!t->since_ms)
        t->since_ms = now;
    if (n < BATCH && now < t->since_ms + BATCH_MS)
        return (int)(t->since_ms + BATCH_MS - now);
    t->since_ms = 0;
    return turn(t);
}

static void body_push(struct buf *b, uint64_t seq, struct slice content, struct slice channel)
{
    buf_printf(b, "{\"id\":\"%019llu\",\"content\":\"", (unsigned long long)seq);
    buf_slice_put(b, content);
    buf_printf(
        b, "\",\"sender\":{\"id\":\"abcdefghijklmnopqrstu\",\"name\":\"sender00\"},\"createdAt\":%llu,\"channel\":\"",
        (unsigned long long)clock_wall_ms());
    buf_slice_put(b, channel);
    buf_printf(b, "\",\"seq\":%llu}", (unsigned long long)seq);
}

static void publish(struct thread *t, struct slice content, struct slice channel, struct buf *answer_body)
{
    struct world *w = t->world;
    struct buf body = BUF_INIT;
    pthread_mutex_lock(&w->lock);
    uint64_t seq = ++w->seq;
    body_push(&body, seq, content, channel);
    for (unsigned i = 0; i < w->thread_count; i++) {
        struct thread *to = &w->threads[i];
        bool was_empty = to->inbox.messages++ == 0;
        for (int f = 0; f < FORMS; f++) {
            frame(&to->inbox.form[f], (enum form)f, 102, 0, buf_slice(&body));
            uint32_t end = (uint32_t)to->inbox.form[f].n;
            buf_put(&to->inbox.ends[f], &end, sizeof end);
        }
        if (to != t && was_empty)
            eventfd_write(to->event_fd, 1);
    }
    pthread_mutex_unlock(&w->lock);
    buf_printf(answer_body, "{\"id\":\"%019llu\",\"seq\":%llu,\"createdAt\":%llu}", (unsigned long long)seq,
               (unsigned long long)seq, (unsigned long long)clock_wall_ms());
    buf_free(&body);
}

static void receiver_add(struct thread *t, int fd)
{
    struct peer *p = &t->world->peers[fd];
    if (p->subscribed)
        return;
    if (t->count == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->receivers = realloc(t->receivers, t->cap * sizeof *t->receivers);
        if (!t->receivers)
            die("receivers");
    }
    p->subscribed = true;
    p->place = t->count;
    t->receivers[t->count++] = fd;
}

static void receiver_remove(struct thread *t, int fd)
{
    struct peer *p = &t->world->peers[fd];
    if (!p->subscribed)
        return;
    int last = t->receivers[--t->count];
    t->receivers[p->place] = last;
    t->world->peers[last].place = p->place;
    p->subscribed = false;
}

static void request(struct thread *t, int fd, uint16_t action, uint16_t seq, struct slice body)
{
    struct client_field f[] = {CLIENT_FIELD("content"), CLIENT_FIELD("channel"), CLIENT_FIELD("push"),
                               CLIENT_FIELD("name")};
    struct slice content = SLICE_NONE, channel = SLICE_NONE;
    struct buf b = BUF_INIT;
    (void)client_fields_read(body, f, 4);
    if (action == 1) {
        buf_printf(&b,
                   "{\"id\":\"user%08u\",\"name\":\"name\",\"token\":\"none\",\"inbox\":0,\"limits\":{\"frame\":65536,"
                   "\"content\":16384,\"idle\":0}}",
                   atomic_fetch_add(&t->world->logins, 1));
    } else if (action == 3) {
        if (!slice_eq(f[2].value, SLICE_LIT("\"none\"")))
            receiver_add(t, fd);
        buf_lit(&b, "{\"name\":");
        buf_slice_put(&b, f[3].value);
        buf_printf(&b, ",\"seq\":%llu,\"first\":0,\"members\":%u,\"tier\":\"small\",\"push\":\"all\"}",
                   (unsigned long long)t->world->seq, t->count);
    } else if (action == 4 && client_value_plain(f[0].value, &content) == 0 &&
               client_value_plain(f[1].value, &channel) == 0) {
        publish(t, content, channel, &b);
        if (t->world->way == WAY_EACH) {
            answer(t, fd, action, seq, &b);
            turn(t);
            buf_free(&b);
            return;
        }
    } else if (action == 9) {
        buf_printf(&b, "{\"time\":%llu}", (unsigned long long)clock_wall_ms());
    } else {
        buf_lit(&b, "{}");
    }
    answer(t, fd, action, seq, &b);
    buf_free(&b);
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static void drop(struct thread *t, int fd)
{
    struct peer *p = &t->world->peers[fd];
    receiver_remove(t, fd);
    buf_free(&p->in);
    buf_free(&p->out);
    *p = (struct peer){.form = 0};
    close(fd);
}

/* Bytes used of n; 0: not all there; -1: no more of this. */
static ssize_t step_tcp(struct thread *t, int fd, uint8_t *p, size_t n)
{
    if (n < 8)
        return 0;
    uint32_t length = load_be32(p);
    if (length < 8 || length > IN_MAX)
        return -1;
    if (n < length)
        return 0;
    request(t, fd, load_be16(p + 4), load_be16(p + 6), slice_of(p + 8, length - 8));
    return (ssize_t)length;
}

static ssize_t step_upgrade(struct thread *t, int fd, uint8_t *p, size_t n)
{
    static const char field[] = "sec-websocket-key:";
    const char *end = memmem(p, n, "\r\n\r\n", 4), *at = (const char *)p;
    if (!end)
        return n > IN_MAX ? -1 : 0;
    while (at < end && strncasecmp(at, field, sizeof field - 1) != 0) {
        at = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!at)
            return -1;
        at += 2;
    }
    at += sizeof field - 1;
    while (*at == ' ')
        at++;
    const char *stop = at;
    while (*stop != '\r' && *stop != ' ')
        stop++;
    char accept[CLIENT_WS_ACCEPT_LEN];
    client_ws_accept(slice_of(at, (size_t)(stop - at)), accept);
    struct buf b = BUF_INIT;
    buf_lit(&b,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    buf_put(&b, accept, sizeof accept);
    buf_lit(&b, "\r\n\r\n");
    say(t, fd, b.p, b.n);
    buf_free(&b);
    t->world->peers[fd].upgraded = true;
    return end + 4 - (const char *)p;
}

static ssize_t step_websocket(struct thread *t, int fd, uint8_t *p, size_t n)
{
    if (!t->world->peers[fd].upgraded)
        return step_upgrade(t, fd, p, n);
    if (n < 2)
        return 0;
    size_t length = p[1] & 0x7f, head = 2;
    if (length == 127 || !(p[1] & 0x80))
        return -1;
    if (length == 126) {
        if (n < 4)
            return 0;
        length = load_be16(p + 2);
        head = 4;
    }
    if (n < head + 4 + length)
        return 0;
    uint32_t mask;
    memcpy(&mask, p + head, sizeof mask);
    uint8_t *body = p + head + 4;
    client_ws_mask((char *)body, (char *)body, length, mask, 0);
    if ((p[0] & 0x0f) == 8)
        return -1;
    if ((p[0] & 0x0f) == 2 && length >= 4)
        request(t, fd, load_be16(body), load_be16(body + 2), slice_of(body + 4, length - 4));
    return (ssize_t)(head + 4 + length);
}

static void readable(struct thread *t, int fd)
{
    struct peer *p = &t->world->peers[fd];
    size_t kept = p->in.n, used = 0;
    if (kept)
        memcpy(t->read, p->in.p, kept);
    ssize_t n = recv(fd, t->read + kept, READ_BYTES - kept, 0);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            drop(t, fd);
        return;
    }
    size_t all = kept + (size_t)n;
    for (;;) {
        ssize_t k = p->form == FORM_TCP ? step_tcp(t, fd, t->read + used, all - used)
                                        : step_websocket(t, fd, t->read + used, all - used);
        if (k < 0) {
            drop(t, fd);
            return;
        }
        if (k == 0)
            break;
        used += (size_t)k;
    }
    if (kept)
        buf_free(&p->in);
    if (used < all)
        buf_put(&p->in, t->read + used, all - used);
}

static void accepted(struct thread *t, int listening, enum form form)
{
    int fd, one = 1;
    for (int i = 0; i < 64 && (fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; i++) {
        if ((unsigned)fd >= t->world->peer_count) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        t->world->peers[fd].form = (uint8_t)form;
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0)
            die("epoll_ctl");
    }
}

static void on_event(struct thread *t, const struct epoll_event *e)
{
    int fd = e->data.fd;
    unsigned me = (unsigned)(t - t->world->threads);
    eventfd_t count;
    for (int f = 0; f < FORMS; f++) {
        if (fd == t->world->listening[f][me]) {
            accepted(t, fd, (enum form)f);
            return;
        }
    }
    if (fd == t->event_fd) {
        eventfd_read(fd, &count);
        return;
    }
    if (e->events & EPOLLOUT)
        go_on(t, fd);
    if (e->events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        readable(t, fd);
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct epoll_event events[EVENTS];
    int wait_ms = -1;
    for (;;) {
        int n = epoll_wait(t->epoll_fd, events, EVENTS, wait_ms);
        for (int i = 0; i < n; i++)
            on_event(t, &events[i]);
        wait_ms = t->world->way == WAY_BATCH ? turn_batch(t) : turn(t);
    }
    return NULL;
}

/* --- Start -------------------------------------------------------------------------------------------------------- */

/* port 0: chosen, and told back. */
static int listen_on(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) != 0)
        die("listen");
    *port = ntohs(a.sin_port);
    return fd;
}

static void thread_init(struct world *w, unsigned i, uint16_t ports[FORMS])
{
    struct thread *t = &w->threads[i];
    t->world = w;
    t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    t->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    t->read = malloc(READ_BYTES);
    if (t->epoll_fd < 0 || t->event_fd < 0 || !t->read)
        die("start");
    struct epoll_event e = {.events = EPOLLIN, .data.fd = t->event_fd};
    if (epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, t->event_fd, &e) != 0)
        die("epoll_ctl");
    for (int f = 0; f < FORMS; f++) {
        e.data.fd = w->listening[f][i] = listen_on(&ports[f]);
        if (epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, e.data.fd, &e) != 0)
            die("epoll_ctl");
    }
}

int main(int argc, char **argv)
{
    static struct world w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint16_t ports[FORMS] = {0, 0};
    int way = -1;
    for (unsigned i = 0; argc > 1 && i < sizeof way_names / sizeof *way_names; i++)
        if (strcmp(argv[1], way_names[i]) == 0)
            way = (int)i;
    w.thread_count = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    if (way < 0 || w.thread_count < 1 || w.thread_count > THREADS_MAX) {
        fprintf(stderr, "Usage: bare each|gather|batch [THREADS]\nPrints its ports (TCP, WebSocket) and serves until "
                        "it is killed.\n");
        return 2;
    }
    w.way = (enum way)way;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    (void)!setrlimit(RLIMIT_NOFILE, &limit);
    w.peer_count = limit.rlim_max > 4000000 ? 4000000 : (unsigned)limit.rlim_max;
    w.peers = calloc(w.peer_count, sizeof *w.peers);
    if (!w.peers)
        die("peers");
    for (unsigned i = 0; i < w.thread_count; i++)
        thread_init(&w, i, ports);
    printf("%u %u\n", ports[FORM_TCP], ports[FORM_WS]);
    fflush(stdout);
    for (unsigned i = 1; i < w.thread_count; i++)
        if (pthread_create(&w.threads[i].id, NULL, thread_main, &w.threads[i]) != 0)
            die("pthread_create");
    thread_main(&w.threads[0]);
    return 0;
}
