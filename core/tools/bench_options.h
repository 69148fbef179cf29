/* What the command line says. See bench_options.c for the table. */
#ifndef MAGPIE_TOOLS_BENCH_OPTIONS_H
#define MAGPIE_TOOLS_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct bench;

/* Bits of the scenarios, for the options' table. */
enum bench_scenario_bit { BENCH_CONNECT = 1, BENCH_CHANNEL = 2, BENCH_DM = 4, BENCH_HISTORY = 8, BENCH_ALL = 15 };

struct bench_options {
    const char *address;  /* HOST:PORT or unix:PATH; NULL: the transport's default */
    const char *path;     /* of the WebSocket upgrade */
    const char *source;   /* first IPv4 source address; NULL: chosen */
    const char *channel;  /* its name; NULL: a new one */
    const char *push;     /* mode of the receivers' subscriptions: all, merged, none */
    const char *position; /* of history pages: random, newest, walk */
    double duration;      /* of the measurement (connect: of holding still), s; < 0: the scenario's default */
    double warmup;        /* s before it */
    double hold;          /* channel: s to hold still before the load */
    double rate;          /* channel: messages/s at most; 0: as many as --outstanding lets through */
    double timeout;       /* s without any progress after which a run is given up */
    int64_t connections;  /* connections, receivers or clients; pairs for dm; 0: the scenario's default */
    int64_t messages;     /* to measure (history: pages) instead of a duration; 0: none */
    int64_t size;         /* of a content, bytes */
    int64_t outstanding;  /* under way at once, each as its scenario says; 0: the scenario's default */
    int64_t concurrency;  /* connections being set up at once */
    int64_t per_source;   /* connections from one source address at most */
    int64_t pid;          /* of the server; 0: look for it */
    int64_t senders;      /* channel: connections that send */
    int64_t users;        /* connect --leave: users that come again; 0: each is new */
    int64_t fill;         /* history: messages put into the channel first; < 0: default */
    int64_t page;         /* history: messages a page */
    int64_t ack;          /* dm: acknowledge the inbox after so many messages; 0: never */
    bool websocket;       /* instead of TCP */
    bool tls, tls12;      /* by TLS; by its version 1.2 */
    bool resume;          /* TLS: come again with the first connection's session ticket */
    bool gzip;            /* accept it (TCP) */
    bool json;            /* result as one JSON object */
    bool quiet;           /* no progress on stderr */
    bool pipeline;        /* connect: login and subscription in one write */
    bool no_subscribe;    /* connect: log in only */
    bool leave;           /* connect: go as soon as ready */
    bool silent;          /* connect: read nothing once ready */
    bool help;            /* asked for */
    bool version;         /* asked for */
};

struct bench_scenario {
    const char *name;
    const char *summary;          /* a line for the help */
    const char *connections_mean; /* what -c and --outstanding mean here, for the help */
    enum bench_scenario_bit bit;
    int64_t connections; /* defaults of options that were not given */
    int64_t outstanding;
    double duration;
    uint64_t (*descriptors)(const struct bench_options *options); /* connections that it will hold at once */
    int (*run)(struct bench *bench);                              /* 0, or a negative enum err after having said why */
};

/* NULL-terminated; in bench_main.c. */
extern const struct bench_scenario *const bench_scenarios[];

/* Reads the command line: 0, or ERR_INVALID after a message on stderr. *scenario stays NULL when help or version was
 * asked for without one. */
int bench_options_read(struct bench_options *options, const struct bench_scenario **scenario, int argc, char **argv);
/* Scenario NULL: the general help. */
void bench_options_help(FILE *out, const struct bench_scenario *scenario);

#endif
