/* magpied's command line: what to do, and with which config. The server itself is in core/server. */
#include "core/base/buf.h"
#include "core/base/heap.h"
#include "core/base/slice.h"
#include "core/base/stdio_fds.h"
#include "core/config/config.h"
#include "core/script/scripts.h"
#include "core/script/tester.h"
#include "core/server/moving.h"
#include "core/server/server.h"
#include "core/server/settings.h"

#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int check(const char *config_path)
{
    struct buf errors = BUF_INIT;
    struct config *c = settings_load(NULL, config_path, &errors);
    bool good = c && settings_check_scripts(c, &errors);
    if (good)
        printf("%s: good\n", config_path);
    else
        fwrite(errors.p ? errors.p : "", 1, errors.n, stderr);
    buf_free(&errors);
    config_free(c);
    return good ? 0 : 1;
}

/* The tests beside the scripts of a folder, on the default config. */
static int run_script_tests(const char *folder)
{
    struct buf errors = BUF_INIT;
    struct config *c = config_parse(SLICE_LIT("return {}"), "defaults", &errors);
    struct cJSON *tree = c ? config_tree(c) : NULL;
    unsigned failed = tree ? scripts_run_tests(folder, tree, stdout) : 1;
    cJSON_Delete(tree);
    config_free(c);
    buf_free(&errors);
    return failed ? 1 : 0;
}

static int print_defaults(void)
{
    struct buf text = BUF_INIT;
    config_print_defaults(&text);
    bool ok = buf_ok(&text) && fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0;
    buf_free(&text);
    return ok ? 0 : 1;
}

static const char usage[] =
    "usage: magpied -c FILE       run in the foreground\n"
    "       magpied -t -c FILE    check the config and the scripts, print every error\n"
    "       magpied --export FILE -c CONFIG    all that a stopped server or a cluster holds\n"
    "       magpied --import FILE -c CONFIG    … into a server or a cluster that holds nothing\n"
    "       magpied --import --heads -c CONFIG    what a new Redis needs, from the archive, once all of the old is "
    "lost\n"
    "       magpied --defaults    print the default config with comments\n"
    "       magpied --run-script-tests DIR    run the *_test.lua of a folder\n"
    "       magpied --version\n"
    "       magpied --help\n";

static int wrong_usage(const char *what, const char *which)
{
    fprintf(stderr, "magpied: %s%s\n%s", what, which, usage);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"defaults", no_argument, NULL, 'D'},
                                            {"run-script-tests", required_argument, NULL, 'S'},
                                            {"export", required_argument, NULL, 'E'},
                                            {"import", required_argument, NULL, 'I'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *config_path = NULL, *export = NULL, *import = NULL;
    bool test = false;
    opterr = 0;
    if (stdio_fds_open() != 0)
        return 1;
    heap_setup();
    for (int c; (c = getopt_long(argc, argv, ":c:th", options, NULL)) != -1;) {
        /* A letter inside of a cluster (-xt) is told alone. */
        const char letter[3] = {'-', (char)optopt};
        const char *given = strncmp(argv[optind - 1], "--", 2) != 0 && optopt ? letter : argv[optind - 1];
        switch (c) {
        case 'c':
            config_path = optarg;
            break;
        case 't':
            test = true;
            break;
        case 'D':
            return print_defaults();
        case 'S':
            return run_script_tests(optarg);
        case 'E':
            export = optarg;
            break;
        case 'I':
            import = optarg;
            break;
        case 'V':
            return printf("magpied %s\n", MAGPIE_VERSION) < 0;
        case 'h':
            return fputs(usage, stdout) < 0;
        case ':':
            return wrong_usage(given, optopt == 'S' ? " needs a folder" : " needs a file");
        default:
            return wrong_usage("unknown option ", given);
        }
    }
    if (optind < argc)
        return wrong_usage("unexpected argument ", argv[optind]);
    if (test + !!export + !!import > 1)
        return wrong_usage("-t, --export and --import exclude each other", "");
    if (!config_path)
        return wrong_usage("no config: -c FILE is missing", "");
    if (export || import)
        return server_leave(export ? moving_export(config_path, export) : moving_import(config_path, import));
    return server_leave(test ? check(config_path) : server_run(config_path));
}
