/* magpiectl: what its files share. One connection to a console, blocking. */
#ifndef MAGPIE_TOOLS_CTL_H
#define MAGPIE_TOOLS_CTL_H

#include "core/base/buf.h"

#include <signal.h>
#include <stdbool.h>

struct cJSON;
struct ssl_st;

struct ctl {
    const char *address;               /* HOST:PORT, tls:HOST:PORT or unix:PATH; of `usual`, the last that was tried */
    const char *const *usual;          /* addresses to try in turn, up to a NULL; NULL: only `address` */
    int error;                         /* errno of the last connect(); 0: it failed before, or did not */
    const char *authority;             /* file of those whom a server's certificate is taken from; NULL: the system's */
    const char *certificate, *key;     /* files of our own; NULL: none */
    const char *password;              /* for `auth`; NULL: none given */
    bool json;                         /* -f json */
    int fd;                            /* -1: not connected */
    struct ssl_st *ssl;                /* OpenSSL's; owned; NULL: plain */
    bool refused;                      /* TLS failed, and `why` says how */
    struct buf in;                     /* received, not yet taken */
    size_t in_at;                      /* bytes of it that are taken */
    char why[512];                     /* what went wrong, for people */
    const volatile sig_atomic_t *stop; /* set by a signal's handler, which ends waiting for the server; NULL: none */
};

/* One reply. */
struct ctl_reply {
    bool ok;
    struct buf status; /* "OK", or "code text" of an ERR; NUL-terminated; owned */
    struct buf body;   /* lines, unstuffed; owned; empty when they went to `line` */
};

#endif
