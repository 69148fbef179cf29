#include "core/base/log.h"

#include "core/base/clock.h"
#include "core/base/err.h"
#include "core/base/hash.h"
#include "core/base/log_line.h"
#include "core/base/log_recent.h"
#include "core/base/log_ring.h"
#include "core/base/running.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RATE = 20, IDS = 64, PROBES = 8, ID_BYTES = 48 };
enum {
    LOOK_MS = 200,   /* the writer looks this often whether it is to stop or to write elsewhere, while nobody reads */
    RETRY_MS = 1000, /* between two attempts at a destination that refuses lines */
    STOP_MS = 500,   /* that the end waits for lines to be written */
    CRASH_MS = 200,  /* that a crash waits */
    NO_DESTINATION = -1, /* none is waiting */
};

/* How lines reach their destination. */
enum mode {
    DIRECT,  /* the caller writes: no thread was started, as in tools and tests */
    WRITER,  /* by the writer's thread */
    STOPPED, /* the writer hangs at its destination and was given up: lines are lost */
};

/* The one mutable global of the program: where log lines go, from what level, what waits, and how often each event came
 * this second. */
static struct {
    pthread_mutex_t lock;   /* of all below that is not atomic */
    pthread_cond_t wake;    /* to the writer: there is a line, a destination or an end; monotonic clock */
    pthread_t thread;       /* the writer; while mode is WRITER */
    enum mode mode;         /* see above */
    bool stopping;          /* the writer ends when all is written */
    bool once;              /* what a process does once has been done: the crash's signals, fork() */
    int fd;                 /* where lines go; the writer's alone while there is one */
    int next;               /* where the writer is to write from now on, NO_DESTINATION: as before */
    enum log_format format; /* of lines to come */
    uint64_t lost;          /* lines that did not fit into the ring since the last report */
    uint32_t left_out;      /* of all `suppressed` below together */
    uint64_t looked_second; /* clock_mono_ms() / 1000 when the writer last looked for what was suppressed */
    _Atomic int level;      /* least important enum log_level that is written */
    _Atomic uint64_t put;   /* lines that went into the ring since the start */
    _Atomic uint64_t done;  /* of them, lines that are written */
    _Atomic uint64_t lost_total, suppressed_total; /* as log_get_stats() tells them */
    struct {
        uint64_t second;     /* clock_mono_ms() / 1000 of the counts */
        uint32_t count;      /* lines in that second */
        uint32_t suppressed; /* not written since the last report */
        char id[ID_BYTES];   /* of the event; "": the slot is free */
    } rate[IDS];
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_INFO, .fd = STDERR_FILENO, .next = NO_DESTINATION};
static struct log_recent recent; /* under the logger's lock; apart for the same reason as `waiting` */
static struct log_ring
    waiting; /* the logger's lines that wait for the writer; apart, so that the program's file has no room for it */

int log_level_parse(struct slice name)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
        if (slice_eq(name, slice_str(log_level_name((enum log_level)i))))
            return i;
    return -1;
}

