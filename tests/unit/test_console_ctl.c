/* magpiectl: words into lines, completion, the picture of top. */
#include "core/tools/ctl.h"
#include "core/tools/ctl_complete.h"
#include "core/tools/ctl_conn.h"
#include "core/tools/ctl_top.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static void joined(const char *expected, int argc, char **argv)
{
    struct buf b = BUF_INIT;
    ctl_join(&b, argc, argv);
    assert_string_equal(b.p, expected);
    buf_free(&b);
}

static void lines(void **state)
{
    (void)state;
    joined("list users limit 3", 1, (char *[]){"list users limit 3"});
    joined("kick user ada", 3, (char *[]){"kick", "user", "ada"});
    joined("send user ada \"two words\"", 4, (char *[]){"send", "user", "ada", "two words"});
    joined("x \"\" \"a\\\"b\" \"\\u000a\" c\\d", 5, (char *[]){"x", "", "a\"b", "\n", "c\\d"});
    assert_true(ctl_is_trace("trace user ada on") && ctl_is_trace("trace connection 0.1.2 on  "));
    assert_false(ctl_is_trace("trace user ada off") || ctl_is_trace("announce on") || ctl_is_trace("trace on"));
}

static void add(void *ctx, const char *word)
{
    buf_printf(ctx, "%s ", word);
}

static void completion(void **state)
{
    static const struct {
        const char *before, *words;
    } cases[] = {
        {"", "kick list set show status "},
        {"s", "set show status "},
        {"sh", "show "},
        {"show ", "config user "},
        {"show u", "user "},
        {"list ", "users "},
        {"json list u", "users "},
        {"help sh", "show "},
        {"help show ", "config user "},
        {"xyz", ""},
        {"set pu", "push.max push.slice_ms "},
        {"show config ra", "rate.user "},
        {"kick user ad", ""},
        {"  kick ", "user connection "},
    };
    (void)state;
    cJSON *commands = cJSON_Parse("[{\"name\":\"kick user\"},{\"name\":\"kick connection\"},{\"name\":\"list "
                                  "users\"},{\"name\":\"set\"},{\"name\":\"show config\"},"
                                  "{\"name\":\"show user\"},{\"name\":\"status\"}]");
    cJSON *options = cJSON_Parse("{\"push.max\":1,\"push.slice_ms\":2,\"rate.user\":3}");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = BUF_INIT;
        ctl_complete(commands, options, slice_str(cases[i].before), add, &b);
        buf_byte(&b, '\0');
        assert_string_equal(b.p, cases[i].words);
        buf_free(&b);
    }
    cJSON_Delete(commands);
    cJSON_Delete(options);
}

static void top(void **state)
{
    (void)state;
    cJSON *before = cJSON_Parse(
        "{\"scripts\":{\"magpie_script_cpu_seconds_total\":{\"r\":1.0},\"magpie_script_calls_total\":{\"r\":5}}}");
    cJSON *now = cJSON_Parse(
        "{\"uptime\":90061,\"state\":\"serving\",\"connections\":7,\"rates\":{\"messages\":1234567},"
        "\"shards\":[{\"shard\":0,\"load\":51.5}],"
        "\"storage\":{\"state\":\"good\",\"latency_us\":1500},\"hottest\":[{\"channel\":\"te\xc3\xa9\","
        "\"rate\":4.5,\"members\":3}],"
        "\"scripts\":{\"magpie_script_cpu_seconds_total\":{\"r\":1.25},\"magpie_script_calls_total\":{\"r\":25}},"
        "\"slow\":[{\"connection\":\"0.1.2\",\"user\":\"ada\",\"queued\":2048,\"skipping\":true}]}");
    struct buf b = BUF_INIT;
    ctl_top_draw(&b, now, before, 0, 0);
    buf_byte(&b, '\0');
    static const char *const parts[] = {"up 1d 01:01:01", "messages 1.2M", "latency 1.50 ms", " 51.5%  ##########",
                                        "te\xc3\xa9",     "4.5",           "250.00",          "0.1.2",
                                        "2.0kB  skipping"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!strstr(b.p, parts[i]))
            fail_msg("%s is missing in:\n%s", parts[i], b.p);
    /* Never wider or higher than the terminal. */
    buf_reset(&b);
    ctl_top_draw(&b, now, before, 20, 5);
    unsigned rows = 0, column = 0;
    for (size_t i = 0; i < b.n; i++) {
        rows += b.p[i] == '\n';
        column = b.p[i] == '\n' ? 0 : column + (((uint8_t)b.p[i] & 0xC0) != 0x80);
        assert_true(column <= 20);
    }
    assert_int_equal(rows, 5);
    buf_reset(&b);
    cJSON *nothing = cJSON_Parse("{}");
    ctl_top_draw(&b, nothing, NULL, 80, 24);
    assert_true(b.n > 0);
    buf_free(&b);
    cJSON_Delete(nothing);
    cJSON_Delete(now);
    cJSON_Delete(before);
}

static void bad_addresses(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "x", ":1", "unix:/nonexistent/socket", "127.0.0.1:1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct ctl c = {.address = wrong[i]};
        assert_int_equal(ctl_connect(&c), -1);
        assert_true(c.why[0]);
        ctl_close(&c);
    }
}

/* A listening socket of that address ("unix:PATH"). */
static int listener(const char *address)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", address + strlen("unix:"));
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

/* Where no address is given: the service's socket before the port, what is told when neither is there, and no second
 * address for whom the first turns away. */
static void usual_addresses(void **state)
{
    (void)state;
    char folder[] = "/tmp/magpie-ctl-XXXXXX", one[64], two[64];
    assert_non_null(mkdtemp(folder));
    snprintf(one, sizeof one, "unix:%s/one", folder);
    snprintf(two, sizeof two, "unix:%s/two", folder);
    const char *const usual[] = {one, two, NULL};
    struct ctl c = {.usual = usual};
    assert_int_equal(ctl_connect(&c), -1);
    assert_true(strstr(c.why, one) && strstr(c.why, two) && strstr(c.why, "MAGPIE_CONSOLE"));
    int second = listener(two);
    assert_int_equal(ctl_connect(&c), 0);
    assert_string_equal(c.address, two);
    ctl_close(&c);
    int first = listener(one);
    assert_int_equal(ctl_connect(&c), 0);
    assert_string_equal(c.address, one);
    ctl_close(&c);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(chmod(one + strlen("unix:"), 0), 0);
    assert_int_equal(chmod(two + strlen("unix:"), 0666), 0);
    if (geteuid() == 0) /* whom no mode keeps out */
        assert_int_equal(seteuid(65534), 0);
    assert_int_equal(ctl_connect(&c), -1);
    assert_true(strstr(c.why, one) && strstr(c.why, "permission denied") && !strstr(c.why, two));
    ctl_close(&c);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    close(first); /* left over by a server that died */
    assert_int_equal(chmod(one + strlen("unix:"), 0600), 0);
    assert_int_equal(ctl_connect(&c), 0);
    assert_string_equal(c.address, two);
    ctl_close(&c);
    close(second);
    unlink(one + strlen("unix:"));
    unlink(two + strlen("unix:"));
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines), cmocka_unit_test(completion), cmocka_unit_test(top),
                                       cmocka_unit_test(bad_addresses), cmocka_unit_test(usual_addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
