/* What the machine gives. */
#include "core/config/machine.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void test_processors_follow_the_affinity(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_true(machine_processors() >= 1);
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &before)) {
            CPU_SET(i, &one);
            break;
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(machine_processors(), 1);
    sched_setaffinity(0, sizeof before, &before);
}

static void test_memory(void **state)
{
    (void)state;
    uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), mine = machine_memory();
    assert_true(mine >= 64 << 20);
    assert_true(mine <= all);
    assert_int_equal(mine % (1 << 20), 0);
}

/* The default of limits.connections: never more than there are descriptors, and most of those. */
static void test_connections(void **state)
{
    static const rlim_t limits[] = {64, 1024, 20000};
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        pid_t child = fork();
        if (child == 0) {
            struct rlimit r;
            bool good = getrlimit(RLIMIT_NOFILE, &r) == 0;
            r.rlim_max = r.rlim_max < limits[i] ? r.rlim_max : limits[i];
            r.rlim_cur = r.rlim_max;
            good = good && setrlimit(RLIMIT_NOFILE, &r) == 0;
            uint32_t n = machine_connections();
            /* Who may raise the hard limit has more. */
            bool raised = n >= r.rlim_max && setrlimit(RLIMIT_NOFILE, &(struct rlimit){n, n}) == 0;
            _exit(good && n <= 1200000 && n >= r.rlim_max * 9 / 10 && (n < r.rlim_max || raised) ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

static void test_descriptors(void **state)
{
    (void)state;
    char why[256];
    struct rlimit now;
    /* Few fit everywhere. */
    assert_true(machine_raise_descriptors(100, why, sizeof why) >= 100);
    assert_string_equal(why, "");
    /* No machine has room for these. */
    uint32_t room = machine_raise_descriptors(4000000000u, why, sizeof why);
    assert_true(room < 4000000000u);
    assert_non_null(strstr(why, "are needed"));
    /* What could be raised was. */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    assert_true(now.rlim_cur >= room);
    assert_true(machine_raise_descriptors(0, why, sizeof why) > 0);
    assert_string_equal(why, "");
}

static void a_processor_is_left_to_others(void **state)
{
    (void)state;
    assert_int_equal(machine_shards(1), 1);
    assert_int_equal(machine_shards(2), 1);
    assert_int_equal(machine_shards(3), 2);
    assert_int_equal(machine_shards(64), 63);
}

/* --- Whether there is enough: in a process of its own, which may not raise its limits again ----------------------- */

static bool in_a_child(bool (*fn)(void))
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn() ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool refused(struct machine_need need, const char *word)
{
    char why[512] = "";
    if (machine_check(&need, why, sizeof why) == ERR_FULL && strstr(why, word))
        return true;
    fprintf(stderr, "%s: \"%s\"\n", word, why);
    return false;
}

static bool limit(int what, rlim_t most)
{
    return setrlimit((__rlimit_resource_t)what, &(struct rlimit){most, most}) == 0;
}

static const struct machine_need modest = {.descriptors = 30, .threads = 4, .memory = 1 << 20};

static bool few_descriptors(void)
{
    char why[512];
    return machine_check(&modest, why, sizeof why) == 0 && limit(RLIMIT_NOFILE, 24) && refused(modest, "ulimit -n") &&
           refused(modest, "24");
}

/* The limit counts a user's threads, and not root's. */
static bool few_threads(void)
{
    return (geteuid() != 0 || setuid(65534) == 0) && limit(RLIMIT_NPROC, 2) && refused(modest, "ulimit -u");
}

static bool little_room(void)
{
    struct machine_need more = modest;
    more.memory = (uint64_t)4 << 30;
    return limit(RLIMIT_DATA, (rlim_t)1 << 30) && refused(more, "storage.memory");
}

static void *stack_of(void *size)
{
    pthread_attr_t attr;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstacksize(&attr, size);
    pthread_attr_destroy(&attr);
    return NULL;
}

static bool small_stacks(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    struct rlimit now;
    size_t size = 0;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    if (pthread_setattr_default_np(&attr) != 0 ||
        setrlimit(RLIMIT_STACK, &(struct rlimit){128 << 10, RLIM_INFINITY}) != 0)
        return false;
    machine_widen_stacks();
    return getrlimit(RLIMIT_STACK, &now) == 0 && now.rlim_cur >= 1 << 20 &&
           pthread_create(&thread, NULL, stack_of, &size) == 0 && pthread_join(thread, NULL) == 0 && size >= 1 << 20;
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    assert_true(in_a_child(few_descriptors));
    assert_true(in_a_child(few_threads));
#ifndef __SANITIZE_ADDRESS__ /* which needs room itself */
    assert_true(in_a_child(little_room));
#else
    (void)little_room;
#endif
    assert_true(in_a_child(small_stacks));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_processor_is_left_to_others),
        cmocka_unit_test(test_processors_follow_the_affinity),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(what_is_missing_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
