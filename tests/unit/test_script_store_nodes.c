/* magpie.store over nodes: each is a script store on a bus; the test is the log that all of them follow. */
#include "hub_kit.h"

#include "core/script/script_store.h"

enum { NODES = 3, NOTES = 64, DONE = 512 };

struct node {
    struct test_bus bus;
    struct gate_store gate;
    struct hub *hub;
    struct mailbox main;
    struct script_store *store;
    struct script_space *space;
    uint64_t done[DONE]; /* numbers that the log has had */
    unsigned done_count;
};

static struct node nodes[NODES];
static struct {
    char key[160], value[4096];
} notes[NOTES]; /* what stands; key "": none */
static uint64_t now_ms;

/* --- The log ------------------------------------------------------------------------------------------------------ */

static unsigned note_at(struct slice key)
{
    unsigned i = 0;
    while (i < NOTES && !slice_eq(slice_str(notes[i].key), key))
        i++;
    for (unsigned k = 0; i == NOTES && k < NOTES; k++)
        if (!notes[k].key[0])
            return k;
    assert_true(i < NOTES);
    return i;
}

/* As functions/note.lua does it. */
static void stand(const struct bus_note *n)
{
    unsigned i = note_at(n->note.key);
    const char *old = notes[i].key[0] ? notes[i].value : "";
    char value[4096], *end;
    snprintf(value, sizeof value, "%.*s", (int)n->note.value.n, n->note.value.n ? n->note.value.p : "");
    if (n->remove) {
        if (strncmp(old, value, strlen(value)) == 0)
            notes[i].key[0] = '\0';
        return;
    }
    uint64_t until = strtoull(old, &end, 10);
    bool gone = !*old || (until && until <= now_ms);
    if (n->add && !gone) {
        if (strncmp(end, " n ", 3) != 0)
            return;
        double sum = strtod(end + 3, NULL) + strtod(strchr(value, 'n') + 1, NULL);
        snprintf(notes[i].value, sizeof notes[i].value, "%llu n %.17g", (unsigned long long)until, sum);
        return;
    }
    snprintf(notes[i].key, sizeof notes[i].key, "%.*s", (int)n->note.key.n, n->note.key.p);
    memcpy(notes[i].value, value, sizeof value);
}

static bool known(struct node *x, uint64_t number)
{
    for (unsigned i = 0; i < x->done_count; i++)
        if (x->done[i] == number)
            return true;
    assert_true(x->done_count < DONE);
    x->done[x->done_count++] = number;
    return false;
}

/* The oldest change of a node goes into the log, and to all; answered so. False: it has none. */
static bool step(unsigned from, enum store_status status)
{
    struct node *x = &nodes[from];
    if (!test_bus_held(&x->bus))
        return false;
    const struct bus_note *n = (const struct bus_note *)x->bus.list[0];
    assert_true(n->behind && n->number);
    if (status != STORE_RETRY && !known(x, n->number)) {
        stand(n);
        unsigned i = note_at(n->note.key);
        bool is = notes[i].key[0];
        for (unsigned k = 0; k < NODES; k++)
            if (nodes[k].bus.listening)
                test_bus_note(&nodes[k].bus, &(struct bus_noted){.note = {n->note.key, S(is ? notes[i].value : "")},
                                                                 .remove = !is,
                                                                 .number = k == from ? n->number : 0});
    }
    x->bus.count = x->bus.taken = 0; /* nobody reads its lines */
    test_bus_next(&x->bus, status);
    mailbox_run(&x->main, x);
    return true;
}

/* What failed is tried again, at once. */
static void again(struct node *x)
{
    for (unsigned i = 0; i < 200; i++) {
        struct shard *s = hub_shard(x->hub, 0);
        ev_run(s->loop, EVRUN_NOWAIT);
        usleep(10000);
        if (test_bus_held(&x->bus))
            return;
    }
    fail_msg("it is not tried again");
}

static void drain(void)
{
    bool any = true;
    while (any) {
        any = false;
        for (unsigned i = 0; i < NODES; i++)
            while (step(i, STORE_OK))
                any = true;
    }
}

/* --- Nodes -------------------------------------------------------------------------------------------------------- */

