/*
 * Allocations that fail, by call env: the request fails, nothing else does. Each scenario is run again and again in a
 * fresh hub, and each time another one of the allocations that it makes fails, first on the shards' side, then on the
 * store's threads. CMake links with --wrap for malloc and its kin, so that Magpie's own calls come by here, and those
 * of the C library, libev and cJSON do not.
 */
#include "hub_kit.h"
#include "core/hub/people/user.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/host_send.h"

enum { SITES = 4096, ENOUGH = 500, EACH_MAX = 400 };

/* Whose allocations count. */
enum side { SHARDS, STORE };

static struct {
    _Atomic bool armed;
    _Atomic int side;        /* enum side */
    pthread_t test;          /* the thread that turns the shards */
    _Atomic unsigned seen;   /* since it was armed */
    _Atomic unsigned target; /* the first of them that fails */
    _Atomic unsigned span;   /* so many in a row */
    _Atomic bool failed;     /* it came to that */
    void *envs[SITES];       /* where allocations have failed, each once */
    unsigned env_count, injected;
    pthread_mutex_t lock;
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note_site(void *env)
{
    pthread_mutex_lock(&memory.lock);
    unsigned i = 0;
    while (i < memory.env_count && memory.envs[i] != env)
        i++;
    if (i == memory.env_count && i < SITES)
        memory.envs[memory.env_count++] = env;
    memory.injected++;
    pthread_mutex_unlock(&memory.lock);
}

static bool fails_now(void *env)
{
    if (!memory.armed)
        return false;
    bool here = pthread_equal(pthread_self(), memory.test);
    if (memory.side == SHARDS ? !here || !kit_turning : here)
        return false;
    unsigned n = atomic_fetch_add(&memory.seen, 1) + 1;
    if (n < memory.target || n >= memory.target + memory.span)
        return false;
    atomic_store(&memory.failed, true);
    note_site(env);
    return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

void *__wrap_malloc(size_t n)
{
    return fails_now(__builtin_return_address(0)) ? NULL : __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return fails_now(__builtin_return_address(0)) ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
    return fails_now(__builtin_return_address(0)) ? NULL : __real_realloc(p, n);
}
char *__wrap_strdup(const char *s)
{
    return fails_now(__builtin_return_address(0)) ? NULL : __real_strdup(s);
}
char *__wrap_strndup(const char *s, size_t n)
{
    return fails_now(__builtin_return_address(0)) ? NULL : __real_strndup(s, n);
}

/* --- The stage: two who talk, and one who only looks on ----------------------------------------------------------- */

struct stage {
    struct kit k;
    struct peer *actor;   /* asks; "ann" */
    struct peer *other;   /* is written to; "bob" */
    struct peer *witness; /* must not notice anything; "wit" */
};

static void join(struct peer *p, const char *push)
{
    works(peer_ask(p, 3, "{\"name\":\"room\",\"push\":\"%s\"}", push));
}

static void begin(struct stage *g)
{
    kit_open(&g->k, 2);
    g->k.opt.slice_ms = 1;
    kit_start(&g->k);
    log_set_level(LOG_ERROR + 1); /* the complaints are wanted */
    g->actor = peer_login(&g->k, "ann", 0);
    g->other = peer_login_merge(&g->k, "bob", 1);
    g->witness = peer_login(&g->k, "wit", 0);
    join(g->actor, "all");
    join(g->other, "merged");
    join(g->witness, "all");
    works(peer_ask(g->actor, 4, "{\"channel\":\"room\",\"content\":\"first\"}"));
    works(peer_ask(g->actor, 2, "{\"receiverId\":\"bob\",\"content\":\"first\"}"));
    works(peer_ask(g->other, 2, "{\"receiverId\":\"ann\",\"content\":\"second\"}"));
    peer_push(g->witness, 102);
    peer_push(g->other, 104);
    kit_settle(&g->k);
}

static void end(struct stage *g)
{
    peer_close(g->actor);
    peer_close(g->other);
    peer_close(g->witness);
    kit_end(&g->k);
}

struct scenario {
    const char *name;
    uint16_t action;
    const char *body;
    bool login; /* on a new connection */
    bool last;  /* it ends the connection when it works */
};

static const struct scenario scenarios[] = {
    {.name = "login of a new user",
     .action = 1,
     .body = "{\"token\":\"new\",\"name\":\"New\",\"device\":\"phone\",\"accept\":[\"merge\"]}",
     .login = true},
    {.name = "login of a known user",
     .action = 1,
     .body = "{\"token\":\"ann\",\"name\":\"Other\",\"device\":\"phone\"}",
     .login = true},
    {.name = "send to user", .action = 2, .body = "{\"receiverId\":\"bob\",\"content\":\"x\",\"clientId\":\"c\"}"},
    {.name = "subscribe to a new channel", .action = 3, .body = "{\"name\":\"hall\",\"push\":\"merged\"}"},
    {.name = "change a subscription", .action = 3, .body = "{\"name\":\"room\",\"push\":\"merged\"}"},
    {.name = "send to channel", .action = 4, .body = "{\"channel\":\"room\",\"content\":\"x\",\"clientId\":\"c\"}"},
    {.name = "send to no channel", .action = 4, .body = "{\"channel\":\"none\",\"content\":\"x\"}"},
    {.name = "history", .action = 5, .body = "{\"channel\":\"room\"}"},
    {.name = "history of a stranger's channel", .action = 5, .body = "{\"channel\":\"other\"}"},
    {.name = "unsubscribe", .action = 6, .body = "{\"name\":\"room\"}"},
    {.name = "inbox", .action = 7, .body = "{}"},
    {.name = "acknowledge", .action = 8, .body = "{\"upTo\":\"9000000000000000000\"}"},
    {.name = "ping", .action = 9, .body = "{}"},
    {.name = "conversations", .action = 10, .body = "{}"},
    {.name = "mark read", .action = 11, .body = "{\"channel\":\"room\",\"seq\":1}"},
    {.name = "presence", .action = 12, .body = "{\"ids\":[\"bob\",\"wit\",\"nobody\"]}"},
    {.name = "members", .action = 13, .body = "{\"name\":\"room\"}"},
    {.name = "recall in a channel", .action = 14, .body = "{\"channel\":\"room\",\"seq\":1}"},
    {.name = "recall in a pair", .action = 14, .body = "{\"peerId\":\"bob\",\"seq\":1}"},
    {.name = "block", .action = 15, .body = "{\"id\":\"bob\",\"blocked\":true}"},
    {.name = "log out", .action = 16, .body = "{}", .last = true},
    {.name = "nonsense", .action = 4, .body = "{\"channel\":"},
};

/* What came of a request. */
enum outcome { ANSWERED, REFUSED, CLOSED };

static enum outcome attempt(struct stage *g, const struct scenario *c, struct peer *p)
{
    uint16_t seq = peer_put(p, c->action, "%s", c->body);
    kit_settle(&g->k);
    struct peer_frame *f = peer_look(p, c->action, seq);
    if (!f) {
        /* Without memory for the answer the connection is closed: nobody waits for ever. */
        const struct peer_frame *bye = peer_look(p, 105, -1);
        if (!p->ended && !bye)
            fail_msg("%s: no answer, and no end (allocation %u)", c->name, memory.target);
        peer_end(p);
        return CLOSED;
    }
    f->taken = true;
    if (!strstr(f->body, "{\"error\""))
        return ANSWERED;
    if (!strstr(f->body, "\"internal\"") && !strstr(f->body, "\"unavailable\"") && !strstr(f->body, "\"not_found\"") &&
        !strstr(f->body, "\"bad_request\""))
        fail_msg("%s: %s (allocation %u)", c->name, f->body, memory.target);
    return REFUSED;
}

/* A store that could not write looks at its database anew before it goes on. */
static void recover(struct stage *g)
{
    struct store_stats st;
    KIT_UNTIL(&g->k, (store_get_stats(g->k.store, &st), !st.failing));
}

/* Nothing is left of the request, and everybody else is served as before. */
static void check(struct stage *g, const struct scenario *c)
{
    struct kit *k = &g->k;
    for (unsigned i = 0; i < k->shards; i++) {
        struct shard *s = kit_shard(k, i);
        if (s->reqs || s->ops)
            fail_msg("%s: %u requests, %u operations are left (allocation %u)", c->name, (unsigned)s->reqs,
                     (unsigned)s->ops, memory.target);
        for (uint32_t u = pool_next(&s->users, 0); u != POOL_NONE; u = pool_next(&s->users, u + 1))
            assert_int_equal(user_at(s, u)->pins, 0);
        for (uint32_t v = pool_next(&s->convs, 0); v != POOL_NONE; v = pool_next(&s->convs, v + 1)) {
            assert_int_equal(conv_at(s, v)->pins, 0);
            assert_int_not_equal(conv_at(s, v)->state, CONV_LOADING);
        }
        for (uint32_t h = pool_next(&s->chans, 0); h != POOL_NONE; h = pool_next(&s->chans, h + 1))
            assert_int_equal(chan_at(s, h)->pending, 0);
    }
    has(peer_ask(g->witness, 9, "{}"), "time");
    works(peer_ask(g->witness, 4, "{\"channel\":\"room\",\"content\":\"after\"}"));
    const char *heard;
    do
        heard = peer_wait(g->witness, 102, 0);
    while (!strstr(heard, "after"));
}

/* The actor's way back in, when its connection was closed, or it is one that logs in. */
static struct peer *again(struct stage *g, struct peer *p)
{
    if (p == g->actor)
        return p;
    peer_close(p);
    return peer_open(&g->k, 1);
}

/* Fails the n-th allocation of the scenario. False: it makes fewer. */
static bool inject(const struct scenario *c, enum side side, unsigned n)
{
    struct stage g;
    begin(&g);
    struct peer *p = c->login ? peer_open(&g.k, 1) : g.actor;
    kit_settle(&g.k);
    memory.side = side;
    memory.target = n;
    atomic_store(&memory.seen, 0);
    atomic_store(&memory.failed, false);
    memory.armed = true;
    enum outcome o = attempt(&g, c, p);
    usleep(2000); /* the slice that it may have opened */
    kit_settle(&g.k);
    memory.armed = false;
    bool failed = atomic_load(&memory.failed);
    recover(&g);
    check(&g, c);
    /* And once more, with memory. */
    if (o == CLOSED && p == g.actor) {
        peer_close(p);
        p = g.actor = peer_login(&g.k, "ann", 0);
    } else if (c->login) {
        p = again(&g, p);
    }
    if (!(c->last && o == ANSWERED)) {
        o = attempt(&g, c, p);
        if (o == CLOSED && !c->last)
            fail_msg("%s: closed at the second try (allocation %u)", c->name, n);
        check(&g, c);
    }
    if (p != g.actor)
        peer_close(p);
    end(&g);
    return failed;
}

static void run_side(enum side side, unsigned spans)
{
    memory.test = pthread_self();
    memory.injected = 0;
    for (memory.span = 1; memory.span <= spans; memory.span++)
        for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
            for (unsigned n = 1; inject(&scenarios[i], side, n); n++)
                assert_true(n < EACH_MAX);
}

static void requests_whose_memory_fails(void **state)
{
    (void)state;
    run_side(SHARDS, 3);
    print_message("%u failures, %u call envs\n", memory.injected, memory.env_count);
    assert_true(memory.injected >= ENOUGH);
}

static void a_store_whose_memory_fails(void **state)
{
    (void)state;
    run_side(STORE, 1);
    print_message("%u failures, %u call envs in all\n", memory.injected, memory.env_count);
    assert_true(memory.injected > 0);
}

/* A hub where nothing has happened yet: the first of everything. */
static bool inject_cold(unsigned n)
{
    struct kit k;
    kit_begin(&k, 2);
    log_set_level(LOG_ERROR + 1);
    memory.target = n;
    atomic_store(&memory.seen, 0);
    atomic_store(&memory.failed, false);
    memory.armed = true;
    struct peer *p = peer_open(&k, 1);
    peer_put(p, 1, "{\"token\":\"%s\",\"name\":\"Ann\",\"device\":\"d\"}", kit_id(&k, "ann", 0));
    peer_put(p, 3, "{\"name\":\"room\"}");
    peer_put(p, 4, "{\"channel\":\"room\",\"content\":\"x\"}");
    kit_settle(&k);
    memory.armed = false;
    peer_pull(p);
    if (!p->ended && !peer_look(p, 105, -1)) {
        for (uint16_t seq = 1; seq <= 3; seq++)
            (void)peer_wait(p, -1, seq);
        has(peer_ask(p, 9, "{}"), "time");
    }
    struct peer *q = peer_login(&k, "bob", 0);
    works(peer_ask(q, 3, "{\"name\":\"room\"}"));
    works(peer_ask(q, 4, "{\"channel\":\"room\",\"content\":\"y\"}"));
    has(peer_push(q, 102), "\"y\"");
    peer_close(p);
    peer_close(q);
    kit_end(&k);
    return atomic_load(&memory.failed);
}

static void the_first_of_everything(void **state)
{
    (void)state;
    memory.test = pthread_self();
    memory.side = SHARDS;
    memory.injected = 0;
    for (memory.span = 1; memory.span <= 3; memory.span++)
        for (unsigned n = 1; inject_cold(n); n++)
            assert_true(n < EACH_MAX);
    assert_true(memory.injected > 60);
}

/* --- What the layers above ask for -------------------------------------------------------------------------------- */

static enum code ask_host(struct stage *g, unsigned which)
{
    struct host_send send = {.sender = S("ann"), .receiver = S("bob"), .content = S("x"), .client_id = S("c")};
    struct host_member member = {.user = S("bob"), .channel = S("hall"), .may_create = true};
    struct host_kick kick = {.user = S("away"), .revoke = true};
    struct host_user user = {.user = S("bob")};
    enum code code = CODE_OK;
    switch (which) {
    case 0:
        return KIT_HOST(&g->k, host_send, &send);
    case 1:
        send = (struct host_send){.channel = S("room"), .content = S("x")};
        return KIT_HOST(&g->k, host_send, &send);
    case 2:
        return KIT_HOST(&g->k, host_member, &member);
    case 3:
        member.leave = true;
        member.channel = S("room");
        return KIT_HOST(&g->k, host_member, &member);
    case 4:
        return KIT_HOST(&g->k, host_kick, &kick);
    case 5:
        kick = (struct host_kick){.user = S("away")};
        return KIT_HOST(&g->k, host_kick, &kick);
    default:
        code = KIT_HOST(&g->k, host_user, &user);
        store_user_load_free(&user.load);
        return code;
    }
}

static void host_operations_whose_memory_fails(void **state)
{
    static const struct scenario name = {.name = "a host operation"};
    (void)state;
    memory.test = pthread_self();
    memory.injected = 0;
    memory.span = 1;
    for (unsigned which = 0; which < 7; which++) {
        for (int side = SHARDS; side <= STORE; side++) {
            bool more = true;
            for (unsigned n = 1; more; n++) {
                struct stage g;
                begin(&g);
                peer_close(peer_login(&g.k, "away", 0));
                kit_settle(&g.k);
                memory.side = side;
                memory.target = n;
                atomic_store(&memory.seen, 0);
                atomic_store(&memory.failed, false);
                memory.armed = true;
                (void)ask_host(&g, which); /* it is answered, whatever */
                kit_settle(&g.k);
                memory.armed = false;
                more = atomic_load(&memory.failed);
                recover(&g);
                check(&g, &name);
                assert_int_equal(ask_host(&g, which), CODE_OK);
                check(&g, &name);
                end(&g);
            }
        }
    }
    assert_true(memory.injected > 20);
}

/* What is promised to people in figures. */
static void enough_of_them(void **state)
{
    (void)state;
    assert_true(memory.env_count > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_whose_memory_fails),
        cmocka_unit_test(a_store_whose_memory_fails),
        cmocka_unit_test(the_first_of_everything),
        cmocka_unit_test(host_operations_whose_memory_fails),
        cmocka_unit_test(enough_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
