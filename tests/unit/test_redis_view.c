/* What CLUSTER NODES says, in parts. */
#include "storage/redis/start/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define ID8(c) c c c c c c c c
#define ID(c)  ID8(c) ID8(c) ID8(c) ID8(c) ID8(c)

/* A cluster as 10.0.0.1 sees it. */
/* clang-format off */
static const char cluster[] =
    ID("a") " 10.0.0.1:7000@17000,name-1 myself,master - 0 0 1 connected 0-5460 [93->-" ID("b") "]\n"
    ID("b") " fd00::2:7001@17001 master - 0 1 2 connected 5461-10922 16383\n"
    ID("c") " 10.0.0.3:7002@17002 slave " ID("a") " 0 1 1 connected\r\n"
    ID("d") " :0@0 master,noaddr - 0 1 3 disconnected 7\n"
    ID("e") " 10.0.0.5:7004@17004 handshake - 0 0 0 connected\n"
    ID("f") " 10.0.0.6:7005@17005 slave,fail? " ID("a") " 0 1 1 connected\n"
    ID("g") " 10.0.0.7:7005@17005 slave,fail " ID("a") " 0 1 1 connected\n";
/* clang-format on */

static void test_members(void **state)
{
    (void)state;
    struct view v;
    assert_int_equal(view_parse(cluster, "1.2.3.4:9", &v), 0);
    assert_int_equal(v.n, 6); /* nobody is a member while it shakes hands */
    assert_string_equal(v.members[0].address, "10.0.0.1:7000");
    assert_true(v.members[0].is_master && v.members[0].has_zero && !v.members[0].failed);
    assert_int_equal(v.members[0].slots, 5461);
    assert_string_equal(v.members[1].address, "[fd00::2]:7001");
    assert_int_equal(v.members[1].slots, 5463);
    assert_false(v.members[1].has_zero);
    assert_false(v.members[2].is_master);
    assert_string_equal(v.members[2].master, v.members[0].id);
    assert_true(v.members[3].failed);
    assert_int_equal(view_replicas(&v, &v.members[0]), 2); /* `fail?` is one member's doubt */
    assert_int_equal(view_replicas(&v, &v.members[1]), 0);
    assert_int_equal(view_host(v.members[1].address), strlen("[fd00::2]"));
    view_free(&v);
    assert_int_equal(v.n, 0);
}

/* One that was never met by another does not know its own address. */
static void test_alone(void **state)
{
    (void)state;
    struct view v;
    assert_int_equal(view_parse(ID("a") " :7000@17000 myself,master - 0 0 0 connected", "[::1]:7000", &v), 0);
    assert_int_equal(v.n, 1);
    assert_string_equal(v.members[0].address, "[::1]:7000");
    assert_int_equal(v.members[0].slots, 0);
    view_free(&v);
}

static void test_nonsense(void **state)
{
    static const char *const texts[] = {"", "\n", "a b c d e f g", "a b c d e f g\nERR unknown\n"};
    (void)state;
    struct view v;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(view_parse(texts[i], "h:1", &v), ERR_INVALID);
        assert_null(v.members);
    }
    assert_int_equal(view_parse("a h:1 master - 0 0 0 connected 5-3 x 16384 0-99999 [", "h:1", &v), 0);
    assert_int_equal(v.members[0].slots, 0);
    view_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_members), cmocka_unit_test(test_alone),
                                       cmocka_unit_test(test_nonsense)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
