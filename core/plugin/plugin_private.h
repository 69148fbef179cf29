/*
 * What the files of core/plugin share. The opaque types of magpie_plugin.h are defined here: struct mp_self is a
 * plugin, struct mp_thread the main thread or a shard.
 *
 * The ledger. Everything that a plugin got from the server hangs on its struct mp_self: registrations (list `regs`),
 * timers and watched descriptors (`local[thread]`), requests that wait for its answer (`open`), memory (`blocks`), and
 * counts of what is under way (`pending`). Unloading takes each of them back, in an order in which no code of the
 * plugin can run after it believes to be gone (lifecycle.c).
 */
#ifndef MAGPIE_PLUGIN_PLUGIN_PRIVATE_H
#define MAGPIE_PLUGIN_PLUGIN_PRIVATE_H

#include "core/base/buf.h"
#include "core/base/mailbox.h"
#include "core/base/running.h"
#include "core/hub/people/call.h"
#include "core/hub/registry/auth.h"
#include "core/hub/registry/command.h"
#include "core/hub/registry/hook.h"
#include "core/hub/shard/shard.h"
#include "core/plugin/plugins.h"
#include "plugins/magpie_plugin.h"

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

struct cJSON;

/* --- Threads ------------------------------------------------------------------------------------------------------ */

struct mp_thread {
    struct plugins *plugins;
    struct shard *shard; /* NULL: the main thread */
    struct mailbox *mailbox;
    struct ev_loop *loop;
    int index; /* of the shard; -1: main */
    /* Which plugin's code runs here now, for watch.c: written by this thread, read by main. */
    _Atomic(struct mp_self *) in;
    _Atomic(const char *) doing;
    _Atomic uint64_t since_ms; /* monotonic */
    /* pthread_self() of it, once a plugin was visited here; 0: not known. Equal to one's own: this is one's thread */
    _Atomic uintptr_t self;
    uint64_t told_ms; /* main: since_ms of the visit that was reported last */
};

/* A call into a plugin; they may nest. */
struct visit {
    struct mp_self *in;
    const char *doing;
    uint64_t since_ms;
    struct running before; /* on this thread, for the line that a crash leaves */
};

/* --- Plugins ------------------------------------------------------------------------------------------------------ */

enum plugin_state {
    PLUGIN_OPEN,       /* checked; init() runs or has failed */
    PLUGIN_SHARDS,     /* shard_init() runs on the shards */
    PLUGIN_COMMIT,     /* its registrations are to come into force: waits for the tables */
    PLUGIN_COMMITTING, /* … on every shard */
    PLUGIN_RUNNING,
    PLUGIN_REMOVE,   /* its registrations are to be taken back: waits for the tables */
    PLUGIN_REMOVING, /* … on every shard */
    PLUGIN_STOP,     /* timers, descriptors and claimed connections are to be closed on every shard */
    PLUGIN_STOPPING,
    PLUGIN_WAITING, /* for what is under way */
    PLUGIN_FINI,    /* shard_fini() is to run */
    PLUGIN_FINISHING,
    PLUGIN_DEAD /* nothing is left of it but its struct */
};

/* What may be under way and must end before fini(). */
enum plugin_pending {
    PENDING_POSTS,
    PENDING_WORKS,
    PENDING_OPERATIONS,
    PENDING_VALUES, /* that are no longer in force, and that somebody may still read */
    PENDING_KINDS
};

/* A registration. */
struct reg {
    struct reg *next;
    struct mp_self *plugin;
    enum { REG_HOOK, REG_ACTION, REG_AUTH, REG_ROUTE, REG_UPGRADE, REG_METRIC, REG_COMMAND } kind;
    union {
        struct mp_hook hook;
        struct mp_action action;
        mp_auth_fn ask;
        struct mp_route route;
        struct mp_upgrade upgrade;
        struct mp_metric metric;
        struct mp_command command;
    };
    void *ctx;                  /* of ask */
    int metric_number;          /* in the hub's table */
    _Atomic int64_t elsewhere;  /* metric: counted on other threads than shards' */
    char *name, *args, *help;   /* copies of the texts; owned */
    char method[16], path[128]; /* of routes and upgrades */
    bool prefix;
};

/* A timer or a watched descriptor. */
struct watcher {
    struct watcher *next, **at; /* list in struct local */
    struct mp_self *plugin;
    struct mp_thread *thread;
    uint64_t number;
    bool is_io;
    union {
        ev_timer timer;
        ev_io io;
    };
    mp_thread_fn fire;
    mp_io_fn ready;
    void *ctx;
};

/* A plugin's things on one thread; touched by that thread alone. */
struct local {
    struct watcher *watchers;
    uint64_t numbers;  /* given to watchers so far */
    void *shard_state; /* of shard_init() */
    bool inited;       /* shard_init() was right */
};

