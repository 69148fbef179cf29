/* Watched presence: what is kept for it, and that all of it goes again. */
#include "hub_kit.h"
#include "core/hub/people/watch.c"

static uint32_t kept(const struct shard *s)
{
    const struct watches *w = s->watches;
    return w ? w->watched.live + w->targets.live + w->watchers.live + w->links.live : 0;
}

/* Until what was told is out of the lists that hold it back. */
static void pass(struct kit *k)
{
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < k->hub->shard_count; i++) {
            kit_shard(k, i)->now_ms += 2 * WATCH_QUIET_MS;
            watch_tick(kit_shard(k, i));
            while (watch_step(kit_shard(k, i)))
                ;
        }
        kit_settle(k);
    }
}

static void nothing_is_left(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1), *cid = kit_id(&k, "cid", 0);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 1), *c = peer_login(&k, cid, 0);
    struct shard *zero = kit_shard(&k, 0), *one = kit_shard(&k, 1);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    works(peer_ask(c, 3, "{\"name\":\"room\"}"));
    assert_null(zero->watches); /* nobody watches: nothing is kept */
    assert_null(one->watches);
    has(peer_ask(a, 18, "{\"ids\":[\"%s\",\"%s\",\"%s\"],\"watch\":true}", bob, cid, ann), bob);
    has(peer_ask(c, 18, "{\"ids\":[\"%s\"],\"watch\":true}", bob), bob);
    assert_int_equal(watch_count(zero, kit_conn(&k, ann)), 3);
    assert_int_equal(zero->watches->targets.live, 3);
    assert_int_equal(one->watches->watched.live, 1); /* two connections of one shard, one mail */
    peer_close(b);
    kit_settle(&k);
    has(peer_push(a, 111), "\"online\":false");
    has(peer_push(c, 111), "\"online\":false");
    works(peer_ask(c, 18, "{\"ids\":[\"%s\"],\"watch\":false}", bob));
    peer_close(a); /* while what it was told of is held back */
    kit_settle(&k);
    pass(&k);
    assert_int_equal(kept(zero) + kept(one), 0);
    peer_close(c);
    kit_settle(&k);
    kit_end(&k);
}

/* Who begins to watch and is answered hears of a change that comes in the same turn of the loop. */
static void a_change_in_the_turn_of_the_answer(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 0);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 0);
    struct shard *s = kit_shard(&k, 0);
    uint32_t conn = kit_conn(&k, ann);
    assert_int_equal(watch_add(s, conn, S(bob)), 0);
    assert_true(watch_answer(s, conn, S(bob)));
    watch_changed(s, S(bob), false);
    while (watch_step(s))
        ;
    kit_settle(&k);
    has(peer_push(a, 111), "\"online\":false");
    peer_close(b);
    peer_close(a);
    kit_settle(&k);
    kit_end(&k);
}

/* A change that comes too soon is told when it is due, and one that is taken back is not told. */
static void held_back(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 0), *bob = kit_id(&k, "bob", 1);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, bob, 1);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 18, "{\"ids\":[\"%s\"],\"watch\":true}", bob));
    struct shard *one = kit_shard(&k, 1);
    for (int i = 0; i < 7; i++)
        watch_changed(one, S(bob), i % 2);
    kit_settle(&k);
    has(peer_push(a, 111), "\"online\":false");
    assert_int_equal(peer_left(a), 0);
    watch_changed(one, S(bob), true);
    kit_settle(&k);
    assert_int_equal(peer_left(a), 0);
    pass(&k);
    has(peer_push(a, 111), "\"online\":true");
    watch_changed(one, S(bob), false);
    watch_changed(one, S(bob), true);
    kit_settle(&k);
    pass(&k);
    assert_int_equal(peer_left(a), 0);
    peer_close(a);
    peer_close(b);
    kit_settle(&k);
    kit_end(&k);
}

/* One whom many watch is told of in steps; those who stop meanwhile are passed over. */
static void in_steps(void **state)
{
    enum { WATCHERS = 3 * STEP_SENDS };
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    uint32_t conn = kit_conn(&k, "ann");
    /* So many watches of one connection, by users that exist for the tables alone. */
    for (int i = 0; i < WATCHERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%d", i);
        assert_int_equal(watch_add(s, conn, S(id)), 0);
        assert_false(watch_answer(s, conn, S(id)));
    }
    for (int i = 0; i < WATCHERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%d", i);
        watch_changed(s, S(id), true);
    }
    assert_true(watch_step(s));
    watch_remove(s, conn, S("u300"));
    assert_true(watch_step(s));
    while (watch_step(s))
        ;
    kit_settle(&k);
    assert_int_equal(peer_left(a), WATCHERS - 1);
    peer_close(a);
    kit_settle(&k);
    pass(&k);
    assert_int_equal(kept(s), 0);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left),
        cmocka_unit_test(a_change_in_the_turn_of_the_answer),
        cmocka_unit_test(held_back),
        cmocka_unit_test(in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
