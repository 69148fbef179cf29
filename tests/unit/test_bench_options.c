/* The command line of magpie-bench: core/tools/bench_options.c. Messages on stderr are expected. */
#include "core/tools/bench_options.h"

#include "core/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct bench_scenario connect_like = {.name = "connect",
                                                   .summary = "",
                                                   .connections_mean = "",
                                                   .bit = BENCH_CONNECT,
                                                   .connections = 1000,
                                                   .outstanding = 1,
                                                   .duration = 3};
static const struct bench_scenario channel_like = {.name = "channel",
                                                   .summary = "",
                                                   .connections_mean = "",
                                                   .bit = BENCH_CHANNEL,
                                                   .connections = 500,
                                                   .outstanding = 4,
                                                   .duration = 10};
const struct bench_scenario *const bench_scenarios[] = {&connect_like, &channel_like, NULL};

/* Splits the line at spaces and reads it. */
static int line_read(const char *line, struct bench_options *options, const struct bench_scenario **scenario)
{
    static char copy[256];
    char *argv[32] = {"magpie-bench"};
    int argc = 1;

    strncpy(copy, line, sizeof(copy) - 1);
    for (char *word = strtok(copy, " "); word && argc < 32; word = strtok(NULL, " "))
        argv[argc++] = word;
    return bench_options_read(options, scenario, argc, argv);
}

static void options_stand_on_both_sides(void **state)
{
    struct bench_options options;
    const struct bench_scenario *scenario;

    (void)state;
    assert_int_equal(
        line_read("-wq --json channel -c20k --outstanding=8 -d 2.5 --push merged -n 1M", &options, &scenario), 0);
    assert_ptr_equal(scenario, &channel_like);
    assert_true(options.websocket && options.quiet && options.json);
    assert_int_equal(options.connections, 20000);
    assert_int_equal(options.outstanding, 8);
    assert_int_equal(options.messages, 1000000);
    assert_true(options.duration == 2.5);
    assert_string_equal(options.push, "merged");
    assert_string_equal(options.address, "127.0.0.1:8082");
}

static void scenarios_have_their_defaults(void **state)
{
    struct bench_options options;
    const struct bench_scenario *scenario;

    (void)state;
    assert_int_equal(line_read("connect", &options, &scenario), 0);
    assert_int_equal(options.connections, 1000);
    assert_true(options.duration == 3);
    assert_string_equal(options.address, "127.0.0.1:8081");
    assert_int_equal(line_read("connect -d 0", &options, &scenario), 0);
    assert_true(options.duration == 0);
    assert_int_equal(line_read("connect --tls12 --resume", &options, &scenario), 0);
    assert_true(options.resume && options.tls12);
    assert_int_equal(line_read("--help", &options, &scenario), 0);
    assert_null(scenario);
    assert_true(options.help);
}

static void mistakes_are_refused(void **state)
{
    static const char *const lines[] = {
        "",
        "nothing",
        "channel -x",
        "channel --nothing",
        "channel --json=1",
        "channel -c",
        "channel -c 0",
        "channel -c 1.5",
        "channel -c 5x",
        "channel -c nan",
        "channel -d -1",
        "channel --push some",
        "channel --push al",
        "channel --size 15",
        "channel --pipeline",
        "--pipeline channel",
        "connect --outstanding 5",
        "channel --leave",
        "connect --users 0",
        "channel connect",
        "channel --resume",
    };
    struct bench_options options;
    const struct bench_scenario *scenario;

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_int_equal(line_read(lines[i], &options, &scenario), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_on_both_sides),
        cmocka_unit_test(scenarios_have_their_defaults),
        cmocka_unit_test(mistakes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