void log_set_level(enum log_level level)
{
    atomic_store(&logger.level, (int)level);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

void log_get_stats(struct log_stats *out)
{
    out->lost = atomic_load_explicit(&logger.lost_total, memory_order_relaxed);
    out->suppressed = atomic_load_explicit(&logger.suppressed_total, memory_order_relaxed);
}

void log_tail(unsigned lines, struct buf *out)
{
    pthread_mutex_lock(&logger.lock);
    log_recent_get(&recent, lines, out);
    pthread_mutex_unlock(&logger.lock);
}

/* --- Where lines go ----------------------------------------------------------------------------------------------- */

/* Opening a FIFO for writing alone would wait for a reader, and fail without one; for both ways it does neither.
 * Nothing that we open waits: only standard error, whose flags are also other processes', may do so. */
static int open_destination(const char *file)
{
    struct stat st;
    if (!file)
        return STDERR_FILENO;
    int flags = O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    if (stat(file, &st) == 0 && S_ISFIFO(st.st_mode))
        return open(file, O_RDWR | flags);
    return open(file, O_WRONLY | O_CREAT | flags, 0640);
}

static void close_destination(int fd)
{
    if (fd != STDERR_FILENO && fd != NO_DESTINATION)
        close(fd);
}

/* Under the lock. The writer closes what it writes to, for it may be in the middle of a line. */
static void change_destination(int fd)
{
    if (logger.mode != DIRECT) {
        close_destination(logger.next);
        logger.next = fd;
        pthread_cond_signal(&logger.wake);
    } else {
        close_destination(logger.fd);
        logger.fd = fd;
    }
}

int log_open(const char *file, enum log_format format, enum log_level level)
{
    int fd = open_destination(file);
    if (fd < 0)
        return ERR_IO;
    pthread_mutex_lock(&logger.lock);
    change_destination(fd);
    logger.format = format;
    pthread_mutex_unlock(&logger.lock);
    atomic_store(&logger.level, (int)level);
    return 0;
}

int log_reopen(const char *file)
{
    int fd = open_destination(file);
    if (fd < 0)
        return ERR_IO;
    pthread_mutex_lock(&logger.lock);
    change_destination(fd);
    pthread_mutex_unlock(&logger.lock);
    return 0;
}

/* --- Lines on their way. Under the lock --------------------------------------------------------------------------- */

static void put_line(const struct log_line *l)
{
    ssize_t n;
    switch (logger.mode) {
    case DIRECT: /* a full disk or a closed pipe costs the line, nothing else */
        do
            n = write(logger.fd, l->p, l->n);
        while (n < 0 && errno == EINTR);
        if (n != (ssize_t)l->n)
            atomic_fetch_add_explicit(&logger.lost_total, 1, memory_order_relaxed);
        break;
    case WRITER:
        log_ring_put(&waiting, l);
        atomic_fetch_add(&logger.put, 1);
        pthread_cond_signal(&logger.wake);
        break;
    case STOPPED:
        break;
    }
}

/* Once a line is lost, all are until the writer has told so: a gap has one place, and one line that tells of it. */
static bool can_put(void)
{
    if (logger.mode == DIRECT || (logger.mode == WRITER && logger.lost == 0 && log_ring_has_room(&waiting)))
        return true;
    logger.lost++;
    atomic_fetch_add_explicit(&logger.lost_total, 1, memory_order_relaxed);
    return false;
}

static void put_event(enum log_level level, const char *id, const struct log_field *fields)
{
    struct log_line line;
    if (!can_put())
        return;
    log_line_format(&line, level, id, fields, logger.format);
    log_recent_put(&recent, &line);
    put_line(&line);
}

/* Half of the ring is free then, so that a slow reader is not given a gap for every second line. */
static void tell_lost(void)
{
    uint64_t lost = logger.lost;
    if (lost == 0 || waiting.used > LOG_RING_BYTES / 2)
        return;
    logger.lost = 0;
    put_event(LOG_WARN, "log.lost", (const struct log_field[]){LOG_INT("lines", lost), {.type = LOG_F_END}});
}

/* --- The limit of each event. Under the lock ---------------------------------------------------------------------- */

static void tell_suppressed(size_t slot)
{
    uint32_t n = logger.rate[slot].suppressed;
    if (n == 0)
        return;
    logger.rate[slot].suppressed = 0;
    logger.left_out -= n;
    put_event(
        LOG_WARN, "log.suppressed",
        (const struct log_field[]){LOG_STR("of", logger.rate[slot].id), LOG_INT("lines", n), {.type = LOG_F_END}});
}

/* What was left out in seconds that are over: an event may never come again, and tells nothing of itself then. */
static void tell_all_suppressed(bool of_this_second_too)
{
    uint64_t second = clock_mono_ms() / 1000;
    if (logger.left_out == 0 || (logger.looked_second == second && !of_this_second_too))
        return;
    logger.looked_second = second;
    for (size_t i = 0; i < IDS; i++)
        if (of_this_second_too || logger.rate[i].second != second)
            tell_suppressed(i);
}

/* The event's counts: near where its hash points, or those of one that was not heard this second. */
static size_t slot_of(const char *id, uint64_t second)
{
    size_t first = hash_stable(slice_str(id)) % IDS, stale = IDS;
    for (size_t k = 0; k < PROBES; k++) {
        size_t i = (first + k) % IDS;
        if (strncmp(logger.rate[i].id, id, ID_BYTES - 1) == 0)
            return i;
        if (stale == IDS && logger.rate[i].second != second)
            stale = i;
    }
    return stale == IDS ? first : stale;
}

/* Whether the event may be written. */
static bool admit(const char *id)
{
    uint64_t second = clock_mono_ms() / 1000;
    size_t i = slot_of(id, second);
    if (strncmp(logger.rate[i].id, id, sizeof logger.rate[i].id - 1) != 0 || logger.rate[i].second != second) {
        tell_suppressed(i);
        logger.rate[i].count = 0;
        logger.rate[i].second = second;
        snprintf(logger.rate[i].id, sizeof logger.rate[i].id, "%s", id);
    }
    if (logger.rate[i].count++ < RATE)
        return true;
    if (logger.left_out++ == 0 && logger.mode == WRITER)
        pthread_cond_signal(&logger.wake); /* it waits for a time from now on */
    logger.rate[i].suppressed++;
    atomic_fetch_add_explicit(&logger.suppressed_total, 1, memory_order_relaxed);
    return false;
}

void log_write_all(enum log_level level, const char *id, const struct log_field *fields)
{
    pthread_mutex_lock(&logger.lock);
    put_event(level, id, fields);
    pthread_mutex_unlock(&logger.lock);
}

void log_write(enum log_level level, const char *id, const struct log_field *fields)
{
    pthread_mutex_lock(&logger.lock);
    if (admit(id))
        put_event(level, id, fields);
    pthread_mutex_unlock(&logger.lock);
}

/* --- The writer's thread ------------------------------------------------------------------------------------------ */

/* Under the lock: waits to be woken, or so long. */
static void doze(uint32_t ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&logger.wake, &logger.lock, &at);
}

