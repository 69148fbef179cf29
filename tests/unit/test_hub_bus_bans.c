/* Bans over the nodes of a cluster: in force everywhere before their user goes, counted everywhere, who does not say so
 * is named, and what has ended goes from the notes. */
#include "cluster_kit.h"

#include "core/hub/host/ban_change.h"
#include "core/hub/people/ban.h"
#include "core/hub/shard/note_sweep.h"

/* --- Made and lifted ---------------------------------------------------------------------------------------------- */

/* A ban is made known everywhere first; then it is in force here, and its user goes, wherever it is. */
static void bans_are_notes_for_every_node(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = newcomer(&k, ann);
    bus_hold(BUS_NOTE);
    kit_bus.connections = 2;
    struct ban_change q = {.kind = BAN_USER, .user = S(ann), .reason = S("spam")};
    KIT_HOST_BEGIN(&k, ban_change, &q);
    kit_settle(&k);
    told("note put ban:0%s", ann);
    told_nothing();
    assert_non_null(q.op.home);
    assert_false(ban_user(kit_shard(&k, 1), S(ann), NULL));
    works(peer_ask(a, 9, "{}"));
    test_bus_next(&kit_bus, STORE_OK);
    KIT_UNTIL(&k, q.op.home == NULL);
    assert_int_equal(q.op.code, CODE_OK);
    assert_int_equal(q.connections, 3);
    has(peer_push(a, 105), "spam");
    told("session_del %s", ann);
    told("order kick %s 0 spam", ann);
    assert_int_equal(kit_gate.calls[OP_NOTE_PUT], 0); /* the bus's note is the store's */
    /* Lifted in the same way. */
    q = (struct ban_change){.kind = BAN_USER, .user = S(ann), .lift = true};
    KIT_HOST_BEGIN(&k, ban_change, &q);
    kit_settle(&k);
    told("note remove ban:0%s", ann); /* whatever it says */
    assert_true(ban_user(kit_shard(&k, 1), S(ann), NULL));
    test_bus_open(&kit_bus);
    KIT_UNTIL(&k, q.op.home == NULL);
    assert_int_equal(q.op.code, CODE_OK);
    assert_false(ban_user(kit_shard(&k, 1), S(ann), NULL));
    peer_end(a);
    peer_close(a);
    kit_end(&k);
}

static void bans_that_not_all_nodes_have(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 1);
    struct peer *a = newcomer(&k, "ann");
    kit_bus.status = STORE_RETRY;
    struct ban_change q = {.kind = MUTE_USER, .user = S("ann")};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_UNAVAILABLE);
    assert_false(ban_muted(kit_shard(&k, 0), S("ann"), SLICE_NONE));
    has(q.op.message, "nothing was changed");
    kit_bus.status = STORE_UNKNOWN;
    q = (struct ban_change){.kind = MUTE_USER, .user = S("ann")};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_UNAVAILABLE);
    has(q.op.message, "may have changed it");
    kit_bus.status = STORE_OK;
    kit_bus.silent = (struct silent_nodes){1, {3}};
    q = (struct ban_change){.kind = MUTE_USER, .user = S("ann")};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_UNAVAILABLE);
    assert_string_equal(q.op.message, "in force here; node 3 has not said so: repeat it");
    assert_int_equal(q.op.silent.n, 1);
    assert_int_equal(q.op.silent.numbers[0], 3);
    assert_true(ban_muted(kit_shard(&k, 0), S("ann"), SLICE_NONE)); /* here it is in force */
    kit_bus.silent.n = 0;
    q = (struct ban_change){.kind = MUTE_USER, .user = S("ann")};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_OK);
    peer_close(a);
    kit_end(&k);
}

/* The key of a ban of an address, as "ban:" and it name the note. */
static struct ban_key address(const char *ip)
{
    struct ban_key key;
    assert_true(ban_key_make(&key, BAN_IP, SLICE_NONE, SLICE_NONE, S(ip)));
    return key;
}

