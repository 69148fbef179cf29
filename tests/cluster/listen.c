/*
 * A node's ear, and another node, for tests that break the cluster meanwhile: two engines in one process.
 *
 *     listen PREFIX HOST:PORT,… [COPIES]
 *
 * The first engine's bus is listened to. Lines that come in are orders:
 *
 *     follow NAME      → followed NAME STATUS SEQ PARTITION
 *     unfollow NAME    → unfollowed NAME STATUS 0 PARTITION
 *     say NAME TEXT    the second engine stores a message, as user "maker" → said NAME STATUS SEQ PARTITION
 *     slow MS          so long the first engine sleeps with each news that it hears → slow MS
 *
 * and lines that go out tell what is heard: `nodes INC INC` (the two engines') in the beginning, `heard KIND CHANNEL
 * SEQ`, `reset PARTITION,…`. Ends when the input closes.
 */
#include "tests/cluster/driver.h"

#include "storage/bus.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/nodes/node.h"

#include <stdatomic.h>

enum { LINE = 256 };

struct listen {
    struct store *first, *second;
    struct driver d;
    _Atomic unsigned slow_ms;
};

/* An order under way. */
struct order {
    union {
        struct store_op op;
        struct bus_follow follow;
        struct bus_unfollow unfollow;
        struct store_append append;
        struct store_member_put put;
    };
    struct conv_key key;
    char text[LINE];
};

/* --- What is heard ------------------------------------------------------------------------------------------------ */

static void heard(void *ctx, struct bus_news *n)
{
    struct listen *l = ctx;
    unsigned ms = atomic_load(&l->slow_ms);
    if (ms)
        usleep(ms * 1000);
    struct slice name = conv_is_channel(n->conv) ? conv_channel_name(n->conv) : SLICE_LIT("-");
    printf("heard %u %.*s %llu\n", n->kind, (int)name.n, name.p, (unsigned long long)n->seq);
    fflush(stdout);
    free(n);
}

static void reset(void *ctx, const uint8_t parts[BUS_PARTS])
{
    char line[PARTITIONS * 5 + 16];
    int n = 0;
    (void)ctx;
    for (unsigned i = 0; i < PARTITIONS; i++)
        if (redis_bus_part_in(parts, i))
            n += sprintf(line + n, "%s%u", n ? "," : "", i);
    printf("reset %s\n", line);
    fflush(stdout);
}

static void event(void *ctx, enum bus_event what, uint64_t node)
{
    (void)ctx;
    printf("event %d %llu\n", (int)what, (unsigned long long)node);
    fflush(stdout);
}

static void ordered(void *ctx, struct bus_order *o)
{
    bus_receipt(((struct listen *)ctx)->first->bus, o);
}

static void called(void *ctx, struct bus_called *c)
{
    bus_answer(((struct listen *)ctx)->first->bus, c, SLICE_NONE);
}

static void noted(void *ctx, struct bus_noted *n)
{
    bus_applied(((struct listen *)ctx)->first->bus, n);
}

/* --- Orders ------------------------------------------------------------------------------------------------------- */

static void say_done(const char *what, struct order *o, uint64_t seq)
{
    struct slice name = conv_channel_name(conv_key_slice(&o->key));
    printf("%s %.*s %d %llu %u\n", what, (int)name.n, name.p, (int)o->op.status, (unsigned long long)seq,
           partition_of(conv_key_slice(&o->key)));
    fflush(stdout);
    free(o);
}

static void followed(void *owner, struct store_op *op)
{
    (void)owner;
    say_done("followed", (struct order *)op, ((struct bus_follow *)op)->seq);
}

static void unfollowed(void *owner, struct store_op *op)
{
    (void)owner;
    say_done("unfollowed", (struct order *)op, 0);
}

static void appended(void *owner, struct store_op *op)
{
    (void)owner;
    say_done("said", (struct order *)op, op->status == STORE_OK ? ((struct store_append *)op)->seq : 0);
}

