/* magpie-bench: measures a Magpie server from outside. */
#include "core/tools/bench.h"
#include "core/tools/bench_channel.h"
#include "core/tools/bench_connect.h"
#include "core/tools/bench_dm.h"
#include "core/tools/bench_history.h"
#include "core/tools/bench_options.h"

#include <signal.h>
#include <stdio.h>

#ifndef MAGPIE_VERSION
#define MAGPIE_VERSION "unknown"
#endif

const struct bench_scenario *const bench_scenarios[] = {&bench_connect, &bench_channel, &bench_dm, &bench_history,
                                                        NULL};

enum exit_status { EXIT_FINE = 0, EXIT_FAULTY = 1, EXIT_USAGE = 2 };

static int scenario_run(const struct bench_options *options, const struct bench_scenario *scenario)
{
    struct bench bench;
    int status = bench_init(&bench, options, scenario);

    if (status == 0) {
        bench_report_start(&bench);
        status = scenario->run(&bench);
    }
    if (status == 0) {
        bench_report_finish(&bench);
        if (!bench_report_print(&bench.report, stdout, options->json)) {
            perror("magpie-bench: the result cannot be written");
            status = ERR_IO;
        }
    }
    bench_fini(&bench);
    return status < 0 || bench.faulty ? EXIT_FAULTY : EXIT_FINE;
}

int main(int argc, char **argv)
{
    const struct bench_scenario *scenario;
    struct bench_options options;

    signal(SIGPIPE, SIG_IGN);
    if (bench_options_read(&options, &scenario, argc, argv) < 0)
        return EXIT_USAGE;
    if (options.help) {
        bench_options_help(stdout, scenario);
        return EXIT_FINE;
    }
    if (options.version) {
        puts("magpie-bench " MAGPIE_VERSION);
        return EXIT_FINE;
    }
    return scenario_run(&options, scenario);
}