/* The connections of all nodes count; who does not say how many is named. */
static void a_ban_of_an_address_counts_everywhere(void **state)
{
    struct kit k;
    struct ban_key key = address("192.0.2.1");
    (void)state;
    open_cluster(&k, 2);
    kit_bus.node_count = 2;
    kit_bus.nodes[0] = (struct test_bus_node){"2", 1};
    kit_bus.nodes[1] = (struct test_bus_node){"13", 2};
    struct ban_change q = {.kind = BAN_IP, .ip = S("192.0.2.1")};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_OK);
    assert_int_equal(q.connections, 15);
    has(test_bus_line(&kit_bus), "note put ban:1");
    has(test_bus_line(&kit_bus), "call 4 0 1");
    kit_bus.nodes[1].answer = NULL;
    q = (struct ban_change){.kind = BAN_IP, .ip = S("192.0.2.1")};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_UNAVAILABLE);
    assert_int_equal(q.connections, 2);
    assert_string_equal(q.op.message, "in force here; node 3 has not said so: repeat it");
    /* None can be asked. */
    kit_bus.hold = 1u << BUS_CALL;
    q = (struct ban_change){.kind = BAN_IP, .ip = S("192.0.2.1")};
    KIT_HOST_BEGIN(&k, ban_change, &q);
    kit_settle(&k);
    test_bus_next(&kit_bus, STORE_RETRY);
    KIT_UNTIL(&k, q.op.home == NULL);
    assert_string_equal(q.op.message, "in force here; nodes 2 and 3 have not said so: repeat it");
    test_bus_open(&kit_bus);
    /* A lifted one closes nothing, and asks nobody. */
    while (*test_bus_line(&kit_bus))
        ;
    q = (struct ban_change){.kind = BAN_IP, .ip = S("192.0.2.1"), .lift = true};
    assert_int_equal(KIT_HOST(&k, ban_change, &q), CODE_OK);
    has(test_bus_line(&kit_bus), "note remove ban:1");
    told_nothing();
    /* What another node asks is answered. */
    test_bus_ask(&kit_bus, CALL_CLOSED, slice_of(key.p, key.n));
    kit_settle(&k);
    assert_string_equal(kit_bus.answer, "0");
    kit_end(&k);
}

/* --- What has ended ----------------------------------------------------------------------------------------------- */

static void kept(void *owner, struct store_op *op)
{
    (void)owner;
    op->home = NULL;
}

static void keep(struct kit *k, const char *note, uint64_t until_ms)
{
    char value[8];
    store_be64(value, until_ms);
    struct store_note_put put = {.op = {.home = &k->main, .done = kept},
                                 .note = {S(note), slice_of(value, sizeof value)}};
    store_note_put(k->store, &put);
    KIT_UNTIL(k, put.op.home == NULL);
    assert_int_equal(put.op.status, STORE_OK);
}

/* A tick of the first shard, so long after the last sweep. */
static void sweep(struct kit *k, uint64_t after_ms)
{
    struct shard *s = kit_shard(k, 0);
    k->hub->note_sweep.swept_ms = s->now_ms - after_ms;
    note_sweep_tick(s);
    KIT_UNTIL(k, !atomic_load(&k->hub->note_sweep.busy));
    kit_settle(k);
}

/* The leader takes away the notes of bans that have ended, whenever that was; nobody else does. */
static void bans_that_have_ended_go(void **state)
{
    struct kit k;
    (void)state;
    open_cluster(&k, 2);
    keep(&k, "ban:0ann", 1);
    keep(&k, "ban:3bob", BAN_FOREVER);
    keep(&k, "ban:3cat", store_time_ms(k.store) + 3600000);
    keep(&k, "ban:3dan", 1000);
    kit_bus.follows = true;
    note_sweep_soon(k.hub);
    sweep(&k, 10000);
    told_nothing();
    kit_bus.follows = false;
    note_sweep_soon(k.hub);
    sweep(&k, 1000); /* it was only now */
    told_nothing();
    sweep(&k, 10000);
    told("note remove-as-it-was ban:0ann");
    told("note remove-as-it-was ban:3dan");
    told_nothing();
    /* Without a word of it, in ten minutes. */
    sweep(&k, 10000);
    told_nothing();
    sweep(&k, 600000);
    told("note remove-as-it-was ban:0ann");
    told("note remove-as-it-was ban:3dan");
    told_nothing();
    /* What could not be written is tried again soon. */
    kit_bus.status = STORE_RETRY;
    note_sweep_soon(k.hub);
    sweep(&k, 10000);
    kit_bus.status = STORE_OK;
    sweep(&k, 10000);
    for (unsigned i = 0; i < 4; i++)
        has(test_bus_line(&kit_bus), "note remove-as-it-was ban:");
    told_nothing();
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bans_are_notes_for_every_node),
        cmocka_unit_test(bans_that_not_all_nodes_have),
        cmocka_unit_test(a_ban_of_an_address_counts_everywhere),
        cmocka_unit_test(bans_that_have_ended_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
