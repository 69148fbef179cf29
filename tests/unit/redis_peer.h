/*
 * Fake processes of a Redis Cluster, which do what a test says, and an engine without its thread: both on one loop,
 * with a clock that the test turns. Included by test_redis_*.c alone.
 */
#ifndef MAGPIE_TESTS_REDIS_PEER_H
#define MAGPIE_TESTS_REDIS_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/container.h"
#include "core/base/log.h"
#include "storage/redis/client/group.h"
#include "storage/redis/io.h"
#include "storage/redis/redis_private.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEER_CONNS = 64, PEER_LOG = 16384, PEERS = 3 };

struct peer;

struct peer_conn {
    struct peer *peer;
    int fd; /* -1: free */
    bool greeted;
    bool ear; /* it has subscribed to something */
    struct ev_io readable;
    struct resp in;
    size_t got, gave; /* bytes since the greeting */
    struct buf out;   /* what is to be said, where it is said in pieces */
};

/* Answers a command in *out; false: as a peer does by itself. */
typedef bool peer_answer_fn(struct peer *p, const struct reply *command, struct buf *out);

struct peer {
    struct ev_loop *loop;
    int listener;
    uint16_t port;
    char id[41];
    struct ev_io acceptable;
    struct peer_conn conns[PEER_CONNS];
    peer_answer_fn *answer;
    char nodes[4096]; /* what CLUSTER NODES says */
    int waits[64];    /* what the next WAITs return; then `copies` */
    unsigned waits_n;
    int copies;
    int online;     /* replicas that it says it streams to */
    bool deposed;   /* another one has been elected, and it knows */
    bool minority;  /* it is cut off from most masters */
    unsigned epoch; /* of the cluster, as it knows it */
    unsigned heard; /* when it heard others last, by its clock, which shows 1000 ms */
    size_t cut_in;  /* a connection ends after so many bytes have come to it since its greeting; 0: none does */
    size_t cut_out; /* or after so many that it has said */
    size_t piece;   /* it says so many bytes at once; 0: all */
    bool mute;      /* it does all, and says nothing */
    bool frozen;    /* it does nothing */
    bool library;   /* it has the functions */
    unsigned connects;
    char done[PEER_LOG];     /* the first argument of each function that was run, and a space */
    char commands[PEER_LOG]; /* commands that were no functions: "WAIT 2 50;" */
};

static inline bool peer_is(struct slice s, const char *text)
{
    return slice_eq(s, slice_str(text));
}

static inline void peer_log(char log[PEER_LOG], struct slice s, const char *end)
{
    size_t n = strlen(log);
    if (n + s.n + 8 > PEER_LOG) /* nobody looks that far */
        return;
    memcpy(log + n, s.p, s.n);
    strcpy(log + n + s.n, end);
}

static inline void peer_hang_up(struct peer_conn *c)
{
    if (c->fd < 0)
        return;
    struct linger now = {.l_onoff = 1};
    ev_io_stop(c->peer->loop, &c->readable);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(c->fd);
    c->fd = -1;
    resp_fini(&c->in);
    buf_free(&c->out);
}

/* Says what is to be said, in pieces; false: it has hung up. */
static inline bool peer_say(struct peer_conn *c)
{
    struct peer *p = c->peer;
    if (p->mute && c->greeted)
        buf_reset(&c->out);
    while (c->out.n) {
        size_t n = p->piece && p->piece < c->out.n ? p->piece : c->out.n;
        if (p->cut_out && c->greeted && c->gave + n > p->cut_out)
            n = c->gave < p->cut_out ? p->cut_out - c->gave : 0;
        if (n && send(c->fd, c->out.p, n, MSG_NOSIGNAL) != (ssize_t)n) {
            peer_hang_up(c);
            return false;
        }
        c->gave += c->greeted ? n : 0;
        memmove(c->out.p, c->out.p + n, c->out.n - n);
        c->out.n -= n;
        if (p->cut_out && c->greeted && c->gave >= p->cut_out) {
            shutdown(c->fd, SHUT_WR); /* so that what was said arrives */
            peer_hang_up(c);
            return false;
        }
        if (p->piece)
            break;
    }
    return true;
}

