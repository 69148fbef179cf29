/*
 * Helpers of the store's tests: a world with a store, one mailbox and clocks that the test turns by hand, and
 * synchronous calls. Included by test_store*.c alone.
 */
#ifndef MAGPIE_TEST_STORE_UTIL_H
#define MAGPIE_TEST_STORE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "storage/conv_key.h"
#include "storage/local/local_private.h"
#include "storage/local/meta.h"
#include "storage/redis/redis_private.h"
#include "tests/unit/redis_kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define T0   UINT64_C(1700000000000) /* where the test's clocks begin */
#define DAY  UINT64_C(86400000)
#define S(x) slice_str(x)

struct world {
    struct store *s;
    struct store_options o;
    struct local_hooks hooks;
    struct redis_hooks redis_hooks;
    char prefix[REDIS_KIT_PREFIX]; /* engine "redis": of its keys */
    char members[512];             /* … addresses, NUL-terminated each */
    const char *addresses[16];     /* … in members */
    struct mailbox mb;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool woken;
    _Atomic uint64_t wall, boot;                    /* the injected clocks */
    _Atomic int fail_write, fail_sync, fail_reopen; /* error to inject */
    _Atomic uint64_t sync_delay_us;
    char dir[128];
    char why[512];
};

/* What `done` of a waited-for operation sets. */
struct waiter {
    struct store_op *op;
    bool done;
};
extern struct store_op *util_done[4096]; /* operations in the order of their `done` */
extern unsigned util_done_n;

#ifdef UTIL_MAIN
struct store_op *util_done[4096];
unsigned util_done_n;
#endif

static inline uint64_t util_wall(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->wall);
}
static inline uint64_t util_boot(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->boot);
}
static inline int util_before_write(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->fail_write);
}
static inline int util_before_sync(void *ctx)
{
    struct world *w = ctx;
    if (atomic_load(&w->sync_delay_us))
        usleep((useconds_t)atomic_load(&w->sync_delay_us));
    return atomic_load(&w->fail_sync);
}
static inline int util_before_reopen(void *ctx)
{
    return atomic_load(&((struct world *)ctx)->fail_reopen);
}

static inline void util_wake(void *ctx)
{
    struct world *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->woken = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static inline void util_done_fn(void *owner, struct store_op *op)
{
    (void)owner;
    op->home = NULL; /* the sign that it is done */
    util_done[util_done_n++ % 4096] = op;
}

static inline void util_pump(struct world *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->woken)
        pthread_cond_wait(&w->cond, &w->lock);
    w->woken = false;
    pthread_mutex_unlock(&w->lock);
    mailbox_run(&w->mb, w);
}

static inline void util_prepare(struct world *w, struct store_op *op)
{
    op->home = &w->mb;
    op->done = util_done_fn;
}
static inline void util_wait(struct world *w, struct store_op *op)
{
    while (op->home)
        util_pump(w);
}
/* CALL(w, store_append, &a): hands over, waits, yields the status. */
#define CALL(w, fn, x) (util_prepare((w), &(x)->op), fn((w)->s, (x)), util_wait((w), &(x)->op), (x)->op.status)
#define POST(w, fn, x) (util_prepare((w), &(x)->op), fn((w)->s, (x)))

static inline void util_options(struct world *w, const char *engine)
{
    w->o = (struct store_options){.engine = engine,
                                  .path = w->dir,
                                  .node = 5,
                                  .memory = 32u << 20,
                                  .sync_every_ms = 50,
                                  .tiers = {{0, 100000, DURABILITY_SYNC},
                                            {90 * DAY, 10000, DURABILITY_COMMIT},
                                            {7 * DAY, 1000, DURABILITY_COMMIT}},
                                  .dedup_window_ms = 600000,
                                  .inbox_max = 100};
}

/* Whether the store under test is one in Redis, where the test's clocks count too, but no file. */
static inline bool util_is_redis(const struct world *w)
{
    return strcmp(w->o.engine, "redis") == 0;
}

/* Names the test's Redis Cluster, and a prefix that is as good as an empty database. */
static inline void util_options_redis(struct world *w)
{
    const char *given = redis_kit_addresses();
    assert_non_null(given);
    snprintf(w->members, sizeof w->members, "%s", given);
    for (char *at = strtok(w->members, ","); at && w->o.cluster.address_count < 16; at = strtok(NULL, ","))
        w->addresses[w->o.cluster.address_count++] = at;
    redis_kit_user(&w->o.cluster);
    redis_kit_prefix(w->prefix);
    w->redis_hooks = (struct redis_hooks){.wall_ms = util_wall, .boot_ms = util_boot, .ctx = w};
    w->o.cluster.addresses = w->addresses;
    w->o.cluster.prefix = w->prefix;
    w->o.cluster.copies = 2;
    w->o.cluster.patience_ms = 8000;
    w->o.cluster.isolated_ms = 15000;
}

