/*
 * Tests of a store in another process, which is killed: the same program again, as `NAME DIRECTORY`. Included by
 * test_store_restart.c and test_store_kill.c, each with its table `children`.
 */
#ifndef MAGPIE_TEST_STORE_CHILD_H
#define MAGPIE_TEST_STORE_CHILD_H

#include "tests/unit/test_store_util.h"

#include <signal.h>
#include <sys/wait.h>

/* What a child may be asked to do, and the options that it does it with. */
struct child_task {
    const char *name;
    void (*options)(struct world *w);
    void (*run)(struct world *w, int to);
};
extern const struct child_task children[]; /* the last one has no name */

struct child {
    pid_t pid;
    int from; /* what it tells: struct told */
};

/* An acknowledgement. */
struct told {
    uint64_t conv, seq, id;
};

/* This program again, as `NAME DIRECTORY`: see main. Its standard output is what it tells. No store may be open
 * here. */
static inline struct child child_start(struct world *w, const char *name)
{
    int ends[2];
    assert_null(w->s);
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "child", name, w->dir, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    return (struct child){.pid = pid, .from = ends[0]};
}

static inline void child_kill(struct child *c)
{
    int status;
    kill(c->pid, SIGKILL);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Waits until the child has done all, then kills it. Returns how many it told. */
static inline uint32_t child_finish(struct child *c, struct told *out, uint32_t max)
{
    uint32_t n = 0;
    while (n < max && read(c->from, &out[n], sizeof(*out)) == (ssize_t)sizeof(*out))
        n++;
    child_kill(c);
    close(c->from);
    return n;
}

/* A shell command that must work. */
static inline void __attribute__((format(printf, 1, 2))) run(const char *fmt, ...)
{
    char cmd[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(cmd, sizeof(cmd), fmt, args);
    va_end(args);
    assert_true(n > 0 && n < (int)sizeof(cmd));
    assert_int_equal(system(cmd), 0);
}

/* For main(), when it is the child. */
static inline int child_main(const char *name, const char *dir)
{
    static struct world w;
    world_init(&w, "rocksdb");
    rmdir(w.dir);
    snprintf(w.dir, sizeof(w.dir), "%s", dir);
    for (size_t i = 0; children[i].name; i++) {
        if (strcmp(children[i].name, name) == 0) {
            children[i].options(&w);
            if (world_try(&w)) {
                fprintf(stderr, "in the child: %s\n", w.why);
                return 1;
            }
            children[i].run(&w, 1);
            close(1);
            for (;;)
                pause();
        }
    }
    return 1;
}

/* A world on disk that is not open yet. */
static inline int child_setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    world_init(w, "rocksdb");
    *state = w;
    return 0;
}

static inline int child_teardown(void **state)
{
    world_fini(*state);
    free(*state);
    return 0;
}

#endif
