/*
 * A shard: one thread with its loop, connections, users, channels and the conversations it owns. For core/hub; layers
 * above, whose code runs on shards in hooks, actions and timers, use `hub`, `index`, `loop`, `mailbox`, `opt`, `now_ms`
 * and their own slot.
 *
 * Nothing in here is touched by another thread but the mailbox and what hub.h's stats read as atomics. Shards post each
 * other mails.
 */
#ifndef MAGPIE_HUB_SHARD_H
#define MAGPIE_HUB_SHARD_H

#include "core/base/buf.h"
#include "core/base/hash.h"
#include "core/base/mailbox.h"
#include "core/base/pool.h"
#include "core/base/table.h"
#include "core/hub/shard/bucket.h"
#include "core/hub/shard/figures.h"
#include "core/hub/shard/metric.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/note_ears.h"
#include "core/hub/shard/note_sweep.h"
#include "core/hub/shard/options.h"
#include "core/hub/shard/shards.h"
#include "core/hub/shard/token.h"
#include "core/hub/shard/user_ids.h"
#include "storage/conv_key.h"
#include "storage/store.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#define NONE UINT32_MAX /* no index */

struct ban_table;
struct deletion;
struct bus;
struct bus_noted;
struct traces;
struct why;
struct trace_event;
struct command_table;
struct owner_name;
struct metric_table;
struct tables;
struct login;
struct watches;
struct copies;
struct recovery;
struct change;
struct member_news;
struct comparing;
struct charges;
struct search;
struct frame;

/* --- The shard ------------------------------------------------------------------------------------------------ */

/* What rooms of the hub tell those above them: filled in by core/hub/parts.c, so that no include goes up. All on the
 * shard's own thread. */
struct shard_events {
    /* The push modes that a channel has members for may have changed. False: out of memory, and nobody was told. */
    bool (*modes_changed)(struct shard *s, uint32_t chan);
    /* A user whose login was under way has become known, or is gone. */
    void (*user_settled)(struct shard *s);
    /* A user's last connection has closed, whether it is known, being deleted, or deleted by now. */
    void (*user_left)(struct shard *s, uint32_t user);
    /* A private message for a user of this shard arrives. */
    void (*message_arrived)(struct shard *s, uint32_t user);
    /* A membership of a user has ended whose login is under way. */
    void (*membership_ended)(struct shard *s, uint32_t user);
    /* With a bus: so many messages have come into the user's inbox, and this one is being pushed. False: it has been
     * pushed before, and is not again. NULL: nobody counts. */
    bool (*arrived)(struct shard *s, uint32_t user, uint64_t arrival);
    /* With a bus: a change of this node's is answered after other nodes' later ones were heard of. */
    void (*user_overtaken)(struct shard *s, uint32_t user);
    /* With a bus: the owner of the channel has noted members of this shard. */
    void (*members_noted)(struct shard *s, struct slice channel);
};

/* A list of channels, linked by chan.next_walk. */
struct walks {
    uint32_t first, last; /* NONE, both: empty */
};

/* Bits of shard.halted. */
enum halt {
    HALT_BURIED = 1 << 0,  /* other nodes take this one for dead: what clients send waits */
    HALT_ISOLATED = 1 << 1 /* it cannot serve: clients are sent away */
};

struct shard {
    struct hub *hub;
    const struct shard_events *events; /* what rooms tell those above them */
    unsigned index;                    /* 0 … hub->shard_count - 1 */
    const struct hub_options *opt;     /* in force: those of box */
    struct options_box *box;           /* swapped by a mail on reload */
    struct token_key token_key;        /* opt's secret, made ready; swapped with it */
    struct tables *tables;             /* actions, hooks, providers in force; a reference; swapped by hub_each() */
    struct store *store;               /* borrowed */
    struct bus *bus;                   /* the store's; NULL: the server is alone */
    struct net *net;                   /* owned */
    struct ev_loop *loop;              /* owned */
    struct mailbox mailbox;
    pthread_t thread;
    bool running;   /* thread was started */
    bool draining;  /* no new logins; connections close as they become idle */
    bool drained;   /* was counted in hub.drained */
    uint8_t halted; /* enum halt, of a node of a cluster: why nothing is read from clients; 0: it is */
    /* the connection at which saying goodbye goes on in the next turn; 0: at the next tick, with the first */
    uint32_t drain_at;
    uint32_t drain_spread_ms; /* clients are told to come back within that time */

