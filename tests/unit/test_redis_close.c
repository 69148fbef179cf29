/* Many threads hand over to an engine whose cluster is away, and it ends: each operation is answered once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/base/log.h"
#include "storage/conv_key.h"
#include "storage/redis/io.h"
#include "storage/redis/redis_private.h"

#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 4, EACH = 200 };

/* An operation of one of the kinds that threads hand over. */
struct piece {
    union {
        struct store_op op;
        struct store_append append;
        struct store_range range;
        struct store_user_load load;
        struct store_member_put put;
        struct store_note_put note;
    } u;
    unsigned answers;
};

struct crowd {
    struct store *store;
    struct mailbox mb;
    struct conv_key conv;
    struct piece pieces[THREADS][EACH];
    _Atomic unsigned next; /* thread */
    unsigned answered, wrong;
};

static void nobody_sleeps(void *ctx)
{
    (void)ctx;
}

static void answered(void *owner, struct store_op *op)
{
    struct crowd *c = owner;
    c->answered++;
    ((struct piece *)op)->answers++;
    c->wrong += op->status != STORE_RETRY; /* surely not applied: nothing was ever sent */
}

static void hand_over(struct crowd *c, struct piece *p, unsigned i)
{
    struct store_op op = {.home = &c->mb, .done = answered, .lazy = i % 3 != 0};
    struct slice conv = conv_key_slice(&c->conv), user = SLICE_LIT("u");
    switch (i % 5) {
    case 0:
        p->u.append = (struct store_append){.op = op,
                                            .conv = conv,
                                            .tier = TIER_SMALL,
                                            .sender = user,
                                            .sender_name = user,
                                            .content = SLICE_LIT("x"),
                                            .client_id = i % 2 ? SLICE_LIT("c") : SLICE_NONE};
        store_append(c->store, &p->u.append);
        break;
    case 1:
        p->u.range = (struct store_range){.op = op, .conv = conv, .limit = 5};
        store_range(c->store, &p->u.range);
        break;
    case 2:
        p->u.load = (struct store_user_load){.op = op, .id = user};
        store_user_load(c->store, &p->u.load);
        break;
    case 3:
        p->u.put = (struct store_member_put){.op = op, .conv = conv, .user = user, .may_create = true};
        store_member_put(c->store, &p->u.put);
        break;
    default:
        p->u.note = (struct store_note_put){.op = op, .note = {SLICE_LIT("k"), SLICE_LIT("v")}};
        store_note_put(c->store, &p->u.note);
    }
}

static void *worker(void *arg)
{
    struct crowd *c = arg;
    unsigned t = atomic_fetch_add(&c->next, 1);
    for (unsigned i = 0; i < EACH; i++) {
        hand_over(c, &c->pieces[t][i], i);
        if (i % 20 == 19)
            store_kick(c->store);
    }
    store_kick(c->store);
    return NULL;
}

/* round 0: the end comes at once; 1: patience has run out before. */
static void everything_is_answered(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        const char *addresses[1] = {"127.0.0.1:1"}; /* where nobody listens */
        struct store_options o = {
            .engine = "redis",
            .dedup_window_ms = 600000,
            .cluster = {.addresses = addresses, .address_count = 1, .prefix = "m", .copies = 2, .patience_ms = 300}};
        struct crowd *c = calloc(1, sizeof *c);
        struct redis *r;
        char why[256] = "";
        pthread_t threads[THREADS];
        assert_int_equal(redis_new(&r, &o, NULL, why, sizeof why), 0);
        assert_int_equal(redis_io_start(r), 0); /* redis_open() would wait for the cluster */
        c->store = &r->base;
        c->conv = conv_key_channel(SLICE_LIT("room"));
        mailbox_init(&c->mb, nobody_sleeps, NULL);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, worker, c), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        struct store_stats stats;
        do
            store_get_stats(c->store, &stats);
        while (round && stats.queue && usleep(1000) == 0);
        o.cluster.patience_ms = 200;
        store_configure(c->store, &o);
        store_close(c->store);
        mailbox_run(&c->mb, c);
        assert_int_equal(c->answered, THREADS * EACH);
        assert_int_equal(c->wrong, 0);
        for (int t = 0; t < THREADS; t++)
            for (int i = 0; i < EACH; i++)
                assert_int_equal(c->pieces[t][i].answers, 1);
        mailbox_fini(&c->mb);
        free(c);
    }
}

int main(void)
{
    log_open(NULL, LOG_TEXT, getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR + 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_is_answered)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
