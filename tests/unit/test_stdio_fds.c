#include "core/base/stdio_fds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* In a process of its own: which of the three are closed; whether all are open afterwards, and the next one is none of
 * them. */
static void closed(unsigned which)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        for (int fd = 0; fd < 3; fd++)
            if (which & 1u << fd)
                close(fd);
        int good = stdio_fds_open() == 0;
        for (int fd = 0; fd < 3; fd++)
            good = good && (!(which & 1u << fd) || write(fd, "x", 1) == 1);
        _exit(good && dup(0) > 2 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_every_combination(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 8; which++)
        closed(which);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_combination)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
