/* What node.c (starting and ending), node_join.c, node_beat.c and node_bury.c share: this node's state. */
#ifndef MAGPIE_STORAGE_REDIS_NODE_PRIVATE_H
#define MAGPIE_STORAGE_REDIS_NODE_PRIVATE_H

#include "storage/redis/client/call.h"
#include "storage/redis/client/resp.h"
#include "storage/redis/nodes/node.h"

#include <ev.h>
#include <pthread.h>

enum {
    NODE_JOIN_MS = 250,    /* between two looks while it joins */
    NODE_BEAT_MS = 1000,   /* between two beats */
    NODE_MEASURE_MS = 250, /* a reply that took longer says nothing exact of the other's clock */
    NODE_DEAD = 8          /* so many that died are remembered, for when they come back */
};

enum node_phase {
    PHASE_NONE,   /* nothing has been asked */
    PHASE_FORMAT, /* whether it knows the format of what is kept */
    PHASE_TAKE,   /* it takes a number and an incarnation */
    PHASE_JOIN,   /* it has them, and looks for a clock */
    PHASE_FIRST,  /* there is no other clock: the masters are asked */
    PHASE_RUN,
    PHASE_LEFT /* it has ended, or never joins */
};

struct node_self {
    struct redis *r;
    struct ev_timer timer;
    struct ev_async wanted; /* what other threads want: `accept_wanted`, `draining` */
    enum node_phase phase;
    struct nodes nodes;
    struct node_about about;
    char token[NODES_TOKEN];
    uint16_t want;         /* which number; 0: any */
    uint64_t beat;         /* of the newest beat */
    struct call call;      /* the beat, while `beating` */
    uint64_t sent_ms;      /* boot time when it was posted */
    uint64_t sent_turn;    /* the same by redis.turn_ms */
    uint64_t beaten;       /* sent_turn of the newest beat that worked; 0: none has */
    uint32_t sent_version; /* of the record in it; 0: none */
    uint64_t sent_log;     /* the newest place of the notes' log that was known when it was posted */
    uint64_t clock_ms;     /* when another's clock was looked at last, by redis.turn_ms; 0: never */
    struct call burying;   /* while `buries` */
    uint64_t taken_ms;     /* when our incarnation was taken, by redis.turn_ms */
    uint64_t was_inc;      /* the incarnation before ours; 0: none */
    uint64_t buried_inc;   /* who is being buried, and what is said of it then */
    struct {
        void (*done)(struct redis *r, void *ctx, enum store_status status); /* NULL: nobody waits */
        void *ctx;
    } bury;
    struct node_once format;
    bool beating, buries;
    bool changed;     /* our record is to be written */
    bool again;       /* it has had an incarnation before */
    bool far;         /* the masters' clocks are more than an hour off, which was logged */
    bool accepting;   /* the masters are being asked for an operator */
    bool joined;      /* whoever waits has been told so */
    bool cut;         /* it is cut off from Redis, and its clients were sent away */
    bool answered;    /* a beat was answered since it was cut off last */
    bool whole;       /* with this incarnation it serves: it has a clock, listens, and has read the notes */
    bool buried_told; /* the bus heard that it was taken for dead, and not yet that it is back */
    bool again_soon;  /* another beat is due when the one under way is answered */
    _Atomic bool accept_wanted, draining, leads;
    _Atomic uint64_t dead_count;
    struct {
        struct node_process process;
    } dead[NODE_DEAD]; /* that died last */
    uint32_t dead_next;
    uint64_t write_ms; /* boot time when it began to write its record, before it leaves; 0: it has not */
    bool retired;      /* it has asked to be taken out of the table */
    uint64_t leave_ms; /* boot time when it began to leave; 0: it has not */
    /* Whose clock ours is to be set by, when it was first seen. */
    struct {
        uint64_t inc;
        uint64_t begin_ms; /* its time when our boot clock was 0, modulo 2^64 */
        uint32_t moves;    /* of its beat, at that time */
    } trust;
    /* Who has the number that we want. */
    struct {
        uint64_t inc, beat, since_ms;
    } other;
    /* For node_wait(). */
    pthread_mutex_t lock;
    bool done;             /* under lock */
    int code;              /* under lock: 0 or an enum err */
    char why[256];         /* under lock */
    struct bus_node *told; /* under lock: the table for other threads; owned */
    unsigned told_n;       /* under lock */
};

/* --- node.c */
/* What is to be done now, by its phase. */
void node_turn(struct redis *r);
/* The next turn comes so much later, and from then on as often. */
void node_again_in(struct node_self *s, uint32_t ms);
/* Tells whoever waits for the start what has become of it, once. */
void node_tell(struct node_self *s, int code, const char *why);

/* --- node_join.c */
/* Asks whether this server knows the format of what is kept; then it takes a number. */
void node_format(struct redis *r);
/* It has been answered a beat, and has no clock yet. */
void node_join(struct redis *r);
/* The number that it wants is another's: the rest of the reply. */
void node_number_taken(struct redis *r, struct reply_in *in);
/* It cannot join. */
void node_refuse(struct redis *r, int code, const char *why);
/* What a call came to without which it cannot join. Whether it never will: it is refused then. */
bool node_hopeless(struct redis *r, enum store_status status);

/* --- node_beat.c */
void node_beat(struct redis *r);
/* Cluster time by another node's clock, now. */
uint64_t node_time_of(const struct node_self *s, const struct node *n);
/* An operator says that the masters' clocks are right: they were asked. by_ms: as of time_ask(). */
void node_accepted(struct redis *r, const int64_t *by_ms);

/* --- node_bury.c */
/* beat: the one that was seen last; UINT64_MAX: whichever. */
void node_bury(struct redis *r, uint64_t inc, uint64_t beat);
/* Those that are dead, as the newest beat showed them. */
void node_bury_dead(struct redis *r);
/* What the newest beat showed of who has come and gone. */
void node_come_and_gone(struct redis *r);
/* The table for other threads. */
void node_tell_table(struct redis *r);
/* For the bus, if there is one. */
void node_event(struct redis *r, enum bus_event what, uint64_t node);

#endif
