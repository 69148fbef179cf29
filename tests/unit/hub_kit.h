/*
 * What the tests of core/hub share: a real hub of 1 to 4 shards over the store in memory, clients on loopback, and
 * between the hub and its store a gate (gate_store.h), which holds operations back or fails them.
 *
 * Usually the shards have no threads: kit_turn() turns their loops by hand, one after the other, so that a test decides
 * what happens before what and may look at everything. With `threads` set they run as they do in the server.
 *
 * Users log in with the provider "kit": the token is the id. So tests choose ids, and by them shards: kit_id().
 */
#ifndef MAGPIE_TESTS_HUB_KIT_H
#define MAGPIE_TESTS_HUB_KIT_H

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/hub/registry/auth.h"
#include "core/hub/hub.h"
#include "core/hub/people/chan.h"
#include "core/hub/shard/shards.h"
#include "core/hub/talk/conv.h"
#include "core/hub/registry/hook.h"
#include "core/hub/host/host.h"
#include "core/hub/act/login.h"
#include "core/hub/people/session.h"
#include "core/hub/registry/tables.h"
#include "core/hub/people/user.h"
#include "tests/unit/gate_store.h"
#include "tests/unit/test_bus.h"
#include "core/net/accept.h"
#include "core/net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define S(x) slice_str(x)

/* --- The gate before the store --- */

static struct gate_store kit_gate;

static inline void gate_hold(enum store_op_kind op)
{
    kit_gate.gate[op] = GATE_HOLD;
}
static inline void gate_fail(enum store_op_kind op, enum store_status status)
{
    kit_gate.status[op] = (int)status;
    kit_gate.gate[op] = GATE_FAIL;
}
/* Lets the oldest held operation pass, or fails it. */
static inline void gate_next(enum store_status status)
{
    gate_store_next(&kit_gate, 0, status);
}
/* Opens the gate for good, and lets pass what it holds. */
static inline void gate_open(enum store_op_kind op)
{
    kit_gate.gate[op] = GATE_OPEN;
    while (gate_store_held(&kit_gate))
        gate_next(STORE_OK);
}

/* With kit.clustered: the bus of the hub's store. */
static struct test_bus kit_bus;

/* --- The hub ------------------------------------------------------------------------------------------------------ */

enum { KIT_SHARDS = 4, KIT_TICKETS = 64 };

struct kit {
    unsigned shards;
    bool threads;   /* the shards run by themselves */
    bool clustered; /* the server is not alone: kit_bus */
    struct store_options store_opt;
    struct store *store;
    struct hub_options opt;
    struct hub *hub;
    struct mailbox main;          /* run by kit_turn() */
    int listening[2][KIT_SHARDS]; /* TCP, WebSocket */
    struct sockaddr_in address[2][KIT_SHARDS];
    /* The provider "kit". */
    bool later; /* it answers by auth_finish() */
    struct auth_ticket tickets[KIT_TICKETS];
    char tokens[KIT_TICKETS][64]; /* of the logins that wait */
    unsigned ticket_count;
};

static inline struct shard *kit_shard(const struct kit *k, unsigned i)
{
    return hub_shard(k->hub, i);
}

/* As the provider "kit" sees it: whose token is the id. */
static inline struct auth_answer kit_identity(struct slice token)
{
    struct auth_answer a = {.code = token.n ? CODE_OK : CODE_UNAUTHORIZED, .id_len = (uint8_t)token.n};
    snprintf(a.message, sizeof a.message, "token: whose?");
    memcpy(a.id, token.p ? token.p : "", token.n < 64 ? token.n : 64);
    return a;
}

static inline enum auth_when kit_ask(struct auth_call *a, void *ctx)
{
    struct kit *k = ctx;
    if (!k->later) {
        a->answer = kit_identity(a->token);
        return AUTH_NOW;
    }
    assert_true(k->ticket_count < KIT_TICKETS);
    snprintf(k->tokens[k->ticket_count], 64, "%.*s", (int)a->token.n, a->token.p);
    k->tickets[k->ticket_count++] = a->ticket;
    return AUTH_LATER;
}

