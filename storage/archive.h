/*
 * The archive: where messages stay for good that leave the engine's own memory. A database behind a table of functions;
 * storage/archive is the one over PostgreSQL.
 *
 * Asynchronous, on one loop. A caller fills in a request and hands it over; `done` is called later on the loop's
 * thread, never inside the call. Until then the request and all it points to are the archive's to read, and must not
 * change. Every request may be handed over again whatever became of it: what was done already stays done.
 *
 * Nothing here waits: for a database that is away, requests wait until their patience is over, and are answered
 * ARCHIVE_AWAY. The archive connects by itself, again and again, and logs once what keeps it from it.
 *
 * Requests are answered in no order. A caller that needs one awaits the first before it hands over the second.
 */
#ifndef MAGPIE_STORAGE_ARCHIVE_H
#define MAGPIE_STORAGE_ARCHIVE_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/latency.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct archive;
struct ev_loop;

enum archive_status {
    ARCHIVE_OK,      /* done, and on the database's disk */
    ARCHIVE_AWAY,    /* it cannot be done now; perhaps it was. To be asked again later */
    ARCHIVE_MOVED,   /* change: there is no such row, or it has another rev by now */
    ARCHIVE_REFUSED, /* the database will not have it, or has something else than Magpie's rows. Logged */
};

enum {
    ARCHIVE_ROWS_MAX = 1000, /* rows of one request */
    ARCHIVE_DROP_MAX = 1000, /* rows that one drop removes */
};

/* A message as it is kept. */
struct archive_row {
    struct slice conv; /* the conversation's key; with seq it names the row */
    uint64_t seq, id;
    uint64_t created_ms, birth_ms, ttl_ms, edited_ms; /* ttl 0: the tier's; edited 0: never */
    uint32_t rev;                                     /* + 1 at each change: the larger one is the newer one */
    uint8_t tier;                                     /* enum store_tier */
    bool recalled;
    bool refused;                       /* out, of put: this row is why it was refused */
    struct slice sender, name, content; /* any bytes */
};

/* What every request begins with. */
struct archive_req {
    struct archive_req *next;                         /* the archive's */
    void (*done)(void *ctx, struct archive_req *req); /* on the loop; the request is the caller's again */
    void *ctx;                                        /* of done */
    enum archive_status status;                       /* out */
    uint32_t patience_ms;                             /* how long it may wait for the database; 0: not at all */
    uint8_t kind;                                     /* the archive's */
    uint32_t parts;                                   /* the archive's: statements of it that go on */
    uint64_t since_ms;                                /* the archive's: when it was handed over */
};

/* Keeps rows. One that is there already is replaced only where the new one's id, or with the same id its rev, is
 * larger. ARCHIVE_OK: all are kept. ARCHIVE_REFUSED: all but those that are marked. ARCHIVE_AWAY: perhaps some. No two
 * rows of a request name the same message. */
struct archive_put {
    struct archive_req req;
    struct archive_row *rows; /* any order; only `refused` is written */
    uint32_t n;               /* 1 - ARCHIVE_ROWS_MAX */
};
void archive_put(struct archive *a, struct archive_put *p);

/* The rows of one conversation with from <= seq <= to. */
struct archive_range {
    struct archive_req req;
    struct slice conv;
    uint64_t from, to;
    uint32_t limit; /* 1 - ARCHIVE_ROWS_MAX */
    bool newest;    /* more than `limit`: the newest of them, else the oldest */
    /* out: ascending by seq, with an empty `conv`; rows and their bytes are the archive's, and gone after `done` */
    const struct archive_row *rows;
    uint32_t n;
};
void archive_range(struct archive *a, struct archive_range *r);

/* Changes a row, if its rev is still the one it was read with: then the row has what stands here, and rev + 1. A change
 * whose answer was lost and that is made late after all thus undoes none that came after it. ARCHIVE_MOVED: read it
 * again. */
struct archive_change {
    struct archive_req req;
    struct slice conv;
    uint64_t seq, id;
    uint32_t rev; /* that the row was read with */
    uint64_t edited_ms;
    bool recalled;
    struct slice content;
};
void archive_change(struct archive *a, struct archive_change *c);