/* A world with an empty directory; no store yet. */
static inline void world_init(struct world *w, const char *engine)
{
    memset(w, 0, sizeof(*w));
    log_open(NULL, LOG_TEXT, getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR + 1);
    const char *tmp = getenv("TMPDIR");
    snprintf(w->dir, sizeof(w->dir), "%s/magpie-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(w->dir));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
    mailbox_init(&w->mb, util_wake, w);
    atomic_store(&w->wall, T0);
    atomic_store(&w->boot, 1000);
    w->hooks = (struct local_hooks){.clock = {util_wall, util_boot, w},
                                    .before_write = util_before_write,
                                    .before_sync = util_before_sync,
                                    .before_reopen = util_before_reopen,
                                    .ctx = w};
    util_options(w, engine);
    if (util_is_redis(w))
        util_options_redis(w);
}
static inline int world_try(struct world *w)
{
    if (util_is_redis(w))
        return redis_open_hooked(&w->s, &w->o, &w->redis_hooks, w->why, sizeof(w->why));
    return local_open_hooked(&w->s, &w->o, &w->hooks, w->why, sizeof(w->why));
}
static inline void world_open(struct world *w)
{
    if (world_try(w))
        fail_msg("store_open: %s", w->why);
}
static inline void world_close(struct world *w)
{
    if (w->s) {
        store_close(w->s);
        w->s = NULL;
    }
    mailbox_run(&w->mb, w);
}
/* The file in shared memory that a store on `dir` has (durable.c), which outlives a killed process. */
static inline void shm_name(const char *dir, char out[64])
{
    struct stat st;
    char real[4096] = "", id[4200];
    assert_non_null(realpath(dir, real));
    assert_int_equal(stat(real, &st), 0);
    int n = snprintf(id, sizeof(id), "%s:%llu", real, (unsigned long long)st.st_ino);
    snprintf(out, 64, "/dev/shm/magpie-%016llx", (unsigned long long)hash_stable(slice_of(id, (size_t)n)));
}
/* Lost power, as far as a running machine can have it: shared memory is empty, and the file system was mounted anew. */
static inline void power_off(const char *dir)
{
    char shm[64], mark[300];
    uint64_t none = RWH_WRITE_LIFE_NOT_SET;
    shm_name(dir, shm);
    unlink(shm);
    snprintf(mark, sizeof(mark), "%s/mark", dir);
    int fd = open(mark, O_RDWR);
    if (fd >= 0) {
        assert_int_equal(fcntl(fd, F_SET_RW_HINT, &none), 0);
        close(fd);
    }
}
static inline void world_fini(struct world *w)
{
    world_close(w);
    char shm[64];
    shm_name(w->dir, shm);
    unlink(shm);
    char cmd[256];
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", w->dir);
    assert_int_equal(system(cmd), 0);
    mailbox_fini(&w->mb);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->cond);
}
static inline void world_restart(struct world *w)
{
    world_close(w);
    world_open(w);
}
/* Time passes on both clocks. */
static inline void world_pass(struct world *w, uint64_t ms)
{
    atomic_fetch_add(&w->wall, ms);
    atomic_fetch_add(&w->boot, ms);
}

static inline struct conv_key util_pair(const char *a, const char *b)
{
    return conv_key_pair(S(a), S(b));
}
static inline struct conv_key util_channel(const char *name)
{
    return conv_key_channel(S(name));
}