/* Options as the server has them by default, without limits that would be in a test's way. */
static inline void kit_open(struct kit *k, unsigned shards)
{
    memset(k, 0, sizeof *k);
    log_open(NULL, LOG_TEXT, getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR);
    k->shards = shards;
    k->store_opt = (struct store_options){
        .engine = "memory",
        .node = 1,
        .memory = 32u << 20,
        .sync_every_ms = 1000,
        .tiers = {{0, 100000, DURABILITY_SYNC}, {0, 10000, DURABILITY_COMMIT}, {0, 1000, DURABILITY_COMMIT}},
        .dedup_window_ms = 600000,
        .inbox_max = 1000};
    k->opt = (struct hub_options){
        .net = {.frame = 65536, .output_queue = 1 << 20, .login_timeout = 600, .idle_timeout = 3000},
        .auth_mode = "kit",
        .content_max = 16384,
        .page_max = 262144,
        .subscriptions_max = 1000,
        .large_members = 500,
        .slice_ms = 200,
        .slice_max = 20,
        .recall_ms = 120000};
    memcpy(k->opt.secret, "a secret of thirty-two bytes ...", 32);
}

static inline int kit_listen(struct sockaddr_in *a)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t n = sizeof *a;
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)a, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)a, &n), 0);
    assert_int_equal(listen(fd, 1024), 0);
    return fd;
}

static inline void kit_start(struct kit *k)
{
    char why[256] = "";
    struct store *behind;
    if (store_open(&behind, &k->store_opt, why, sizeof why) != 0)
        fail_msg("store_open: %s", why);
    gate_store_init(&kit_gate, behind);
    k->store = &kit_gate.base;
    test_bus_init(&kit_bus);
    kit_bus.store = behind;
    if (k->clustered)
        kit_gate.base.bus = &kit_bus.base;
    mailbox_init(&k->main, NULL, NULL);
    k->hub = hub_new(k->shards, k->store, &k->opt);
    assert_non_null(k->hub);
    hub_set_main(k->hub, &k->main);
    assert_int_equal(tables_begin(k->hub), 0);
    assert_int_equal(
        auth_register(k->hub, &(struct auth_provider){.name = "kit", .ask = kit_ask, .ctx = k, .owner = k}), 0);
    assert_int_equal(tables_commit(k->hub, NULL, NULL), 0);
    for (unsigned i = 0; i < k->shards; i++) {
        for (int t = 0; t < 2; t++) {
            k->listening[t][i] = kit_listen(&k->address[t][i]);
            assert_int_equal(
                net_listen(kit_shard(k, i)->net, k->listening[t][i], t ? CONN_WEBSOCKET : CONN_TCP, STREAM_PLAIN), 0);
        }
    }
    if (k->threads)
        assert_int_equal(hub_start(k->hub), 0);
}

static inline void kit_begin(struct kit *k, unsigned shards)
{
    kit_open(k, shards);
    kit_start(k);
}

static inline void kit_end(struct kit *k)
{
    gate_store_open(&kit_gate);
    kit_bus.status = STORE_OK;
    test_bus_open(&kit_bus);
    hub_stop(k->hub);
    while (mailbox_run(&k->main, k) > 0 || hub_busy(k->hub)) /* as the server ends */
        hub_pump(k->hub);
    for (unsigned i = 0; i < k->shards; i++) {
        const struct shard *s = kit_shard(k, i);
        assert_int_equal(s->ops, 0);
        assert_int_equal(s->reqs, 0);
        assert_null(s->parked);
        for (uint32_t u = pool_next(&s->users, 0); u != POOL_NONE; u = pool_next(&s->users, u + 1))
            fail_msg("a user is left: %.*s, %u pins", user_at(s, u)->id_len, user_at(s, u)->strings,
                     user_at(s, u)->pins);
        assert_int_equal(s->subs.live, 0);
        for (uint32_t v = pool_next(&s->convs, 0); v != POOL_NONE; v = pool_next(&s->convs, v + 1))
            assert_int_equal(conv_at(s, v)->pins, 0);
    }
    store_close(k->store); /* before the mailboxes go: its threads may still be on their way out of one */
    hub_free(k->hub);
    mailbox_run(&k->main, k);
    test_bus_fini(&kit_bus);
    mailbox_fini(&k->main);
    for (unsigned i = 0; i < k->shards; i++)
        for (int t = 0; t < 2; t++)
            close(k->listening[t][i]);
}

/* The hub's own code runs on this thread. */
static bool kit_turning;

