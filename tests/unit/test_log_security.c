/* The security log: every line arrives, whatever its number; files are moved, refused and closed. */
#include "core/base/log_security.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test-security-XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[2][128];
    static unsigned which;
    which = !which;
    snprintf(paths[which], sizeof paths[which], "%s/%s", folder, name);
    return paths[which];
}

static unsigned lines_of(const char *path, const char *word)
{
    char line[4096];
    unsigned n = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        assert_non_null(strchr(line, '\n'));
        n += strstr(line, word) != NULL;
    }
    if (f)
        fclose(f);
    return n;
}

static void all_arrive(void **state)
{
    enum { MANY = 500 };
    (void)state;
    assert_false(security_enabled());
    security_event("login.accepted", LOG_STR("ip", "nowhere"));
    assert_int_equal(security_open(path_of("a"), LOG_TEXT), 0);
    assert_true(security_enabled());
    for (int i = 0; i < MANY; i++)
        security_event("login.refused", LOG_STR("ip", "192.0.2.1"), LOG_STR("because", "a\nb"), LOG_INT("n", i));
    security_close();
    assert_false(security_enabled());
    assert_int_equal(lines_of(path_of("a"), "info login.refused ip=192.0.2.1 because="), MANY);
    assert_int_equal(lines_of(path_of("a"), ""), MANY);
    struct stat st;
    assert_int_equal(stat(path_of("a"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_file_is_moved(void **state)
{
    (void)state;
    assert_int_equal(security_open(path_of("b"), LOG_JSON), 0);
    security_event("login.accepted", LOG_STR("user", "one"));
    security_close();
    assert_int_equal(rename(path_of("b"), path_of("b.1")), 0);
    assert_int_equal(security_open(path_of("b"), LOG_JSON), 0);
    security_event("login.accepted", LOG_STR("user", "two"));
    assert_int_equal(security_open(NULL, LOG_JSON), 0);
    security_event("login.accepted", LOG_STR("user", "three"));
    assert_int_equal(security_open(path_of("b"), LOG_TEXT), 0);
    security_event("login.accepted", LOG_STR("user", "four"));
    security_close();
    assert_int_equal(lines_of(path_of("b.1"), "\"user\":\"one\""), 1);
    assert_int_equal(lines_of(path_of("b"), "two"), 1);
    assert_int_equal(lines_of(path_of("b"), "three"), 0);
    assert_int_equal(lines_of(path_of("b"), "user=four"), 1);
}

static void what_is_no_file(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_int_equal(security_open(path_of("fifo"), LOG_TEXT), ERR_IO);
    assert_int_equal(security_open(folder, LOG_TEXT), ERR_IO);
    assert_int_equal(security_open(path_of("none/x"), LOG_TEXT), ERR_IO);
    assert_int_equal(errno, ENOENT);
    assert_false(security_enabled());
    /* What is open stays so. */
    assert_int_equal(security_open(path_of("c"), LOG_TEXT), 0);
    assert_int_equal(security_open(path_of("fifo"), LOG_TEXT), ERR_IO);
    security_event("ban.made", LOG_STR("user", "ada"));
    security_close();
    assert_int_equal(lines_of(path_of("c"), "ban.made user=ada"), 1);
    security_close(); /* again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_arrive),
        cmocka_unit_test(a_file_is_moved),
        cmocka_unit_test(what_is_no_file),
    };
    if (!mkdtemp(folder))
        return 1;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    static const char *const names[] = {"a", "b", "b.1", "c", "fifo"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(path_of(names[i]));
    rmdir(folder);
    return rc;
}
