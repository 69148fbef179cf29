/* For tests of the Redis engine with an archive beside it: MAGPIE_TEST_REDIS and MAGPIE_TEST_POSTGRES, and what stands
 * in which of them. */
#ifndef MAGPIE_TESTS_STORE_ARCHIVE_KIT_H
#define MAGPIE_TESTS_STORE_ARCHIVE_KIT_H

#include "tests/unit/test_store_util.h"

#include "storage/redis/cold/behind.h"
#include "tests/unit/archive_kit.h"

enum { HOT = 4, HOT_AGE_MS = 60000 };

struct both {
    struct world w;
    struct kit *k; /* of it, the superuser's connection and the schema */
    char role[64], url[512];
};

static inline bool there_are_both(void)
{
    return redis_kit_addresses() && getenv("MAGPIE_TEST_POSTGRES");
}

static inline int setup(void **state)
{
    if (!there_are_both())
        return 0;
    struct both *b = calloc(1, sizeof *b);
    assert_int_equal(kit_setup((void **)&b->k), 0);
    world_init(&b->w, "redis");
    snprintf(b->role, sizeof b->role, "r%s", b->k->schema);
    kit_sql(b->k, "create role %s login password 'secret'; grant all on schema %s to %s", b->role, b->k->schema,
            b->role);
    snprintf(b->url, sizeof b->url, "postgresql://%s:secret%s?options=-csearch_path%%3D%s", b->role,
             strrchr(b->k->base, '@'), b->k->schema);
    b->w.o.cluster.archive.url = b->url;
    b->w.o.cluster.archive.hot = HOT;
    b->w.o.cluster.archive.hot_age_ms = HOT_AGE_MS;
    b->w.o.cluster.archive.cache_ms = 600000;
    b->w.o.cluster.patience_ms = 4000;
    b->w.o.inbox_max = 0;
    b->w.o.tiers[TIER_DM] = (struct store_tier_options){.durability = DURABILITY_COMMIT};
    world_open(&b->w);
    *state = b;
    return 0;
}

static inline int teardown(void **state)
{
    struct both *b = *state;
    if (!b)
        return 0;
    world_fini(&b->w);
    kit_sql(b->k, "drop schema %s cascade; drop owned by %s; drop role %s; create schema %s", b->k->schema, b->role,
            b->role, b->k->schema);
    assert_int_equal(kit_teardown((void **)&b->k), 0);
    free(b);
    return 0;
}

static inline struct both *need(void **state)
{
    if (!*state)
        skip();
    return *state;
}

/* --- What stands where -------------------------------------------------------------------------------------------- */

/* A number that Redis replies to a command about a conversation's key; `rest` follows the key. */
static inline long redis_number(struct both *b, const char *command, const struct conv_key *c, const char *rest)
{
    struct redis *r = redis_of(b->w.s);
    struct slice tag = partition_tag(&r->tags, partition_of(conv_key_slice(c)));
    char host[64], line[1024], out[256] = "";
    const char *members = redis_kit_addresses(), *colon = strchr(members, ':');
    snprintf(host, sizeof host, "%.*s", (int)(colon - members), members);
    size_t n = (size_t)snprintf(line, sizeof line, "printf '%s \"%sm{%.*s}:", command, b->w.prefix, (int)tag.n, tag.p);
    for (unsigned i = 0; i < c->n; i++)
        n += (size_t)snprintf(line + n, sizeof line - n, c->p[i] ? "%c" : "\\\\x00", c->p[i]);
    snprintf(line + n, sizeof line - n, "\" %s\\n' | redis-cli -c -h %s -p %d 2>&1", rest, host, atoi(colon + 1));
    FILE *f = popen(line, "r");
    assert_non_null(f);
    while (fgets(out, sizeof out, f)) /* the last line, after redirections */
        ;
    pclose(f);
    return atol(out);
}

