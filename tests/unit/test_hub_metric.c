/* Metrics: registration, ownership, sums over shards. */
#include "hub_kit.h"

#include "core/hub/registry/code.h"
#include "core/hub/shard/metric.h"

static struct metric named(const char *name, const void *owner)
{
    struct metric m = {.kind = METRIC_COUNTER, .owner = owner};
    snprintf(m.name, sizeof m.name, "%s", name);
    return m;
}

struct seen {
    const char *name;
    double value;
    unsigned count, all; /* values of that name; metrics */
    const struct metric *last;
};

static void look(void *ctx, const struct metric *m, const char *labels, double value, const struct metric_histogram *h)
{
    (void)labels;
    struct seen *s = ctx;
    assert_int_equal(h != NULL, m->kind == METRIC_HISTOGRAM);
    s->all += m != s->last; /* values of one come one after the other */
    s->last = m;
    if (strcmp(m->name, s->name) == 0) {
        s->value = value;
        s->count++;
    }
}

static struct seen value_of(struct kit *k, const char *name)
{
    struct seen s = {.name = name};
    metrics_each(k->hub, look, &s);
    return s;
}

static double forty_two(struct hub *hub, void *ctx)
{
    (void)hub;
    return *(int *)ctx;
}

static void names_are_checked(void **state)
{
    static const char *const bad[] = {"", "Upper", "a-b", "1a", "a b", "a\n", "ä"};
    struct kit k;
    int me, other;
    (void)state;
    kit_begin(&k, 2);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct metric m = named(bad[i], &me);
        assert_int_equal(metric_register(k.hub, &m), ERR_INVALID);
    }
    struct metric m = named("test_total", &me);
    m.kind = METRIC_HISTOGRAM;
    assert_int_equal(metric_register(k.hub, &m), ERR_INVALID); /* without the function that tells it */
    m.kind = METRIC_COUNTER;
    int slot = metric_register(k.hub, &m);
    assert_true(slot >= 0);
    assert_int_equal(metric_register(k.hub, &m), slot); /* its own again */
    m.owner = &other;
    assert_int_equal(metric_register(k.hub, &m), ERR_EXISTS);
    kit_end(&k);
}

/* What a script counts stops no plugin that comes later. */
static void scripts_give_way(void **state)
{
    struct kit k;
    int script = 0, other_script = 0, plugin = 0, n = 42;
    (void)state;
    kit_begin(&k, 1);
    struct metric mine = named("requests_total", &script), theirs = named("requests_total", &plugin);
    mine.yields = true;
    mine.read = forty_two;
    mine.ctx = &n;
    int slot = metric_register(k.hub, &mine);
    assert_true(slot >= 0);
    struct metric second = mine;
    second.owner = &other_script;
    assert_int_equal(metric_register(k.hub, &second), ERR_EXISTS);
    assert_true(value_of(&k, "requests_total").value == 42);
    assert_int_equal(metric_register(k.hub, &theirs), slot);
    metric_add(kit_shard(&k, 0), slot, 7);
    assert_int_equal(value_of(&k, "requests_total").count, 1);
    assert_true(value_of(&k, "requests_total").value == 7);
    assert_int_equal(metric_register(k.hub, &mine), ERR_EXISTS);
    metrics_remove(k.hub, &plugin);
    assert_int_equal(metric_register(k.hub, &mine), slot);
    assert_true(value_of(&k, "requests_total").value == 42);
    kit_end(&k);
}

static void shards_are_summed(void **state)
{
    struct kit k;
    int me = 0, n = 42;
    (void)state;
    kit_begin(&k, 4);
    struct metric m = named("test_total", &me), g = named("test_gauge", &me);
    int slot = metric_register(k.hub, &m);
    g.kind = METRIC_GAUGE;
    g.read = forty_two;
    g.ctx = &n;
    assert_true(metric_register(k.hub, &g) >= 0);
    for (unsigned i = 0; i < 4; i++)
        metric_add(kit_shard(&k, i), slot, i + 1);
    metric_add(kit_shard(&k, 0), -1, 1);
    metric_add(kit_shard(&k, 0), METRICS, 1);
    struct seen s = value_of(&k, "test_total");
    assert_int_equal(s.count, 1);
    assert_true(s.value == 10);
    assert_true(value_of(&k, "test_gauge").value == 42);
    metrics_remove(k.hub, NULL);
    assert_int_equal(value_of(&k, "test_total").count, 1);
    metrics_remove(k.hub, &me);
    assert_int_equal(value_of(&k, "test_total").count, 0);
    /* The place is used again, from zero. */
    struct metric next = named("next_total", &me);
    assert_int_equal(metric_register(k.hub, &next), slot);
    assert_true(value_of(&k, "next_total").value == 0);
    kit_end(&k);
}

/* The histogram of turns, as it is told. */
static void keep_turns(void *ctx, const struct metric *m, const char *labels, double value,
                       const struct metric_histogram *h)
{
    (void)labels;
    if (strcmp(m->name, "magpie_turn_cpu_seconds") == 0) {
        assert_non_null(h);
        assert_true(value == (double)h->count);
        *(struct metric_histogram *)ctx = *h;
    }
}

static void burn(uint64_t us)
{
    for (uint64_t from = clock_thread_cpu_us(); clock_thread_cpu_us() < from + us;)
        continue;
}

