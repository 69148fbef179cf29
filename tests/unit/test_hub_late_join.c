/* Where pushes begin of memberships that another node has made: what is stored after that is pushed, or push 107 says
 * that something is missing, before anything else. The test is the other nodes (news_kit.h). */
#include "news_kit.h"

#include "core/hub/people/copy.h"

/* Ann has a connection here and joins elsewhere; bob is a member here from the beginning. Both are on the first shard,
 * or each on one. */
struct scene {
    struct kit k;
    const char *ann;
    struct peer *a, *b;
};

static void begin(struct scene *x, unsigned shards)
{
    open_cluster(&x->k, shards);
    kit_gate.version = kit_bus.version = 5;
    kit_gate.arrivals = kit_bus.arrivals = 0;
    x->ann = kit_id(&x->k, "ann", shards - 1);
    x->a = peer_login(&x->k, x->ann, shards - 1);
    x->b = peer_login(&x->k, kit_id(&x->k, "bob", 0), 0);
    works(peer_ask(x->b, 3, "{\"name\":\"room\"}"));
    kit_settle(&x->k);
}

static void end(struct scene *x)
{
    peer_close(x->a);
    peer_close(x->b);
    kit_end(&x->k);
}

static void joins(struct scene *x, const char *channel)
{
    struct conv_key key = conv_key_channel(S(channel));
    struct store_member_put q = {.conv = conv_key_slice(&key), .user = S(x->ann), .may_create = true};
    OTHER(store_member_put, &q);
    assert_int_equal(q.op.status, STORE_OK);
}

/* News of ann's membership of that version, made when the channel had that seq. change: 0: only how she is told. */
static void hear_of(struct scene *x, const char *channel, uint64_t version, uint64_t seq, unsigned change,
                    enum push_mode push)
{
    struct conv_key key = conv_key_channel(S(channel));
    const struct bus_news n = {.kind = NEWS_MEMBER,
                               .change = (uint8_t)change,
                               .members = 2,
                               .version = version,
                               .seq = seq,
                               .push = (uint8_t)push,
                               .conv = conv_key_slice(&key),
                               .user = S(x->ann)};
    kit_gate.version = kit_bus.version = version;
    test_bus_hear(&kit_bus, &n);
}

/* Said elsewhere, and heard here. */
static void said(struct scene *x, const char *text)
{
    struct said *m = say("room", "far", "%s", text);
    hear(m);
    gets(x->b, m->n.seq, text);
}

/* In that order: that it joined, and that it is behind. */
static void joined_behind(struct scene *x, const char *channel, unsigned seq)
{
    kit_settle(&x->k);
    struct peer_frame *joined = peer_look(x->a, 112, 0), *behind = peer_look(x->a, 107, 0);
    assert_non_null(joined);
    assert_non_null(behind);
    assert_true(joined < behind);
    has(peer_push(x->a, 112), "joined");
    char expected[80];
    snprintf(expected, sizeof expected, "{\"channel\":\"%s\",\"seq\":%u}", channel, seq);
    assert_string_equal(peer_push(x->a, 107), expected);
}

static void behind(struct peer *p, const char *channel, unsigned seq)
{
    char expected[80];
    snprintf(expected, sizeof expected, "{\"channel\":\"%s\",\"seq\":%u}", channel, seq);
    assert_string_equal(peer_push(p, 107), expected);
}

enum { JOINED = MEMBER_JOINED + 1 };

static void nothing_was_pushed_since(unsigned shards)
{
    struct scene x;
    begin(&x, shards);
    said(&x, "one");
    joins(&x, "room");
    hear_of(&x, "room", 6, 1, JOINED, MODE_DEFAULT);
    has(peer_push(x.a, 112), "joined");
    gets_nothing(&x.k, x.a);
    said(&x, "two");
    gets(x.a, 2, "two");
    end(&x);
}

static void nothing_is_missing(void **state)
{
    (void)state;
    nothing_was_pushed_since(1);
    nothing_was_pushed_since(2);
}

/* The news of the membership come after those of messages that it has. */
static void some_was_pushed_since(unsigned shards)
{
    struct scene x;
    begin(&x, shards);
    said(&x, "one");
    joins(&x, "room");
    said(&x, "two");
    said(&x, "three");
    hear_of(&x, "room", 6, 1, JOINED, MODE_DEFAULT);
    joined_behind(&x, "room", 3);
    said(&x, "four");
    gets(x.a, 4, "four");
    gets_nothing(&x.k, x.a);
    end(&x);
}

static void news_that_come_late(void **state)
{
    (void)state;
    some_was_pushed_since(1);
    some_was_pushed_since(2);
}

/* What comes while the owner is asked is told of, and is not pushed twice. */
static void messages_meanwhile(void **state)
{
    struct scene x;
    (void)state;
    begin(&x, 2);
    joins(&x, "room");
    hear_of(&x, "room", 6, 0, JOINED, MODE_DEFAULT);
    for (unsigned i = 0; i < 20; i++)
        hear(say("room", "far", "m%u", i));
    has(peer_push(x.a, 112), "joined");
    kit_settle(&x.k);
    unsigned from = 0;
    if (peer_look(x.a, 107, 0)) /* it depends on who is faster */
        from = (unsigned)strtoul(strstr(peer_push(x.a, 107), "\"seq\":") + 6, NULL, 10);
    for (unsigned i = from + 1; i <= 20; i++) {
        char expected[32];
        snprintf(expected, sizeof expected, "\"seq\":%u}", i);
        has(peer_push(x.a, 102), expected);
    }
    gets_nothing(&x.k, x.a);
    end(&x);
}

