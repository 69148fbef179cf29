/*
 * HTTP for scripts: one thread runs up to FETCH_RUNNING requests at a time by libcurl, with connections kept alive. It
 * follows no redirect, uses no proxy, and connects to no address that fetch_address.h calls special, unless the URL
 * names that address itself.
 */
#ifndef MAGPIE_SCRIPT_FETCHER_H
#define MAGPIE_SCRIPT_FETCHER_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/mailbox.h"
#include "core/script/fetch_url.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    FETCH_RUNNING = 64,
    FETCH_QUEUED = 1000,           /* with those that run */
    FETCH_QUEUED_BYTES = 16 << 20, /* of their requests */
    FETCH_BODY_MAX = 256 << 10,    /* of a request and of an answer */
    FETCH_HEAD_MAX = 32 << 10,     /* of an answer's headers */
    FETCH_HEADERS_MAX = 32,        /* of a request */
    FETCH_TIMEOUT_MS = 5000,       /* where none is given */
    FETCH_TIMEOUT_MAX_MS = 60000
};

struct fetcher;
struct waiting;

struct fetch_header {
    struct slice name, value;
};

struct fetch_request {
    struct fetch_url url;
    struct slice method, body;
    struct fetch_header headers[FETCH_HEADERS_MAX];
    unsigned header_count;
    uint32_t timeout_ms;
};

/* A request and its answer. Made by fetch_new(), given to the fetcher, and then posted home. */
struct fetch {
    struct mail mail; /* run at home when it is answered, which frees it with fetch_free() */
    struct mailbox *home;
    struct waiting *waiting;       /* of whoever asked; its `dropped` ends the request early */
    const struct fetch_request *q; /* owned, with all its texts */
    size_t bytes;                  /* of it */
    struct fetch *next;            /* the fetcher's */
    uint64_t deadline_ms;          /* the fetcher's, monotonic */
    void *curl, *list;             /* the fetcher's */
    /* the answer */
    char error[200]; /* empty: there is one */
    unsigned status;
    struct buf head; /* name, a zero byte, value, a zero byte …: names in small letters */
    struct buf body;
    bool too_large;
};

/* Whether this server was built with libcurl. */
bool fetcher_built(void);
/* NULL: no memory or no thread, or there is no libcurl. Main thread. */
struct fetcher *fetcher_new(void);
/* Ends what is under way: it is posted home with an error before this returns. Nothing new is taken from then on. NULL
 * is allowed. Main thread. */
void fetcher_stop(struct fetcher *f);
/* Stops it, if that is not done yet, when nobody can call it any more. NULL is allowed. Main thread. */
void fetcher_free(struct fetcher *f);

/* Copies the request. NULL: out of memory. */
struct fetch *fetch_new(const struct fetch_request *q);
void fetch_free(struct fetch *x);
/* Takes it. ERR_AGAIN: too much is under way, and it is still the caller's. Any thread. */
MUST_CHECK int fetcher_start(struct fetcher *f, struct fetch *x);

#endif
