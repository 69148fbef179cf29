#include "core/net/tls/tickets.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOW = 1796000000, HALF_DAY = 12 * 3600 };

static char directory[64], path[128], why[256];

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/magpie-tickets-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/ticket-keys", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

static void read_all(char *out, size_t size)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    out[fread(out, 1, size - 1, f)] = '\0';
    fclose(f);
}

static struct tls_tickets *at(int64_t now)
{
    struct tls_tickets *t = tls_tickets_new(directory, now, why, sizeof why);
    if (!t)
        fail_msg("%s", why);
    return t;
}

/* The file is made, kept while its keys are good, and nobody else's. */
static void over_restarts(void **state)
{
    (void)state;
    char first[1024], then[1024];
    struct stat st;
    tls_tickets_free(at(NOW));
    read_all(first, sizeof first);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    tls_tickets_free(at(NOW + HALF_DAY - 1));
    read_all(then, sizeof then);
    assert_string_equal(first, then);
    /* The next one takes over, the one before stays for a time, and goes. */
    tls_tickets_free(at(NOW + HALF_DAY));
    read_all(then, sizeof then);
    assert_non_null(strstr(then, first));
    assert_int_equal(strlen(then), 2 * strlen(first));
    tls_tickets_free(at(NOW + 2 * HALF_DAY));
    read_all(then, sizeof then);
    assert_null(strstr(then, first));
    tls_tickets_free(at(NOW + 100 * HALF_DAY));
    read_all(then, sizeof then);
    assert_int_equal(strlen(then), strlen(first));
}

static void they_turn(void **state)
{
    (void)state;
    char before[1024], after[1024];
    struct tls_tickets *t = at(NOW);
    read_all(before, sizeof before);
    assert_int_equal(tls_tickets_turn(t, NOW + HALF_DAY - 1), 1);
    assert_int_equal(tls_tickets_turn(t, NOW + HALF_DAY), 0);
    assert_int_equal(tls_tickets_turn(t, NOW + HALF_DAY + 5), 1);
    read_all(after, sizeof after);
    assert_int_equal(strlen(after), 2 * strlen(before));
    assert_non_null(strstr(after, before));
    /* A clock that was set back makes a key of the future: it serves no longer than others. */
    assert_int_equal(tls_tickets_turn(t, NOW), 0);
    assert_int_equal(tls_tickets_turn(t, NOW + 1), 1);
    tls_tickets_free(t);
    t = tls_tickets_new(NULL, NOW, why, sizeof why);
    assert_non_null(t);
    assert_int_equal(tls_tickets_turn(t, NOW + HALF_DAY), 0);
    tls_tickets_free(t);
}

/* What is no key is passed over; a file that others may read, or that is none, is refused by name. */
static void bad_files(void **state)
{
    (void)state;
    FILE *f = fopen(path, "w");
    fputs("1796000000 abc\nnonsense\n\n-1 zz\n", f);
    fclose(f);
    chmod(path, 0600);
    tls_tickets_free(at(NOW));
    char text[1024];
    read_all(text, sizeof text);
    assert_int_equal(strlen(text), 11 + 160 + 1);
    chmod(path, 0640);
    assert_null(tls_tickets_new(directory, NOW, why, sizeof why));
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, "0640"));
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_null(tls_tickets_new(directory, NOW, why, sizeof why));
    assert_non_null(strstr(why, "no plain file"));
    rmdir(path);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_null(tls_tickets_new(directory, NOW, why, sizeof why));
    assert_non_null(strstr(why, "symbolic link"));
    unlink(path);
    assert_null(tls_tickets_new("/no/such/place", NOW, why, sizeof why));
    assert_non_null(strstr(why, "/no/such/place/ticket-keys: No such file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(over_restarts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(they_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_files, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
