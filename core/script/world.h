/*
 * What scripts ask of the server they run in. Two worlds: the hub's shard (world_hub.c), and a fake one with a clock
 * that a test moves (tester.c). All functions: on the thread that runs the script, and never calling back into Lua.
 */
#ifndef MAGPIE_SCRIPT_WORLD_H
#define MAGPIE_SCRIPT_WORLD_H

#include "core/base/log.h"
#include "core/base/slice.h"
#include "storage/conv_key.h"

#include <stdbool.h>
#include <stdint.h>

struct fetch_request;
struct state;
struct timer;
struct waiting;

/* What magpie.history() asks for; `before` and `after` are seqs, not included. */
struct history_query {
    struct conv_key conv;
    bool has_before, has_after;
    uint64_t before, after;
    uint32_t limit;
};

/* What an operator may do, too. The names of the functions of `magpie`. */
enum order_kind {
    ORDER_JOIN,
    ORDER_LEAVE,
    ORDER_MUTE,
    ORDER_UNMUTE,
    ORDER_BAN,
    ORDER_UNBAN,
    ORDER_RECALL,
    ORDER_USER_ADD,
    ORDER_USER_DELETE,
    ORDER_CHANNEL_DELETE,
    ORDER_KINDS
};
extern const char *const order_names[ORDER_KINDS];

struct script_order {
    enum order_kind kind;
    struct slice user, channel; /* mute, ban: no channel: everywhere */
    struct slice name;          /* user_add; empty: the id */
    struct conv_key conv;       /* recall */
    uint64_t seq;               /* recall */
    uint64_t seconds;           /* mute, ban; 0: until it is lifted */
    unsigned change;            /* leave: enum member_change, what others are told */
    bool recall;                /* user_delete: its messages too */
};

struct world {
    uint64_t (*mono_ms)(struct world *w);
    uint64_t (*wall_ms)(struct world *w);
    /* From the user `system`; user or channel is empty. Returns 0 or a negative enum err, as all below. */
    int (*send)(struct world *w, struct state *st, struct slice user, struct slice channel, struct slice content);
    /* from: a user whom the receiver must not have blocked, or else nothing happens; empty: nobody in particular. */
    int (*push)(struct world *w, struct slice user, uint16_t action, struct slice body, struct slice from);
    int (*kick)(struct world *w, struct state *st, struct slice user, struct slice reason);
    int (*announce)(struct world *w, struct slice text);
    int (*order)(struct world *w, struct state *st, const struct script_order *o);
    /* Whether this server does what one of several does. */
    bool (*leads)(struct world *w);
    int (*metric)(struct world *w, const char *name, double n);
    void (*log)(struct world *w, enum log_level level, const char *id, const struct log_field *fields);
    /* The first time after `after_ms`, then every `every_ms` (0: once): timer_fire(). */
    int (*timer_start)(struct world *w, struct timer *t, double after_ms, double every_ms);
    void (*timer_stop)(struct world *w, struct timer *t);
    /* With the answer later: waiting_answer(), never inside the call. On failure `q` is still the caller's. */
    int (*members)(struct world *w, struct waiting *q, struct slice channel, struct slice cursor);
    int (*history)(struct world *w, struct waiting *q, const struct history_query *h);
    int (*fetch)(struct world *w, struct waiting *q, const struct fetch_request *r);
    int (*user_token)(struct world *w, struct waiting *q, struct slice user);
    uint32_t content_max; /* bytes of a message, limits.content */
};

#endif
