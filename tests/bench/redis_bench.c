/*
 * The Redis engine against a bare client that pipelines the same function calls, on the same cluster, in turns.
 *
 *     redis_bench [--seconds N] [--rounds N] [--told] [--json] HOST:PORT,…
 *
 *   append   channel messages with a clientId, some thousand under way: through the engine, and by a client that does
 *            nothing but send groups of ready-made commands with their WAIT and count the replies (redis_bare.h)
 *   private  the same of private messages, which are four calls in three partitions; the bare client sends the second
 *            halves without waiting for the message's reply, which it knows beforehand
 *   alone    one message at a time: the engine's answer against the bare round trip with WAIT
 *   page     50 messages of a channel, one page at a time, against HMGET of the same rows and WAIT
 *
 * --told: there is a second node, which follows all channels and has all users, and so is told of each message.
 *
 * For each the throughput, and the processor time that a message took in the engine's thread, in the masters and in the
 * replicas, as far as their addresses were named. A cluster that may be written to: keys get a prefix that no other run
 * has.
 */
#include "core/base/clock.h"
#include "core/base/log.h"

#include "storage/redis/nodes/time.h"

static uint64_t bench_now(const void *r)
{
    (void)r;
    return clock_wall_ms();
}
#define time_now(r) bench_now(r) /* the bare client's commands are made by an engine that has no clock */
#include "storage/redis/ops/op_append.c"

#include "storage/bus.h"
#include "storage/redis/ops/settle.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONTENT = 200,
    CHANNELS = 300,
    USERS = 100,
    WIDTH = 3072,         /* messages under way */
    READY = 60000,        /* commands made beforehand for a master, and messages of a round */
    READY_PRIVATE = 8000, /* private messages of a round */
    BARE_GROUP = 512,     /* as the engine's */
    ALONE = 300,          /* messages one at a time, a round */
    PAGE = 50,
    ROUNDS = 32, /* at most */
    MASTERS = 16,
    PROCESSES = 64
};

/* A channel message under way, or the next one. */
struct message {
    struct store_append op;
    struct bench *bench;
    char client[24];
};

/* One master of the bare client. */
struct bare {
    int fd;
    uint16_t port;
    char host[LINK_HOST_MAX];
    struct resp in;
    struct buf *commands; /* made beforehand; owned */
    uint32_t n, next;     /* of commands; which is sent next */
    uint32_t awaited;     /* replies, with the WAIT's */
};

struct bench {
    double seconds;
    unsigned rounds;
    bool json;
    const char *addresses[PROCESSES];
    unsigned address_n;
    struct store_options options;
    struct store *store;
    struct store *other; /* the second node; NULL: there is none */
    bool told;
    struct redis *maker; /* an engine without a thread, which makes commands */
    struct mailbox mb;
    sem_t wake;
    uint64_t done, bad, counter;
    bool stop;      /* no new messages */
    unsigned under; /* under way */
    bool private;   /* messages are private ones */
    struct conv_key conv[CHANNELS], pair[CHANNELS];
    char user[USERS][8];
    char text[CONTENT];
    struct bare bare[MASTERS];
    unsigned bare_n;
    struct message *messages; /* WIDTH of them; owned */
    struct bare_pair {        /* the bare client's own */
        struct conv_key conv;
        char sender[8], receiver[8];
        uint64_t sent;
    } bare_pair[CHANNELS];
    unsigned bare_at;                   /* whose command is being made */
    redisContext *processes[PROCESSES]; /* of Redis: all that were named */
    bool is_master[PROCESSES];
};

struct figures {
    double rate, cpu_us;            /* a second; a message, in the one thread */
    double masters_us, replicas_us; /* a message, in all of them together */
};

/* Processor time that Redis took, in seconds so far. */
struct spent {
    double masters, replicas;
};

static void die(const char *what)
{
    fprintf(stderr, "redis_bench: %s\n", what);
    exit(1);
}

static double now_s(void)
{
    return (double)clock_mono_us() / 1e6;
}

static double cpu_of(pthread_t thread)
{
    clockid_t id;
    struct timespec t;
    if (pthread_getcpuclockid(thread, &id) || clock_gettime(id, &t))
        die("no processor clock");
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof *v, by_size);
    return v[n / 2];
}

/* --- What Redis spends ------------------------------------------------------------------------------------------- */

static double number_in(const char *info, const char *name)
{
    const char *at = strstr(info, name);
    return at ? atof(at + strlen(name)) : 0;
}

