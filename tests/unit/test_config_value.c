/* Values of a config by path. */
#include "core/config/config.h"
#include "core/config/config_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct config *parse(const char *text)
{
    struct buf errors = BUF_INIT;
    struct config *c = config_parse(slice_str(text), "test", &errors);
    assert_non_null(c);
    buf_free(&errors);
    return c;
}

static void expect(const struct config *c, const char *path, const char *value)
{
    struct buf b = BUF_INIT;
    assert_int_equal(config_value(c, path, &b), value ? 0 : ERR_NOTFOUND);
    assert_true(slice_eq(buf_slice(&b), slice_str(value ? value : "")));
    buf_free(&b);
}

static void values(void **state)
{
    (void)state;
    struct config *c = parse(
        "return { limits = { content = 100 }, timeouts = { idle = 2.5 }, log = { level = 'warn' }, auth = { secret = "
        "'0123456789abcdef' }, origins = { 'https://a.b', 'https://c.d' }, console = { password = 'hush' } }");
    expect(c, "limits.content", "100");
    expect(c, "limits.frame", "65536");
    expect(c, "timeouts.idle", "2.5");
    expect(c, "log.level", "warn");
    expect(c, "auth.mode", "open");
    expect(c, "auth.allow_open", "false");
    expect(c, "origins", "https://a.b,https://c.d");
    expect(c, "auth.secret", NULL);
    expect(c, "console.password", NULL);
    expect(c, "tls.client_ca", NULL);
    expect(c, "limits", NULL);
    expect(c, "limits.nothing", NULL);
    expect(c, "plugins.load", NULL);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
