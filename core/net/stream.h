/*
 * Streams: the one place where the bytes of connections meet a socket. A table of functions, a row for each way that
 * they travel; a connection holds the number of its row, and nothing else in core/net reads, writes or ends a client's
 * socket.
 *
 * A row knows a connection by its descriptor. What it keeps for one it keeps by that number, from the first call to
 * close(). All on the thread that has the connection; a connection that moves takes its row along.
 */
#ifndef MAGPIE_NET_STREAM_H
#define MAGPIE_NET_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct iovec;

struct stream {
    /* As recv(2) and readv(2) of a non-blocking socket: bytes; 0: the other side says no more; -1 with errno, EAGAIN
     * when there is nothing now. Called once for each readiness of the descriptor. */
    ssize_t (*recv)(int fd, void *p, size_t n);
    ssize_t (*recvv)(int fd, const struct iovec *v, int n);
    /* As send(2) and writev(2), never with SIGPIPE: how much was taken; -1 with errno, EAGAIN when nothing is now.
     * After less than all the descriptor is waited for, so what was taken must have left, or make it writable. */
    ssize_t (*send)(int fd, const void *p, size_t n);
    ssize_t (*sendv)(int fd, const struct iovec *v, int n);
    /* Ends our half. 0, or -1: it cannot be said any more. */
    int (*shutdown)(int fd);
    /* Frees what the row keeps, and closes the descriptor. */
    void (*close)(int fd);
    /* Bytes that the next recv() gives although the descriptor will not become readable for them: a row that decrypts
     * has read more than it was asked for. NULL: there never are any. */
    size_t (*pending)(int fd);
};

enum {
    STREAM_PLAIN,   /* the socket as it is: TCP and Unix sockets */
    STREAM_ROWS = 4 /* room for rows in a net */
};

/* What stands in the socket before any row has it: as recv(2) with MSG_PEEK, and as recv(2) without. */
ssize_t stream_peek(int fd, void *p, size_t n);
ssize_t stream_take(int fd, void *p, size_t n);

extern const struct stream stream_plain;

#endif
