/*
 * What stands in Redis, written and read past the engine: for tests that need it to be in a certain state. Synchronous.
 */
#ifndef MAGPIE_TEST_REDIS_RAW_H
#define MAGPIE_TEST_REDIS_RAW_H

#include "redis_kit.h"

#include "storage/redis/client/partition.h"
#include "storage/redis/layout.h"

#include <hiredis/hiredis.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

enum { RAW_MASTERS = 16 };

struct raw {
    char prefix[REDIS_KIT_PREFIX];
    struct partition_tags tags;
    redisContext *at[RAW_MASTERS]; /* connections that were needed so far; owned */
    char address[RAW_MASTERS][64];
    unsigned n;
    uint8_t master[PARTITIONS]; /* which of them has a partition */
};

static inline redisContext *raw_connect(const char *address)
{
    char host[64];
    snprintf(host, sizeof host, "%.*s", (int)(strrchr(address, ':') - address), address);
    redisContext *c = redisConnect(host, atoi(strrchr(address, ':') + 1));
    assert_non_null(c);
    if (c->err)
        fail_msg("%s: %s", address, c->errstr);
    return c;
}

/* The connection to an address. */
static inline redisContext *raw_at(struct raw *w, const char *address)
{
    for (unsigned i = 0; i < w->n; i++)
        if (strcmp(w->address[i], address) == 0)
            return w->at[i];
    assert_true(w->n < RAW_MASTERS);
    snprintf(w->address[w->n], sizeof w->address[0], "%s", address);
    w->at[w->n] = raw_connect(address);
    return w->at[w->n++];
}

/* Who is the master of which partition now. */
static inline void raw_view(struct raw *w)
{
    char first[64];
    const char *all = redis_kit_addresses();
    snprintf(first, sizeof first, "%.*s", (int)strcspn(all, ","), all);
    redisContext *c = raw_connect(first);
    redisReply *slots = redisCommand(c, "CLUSTER SLOTS");
    assert_non_null(slots);
    for (size_t i = 0; i < slots->elements; i++) {
        redisReply **range = slots->element[i]->element, **node = range[2]->element;
        char address[64];
        snprintf(address, sizeof address, "%s:%lld", node[0]->str, node[1]->integer);
        (void)raw_at(w, address);
        for (unsigned k = 0; k < w->n; k++)
            for (long long slot = range[0]->integer; slot <= range[1]->integer; slot++)
                if (strcmp(w->address[k], address) == 0 && slot % SLOTS_EACH == 0)
                    w->master[slot / SLOTS_EACH] = (uint8_t)k;
    }
    freeReplyObject(slots);
    redisFree(c);
}

/* Needs a cluster (redis_kit_need()). */
static inline void raw_init(struct raw *w)
{
    memset(w, 0, sizeof *w);
    redis_kit_prefix(w->prefix);
    partition_tags_make(&w->tags);
    raw_view(w);
}

static inline void raw_fini(struct raw *w)
{
    for (unsigned i = 0; i < w->n; i++)
        redisFree(w->at[i]);
}

/* Masters end all connections of this process but those of here. Other tests use the same masters side by side. */
static inline void raw_end_links(struct raw *w)
{
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in a;
        socklen_t n = sizeof a;
        bool own = false;
        for (unsigned i = 0; i < w->n; i++)
            own |= w->at[i]->fd == fd;
        if (own || getsockname(fd, (struct sockaddr *)&a, &n) != 0 || a.sin_family != AF_INET)
            continue;
        char host[INET_ADDRSTRLEN];
        (void)inet_ntop(AF_INET, &a.sin_addr, host, sizeof host);
        for (unsigned i = 0; i < w->n; i++)
            freeReplyObject(redisCommand(w->at[i], "CLIENT KILL ADDR %s:%u", host, ntohs(a.sin_port)));
    }
}