/* One turn in eight is timed, from its begin to that of the next one. */
static void turns_are_timed(void **state)
{
    struct kit k;
    struct metric_histogram before = {.count = 0}, after = {.count = 0};
    (void)state;
    kit_begin(&k, 2);
    struct shard *s = kit_shard(&k, 0);
    while (s->figures.turn_began_us || s->figures.turn_sample % FIGURE_SAMPLE)
        figures_turn(s);
    metrics_each(k.hub, keep_turns, &before);
    assert_in_range(before.buckets, 1, METRIC_BUCKETS);
    for (unsigned i = 0; i < 3 * FIGURE_SAMPLE; i++) {
        figures_turn(s);
        burn(i == 0 ? 11000 : i % FIGURE_SAMPLE ? 1 : 2200);
    }
    metrics_each(k.hub, keep_turns, &after);
    assert_int_equal(after.count, before.count + 3);
    /* In whole microseconds: the difference of two sums in seconds may be a hair less than what was burnt. */
    assert_true((uint64_t)((after.sum - before.sum) * 1e6 + 0.5) >= 11000 + 2 * 2200);
    uint64_t last = 0;
    for (unsigned i = 0; i < after.buckets; i++) {
        assert_true(i == 0 || after.bounds[i] > after.bounds[i - 1]);
        assert_true(after.at_most[i] >= last && after.at_most[i] <= after.count);
        last = after.at_most[i];
        if (after.bounds[i] < 0.0022) /* how much longer they took is the machine's affair */
            assert_int_equal(after.at_most[i] - before.at_most[i], 0);
        else if (after.bounds[i] < 0.011)
            assert_in_range(after.at_most[i] - before.at_most[i], 0, 2);
    }
    kit_end(&k);
}

static void two_scripts(struct hub *hub, void *ctx, const struct metric_told *told)
{
    (void)hub, (void)ctx;
    metric_tell(told, "script", "plain", 1);
    metric_tell(told, "script", "a \"b\"\\\nc", 2);
}

static void one_long(struct hub *hub, void *ctx, const struct metric_told *told)
{
    (void)hub;
    metric_tell(told, "x", ctx, 0);
}

static void keep_labels(void *ctx, const struct metric *m, const char *labels, double value,
                        const struct metric_histogram *h)
{
    char *text = ctx;
    if (strcmp(m->name, "test_labels_total") != 0)
        return;
    assert_null(h);
    sprintf(text + strlen(text), "{%s}=%g;", labels, value);
}

static void labels_are_written(void **state)
{
    struct kit k;
    int me;
    char text[256] = "", long_name[2 * METRIC_LABELS];
    (void)state;
    kit_begin(&k, 1);
    struct metric m = named("test_labels_total", &me);
    m.each = two_scripts;
    assert_true(metric_register(k.hub, &m) >= 0);
    metrics_each(k.hub, keep_labels, text);
    assert_string_equal(text, "{script=\"plain\"}=1;{script=\"a \\\"b\\\"\\\\\\nc\"}=2;");
    memset(long_name, '"', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    m.each = one_long;
    m.ctx = long_name;
    char cut[2 * METRIC_LABELS] = "";
    metrics_remove(k.hub, &me);
    assert_true(metric_register(k.hub, &m) >= 0);
    metrics_each(k.hub, keep_labels, cut);
    assert_true(strlen(cut) < METRIC_LABELS + 8 && strstr(cut, "\\\"\"}=0;")); /* cut behind a whole character */
    kit_end(&k);
}

/* Each code has its counter, and framing that was lost is counted with them. */
static double code_value;
static const char *code_wanted;
static void keep_code(void *ctx, const struct metric *m, const char *labels, double value,
                      const struct metric_histogram *h)
{
    (void)ctx, (void)h;
    if (strcmp(m->name, "magpie_refusals_total") == 0 && strcmp(labels, code_wanted) == 0)
        code_value = value;
}

static void codes_are_counted(void **state)
{
    struct kit k;
    char label[64];
    (void)state;
    kit_begin(&k, 2);
    for (unsigned i = CODE_OK + 1; i < CODE_COUNT; i++) {
        for (unsigned n = 0; n < i; n++)
            code_count(kit_shard(&k, n % 2), (enum code)i);
        snprintf(label, sizeof label, "code=\"%s\"", code_name((enum code)i));
        code_wanted = label;
        code_value = -1;
        metrics_each(k.hub, keep_code, NULL);
        assert_true(code_value == i);
    }
    code_count(kit_shard(&k, 0), CODE_COUNT); /* no such code */
    kit_end(&k);
}

static void there_is_an_end(void **state)
{
    struct kit k;
    int me, slot = 0;
    char name[32];
    (void)state;
    kit_begin(&k, 1);
    unsigned before = value_of(&k, "").all;
    unsigned added = 0;
    for (;; added++) {
        snprintf(name, sizeof name, "m%u", added);
        struct metric m = named(name, &me);
        slot = metric_register(k.hub, &m);
        if (slot < 0)
            break;
        assert_true(slot < METRICS);
    }
    assert_int_equal(slot, ERR_FULL);
    assert_in_range(before + added, METRICS - 8, METRICS); /* some may have no values, and are not told */
    struct metric m = named("one_too_many", &me);
    assert_int_equal(metric_register(k.hub, &m), ERR_FULL);
    assert_int_equal(value_of(&k, "m0").all, before + added);
    metrics_remove(k.hub, &me);
    assert_int_equal(value_of(&k, "").all, before);
    assert_true(metric_register(k.hub, &m) >= 0);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked), cmocka_unit_test(scripts_give_way),   cmocka_unit_test(shards_are_summed),
        cmocka_unit_test(turns_are_timed),   cmocka_unit_test(labels_are_written), cmocka_unit_test(codes_are_counted),
        cmocka_unit_test(there_is_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