/* A function was called: its key's tag does not matter here; it notes its first argument and returns it. */
static inline void peer_call(struct peer *p, const struct reply *command, struct buf *out)
{
    struct slice keys = command->list[2].text, arg;
    unsigned first = 3 + (unsigned)(keys.p[0] - '0');
    if (!p->library) {
        buf_lit(out, "-ERR Function not found\r\n");
        return;
    }
    arg = first < command->n ? command->list[first].text : SLICE_LIT("?");
    peer_log(p->done, arg, " ");
    buf_printf(out, "$%zu\r\nN%.*s\r\n", arg.n + 1, (int)arg.n, arg.p);
}

/* What is said of a subscription. */
static inline void peer_event(struct buf *out, const char *what, struct slice channel)
{
    resp_open(out, 3);
    resp_put(out, slice_str(what));
    resp_put(out, channel);
    buf_lit(out, ":1\r\n");
}

static inline void peer_cluster(struct peer *p, struct slice what, struct buf *out)
{
    char state[128];
    snprintf(state, sizeof state, "cluster_state:%s\r\ncluster_current_epoch:%u\r\n", p->minority ? "fail" : "ok",
             p->epoch);
    resp_put(out, slice_str(peer_is(what, "INFO") ? state : p->nodes));
}

static inline void peer_info(struct peer *p, struct buf *out)
{
    struct buf text = BUF_INIT;
    buf_printf(&text, "# Replication\r\nrole:%s\r\n", p->deposed ? "slave" : "master");
    for (int i = 0; i < p->online; i++)
        buf_printf(&text, "slave%d:ip=127.0.0.1,port=1,state=online,offset=12,lag=0\r\n", i);
    buf_lit(&text, "slave9:ip=127.0.0.1,port=2,state=wait_bgsave,offset=0,lag=0\r\nmaster_repl_offset:12\r\n");
    resp_put(out, buf_slice(&text));
    buf_free(&text);
}

static inline void peer_obey(struct peer_conn *c, const struct reply *command)
{
    struct peer *p = c->peer;
    struct slice name = command->list[0].text;
    bool function = peer_is(name, "FCALL") || peer_is(name, "FCALL_RO");
    for (uint32_t i = 0; !function && i < command->n && i < 3; i++)
        peer_log(p->commands, peer_is(name, "FUNCTION") && i == 2 ? SLICE_LIT("…") : command->list[i].text,
                 i + 1 < command->n && i < 2 ? " " : ";");
    if (p->answer && p->answer(p, command, &c->out))
        return;
    if (function) {
        peer_call(p, command, &c->out);
    } else if (peer_is(name, "WAIT")) {
        int n = p->copies;
        if (p->waits_n) {
            n = p->waits[0];
            memmove(p->waits, p->waits + 1, --p->waits_n * sizeof *p->waits);
        }
        buf_printf(&c->out, ":%d\r\n", n);
    } else if (peer_is(name, "TIME")) {
        buf_lit(&c->out, "*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    } else if (peer_is(name, "CLUSTER")) {
        peer_cluster(p, command->list[1].text, &c->out);
    } else if (peer_is(name, "INFO")) {
        peer_info(p, &c->out);
    } else if (peer_is(name, "FUNCTION")) {
        p->library = true;
        buf_lit(&c->out, "$7\r\nmagpie_\r\n");
    } else if (peer_is(name, "SSUBSCRIBE") || peer_is(name, "SUNSUBSCRIBE")) {
        c->ear = true;
        peer_event(&c->out, peer_is(name, "SSUBSCRIBE") ? "ssubscribe" : "sunsubscribe", command->list[1].text);
    } else if (peer_is(name, "PING")) {
        buf_str(&c->out, c->ear ? "*2\r\n$4\r\npong\r\n$0\r\n\r\n" : "+PONG\r\n");
    } else {
        buf_lit(&c->out, "+OK\r\n");
    }
}

/* Says something that nobody asked for to whoever has subscribed to anything. */
static inline void peer_push(struct peer *p, const struct buf *what)
{
    for (unsigned i = 0; i < PEER_CONNS; i++) {
        struct peer_conn *c = &p->conns[i];
        if (c->fd < 0 || !c->ear)
            continue;
        buf_slice_put(&c->out, buf_slice(what));
        (void)peer_say(c);
    }
}

static inline void peer_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct peer_conn *c = CONTAINER_OF(w, struct peer_conn, readable);
    struct peer *p = c->peer;
    static char input[1 << 16];
    const struct reply *command;
    (void)loop, (void)events;
    if (p->frozen)
        return;
    ssize_t n = recv(c->fd, input, sizeof input, 0);
    if (n <= 0) {
        peer_hang_up(c);
        return;
    }
    if (c->greeted && p->cut_in && c->got + (size_t)n > p->cut_in)
        n = c->got < p->cut_in ? (ssize_t)(p->cut_in - c->got) : 0;
    c->got += c->greeted ? (size_t)n : 0;
    assert_int_equal(resp_feed(&c->in, input, (size_t)n), 0);
    while (resp_next(&c->in, &command) == 1) {
        struct slice name = command->list[0].text;
        peer_obey(c, command);
        bool greeting = !c->greeted && peer_is(name, "TIME");
        if (!peer_say(c))
            return;
        c->greeted |= greeting;
        resp_forget(&c->in);
    }
    if (c->greeted && p->cut_in && c->got >= p->cut_in)
        peer_hang_up(c);
}

