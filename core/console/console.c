#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/console/cmd_top.h"
#include "core/console/console_order.h"
#include "core/console/console_peer.h"
#include "core/console/console_private.h"
#include "core/console/remote.h"
#include "core/net/listener.h"
#include "core/net/tls/context.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define COMMANDS_ROW(name) name##_register,

/* --- Accepting ---------------------------------------------------------------------------------------------------- */

/* Who is at the other end: for logs, and for counting wrong passwords. */
static void name_peer(int fd, char *ip, size_t ip_size, char *who, size_t who_size)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } a;
    socklen_t n = sizeof a;
    memset(&a, 0, sizeof a);
    snprintf(ip, ip_size, "?");
    if (getpeername(fd, &a.any, &n) == 0 && a.any.sa_family == AF_UNIX) {
        struct ucred cred = {.pid = 0};
        socklen_t size = sizeof cred;
        (void)!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size);
        snprintf(ip, ip_size, "unix");
        snprintf(who, who_size, "unix uid %u pid %d", (unsigned)cred.uid, (int)cred.pid);
        return;
    }
    bool v6 = a.any.sa_family == AF_INET6;
    inet_ntop(a.any.sa_family, v6 ? (const void *)&a.v6.sin6_addr : (const void *)&a.v4.sin_addr, ip,
              (socklen_t)ip_size);
    snprintf(who, who_size, v6 ? "[%s]:%u" : "%s:%u", ip, ntohs(v6 ? a.v6.sin6_port : a.v4.sin_port));
}

/*
 * libev's tables are as long as the largest descriptor that a loop watches, and never get shorter: where a million
 * clients are connected, the one who looks at the console would cost 16 MiB for ever. So some small descriptors are
 * taken early.
 */
static void spares_take(struct console *c)
{
    c->blank = eventfd(0, EFD_CLOEXEC);
    while (c->blank >= 0 && c->spare_count < SPARES) {
        int fd = fcntl(c->blank, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return; /* then fewer */
        c->spares[c->spare_count++] = fd;
    }
}

/* The connection under a small descriptor, where one is left; *spare says so. */
static int spare_use(struct console *c, int fd, bool *spare)
{
    int small = c->spare_count ? c->spares[c->spare_count - 1] : fd;
    *spare = small < fd && dup3(fd, small, O_CLOEXEC) == small;
    if (!*spare)
        return fd;
    c->spare_count--;
    close(fd);
    return small;
}

void console_close(struct console *c, int fd, bool spare)
{
    if (spare && dup3(c->blank, fd, O_CLOEXEC) == fd) /* which closes what was there */
        c->spares[c->spare_count++] = fd;
    else
        close(fd);
}

static void spares_free(struct console *c)
{
    while (c->spare_count)
        close(c->spares[--c->spare_count]);
    if (c->blank >= 0)
        close(c->blank);
}

static void refuse(int fd, bool tls)
{
    static const char text[] = "ERR quota too many connections to the console\n.\n";
    if (!tls)
        (void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void accept_one(struct console *c, int fd, bool tls)
{
    char ip[64], who[128];
    if (c->count >= CONSOLES_MAX && !peer_make_room(c)) {
        refuse(fd, tls);
        return;
    }
    bool spare;
    name_peer(fd, ip, sizeof ip, who, sizeof who);
    fd = spare_use(c, fd, &spare);
    struct console_peer *p = peer_new(c, fd, spare, tls, ip, who);
    if (!p) {
        console_close(c, fd, spare);
        return;
    }
    log_event(LOG_DEBUG, "console.open", LOG_STR("who", who));
}

static void on_accept(struct ev_loop *loop, ev_io *w, int events)
{
    struct console *c = w->data;
    (void)events;
    for (;;) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_one(c, fd, c->accept_tls[w - c->accept]);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) { /* out of descriptors: try again in a second, not at once */
            for (unsigned i = 0; i < c->listener_count; i++)
                ev_io_stop(loop, &c->accept[i]);
            ev_timer_set(&c->retry, 1., 0.);
            ev_timer_start(loop, &c->retry);
        }
        return;
    }
}

static void on_retry(struct ev_loop *loop, ev_timer *w, int events)
{
    struct console *c = w->data;
    (void)events;
    for (unsigned i = 0; i < c->listener_count; i++)
        ev_io_start(loop, &c->accept[i]);
}

static void on_sweep(struct ev_loop *loop, ev_timer *w, int events)
{
    struct console *c = w->data;
    (void)loop, (void)events;
    struct console_peer *next;
    top_sample(c);
    remote_check(c);
    for (struct console_peer *p = c->first; p; p = next) {
        next = p->next;
        peer_check(p, clock_mono_ms());
    }
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static void call_ended(struct command_call *c, const char *code, const char *message)
{
    struct console_call *k = (struct console_call *)c;
    if (k->sink)
        k->sink->end(k, code, message);
    else if (k->order)
        order_end(c, code, message);
    else
        peer_end(c, code, message);
}

static void call_goes_on(struct command_call *c, void (*resume)(struct command_call *c))
{
    struct console_call *k = (struct console_call *)c;
    if (k->sink)
        k->sink->more(k, resume);
    else if (k->order)
        order_more(c, resume);
    else
        peer_more(c, resume);
}

struct console *console_new(struct ev_loop *loop, struct hub *hub)
{
    struct console *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->loop = loop;
    c->hub = hub;
    c->state = "serving";
    c->began_ms = clock_mono_ms();
    ev_init(&c->retry, on_retry);
    ev_timer_init(&c->sweep, on_sweep, 1., 1.);
    c->retry.data = c->sweep.data = c;
    commands_set_sink(hub, &(struct command_sink){.ctx = c,
                                                  .end = call_ended,
                                                  .more = call_goes_on,
                                                  .order = order_begin,
                                                  .password = auth_password,
                                                  .password_number = auth_password_number});
    static int (*const parts[])(struct console *) = {COMMANDS(COMMANDS_ROW)};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i](c) != 0) {
            free(c);
            return NULL;
        }
    }
    remote_begin(c);
    spares_take(c);
    ev_timer_start(loop, &c->sweep);
    ev_unref(loop); /* it is no reason to stay */
    return c;
}

