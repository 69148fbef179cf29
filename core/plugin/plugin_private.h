/*
 * What the files of core/plugin share. The opaque types of magpie_plugin.h are defined here: struct mp_self is a
 * plugin, struct mp_thread the main thread or a shard.
 *
 * The ledger. Everything that a plugin got from the server hangs on its struct mp_self: registrations (list `regs`),
 * timers and watched descriptors (`local[thread]`), requests that wait for its answer (`open`), memory (`blocks`), and
 * counts of what is under way (`pending`). Unloading takes each of them back, in an order in which no code of the
 * plugin can run after it believes to be gone (life.c).
 */
#ifndef MAGPIE_PLUGIN_PLUGIN_PRIVATE_H
#define MAGPIE_PLUGIN_PLUGIN_PRIVATE_H

#include "core/base/buf.h"
#include "core/base/mailbox.h"
#include "core/hub/registry/auth.h"
#include "core/hub/registry/command.h"
#include "core/hub/registry/hook.h"
#include "core/hub/people/call.h"
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
};
struct visit visit_begin(struct mp_thread *t, struct mp_self *p, const char *doing);
void visit_end(struct mp_thread *t, const struct visit *before);

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

/* A request that waits for the plugin's answer: first member but one of its struct. Linked under mp_self.lock. */
struct open {
    struct open *next, **at;
    struct mp_self *plugin;
    void (*abandon)(struct open *o); /* answers it, because the plugin did not */
};

struct block; /* memory.c */

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
    char why[256];                  /* it failed because; empty: it did not */
    struct command_call *waiter;    /* `plugin load` or `unload` that waits for it */
    uint64_t changed_ms, loaded_ms,
        told_ms; /* monotonic: since when in this state; running since; told that it is stuck */
    struct reg *regs;
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