static inline struct store_append append_of(const struct conv_key *conv, enum store_tier tier, const char *sender,
                                            const char *text)
{
    return (struct store_append){
        .conv = conv_key_slice(conv), .tier = tier, .sender = S(sender), .sender_name = S("Name"), .content = S(text)};
}
/* Ids ascend in each conversation. Over the whole store they do in the embedded engine, and else with the time. */
static inline void util_later(struct world *w)
{
    if (util_is_redis(w))
        world_pass(w, 1);
}
/* Appends and checks; returns the seq. */
static inline uint64_t say(struct world *w, const struct conv_key *conv, enum store_tier tier, const char *sender,
                           const char *text)
{
    util_later(w);
    struct store_append a = append_of(conv, tier, sender, text);
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    return a.seq;
}
/* The same for a private message, with the receiver's inbox. */
static inline struct store_append dm(struct world *w, const char *from, const char *to, const char *text,
                                     const char *client)
{
    static struct conv_key k; /* outlives the call */
    util_later(w);
    k = util_pair(from, to);
    struct store_append a = append_of(&k, TIER_DM, from, text);
    a.receiver = S(to);
    a.client_id = S(client);
    (void)CALL(w, store_append, &a);
    return a;
}
static inline struct store_range page_of(struct world *w, const struct conv_key *conv, int64_t after, int64_t before,
                                         uint32_t limit)
{
    struct store_range r = {.conv = conv_key_slice(conv),
                            .has_after = after >= 0,
                            .has_before = before >= 0,
                            .after = (uint64_t)after,
                            .before = (uint64_t)before,
                            .limit = limit};
    assert_int_equal(CALL(w, store_range, &r), STORE_OK);
    return r;
}
/* Checks a page: its seqs as text ("3 4 5"), first, last, more; frees it. */
#define PAGE(w, conv, after, before, limit, seqs, f, l, m)                                                             \
    do {                                                                                                               \
        struct store_range r_ = page_of((w), (conv), (after), (before), (limit));                                      \
        char got_[4096] = "";                                                                                          \
        for (uint32_t i_ = 0; i_ < r_.page.n && strlen(got_) < 4000; i_++)                                             \
            sprintf(got_ + strlen(got_), i_ ? " %d" : "%d", (int)r_.page.messages[i_].seq);                            \
        assert_string_equal(got_, seqs);                                                                               \
        assert_int_equal(r_.first, f);                                                                                 \
        assert_int_equal(r_.last, l);                                                                                  \
        assert_int_equal(r_.more, m);                                                                                  \
        store_page_free(&r_.page);                                                                                     \
    } while (0)

static inline struct store_member_put join(struct world *w, const struct conv_key *c, const char *user)
{
    struct store_member_put m = {.conv = conv_key_slice(c), .user = S(user), .may_create = true};
    (void)CALL(w, store_member_put, &m);
    return m;
}
/* Makes channels, which have a member of their own then, so that something can be said there. */
static inline struct conv_key util_made(struct world *w, const char *name)
{
    struct conv_key c = util_channel(name);
    assert_int_equal(join(w, &c, "maker").op.status, STORE_OK);
    return c;
}
static inline enum store_status user_make(struct world *w, const char *id, const char *name)
{
    struct store_user_save u = {.id = S(id), .name = S(name)};
    return CALL(w, store_user_save, &u);
}
/* Inbox as text: "id-order contents", e.g. "a b c". */
static inline void inbox_text(struct world *w, const char *user, uint64_t after, uint32_t limit, char out[4096],
                              bool *more)
{
    struct store_inbox_peek p = {.user = S(user), .after = after, .limit = limit};
    assert_int_equal(CALL(w, store_inbox_peek, &p), STORE_OK);
    out[0] = '\0';
    for (uint32_t i = 0; i < p.page.n; i++) {
        snprintf(out + strlen(out), 4096 - strlen(out), "%s%.*s", i ? " " : "", (int)p.page.messages[i].content.n,
                 p.page.messages[i].content.p ? p.page.messages[i].content.p : "");
    }
    *more = p.more;
    store_page_free(&p.page);
}
#define INBOX(w, user, after, limit, text, m)                                                                          \
    do {                                                                                                               \
        char got_[4096];                                                                                               \
        bool more_;                                                                                                    \
        inbox_text((w), (user), (after), (limit), got_, &more_);                                                       \
        assert_string_equal(got_, text);                                                                               \
        assert_int_equal(more_, m);                                                                                    \
    } while (0)
static inline uint32_t inbox_size_of(struct world *w, const char *user)
{
    struct store_user_load u = {.id = S(user)};
    assert_int_equal(CALL(w, store_user_load, &u), STORE_OK);
    store_user_load_free(&u);
    return u.inbox;
}

static inline struct kv *util_kv(struct world *w)
{
    return local_of(w->s)->kv;
}

/* Rows of the database whose keys begin so. */
static inline unsigned util_rows(struct world *w, enum kv_family family, struct slice prefix)
{
    unsigned n = 0;
    struct key to;
    struct kv_iter *it = kv_iter_new(util_kv(w), family, prefix, key_after_prefix(&to, prefix));
    for (kv_seek(it, prefix); kv_valid(it); kv_next(it))
        n++;
    kv_iter_free(it);
    return n;
}

