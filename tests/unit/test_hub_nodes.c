/* Questions between nodes, and notes that change: who is asked, who answers, who hears. */
#include "hub_kit.h"

#include "core/hub/host/ban_change.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/note_ears.h"

static struct {
    unsigned calls, n, given;
    uint16_t numbers[4];
    char bodies[4][32];
} told;

static void answered(void *ctx, const struct node_answer *answers, unsigned n)
{
    assert_ptr_equal(ctx, &told);
    told.calls++;
    told.n = n;
    told.given = 0;
    for (unsigned i = 0; i < n; i++) {
        told.numbers[i] = answers[i].number;
        told.given += answers[i].given;
        snprintf(told.bodies[i], sizeof told.bodies[i], "%.*s", (int)answers[i].body.n,
                 answers[i].body.n ? answers[i].body.p : "");
    }
}

static int ask(struct kit *k, uint64_t node)
{
    return nodes_ask(
        k->hub,
        &(struct node_ask){.node = node, .subject = NODE_CONSOLE, .body = S("how?"), .done = answered, .ctx = &told});
}

static void begin(struct kit *k)
{
    memset(&told, 0, sizeof told);
    kit_open(k, 1);
    k->clustered = true;
    kit_start(k);
    kit_bus.nodes[0] = (struct test_bus_node){"good", 4};
    kit_bus.node_count = 2;
}

static void a_server_alone_asks_nobody(void **state)
{
    struct kit k;
    struct hub_node list[HUB_NODES];
    (void)state;
    kit_begin(&k, 1);
    assert_int_equal(hub_nodes(k.hub, list), 0);
    assert_true(hub_leads(k.hub));
    assert_int_equal(ask(&k, 0), ERR_CLOSED);
    assert_int_equal(note_order(k.hub, &(struct note_order){.key = S("s/x/y")}), ERR_CLOSED);
    kit_end(&k);
}

static void who_does_not_answer_is_told(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    assert_int_equal(ask(&k, 0), 0);
    kit_settle(&k);
    assert_string_equal(test_bus_line(&kit_bus), "call 1 0 how?");
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.n, 2);
    assert_int_equal(told.given, 1);
    assert_int_equal(told.numbers[0], 2);
    assert_int_equal(told.numbers[1], 3);
    assert_string_equal(told.bodies[0], "good");
    assert_int_equal(ask(&k, TEST_BUS_SELF + 2), 0);
    kit_settle(&k);
    assert_int_equal(told.n, 1);
    kit_bus.status = STORE_RETRY;
    assert_int_equal(ask(&k, 0), 0);
    kit_settle(&k);
    assert_int_equal(told.calls, 3);
    assert_int_equal(told.n, 0);
    kit_end(&k);
}

static void nodes_are_listed(void **state)
{
    struct kit k;
    struct hub_node list[HUB_NODES];
    (void)state;
    begin(&k);
    assert_int_equal(hub_nodes(k.hub, list), 3);
    assert_true(list[0].self && list[0].leader && !list[1].self && !list[1].leader);
    assert_int_equal(list[2].number, 3);
    assert_string_equal(list[2].host, "host3");
    assert_true(hub_leads(k.hub));
    kit_bus.follows = true;
    assert_false(hub_leads(k.hub));
    kit_end(&k);
}

static void asked(void *ctx, struct node_question *q)
{
    struct hub *hub = ctx;
    assert_int_equal(q->node, TEST_BUS_SELF + 2);
    assert_int_equal(q->number, 2);
    node_answer(hub, q, slice_eq(q->body, SLICE_LIT("ping")) ? SLICE_LIT("pong") : SLICE_LIT("what?"));
}