enum open_kind { OPEN_ACTION, OPEN_COMMAND, OPEN_HTTP, OPEN_LOGIN, OPEN_HOOK };

/* Something that waits for the plugin's answer: first member of its struct. Linked under mp_self.lock. */
struct open {
    struct open *next, **at;
    struct mp_self *plugin;
    void *ticket;                    /* what the plugin has of it: ticket.h */
    void (*abandon)(struct open *o); /* answers and frees it, because the plugin did not answer */
};

struct block; /* memory.c */
struct place; /* ticket.c */

struct mp_self {
    struct mp_self *next; /* in plugins.list */
    struct plugins *plugins;
    const struct mp_plugin *desc; /* within the image, which is never unmapped (RTLD_NODELETE) */
    char name[65];
    char *file;                 /* of the image; owned */
    struct cJSON *json;         /* the options as the config has them; owned */
    struct mp_options *options; /* owned */
    /* Options that its check() has found good, for the apply() that may follow. */
    struct {
        const struct cJSON *of;     /* identity of the config's part that they were read from; never followed */
        struct cJSON *json;         /* what it said; owned */
        struct mp_options *options; /* owned; NULL: none */
    } checked;
    bool overtaken; /* there was a reload while it was being loaded: it takes new options when it runs */
    enum plugin_state state;
    void *data;           /* *state of init() */
    bool inited;          /* init() was right: fini() is owed */
    _Atomic bool closing; /* nothing new may begin */
    _Atomic bool holding; /* init() and shard_init() are not over: posts and works wait, operations are refused */
    struct mail *held, **held_last; /* posts that wait; under lock */
    bool committed;                 /* the tables have its registrations */
    bool may_register;              /* init() runs */
    _Atomic int shard_error;        /* what a shard_init() returned */
    char why[512];                  /* it failed because; empty: it did not */
    char refusal[256];              /* what init() was refused last: which call, and why; empty: nothing */
    struct command_call *waiter;    /* `plugin load` or `unload` that waits for it */
    uint64_t changed_ms, loaded_ms,
        told_ms; /* monotonic: since when in this state; running since; told that it is stuck */
    struct reg *regs;
    mp_node_asked_fn asked;      /* answers the questions of other nodes; NULL: nobody does */
    void *asked_ctx;             /* of asked */
    struct mp_current *currents; /* current.c; main thread */
    _Atomic uint32_t pending[PENDING_KINDS];
    unsigned working;     /* works that run now; under plugins.lock */
    pthread_mutex_t lock; /* of the next three, and `held` */
    struct open *open;
    struct block *blocks;
    size_t memory;       /* bytes in blocks */
    struct local *local; /* [thread index + 1]; owned */
};

struct work;

/* What the config says. */
struct plugin_setup {
    char *path;           /* directory; owned */
    char *file;           /* config file; owned */
    struct cJSON *config; /* plugins.load; owned */
};

struct plugins {
    struct plugin_env env;
    struct hub *hub;
    struct plugin_setup setup; /* in force */
    struct plugin_setup next;  /* of plugins_prepare(); empty: none */
    struct mp_self *list;
    struct mp_thread *threads; /* main, then the shards */
    unsigned thread_count;
    ev_timer poll;  /* runs while a plugin is on its way in or out */
    ev_timer watch; /* runs while there are plugins */
    bool stopping;  /* plugins_stop() was called */
    bool abandoned; /* it gave up */
    /* worker threads */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct work *first, **last; /* queue */
    unsigned workers, idle;
    bool ending; /* workers are to end */
    pthread_t threads_of_work[8];
    /* ticket.c */
    struct {
        pthread_mutex_t lock;        /* of all here */
        struct place *first, **last; /* free ones, longest first */
        uint32_t free_count;
        _Atomic unsigned chunk_count;
        struct place *chunks[1024]; /* chunks below chunk_count stay as they are, and need no lock; owned */
    } tickets;
};

extern const struct mp_api plugin_api; /* api.c */

static inline struct mp_thread *thread_of(const struct plugins *ps, const struct shard *s)
{
    return &ps->threads[s->index + 1];
}
static inline struct slice slice_in(struct mp_str s)
{
    return slice_of(s.p, s.n);
}
static inline struct mp_str str_out(struct slice s)
{
    return mp_str_of(s.p, s.n);
}
/* Whether operations may begin; else MP_EAGAIN: what an init() that may still fail has begun must not come back to
 * it. */
static inline bool plugin_running(struct mp_self *p)
{
    return !atomic_load(&p->holding);
}

/* --- answers.c: actions and commands; http.c: HTTP ---------------------------------------------------------------- */

struct route_call;

/* --- memory.c, text.c --------------------------------------------------------------------------------------------- */

struct mp_out {
    struct buf own;
    struct buf *b; /* own, or of a command's call */
};

#endif