/* Whoever was not named is not counted. */
static void processes_open(struct bench *b)
{
    for (unsigned i = 0; i < b->address_n; i++) {
        char host[LINK_HOST_MAX];
        snprintf(host, sizeof host, "%s", b->addresses[i]);
        char *colon = strrchr(host, ':');
        if (!colon)
            die("HOST:PORT is wanted");
        *colon = '\0';
        redisContext *c = b->processes[i] = redisConnect(host, atoi(colon + 1));
        redisReply *role = c && !c->err ? redisCommand(c, "INFO replication") : NULL;
        if (!role || role->type != REDIS_REPLY_STRING)
            die("a process of Redis does not say what it is");
        b->is_master[i] = strstr(role->str, "role:master") != NULL;
        freeReplyObject(role);
    }
}

static void processes_close(struct bench *b)
{
    for (unsigned i = 0; i < b->address_n; i++)
        redisFree(b->processes[i]);
}

static struct spent spent_now(struct bench *b)
{
    struct spent s = {0, 0};
    for (unsigned i = 0; i < b->address_n; i++) {
        redisReply *info = redisCommand(b->processes[i], "INFO cpu");
        if (!info || info->type != REDIS_REPLY_STRING)
            die("a process of Redis does not say what it has spent");
        double seconds = number_in(info->str, "\nused_cpu_sys:") + number_in(info->str, "\nused_cpu_user:");
        *(b->is_master[i] ? &s.masters : &s.replicas) += seconds;
        freeReplyObject(info);
    }
    return s;
}

static void spent_since(struct bench *b, struct spent before, uint64_t messages, struct figures *f)
{
    struct spent now = spent_now(b);
    f->masters_us = (now.masters - before.masters) * 1e6 / (double)messages;
    f->replicas_us = (now.replicas - before.replicas) * 1e6 / (double)messages;
}

/* --- Through the engine ------------------------------------------------------------------------------------------ */

static void on_wake(void *ctx)
{
    sem_post(&((struct bench *)ctx)->wake);
}

static void next_message(struct bench *b, struct message *m);

static void message_done(void *owner, struct store_op *op)
{
    struct message *m = (struct message *)op;
    struct bench *b = owner;
    b->done++;
    b->bad += op->status != STORE_OK;
    b->under--;
    if (!b->stop)
        next_message(b, m);
}

static void next_message(struct bench *b, struct message *m)
{
    uint64_t n = b->counter++;
    const struct conv_key *k = &b->conv[n * 7919 % CHANNELS];
    unsigned from = (unsigned)(n * 7919 % CHANNELS) % USERS, to = (unsigned)(n * 7919 % CHANNELS) / USERS;
    snprintf(m->client, sizeof m->client, "c%llu", (unsigned long long)n);
    m->bench = b;
    m->op = (struct store_append){.op = {.home = &b->mb, .done = message_done, .lazy = true},
                                  .conv = conv_key_slice(k),
                                  .tier = TIER_SMALL,
                                  .sender = SLICE_LIT("maker"),
                                  .sender_name = SLICE_LIT("The Maker"),
                                  .content = slice_of(b->text, CONTENT),
                                  .client_id = slice_str(m->client)};
    if (b->private) { /* pair i is of user i % USERS and one of the first three */
        m->op.conv = conv_key_slice(&b->pair[n * 7919 % CHANNELS]);
        m->op.tier = TIER_DM;
        m->op.sender = slice_str(b->user[from]);
        m->op.receiver = slice_str(b->user[to]);
    }
    b->under++;
    store_append(b->store, &m->op);
}

static void pump(struct bench *b)
{
    sem_wait(&b->wake);
    mailbox_run(&b->mb, b);
    store_kick(b->store);
}

static struct figures engine_append(struct bench *b)
{
    struct redis *r = redis_of(b->store);
    struct figures f = {0};
    b->done = b->bad = 0;
    b->stop = false;
    struct spent spent = spent_now(b);
    double begun = now_s(), cpu = cpu_of(r->thread);
    for (unsigned i = 0; i < WIDTH; i++)
        next_message(b, &b->messages[i]);
    store_kick(b->store);
    while (now_s() < begun + b->seconds)
        pump(b);
    double took = now_s() - begun;
    f.rate = (double)b->done / took;
    f.cpu_us = (cpu_of(r->thread) - cpu) * 1e6 / (double)b->done;
    spent_since(b, spent, b->done, &f);
    b->stop = true;
    while (b->under)
        pump(b);
    if (b->bad)
        die("the engine failed messages");
    return f;
}

static double engine_alone(struct bench *b)
{
    double took[ALONE];
    b->stop = true;
    for (unsigned i = 0; i < ALONE; i++) {
        double begun = now_s();
        next_message(b, &b->messages[0]);
        store_kick(b->store);
        while (b->under)
            pump(b);
        took[i] = (now_s() - begun) * 1e6;
    }
    return median(took, ALONE);
}