/* The oldest line, and where it goes; NO_DESTINATION when all is written and the writer is to end. */
static int next_line(struct log_line *line, bool *elsewhere)
{
    pthread_mutex_lock(&logger.lock);
    for (;;) {
        tell_all_suppressed(false);
        *elsewhere = logger.next != NO_DESTINATION;
        if (*elsewhere) {
            close_destination(logger.fd);
            logger.fd = logger.next;
            logger.next = NO_DESTINATION;
        }
        if (log_ring_peek(&waiting, line) || logger.stopping)
            break;
        if (logger.left_out)
            doze((uint32_t)(1000 - clock_mono_ms() % 1000));
        else
            pthread_cond_wait(&logger.wake, &logger.lock);
    }
    int fd = waiting.used ? logger.fd : NO_DESTINATION;
    pthread_mutex_unlock(&logger.lock);
    return fd;
}

static void line_is_written(void)
{
    pthread_mutex_lock(&logger.lock);
    log_ring_pop(&waiting);
    tell_lost();
    pthread_mutex_unlock(&logger.lock);
    atomic_fetch_add(&logger.done, 1);
}

static void wait_for_better_times(void)
{
    pthread_mutex_lock(&logger.lock);
    uint64_t end = clock_mono_ms() + RETRY_MS, now;
    while (logger.next == NO_DESTINATION && !logger.stopping && (now = clock_mono_ms()) < end)
        doze((uint32_t)(end - now));
    if (logger.stopping)
        doze(LOOK_MS);
    pthread_mutex_unlock(&logger.lock);
}

/* How many bytes were written; 0 after a while in which that was not possible. A pipe that has room takes a whole
 * line, so that writing does not wait, though standard error is of the kind that may. */
static size_t write_some(int fd, const char *p, size_t n)
{
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    if (poll(&ready, 1, LOOK_MS) <= 0)
        return 0;
    ssize_t written = write(fd, p, n);
    if (written >= 0)
        return (size_t)written;
    if (errno == EAGAIN) /* there was less room than poll() said */
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
    else if (errno != EINTR)
        wait_for_better_times();
    return 0;
}

/* A line stays in the ring until it is written whole, whatever that takes: what waits behind it is bounded there. */
static void *run_writer(void *arg)
{
    struct log_line line;
    size_t written = 0; /* bytes of the line */
    bool elsewhere;
    int fd;
    (void)arg;
    pthread_setname_np(pthread_self(), "log");
    while ((fd = next_line(&line, &elsewhere)) != NO_DESTINATION) {
        if (elsewhere)
            written = 0; /* no half line at the beginning of a file */
        written += write_some(fd, line.p + written, line.n - written);
        if (written < line.n)
            continue;
        line_is_written();
        written = 0;
    }
    return NULL;
}

/* --- Its life ----------------------------------------------------------------------------------------------------- */