/* What the database's rows say of its channels, and the numbers that it keeps of them. */
struct util_census {
    unsigned made, gone, watched; /* counted */
    unsigned o_rows, e_rows;
    uint64_t channels, names; /* kept */
};

static inline struct util_census util_count(struct world *w)
{
    struct util_census n = {0};
    struct kv_iter *it = kv_iter_new(util_kv(w), KV_CHANNEL, S("hc"), S("hd"));
    for (kv_seek(it, S("hc")); kv_valid(it); kv_next(it)) {
        struct head_record h;
        struct key member;
        assert_int_equal(head_decode(kv_value(it), &h), 0);
        n.made += h.flags & HEAD_CHANNEL ? 1 : 0;
        n.gone += h.flags & HEAD_GONE ? 1 : 0;
        n.watched += h.flags & HEAD_WATCHED ? 1 : 0;
        assert_true(h.flags & (HEAD_CHANNEL | HEAD_GONE));
        assert_int_equal(
            h.members,
            util_rows(w, KV_CHANNEL, key_member(&member, slice_of(kv_key(it).p + 2, kv_key(it).n - 2), SLICE_NONE)));
        if (h.flags & HEAD_CHANNEL && !h.members)
            assert_true(h.flags & HEAD_WATCHED);
    }
    kv_iter_free(it);
    assert_true(meta_get_u64(util_kv(w), META_CHANNELS, &n.channels) >= 0);
    assert_true(meta_get_u64(util_kv(w), META_NAMES, &n.names) >= 0);
    n.o_rows = util_rows(w, KV_META, S("o"));
    n.e_rows = util_rows(w, KV_META, S("e"));
    return n;
}

/* The numbers that an embedded database keeps of channels are those of its rows. No operation of the test may be under
 * way; the writer may be at work by itself between two looks, so several are taken. */
static inline void util_sound(struct world *w)
{
    struct util_census n;
    if (util_is_redis(w))
        return;
    for (int i = 0; i < 500; i++) {
        n = util_count(w);
        if (n.channels == n.made && n.names == n.gone && n.o_rows == n.gone && n.e_rows == n.watched)
            return;
        usleep(10000);
    }
    assert_int_equal(n.channels, n.made);
    assert_int_equal(n.names, n.gone);
    assert_int_equal(n.o_rows, n.gone);
    assert_int_equal(n.e_rows, n.watched);
}

static inline struct store_conv_load util_load_of(struct world *w, const struct conv_key *c)
{
    struct store_conv_load l = {.conv = conv_key_slice(c)};
    assert_int_equal(CALL(w, store_conv_load, &l), STORE_OK);
    return l;
}

static inline bool util_exists(struct world *w, const struct conv_key *c)
{
    return util_load_of(w, c).exists;
}

static inline struct store_member_del util_leave(struct world *w, const struct conv_key *c, const char *user)
{
    struct store_member_del m = {.conv = conv_key_slice(c), .user = S(user)};
    (void)CALL(w, store_member_del, &m);
    return m;
}

/* Lets the writer look whose time has come, and has it done. */
static inline void util_look(struct world *w)
{
    for (int i = 0; i < 3; i++) {
        struct store_note_put n = {.note = {S("look"), S("x")}};
        assert_int_equal(CALL(w, store_note_put, &n), STORE_OK);
    }
}

/* Waits for a channel to go, which the writer does in steps; in Redis the sweeper, every two seconds. */
static inline void util_wait_gone(struct world *w, const struct conv_key *c)
{
    for (int i = 0; i < 1000 && util_exists(w, c); i++) {
        util_look(w);
        usleep(util_is_redis(w) ? 20000 : 1000);
    }
    assert_false(util_exists(w, c));
    util_look(w);
}

/* Runs a suite against each kind of store: `engine` is told which. That in Redis where there is one for tests. */
#define UTIL_RUN(name, tests, engine, failed)                                                                          \
    do {                                                                                                               \
        static const char *const kinds_[] = {"memory", "rocksdb", "redis"};                                            \
        for (unsigned k_ = 0; k_ < 3; k_++) {                                                                          \
            (engine) = kinds_[k_];                                                                                     \
            if (k_ < 2 || redis_kit_addresses()) {                                                                     \
                print_message("%s, %s\n", (name), (engine));                                                           \
                (failed) += cmocka_run_group_tests_name((name), (tests), NULL, NULL);                                  \
            }                                                                                                          \
        }                                                                                                              \
    } while (0)

#endif
