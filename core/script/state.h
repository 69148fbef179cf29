/*
 * A script on one shard: a Lua state of its own, with a sandbox, a share of the shard's memory for scripts and a CPU
 * budget for every entry.
 *
 * Each script has its own state, so that no global, metatable or library table is shared. So memory is counted exactly,
 * and a script that fails harms no other. One thread at a time.
 */
#ifndef MAGPIE_SCRIPT_STATE_H
#define MAGPIE_SCRIPT_STATE_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/slice.h"
#include "core/hub/registry/hook.h"
#include "core/script/breaker.h"
#include "core/script/meter.h"

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct buckets;
struct cJSON;
struct event;
struct values;
struct refunds;
struct script_space;
struct timer;
struct waiting;
struct watched;
struct world;

enum { HANDLERS_MAX = 256, TIMERS_MAX = 1000, SCRIPT_NAME_MAX = 64 };
enum { LOAD_BUDGET_US = 1000000 }; /* of a script's chunk */

/* What scripts have done since the server began; kept over reloads. One a script and shard; written by that shard, read
 * by any thread. */
struct script_stats {
    _Atomic uint64_t calls, errors; /* entries into Lua; those that failed */
    _Atomic uint64_t kills;         /* of those, over the CPU budget */
    _Atomic uint64_t cpu_ns;        /* measured, but for those of many short calls that meter.h counts as usual ones */
    _Atomic int64_t memory;         /* bytes held by the present state */
};

/* What outlives the states of one shard. */
struct script_env {
    struct world *world;
    struct watched *watched; /* of the thread that runs them */
    struct values *kv;       /* magpie.kv */
    struct values *shared;   /* magpie.shared */
    struct buckets *buckets;
    uint64_t bucket_seed; /* of their names; the same on all nodes */
    struct refunds *refunds;
    bool inside; /* Lua runs */
};

/* The states of one script set on one shard. */
struct shard_set {
    struct script_env *env;     /* while they load: one of the main thread's */
    const struct cJSON *config; /* what magpie.config() reads; borrowed */
    uint64_t budget_us;
    uint64_t memory_max; /* bytes, all states together */
    uint64_t memory;     /* bytes they hold */
    bool loading;        /* not in force yet: nothing is sent */
};

/* What a script registered with magpie.on(). */
struct handler {
    enum hook_event event;
    int priority;
    int fn;     /* Lua reference */
    bool open;  /* a failure is as if it had passed; else it rejects */
    char *glob; /* of channels; NULL: all; owned */
    struct breaker breaker;
};

struct custom_action {
    uint16_t number;
    struct handler h; /* fn, breaker */
};

struct custom_command {
    char *name, *help; /* owned */
    int fn;
};

/* Interned field names and other constants whose addresses are compared. */
enum key {
    KEY_USER,
    KEY_CHANNEL,
    KEY_RECEIVER,
    KEY_PEER,
    KEY_PAIR,
    KEY_CONTENT,
    KEY_SIZE,
    KEY_MEMBERS,
    KEY_RATE,
    KEY_TIER,
    KEY_ID,
    KEY_NAME,
    KEY_SEQ,
    KEY_CREATED,
    KEY_IP,
    KEY_TRANSPORT,
    KEY_TOKEN,
    KEY_DEVICE,
    KEY_RESTORED,
    KEY_REASON,
    KEY_BODY,
    KEY_ACTION,
    KEY_SYSTEM,
    KEY_RECEIVERS,
    KEY_MESSAGE,
    KEY_CLAIMS,
    KEY_EDIT,
    KEY_EDITED,
    KEYS
};

struct state {
    lua_State *L;
    struct shard_set *shard_set;
    struct script_stats *stats;
    char name[SCRIPT_NAME_MAX];
    struct script_space *space; /* magpie.store; borrowed */
    lua_Alloc alloc;            /* LuaJIT's own … */
    void *alloc_ctx;            /* … and its state */
    int64_t memory;             /* bytes held */
    bool frugal;                /* collects garbage sooner, for it is near its limit */
    bool starved;               /* an allocation was refused since the entry */
    bool tidying;               /* collects garbage after that: needs a little memory itself */
    bool costly;                /* the last entry failed, and took its whole budget or all memory */
    char *stack_floor;          /* no C function is called below this address of the C stack; set by each entry */
    struct meter meter;