#include "tests/bench/redis_bare.h"

/* --- One page -------------------------------------------------------------------------------------------------- */

static void page_done(void *owner, struct store_op *op)
{
    struct bench *b = owner;
    b->bad += op->status != STORE_OK || ((struct store_range *)op)->page.n != PAGE;
    b->under--;
}

static double engine_page(struct bench *b)
{
    double took[ALONE];
    b->bad = 0;
    for (unsigned i = 0; i < ALONE; i++) {
        struct store_range r = {
            .op = {.home = &b->mb, .done = page_done}, .conv = conv_key_slice(&b->conv[i % CHANNELS]), .limit = PAGE};
        double begun = now_s();
        b->under = 1;
        store_range(b->store, &r);
        while (b->under)
            pump(b);
        took[i] = (now_s() - begun) * 1e6;
        store_page_free(&r.page);
    }
    if (b->bad)
        die("the engine's pages are not whole");
    return median(took, ALONE);
}

/* --- Everything -------------------------------------------------------------------------------------------------- */

static void joined(void *owner, struct store_op *op)
{
    struct bench *b = owner;
    b->bad += op->status != STORE_OK;
    b->done++;
}

static void make_users(struct bench *b)
{
    struct store_user_save saves[USERS + 1];
    b->done = b->bad = 0;
    for (unsigned i = 0; i <= USERS; i++) {
        if (i < USERS)
            snprintf(b->user[i], sizeof b->user[i], "u%u", i);
        struct slice id = i < USERS ? slice_str(b->user[i]) : SLICE_LIT("maker");
        saves[i] = (struct store_user_save){.op = {.home = &b->mb, .done = joined}, .id = id, .name = id};
        store_user_save(b->store, &saves[i]);
    }
    while (b->done <= USERS)
        pump(b);
    if (b->bad)
        die("the users could not be made");
}

static void make_channels(struct bench *b)
{
    struct store_member_put *puts = calloc(CHANNELS, sizeof *puts);
    b->done = b->bad = 0;
    for (unsigned i = 0; i < CHANNELS; i++) {
        char name[32];
        snprintf(name, sizeof name, "bench-%u", i);
        b->conv[i] = conv_key_channel(slice_str(name));
        b->pair[i] = conv_key_pair(slice_str(b->user[i % USERS]), slice_str(b->user[i / USERS]));
        struct bare_pair *p = &b->bare_pair[i];
        snprintf(p->sender, sizeof p->sender, "s%u", i % USERS);
        snprintf(p->receiver, sizeof p->receiver, "r%u", i / USERS);
        p->conv = conv_key_pair(slice_str(p->sender), slice_str(p->receiver));
        puts[i] = (struct store_member_put){.op = {.home = &b->mb, .done = joined},
                                            .conv = conv_key_slice(&b->conv[i]),
                                            .user = SLICE_LIT("maker"),
                                            .may_create = true};
        store_member_put(b->store, &puts[i]);
    }
    while (b->done < CHANNELS)
        pump(b);
    if (b->bad)
        die("the channels could not be made");
    free(puts);
}

static void bench_open(struct bench *b, char prefix[17])
{
    char why[512] = "";
    snprintf(prefix, 17, "b%llx:", (unsigned long long)(clock_wall_us() & 0xffffffffffff));
    b->options = (struct store_options){.engine = "redis",
                                        .tiers = {[TIER_SMALL] = {0, 10000, DURABILITY_COMMIT}},
                                        .dedup_window_ms = 600000,
                                        .cluster = {.addresses = b->addresses,
                                                    .address_count = b->address_n,
                                                    .prefix = prefix,
                                                    .copies = 2,
                                                    .patience_ms = 8000,
                                                    .isolated_ms = 15000}};
    memset(b->text, 'x', CONTENT);
    sem_init(&b->wake, 0, 0);
    mailbox_init(&b->mb, on_wake, b);
    b->messages = calloc(WIDTH, sizeof *b->messages);
    if (redis_open_hooked(&b->store, &b->options, NULL, why, sizeof why) ||
        (b->told && redis_open_hooked(&b->other, &b->options, NULL, why, sizeof why)) ||
        redis_new(&b->maker, &b->options, NULL, why, sizeof why)) {
        fprintf(stderr, "redis_bench: %s\n", why);
        exit(1);
    }
}

static void followed(void *owner, struct store_op *op)
{
    struct bench *b = owner;
    b->done++;
    b->bad += op->status != STORE_OK;
}

