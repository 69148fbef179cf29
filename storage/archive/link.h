/*
 * One connection to PostgreSQL and what goes over it: requests wait, are sent in one pipeline, and are answered in that
 * order. A lost connection is made again, and what had no answer is sent again.
 *
 * On the loop's thread. Each statement ends with a Sync of the pipeline, so that an error is its own affair.
 */
#ifndef MAGPIE_STORAGE_ARCHIVE_LINK_H
#define MAGPIE_STORAGE_ARCHIVE_LINK_H

#include "storage/archive.h"
#include "storage/archive/dial.h"

#include <ev.h>

struct pg_notes;

/* A statement: a request, or a run of the rows of a put. */
struct link_step {
    struct link_step *next;
    struct archive_req *req; /* the caller's; NULL: answered already, for its patience was over */
    uint8_t kind;            /* the request's */
    uint32_t from, n;        /* put: which of its rows */
    unsigned losses;         /* how often the connection was lost while this one was the first without an answer */
};

struct link_steps {
    struct link_step *head, **tail;
    uint32_t n;
};

struct pg_link {
    struct ev_loop *loop;      /* borrowed */
    struct pg_notes *notes;    /* borrowed: counts, and what the log was told */
    struct dial_options dial;  /* the URL is borrowed */
    uint32_t reconnect_ms;     /* the longest pause */
    struct dial *dialling;     /* a connection is being made; NULL: none is */
    PGconn *conn;              /* NULL: there is none */
    int asked;                 /* which events `io` is asked for; 0: it is stopped */
    uint32_t pause_ms;         /* before the next try, were it needed now */
    uint64_t away_since_ms;    /* when there last was a connection; 0: there is one */
    uint64_t head_since_ms;    /* since when the first of `sent` is the first */
    size_t sent_bytes;         /* of puts among `sent`, about */
    struct link_steps waiting; /* not sent */
    struct link_steps sent;    /* no answer yet */
    struct archive_req *ready; /* answered before anything was sent, for the loop's next turn */
    struct ev_io io;           /* of the connection's socket */
    struct ev_async wake;      /* the dial has a result */
    struct ev_timer again;     /* dials */
    struct ev_timer tick;      /* while anything waits for an answer: looks who has waited too long */
    struct ev_timer turn;      /* sends what was handed over, in the loop's next turn */
};

enum { NOTES_TOLD = 8 };

/* What the links of an archive share. */
struct pg_notes {
    struct archive_stats stats;
    struct latency put_latency;
    unsigned links, connected; /* how many there are, and are connected */
    char away[DIAL_WHY];       /* why there is no connection; empty: there are all */
    uint64_t told[NOTES_TOLD]; /* hashes of the reasons that were logged since there were all */
    unsigned told_n;
    struct pg_failed {
        char why[DIAL_WHY];  /* empty: none did */
        char state[6];       /* SQLSTATE of the last one that was logged */
        uint64_t told_ms;    /* when that was; 0: never */
        uint64_t ms;         /* when it failed */
        bool well;           /* one of the kind went well since */
    } failed[ARCHIVE_KINDS]; /* why the last request of the kind that failed did */
};

void link_init(struct pg_link *l, struct ev_loop *loop, struct pg_notes *notes, const struct dial_options *dial,
               uint32_t reconnect_ms);
/* Answers everything with ARCHIVE_AWAY, and ends the connection. */
void link_fini(struct pg_link *l);
void link_post(struct pg_link *l, struct archive_req *req);

#endif
