/* Errors and assertions. */
#include "core/base/err.h"
#include "core/base/log.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void errors_have_words(void **state)
{
    static const int all[] = {0,      ERR_NOMEM, ERR_INVALID, ERR_NOTFOUND, ERR_EXISTS, ERR_FULL,
                              ERR_IO, ERR_AGAIN, ERR_CLOSED,  ERR_TOOLARGE, ERR_AUTH};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_true(strlen(err_str(all[i])) > 3);
        assert_string_not_equal(err_str(all[i]), "unknown error");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(err_str(all[i]), err_str(all[j]));
    }
    assert_string_equal(err_str(ERR_NOMEM), "out of memory");
    assert_string_equal(err_str(1), "unknown error");
    assert_string_equal(err_str(-1000), "unknown error");
}

/* A bug ends the process, whatever the build; a surprise is said and handled. */
static void assertions(void **state)
{
    int status = 0;
    (void)state;
    log_set_level(LOG_ERROR + 1);
    assert_true(SURELY(1 + 1 == 2));
    assert_false(SURELY(1 + 1 == 3));
    ASSERT(1 + 1 == 2);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        signal(SIGABRT, SIG_DFL);
        ASSERT(1 + 1 == 3);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    log_set_level(LOG_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_words),
        cmocka_unit_test(assertions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