    struct pool users;       /* struct user */
    struct table user_ids;   /* by id */
    struct pool subs;        /* struct sub */
    struct table sub_keys;   /* by (user, chan) */
    struct pool chans;       /* struct chan: channels with members on this shard */
    struct table chan_names; /* by name */
    struct grants *grants;   /* what providers vouch for; NULL: nothing yet; owned */
    struct pool claims;      /* struct claim (route.c): connections of paths that layers above serve */
    struct pool convs;       /* struct conv: conversations this shard owns */
    struct table conv_keys;  /* by key */
    struct user_ids new_ids; /* ids for new users */
    uint32_t conv_sweep;     /* where the hunt for idle conversations goes on */

    struct walks begun;                    /* channels with publications to deliver that have had no turn yet */
    struct walks walks;                    /* those that have had some */
    uint32_t stamp;                        /* see chan.stamp */
    uint32_t receipts;                     /* the last one that a chan.deaf was given */
    uint32_t member_changes;               /* pushes 112 that have arrived from owners of channels */
    struct member_news *member_news;       /* of talk/member_news.c: channels that tell of members; list */
    struct comparing *comparing;           /* of talk/news_reset.c; NULL: the server is alone; owned */
    struct charges *charges;               /* of talk/charges.c; NULL: the server is alone; owned */
    struct copies *copies;                 /* of people/copy.c; NULL: the server is alone; owned */
    struct recovery *recovery;             /* of act/recover.c; NULL: there was nothing to recover; owned */
    struct watches *watches;               /* of people/watch.c; NULL: nobody watches; owned */
    struct buf scratch;                    /* for encoding; emptied by each user */
    struct buf hook_content, hook_message; /* of hook_set_content(), hook_text() */
    struct why *why;                       /* of why.c; NULL: nothing yet; owned */
    struct traces *traces;                 /* of trace.c; NULL: none yet; owned */
    struct ban_table *bans;                /* of ban.c; NULL: none; owned */
    void *scripts;                         /* of core/script: what its scripts keep on this shard; its own */
    uint64_t now_ms;                       /* monotonic, of this turn */
    struct mail *parked;                   /* operations of host.h that wait for a user; see host_park(); list */
    struct search *searches;               /* of talk/offline.c: those that read members; list */
    struct search *searches_waiting;       /* likewise: those that wait to ask other nodes; list, oldest first */
    uint32_t missed;                       /* messages of its searches, those under way included */
    struct far_seen *far_seen;             /* likewise: who was connected to other nodes lately; NULL: not yet; owned */
    struct login **roaming;                /* logins that wait until a channel is followed; of roam.c; owned */
    uint32_t restores;                     /* with a bus: how often it has put all sessions again (act/restore.h) */
    uint64_t ops;                          /* store operations under way that come back here: see op.h */
    bool bunching;       /* in a turn, before its walks: the store is kicked once for all that is handed over now */
    uint64_t reqs;       /* requests under way whose connection is here */
    struct owed *owed;   /* of guest.c: users that came back while the store could not write; list */
    uint64_t owed_at_ms; /* when it is tried again, monotonic */
    struct deletion *deletions; /* of host_delete.c: under way; list; owned */
    bool deletions_found;       /* shard 0: those that the last run left have been asked for */
    bool sweeping;              /* shard 0: a hunt for guests is under way */
    uint64_t sweep_at_ms;       /* shard 0: when the next one begins, monotonic */

    ev_async wake;   /* mailbox */
    ev_check woke;   /* after the loop slept: the time */
    ev_prepare turn; /* before the loop sleeps: walks */
    ev_idle busy;    /* started while walks are left, so that the loop does not sleep */
    ev_timer tick;   /* housekeeping, four times a second */

    struct figures figures;                          /* beyond those that follow */
    _Atomic uint64_t requests, messages, deliveries; /* for hub_get_stats() */
    _Atomic uint32_t user_count, chan_count;
    _Atomic uint64_t memory;
    _Atomic int64_t metrics[METRICS]; /* this shard's part of each counter */
};