static void open_node(struct node *x)
{
    char why[256] = "";
    struct store *behind;
    struct store_options opt = {.engine = "memory", .memory = 8 << 20, .sync_every_ms = 1000, .node = 1};
    struct hub_options options = {.slice_ms = 200, .slice_max = 20, .net = {.frame = 65536, .connections = 10}};
    strcpy(options.auth_mode, "open");
    assert_int_equal(store_open(&behind, &opt, why, sizeof why), 0);
    gate_store_init(&x->gate, behind);
    test_bus_init(&x->bus);
    x->bus.hold = 1u << BUS_NOTE;
    x->gate.base.bus = &x->bus.base;
    mailbox_init(&x->main, NULL, NULL);
    x->hub = hub_new(1, &x->gate.base, &options);
    assert_non_null(x->hub);
    hub_set_main(x->hub, &x->main);
    x->store = script_store_new(x->hub);
    assert_non_null(x->store);
    script_store_limit(x->store, 1 << 20);
    script_store_clock(x->store, &now_ms);
    x->space = script_store_space(x->store, "a/b");
    x->done_count = 0;
}

static void begin(void)
{
    log_open(NULL, LOG_TEXT, LOG_ERROR);
    memset(notes, 0, sizeof notes);
    now_ms = 1000;
    for (unsigned i = 0; i < NODES; i++)
        open_node(&nodes[i]);
}

static void end(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct node *x = &nodes[i];
        test_bus_open(&x->bus);
        hub_stop(x->hub);
        mailbox_run(&x->main, x);
        store_close(&x->gate.base);
        mailbox_run(&x->main, x);
        script_store_free(x->store);
        hub_free(x->hub);
        mailbox_fini(&x->main);
        test_bus_fini(&x->bus);
    }
}

static void put(unsigned n, const char *key, const char *text, uint64_t ttl_ms)
{
    struct script_value v = {.type = VALUE_TEXT, .text = S(text)};
    assert_int_equal(script_space_set(nodes[n].space, S(key), &v, ttl_ms), 0);
}

static double incr(unsigned n, const char *key, double by, uint64_t ttl_ms)
{
    double out = 0;
    int rc = script_space_incr(nodes[n].space, S(key), by, ttl_ms, &out);
    return rc == 0 ? out : rc;
}

static const char *look(unsigned n, const char *key)
{
    static char ring[8][128];
    static unsigned at;
    char *out = ring[at++ % 8];
    struct script_value v;
    if (script_space_get(nodes[n].space, S(key), &v) != 0)
        return "-";
    if (v.type == VALUE_TEXT)
        snprintf(out, 128, "t:%.*s", (int)v.text.n, v.text.p);
    else
        snprintf(out, 128, "%s:%g", v.type == VALUE_NUMBER ? "n" : "b", v.number);
    if (v.type == VALUE_TEXT)
        free((void *)(uintptr_t)v.text.p);
    return out;
}

static void all_have(const char *key, const char *value)
{
    for (unsigned i = 0; i < NODES; i++)
        assert_string_equal(look(i, key), value);
}

/* --- Tests -------------------------------------------------------------------------------------------------------- */

static void what_one_sets_all_have(void **state)
{
    (void)state;
    begin();
    put(0, "x", "one two", 0);
    assert_string_equal(look(0, "x"), "t:one two"); /* at once */
    assert_string_equal(look(1, "x"), "-");
    drain();
    all_have("x", "t:one two");
    assert_int_equal(
        script_space_set(nodes[1].space, S("y"), &(struct script_value){.type = VALUE_BOOL, .number = 1}, 0), 0);
    put(2, "", "the empty key", 0);
    put(2, "s/l", "", 0);
    incr(2, "n", -0.5, 0);
    drain();
    all_have("y", "b:1");
    all_have("", "t:the empty key");
    all_have("s/l", "t:");
    all_have("n", "n:-0.5");
    assert_int_equal(script_space_del(nodes[1].space, S("x")), 1);
    assert_string_equal(look(1, "x"), "-");
    assert_string_equal(look(0, "x"), "t:one two");
    drain();
    all_have("x", "-");
    end();
}

static void sums_are_exact(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < 30; i++) {
        incr(i % 2, "n", 1, 0);
        if (i % 7 == 0)
            step(i % NODES, STORE_OK);
    }
    drain();
    all_have("n", "n:30");
    assert_true(incr(2, "n", 1, 0) == 31);
    /* What the others add comes, and one's own, which is under way, stays on top. */
    incr(0, "n", 10, 0);
    incr(0, "n", 10, 0);
    incr(1, "n", 100, 0);
    step(1, STORE_OK);
    assert_string_equal(look(0, "n"), "n:150");
    assert_string_equal(look(2, "n"), "n:131");
    drain();
    all_have("n", "n:151");
    end();
}