/* Its channel is there: now it is said. */
static void joined(void *owner, struct store_op *op)
{
    struct listen *l = owner;
    struct order *o = (struct order *)op;
    if (op->status != STORE_OK) {
        say_done("said", o, 0);
        return;
    }
    o->append = (struct store_append){.op = {.home = &l->d.mb, .done = appended},
                                      .conv = conv_key_slice(&o->key),
                                      .tier = TIER_SMALL,
                                      .sender = SLICE_LIT("maker"),
                                      .sender_name = SLICE_LIT("maker"),
                                      .content = slice_str(o->text),
                                      .client_id = slice_str(o->text)};
    store_append(l->second, &o->append);
}

static void obey(struct listen *l, char *line)
{
    char *rest = NULL, *what = strtok_r(line, " ", &rest), *name = strtok_r(NULL, " ", &rest);
    struct order *o = calloc(1, sizeof *o);
    if (!o || !what || !name)
        abort();
    o->key = conv_key_channel(slice_str(name));
    snprintf(o->text, sizeof o->text, "%s", rest && *rest ? rest : "-");
    if (strcmp(what, "follow") == 0) {
        o->follow = (struct bus_follow){.op = {.home = &l->d.mb, .done = followed}, .conv = conv_key_slice(&o->key)};
        bus_follow(store_bus(l->first), &o->follow);
    } else if (strcmp(what, "unfollow") == 0) {
        o->unfollow =
            (struct bus_unfollow){.op = {.home = &l->d.mb, .done = unfollowed}, .conv = conv_key_slice(&o->key)};
        bus_unfollow(store_bus(l->first), &o->unfollow);
    } else if (strcmp(what, "say") == 0) {
        o->put = (struct store_member_put){.op = {.home = &l->d.mb, .done = joined},
                                           .conv = conv_key_slice(&o->key),
                                           .user = SLICE_LIT("maker"),
                                           .may_create = true};
        store_member_put(l->second, &o->put);
    } else {
        atomic_store(&l->slow_ms, (unsigned)atoi(name));
        printf("slow %s\n", name);
        fflush(stdout);
        free(o);
    }
}

/* Obeys whole lines of what has come; keeps the rest. */
static size_t obey_all(struct listen *l, char *input, size_t n)
{
    char *at = input, *end;
    while ((end = memchr(at, '\n', n - (size_t)(at - input)))) {
        *end = '\0';
        obey(l, at);
        at = end + 1;
    }
    n -= (size_t)(at - input);
    memmove(input, at, n);
    return n;
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

static void run(struct listen *l)
{
    char input[16384];
    size_t n = 0;
    for (;;) {
        if (!driver_wait(&l->d, l, true, 1000))
            continue;
        ssize_t got = read(0, input + n, sizeof input - n);
        if (got <= 0)
            return;
        n = obey_all(l, input, n + (size_t)got);
    }
}

static struct store *open_one(const struct store_options *o)
{
    struct store *s = NULL;
    char why[512] = "";
    if (redis_open_hooked(&s, o, NULL, why, sizeof why)) {
        printf("wrong: %s\n", why);
        exit(1);
    }
    return s;
}

static uint64_t inc_of(struct store *s)
{
    return redis_bus_inc(redis_of(s)); /* it does not change before somebody buries it */
}

int main(int argc, char **argv)
{
    static struct listen l;
    if (argc < 3 || argc > 4)
        return 2;
    driver_init(&l.d);
    struct store_options o = driver_options(argc, argv);
    l.first = open_one(&o);
    l.second = open_one(&o);
    const struct bus_ears ears = {&l, heard, reset, event, ordered, called, noted};
    bus_listen(store_bus(l.first), &ears);
    printf("nodes %llu %llu\n", (unsigned long long)inc_of(l.first), (unsigned long long)inc_of(l.second));
    fflush(stdout);
    run(&l);
    bus_listen(store_bus(l.first), NULL);
    store_close(l.second);
    store_close(l.first);
    mailbox_run(&l.d.mb, &l);
    return 0;
}
