/* The log: both formats, escapes, the level, the limit per event, rotation, and lines of several threads. */
#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/log.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char path[128], moved[140];

static int make_file(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    snprintf(path, sizeof path, "%s/magpie-log-XXXXXX", tmp ? tmp : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(moved, sizeof moved, "%s.1", path);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    log_open(NULL, LOG_TEXT, LOG_INFO);
    unlink(path);
    unlink(moved);
    return 0;
}

/* The whole file; freed by the caller. */
static char *content(const char *name)
{
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    text[n] = 0;
    return text;
}

static unsigned lines(const char *text)
{
    unsigned n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* Cuts "2026-01-01T00:00:00.000Z " off. */
static const char *after_time(const char *line)
{
    assert_true(strlen(line) > 25);
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    return line + 25;
}

static void text_lines(void **state)
{
    (void)state;
    assert_int_equal(log_open(path, LOG_TEXT, LOG_INFO), 0);
    log_event(LOG_WARN, "test.text", LOG_STR("plain", "abc:1"), LOG_STR("spaced", "a b"), LOG_STR("empty", ""),
              LOG_INT("n", -7), LOG_INT("big", INT64_MAX), LOG_STR("equals", "a=b"), LOG_STR("quote", "a\"b\\c"));
    log_event(LOG_INFO, "test.bare");
    char *text = content(path);
    char *second = strchr(text, '\n');
    *second++ = 0;
    assert_string_equal(after_time(text),
                        "warn test.text plain=abc:1 spaced=\"a b\" empty=\"\" n=-7 big=9223372036854775807 "
                        "equals=\"a=b\" quote=\"a\\\"b\\\\c\"");
    assert_string_equal(after_time(second), "info test.bare\n");
    free(text);
}

/* Whatever a value holds, no control character gets out, and no line break splits a line. */
static void no_control_characters_get_out(void **state)
{
    char all[256];
    (void)state;
    for (int i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    all[255] = 0;
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        assert_int_equal(truncate(path, 0), 0);
        assert_int_equal(log_open(path, (enum log_format)format, LOG_INFO), 0);
        log_event(LOG_INFO, format == LOG_TEXT ? "test.bytes_text" : "test.bytes_json", LOG_STR("v", all),
                  LOG_SLICE("nul", slice_of("a\0b", 3)),
                  LOG_STR("c1", "\xC2\x9B"
                                "31m"),
                  LOG_STR("good", "gr\xC3\xBC\xC3\x9F"), LOG_STR("half", "\xE2\x82"),
                  LOG_STR("surrogate", "\xED\xA0\x80"), LOG_STR("long", "\xF5\x80\x80\x80"),
                  LOG_STR("overlong", "\xC0\xAF"));
        char *text = content(path);
        assert_int_equal(lines(text), 1);
        for (const char *p = text; *p; p++)
            assert_true((unsigned char)*p >= 0x20 || *p == '\n');
        assert_null(strchr(text, 0x7F));
        assert_null(strstr(text, "\xC2\x9B"));
        assert_non_null(strstr(text, "gr\xC3\xBC\xC3\x9F"));
        assert_non_null(strstr(text, "a\\u0000b"));
        free(text);
    }
}

static void json_lines(void **state)
{
    const char *why = NULL;
    struct slice s;
    int64_t n = 0;
    (void)state;
    assert_int_equal(log_open(path, LOG_JSON, LOG_DEBUG), 0);
    log_event(LOG_DEBUG, "test.json", LOG_STR("name", "a \"b\"\n\t\\"), LOG_INT("n", 42), LOG_STR("plain", "x"));
    char *text = content(path);
    struct cJSON *tree = json_parse(slice_of(text, strlen(text) - 1), &why);
    if (!tree)
        fail_msg("%s: %s", why, text);
    assert_int_equal(json_get_string(tree, "level", &s), 1);
    assert_true(slice_eq(s, SLICE_LIT("debug")));
    assert_int_equal(json_get_string(tree, "event", &s), 1);
    assert_true(slice_eq(s, SLICE_LIT("test.json")));
    assert_int_equal(json_get_string(tree, "name", &s), 1);
    assert_true(slice_eq(s, SLICE_LIT("a \"b\"\n\t\\")));
    assert_int_equal(json_get_int(tree, "n", &n), 1);
    assert_int_equal(n, 42);
    json_free(tree);
    free(text);
}

static void the_level(void **state)
{
    (void)state;
    assert_int_equal(log_open(path, LOG_TEXT, LOG_WARN), 0);
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_WARN));
    log_event(LOG_INFO, "test.level_no");
    log_event(LOG_ERROR, "test.level_yes");
    log_set_level(LOG_DEBUG);
    log_event(LOG_DEBUG, "test.level_yes");
    char *text = content(path);
    assert_int_equal(lines(text), 2);
    assert_null(strstr(text, "level_no"));
    free(text);
    assert_int_equal(log_level_parse(SLICE_LIT("debug")), LOG_DEBUG);
    assert_int_equal(log_level_parse(SLICE_LIT("error")), LOG_ERROR);
    assert_true(log_level_parse(SLICE_LIT("Error")) < 0);
    assert_true(log_level_parse(SLICE_LIT("")) < 0);
    assert_true(log_level_parse(SLICE_LIT("errors")) < 0);
}