static void the_log_decides_between_two(void **state)
{
    (void)state;
    begin();
    put(0, "x", "of 0", 0);
    put(1, "x", "of 1", 0);
    step(1, STORE_OK);
    assert_string_equal(look(0, "x"), "t:of 0"); /* it comes later in the log */
    assert_string_equal(look(2, "x"), "t:of 1");
    drain();
    all_have("x", "t:of 0");
    put(0, "x", "first", 0);
    put(0, "x", "second", 0);
    incr(0, "x", 1, 0); /* is no number: nothing */
    put(2, "x", "of 2", 0);
    step(0, STORE_OK);
    assert_string_equal(look(0, "x"), "t:second");
    step(2, STORE_OK);
    drain();
    all_have("x", "t:second");
    /* Something and then a sum on it: one change. */
    put(0, "y", "text", 0);
    assert_int_equal(script_space_del(nodes[0].space, S("y")), 1);
    incr(0, "y", 5, 0);
    incr(0, "y", 5, 0);
    drain();
    all_have("y", "n:10");
    end();
}

static void what_fails_is_done_once(void **state)
{
    (void)state;
    begin();
    incr(0, "n", 1, 0);
    step(0, STORE_UNKNOWN); /* it is done, and nobody knows */
    incr(0, "n", 1, 0);
    assert_string_equal(look(1, "n"), "n:1");
    again(&nodes[0]);
    step(0, STORE_OK);
    drain();
    all_have("n", "n:2");
    incr(1, "n", 1, 0);
    step(1, STORE_RETRY);
    assert_string_equal(look(0, "n"), "n:2");
    incr(0, "n", 10, 0);
    drain();
    assert_string_equal(look(1, "n"), "n:13"); /* one's own still on top */
    again(&nodes[1]);
    drain();
    all_have("n", "n:13");
    end();
}

/* Whether the log has that note, as far as a text shows. */
static const char *in_log(const char *key)
{
    char note[64];
    snprintf(note, sizeof note, "s/a:b/%s", key);
    unsigned at = note_at(S(note));
    return notes[at].key[0] ? notes[at].value : "-";
}

/* Keys that change again and again, and others that do once: whenever this node dies, the log has a beginning. */
static void the_log_has_a_beginning(void **state)
{
    enum { ROUNDS = 20 };
    char key[8], expected[32];
    (void)state;
    begin();
    for (unsigned i = 1; i <= ROUNDS; i++) {
        snprintf(key, sizeof key, "k%u", i);
        incr(0, "n", 1, 0);
        put(0, key, "x", 0);
        put(0, "last", key, 0);
    }
    for (unsigned done = 1; done <= 3 * ROUNDS; done++) {
        assert_true(step(0, STORE_OK));
        snprintf(expected, sizeof expected, "0 n %u", (done + 2) / 3);
        assert_string_equal(in_log("n"), expected);
        snprintf(expected, sizeof expected, "0 s k%u", done / 3);
        assert_string_equal(in_log("last"), done < 3 ? "-" : expected);
        snprintf(key, sizeof key, "k%u", (done + 1) / 3 + 1);
        assert_string_equal(in_log(key), "-");
        snprintf(key, sizeof key, "k%u", (done + 1) / 3);
        assert_string_equal(in_log(key), done < 2 ? "-" : "0 s x");
    }
    assert_false(step(0, STORE_OK));
    end();
}

/* What comes behind a failure of its key, and is done before it. */
static void what_was_overtaken_is_mended(void **state)
{
    (void)state;
    begin();
    put(0, "whole", "old", 0);
    put(0, "whole", "new", 0);
    incr(0, "sum", 5, 0);
    assert_int_equal(script_space_del(nodes[0].space, S("sum")), 1);
    incr(0, "sum", 1, 0);
    incr(0, "sum", 1, 0);
    incr(0, "only", 1, 0);
    incr(0, "only", 2, 0);
    step(0, STORE_RETRY);
    step(0, STORE_OK);
    assert_string_equal(in_log("whole"), "0 s new");
    step(0, STORE_OK);
    step(0, STORE_RETRY); /* not gone */
    step(0, STORE_OK);
    step(0, STORE_OK);
    assert_string_equal(in_log("sum"), "0 n 7");
    step(0, STORE_UNKNOWN); /* but it is done */
    step(0, STORE_OK);
    put(0, "behind", "x", 0); /* waits for all of that */
    assert_int_equal(test_bus_held(&nodes[0].bus), 0);
    assert_string_equal(look(0, "sum"), "n:2");
    again(&nodes[0]);
    drain();
    all_have("whole", "t:new");
    all_have("sum", "n:2");
    all_have("only", "n:3");
    all_have("behind", "t:x");
    end();
}