/* Each shard's loop once, without sleeping. */
static inline void kit_turn(struct kit *k)
{
    kit_turning = true;
    for (unsigned i = 0; !k->threads && i < k->shards; i++)
        ev_run(kit_shard(k, i)->loop, EVRUN_NOWAIT);
    kit_turning = false;
    mailbox_run(&k->main, k);
    if (k->threads)
        usleep(200);
}

#define KIT_UNTIL(k, condition)                                                                                        \
    do {                                                                                                               \
        uint64_t kit_end_ms = clock_mono_ms() + 20000;                                                                 \
        while (!(condition) && clock_mono_ms() < kit_end_ms) {                                                         \
            kit_turn(k);                                                                                               \
            if (!(condition))                                                                                          \
                usleep(50);                                                                                            \
        }                                                                                                              \
        assert_true(condition);                                                                                        \
    } while (0)

static inline bool mailbox_empty(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    bool empty = m->head == NULL && !m->rest;
    pthread_mutex_unlock(&m->lock);
    return empty;
}

static inline bool kit_idle(struct kit *k)
{
    uint64_t ops = 0;
    bool idle = mailbox_empty(&k->main);
    for (unsigned i = 0; i < k->shards; i++) {
        struct shard *s = kit_shard(k, i);
        idle = idle && mailbox_empty(&s->mailbox) && s->begun.first == NONE && s->walks.first == NONE;
        ops += s->ops;
    }
    return idle && ops == gate_store_held(&kit_gate) + test_bus_held_not_for(&kit_bus, &k->main);
}

/* Turns until nothing is under way but what the gate holds and what waits for a timer. Without threads only. */
static inline void kit_settle(struct kit *k)
{
    unsigned calm = 0;
    uint64_t end = clock_mono_ms() + 20000;
    assert_false(k->threads);
    while (calm < 6 && clock_mono_ms() < end) {
        kit_turn(k);
        calm = kit_idle(k) ? calm + 1 : 0;
        if (!calm)
            usleep(50);
    }
    assert_true(calm >= 6);
}

/* An id that begins with `stem` and is owned by that shard. Kept in a ring of texts. */
static inline const char *kit_id(const struct kit *k, const char *stem, unsigned shard)
{
    static char ring[64][65];
    static unsigned at;
    char *out = ring[at++ % 64];
    for (unsigned i = 0;; i++) {
        snprintf(out, 65, i ? "%s%u" : "%s", stem, i);
        if (shard_of(k->hub, S(out)) == kit_shard(k, shard))
            return out;
    }
}

/* The same of a channel's name. */
static inline const char *kit_channel(const struct kit *k, const char *stem, unsigned shard)
{
    static char ring[64][65];
    static unsigned at;
    char *out = ring[at++ % 64];
    for (unsigned i = 0;; i++) {
        snprintf(out, 65, i ? "%s%u" : "%s", stem, i);
        struct conv_key key = conv_key_channel(S(out));
        if (shard_of(k->hub, conv_key_slice(&key)) == kit_shard(k, shard))
            return out;
    }
}

static inline uint32_t kit_user(const struct kit *k, const char *id)
{
    return user_find(shard_of(k->hub, S(id)), S(id));
}

static inline struct conv *kit_conv(const struct kit *k, struct conv_key key)
{
    struct slice s = conv_key_slice(&key);
    struct shard *owner = shard_of(k->hub, s);
    uint32_t i = table_find(&owner->conv_keys, hash_bytes(s), &s);
    return i == TABLE_NONE ? NULL : conv_at(owner, i);
}

/* Changes the tables: `fn` registers into the draft. */
static inline void kit_tables(struct kit *k, void (*fn)(struct hub *hub, void *ctx), void *ctx)
{
    assert_int_equal(tables_begin(k->hub), 0);
    fn(k->hub, ctx);
    assert_int_equal(tables_commit(k->hub, NULL, NULL), 0);
    KIT_UNTIL(k, !k->hub->committing);
}

static inline void kit_register_hook(struct hub *hub, void *hook)
{
    assert_int_equal(hook_register(hub, hook), 0);
}
static inline void kit_hook(struct kit *k, enum hook_event event, int priority, hook_fn fn, void *ctx)
{
    struct hook h = {.event = event, .priority = priority, .fn = fn, .ctx = ctx, .owner = k};
    kit_tables(k, kit_register_hook, &h);
}

