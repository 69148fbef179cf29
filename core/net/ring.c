#include "core/net/ring.h"

#include "core/base/log.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Completions that fit: each send of a call may fail. */
enum { ENTRIES = RING_MAX };

/* MSG_WAITALL belongs to IOSQE_CQE_SKIP_SUCCESS: without it a short send counts as a success, and nobody hears of the
 * bytes that were left. */
enum { HOW = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL };

struct ring {
    struct io_uring uring;
    bool begun;  /* `uring` is there, made by the thread that sends */
    bool failed; /* send(2) is used instead */
};

struct ring *ring_new(void)
{
    return calloc(1, sizeof(struct ring));
}

/* 0, or an errno. */
static int begin(struct ring *r)
{
    struct io_uring_params p = {.flags =
                                    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL};
    int rc = io_uring_queue_init_params(ENTRIES, &r->uring, &p);
    r->begun = rc == 0;
    return -rc;
}

void ring_free(struct ring *r)
{
    if (r && r->begun)
        io_uring_queue_exit(&r->uring);
    free(r);
}

static void give_up(struct ring *r, int error)
{
    r->failed = true;
    log_event(LOG_WARN, "net.io_uring", LOG_STR("because", strerror(error)), LOG_STR("instead", "send(2)"));
}

void ring_send_each(struct ring_send *sends, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        ssize_t sent = send(sends[i].fd, sends[i].offer.p, sends[i].offer.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        sends[i].sent = sent < 0 ? -errno : (int32_t)sent;
    }
}

/* Takes the exceptions: whatever was sent whole says nothing. */
static void reap(struct ring *r, struct ring_send *sends, unsigned n)
{
    struct io_uring_cqe *c;
    unsigned head, count = 0;
    io_uring_for_each_cqe(&r->uring, head, c)
    {
        count++;
        if (SURELY(c->user_data < n))
            sends[c->user_data].sent = c->res;
    }
    io_uring_cq_advance(&r->uring, count);
}

/* Submits what is in the queue; how many of the n were taken. Fewer: errno says why. */
static unsigned submit(struct ring *r, unsigned n)
{
    unsigned done = 0;
    while (done < n) {
        int rc = io_uring_submit(&r->uring);
        if (rc == -EINTR)
            continue;
        if (rc <= 0) {
            errno = rc ? -rc : EIO;
            break;
        }
        done += (unsigned)rc;
    }
    return done;
}

static void prepare(struct ring *r, struct ring_send *sends, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct io_uring_sqe *e = io_uring_get_sqe(&r->uring);
        io_uring_prep_send(e, sends[i].fd, sends[i].offer.p, sends[i].offer.n, HOW);
        e->flags = IOSQE_CQE_SKIP_SUCCESS;
        e->user_data = i;
        sends[i].sent = (int32_t)sends[i].offer.n;
    }
}

bool ring_send(struct ring *r, struct ring_send *sends, unsigned n)
{
    if (!r->failed && !r->begun) {
        int error = begin(r);
        if (error)
            give_up(r, error);
    }
    if (r->failed) {
        ring_send_each(sends, n);
        return false;
    }
    prepare(r, sends, n);
    unsigned done = submit(r, n);
    int error = errno;
    reap(r, sends, done);
    if (done < n) {
        give_up(r, error);
        ring_send_each(sends + done, n - done);
    }
    return !r->failed;
}

static int refused(int error, char *why, size_t size)
{
    const char *guess = error == EPERM || error == EACCES ? ": a filter of system calls, or kernel.io_uring_disabled"
                        : error == ENOSYS                 ? ": the kernel has none, or a filter of system calls"
                        : error == EINVAL                 ? ": it needs Linux 6.1"
                        : error == ENOMEM                 ? ": memory, or the limit of locked memory"
                                                          : "";
    snprintf(why, size, "%s%s", strerror(error), guess);
    return ERR_IO;
}

int ring_probe(char *why, size_t size)
{
    enum { TRIES = 4 };
    struct ring_send sends[TRIES];
    struct ring r = {.begun = false};
    char in[TRIES + 1], out = 'x';
    int fds[2];
    /* Its failure is no event yet: the caller tells of it. */
    int error = begin(&r);
    if (error)
        return refused(error, why, size);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
        error = errno;
        io_uring_queue_exit(&r.uring);
        return refused(error, why, size);
    }
    for (unsigned i = 0; i < TRIES; i++)
        sends[i] = (struct ring_send){.offer = {.p = &out, .n = 1}, .fd = fds[0]};
    prepare(&r, sends, TRIES);
    bool good = submit(&r, TRIES) == TRIES && recv(fds[1], in, sizeof in, 0) == TRIES;
    error = errno;
    io_uring_queue_exit(&r.uring);
    close(fds[0]);
    close(fds[1]);
    return good ? 0 : refused(error, why, size);
}