/* Options with a count of those who read them: main, and each shard. */
struct options_box {
    _Atomic unsigned refs;
    struct hub_options opt; /* its strings are owned by the box */
};

/* Of nodes.h: who answers a subject; main thread. */
struct node_answerer {
    void (*asked)(void *ctx, struct node_question *q); /* NULL: nobody */
    void *ctx;
};

/* Of note_sweep.h. */
enum { NOTE_SWEEPERS = 4 };
struct note_sweep {
    struct note_sweeper list[NOTE_SWEEPERS];
    unsigned count;          /* of them */
    unsigned at, gone;       /* main thread: whose notes are being read; how many have been taken away */
    uint64_t swept_ms;       /* the first shard's: the last one */
    _Atomic bool soon, busy; /* one is wanted; one is under way */
    struct mail mail;        /* to the main thread, while busy */
};

/* Of note_ears.h. One change is under way at a time. */
enum { NOTE_EARS = 8 };
struct note_ears {
    pthread_mutex_t lock; /* of the list */
    struct note_ear list[NOTE_EARS];
    unsigned count;
    unsigned at;             /* the next one to hear of `now` */
    _Atomic uint64_t number; /* the newest of note_number() */
    struct note_change now;  /* under way */
    struct bus_noted *noted; /* the bus's own of it; NULL: none is */
};

enum { HUB_LEFT = 1 << 16 };

/* What /ready tells. */
enum hub_state { HUB_STARTING, HUB_SERVING, HUB_DRAINING };

struct hub {
    struct shard **shards;
    unsigned shard_count;
    struct store *store; /* borrowed */
    struct net_shared *shared;
    struct tables *tables;           /* newest; a reference */
    struct tables *draft;            /* being changed; NULL: none; owned */
    bool committing;                 /* not all shards have the newest tables yet */
    bool started;                    /* the shards' threads run */
    _Atomic bool stopped;            /* hub_stop() was called; the main thread writes it */
    _Atomic unsigned steps;          /* of hub_step_begin() that have not ended */
    bool metrics_apart;              /* there is a listener for metrics alone; set before hub_start() */
    _Atomic unsigned state;          /* enum hub_state; the main thread writes it */
    uint64_t process;                /* tells this one from other nodes' in what is announced: random */
    struct change *ban_changes;      /* of ban_change.c: under way on the bus; main thread; list */
    _Atomic bool isolated;           /* a node that cannot serve; the bus's thread writes it */
    struct mailbox *main;            /* the main thread's; borrowed; NULL before hub_set_main() */
    struct metric_table *metrics;    /* main thread; owned */
    struct command_table *commands;  /* main thread; owned */
    struct ip_closings *ip_closings; /* of ban_ip.c; main thread; owned; NULL: none */
    struct node_answerer answerers[NODE_SUBJECTS];
    _Atomic(struct mailbox *) answers_at; /* main, as soon as it is known; NULL before */
    struct note_ears note_ears;
    struct note_sweep note_sweep;
    void (*charge)(struct shard *s, uint64_t bucket, double n); /* of hook.h; NULL: nobody takes any */
    void (*trace_sink)(void *ctx, const struct trace_event *e); /* of trace.h; main thread */
    void *trace_ctx;                                            /* of trace_sink */
    struct owner_name *owners;                                  /* main thread; list; owned */
    struct options_box *box;                                    /* newest options; main thread */
    _Atomic uint32_t users_gone; /* deletions of users, begun and ended: what is known of pairs may be wrong then */
    /* HUB_LEFT: last connections of users that have closed here, by the hash of the user; see talk/news.h. NULL: the
     * server is alone; owned */
    _Atomic uint32_t *left;
    _Atomic unsigned drained; /* shards that are done draining */
    void (*drain_done)(void *ctx);
    void *drain_ctx;
};

/* Posts to a shard; run at once when it is the calling one, so that mails to oneself keep their place before what comes
 * later. `from`: NULL on other threads than shards'. */
void shard_post(struct shard *from, struct shard *to, struct mail *m);
/* The owner of a user id or a conversation key. */
struct shard *shard_of(const struct hub *hub, struct slice key);
/* Starts its thread. ERR_IO: there is none to be had. */
MUST_CHECK int shard_start(struct shard *s);
/* Frees options when the last user drops them. */
void options_drop(struct options_box *box);

#endif
