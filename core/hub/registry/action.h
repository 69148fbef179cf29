/*
 * Actions: what the server does on a frame. The hub's own act_*.c files register theirs at start, scripts and plugins
 * later, through a draft of the tables (tables.h). Main thread.
 */
#ifndef MAGPIE_HUB_ACTION_H
#define MAGPIE_HUB_ACTION_H

#include "core/base/err.h"
#include "core/hub/registry/code.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;
struct hub;
struct tables;

enum action_class {
    CLASS_NOW,  /* answered inside the handler; touches no conversation */
    CLASS_SEND, /* appends to a conversation */
    CLASS_READ, /* reads a conversation */
    CLASS_ALONE /* anything else: one at a time on its connection */
};

struct action {
    uint16_t number;  /* 1-99 built in, 200-999 scripts, 1000-1999 plugins */
    const char *name; /* for people and metrics; must live as long as it is registered */
    enum action_class class;
    bool before_login; /* allowed on a connection that has not logged in */
    bool whole_body;   /* takes all there is, numbers as doubles: none may have been rounded (json_rounded()) */
    void (*handle)(struct call *c);
    void *ctx;         /* the registrar's: call.action_ctx of the handler */
    const void *owner; /* who registered it, for tables_remove(); NULL: built in */
};

/* Into the draft. ERR_EXISTS: the number is taken; ERR_INVALID: no such number; ERR_NOMEM. */
MUST_CHECK int action_register(struct hub *hub, const struct action *a);
/* Several; stops at the first error. */
MUST_CHECK int actions_register(struct hub *hub, const struct action *list, size_t n);
/* In the tables of a shard; NULL: none. */
const struct action *action_find(const struct tables *t, uint16_t number);

#endif
