/*
 * Events as Lua sees them. The table is empty at first; a field is made when it is asked for, because most hooks look
 * at one or two.
 */
#ifndef MAGPIE_SCRIPT_EVENT_H
#define MAGPIE_SCRIPT_EVENT_H

#include "core/base/slice.h"
#include "core/hub/registry/hook.h"

#include <lua.h>
#include <stdint.h>

struct auth_call;
struct cJSON;
struct custom_action;
struct handler;
struct state;

/* What an event stands for, while its function runs. */
struct event {
    const struct hook_call *h; /* of a hook; NULL: an action */
    const struct cJSON *body;  /* of an action */
    struct slice user, user_name, claims;
    struct slice content; /* a message's, as it was before the script */
    uint16_t action, seq;
};

/* Makes the metatable of events. Raises Lua errors. */
void events_open(struct state *st, lua_State *L);
/* Puts all fields into the table at this place, when it is the present event; for functions after which a script may
 * look at it later. */
void event_fill(struct state *st, lua_State *L, int index);
void event_fill_present(struct state *st, lua_State *L);

/* Runs a handler on a hook; leaves its verdict in h. */
enum hook_verdict event_run(struct state *st, struct handler *handler, struct hook_call *h);
/* Whether a handler wants to see this one. */
bool event_wanted(const struct handler *handler, const struct hook_call *h);

/* The answer of a custom action. */
struct action_answer {
    enum code code; /* CODE_OK: `body` */
    uint32_t retry_after_ms;
    char message[96];
    struct slice body; /* JSON; in memory of the state, until the next call into it */
};
void event_run_action(struct state *st, struct custom_action *a, const struct event *e, struct action_answer *out);

#endif