/* Rows that Redis has of a conversation. */
static inline long in_redis(struct both *b, const struct conv_key *c)
{
    return redis_number(b, "HLEN", c, "") - redis_number(b, "HEXISTS", c, "h");
}

static inline long in_archive(struct both *b)
{
    return atol(kit_sql(b->k, "select coalesce((select count(*) from message), 0)"));
}

#define EVENTUALLY(b, ms, ...)                                                                                         \
    do {                                                                                                               \
        uint64_t end_ = clock_mono_ms() + 40000;                                                                       \
        while (!(__VA_ARGS__)) {                                                                                       \
            if (clock_mono_ms() > end_)                                                                                \
                fail_msg("never: %s", #__VA_ARGS__);                                                                   \
            world_pass(&(b)->w, (ms));                                                                                 \
            usleep(100000);                                                                                            \
        }                                                                                                              \
    } while (0)

static inline void wait_for_tables(struct both *b)
{
    EVENTUALLY(b, 0,
               kit_sql(b->k, "select to_regclass('message')")[0] &&
                   kit_sql(b->k, "select to_regclass('magpie_archive')")[0]);
}

/* n messages from ann to bob, "1" … */
static inline void talk(struct both *b, unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i);
        struct store_append a = dm(&b->w, "ann", "bob", text, NULL);
        assert_int_equal(a.op.status, STORE_OK);
        assert_int_equal(a.seq, i);
    }
}

/* All but the newest HOT of n messages have left Redis. */
static inline struct conv_key cool(struct both *b, unsigned n)
{
    struct conv_key c = util_pair("ann", "bob");
    wait_for_tables(b);
    talk(b, 1, n);
    EVENTUALLY(b, 200, in_archive(b) == n);
    world_pass(&b->w, HOT_AGE_MS);
    EVENTUALLY(b, 200, in_redis(b, &c) == HOT);
    assert_int_equal(in_archive(b), n);
    return c;
}

/* The text of a message as history shows it; "(recalled)", "(none)", or "(away)". */
static inline const char *text_of(struct both *b, const struct conv_key *c, uint64_t seq)
{
    static char text[256];
    struct store_range q = {.conv = conv_key_slice(c),
                            .has_after = true,
                            .after = seq - 1,
                            .has_before = true,
                            .before = seq + 1,
                            .limit = 1};
    enum store_status status = CALL(&b->w, store_range, &q);
    snprintf(text, sizeof text, "%s", status == STORE_RETRY ? "(away)" : "(none)");
    if (status == STORE_OK && q.page.n) {
        assert_int_equal(q.page.messages[0].seq, seq);
        snprintf(text, sizeof text, "%.*s", (int)q.page.messages[0].content.n, q.page.messages[0].content.p);
        if (q.page.messages[0].recalled)
            snprintf(text, sizeof text, "(recalled)");
    }
    store_page_free(&q.page);
    return text;
}

static inline uint64_t first_of(struct both *b, const struct conv_key *c)
{
    struct store_range q = page_of(&b->w, c, -1, -1, 1);
    store_page_free(&q.page);
    return q.first;
}

static inline enum store_status edit(struct both *b, const struct conv_key *c, uint64_t seq, const char *who,
                                     const char *text)
{
    struct store_edit e = {.conv = conv_key_slice(c), .sender = S(who), .seq = seq, .content = S(text)};
    world_pass(&b->w, 1);
    enum store_status status = CALL(&b->w, store_edit, &e);
    if (status == STORE_OK)
        assert_true(e.id > 0 && e.edited_ms > e.created_ms && e.name_len == 4 && memcmp(e.name, "Name", 4) == 0);
    return status;
}

static inline enum store_status recall(struct both *b, const struct conv_key *c, uint64_t seq, const char *who,
                                       bool *again)
{
    struct store_recall q = {.conv = conv_key_slice(c), .sender = S(who), .seq = seq};
    enum store_status status = CALL(&b->w, store_recall, &q);
    if (again)
        *again = q.again;
    return status;
}

#endif