static inline void peer_acceptable(struct ev_loop *loop, ev_io *w, int events)
{
    struct peer *p = CONTAINER_OF(w, struct peer, acceptable);
    int fd = accept(p->listener, NULL, NULL);
    (void)events;
    if (fd < 0)
        return;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    p->connects++;
    for (unsigned i = 0; i < PEER_CONNS; i++) {
        struct peer_conn *c = &p->conns[i];
        if (c->fd >= 0)
            continue;
        *c = (struct peer_conn){.peer = p, .fd = fd};
        assert_int_equal(resp_init(&c->in), 0);
        ev_io_init(&c->readable, peer_readable, fd, EV_READ);
        ev_io_start(loop, &c->readable);
        return;
    }
    fail_msg("too many connections");
}

/* It listens, or does so again after peer_close(). */
static inline void peer_listen(struct peer *p)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(p->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof a;
    int one = 1;
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(p->listener, 64), 0);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&a, &size), 0);
    p->port = ntohs(a.sin_port);
    ev_io_init(&p->acceptable, peer_acceptable, p->listener, EV_READ);
}

static inline void peer_init(struct peer *p, char letter)
{
    memset(p, 0, sizeof *p);
    memset(p->id, letter, 40);
    p->copies = p->online = 2;
    p->library = true;
    for (unsigned i = 0; i < PEER_CONNS; i++)
        p->conns[i].fd = -1;
    peer_listen(p);
}

/* Its process is gone. */
static inline void peer_close(struct peer *p)
{
    for (unsigned i = 0; i < PEER_CONNS; i++)
        peer_hang_up(&p->conns[i]);
    if (p->listener >= 0) {
        ev_io_stop(p->loop, &p->acceptable);
        close(p->listener);
    }
    p->listener = -1;
}

static inline void peer_back(struct peer *p)
{
    peer_listen(p);
    ev_io_start(p->loop, &p->acceptable);
}

/* Adds a line to what a peer says of the cluster. */
static inline void peer_tell(struct peer *p, const struct peer *of, const char *flags, const struct peer *leader,
                             unsigned epoch, const char *slots)
{
    size_t n = strlen(p->nodes);
    snprintf(p->nodes + n, sizeof p->nodes - n, "%s 127.0.0.1:%u@1%u %s %s 0 %u %u connected%s%s\n", of->id, of->port,
             of->port % 10000, flags, leader ? leader->id : "-", p->heard, epoch, *slots ? " " : "", slots);
}

/* --- The world --- */

struct world {
    struct redis *r;
    struct peer peers[PEERS];
    uint64_t now;
    unsigned answered; /* calls so far */
    char order[4096];  /* their names, in order, with a space */
};

/* A call of a test. */
struct
try {
    struct call call; /* first */
    struct world *world;
    int status; /* -1: not answered */
    char name[16];
    char reply[64];
};

static inline uint64_t world_clock(void *ctx)
{
    return ((struct world *)ctx)->now;
}

/* Lets happen what can happen without time passing. The kernel takes its time to hand bytes over. */
static inline void world_turn(struct world *w)
{
    for (int i = 0; i < 8; i++) {
        ev_run(w->r->loop, EVRUN_NOWAIT);
        ev_timer_stop(w->r->loop, &w->r->tick); /* ticks are the test's */
        usleep(30);
    }
}

/* Until it is true, without time passing. */
#define SOON(w, condition)                                                                                             \
    do {                                                                                                               \
        for (int i_ = 0; i_ < 20000 && !(condition); i_++)                                                             \
            world_turn(w);                                                                                             \
        assert_true(condition);                                                                                        \
    } while (0)