static void a_question_is_answered(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    test_bus_ask(&kit_bus, CALL_CONSOLE, SLICE_LIT("ping")); /* before anybody answers anything */
    kit_settle(&k);
    assert_int_equal(kit_bus.answered, 1);
    assert_string_equal(kit_bus.answer, "");
    nodes_answerer(k.hub, NODE_CONSOLE, asked, k.hub);
    test_bus_ask(&kit_bus, CALL_CONSOLE, SLICE_LIT("ping"));
    kit_settle(&k);
    assert_int_equal(kit_bus.answered, 2);
    assert_string_equal(kit_bus.answer, "pong");
    test_bus_ask(&kit_bus, CALL_TRACE, SLICE_LIT("ping")); /* of another subject, or of none */
    test_bus_ask(&kit_bus, (enum bus_call_what)77, SLICE_LIT("ping"));
    kit_settle(&k);
    assert_int_equal(kit_bus.answered, 4);
    assert_string_equal(kit_bus.answer, "");
    kit_end(&k);
}

/* --- Notes -------------------------------------------------------------------------------------------------------- */

struct hears {
    struct hub *hub;
    bool late; /* it is in force later */
    unsigned n, all;
    char key[32], value[32];
    uint64_t number;
    bool removed;
};

static void hear(void *ctx, const struct note_change *n)
{
    struct hears *h = ctx;
    h->n += !n->all;
    h->all += n->all;
    h->number = n->number;
    h->removed = n->removed;
    snprintf(h->key, sizeof h->key, "%.*s", (int)n->key.n, n->key.n ? n->key.p : "");
    snprintf(h->value, sizeof h->value, "%.*s", (int)n->value.n, n->value.n ? n->value.p : "");
    if (!h->late)
        note_applied(h->hub);
}

static void tell(const char *key, const char *value)
{
    test_bus_note(&kit_bus, &(struct bus_noted){.note = {S(key), S(value)}, .number = 7});
}

static void a_note_is_heard_by_its_prefix(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct hears bans = {.hub = k.hub}, scripts = {.hub = k.hub};
    tell("x:u:x", "1"); /* nobody hears it: it is in force at once */
    assert_int_equal(kit_bus.applied, 1);
    assert_int_equal(note_ear_add(k.hub, &(struct note_ear){"x:", hear, &bans}), 0);
    assert_int_equal(note_ear_add(k.hub, &(struct note_ear){"s/", hear, &scripts}), 0);
    tell("s/a/b", "2");
    tell("other", "3");
    assert_int_equal(kit_bus.applied, 3);
    assert_int_equal(bans.n, 0);
    assert_int_equal(scripts.n, 1);
    assert_string_equal(scripts.key, "s/a/b");
    assert_string_equal(scripts.value, "2");
    assert_int_equal(scripts.number, 7);
    note_ear_remove(k.hub, &scripts);
    tell("s/a/b", "4");
    assert_int_equal(scripts.n, 1);
    assert_int_equal(kit_bus.applied, 4);
    kit_end(&k);
}

/* Each reads anew, one after the other, and it is in force when the last one has. */
static void all_hear_when_too_much_was_missed(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    struct hears bans = {.hub = k.hub, .late = true}, scripts = {.hub = k.hub, .late = true};
    assert_int_equal(note_ear_add(k.hub, &(struct note_ear){"x:", hear, &bans}), 0);
    assert_int_equal(note_ear_add(k.hub, &(struct note_ear){"s/", hear, &scripts}), 0);
    test_bus_note(&kit_bus, &(struct bus_noted){.all = true});
    KIT_UNTIL(&k, bans.all == 1); /* the hub's own come first */
    assert_int_equal(scripts.all, 0);
    note_applied(k.hub);
    assert_int_equal(scripts.all, 1);
    assert_int_equal(kit_bus.applied, 0);
    note_applied(k.hub);
    assert_int_equal(kit_bus.applied, 1);
    kit_end(&k);
}

static struct {
    unsigned n, ends;
    int rc;
    char last[32];
} seen;

static void read_one(void *ctx, const struct store_note *n, int rc)
{
    assert_ptr_equal(ctx, &seen);
    seen.rc = rc;
    seen.n += n != NULL;
    seen.ends += n == NULL;
    if (n)
        snprintf(seen.last, sizeof seen.last, "%.*s", (int)n->key.n, n->key.p);
}