/* --- Clients ------------------------------------------------------------------------------------------------------ */

enum { PEER_FRAMES = 8192 };

struct peer_frame {
    uint16_t action, seq;
    bool taken;
    char *body; /* NUL-terminated; owned */
};

struct peer {
    struct kit *k;
    int fd;
    uint16_t seq; /* of the newest request */
    bool ended;   /* the server has closed */
    struct buf in;
    uint32_t count; /* frames */
    struct peer_frame *frames;
};

static inline struct peer *peer_open(struct kit *k, unsigned shard)
{
    struct peer *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->frames = calloc(PEER_FRAMES, sizeof *p->frames);
    assert_non_null(p->frames);
    p->k = k;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(p->fd, (struct sockaddr *)&k->address[0][shard], sizeof k->address[0][shard]), 0);
    assert_int_equal(setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)),
                     0); /* kit_settle() waits for no timer */
    return p;
}

static inline void peer_close(struct peer *p)
{
    for (uint32_t i = 0; i < p->count; i++)
        free(p->frames[i].body);
    free(p->frames);
    buf_free(&p->in);
    close(p->fd);
    free(p);
}

/* Goes with a reset, which is heard even where nothing is read. */
static inline void peer_reset(struct peer *p)
{
    struct linger now = {.l_onoff = 1};
    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    peer_close(p);
}

/* Takes in what has arrived. */
static inline void peer_pull(struct peer *p)
{
    static char bytes[65536];
    ssize_t n;
    while (!p->ended && (n = recv(p->fd, bytes, sizeof bytes, MSG_DONTWAIT)) != -1) {
        if (n == 0)
            p->ended = true;
        buf_put(&p->in, bytes, (size_t)n);
    }
    if (!p->ended && errno != EAGAIN)
        p->ended = true;
    size_t at = 0;
    while (p->in.n - at >= 8) {
        uint32_t len = load_be32(p->in.p + at);
        assert_true(len >= 8);
        if (p->in.n - at < len)
            break;
        assert_true(p->count < PEER_FRAMES);
        struct peer_frame *f = &p->frames[p->count++];
        f->action = load_be16(p->in.p + at + 4);
        f->seq = load_be16(p->in.p + at + 6);
        f->taken = false;
        f->body = strndup(p->in.p + at + 8, len - 8);
        at += len;
    }
    if (at) {
        memmove(p->in.p, p->in.p + at, p->in.n - at);
        p->in.n -= at;
    }
}

