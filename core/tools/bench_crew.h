/*
 * A crew: many connections of one purpose. They connect a bounded number at a time, log in under names of their own,
 * perhaps subscribe to a channel, and are then ready. One thread.
 */
#ifndef MAGPIE_TOOLS_BENCH_CREW_H
#define MAGPIE_TOOLS_BENCH_CREW_H

#include "core/client/client.h"
#include "core/tools/bench_hist.h"

#include <stdbool.h>
#include <stdint.h>

struct bench;
struct bench_crew;

struct bench_member {
    struct client_conn *conn; /* NULL when there is none (any more) */
    struct bench_crew *crew;  /* borrowed */
    uint64_t started_us;      /* when it began to connect; CLOCK_MONOTONIC */
    uint64_t last_seq;        /* of the newest message it has; the scenario's */
    uint32_t index;           /* in the crew */
    bool ready;               /* logged in and subscribed */
};

struct bench_crew {
    /* Set by the scenario before bench_crew_start(). */
    struct bench *bench; /* borrowed */
    void *state;         /* the scenario's */
    const char *what;    /* "receiver": for messages */
    const char *channel; /* to subscribe to; NULL: none; borrowed */
    const char *push;    /* mode of the subscription; NULL: left out; borrowed */
    uint32_t want;       /* connections; 1 or more */
    uint32_t users;      /* > 0: so many, who come again by token */
    bool merge;          /* accept merged frames */
    bool pipeline;       /* login and subscription in one write */
    bool leave;          /* each closes as soon as it is ready */
    bool silent;         /* each reads nothing once it is ready */
    void (*logged_in)(struct bench_member *member, struct slice body); /* may be NULL */
    void (*joined)(struct bench_member *member, struct slice body);    /* subscribed; may be NULL */
    void (*lost)(struct bench_member *member);                         /* a ready one is gone; may be NULL */
    /* As in struct client_handlers, `user` being the member; NULL: bench_crew_push(). */
    void (*push_handler)(struct client_conn *conn, void *user, uint16_t action, struct slice body);

    /* The crew's own. */
    struct client_handlers handlers; /* given to the client */
    struct bench_member *members;    /* `want` of them; owned */
    char **tokens;                   /* `users` of them, NULL as long as a user never was here; owned */
    uint32_t started;                /* members whose turn to connect has come */
    uint32_t busy;                   /* of them, not settled yet */
    uint32_t settled;                /* members that became ready, or failed to */
    uint32_t ready;                  /* members that are ready now */
    uint32_t left;                   /* members that were ready, and left of their own */
    uint64_t behind;                 /* pushes 107 */
    struct bench_hist login_us;      /* from connect(2) to the login's answer */
    struct bench_hist ready_us;      /* from connect(2) to being ready */
};

/* Starts connecting; bench_phase_end() is called when all are settled. ERR_NOMEM. */
MUST_CHECK int bench_crew_start(struct bench_crew *crew);
/* Starts, and runs the phase: 0 when at least one is ready, else a negative enum err after a message. */
MUST_CHECK int bench_crew_muster(struct bench_crew *crew, const char *phase);
/* Closes all connections and frees the members. Fine for a crew that never started (all zero). */
void bench_crew_end(struct bench_crew *crew);
/* What pushes mean to everybody: closing and errors are told, 107 is counted. */
void bench_crew_push(struct client_conn *conn, void *user, uint16_t action, struct slice body);

#endif
