/* The log's writer: readers that stand still, disks that are full, FIFOs, a process that ends, crashes or forks. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/log_ring.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, TEXT_BYTES = 4 << 20 };

static char directory[128], path[160], other[160];

static int make_directory(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    snprintf(directory, sizeof directory, "%s/magpie-log-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/log", directory);
    snprintf(other, sizeof other, "%s/other", directory);
    alarm(120); /* what is tested here used to wait for ever */
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    log_stop();
    assert_int_equal(log_open(NULL, LOG_TEXT, LOG_INFO), 0);
    unlink(path);
    unlink(other);
    rmdir(directory);
    alarm(0);
    return 0;
}

static void begin(const char *file)
{
    assert_int_equal(log_open(file, LOG_TEXT, LOG_INFO), 0);
    assert_int_equal(log_start(), 0);
}

/* Numbered lines, none of which is limited. */
static void say(const char *id, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        log_write_all(LOG_INFO, id, (const struct log_field[]){LOG_INT("i", i), {.type = LOG_F_END}});
}

/* The whole file; freed by the caller. */
static char *content(const char *name)
{
    char *text = calloc(1, TEXT_BYTES);
    FILE *f = fopen(name, "r");
    assert_non_null(text);
    if (f) {
        text[fread(text, 1, TEXT_BYTES - 1, f)] = '\0';
        fclose(f);
    }
    return text;
}

/* Until the file has this in it. */
static void wait_for(const char *name, const char *part)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    for (;;) {
        char *text = content(name);
        bool there = strstr(text, part) != NULL;
        if (!there && clock_mono_ms() > end)
            fail_msg("%s never came; there is: %.2000s", part, text);
        free(text);
        if (there)
            return;
        usleep(5000);
    }
}

/* The lines of say(), in order: the next number that is missing. `lost` gets what log.lost tells together; each such
 * line stands where the gap is. */
static unsigned numbers(char *text, unsigned *lost)
{
    unsigned next = 0, i;
    char *save = NULL;
    *lost = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        assert_true(strlen(line) > 25 && line[23] == 'Z'); /* whole from its beginning */
        if (sscanf(line + 25, "warn log.lost lines=%u", &i) == 1) {
            *lost += i;
            next += i;
        } else if (sscanf(line + 25, "info test.n i=%u", &i) == 1) {
            assert_int_equal(i, next);
            next++;
        }
    }
    return next;
}

/* Nobody waits for a pipe that is full; what was lost is told at its place when somebody reads again. */
static void a_reader_that_stands_still(void **state)
{
    enum { MANY = 20000 };
    struct log_stats before, after;
    struct stat st;
    unsigned lost = 0, n = 0;
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    log_get_stats(&before);
    begin(path); /* which would wait for a reader, too */
    say("test.n", 0, MANY);
    log_get_stats(&after);
    assert_true(after.lost > before.lost + MANY / 2);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    int in = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(in >= 0);
    char *text = calloc(1, TEXT_BYTES);
    for (uint64_t end = clock_mono_ms() + PATIENCE_MS; !strstr(text, "test.last") && clock_mono_ms() < end;) {
        ssize_t got = read(in, text + n, TEXT_BYTES - n - 1);
        n += got > 0 ? (unsigned)got : 0;
        if (got <= 0)
            usleep(1000);
        if (strstr(text, "log.lost"))
            log_event(LOG_INFO, "test.last");
    }
    close(in);
    assert_non_null(strstr(text, "test.last"));
    assert_int_equal(numbers(text, &lost), MANY);
    assert_int_equal(lost, after.lost - before.lost);
    free(text);
}

/* Standard error is other processes', too: a pipe there stays one that waits, and yet nobody waits for it. */
static void standard_error_that_stands_still(void **state)
{
    int ends[2], kept = dup(STDERR_FILENO);
    (void)state;
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    begin(NULL);
    say("test.n", 0, 20000);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(log_reopen(path), 0);
    wait_for(path, "log.lost");
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[0]);
    close(ends[1]);
}

/* The end waits a moment for a reader, and then no more. In a process of its own, for the writer hangs in it. */
static void the_end_does_not_wait(void **state)
{
    int ends[2], status = -1;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        dup2(ends[1], STDERR_FILENO);
        if (log_open(NULL, LOG_TEXT, LOG_INFO) != 0 || log_start() != 0)
            _exit(2);
        say("test.n", 0, 20000);
        log_stop();
        say("test.n", 0, 20000); /* is lost, and nothing waits */
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ends[0]);
    close(ends[1]);
}

/* A disk that takes nothing: the lines are there when the file is opened at another place. */
static void a_disk_that_is_full(void **state)
{
    unsigned lost;
    (void)state;
    begin("/dev/full");
    say("test.n", 0, 100);
    assert_int_equal(log_reopen(path), 0);
    say("test.n", 100, 101);
    wait_for(path, "i=100\n");
    char *text = content(path);
    assert_int_equal(numbers(text, &lost), 101);
    assert_int_equal(lost, 0);
    free(text);
}