/* More than the log takes: not all is on its way at once, and what waits for long becomes one for each key. */
static void very_many_become_few(void **state)
{
    enum { MANY = 20000 };
    unsigned steps = 0;
    (void)state;
    begin();
    for (unsigned i = 0; i < MANY; i++)
        incr(0, i % 2 ? "a" : "b", 1, 0);
    assert_true(test_bus_held(&nodes[0].bus) <= 128);
    while (step(0, STORE_OK)) {
        steps++;
        nodes[0].done_count = 0;
    }
    assert_true(steps < 2000);
    all_have("a", "n:10000");
    all_have("b", "n:10000");
    end();
}

/* A node ends: what its scripts have changed still goes into the log, in parts, until one of them fails. */
static void an_end_waits_for_what_was_changed(void **state)
{
    enum { MANY = 400, PART = 100 };
    struct node *x = &nodes[0];
    (void)state;
    begin();
    for (unsigned i = 0; i < MANY; i++)
        incr(0, i % 2 ? "a" : "b", 1, 0);
    assert_true(test_bus_held(&x->bus) < MANY - PART);
    hub_stop(x->hub);
    for (unsigned i = 0; i < MANY - PART; i++) {
        assert_true(hub_busy(x->hub));
        assert_true(step(0, STORE_OK));
    }
    assert_string_equal(look(1, "a"), "n:150");
    unsigned steps = 0;
    for (; hub_busy(x->hub); steps++)
        assert_true(step(0, STORE_RETRY));
    assert_true(steps > 0 && steps <= PART);
    assert_false(step(0, STORE_OK));
    assert_string_equal(look(1, "b"), "n:150");
    end();
}

static void what_ends_ends_everywhere(void **state)
{
    (void)state;
    begin();
    nodes[1].bus.follows = nodes[2].bus.follows = true;
    put(0, "x", "short", 500);
    incr(1, "n", 1, 500);
    drain();
    all_have("x", "t:short");
    now_ms += 500;
    all_have("x", "-");
    all_have("n", "-");
    assert_int_equal(test_bus_held(&nodes[0].bus), 2); /* the leader has them taken away */
    assert_int_equal(test_bus_held(&nodes[1].bus), 0);
    /* One that was set anew meanwhile stays. */
    put(1, "x", "again", 0);
    assert_true(incr(2, "n", 1, 0) == 1);
    step(1, STORE_OK);
    step(2, STORE_OK);
    drain();
    all_have("x", "t:again");
    all_have("n", "n:1");
    end();
}

static unsigned puts_done;

static void is_put(void *owner, struct store_op *op)
{
    (void)owner;
    puts_done++;
    assert_int_equal(op->status, STORE_OK);
}

static void when_too_much_was_missed_all_is_read(void **state)
{
    static const char alone[18] = "\1\1\0\0\0\0\0\0\0\0\x40\x08"; /* 3, as a server alone writes it */
    (void)state;
    begin();
    put(1, "gone", "x", 0);
    put(1, "kept", "x", 0);
    drain();
    incr(1, "mine", 1, 0); /* under way */
    struct store_note_put puts[] = {{.note = {S("s/a:b/kept"), S("0 s other")}},
                                    {.note = {S("s/a:b/old"), slice_of(alone, sizeof alone)}},
                                    {.note = {S("s/c/x"), S("0 b 1")}},
                                    {.note = {S("s/a:b/strange"), S("7 ? x")}}};
    for (unsigned i = 0; i < sizeof puts / sizeof puts[0]; i++) {
        puts[i].op = (struct store_op){.home = &nodes[1].main, .done = is_put};
        store_note_put(&nodes[1].gate.base, &puts[i]);
    }
    for (unsigned i = 0; i < 10000 && puts_done < sizeof puts / sizeof puts[0]; i++) {
        mailbox_run(&nodes[1].main, &nodes[1]);
        usleep(1000);
    }
    test_bus_note(&nodes[1].bus, &(struct bus_noted){.all = true});
    for (unsigned i = 0; i < 10000 && !(nodes[1].bus.applied == 3); i++) {
        mailbox_run(&nodes[1].main, &nodes[1]);
        usleep(1000);
    }
    assert_int_equal(nodes[1].bus.applied, 3);
    assert_string_equal(look(1, "gone"), "-");
    assert_string_equal(look(1, "kept"), "t:other");
    assert_string_equal(look(1, "old"), "n:3");
    assert_string_equal(look(1, "strange"), "-");
    assert_string_equal(look(1, "mine"), "n:1");
    struct script_value v;
    assert_int_equal(script_space_get(script_store_space(nodes[1].store, "c"), S("x"), &v), 0);
    drain();
    all_have("mine", "n:1");
    end();
}

