/* What the files of core/console share. */
#ifndef MAGPIE_CONSOLE_CONSOLE_PRIVATE_H
#define MAGPIE_CONSOLE_CONSOLE_PRIVATE_H

#include "core/base/buf.h"
#include "core/console/console.h"
#include "core/console/console_text.h"
#include "core/hub/hub.h"
#include "core/hub/registry/command.h"
#include "core/hub/shard/figures.h"
#include "storage/cluster.h"
#include "storage/store.h"

#include <ev.h>
#include <stdint.h>

struct console_call;
struct far_trace;
struct order;
struct remote_wait;
struct shown_trace;
struct tls_context;
struct tls_session;

enum {
    CONSOLES_MAX = 64, /* connections */
    LISTENERS_MAX = 16,
    SPARES = 16,               /* connections that get a small descriptor whatever is open */
    LINE_MAX_BYTES = 64 << 10, /* of a line */
    LINE_MAX_EARLY = 1 << 10,  /* of a line before `auth` */
    OUTPUT_RESUME = 64 << 10,  /* unsent bytes below which a long answer goes on */
    OUTPUT_NEXT = 256 << 10,   /* unsent bytes above which the next line waits */
    EVENTS_MAX = 1 << 20,      /* bytes of traced frames that wait for a slow reader; more are left out and counted */
    STUCK_SECONDS = 60,        /* a reader that takes nothing for so long is closed */
    AUTH_SECONDS = 10,         /* a connection that must `auth` and does not is closed */
    YIELD_SECONDS = 600,       /* one that did, and was silent for so long, gives its place up when all are taken */
    GUESSES = 5,               /* wrong passwords a minute, from one address */
    GUESSERS = 1024            /* addresses that are watched; beyond, the newest takes the place of the oldest */
};

struct guesser {
    char ip[64];
    unsigned wrong;    /* in this minute */
    uint64_t began_ms; /* of the minute, monotonic */
};

enum { TOP_SHARDS = 256 };

/* Counters at one moment: two of them make the rates of `top`. */
struct top_sample {
    uint64_t at_us; /* monotonic; 0: not taken */
    struct hub_stats hub;
    struct figures_sum figures;
    struct store_stats store;
    uint64_t cpu_us[TOP_SHARDS];
};

struct console {
    struct ev_loop *loop; /* borrowed */
    struct hub *hub;      /* borrowed */
    ev_io accept[LISTENERS_MAX];
    bool accept_tls[LISTENERS_MAX]; /* that listener's connections speak TLS */
    unsigned listener_count;
    struct tls_context *tls;    /* a reference; NULL: none */
    ev_timer retry;             /* accepts again after descriptors ran out */
    ev_timer sweep;             /* once a second: stuck and silent connections */
    int blank;                  /* a descriptor of nothing: what spares are copies of; -1: none */
    int spares[SPARES];         /* small descriptors, kept for connections to come */
    unsigned spare_count;       /* of them */
    struct console_peer *first; /* connections; list */
    unsigned count;             /* of them */
    uint64_t numbers;           /* of the newest */
    unsigned calls;             /* lines being served, those of closed connections included */
    bool has_password;
    uint8_t password[32];      /* SHA-256 */
    uint64_t password_changes; /* how often it has become another one */
    struct order *orders;      /* under way; list */
    struct remote_wait *waits; /* lines of other nodes, under way; list */
    unsigned wait_count;       /* of them */
    uint64_t tickets;          /* of the newest; those of traces, too */
    struct far_trace *far;     /* what is traced on other nodes; list */
    struct shown_trace *shown; /* what is traced here for others; list */
    struct guesser guessers[GUESSERS];
    const char *state;            /* for `status` */
    char *place;                  /* members of `status`, JSON; owned; NULL: not told yet */
    uint64_t began_ms;            /* monotonic: the server's start */
    struct top_sample samples[2]; /* a second ago, and now */
    bool stopping;
};

/* Who gets what a call answers, where that is neither a connection nor an order: as struct command_sink. */
struct call_sink {
    void (*end)(struct console_call *k, const char *code, const char *message); /* which frees the call */
    void (*more)(struct console_call *k, void (*resume)(struct command_call *c));
};

