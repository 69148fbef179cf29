/* Many sends by one system call: what each is told, and what becomes of them where the kernel refuses, at once or
 * later. Where this machine refuses from the start, only that is seen. */
#include "core/net/ring.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = RING_MAX };

/* Pairs of sockets; what is sent by one end is read at the other. */
struct pairs {
    int out[N], in[N];
    struct ring_send sends[N];
};

static void pair(int *out, int *in)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *out = fds[0];
    *in = fds[1];
}

static void open_pairs(struct pairs *p, unsigned n, const void *bytes, size_t size)
{
    for (unsigned i = 0; i < n; i++) {
        pair(&p->out[i], &p->in[i]);
        p->sends[i] = (struct ring_send){.offer = {.p = bytes, .n = size, .taken = size}, .fd = p->out[i], .sent = 77};
    }
}

static void close_pairs(struct pairs *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        close(p->out[i]);
        close(p->in[i]);
    }
}

/* What there is to be read is just this. */
static void has(int fd, const void *p, size_t n)
{
    char got[256];
    assert_true(n < sizeof got);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), n);
    assert_memory_equal(got, p, n);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), -1);
}

static bool is_allowed(void)
{
    char why[256] = "";
    if (ring_probe(why, sizeof why) == 0)
        return true;
    print_message("no io_uring here: %s\n", why);
    return false;
}

/* All of them, as often as one likes. */
static void many(void **state)
{
    static struct pairs p;
    struct ring *r = ring_new();
    bool allowed = is_allowed();
    (void)state;
    assert_non_null(r);
    for (unsigned n = 1; n <= N; n = n < N && n * 3 > N ? N : n * 3) {
        open_pairs(&p, n, "magpie", 6);
        assert_int_equal(ring_send(r, p.sends, n), allowed);
        for (unsigned i = 0; i < n; i++) {
            assert_int_equal(p.sends[i].sent, 6);
            has(p.in[i], "magpie", 6);
        }
        close_pairs(&p, n);
        if (n == N)
            break;
    }
    ring_free(r);
    ring_free(NULL);
}

/* Several to one socket leave in order. */
static void in_order(void **state)
{
    static struct ring_send sends[N];
    uint8_t bytes[N];
    int out, in;
    struct ring *r = ring_new();
    (void)state;
    pair(&out, &in);
    for (unsigned i = 0; i < N; i++) {
        bytes[i] = (uint8_t)(i ^ 0x55);
        sends[i] = (struct ring_send){.offer = {.p = &bytes[i], .n = 1}, .fd = out};
    }
    (void)ring_send(r, sends, N);
    has(in, bytes, N);
    close(out);
    close(in);
    ring_free(r);
}

/* A full socket takes a part, then nothing; one whose other side has gone fails; a descriptor that is none fails. The
 * others are sent, and each is told its own. The same by a send(2) for each. */
static void each_its_own(void **state)
{
    enum { BIG = 4 << 20, SHORT = 2, FULL = 3, GONE = 5, NONE = 6, ALL = 9 };
    static struct pairs p;
    char *big = calloc(1, BIG), sink[4096];
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct ring *r = ring_new();
        open_pairs(&p, ALL, "magpie", 6);
        p.sends[SHORT].offer.p = p.sends[FULL].offer.p = big;
        p.sends[SHORT].offer.n = p.sends[FULL].offer.n = BIG;
        p.sends[FULL].fd = p.sends[SHORT].fd; /* which is full by then */
        close(p.in[GONE]);
        p.in[GONE] = -1;
        p.sends[NONE].fd = -1;
        if (way == 0)
            (void)ring_send(r, p.sends, ALL);
        else
            ring_send_each(p.sends, ALL);
        size_t there = 0;
        for (ssize_t n; (n = recv(p.in[SHORT], sink, sizeof sink, MSG_DONTWAIT)) > 0;)
            there += (size_t)n;
        assert_in_range(p.sends[SHORT].sent, 1, BIG - 1);
        assert_int_equal(p.sends[SHORT].sent, there);
        assert_int_equal(p.sends[FULL].sent, -EAGAIN);
        assert_int_equal(p.sends[GONE].sent, -EPIPE);
        assert_int_equal(p.sends[NONE].sent, -EBADF);
        for (int i = 0; i < ALL; i++)
            if (i != SHORT && i != FULL && i != GONE && i != NONE) {
                assert_int_equal(p.sends[i].sent, 6);
                has(p.in[i], "magpie", 6);
            }
        close_pairs(&p, ALL);
        ring_free(r);
    }
    free(big);
}

/* All fail at once: as many completions as there can be. */
static void all_fail(void **state)
{
    static struct pairs p;
    struct ring *r = ring_new();
    bool allowed = is_allowed();
    (void)state;
    for (int round = 0; round < 3; round++) {
        open_pairs(&p, N, "magpie", 6);
        for (unsigned i = 0; i < N; i++) {
            close(p.in[i]);
            p.in[i] = -1;
        }
        assert_int_equal(ring_send(r, p.sends, N), allowed);
        for (unsigned i = 0; i < N; i++)
            assert_int_equal(p.sends[i].sent, -EPIPE);
        close_pairs(&p, N);
    }
    ring_free(r);
}

/* --- Refused ------------------------------------------------------------------------------------------------------ */

/* From now on the call fails with this error in this process. */
static bool refuse(unsigned call, unsigned error)
{
    struct sock_filter f[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof f / sizeof *f, .filter = f};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In a process of its own, whose exit code is 0 when all was well. */
static void in_child(int (*run)(unsigned call, unsigned error), unsigned call, unsigned error)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(run(call, error));
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* *works: whether the ring does. */
static bool all_arrive(struct ring *r, bool *works)
{
    enum { SOME = 20 };
    static struct pairs p;
    char got[7];
    open_pairs(&p, SOME, "magpie", 6);
    *works = ring_send(r, p.sends, SOME);
    for (unsigned i = 0; i < SOME; i++)
        if (p.sends[i].sent != 6 || recv(p.in[i], got, sizeof got, MSG_DONTWAIT) != 6)
            return false;
    close_pairs(&p, SOME);
    return true;
}

/* Refused before anything was sent. */
static int refused_at_once(unsigned call, unsigned error)
{
    char why[256] = "";
    struct ring *r = ring_new();
    bool works = true;
    if (!refuse(call, error))
        return 1;
    if (ring_probe(why, sizeof why) != ERR_IO || !strstr(why, strerror((int)error)))
        return 2;
    if (!r || !all_arrive(r, &works) || works)
        return 3;
    ring_free(r);
    return 0;
}

/* It has worked, and is refused from then on: what was asked for is sent all the same, each once. */
static int refused_later(unsigned call, unsigned error)
{
    struct ring *r = ring_new();
    bool works = false;
    if (!r || !all_arrive(r, &works) || !works)
        return 1;
    if (!refuse(call, error))
        return 2;
    if (!all_arrive(r, &works) || works || !all_arrive(r, &works) || works)
        return 3;
    ring_free(r);
    return 0;
}

static void refusals(void **state)
{
    static const unsigned errors[] = {EPERM, ENOSYS, ENOMEM, EINVAL, EAGAIN};
    (void)state;
    bool allowed = is_allowed();
    for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++) {
        in_child(refused_at_once, SYS_io_uring_setup, errors[i]);
        if (!allowed)
            continue;
        in_child(refused_at_once, SYS_io_uring_enter, errors[i]);
        in_child(refused_later, SYS_io_uring_enter, errors[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many),     cmocka_unit_test(in_order), cmocka_unit_test(each_its_own),
        cmocka_unit_test(all_fail), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
