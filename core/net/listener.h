/* Listening sockets and their addresses ("127.0.0.1:8081", "[::1]:8081", "localhost:8081", "*:8081", "unix:PATH";
 * "tls:" before one of the first four means that TLS is spoken there, which is not the business of a socket). Main
 * thread. */
#ifndef MAGPIE_NET_LISTENER_H
#define MAGPIE_NET_LISTENER_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct listener {
    int *fds;        /* one per shard (SO_REUSEPORT), or one for a Unix socket; non-blocking, close-on-exec; owned */
    unsigned count;  /* of fds */
    char name[128];  /* for people: the address with the port really bound */
    char *unix_path; /* to unlink at the end; NULL for TCP; owned */
    bool tls;        /* the address begins with "tls:": the name does not */
};

/* Whether the text is an address; `why` says what is wrong with it. */
bool listener_check(const char *address, char *why, size_t why_size);
/* Whether only this machine can reach it: loopback addresses and Unix sockets. The address must be valid. */
bool listener_is_local(const char *address);
/* Whether it begins with "tls:". */
bool listener_is_tls(const char *address);
/* Opens an address for `shards` shards. SO_REUSEPORT would hide a port that another process of the same user holds, so
 * it is first bound without. A stale Unix socket is replaced, a live one refused; its file gets `mode` at most (as
 * umask(2), the main thread is alone then). Error: ERR_IO with a sentence in `why` ("127.0.0.1:8081: address already in
 * use"). */
MUST_CHECK int listener_open(struct listener *l, const char *address, unsigned shards, mode_t mode, char *why,
                             size_t why_size);
void listener_close(struct listener *l);

#endif
