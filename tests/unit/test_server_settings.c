/* settings.c: a config with all that it names, checked before anything is opened. (The rest of core/server needs a
 * process: integration/test_process.py, test_console.py.) */
#include "core/config/config.h"
#include "core/server/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A config file of this text; the caller removes it. */
static void write_file(char path[64], const char *text)
{
    snprintf(path, 64, "/tmp/magpie_settings.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* As magpied loads it when it starts; `errors` becomes a string. */
static struct config *load(const char *text, struct buf *errors)
{
    char path[64];
    write_file(path, text);
    struct config *c = settings_load(NULL, path, errors);
    unlink(path);
    buf_byte(errors, '\0');
    assert_true(buf_ok(errors));
    return c;
}

static void test_good(void **state)
{
    (void)state;
    struct buf errors = BUF_INIT;
    struct config *c = load("return {}", &errors);
    assert_non_null(c);
    assert_string_equal(errors.p, "");
    struct plugin_config pc = settings_plugins(c, "f.lua");
    assert_string_equal(pc.file, "f.lua");
    assert_string_equal(pc.path, "plugins");
    config_free(c);
    buf_free(&errors);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *told[3]; /* parts of the errors, each once; NULL: no more */
    } cases[] = {
        {"return {", {"<eof>"}},
        {"return { tls = { certificate = 'no-such', key = 'b' } }",
         {": tls.certificate: no-such: No such file or directory"}},
        {"return { tls = { certificate = { 'no-such', 'nor-this' }, key = { 'b', 'b' } } }",
         {": tls.certificate: no-such: No such", ": tls.certificate: nor-this: No such"}},
        {"return { auth = { mode = 'jwt' } }", {"auth.mode: no provider registered for auth.mode \"jwt\""}},
        {"return { plugins = { load = { no_such_plugin = {} } } }", {"no_such_plugin"}},
        {"return { tls = { certificate = 'a', key = 'b' }, auth = { mode = 'jwt' } }",
         {": tls.certificate: a: ", "auth.mode: "}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf errors = BUF_INIT;
        struct config *c = load(cases[i].text, &errors);
        if (c)
            fail_msg("taken: %s", cases[i].text);
        for (size_t j = 0; j < 3 && cases[i].told[j]; j++)
            if (!strstr(errors.p, cases[i].told[j]))
                fail_msg("%s: \"%s\" is not told, but: %s", cases[i].text, cases[i].told[j], errors.p);
        buf_free(&errors);
    }
}

static void test_scripts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *told; /* part of the errors; NULL: good */
    } cases[] = {
        {"return {}", NULL},
        {"return { scripts = { load = {} } }", NULL},
        {"return { scripts = { load = { 'no_such_script' } } }", "no_such_script.lua"},
        {"return { auth = { mode = 'script' } }", "no script that is loaded has a \"login\" hook"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf errors = BUF_INIT;
        struct config *c = load(cases[i].text, &errors);
        if (!c)
            fail_msg("%s: %s", cases[i].text, errors.p);
        buf_reset(&errors);
        bool good = settings_check_scripts(c, &errors);
        buf_byte(&errors, '\0');
        if (good != !cases[i].told || (cases[i].told && !strstr(errors.p, cases[i].told)))
            fail_msg("%s: %s: %s", cases[i].text, good ? "good" : "bad", errors.p);
        config_free(c);
        buf_free(&errors);
    }
}

static void test_secret_directory(void **state)
{
    (void)state;
    struct buf errors = BUF_INIT;
    struct config *kept = load("return { data = 'd' }", &errors);
    buf_reset(&errors);
    struct config *memory = load("return { data = 'd', storage = { engine = 'memory' } }", &errors);
    assert_non_null(kept);
    assert_non_null(memory);
    assert_string_equal(settings_secret_directory(kept), "d");
    assert_null(settings_secret_directory(memory));
    config_free(kept);
    config_free(memory);
    buf_free(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_secret_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