static unsigned kept;

static void on_kept(void *ctx, enum store_status status)
{
    assert_int_equal(status, STORE_OK);
    *(unsigned *)ctx += 1;
}

static void note_is_put(void *owner, struct store_op *op)
{
    (void)owner;
    assert_int_equal(op->status, STORE_OK);
    kept++;
}

static void notes_are_read_page_by_page(void **state)
{
    struct kit k;
    enum { NOTES = 450 };
    static struct store_note_put puts[NOTES];
    static char keys[NOTES][16];
    (void)state;
    begin(&k);
    kept = 0;
    memset(&seen, 0, sizeof seen);
    for (unsigned i = 0; i < NOTES; i++) {
        snprintf(keys[i], sizeof keys[i], "%s/%05u", i % 2 ? "s" : "t", i);
        puts[i] = (struct store_note_put){.op = {.home = &k.main, .done = note_is_put}, .note = {S(keys[i]), S("v")}};
        store_note_put(k.store, &puts[i]);
    }
    KIT_UNTIL(&k, kept == NOTES);
    assert_int_equal(notes_read(k.hub, "s/", read_one, &seen), 0);
    KIT_UNTIL(&k, seen.ends == 1);
    assert_int_equal(seen.n, NOTES / 2);
    assert_int_equal(seen.rc, 0);
    assert_string_equal(seen.last, "s/00449");
    gate_fail(OP_NOTES, STORE_RETRY);
    assert_int_equal(notes_read(k.hub, "s/", read_one, &seen), 0);
    KIT_UNTIL(&k, seen.ends == 2);
    assert_int_equal(seen.rc, ERR_IO);
    assert_int_equal(seen.n, NOTES / 2);
    kit_end(&k);
}

static bool everything_is_over(void *ctx, const struct store_note *n)
{
    (void)n;
    *(unsigned *)ctx += 1;
    return true;
}

/* Whether it holds a page of those that begin so; pages of others pass. */
static bool sweep_reads(const char *prefix)
{
    if (!gate_store_held(&kit_gate))
        return false;
    const struct store_notes *q = (const struct store_notes *)kit_gate.list[0].op;
    if (slice_eq(q->prefix, S(prefix)))
        return true;
    gate_next(STORE_OK);
    return false;
}

/* A page of the leader's sweep is under way when the node ends. What comes with it is let go, and no more is asked for:
 * whoever ends waits for the page alone, and the store is closed behind it. */
static void a_sweep_ends_with_its_node(void **state)
{
    struct kit k;
    enum { NOTES = 250 };
    static struct store_note_put puts[NOTES];
    static char keys[NOTES][16];
    unsigned looked_at = 0;
    (void)state;
    begin(&k);
    kept = 0;
    for (unsigned i = 0; i < NOTES; i++) {
        snprintf(keys[i], sizeof keys[i], "s/%05u", i);
        puts[i] = (struct store_note_put){.op = {.home = &k.main, .done = note_is_put}, .note = {S(keys[i]), S("v")}};
        store_note_put(k.store, &puts[i]);
    }
    KIT_UNTIL(&k, kept == NOTES);
    assert_int_equal(note_sweeper_add(k.hub, &(struct note_sweeper){"s/", everything_is_over, &looked_at}), 0);
    gate_hold(OP_NOTES);
    k.hub->note_sweep.swept_ms = 1; /* the last one was long ago */
    KIT_UNTIL(&k, sweep_reads("s/"));
    unsigned pages = kit_gate.calls[OP_NOTES];
    hub_stop(k.hub);
    assert_true(hub_busy(k.hub));
    gate_open(OP_NOTES);
    while (mailbox_run(&k.main, &k) > 0 || hub_busy(k.hub))
        usleep(50);
    assert_int_equal(kit_gate.calls[OP_NOTES], pages);
    assert_int_equal(looked_at, 0);
    assert_string_equal(test_bus_line(&kit_bus), "");
    note_sweeper_remove(k.hub, &looked_at);
    kit_end(&k);
}