    const char *keys[KEYS]; /* addresses of interned strings */
    int keys_ref;           /* Lua reference: a list of those strings */
    int event_meta;         /* the metatable of events */
    int user_meta;          /* the metatable of e.user */
    int claims_meta;        /* … of claims */
    int claims_of;          /* a table: e.user → its claims */
    int event_slot;         /* the present event's table */
    int array_meta;         /* the metatable of JSON arrays */
    int runner, encoder, command_runner,
        later_runner;        /* C functions, made beforehand: outside of a protected call nothing may be allocated */
    struct event *event;     /* under way; NULL: none */
    const void *event_table; /* its Lua table */
    const void *user_table;  /* e.user of it; NULL: not made yet */

    uint64_t refund;                            /* record of the tokens taken in this event; 0: none yet */
    struct hook_call *call;                     /* the hook under way, when tokens may have to be given back */
    uint8_t accepted_id_len, accepted_name_len; /* of magpie.accept{} in the last event */
    char accepted_id[64], accepted_name[64];
    char *accepted_claims; /* a JSON object; NULL: none; owned */
    char message[96];      /* of the last rejection */

    struct handler *handlers; /* owned */
    uint32_t handler_count;
    struct custom_action *actions; /* owned */
    uint32_t action_count;
    struct custom_command *commands; /* owned */
    uint32_t command_count;
    struct handler once;  /* the breaker of timers that fire once; no function of its own */
    struct handler later; /* the breaker of functions that answers are given to (waiting.h); no function of its own */
    struct waiting *waiting; /* list */
    uint32_t waiting_count;
    struct timer *timers; /* list; owned */
    uint32_t timer_count;
    uint64_t timer_last; /* id given last */
    bool asked_config;   /* it has called magpie.config() */
    float sends_spent;   /* token bucket of what it sends: a loop between scripts ends */
    uint64_t sends_at;

    struct buf scratch;     /* of API functions that encode: state_scratch() */
    size_t scratch_counted; /* bytes of it that `memory` holds */
    char error[512];        /* of the last entry that failed; no control characters */
};

/* An empty sandbox. name: [a-z0-9_]. NULL: out of memory. */
struct state *state_new(struct shard_set *t, const char *name, struct script_stats *stats);
void state_free(struct state *st);
/* The state of a running Lua function. */
static inline struct state *state_of(lua_State *L)
{
    void *ud;
    (void)lua_getallocf(L, &ud);
    return ud;
}

/* Compiles the text and runs it. Errors go to st->error ("scripts/x.lua:3: …"). ERR_INVALID. */
MUST_CHECK int state_load(struct state *st, const char *file, struct slice text);
MUST_CHECK int state_load_within(struct state *st, const char *file, struct slice text, uint64_t budget_us);

/* Whether a script that was loaded has nothing that could ever run, although the config had no say in that: ratelimit
 * without limits does nothing rightly. STATE_IDLE is the error for that, of its file. */
static inline bool state_is_idle(const struct state *st)
{
    return !st->handler_count && !st->action_count && !st->command_count && !st->timer_count && !st->asked_config;
}
#define STATE_IDLE                                                                                                     \
    "%s: registers nothing, so it would do nothing: no magpie.on(), action(), command(), every() or after()"

/* Runs what is on the stack (function and arguments) within a budget. 0, or a negative code with the stack as before
 * the function and st->error set; counted either way. `always_timed`: measure the CPU time of this one. */
MUST_CHECK int state_call(struct state *st, int args, int results, uint64_t budget_us, bool always_timed);

/* --- For API functions -------------------------------------------------------------------------------------------- */

/* Raises an error when the present entry is over its budget: in every loop of C code that a script can make long. */
void state_poll(struct state *st, lua_State *L);
/* The scratch buffer, empty. Its memory counts as the script's, once state_scratch_count() has seen it. */
struct buf *state_scratch(struct state *st);
/* After something was put there: raises an error, and gives the buffer back, when that is more than the script may
 * have. */
void state_scratch_count(struct state *st, lua_State *L);
/* A table of options at `index` (from 1), or an error: one that would call Lua for its fields (__index) is none, since
 * state_field() passes that by. function: "push", for the error. */
void state_check_options(lua_State *L, int index, const char *function);
/* Pushes the field of the table at `index` (from 1), past metatables. */
void state_field(lua_State *L, int index, const char *name);

/* --- The breaker -------------------------------------------------------------------------------------------------- */

/* who: the caller, a user's id or an address (empty: somebody unknown); NULL: nobody calls, it is a timer. */
/* Whether the function is to be asked now. */
enum breaker_says handler_ask(struct state *st, struct handler *h, const struct slice *who);
/* A failure of the last entry: logged, told to the breaker. */
void handler_failed(struct state *st, struct handler *h, const char *what, const struct slice *who);

#endif
