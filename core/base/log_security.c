#include "core/base/log_security.h"

#include "core/base/log_line.h"
#include "core/base/log_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CLOSE_SECONDS = 2, NO_FILE = -1 };

/* A part of the log, and like it the program's only one. */
static struct {
    pthread_mutex_t lock; /* of all below that is not atomic */
    pthread_cond_t wake;  /* to the writer: a line, another file, or the end */
    pthread_t thread;     /* while `running` */
    bool running, stopping;
    _Atomic bool enabled;   /* lines are taken */
    enum log_format format; /* of lines to come */
    int fd;                 /* the writer's */
    int next;               /* where it is to write from now on; NO_FILE: as before */
    struct log_ring waiting;
} security = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .fd = NO_FILE, .next = NO_FILE};

static void tell_lost(const char *because)
{
    log_event(LOG_ERROR, "log.security_lost", LOG_STR("because", because));
}

/* Whole, or the line is lost: a disk that is full takes none, and nobody waits for it. */
static void write_line(int fd, const struct log_line *line)
{
    size_t done = 0;
    while (done < line->n) {
        ssize_t n = write(fd, line->p + done, line->n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            tell_lost(n < 0 ? strerror(errno) : "nothing was written");
            return;
        }
        done += (size_t)n;
    }
}

/* The oldest line and where it goes; false at the end. */
static bool next_line(struct log_line *line, int *fd)
{
    pthread_mutex_lock(&security.lock);
    for (;;) {
        if (security.next != NO_FILE) {
            if (security.fd != NO_FILE)
                close(security.fd);
            security.fd = security.next;
            security.next = NO_FILE;
        }
        if (log_ring_peek(&security.waiting, line)) {
            log_ring_pop(&security.waiting);
            *fd = security.fd;
            break;
        }
        if (security.stopping) {
            *fd = NO_FILE;
            break;
        }
        pthread_cond_wait(&security.wake, &security.lock);
    }
    pthread_mutex_unlock(&security.lock);
    return *fd != NO_FILE;
}

static void *writer(void *arg)
{
    struct log_line line;
    int fd;
    (void)arg;
    pthread_setname_np(pthread_self(), "log-security");
    while (next_line(&line, &fd))
        write_line(fd, &line);
    return NULL;
}

/* The lock is held. */
static int start(void)
{
    if (!security.running && pthread_create(&security.thread, NULL, writer, NULL) != 0)
        return ERR_NOMEM;
    security.running = true;
    return 0;
}

int security_open(const char *file, enum log_format format)
{
    struct stat st;
    if (!file) {
        atomic_store(&security.enabled, false);
        return 0;
    }
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0)
        return ERR_IO;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) { /* the writer may wait for a disk, and for nobody else */
        close(fd);
        errno = EINVAL;
        return ERR_IO;
    }
    pthread_mutex_lock(&security.lock);
    int rc = start();
    if (rc == 0) {
        if (security.next != NO_FILE)
            close(security.next);
        security.next = fd;
        security.format = format;
        pthread_cond_signal(&security.wake);
    }
    pthread_mutex_unlock(&security.lock);
    if (rc != 0)
        close(fd);
    else
        atomic_store(&security.enabled, true);
    return rc;
}

void security_close(void)
{
    struct timespec end;
    atomic_store(&security.enabled, false);
    pthread_mutex_lock(&security.lock);
    bool running = security.running;
    security.stopping = true;
    security.running = false;
    pthread_cond_signal(&security.wake);
    pthread_mutex_unlock(&security.lock);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += CLOSE_SECONDS;
    if (running && pthread_timedjoin_np(security.thread, NULL, &end) != 0)
        return; /* it hangs at its disk, and is left to the end of the process */
    if (security.fd != NO_FILE)
        close(security.fd);
    security.fd = NO_FILE;
    security.stopping = false;
}

bool security_enabled(void)
{
    return atomic_load_explicit(&security.enabled, memory_order_relaxed);
}

void security_write(const char *id, const struct log_field *fields)
{
    struct log_line line;
    pthread_mutex_lock(&security.lock);
    log_line_format(&line, LOG_INFO, id, fields, security.format);
    bool room = log_ring_has_room(&security.waiting);
    if (room) {
        log_ring_put(&security.waiting, &line);
        pthread_cond_signal(&security.wake);
    }
    pthread_mutex_unlock(&security.lock);
    if (!room)
        tell_lost("more lines waited than there is room for");
}
