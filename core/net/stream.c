#include "core/net/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t stream_peek(int fd, void *p, size_t n)
{
    ssize_t got;
    do {
        got = recv(fd, p, n, MSG_PEEK);
    } while (got < 0 && errno == EINTR);
    return got;
}

ssize_t stream_take(int fd, void *p, size_t n)
{
    return recv(fd, p, n, 0);
}

static ssize_t plain_recv(const struct stream *self, int fd, void *p, size_t n)
{
    (void)self;
    return recv(fd, p, n, 0);
}

static ssize_t plain_recvv(const struct stream *self, int fd, const struct iovec *v, int n)
{
    (void)self;
    return readv(fd, v, n);
}

static ssize_t plain_send(const struct stream *self, int fd, const void *p, size_t n, struct wire **rest)
{
    (void)self, (void)rest;
    return send(fd, p, n, MSG_NOSIGNAL);
}

static ssize_t plain_sendv(const struct stream *self, int fd, const struct iovec *v, int n, struct wire **rest)
{
    const struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n};
    (void)self, (void)rest;
    return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static int plain_shutdown(const struct stream *self, int fd)
{
    (void)self;
    return shutdown(fd, SHUT_WR);
}

static void plain_close(const struct stream *self, int fd)
{
    (void)self;
    close(fd);
}

const struct stream stream_plain = {.recv = plain_recv,
                                    .recvv = plain_recvv,
                                    .send = plain_send,
                                    .sendv = plain_sendv,
                                    .shutdown = plain_shutdown,
                                    .close = plain_close};
