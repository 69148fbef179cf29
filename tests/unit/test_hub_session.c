/* Sessions: the order of answers, frames that are held back, how many requests are under way at once, and what is kept
 * when nothing is. */
#include "hub_kit.h"
#include "core/net/net.h"

enum { INFLIGHT = 64 }; /* of req.c */

static struct session *session_of(struct kit *k, const char *id)
{
    return conn_at(shard_of(k->hub, S(id))->net, kit_conn(k, id))->session;
}

/* Answers of one conversation come in the order asked, also when one is ready at once and the one before it is not. */
static void answers_of_a_conversation_keep_their_order(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    gate_hold(OP_APPEND);
    uint16_t first = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"1\"}");
    uint16_t bad = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"\"}");
    uint16_t second = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"2\"}");
    uint16_t other = peer_put(a, 4, "{\"channel\":\"elsewhere\",\"content\":\"1\"}");
    kit_settle(&k);
    /* The other conversation's answer overtakes; nothing of this one's does. */
    fails(peer_answer(a, 4, other), "not_found");
    assert_int_equal(peer_left(a), 0);
    gate_open(OP_APPEND);
    const char *one = peer_wait(a, 4, -1);
    assert_int_equal(number(one, "seq"), 1);
    fails(peer_wait(a, 4, -1), "bad_request");
    assert_int_equal(number(peer_wait(a, 4, -1), "seq"), 2);
    assert_true(first < bad && bad < second);
    peer_close(a);
    kit_end(&k);
}

/* A request of another class waits until those under way are answered; ping never does. */
static void other_classes_are_held(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 1), 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    gate_hold(OP_APPEND);
    uint16_t send = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"1\"}");
    uint16_t ping = peer_put(a, 9, "{}");
    uint16_t read = peer_put(a, 5, "{\"channel\":\"room\"}");
    uint16_t late = peer_put(a, 9, "{}");
    kit_settle(&k);
    has(peer_answer(a, 9, ping), "time");
    assert_int_equal(peer_left(a), 0); /* the second ping stands behind the held frame */
    assert_int_equal(kit_gate.calls[OP_RANGE], 0);
    gate_open(OP_APPEND);
    assert_int_equal(number(peer_answer(a, 4, send), "seq"), 1);
    has(peer_answer(a, 5, read), "\"content\":\"1\""); /* it sees the message */
    has(peer_answer(a, 9, late), "time");
    peer_close(a);
    kit_end(&k);
}

/* So many are under way at once; the rest is not even parsed, and comes when half are answered. */
static void requests_under_way_are_bounded(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\",\"push\":\"none\"}"));
    gate_hold(OP_APPEND);
    for (int i = 0; i < 3 * INFLIGHT; i++)
        peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"%d\"}", i);
    kit_settle(&k);
    assert_int_equal(kit_gate.held, INFLIGHT);
    assert_int_equal(session_of(&k, "ann")->inflight, INFLIGHT);
    assert_true(session_of(&k, "ann")->paused);
    for (int i = 0; i < INFLIGHT / 2 - 1; i++)
        gate_next(STORE_OK);
    kit_settle(&k);
    assert_int_equal(kit_gate.held, INFLIGHT / 2 + 1);
    gate_next(STORE_OK);
    kit_settle(&k);
    assert_int_equal(kit_gate.held, INFLIGHT);
    gate_open(OP_APPEND);
    for (int i = 1; i <= 3 * INFLIGHT; i++)
        assert_int_equal(number(peer_wait(a, 4, -1), "seq"), i);
    kit_settle(&k);
    assert_null(session_of(&k, "ann")); /* idle costs nothing */
    peer_close(a);
    kit_end(&k);
}

/* Reads are large: as many as half the queue has room for. */
static void reads_are_bounded_by_their_size(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.opt.net.output_queue = 8 * 65536;
    k.opt.page_max = 65536;
    kit_start(&k);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    gate_hold(OP_RANGE);
    for (int i = 0; i < 20; i++)
        peer_put(a, 5, "{\"channel\":\"room\"}");
    kit_settle(&k);
    assert_int_equal(kit_gate.held, 4);
    gate_open(OP_RANGE);
    for (int i = 0; i < 20; i++)
        has(peer_wait(a, 5, -1), "messages");
    peer_close(a);
    kit_end(&k);
}

/* A connection that goes while its requests are under way takes its session, held frames and kept answers along. */
static void a_connection_may_go_at_any_time(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 1);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    gate_hold(OP_APPEND);
    peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"1\"}");
    peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"\"}"); /* its answer is kept back */
    peer_put(a, 5, "{\"channel\":\"room\"}");                  /* it is held */
    kit_settle(&k);
    peer_reset(a);
    kit_settle(&k);
    assert_int_equal(net_count(kit_shard(&k, 0)->net), 0);
    assert_int_not_equal(kit_user(&k, kit_id(&k, "ann", 0)), NONE); /* pinned by what is under way */
    gate_open(OP_APPEND);
    kit_settle(&k);
    assert_int_equal(kit_user(&k, kit_id(&k, "ann", 0)), NONE);
    kit_end(&k);
}

/* A session names its device for as long as the connection lives. */
static void a_device_keeps_the_session(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_open(&k, 0);
    works(peer_ask(a, 1, "{\"token\":\"ann\",\"device\":\"phone\"}"));
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    kit_settle(&k);
    const struct session *x = session_of(&k, "ann");
    assert_non_null(x);
    assert_string_equal(x->device, "phone");
    assert_null(x->slots);
    assert_int_equal(x->inflight, 0);
    peer_close(a);
    kit_end(&k);
}

/* Requests and the end of the client's half behind them: all are answered, in order, and then the server ends its
 * half. */
static void answered_to_the_end(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    gate_hold(OP_APPEND);
    uint16_t first = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"1\"}");
    uint16_t second = peer_put(a, 4, "{\"channel\":\"room\",\"content\":\"2\"}");
    uint16_t read = peer_put(a, 5, "{\"channel\":\"room\"}"); /* held until those are answered */
    assert_int_equal(shutdown(a->fd, SHUT_WR), 0);
    kit_settle(&k);
    assert_false(a->ended);
    gate_open(OP_APPEND);
    assert_int_equal(number(peer_answer(a, 4, first), "seq"), 1);
    assert_int_equal(number(peer_answer(a, 4, second), "seq"), 2);
    has(peer_answer(a, 5, read), "\"content\":\"2\"");
    peer_end(a);
    peer_close(a);
    /* The last one of several that are under way. */
    struct peer *b = peer_login(&k, kit_id(&k, "bob", 1), 0);
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    gate_hold(OP_APPEND);
    uint16_t last = peer_put(b, 4, "{\"channel\":\"room\",\"content\":\"3\"}");
    assert_int_equal(shutdown(b->fd, SHUT_WR), 0);
    kit_settle(&k);
    assert_false(b->ended);
    gate_open(OP_APPEND);
    assert_int_equal(number(peer_answer(b, 4, last), "seq"), 3);
    peer_end(b);
    peer_close(b);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_a_conversation_keep_their_order),
        cmocka_unit_test(other_classes_are_held),
        cmocka_unit_test(requests_under_way_are_bounded),
        cmocka_unit_test(reads_are_bounded_by_their_size),
        cmocka_unit_test(a_connection_may_go_at_any_time),
        cmocka_unit_test(a_device_keeps_the_session),
        cmocka_unit_test(answered_to_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