static void a_change_is_ordered(void **state)
{
    struct kit k;
    unsigned done = 0;
    (void)state;
    begin(&k);
    struct note_order o = {
        .key = S("s/x/y"), .value = S("0 n 1"), .add = true, .home = &k.main, .done = on_kept, .ctx = &done};
    assert_int_equal(note_order(k.hub, &o), 0);
    kit_settle(&k);
    assert_int_equal(done, 1);
    assert_string_equal(test_bus_line(&kit_bus), "note add s/x/y");
    kit_end(&k);
}

/* --- The end ------------------------------------------------------------------------------------------------------ */

/* The hub has ended. What is held is answered, until nothing that may ask for more is under way. */
static void answer_all(struct kit *k)
{
    for (unsigned i = 0; hub_busy(k->hub) && i < 20000; i++) {
        if (test_bus_held(&kit_bus))
            test_bus_next(&kit_bus, STORE_OK);
        if (gate_store_held(&kit_gate))
            gate_next(STORE_OK);
        if (mailbox_run(&k->main, k) == 0)
            usleep(50);
        hub_pump(k->hub);
    }
    assert_false(hub_busy(k->hub));
}

/* What may ask the store for more when its answer comes is waited for before the store is closed: a question to other
 * nodes, a change of a note, and a ban, which ends connections after it is kept. */
static void an_end_waits_for_what_goes_on(void **state)
{
    struct kit k;
    unsigned done = 0;
    (void)state;
    begin(&k);
    assert_false(hub_busy(k.hub));
    kit_bus.hold = 1u << BUS_CALL | 1u << BUS_NOTE | 1u << BUS_ORDER;
    assert_int_equal(ask(&k, 0), 0);
    struct note_order o = {.key = S("s/x/y"), .value = S("0 n 1"), .home = &k.main, .done = on_kept, .ctx = &done};
    assert_int_equal(note_order(k.hub, &o), 0);
    struct ban_change ban = {.kind = BAN_USER, .user = S("ann")};
    KIT_HOST_BEGIN(&k, ban_change, &ban);
    KIT_UNTIL(&k, test_bus_held(&kit_bus) == 3);
    hub_stop(k.hub);
    test_bus_next(&kit_bus, STORE_OK);
    test_bus_next(&kit_bus, STORE_OK);
    mailbox_run(&k.main, &k);
    assert_int_equal(told.calls, 1);
    assert_int_equal(done, 1);
    assert_true(hub_busy(k.hub)); /* the ban */
    answer_all(&k);
    mailbox_run(&k.main, &k);
    assert_null(ban.op.home);
    kit_end(&k);
}

/* So are notes that are read anew: whoever hears of that says that it is in force, to a bus that is still there. */
static void an_end_waits_for_notes_that_are_read_anew(void **state)
{
    struct kit k;
    (void)state;
    begin(&k);
    gate_hold(OP_NOTES);
    test_bus_note(&kit_bus, &(struct bus_noted){.all = true});
    KIT_UNTIL(&k, gate_store_held(&kit_gate) == 1); /* bans */
    hub_stop(k.hub);
    assert_true(hub_busy(k.hub));
    answer_all(&k);
    while (mailbox_run(&k.main, &k) > 0)
        continue;
    assert_int_equal(kit_bus.applied, 1);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_alone_asks_nobody),
        cmocka_unit_test(who_does_not_answer_is_told),
        cmocka_unit_test(nodes_are_listed),
        cmocka_unit_test(a_question_is_answered),
        cmocka_unit_test(a_note_is_heard_by_its_prefix),
        cmocka_unit_test(all_hear_when_too_much_was_missed),
        cmocka_unit_test(notes_are_read_page_by_page),
        cmocka_unit_test(a_sweep_ends_with_its_node),
        cmocka_unit_test(a_change_is_ordered),
        cmocka_unit_test(an_end_waits_for_what_goes_on),
        cmocka_unit_test(an_end_waits_for_notes_that_are_read_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
