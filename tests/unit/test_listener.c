#include "core/net/listener.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static void addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok, local;
    } cases[] = {
        {"127.0.0.1:8081", true, true},
        {"127.9.9.9:0", true, true},
        {"localhost:1", true, true},
        {"[::1]:8081", true, true},
        {"[::ffff:127.0.0.1]:1", true, true},
        {"unix:/run/x.sock", true, true},
        {"0.0.0.0:80", true, false},
        {"*:8081", true, false},
        {"[::]:8081", true, false},
        {"10.0.0.1:65535", true, false},
        {"128.0.0.1:1", true, false},
        {"", false, false},
        {"127.0.0.1", false, false},
        {"127.0.0.1:", false, false},
        {":8081", false, false},
        {"127.0.0.1:65536", false, false},
        {"127.0.0.1:x", false, false},
        {"127.0.0.1:-1", false, false},
        {"127.0.0.1: 1", false, false},
        {"127.0.0.1:000001", false, false},
        {"127.0.0.256:1", false, false},
        {"::1:8081", false, false},
        {"[::1]", false, false},
        {"[::1:8081", false, false},
        {"[127.0.0.1]:1", false, false},
        {"[*]:1", false, false},
        {"example.org:1", false, false},
        {"unix:", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[128] = "";
        print_message("%s\n", cases[i].text);
        assert_int_equal(listener_check(cases[i].text, why, sizeof why), cases[i].ok);
        if (!cases[i].ok)
            assert_true(strlen(why) > 5);
        assert_int_equal(listener_is_local(cases[i].text), cases[i].local);
    }
    char path[300], why[128];
    memset(path, 'x', sizeof path);
    memcpy(path, "unix:", 5);
    path[299] = 0;
    assert_false(listener_check(path, why, sizeof why));
}

/* Connects to the name that the listener gives itself; 0 or -1. */
static int reach(const struct listener *l)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)atoi(strrchr(l->name, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0), rc = connect(fd, (struct sockaddr *)&a, sizeof a);
    close(fd);
    return rc;
}

static void a_port_of_each_shard(void **state)
{
    (void)state;
    struct listener l;
    char why[256] = "";
    assert_int_equal(listener_open(&l, "127.0.0.1:0", 3, 0777, why, sizeof why), 0);
    assert_int_equal(l.count, 3);
    assert_memory_equal(l.name, "127.0.0.1:", 10);
    assert_true(atoi(l.name + 10) > 0);
    assert_int_equal(reach(&l), 0);
    /* All of them are bound to the one port. */
    for (unsigned i = 0; i < 3; i++) {
        struct sockaddr_in a;
        socklen_t n = sizeof a;
        assert_int_equal(getsockname(l.fds[i], (struct sockaddr *)&a, &n), 0);
        assert_int_equal(ntohs(a.sin_port), atoi(l.name + 10));
    }
    listener_close(&l);
    assert_int_equal(l.count, 0);
}

/* SO_REUSEPORT would let two servers of a user have the same port. */
static void a_port_in_use(void **state)
{
    (void)state;
    struct listener l, other;
    char why[256] = "", name[128];
    assert_int_equal(listener_open(&l, "127.0.0.1:0", 2, 0777, why, sizeof why), 0);
    snprintf(name, sizeof name, "%s", l.name);
    assert_int_equal(listener_open(&other, name, 2, 0777, why, sizeof why), ERR_IO);
    assert_non_null(strstr(why, name));
    assert_non_null(strstr(why, "address already in use"));
    assert_int_equal(reach(&l), 0);
    listener_close(&l);
    /* Free again at once. */
    assert_int_equal(listener_open(&other, name, 2, 0777, why, sizeof why), 0);
    assert_string_equal(other.name, name);
    listener_close(&other);
}

static void both_families(void **state)
{
    (void)state;
    struct listener l;
    char why[256] = "";
    assert_int_equal(listener_open(&l, "*:0", 1, 0777, why, sizeof why), 0);
    assert_memory_equal(l.name, "*:", 2);
    assert_int_equal(reach(&l), 0);
    listener_close(&l);
}

static void not_ours(void **state)
{
    (void)state;
    struct listener l;
    char why[256] = "";
    assert_int_equal(listener_open(&l, "192.0.2.1:0", 1, 0777, why, sizeof why), ERR_IO);
    assert_memory_equal(why, "192.0.2.1:0: ", 13);
    assert_int_equal(listener_open(&l, "nonsense", 1, 0777, why, sizeof why), ERR_IO);
}

static void unix_sockets(void **state)
{
    (void)state;
    struct listener l, other;
    char dir[] = "/tmp/test_listener.XXXXXX", path[64], address[80], why[256] = "";
    struct stat st;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/sock", dir);
    snprintf(address, sizeof address, "unix:%s", path);
    assert_int_equal(listener_open(&l, address, 3, 0600, why, sizeof why), 0);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.name, address);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* A live one is refused and stays. */
    assert_int_equal(listener_open(&other, address, 1, 0600, why, sizeof why), ERR_IO);
    assert_non_null(strstr(why, "already in use"));
    assert_int_equal(stat(path, &st), 0);
    /* One left behind by a killed server is replaced. */
    close(l.fds[0]);
    assert_int_equal(listener_open(&other, address, 1, 0600, why, sizeof why), 0);
    l.fds[0] = -1;
    l.count = 0;
    free(l.unix_path);
    l.unix_path = NULL;
    listener_close(&l);
    listener_close(&other);
    assert_int_equal(stat(path, &st), -1);
    /* A file that is no socket is somebody's. */
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(listener_open(&l, address, 1, 0600, why, sizeof why), ERR_IO);
    assert_int_equal(stat(path, &st), 0);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),     cmocka_unit_test(a_port_of_each_shard),
        cmocka_unit_test(a_port_in_use), cmocka_unit_test(both_families),
        cmocka_unit_test(not_ours),      cmocka_unit_test(unix_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
