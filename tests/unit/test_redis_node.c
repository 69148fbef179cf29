/* Who lives: nodes that end, are buried, and come back (nodes/node.c). */
#include "redis_node_kit.h"

static uint64_t inc_of(const struct ears *e)
{
    struct bus_node list[8];
    unsigned n = node_list(redis_of(e->s), list, 8);
    for (unsigned i = 0; i < n && i < 8; i++)
        if (list[i].self)
            return list[i].node;
    return 0;
}

static uint16_t number_of(const struct ears *e)
{
    struct bus_node list[8];
    unsigned n = node_list(redis_of(e->s), list, 8);
    for (unsigned i = 0; i < n && i < 8; i++)
        if (list[i].self)
            return list[i].number;
    return 0;
}

/* A node that was taken for dead, and lives: it is another one from then on, and reads all anew. */
static void who_was_buried_comes_back(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    listen_to(a);
    listen_to(b);
    put(a, "k", "v");
    EVENTUALLY(a->place == 1 && b->place == 1);
    uint64_t inc = inc_of(b);
    char field[24];
    snprintf(field, sizeof field, "i%llu", (unsigned long long)inc);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HDEL"), raw_key(&w->raw, 'N', 0, SLICE_NONE), S(field)), 1);
    EVENTUALLY(b->back != 0);
    assert_int_equal(b->buried, inc);
    assert_int_equal(b->back, inc_of(b));
    assert_true(b->back > inc);
    EVENTUALLY(strstr(b->notes, "all ") != NULL);
    EVENTUALLY(a->deads == 1);
    assert_int_equal(a->dead[0], inc);
    assert_int_equal(b->deads, 0); /* it does not take itself for dead */
    put(a, "k", "w");
    EVENTUALLY(a->place == 2 && b->place == 2);
}

/* A node that was taken for dead, and whose number another one has by now: it takes another number, for a number is
 * there for people only. One that waits for its own would serve nobody, and its clients would wait with it. */
static void who_comes_back_takes_any_number(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    struct slice nodes = raw_key(&w->raw, 'N', 0, SLICE_NONE);
    EVENTUALLY(node_list(redis_of(a->s), NULL, 0) == 2);
    uint64_t inc = inc_of(b);
    uint16_t number = number_of(b);
    char field[24];
    snprintf(field, sizeof field, "i%llu", (unsigned long long)inc);
    uint64_t end = clock_mono_ms() + 60000;
    bool back = false;
    for (uint8_t beat = 1; !back && clock_mono_ms() < end; beat++) { /* that one lives: its beat moves */
        struct buf row = BUF_INIT;
        struct node_about about = {.state = NODE_UP, .era = UINT32_MAX, .known = UINT64_MAX};
        buf_u16(&row, number);
        buf_put(&row, "\0\0\0\0\1", 5);
        buf_byte(&row, beat);
        buf_put(&row, "token...", NODES_TOKEN);
        node_about_put(&row, &about);
        (void)RAW_NUMBER(&w->raw, S("HDEL"), nodes, S(field));
        (void)RAW_NUMBER(&w->raw, S("HSET"), nodes, S("i99"), buf_slice(&row));
        buf_free(&row);
        usleep(20000);
        pthread_mutex_lock(&lock);
        back = b->back != 0;
        pthread_mutex_unlock(&lock);
    }
    assert_true(back);
    assert_int_equal(b->buried, inc);
    assert_true(number_of(b) != number && number_of(b) != number_of(a));
}

/* One whose beat stands still. Nothing else of this machine tells that it is dead. */
static void who_stands_still_is_buried(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0);
    struct node_about about = {.state = NODE_UP, .host_n = 4, .host = "host", .era = UINT32_MAX, .log = 1};
    struct buf row = BUF_INIT;
    struct slice nodes = raw_key(&w->raw, 'N', 0, SLICE_NONE);
    buf_u16(&row, 9);
    buf_put(&row, "\0\0\0\0\0\7token...", 6 + NODES_TOKEN);
    node_about_put(&row, &about);
    (void)RAW_NUMBER(&w->raw, S("HSET"), nodes, S("i99"), buf_slice(&row));
    EVENTUALLY(node_list(redis_of(a->s), NULL, 0) == 2);
    assert_true(node_leads(redis_of(a->s))); /* its incarnation is the lowest */
    assert_int_equal(a->deads, 0);
    EVENTUALLY(a->deads == 1);
    assert_int_equal(a->dead[0], 99);
    assert_int_equal(a->patrols, 1);
    assert_int_equal(node_count_dead(redis_of(a->s)), 1);
    assert_int_equal(RAW_NUMBER(&w->raw, S("HEXISTS"), nodes, S("i99")), 0);
    buf_free(&row);
}

static bool sees_draining(struct ears *e, uint64_t inc)
{
    struct bus_node list[8];
    unsigned n = node_list(redis_of(e->s), list, 8);
    for (unsigned i = 0; i < n; i++)
        if (list[i].node == inc)
            return list[i].draining;
    return false;
}

/* One that ends says so, and is gone at once. */
static void who_ends_leaves(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    uint64_t inc = inc_of(b);
    EVENTUALLY(node_list(redis_of(a->s), NULL, 0) == 2);
    assert_false(sees_draining(a, inc));
    node_drain(redis_of(b->s));
    EVENTUALLY(sees_draining(a, inc));
    store_close(b->s);
    b->s = NULL;
    EVENTUALLY(a->deads == 1);
    assert_int_equal(a->dead[0], inc);
    assert_int_equal(a->patrols, 0); /* nothing died with it */
    assert_int_equal(node_count_dead(redis_of(a->s)), 0);
}

/* The table of nodes was emptied: no incarnation is given twice. */
static void the_table_is_lost(void **state)
{
    struct world *w = need(state);
    struct ears *a = node(w, 0), *b = node(w, 1);
    uint64_t first = inc_of(a), second = inc_of(b);
    (void)RAW_NUMBER(&w->raw, S("DEL"), raw_key(&w->raw, 'N', 0, SLICE_NONE));
    EVENTUALLY(a->back && b->back);
    assert_int_equal(a->buried, first);
    assert_int_equal(b->buried, second);
    uint64_t most = first > second ? first : second;
    assert_true(a->back != b->back && a->back > most && b->back > most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_was_buried_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(who_comes_back_takes_any_number, setup, teardown),
        cmocka_unit_test_setup_teardown(who_stands_still_is_buried, setup, teardown),
        cmocka_unit_test_setup_teardown(who_ends_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(the_table_is_lost, setup, teardown),
    };
    mailbox_init(&answer_.home, wake, NULL); /* which outlives all engines */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mailbox_fini(&answer_.home);
    return failed;
}
