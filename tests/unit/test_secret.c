/* The key of resume tokens and its file. */
#include "core/config/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char directory[] = "/tmp/magpie-secret-XXXXXX";
static char path[64];

static void write_file(const char *text, mode_t mode)
{
    unlink(path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static int load(const char *text, uint8_t *key, char *why)
{
    return secret_load(text, directory, key, why, 256);
}

static void test_made_once(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    char why[256] = "", text[128] = "";
    struct stat st;
    unlink(path);
    assert_int_equal(load(NULL, a, why), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(load(NULL, b, why), 0);
    assert_memory_equal(a, b, 32);
    /* The same text as auth.secret gives the same key. */
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fread(text, 1, sizeof text - 1, f), 65);
    fclose(f);
    text[64] = '\0';
    assert_int_equal(load(text, b, why), 0);
    assert_memory_equal(a, b, 32);
    unlink(path);
    assert_int_equal(load(NULL, b, why), 0);
    assert_memory_not_equal(a, b, 32);
}

static void test_refused(void **state)
{
    (void)state;
    uint8_t key[32];
    char why[256] = "";
    write_file("0123456789abcdef0123456789abcdef", 0644);
    assert_int_equal(load(NULL, key, why), ERR_AUTH);
    assert_non_null(strstr(why, "0644"));
    write_file("0123456789abcdef0123456789abcdef", 0620);
    assert_int_equal(load(NULL, key, why), ERR_AUTH);
    write_file("short\n", 0600);
    assert_int_equal(load(NULL, key, why), ERR_INVALID);
    assert_non_null(strstr(why, "has 5 bytes"));
    assert_null(strstr(why, "short\n"));
    write_file("", 0600);
    assert_int_equal(load(NULL, key, why), ERR_INVALID);
    unlink(path);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(load(NULL, key, why), ERR_IO);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(load(NULL, key, why), ERR_AUTH);
    unlink(path);
    assert_int_equal(secret_load(NULL, "/nonexistent", key, why, sizeof why), ERR_IO);
}

/* What is kept of a key to know it again. */
static void test_digest(void **state)
{
    (void)state;
    uint8_t a[32], b[32], one[SECRET_DIGEST_SIZE], two[SECRET_DIGEST_SIZE];
    char why[256];
    assert_int_equal(load("0123456789abcdef", a, why), 0);
    assert_int_equal(load("0123456789abcdeg", b, why), 0);
    assert_int_equal(secret_digest(a, one), 0);
    assert_int_equal(secret_digest(a, two), 0);
    assert_memory_equal(one, two, sizeof one);
    assert_memory_not_equal(one, a, sizeof one);
    assert_int_equal(secret_digest(b, two), 0);
    assert_memory_not_equal(one, two, sizeof one);
}

static void test_nothing_kept(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    char why[256];
    assert_int_equal(secret_load(NULL, NULL, a, why, sizeof why), 0);
    assert_int_equal(secret_load(NULL, NULL, b, why, sizeof why), 0);
    assert_memory_not_equal(a, b, 32);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/secret", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_once),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_nothing_kept),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