void log_flush(uint32_t ms)
{
    uint64_t all = atomic_load(&logger.put), end = clock_mono_ms() + ms;
    while (atomic_load(&logger.done) < all && clock_mono_ms() < end)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static const struct {
    int number;
    const char *name;
} crash_signals[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGILL, "SIGILL"}, {SIGFPE, "SIGFPE"}, {SIGABRT, "SIGABRT"}};
enum { CRASHES = sizeof crash_signals / sizeof crash_signals[0] };
static struct sigaction before_crash[CRASHES]; /* what was set before log_start(); not changed afterwards */

/* Straight to where lines go, as the writer may be the one that crashed: no lock may be asked for here. */
static void write_crash(const char *signal_name)
{
    struct log_line line;
    char thread[17] = "";
    struct running r = running_now();
    prctl(PR_GET_NAME, thread);
    const struct log_field fields[] = {LOG_STR("signal", signal_name),
                                       LOG_STR("thread", thread),
                                       r.kind ? LOG_STR(r.kind, r.name) : (struct log_field){.type = LOG_F_END},
                                       r.doing ? LOG_STR("in", r.doing) : (struct log_field){.type = LOG_F_END},
                                       {.type = LOG_F_END}};
    log_line_format(&line, LOG_ERROR, "server.crash", fields, logger.format);
    if (write(logger.fd, line.p, line.n) < 0)
        (void)!write(STDERR_FILENO, line.p, line.n);
}

/* The last lines before a crash tell the most: the thread that crashed waits until the writer has written them, and
 * adds its own. Then it is as if we had not been here. */
static void on_crash(int sig, siginfo_t *info, void *context)
{
    (void)context;
    const char *name = "";
    for (size_t i = 0; i < CRASHES; i++) {
        if (crash_signals[i].number != sig)
            continue;
        sigaction(sig, &before_crash[i], NULL);
        name = crash_signals[i].name;
    }
    log_flush(CRASH_MS);
    write_crash(name);
    if (info->si_code <= 0) /* sent by a process, abort() too; else the instruction is done again, and fails again */
        raise(sig);
}

static void before_fork(void)
{
    pthread_mutex_lock(&logger.lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&logger.lock);
}

/* The writer stayed behind; what waits is the parent's to write. */
static void after_fork_in_child(void)
{
    logger.mode = DIRECT;
    waiting.used = 0;
    logger.lost = 0;
    atomic_store(&logger.done, atomic_load(&logger.put));
    pthread_mutex_unlock(&logger.lock);
}

/* What a process does once. */
static int prepare_process(void)
{
    struct sigaction act = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    pthread_condattr_t attr;
    if (logger.once)
        return 0;
    if (pthread_atfork(before_fork, after_fork, after_fork_in_child) != 0)
        return ERR_NOMEM;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&logger.wake, &attr);
    pthread_condattr_destroy(&attr);
    sigemptyset(&act.sa_mask);
    for (size_t i = 0; i < CRASHES; i++)
        sigaction(crash_signals[i].number, &act, &before_crash[i]);
    logger.once = true;
    return 0;
}

int log_start(void)
{
    sigset_t all, before;
    if (prepare_process() != 0)
        return ERR_NOMEM;
    pthread_mutex_lock(&logger.lock);
    int rc = logger.mode == DIRECT ? 0 : ERR_EXISTS;
    logger.stopping = false;
    sigfillset(&all); /* signals are for others */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (rc == 0)
        rc = pthread_create(&logger.thread, NULL, run_writer, NULL) == 0 ? 0 : ERR_NOMEM;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        logger.mode = WRITER;
    pthread_mutex_unlock(&logger.lock);
    return rc;
}

void log_stop(void)
{
    uint64_t end = clock_mono_ms() + STOP_MS;
    pthread_mutex_lock(&logger.lock);
    tell_all_suppressed(true);
    bool running = logger.mode == WRITER;
    logger.stopping = running;
    if (running)
        pthread_cond_signal(&logger.wake);
    for (uint64_t now; running && waiting.used && (now = clock_mono_ms()) < end;) {
        pthread_mutex_unlock(&logger.lock);
        log_flush((uint32_t)(end - now));
        pthread_mutex_lock(&logger.lock);
    }
    bool written = waiting.used == 0;
    if (running)
        logger.mode = written ? DIRECT : STOPPED;
    pthread_mutex_unlock(&logger.lock);
    if (running && written)
        pthread_join(logger.thread, NULL);
    else if (running)
        pthread_detach(logger.thread);
}