/* A disk that takes half a line: the rest follows when there is room. In another file the line stands whole. */
static void a_line_in_two_pieces(void **state)
{
    struct rlimit limit, small;
    unsigned lost;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    for (int moved = 0; moved < 2; moved++) {
        unlink(path);
        small.rlim_cur = 1010; /* in the middle of a line */
        begin(path);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        say("test.n", 0, 60);
        struct stat st;
        for (uint64_t end = clock_mono_ms() + PATIENCE_MS; clock_mono_ms() < end; usleep(1000))
            if (stat(path, &st) == 0 && st.st_size == 1010)
                break;
        if (moved)
            assert_int_equal(log_reopen(other), 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        assert_int_equal(st.st_size, 1010);
        wait_for(moved ? other : path, "i=59\n");
        char *text = content(moved ? other : path), *first = strstr(text, " i=");
        assert_int_equal(text[23], 'Z');
        if (moved)
            assert_true(atoi(first + 3) > 0); /* what was written whole is not written again */
        else
            assert_int_equal(numbers(text, &lost), 60);
        free(text);
        log_stop();
    }
}

/* The number of lines that the limit left out is told when the second is over, though the event never comes again. */
static void what_is_left_out_is_told(void **state)
{
    char id[32], part[80];
    uint64_t second, attempt = 0;
    (void)state;
    begin(path);
    do { /* all within a second, however busy the machine is */
        assert_true(++attempt < 20);
        while (clock_mono_ms() % 1000 > 300)
            usleep(10000);
        second = clock_mono_ms() / 1000;
        snprintf(id, sizeof id, "test.gone%u", (unsigned)attempt);
        for (int i = 0; i < 40; i++)
            log_event(LOG_INFO, id, LOG_INT("i", i));
    } while (clock_mono_ms() / 1000 != second);
    snprintf(part, sizeof part, "log.suppressed of=%s lines=20\n", id);
    wait_for(path, part);
    char *text = content(path);
    assert_null(strstr(strstr(text, part) + 1, part)); /* once */
    free(text);
}

/* The same at the end of the process, where nobody can wait for the second. */
static void what_is_left_out_is_told_at_the_end(void **state)
{
    (void)state;
    for (int with_writer = 0; with_writer < 2; with_writer++) {
        unlink(path);
        assert_int_equal(log_open(path, LOG_TEXT, LOG_INFO), 0);
        if (with_writer)
            assert_int_equal(log_start(), 0);
        for (int i = 0; i < 100; i++)
            log_event(LOG_INFO, with_writer ? "test.end_writer" : "test.end_direct");
        log_stop();
        char *text = content(path), *told = strstr(text, "log.suppressed of=test.end_");
        assert_non_null(told);
        free(text);
    }
}

/* Rotation while there is a writer: what is logged afterwards is in the new file. */
static void rotation(void **state)
{
    (void)state;
    begin(path);
    say("test.n", 0, 10);
    wait_for(path, "i=9\n");
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(log_reopen(path), 0);
    say("test.n", 10, 11);
    wait_for(path, "i=10\n");
    assert_true(log_reopen("/nonexistent/directory/log") < 0);
    say("test.n", 11, 12);
    wait_for(path, "i=11\n");
    char *text = content(other);
    assert_null(strstr(text, "i=10"));
    free(text);
}

static void crash(int how)
{
    if (how == 0)
        abort();
    if (how == 1)
        *(volatile char *)mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) = 1;
    kill(getpid(), SIGBUS);
    pause();
}

/* Whatever ends the process, its last lines are written: they tell the most. */
static void last_lines_before_a_crash(void **state)
{
    enum { MANY = 1000 };
    (void)state;
    for (int how = 0; how < 3; how++) {
        unsigned lost;
        int status = 0;
        unlink(path);
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            signal(SIGSEGV, SIG_DFL); /* cmocka has its own */
            signal(SIGBUS, SIG_DFL);
            if (log_open(path, LOG_TEXT, LOG_INFO) != 0 || log_start() != 0)
                _exit(0);
            say("test.n", 0, MANY);
            crash(how);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), how == 0 ? SIGABRT : how == 1 ? SIGSEGV : SIGBUS);
        char *text = content(path);
        assert_int_equal(numbers(text, &lost), MANY);
        assert_int_equal(lost, 0);
        free(text);
    }
}

/* A child has no writer: it writes by itself, and what waited is written once, by the parent. */
static void a_child_after_fork(void **state)
{
    unsigned lost;
    int status = -1;
    (void)state;
    begin(path);
    say("test.n", 0, 500);
    pid_t child = fork();
    if (child == 0) {
        log_event(LOG_INFO, "test.child");
        char *text = content(path);
        _exit(strstr(text, "test.child") ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    say("test.n", 500, 501);
    wait_for(path, "i=500\n");
    char *text = content(path);
    assert_int_equal(numbers(text, &lost), 501);
    assert_int_equal(lost, 0);
    free(text);
}

enum { THREADS = 4, EACH = 500 };

static void *say_many(void *arg)
{
    char id[16];
    snprintf(id, sizeof id, "test.t%d", (int)(intptr_t)arg);
    say(id, 0, EACH);
    return NULL;
}

/* Each thread's lines stay in order, also when the file is opened anew all the time. */
static void threads_and_reopening(void **state)
{
    pthread_t t[THREADS];
    unsigned next[THREADS] = {0}, all = 0;
    (void)state;
    begin(path);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, say_many, (void *)(intptr_t)i), 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(log_open(path, LOG_TEXT, LOG_INFO), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    log_stop();
    char *text = content(path), *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned thread, i;
        if (sscanf(line + 25, "info test.t%u i=%u", &thread, &i) != 2)
            continue;
        assert_int_equal(i, next[thread]);
        next[thread]++;
        all++;
    }
    assert_int_equal(all, THREADS * EACH);
    free(text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_end_does_not_wait),
        TEST(last_lines_before_a_crash),
        TEST(a_reader_that_stands_still),
        TEST(standard_error_that_stands_still),
        TEST(a_disk_that_is_full),
        TEST(a_line_in_two_pieces),
        TEST(what_is_left_out_is_told),
        TEST(what_is_left_out_is_told_at_the_end),
        TEST(rotation),
        TEST(a_child_after_fork),
        TEST(threads_and_reopening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