/* Removes the oldest rows of a conversation with seq < below, ARCHIVE_DROP_MAX at most. */
struct archive_drop {
    struct archive_req req;
    struct slice conv;
    uint64_t below;
    /* out */
    uint32_t dropped;
    bool more; /* there may be more */
};
void archive_drop(struct archive *a, struct archive_drop *d);

/* The oldest row of a conversation, from a seq on, that has not ended: one that has time to live of its own left, or
 * has none and was born when its tier's still lasts. */
struct archive_oldest {
    struct archive_req req;
    struct slice conv;
    uint64_t from;       /* seq */
    uint64_t above_id;   /* rows with an id up to this are passed over; 0: none */
    uint64_t now_ms;     /* 0: all rows count */
    uint64_t born_ms[3]; /* by tier: rows that were born before have ended */
    /* out; seq 0: there is none */
    uint64_t seq, birth_ms, ttl_ms;
    uint8_t tier;
};
void archive_oldest(struct archive *a, struct archive_oldest *o);

/* Conversations that have rows, a page by their keys: for those who look at all. */
struct archive_head {
    struct slice conv;
    uint64_t first, last; /* seq of the oldest and of the newest row */
    uint64_t last_id;
};
struct archive_heads {
    struct archive_req req;
    struct slice after; /* the last one of the page before; empty: from the first one on */
    uint32_t limit;     /* 1 - ARCHIVE_ROWS_MAX */
    /* out: ascending; they and their bytes are the archive's, and gone after `done` */
    const struct archive_head *heads;
    uint32_t n;
};
void archive_heads(struct archive *a, struct archive_heads *h);

struct archive_options {
    const char *url;       /* "postgresql://…", as libpq has it. Borrowed for the call */
    uint32_t timeout_ms;   /* how long the database may take for one request; 0: 10 s */
    uint32_t reconnect_ms; /* the longest pause between two tries to connect; 0: 5 s */
    unsigned partitions;   /* of the table, where it is made: 1-256; 0: 16 */
};

/* Opens the archive that the URL names, and begins to connect; the loop must not run meanwhile, or be this thread's.
 * ERR_INVALID, with a sentence for people: the URL is none. Whether the database answers is seen later. */
MUST_CHECK int archive_open(struct archive **out, struct ev_loop *loop, const struct archive_options *options,
                            char *why, size_t why_size);
/* Which database a URL names, as text: hosts, ports, its name. Nothing of who connects, nor of passwords. */
void archive_place(const char *url, struct buf *out);
/* Calls `done` of all that wait, with ARCHIVE_AWAY, and frees the archive. */
void archive_close(struct archive *a);
/* Whether one that was closed has left a thread behind, as store_left_behind() says. Any thread. */
bool archive_left_behind(void);

struct archive_stats {
    bool connected;
    uint64_t away_since_ms; /* clock_mono_ms() when it was last connected, or opened; 0: it is connected */
    uint64_t put, read, changed, dropped; /* rows since the start */
    uint64_t requests, failed;            /* requests that were answered since the start; ARCHIVE_AWAY ones */
    uint32_t waiting;                     /* requests that are not answered yet */
    struct latency_sum put_latency;       /* of puts: from handing over to the answer */
    char why[256]; /* what keeps it from connecting, or made some requests fail just now; empty: nothing */
};
/* The loop's thread. */
void archive_get_stats(struct archive *a, struct archive_stats *out);

/* --- For databases: what one must have ---------------------------------------------------------------------------- */

enum archive_kind {
    ARCHIVE_PUT,
    ARCHIVE_RANGE,
    ARCHIVE_CHANGE,
    ARCHIVE_DROP,
    ARCHIVE_OLDEST,
    ARCHIVE_HEADS,
    ARCHIVE_KINDS
};

struct archive_engine {
    void (*post)(struct archive *a, struct archive_req *req); /* takes a request, whose `kind` says what it is */
    void (*stats)(struct archive *a, struct archive_stats *out);
    void (*close)(struct archive *a);
};

/* The database's own struct begins with this. */
struct archive {
    const struct archive_engine *engine;
};

#endif
