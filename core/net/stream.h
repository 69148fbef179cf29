/*
 * Streams: the one place where the bytes of connections meet a socket. A table of functions, a row for each way that
 * they travel; a connection holds the number of its row, and nothing else in core/net reads, writes or ends a client's
 * socket.
 *
 * A row knows a connection by its descriptor, so what it keeps for one it keeps by that number, from the first call to
 * close(). All on the thread that has the connection; a connection that moves takes its row along, and finds the one of
 * the same number in its new net.
 */
#ifndef MAGPIE_NET_STREAM_H
#define MAGPIE_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct iovec;
struct wire;

struct stream {
    /* As recv(2) and readv(2) of a non-blocking socket: bytes; 0: the other side says no more; -1 with errno, EAGAIN
     * when there is nothing now. Called once for each readiness of the descriptor. */
    ssize_t (*recv)(const struct stream *self, int fd, void *p, size_t n);
    ssize_t (*recvv)(const struct stream *self, int fd, const struct iovec *v, int n);
    /* As send(2) and writev(2), never with SIGPIPE: how much was taken; -1 with errno, EAGAIN when nothing is now.
     * After less than all the descriptor is waited for. A row that encrypts may have made more bytes of what it took
     * than the socket had room for: those are *rest (the caller's, with one reference; else it is left alone), which
     * must leave by resend() before anything else. */
    ssize_t (*send)(const struct stream *self, int fd, const void *p, size_t n, struct wire **rest);
    ssize_t (*sendv)(const struct stream *self, int fd, const struct iovec *v, int n, struct wire **rest);
    /* Sends bytes of such a rest as they are: as send(2). NULL: there never is one, and less than all means that the
     * socket is full; else only a rest does. */
    ssize_t (*resend)(const struct stream *self, int fd, const void *p, size_t n);
    /* A send() is near: what it will want comes into the cache. NULL: nothing. */
    void (*prefetch)(const struct stream *self, int fd);
    /* Ends our half. 0, or -1: it cannot be said any more. */
    int (*shutdown)(const struct stream *self, int fd);
    /* Frees what the row keeps, and closes the descriptor. */
    void (*close)(const struct stream *self, int fd);
    /* Bytes that the next recv() gives although the descriptor will not become readable for them: a row that decrypts
     * has read more than it was asked for. It may be an estimate, of bytes still encrypted. NULL: there never are
     * any. */
    size_t (*pending)(const struct stream *self, int fd);

    /* A row whose two sides must agree on something before bytes travel (NULL: nothing to agree on, and the next two
     * are not called). Takes in what has come. 0: a step is due; ERR_AGAIN: more must come; ERR_CLOSED: it is over. */
    int (*hear)(const struct stream *self, int fd);
    /* That step, which may take half a millisecond. 0: agreed, bytes travel from now on; else as hear(). */
    int (*step)(const struct stream *self, int fd);
    /* Bytes of memory that the row holds for the connection beyond what it holds for an idle one. *counted: where the
     * caller notes how many of them are counted as held before login. NULL: none. */
    size_t (*held)(const struct stream *self, int fd, uint32_t **counted);
};

enum {
    STREAM_PLAIN,   /* the socket as it is: TCP and Unix sockets */
    STREAM_TLS,     /* TLS */
    STREAM_TLS_WEB, /* TLS on a port of browsers */
    STREAM_ROWS = 4 /* room for rows in a net */
};

/* What stands in the socket before any row has it: as recv(2) with MSG_PEEK, and as recv(2) without. */
ssize_t stream_peek(int fd, void *p, size_t n);
ssize_t stream_take(int fd, void *p, size_t n);

extern const struct stream stream_plain;

#endif