static inline void peer_bytes(struct peer *p, const void *bytes, size_t n)
{
    assert_int_equal(send(p->fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

static inline void peer_put_body(struct peer *p, uint16_t action, uint16_t seq, struct slice body)
{
    struct buf b = BUF_INIT;
    buf_u32(&b, (uint32_t)(8 + body.n));
    buf_u16(&b, action);
    buf_u16(&b, seq);
    buf_slice_put(&b, body);
    peer_bytes(p, b.p, b.n);
    buf_free(&b);
}

static inline uint16_t peer_vput(struct peer *p, uint16_t action, const char *fmt, va_list ap)
{
    char *body = NULL;
    int n = vasprintf(&body, fmt, ap);
    assert_true(n >= 0);
    if (++p->seq == 0)
        p->seq = 1;
    peer_put_body(p, action, p->seq, slice_of(body, (size_t)n));
    free(body);
    return p->seq;
}

/* Sends a request; returns its seq. */
__attribute__((format(printf, 3, 4))) static inline uint16_t peer_put(struct peer *p, uint16_t action, const char *fmt,
                                                                      ...)
{
    va_list ap;
    va_start(ap, fmt);
    uint16_t seq = peer_vput(p, action, fmt, ap);
    va_end(ap);
    return seq;
}

/* The first frame not taken of that action (-1: any) and seq (-1: any); NULL: none so far. */
static inline struct peer_frame *peer_look(struct peer *p, int action, int seq)
{
    peer_pull(p);
    for (uint32_t i = 0; i < p->count; i++) {
        struct peer_frame *f = &p->frames[i];
        if (!f->taken && (action < 0 || f->action == action) && (seq < 0 || f->seq == seq))
            return f;
    }
    return NULL;
}

static inline const char *peer_wait(struct peer *p, int action, int seq)
{
    struct peer_frame *f = NULL;
    uint64_t end = clock_mono_ms() + 20000;
    while (!(f = peer_look(p, action, seq)) && !p->ended && clock_mono_ms() < end)
        kit_turn(p->k);
    if (!f) {
        peer_pull(p);
        f = peer_look(p, action, seq);
    }
    if (!f)
        fail_msg("no frame of action %d, seq %d came%s", action, seq, p->ended ? " before the end" : "");
    f->taken = true;
    return f->body;
}

/* The answer to a request; borrowed until peer_close(). */
static inline const char *peer_answer(struct peer *p, uint16_t action, uint16_t seq)
{
    return peer_wait(p, action, seq);
}

/* The next push of that action. */
static inline const char *peer_push(struct peer *p, uint16_t action)
{
    return peer_wait(p, action, 0);
}

/* Sends a request and waits for its answer. */
__attribute__((format(printf, 3, 4))) static inline const char *peer_ask(struct peer *p, uint16_t action,
                                                                         const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    uint16_t seq = peer_vput(p, action, fmt, ap);
    va_end(ap);
    return peer_answer(p, action, seq);
}

/* Frames that came and were not taken. */
static inline uint32_t peer_left(struct peer *p)
{
    uint32_t n = 0;
    peer_pull(p);
    for (uint32_t i = 0; i < p->count; i++)
        n += !p->frames[i].taken;
    return n;
}

/* Waits for the server's end of the connection. */
static inline void peer_end(struct peer *p)
{
    uint64_t end = clock_mono_ms() + 20000;
    while (!p->ended && clock_mono_ms() < end) {
        kit_turn(p->k);
        peer_pull(p);
    }
    assert_true(p->ended);
}

static inline void has(const char *body, const char *part)
{
    if (!strstr(body, part))
        fail_msg("expected %s in %s", part, body);
}

/* A number of a body: "seq" of {"seq":12}. */
static inline uint64_t number(const char *body, const char *field)
{
    char key[80];
    snprintf(key, sizeof key, "\"%s\":", field);
    const char *at = strstr(body, key);
    if (!at)
        fail_msg("no %s in %s", field, body);
    return strtoull(at + strlen(key), NULL, 10);
}

static inline void fails(const char *body, const char *code)
{
    char part[64];
    snprintf(part, sizeof part, "{\"error\":{\"code\":\"%s\"", code);
    if (strncmp(body, part, strlen(part)) != 0)
        fail_msg("expected %s, got %s", part, body);
}

static inline void works(const char *body)
{
    if (strstr(body, "\"error\""))
        fail_msg("refused: %s", body);
}

/* A client that is logged in as `id`, by way of the shard. */
static inline struct peer *peer_login(struct kit *k, const char *id, unsigned shard)
{
    struct peer *p = peer_open(k, shard);
    has(peer_ask(p, 1, "{\"token\":\"%s\"}", id), id);
    return p;
}

/* One that accepts 104. */
static inline struct peer *peer_login_merge(struct kit *k, const char *id, unsigned shard)
{
    struct peer *p = peer_open(k, shard);
    works(peer_ask(p, 1, "{\"token\":\"%s\",\"accept\":[\"merge\"]}", id));
    return p;
}

/* The ids and names in the order they were asked for are the tests'; this is the newest connection of a user. */
static inline uint32_t kit_conn(const struct kit *k, const char *id)
{
    uint32_t user = kit_user(k, id);
    assert_int_not_equal(user, NONE);
    return user_at(shard_of(k->hub, S(id)), user)->first_conn;
}

/* --- Operations of host.h ----------------------------------------------------------------------------------------- */

/* Sets the sign by which kit_host() knows that it is done. */
static inline void kit_host_done(void *owner, struct host_op *op)
{
    (void)owner;
    op->home = NULL;
}

#define KIT_HOST_BEGIN(k, fn, q) ((q)->op.home = &(k)->main, (q)->op.done = kit_host_done, fn((k)->hub, (q)))
/* Runs the operation and returns its code. */
#define KIT_HOST(k, fn, q)                                                                                             \
    ({                                                                                                                 \
        KIT_HOST_BEGIN(k, fn, q);                                                                                      \
        KIT_UNTIL(k, (q)->op.home == NULL);                                                                            \
        (q)->op.code;                                                                                                  \
    })

#endif