static inline void world_pass(struct world *w, uint64_t ms)
{
    for (uint64_t end = w->now + ms; w->now < end;) {
        w->now += end - w->now < 20 ? end - w->now : 20;
        ev_run(w->r->loop, EVRUN_NOWAIT); /* the turn sees the time */
        redis_io_tick(w->r);
        world_turn(w);
    }
}

/* Until it is true, in some 30 s of the test's clock. */
#define UNTIL(w, condition)                                                                                            \
    do {                                                                                                               \
        for (int i_ = 0; i_ < 1500 && !(condition); i_++)                                                              \
            world_pass((w), 20);                                                                                       \
        assert_true(condition);                                                                                        \
    } while (0)

/* All peers say the same: peer 0 has everything, and two replicas. */
static inline void world_tell(struct world *w)
{
    for (int i = 0; i < PEERS; i++) {
        struct peer *p = &w->peers[i];
        p->nodes[0] = '\0';
        peer_tell(p, &w->peers[0], i ? "master" : "myself,master", NULL, 1, "0-16383");
        peer_tell(p, &w->peers[1], "slave", &w->peers[0], 1, "");
        peer_tell(p, &w->peers[2], "slave", &w->peers[0], 1, "");
    }
}

static inline void world_open(struct world *w, const char *user, const char *password)
{
    char address[32], why[256] = "";
    const char *addresses[1] = {address};
    struct store_options o = {.engine = "redis",
                              .cluster = {.addresses = addresses,
                                          .address_count = 1,
                                          .username = user,
                                          .password = password,
                                          .prefix = "m",
                                          .copies = 2,
                                          .patience_ms = 8000}};
    struct redis_hooks hooks = {.turn_ms = world_clock, .ctx = w};
    memset(w, 0, sizeof *w);
    log_open(NULL, LOG_TEXT, getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR + 1);
    w->now = 1000000;
    for (int i = 0; i < PEERS; i++)
        peer_init(&w->peers[i], (char)('a' + i));
    world_tell(w);
    snprintf(address, sizeof address, "127.0.0.1:%u", w->peers[0].port);
    if (redis_new(&w->r, &o, &hooks, why, sizeof why))
        fail_msg("%s", why);
    ev_timer_stop(w->r->loop, &w->r->tick);
    for (int i = 0; i < PEERS; i++) {
        w->peers[i].loop = w->r->loop;
        ev_io_start(w->r->loop, &w->peers[i].acceptable);
    }
}

/* A world whose engine knows its cluster. */
static inline int world_setup(void **state)
{
    struct world *w = malloc(sizeof *w);
    world_open(w, NULL, NULL);
    struct master *nobody = &w->r->slots.nobody;
    UNTIL(w, nobody->parts == 0 && w->r->slots.masters->lanes[LANE_WRITE].link.state == LINK_READY &&
                 w->r->slots.masters->lanes[LANE_READ].link.state == LINK_READY);
    *state = w;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    redis_io_end(w->r);
    for (int i = 0; i < PEERS; i++)
        peer_close(&w->peers[i]);
    redis_free(w->r);
    free(w);
    return 0;
}

static inline void try_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct try *t = (struct try *)c;
    (void)r;
    assert_int_equal(t->status, -1);
    t->status = (int)status;
    if (status == STORE_OK && reply->type == REPLY_STRING)
        snprintf(t->reply, sizeof t->reply, "%.*s", (int)reply->text.n, reply->text.p);
    else
        assert_true(status != STORE_OK || reply);
    t->world->answered++;
    if (strlen(t->world->order) < sizeof t->world->order - 64)
        snprintf(t->world->order + strlen(t->world->order), 64, "%s ", t->name);
}

/* Makes a call that notes its name where it is run. */
static inline void try_begin(struct world *w, struct try *t, const char *name, enum fn fn, unsigned part)
{
    *t = (struct try){.world = w, .status = -1};
    snprintf(t->name, sizeof t->name, "%s", name);
    call_begin(w->r, &t->call, fn, part);
    call_key(w->r, &t->call, 'm', SLICE_LIT("key"));
    call_arg(&t->call, slice_str(t->name));
    t->call.done = try_done;
}

static inline void try_post(struct world *w, struct try *t, const char *name, enum fn fn, unsigned part)
{
    try_begin(w, t, name, fn, part);
    call_post(w->r, &t->call);
}

#endif