/* The second node follows all channels, and all users are connected to it. */
static void follow_all(struct bench *b)
{
    struct bus_follow *all = calloc(CHANNELS, sizeof *all);
    struct bus_session_put *users = calloc(USERS, sizeof *users);
    b->done = b->bad = 0;
    for (unsigned i = 0; i < CHANNELS; i++) {
        all[i] = (struct bus_follow){.op = {.home = &b->mb, .done = followed}, .conv = conv_key_slice(&b->conv[i])};
        bus_follow(store_bus(b->other), &all[i]);
    }
    for (unsigned i = 0; i < USERS; i++) {
        users[i] = (struct bus_session_put){.op = {.home = &b->mb, .done = followed}, .user = slice_str(b->user[i])};
        bus_session_put(store_bus(b->other), &users[i]);
    }
    while (b->done < CHANNELS + USERS)
        pump(b);
    if (b->bad)
        die("the second node does not hear");
    free(all);
    free(users);
}

static void print(const struct bench *b, const char *name, const char *unit, double ours, double bare)
{
    if (b->json)
        printf("{\"name\":\"%s\",\"unit\":\"%s\",\"engine\":%.2f,\"bare\":%.2f}\n", name, unit, ours, bare);
    else if (bare > 0)
        printf("%-28s %12.2f %s, bare %12.2f, ratio %.2f\n", name, ours, unit, bare, ours / bare);
    else
        printf("%-28s %12.2f %s\n", name, ours, unit);
}

enum { RATE, CPU, MASTER, REPLICA, PRIVATE_RATE, PRIVATE_CPU, PRIVATE_MASTER, PRIVATE_REPLICA, ONE, ONE_PAGE, FIGURES };
static const struct {
    const char *name, *unit;
} figure_names[FIGURES] = {{"appends", "/s"},
                           {"engine thread", "us/message"},
                           {"masters", "us/message"},
                           {"replicas", "us/message"},
                           {"private messages", "/s"},
                           {"engine thread, private", "us/message"},
                           {"masters, private", "us/message"},
                           {"replicas, private", "us/message"},
                           {"one alone, p50", "us"},
                           {"a page of 50 alone, p50", "us"}};

static void note(double v[FIGURES][ROUNDS], unsigned round, unsigned first, struct figures f)
{
    v[first + RATE][round] = f.rate;
    v[first + CPU][round] = f.cpu_us;
    v[first + MASTER][round] = f.masters_us;
    v[first + REPLICA][round] = f.replicas_us;
}

static void run(struct bench *b)
{
    static double v[2][FIGURES][ROUNDS];
    for (unsigned i = 0; i < b->rounds; i++) {
        b->private = false;
        note(v[0], i, RATE, engine_append(b));
        note(v[1], i, RATE, bare_append(b));
        v[0][ONE][i] = engine_alone(b);
        v[1][ONE][i] = bare_alone(b);
        v[0][ONE_PAGE][i] = engine_page(b);
        v[1][ONE_PAGE][i] = bare_page(b);
        b->private = true;
        note(v[0], i, PRIVATE_RATE, engine_append(b));
        note(v[1], i, PRIVATE_RATE, bare_append(b));
    }
    for (unsigned f = 0; f < FIGURES; f++)
        print(b, figure_names[f].name, figure_names[f].unit, median(v[0][f], b->rounds), median(v[1][f], b->rounds));
}

int main(int argc, char **argv)
{
    static struct bench b = {.seconds = 1, .rounds = 5};
    char prefix[17];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            b.seconds = atof(argv[++i]);
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            b.rounds = (unsigned)atoi(argv[++i]);
        else if (strcmp(argv[i], "--json") == 0)
            b.json = true;
        else if (strcmp(argv[i], "--told") == 0)
            b.told = true;
        else
            for (char *a = strtok(argv[i], ","); a && b.address_n < PROCESSES; a = strtok(NULL, ","))
                b.addresses[b.address_n++] = a;
    }
    const char *env = getenv("MAGPIE_TEST_REDIS");
    if (!b.address_n && env)
        for (char *a = strtok(strdup(env), ","); a && b.address_n < PROCESSES; a = strtok(NULL, ","))
            b.addresses[b.address_n++] = a;
    if (!b.address_n || b.rounds < 1 || b.rounds > ROUNDS || b.seconds <= 0)
        die("usage: redis_bench [--seconds N] [--rounds 1-32] [--told] [--json] HOST:PORT,…");
    log_open(NULL, LOG_TEXT, LOG_WARN);
    hash_init();
    bench_open(&b, prefix);
    processes_open(&b);
    make_users(&b);
    make_channels(&b);
    if (b.told)
        follow_all(&b);
    run(&b);
    store_close(b.store);
    if (b.told)
        store_close(b.other);
    redis_free(b.maker);
    processes_close(&b);
    return 0;
}
