/* The schema itself: sound rows, the nearest key, and the table in docs/configuration.md, which is made from it. */
#include "core/config/config_schema.h"
#include "core/config/config_print.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define DOCS  "docs/configuration.md"
#define BEGIN "<!-- schema: begin -->\n"
#define END   "<!-- schema: end -->"

static void test_rows_are_sound(void **state)
{
    (void)state;
    for (unsigned i = 0; i < config_schema_count; i++) {
        const struct config_option *o = &config_schema[i];
        assert_ptr_equal(config_schema_find(o->path), o); /* no path twice */
        assert_non_null(o->help);
        assert_null(strpbrk(o->help, "\n|"));
        assert_true(strlen(o->help) < 400);
        assert_true((o->type == OPT_SECTION) == (o->fallback == NULL));
        assert_true(o->type != OPT_ENUM || o->choices);
        assert_true(!(o->flags & OPT_F_SECRET) ||
                    (o->type == OPT_TEXT && o->min >= 1)); /* an empty one protects nothing */
        /* The section stands above its options. */
        const char *dot = strrchr(o->path, '.');
        if (dot) {
            char section[CONFIG_PATH_MAX];
            snprintf(section, sizeof section, "%.*s", (int)(dot - o->path), o->path);
            const struct config_option *s = config_schema_find(section);
            assert_non_null(s);
            assert_true(s < o && s->type == OPT_SECTION);
        }
    }
    assert_null(config_schema_find("limits.frames"));
    assert_null(config_schema_find(""));
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"limits.frme", "limits.frame"},
        {"limit.frame", "limits.frame"},
        {"limits.farme", "limits.frame"},
        {"thread", "threads"},
        {"timeouts.recall", "limits.recall"},
        {"listen.web_socket", "listen.websocket"},
        {"listen.ws", "listen.wss"},
        {"log.levl", "log.level"},
        {"tiers.large.member", "tiers.large.members"},
        {"originns", "origins"},
        {"auth.secrets", "auth.secret"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const char *near = config_schema_nearest(pairs[i][0]);
        if (!near || strcmp(near, pairs[i][1]) != 0)
            fail_msg("%s: %s", pairs[i][0], near ? near : "nothing");
    }
    assert_null(config_schema_nearest("something_else_entirely"));
    assert_null(config_schema_nearest("qqqqqq"));
    char lengthy[1000];
    memset(lengthy, 'a', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    assert_null(config_schema_nearest(lengthy));
}

static char *read_docs(void)
{
    static char text[1 << 16];
    FILE *f = fopen(DOCS, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    assert_true(n < sizeof text - 1);
    text[n] = '\0';
    return text;
}

/* With MAGPIE_UPDATE_DOCS set, the table is written anew instead. */
static void test_docs_have_the_schema(void **state)
{
    (void)state;
    struct buf table = BUF_INIT;
    config_schema_reference(&table);
    char *text = read_docs(), *begin = strstr(text, BEGIN);
    assert_non_null(begin);
    begin += strlen(BEGIN);
    char *end = strstr(begin, END);
    assert_non_null(end);
    bool same = (size_t)(end - begin) == table.n && memcmp(begin, table.p, table.n) == 0;
    if (!same && getenv("MAGPIE_UPDATE_DOCS")) {
        FILE *f = fopen(DOCS ".new", "w");
        assert_non_null(f);
        fwrite(text, 1, (size_t)(begin - text), f);
        fwrite(table.p, 1, table.n, f);
        fputs(end, f);
        fclose(f);
        assert_int_equal(rename(DOCS ".new", DOCS), 0);
        same = true;
    }
    buf_free(&table);
    if (!same)
        fail_msg(DOCS " differs from the schema: MAGPIE_UPDATE_DOCS=1 build/tests/test_config_schema writes it anew");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_sound),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_docs_have_the_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
