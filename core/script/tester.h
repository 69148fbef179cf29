/* Tests of scripts: magpied --run-script-tests. */
#ifndef MAGPIE_SCRIPT_TESTER_H
#define MAGPIE_SCRIPT_TESTER_H

#include <stdio.h>

struct cJSON;

/* Runs every *_test.lua of a folder in the real sandbox, with a clock and events of the tests' own (docs/scripting.md);
 * prints to `out`. Returns the number of tests that failed; 1 when there is none. config: the defaults that tests
 * change. */
unsigned scripts_run_tests(const char *folder, const struct cJSON *config, FILE *out);

#endif
