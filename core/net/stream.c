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

static ssize_t plain_recv(int fd, void *p, size_t n)
{
    return recv(fd, p, n, 0);
}

static ssize_t plain_recvv(int fd, const struct iovec *v, int n)
{
    return readv(fd, v, n);
}

static ssize_t plain_send(int fd, const void *p, size_t n)
{
    return send(fd, p, n, MSG_NOSIGNAL);
}

static ssize_t plain_sendv(int fd, const struct iovec *v, int n)
{
    const struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n};
    return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static int plain_shutdown(int fd)
{
    return shutdown(fd, SHUT_WR);
}

static void plain_close(int fd)
{
    close(fd);
}

const struct stream stream_plain = {.recv = plain_recv,
                                    .recvv = plain_recvv,
                                    .send = plain_send,
                                    .sendv = plain_sendv,
                                    .shutdown = plain_shutdown,
                                    .close = plain_close};