/* So many lines a second of each event; what is left out is counted and told, by its name. */
static void floods_are_limited(void **state)
{
    enum { MANY = 500 };
    char id[32], part[64];
    uint64_t second, attempt = 0;
    (void)state;
    do { /* all of it within a second, however busy the machine is */
        assert_true(++attempt < 20);
        assert_int_equal(truncate(path, 0), 0);
        assert_int_equal(log_open(path, LOG_TEXT, LOG_INFO), 0);
        while (clock_mono_ms() % 1000 > 300)
            usleep(10000);
        second = clock_mono_ms() / 1000;
        snprintf(id, sizeof id, "test.flood%u", (unsigned)attempt);
        for (int i = 0; i < MANY; i++)
            log_event(LOG_INFO, id, LOG_INT("i", i));
        log_event(LOG_INFO, "test.other_event");
    } while (clock_mono_ms() / 1000 != second);
    char *text = content(path);
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, " i=")) != NULL; at++)
        n++;
    assert_int_equal(n, 20);
    assert_non_null(strstr(text, "test.other_event"));
    free(text);
    while (clock_mono_ms() / 1000 == second)
        usleep(10000);
    log_event(LOG_INFO, id, LOG_INT("i", MANY));
    text = content(path);
    snprintf(part, sizeof part, "log.suppressed of=%s lines=480\n", id);
    assert_non_null(strstr(text, part));
    assert_non_null(strstr(text, "i=500\n"));
    free(text);
}

/* Rotation: the file is moved away and opened again. A place that cannot be opened leaves the old one. */
static void rotation(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(log_open(path, LOG_TEXT, LOG_INFO), 0);
    log_event(LOG_INFO, "test.before");
    assert_int_equal(rename(path, moved), 0);
    log_event(LOG_INFO, "test.still");
    assert_int_equal(log_open(path, LOG_TEXT, LOG_INFO), 0);
    log_event(LOG_INFO, "test.after");
    assert_true(log_open("/nonexistent/directory/log", LOG_TEXT, LOG_INFO) < 0);
    log_event(LOG_INFO, "test.here");
    char *old = content(moved), *fresh = content(path);
    assert_int_equal(lines(old), 2);
    assert_non_null(strstr(old, "test.still"));
    assert_int_equal(lines(fresh), 2);
    assert_non_null(strstr(fresh, "test.here"));
    free(old);
    free(fresh);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0007, 0); /* not for everybody */
}

/* Events that come by turns do not lift each other's limit, whatever their names. */
static void alternating_floods_are_limited(void **state)
{
    enum { EVENTS = 20, ROUNDS = 100 };
    char id[32];
    (void)state;
    assert_int_equal(log_open(path, LOG_TEXT, LOG_INFO), 0);
    while (clock_mono_ms() % 1000 > 300)
        usleep(10000);
    for (int i = 0; i < ROUNDS; i++)
        for (int e = 0; e < EVENTS; e++) {
            snprintf(id, sizeof id, "turns.event%d", e);
            log_event(LOG_INFO, id);
        }
    char *text = content(path);
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, " turns.event")) != NULL; at++)
        n++;
    assert_in_range(n, EVENTS * 20, 2 * EVENTS * 20); /* twice when a second ends meanwhile */
    free(text);
}

enum { THREADS = 4, EACH = 15 };

static void *write_lines(void *arg)
{
    char id[16];
    snprintf(id, sizeof id, "test.thread%d", (int)(intptr_t)arg);
    for (int i = 0; i < EACH; i++)
        log_event(LOG_INFO, id, LOG_STR("a", "0123456789012345678901234567890123456789"), LOG_INT("i", i));
    return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
    pthread_t t[THREADS];
    (void)state;
    assert_int_equal(log_open(path, LOG_TEXT, LOG_INFO), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, write_lines, (void *)(intptr_t)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    char *text = content(path), *save = NULL;
    unsigned n = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        int thread, i;
        if (strstr(line, "log.suppressed")) /* of the tests before */
            continue;
        n++;
        assert_int_equal(
            sscanf(after_time(line), "info test.thread%d a=0123456789012345678901234567890123456789 i=%d", &thread, &i),
            2);
    }
    assert_int_equal(n, THREADS * EACH);
    free(text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_file, remove_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(text_lines),
        TEST(no_control_characters_get_out),
        TEST(json_lines),
        TEST(the_level),
        TEST(floods_are_limited),
        TEST(rotation),
        TEST(alternating_floods_are_limited),
        TEST(threads_do_not_mix_their_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