/* A line being served: what the command gets, and what the console adds. */
struct console_call {
    struct command_call c; /* first: they are one */
    struct console *console;
    struct console_peer *from;              /* NULL: gone, or an order's */
    struct order *order;                    /* NULL: a line of a connection */
    const struct call_sink *sink;           /* NULL: neither of both */
    void *sink_ctx;                         /* the sink's */
    bool here;                              /* it is not for other nodes: they have it, or gave it */
    bool logged;                            /* it has been, as the call that it is a part of */
    void (*resume)(struct command_call *c); /* wanted as soon as there is room */
    char *text;                             /* the line; the arguments point into it; owned */
    char *joined;                           /* the last argument of a command with `text`; owned; NULL: none */
    bool begun;                             /* pieces of an array went out */
    bool elements;                          /* … with elements in them */
    struct console_table table;             /* of pieces as text */
    char who[128];
};

/* A connection to the console. */
struct console_peer {
    struct console_peer *next;
    struct console *console;
    int fd;
    struct tls_session *tls; /* owned; NULL: plain */
    bool spare;              /* fd is one of the console's spares: it goes back there */
    ev_io io;
    struct buf in;  /* received, not yet taken */
    struct buf out; /* to be sent from out_at on */
    size_t out_at;
    struct buf events;         /* traced frames, until the reply under way ends */
    uint64_t lost_events;      /* left out since the last one that was shown */
    struct console_call *call; /* being served; NULL: none */
    uint64_t moved_ms;         /* monotonic: last progress */
    uint64_t opened_ms;        /* monotonic */
    uint64_t number;           /* its own; names it to traces */
    bool traces, trace_json;   /* asked for traces; wants them as JSON */
    bool authed;               /* may give commands */
    bool secured;              /* its handshake is over */
    bool greeted;              /* the first line has come */
    bool eof;                  /* nothing more comes */
    bool ending;               /* closes once the output is out */
    bool dead;                 /* to be freed by peer_turn() */
    bool turning;              /* peer_turn() is running */
    char ip[64];               /* "unix" for Unix sockets */
    char who[128];
};

/* Closes a connection's descriptor; a spare one is kept. */
void console_close(struct console *c, int fd, bool spare);
/* Goes on with a connection: lines, answers, output. Frees it when it is at its end. */
void peer_turn(struct console_peer *l);
/* An event of `trace`: one line of text, or JSON. Never inside of a reply. */
void peer_event(struct console_peer *l, struct slice line);
static inline struct console_peer *call_peer(struct command_call *c)
{
    return ((struct console_call *)c)->from;
}

/* remote_merge.c: ,"unanswered":[…] with their numbers; nothing where all have said that it is done. */
void silent_put(struct buf *out, const struct silent_nodes *s);

/* console_auth.c: `auth` with this password, from this address. NULL: right; else the code of the error, with *text. */
const char *auth_try(struct console *c, const char *ip, struct slice password, const char **text);
/* The same for those who have no connection to the console; ctx: the console. */
enum password_answer auth_password(void *ctx, const char *ip, struct slice password);
uint64_t auth_password_number(const void *ctx);

/* The one list of the files with commands: each X(name) defines `int name_register(struct console *)`: 0, or
 * an enum err. */
#define COMMANDS(X)                                                                                                    \
    X(cmd_general)                                                                                                     \
    X(cmd_list)                                                                                                        \
    X(cmd_show)                                                                                                        \
    X(cmd_people)                                                                                                      \
    X(cmd_channel)                                                                                                     \
    X(cmd_account)                                                                                                     \
    X(cmd_message)                                                                                                     \
    X(cmd_storage)                                                                                                     \
    X(cmd_cluster)                                                                                                     \
    X(cmd_trace)                                                                                                       \
    X(cmd_why)                                                                                                         \
    X(cmd_top)
#define COMMANDS_PROTOTYPE(name) MUST_CHECK int name##_register(struct console *c);
COMMANDS(COMMANDS_PROTOTYPE)

#endif