int console_listen(struct console *c, const struct listener *l)
{
    if (c->listener_count == LISTENERS_MAX || l->count == 0)
        return ERR_FULL;
    c->accept_tls[c->listener_count] = l->tls;
    ev_io *io = &c->accept[c->listener_count++];
    ev_io_init(io, on_accept, l->fds[0], EV_READ);
    io->data = c;
    ev_io_start(c->loop, io);
    return 0;
}

void console_set_tls(struct console *c, struct tls_context *context)
{
    tls_context_unref(c->tls);
    c->tls = context;
}

void console_set_state(struct console *c, const char *state)
{
    c->state = state;
}

int console_set_place(struct console *c, const struct console_place *place)
{
    struct buf b = BUF_INIT;
    buf_lit(&b, ",\"config\":");
    buf_json_string(&b, slice_str(place->config));
    buf_lit(&b, ",\"data\":");
    buf_json_string(&b, slice_str(place->data));
    buf_lit(&b, ",\"listen\":[");
    for (const char *const *l = place->listeners; *l; l++) {
        buf_str(&b, l == place->listeners ? "" : ",");
        buf_json_string(&b, slice_str(*l));
    }
    buf_byte(&b, ']');
    buf_byte(&b, '\0');
    char *text = buf_ok(&b) ? strdup(b.p) : NULL;
    buf_free(&b);
    if (!text)
        return ERR_NOMEM;
    free(c->place);
    c->place = text;
    return 0;
}

void console_stop(struct console *c)
{
    if (!c || c->stopping)
        return;
    c->stopping = true;
    for (unsigned i = 0; i < c->listener_count; i++)
        ev_io_stop(c->loop, &c->accept[i]);
    ev_timer_stop(c->loop, &c->retry);
    ev_ref(c->loop);
    ev_timer_stop(c->loop, &c->sweep);
    while (c->first)
        peer_close(c->first);
    orders_stop(c);
    remote_stop(c);
}

bool console_busy(const struct console *c)
{
    return c && (c->calls > 0 || c->far);
}

void console_free(struct console *c)
{
    if (!c)
        return;
    console_stop(c);
    ASSERT(c->calls == 0);
    spares_free(c);
    tls_context_unref(c->tls);
    free(c->place);
    free(c);
}