struct plugins {
    struct plugin_env env;
    struct hub *hub;
    char *path;           /* directory; owned */
    char *file;           /* config file; owned */
    struct cJSON *config; /* plugins.load of the config in force; owned */
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
/* Counts something as under way; false (and not counted) when the plugin is closing. */
bool plugin_begin(struct mp_self *p, enum plugin_pending kind);
void plugin_end(struct mp_self *p, enum plugin_pending kind);
/* Whether operations may begin; else MP_EAGAIN: what an init() that may still fail has begun must not come back to
 * it. */
static inline bool plugin_running(struct mp_self *p)
{
    return !atomic_load(&p->holding);
}
int plugin_error(int rc); /* ERR_… → MP_E… */
/* A plugin's struct, of which it knows the first *(uint32_t *)given bytes, as we know it. False: it has no size. */
bool struct_in(void *out, size_t size, const void *given);
#define STRUCT_IN(out, given) struct_in((out), sizeof *(out), (given))

/* --- loader.c: files ---------------------------------------------------------------------------------------------- */

/* Opens PATH/NAME.so and checks its description. NULL: why tells. The image stays. */
const struct mp_plugin *image_open(const char *path, const char *name, char **file, char *why, size_t why_size);
/* The same for a description at hand. 0, or -1 and why. */
int image_check(const struct mp_plugin *desc, const char *name, char *why, size_t why_size);

/* --- options.c ---------------------------------------------------------------------------------------------------- */

const struct mp_option *schema_at(const struct mp_plugin *desc, unsigned i);
/* NULL when there are errors, appended one a line, each beginning with `prefix` ("etc/magpie.lua:
 * plugins.load.filter"). */
struct mp_options *options_read(const struct mp_plugin *desc, const struct cJSON *json, const char *prefix,
                                struct buf *errors);
void options_free(struct mp_options *o);
/* Puts back the values of `before` where a reload may not change them; their names, comma-separated, in `kept`. */
void options_keep(struct mp_options *fresh, struct mp_options *before, struct buf *kept);
const char *options_text(const mp_options *o, const char *name);
double options_number(const mp_options *o, const char *name);
bool options_bool(const mp_options *o, const char *name);
const char *options_item(const mp_options *o, const char *name, unsigned i);

/* --- register.c --------------------------------------------------------------------------------------------------- */

int reg_hook(mp_self *p, const struct mp_hook *h);
int reg_action(mp_self *p, const struct mp_action *a);
int reg_auth(mp_self *p, mp_auth_fn ask, void *ctx);
int reg_command(mp_self *p, const struct mp_command *c);
int reg_metric(mp_self *p, const struct mp_metric *m);
int reg_route(mp_self *p, const struct mp_route *r);
int reg_upgrade(mp_self *p, const struct mp_upgrade *u);
/* Puts what goes into the hub's tables into the draft. Errors: `why` in p. */
int regs_commit(struct mp_self *p);
void regs_free(struct mp_self *p);
void metric_count(mp_self *p, mp_thread *here, int metric, int64_t n);
void metric_each(mp_self *p, void (*fn)(void *ctx, const struct mp_metric_value *m), void *ctx);

/* --- hooks.c: what the hub calls, and what a hook answers with ---------------------------------------------------- */

enum hook_verdict hook_run(struct hook_call *h, void *ctx);
enum auth_when auth_run(struct auth_call *a, void *ctx);
int auth_answered(mp_self *p, struct mp_ticket ticket, const struct mp_auth_answer *answer);
enum mp_verdict verdict_reject(struct mp_event *e, enum mp_code code, const char *message, uint32_t retry_after_ms);
int verdict_content(struct mp_event *e, struct mp_str content);
int verdict_advise(struct mp_event *e, const struct mp_advice *a);

/* --- calls.c: actions and commands; http.c: HTTP ------------------------------------------------------------------ */

void open_add(struct mp_self *p, struct open *o, void (*abandon)(struct open *o));
void open_remove(struct open *o);
void opens_abandon(struct mp_self *p);
void action_run(struct call *c);
void action_answer(mp_call *call, struct mp_str body);
void action_error(mp_call *call, enum mp_code code, const char *message, uint32_t retry_after_ms);
void command_run(struct command_call *c, void *ctx);
void command_ended(mp_command_call *call);
void command_failed(mp_command_call *call, const char *code, const char *message);
mp_out *command_text(mp_command_call *call);

struct route_call;
void http_run(const struct route_call *q, void *ctx);
void http_done(mp_http *h, const struct mp_http_answer *a);
struct mp_str http_header_of(const mp_http *h, const char *name);
int http_param_of(const mp_http *h, const char *name, char *out, size_t size);
int http_decode(struct mp_str s, char *out, size_t size);
void ws_opened(struct shard *s, uint32_t conn, uint32_t generation, void *ctx);
void ws_message(struct shard *s, uint32_t conn, uint32_t generation, bool text, struct slice data, void *ctx);
void ws_closed(struct shard *s, uint32_t conn, uint32_t generation, void *ctx);
int ws_send_to(mp_self *p, struct mp_conn conn, bool text, struct mp_str data);
int ws_close_it(mp_self *p, struct mp_conn conn, uint16_t code, struct mp_str reason);

/* --- threads.c, work.c -------------------------------------------------------------------------------------------- */

mp_thread *threads_main(mp_self *p);
unsigned threads_count(mp_self *p);
mp_thread *threads_shard(mp_self *p, unsigned i);
int threads_index(const mp_thread *t);
mp_thread *threads_user(mp_self *p, struct mp_str id);
mp_thread *threads_channel(mp_self *p, struct mp_str name);
void *threads_local(mp_self *p, mp_thread *here);
int threads_post(mp_self *p, mp_thread *to, mp_thread_fn fn, void *ctx);
int timer_start(mp_self *p, mp_thread *here, uint64_t first_ms, uint64_t every_ms, mp_thread_fn fn, void *ctx,
                uint64_t *timer);
void timer_end(mp_self *p, mp_thread *here, uint64_t timer);
int io_start(mp_self *p, mp_thread *here, int fd, unsigned events, mp_io_fn fn, void *ctx, uint64_t *io);
int io_set(mp_self *p, mp_thread *here, uint64_t io, unsigned events);
void io_end(mp_self *p, mp_thread *here, uint64_t io);
/* init() and shard_init() were right: what they posted and gave to workers begins. */
void posts_release(struct mp_self *p);
/* They were not: nobody hears of it. */
void posts_drop(struct mp_self *p);
/* Ends all timers and watched descriptors on that thread. */
void watchers_end(struct mp_self *p, struct mp_thread *t);
int work_start(mp_self *p, void (*run)(void *ctx), mp_thread *home, mp_thread_fn done, void *ctx);
void work_release(struct mp_self *p);
/* Takes works that have not begun out of the queue, without calling anything. */
void work_cancel(struct mp_self *p);
/* Ends the worker threads, which must be idle. */
void workers_end(struct plugins *ps);

/* --- current.c: values in force -------------------------------------------------------------------------------- */

mp_current *current_new(mp_self *p, void (*drop)(void *value));
int current_prepare(mp_current *c, void *value);
void current_commit(mp_current *c);
void *current_get(mp_current *c, mp_thread *here);
mp_held *current_hold(mp_current *c, mp_thread *here);
void *held_value(const mp_held *h);
bool held_in_force(const mp_held *h);
void held_release(mp_held *h);
/* Drops what is left. Nobody reads it any more. */
void currents_free(struct mp_self *p);

/* --- operations.c, lookups.c -------------------------------------------------------------------------------------- */

int plugin_send(mp_self *p, const struct mp_send *s, mp_thread *home, mp_sent_fn done, void *ctx);
int plugin_member(mp_self *p, const struct mp_member *m, mp_thread *home, mp_member_fn done, void *ctx);
int plugin_kick(mp_self *p, struct mp_str user, struct mp_str message, bool revoke, mp_thread *home, mp_kick_fn done,
                void *ctx);
int plugin_user(mp_self *p, struct mp_str id, mp_thread *home, mp_user_fn done, void *ctx);
int plugin_range(mp_self *p, const struct mp_range *r, mp_thread *home, mp_history_fn done, void *ctx);
int plugin_members(mp_self *p, struct mp_str channel, struct mp_str cursor, uint32_t limit, mp_thread *home,
                   mp_members_fn done, void *ctx);
int plugin_channel(mp_self *p, struct mp_str name, mp_thread *home, mp_channel_fn done, void *ctx);
int plugin_push_user(mp_self *p, struct mp_str user, uint16_t action, struct mp_str body);
int plugin_push_conn(mp_self *p, struct mp_conn conn, uint16_t action, struct mp_str body);
int plugin_announce(mp_self *p, struct mp_str content);
int plugin_close_conn(mp_self *p, struct mp_conn conn, struct mp_str message);

/* --- memory.c, text.c --------------------------------------------------------------------------------------------- */

void *memory_alloc(mp_self *p, void *at, size_t n);
/* Frees what the plugin left; returns how many bytes. */
size_t memory_free_all(struct mp_self *p);

struct mp_out {
    struct buf own;
    struct buf *b; /* own, or of a command's call */
};
/* A whole JSON object? */
bool json_is_object(struct slice text);
mp_json *text_json_parse(struct mp_str text, const char **why);
void text_json_free(mp_json *v);
const mp_json *text_json_get(const mp_json *object, const char *key);
const mp_json *text_json_at(const mp_json *array, unsigned i);
int text_json_text(const mp_json *object, const char *key, struct mp_str *out);
int text_json_int(const mp_json *object, const char *key, int64_t *out);
int text_json_bool(const mp_json *object, const char *key, bool *out);
bool text_json_string(const mp_json *v, struct mp_str *out);
mp_out *text_out_new(mp_self *p);
void text_out_free(mp_out *o);
void text_out_put(mp_out *o, struct mp_str s);
void text_out_printf(mp_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_out_json(mp_out *o, struct mp_str s);
void text_out_reset(mp_out *o);
struct mp_str text_out_str(const mp_out *o);

/* --- reload.c -------------------------------------------------------------------------------------------------- */

/* Asks check() of a running or unloaded plugin; errors with `prefix` before each. */
void options_check(const struct mp_plugin *d, void *state, const struct mp_options *o, const char *prefix,
                   struct buf *errors);
/* Keeps options that check() found good for plugin_adopt(). Takes them. */
void checked_keep(struct mp_self *p, const struct cJSON *json, struct mp_options *o);
void checked_free(struct mp_self *p);
/* Hands its part of the config to a running plugin: what was checked, or else what is checked now. */
void plugin_adopt(struct mp_self *p, const struct cJSON *json);

/* --- life.c, commands.c, watch.c ---------------------------------------------------------------------------------- */

struct mp_self *plugin_find(const struct plugins *ps, const char *name);
/* Opens, checks and begins to load. 0; ERR_EXISTS: it is loaded; ERR_INVALID: why is in `errors`. `waiter`: told how it
 * ended; NULL: nobody. */
int plugin_load(struct plugins *ps, const char *name, const struct cJSON *json, struct command_call *waiter,
                struct buf *errors);
void plugin_unload(struct mp_self *p, struct command_call *waiter);
const char *plugin_state_name(const struct mp_self *p);
/* What it waits for: "2 works, 1 timer". */
void plugin_put_pending(const struct mp_self *p, struct buf *out);
void plugin_poll(struct plugins *ps);
int plugin_commands_register(struct plugins *ps);
void watch_start(struct plugins *ps);
void watch_stop(struct plugins *ps);

#endif