/* A version is missing, and the user is read: when she joined nobody says. */
static void found_by_reading(void **state)
{
    struct scene x;
    (void)state;
    begin(&x, 2);
    said(&x, "one");
    joins(&x, "room");
    said(&x, "two");
    joins(&x, "hall");
    hear_of(&x, "hall", 9, 0, JOINED, MODE_DEFAULT); /* of which it is known */
    const char *push = peer_push(x.a, 112);
    bool hall_first = strstr(push, "hall");
    has(peer_push(x.a, 112), hall_first ? "room" : "hall");
    behind(x.a, "room", 2);
    said(&x, "three");
    gets(x.a, 3, "three");
    hear(say("hall", "far", "first"));
    gets(x.a, 1, "first");
    gets_nothing(&x.k, x.a);
    end(&x);
}

/* The same of a channel that nobody here is in, so that it is followed first. */
static void found_by_reading_where_nobody_is(void **state)
{
    struct scene x;
    (void)state;
    begin(&x, 2);
    joins(&x, "yard");
    (void)say("yard", "far", "one");
    hear_of(&x, "other", 9, 0, 0, MODE_DEFAULT);
    joined_behind(&x, "yard", 1);
    hear(say("yard", "far", "two"));
    gets(x.a, 2, "two");
    gets_nothing(&x.k, x.a);
    end(&x);
}

/* She was a member, and heard nothing. */
static void who_wants_to_hear_again(void **state)
{
    struct scene x;
    (void)state;
    begin(&x, 2);
    joins(&x, "room");
    hear_of(&x, "room", 6, 0, JOINED, MODE_NONE);
    has(peer_push(x.a, 112), "joined");
    said(&x, "one");
    gets_nothing(&x.k, x.a);
    said(&x, "two");
    hear_of(&x, "room", 7, 1, 0, MODE_ALL);
    behind(x.a, "room", 2);
    said(&x, "three");
    gets(x.a, 3, "three");
    end(&x);
}

/* Her other connection to this node asks, and the answer comes after messages of later. */
static void an_answer_that_comes_late(void **state)
{
    struct scene x;
    (void)state;
    begin(&x, 1);
    struct peer *a2 = peer_login(&x.k, x.ann, 0);
    kit_settle(&x.k);
    kit_gate.gate[OP_MEMBER_PUT] = GATE_LATE;
    uint16_t seq = peer_put(a2, 3, "{\"name\":\"room\"}");
    KIT_UNTIL(&x.k, gate_store_held(&kit_gate) == 1);
    said(&x, "one");
    gate_open(OP_MEMBER_PUT);
    has(peer_answer(a2, 3, seq), "\"seq\":1");
    has(peer_push(x.a, 112), "joined");
    behind(x.a, "room", 1);
    gets_nothing(&x.k, a2);
    said(&x, "two");
    gets(a2, 2, "two");
    gets(x.a, 2, "two");
    peer_close(a2);
    end(&x);
}

/* She leaves here and joins elsewhere, and this node hears of the later one first: she is a member. */
static void an_own_leave_that_was_overtaken(void **state)
{
    struct scene x;
    (void)state;
    begin(&x, 1);
    kit_gate.changed = 6;
    works(peer_ask(x.a, 3, "{\"name\":\"room\"}"));
    kit_gate.gate[OP_MEMBER_DEL] = GATE_LATE;
    kit_gate.changed = 7;
    uint16_t seq = peer_put(x.a, 6, "{\"name\":\"room\"}");
    KIT_UNTIL(&x.k, gate_store_held(&kit_gate) == 1);
    joins(&x, "room");
    hear_of(&x, "room", 8, 0, JOINED, MODE_DEFAULT);
    kit_settle(&x.k);
    gate_open(OP_MEMBER_DEL);
    works(peer_answer(x.a, 6, seq));
    kit_settle(&x.k);
    said(&x, "one");
    gets(x.a, 1, "one");
    end(&x);
}

/* The order to take her out comes when she is in again, or before it is known that she was. */
static void an_order_that_comes_late(void **state)
{
    struct scene x;
    (void)state;
    begin(&x, 1);
    joins(&x, "room");
    hear_of(&x, "room", 6, 0, JOINED, MODE_DEFAULT);
    has(peer_push(x.a, 112), "joined");
    struct bus_order left = {
        .kind = ORDER_REMOVE, .user = S(x.ann), .body = S("room"), .conn = {.node = 6 /* a version */}};
    test_bus_tell(&kit_bus, &left);
    kit_settle(&x.k);
    said(&x, "one");
    gets(x.a, 1, "one");
    struct bus_order leaves = {.kind = ORDER_REMOVE, .user = S(x.ann), .body = S("room"), .conn = {.node = 7}};
    test_bus_tell(&kit_bus, &leaves);
    kit_settle(&x.k);
    said(&x, "two");
    gets_nothing(&x.k, x.a);
    end(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_missing),
        cmocka_unit_test(news_that_come_late),
        cmocka_unit_test(messages_meanwhile),
        cmocka_unit_test(found_by_reading),
        cmocka_unit_test(found_by_reading_where_nobody_is),
        cmocka_unit_test(who_wants_to_hear_again),
        cmocka_unit_test(an_answer_that_comes_late),
        cmocka_unit_test(an_own_leave_that_was_overtaken),
        cmocka_unit_test(an_order_that_comes_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