/* A key, in memory that lives until the next dozen of calls. `rest` may be empty. */
static inline struct slice raw_key(struct raw *w, char kind, unsigned part, struct slice rest)
{
    static char keys[12][400];
    static unsigned turn;
    char *p = keys[turn++ % 12];
    struct slice tag = partition_tag(&w->tags, (uint16_t)part);
    int n = snprintf(p, sizeof keys[0], "%s%c{%.*s}%s", w->prefix, kind, (int)tag.n, tag.p, rest.p ? ":" : "");
    if (rest.n)
        memcpy(p + n, rest.p, rest.n);
    return slice_of(p, (size_t)n + rest.n);
}

/* The master that has a key. */
static inline redisContext *raw_master(struct raw *w, struct slice key)
{
    const char *open = memchr(key.p, '{', key.n), *close = memchr(key.p, '}', key.n);
    return w->at[w->master[partition_slot_of(slice_of(open + 1, (size_t)(close - open) - 1)) / SLOTS_EACH]];
}

/* A command, to the master of its key, argv[1]. The caller frees the reply. An error fails the test. */
static inline redisReply *raw_call(struct raw *w, const struct slice *argv, unsigned n)
{
    const char *p[64];
    size_t sizes[64];
    assert_true(n <= 64);
    for (unsigned i = 0; i < n; i++) {
        p[i] = argv[i].p ? argv[i].p : "";
        sizes[i] = argv[i].n;
    }
    for (unsigned try = 0; try < 100; try++) {
        redisReply *reply = redisCommandArgv(raw_master(w, argv[1]), (int)n, p, sizes);
        assert_non_null(reply);
        if (reply->type != REDIS_REPLY_ERROR)
            return reply;
        if (strncmp(reply->str, "MOVED ", 6) != 0)
            fail_msg("%.*s: %s", (int)argv[0].n, argv[0].p, reply->str);
        freeReplyObject(reply);
        raw_view(w);
    }
    fail_msg("no master");
    return NULL;
}

#define RAW(w, ...)                                                                                                    \
    raw_call((w), (const struct slice[]){__VA_ARGS__},                                                                 \
             sizeof((const struct slice[]){__VA_ARGS__}) / sizeof(struct slice))

/* The same for a command that answers a number, or nothing: 0. */
#define RAW_NUMBER(w, ...) raw_number(RAW(w, __VA_ARGS__))
static inline long long raw_number(redisReply *reply)
{
    long long v = reply->type == REDIS_REPLY_INTEGER  ? reply->integer
                  : reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10)
                                                      : 0;
    freeReplyObject(reply);
    return v;
}

static inline struct slice raw_u48(char out[6], uint64_t v)
{
    layout_put48(out, v);
    return slice_of(out, 6);
}

/* Keys of the test in the whole cluster whose kind is `kind` (0: any), and of them those that end by themselves. */
static inline unsigned raw_keys(struct raw *w, char kind, unsigned *ending)
{
    unsigned n = 0;
    *ending = 0;
    for (unsigned i = 0; i < w->n; i++) {
        char pattern[40];
        snprintf(pattern, sizeof pattern, kind ? "%s%c{*" : "%s*", w->prefix, kind);
        for (unsigned long long cursor = 0;;) {
            redisReply *page = redisCommand(w->at[i], "SCAN %llu MATCH %s COUNT 5000", cursor, pattern);
            assert_non_null(page);
            cursor = strtoull(page->element[0]->str, NULL, 10);
            for (size_t k = 0; k < page->element[1]->elements; k++) {
                const redisReply *key = page->element[1]->element[k];
                redisReply *ttl = redisCommand(w->at[i], "TTL %b", key->str, key->len);
                n++;
                *ending += ttl->type == REDIS_REPLY_INTEGER && ttl->integer >= 0;
                freeReplyObject(ttl);
            }
            freeReplyObject(page);
            if (!cursor)
                break;
        }
    }
    return n;
}

#endif