/* Whatever is done, whatever fails: in the end all have the same, and it is what the log has. */
static void all_end_the_same(void **state)
{
    static const char *const keys[] = {"a", "b", "c"};
    char text[16], value[4096];
    uint64_t until;
    (void)state;
    begin();
    srand(7);
    for (unsigned i = 0; i < 1500; i++) {
        unsigned n = (unsigned)rand() % NODES, what = (unsigned)rand() % 10;
        const char *key = keys[(unsigned)rand() % 3];
        snprintf(text, sizeof text, "%u", i);
        if (what < 1)
            put(n, key, text, 0);
        else if (what < 2)
            (void)!script_space_del(nodes[n].space, S(key));
        else if (what < 5)
            incr(n, key, 1, 0);
        else
            step(n, what == 9 ? STORE_UNKNOWN : what == 8 ? STORE_RETRY : STORE_OK);
        for (unsigned k = 0; k < NODES; k++) { /* the log forgets numbers that it will not see again */
            if (nodes[k].done_count > DONE / 2) {
                memmove(nodes[k].done, nodes[k].done + 64, (nodes[k].done_count - 64) * sizeof nodes[k].done[0]);
                nodes[k].done_count -= 64;
            }
        }
    }
    for (unsigned tries = 0; tries < 3; tries++) {
        drain();
        for (unsigned k = 0; k < NODES; k++)
            for (unsigned i = 0; i < 120 && !test_bus_held(&nodes[k].bus); i++) {
                ev_run(hub_shard(nodes[k].hub, 0)->loop, EVRUN_NOWAIT);
                usleep(10000);
            }
    }
    drain();
    for (unsigned i = 0; i < 3; i++) {
        char key[16], expected[32] = "-";
        snprintf(key, sizeof key, "s/a:b/%s", keys[i]);
        unsigned at = note_at(S(key));
        if (notes[at].key[0] && sscanf(notes[at].value, "%lu n %4095s", &until, value) == 2)
            snprintf(expected, sizeof expected, "n:%.20s", value);
        else if (notes[at].key[0] && sscanf(notes[at].value, "%lu s %4095s", &until, value) == 2)
            snprintf(expected, sizeof expected, "t:%.20s", value);
        all_have(keys[i], expected);
    }
    end();
}

/* What ended a minute ago and is there all the same was left by a leader that died: the sweep takes it away. */
static void what_a_dead_leader_left(void **state)
{
    static const struct {
        const char *value;
        bool left;
    } cases[] = {{"1 s text", true},    {"40000 n 7", true}, {"40001 n 7", false}, {"99000 b 1", false},
                 {"200000 s x", false}, {"0 s text", false}, {"", false},          {"what?", false}};
    (void)state;
    begin();
    now_ms = 100000;
    const struct note_sweep *w = &nodes[0].hub->note_sweep;
    const struct note_sweeper *s = NULL;
    for (unsigned i = 0; i < w->count; i++)
        if (strcmp(w->list[i].prefix, "s/") == 0)
            s = &w->list[i];
    assert_non_null(s);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct store_note n = {S("s/a:b/k"), S(cases[i].value)};
        assert_int_equal(s->is_over(s->ctx, &n), cases[i].left);
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_dead_leader_left),
        cmocka_unit_test(what_one_sets_all_have),
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(the_log_decides_between_two),
        cmocka_unit_test(what_fails_is_done_once),
        cmocka_unit_test(the_log_has_a_beginning),
        cmocka_unit_test(what_was_overtaken_is_mended),
        cmocka_unit_test(very_many_become_few),
        cmocka_unit_test(an_end_waits_for_what_was_changed),
        cmocka_unit_test(what_ends_ends_everywhere),
        cmocka_unit_test(when_too_much_was_missed_all_is_read),
        cmocka_unit_test(all_end_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
