/*
 * The tables of actions and hooks. What the server does on a frame, and who may change its mind, is registered here: by the
 * hub's own act_*.c files at start, later by scripts and plugins. Changed on the main thread before the shards start (or,
 * later, while they are stopped between two iterations).
 */
#ifndef MAGPIE_HUB_ACTION_H
#define MAGPIE_HUB_ACTION_H

#include "core/base/err.h"
#include "core/hub/code.h"
#include "core/hub/req.h"

struct hub;

struct action {
    uint16_t number;  /* 1-99 built in, 200-999 scripts, 1000-1999 plugins */
    const char *name; /* for people and metrics; borrowed for ever */
    enum action_class class;
    bool before_login; /* allowed on a connection that has not logged in */
    void (*handle)(struct call *c);
};

/* ERR_EXISTS: the number is taken; ERR_NOMEM. */
MUST_CHECK int action_register(struct hub *hub, const struct action *a);
/* Several; stops at the first error. */
MUST_CHECK int actions_register(struct hub *hub, const struct action *list, size_t n);
const struct action *action_find(const struct hub *hub, uint16_t number);
void actions_free(struct action_table *t);

/* --- Hooks --- */

enum hook_event {
    HOOK_CONNECT,
    HOOK_LOGIN,
    HOOK_SUBSCRIBE,
    HOOK_UNSUBSCRIBE,
    HOOK_CREATE,
    HOOK_HISTORY,
    HOOK_PRESENCE,
    HOOK_MESSAGE,      /* on the sender's shard, after the values were checked */
    HOOK_CONVERSATION, /* on the conversation's owner shard, before it is stored */
    HOOK_DELIVERED,
    HOOK_CLOSE,
    HOOK_EVENTS
};

enum hook_verdict { HOOK_PASS, HOOK_ACCEPT, HOOK_REJECT, HOOK_DROP };

/* What a hook sees and may change. Fields that an event does not have are empty. */
struct hook_call {
    struct shard *shard;
    struct slice user, user_name; /* who acts */
    struct slice channel, peer;   /* about what */
    struct slice content;         /* message, conversation: may be replaced by a slice that outlives the call */
    uint32_t members;             /* channel */
    struct bucket *bucket;        /* message: the user's; conversation: the conversation's */
    bool repeat_possible;         /* there is a clientId: a rejection is withdrawn when it turns out to be a repeat */
    /* verdict */
    enum code code; /* HOOK_REJECT */
    uint32_t retry_after_ms;
    const char *message; /* HOOK_REJECT: static */
    bool over_limit;     /* conversation: accepted, but over its limit (policy "complete") */
};

typedef enum hook_verdict (*hook_fn)(struct hook_call *h, void *ctx);

/* Higher priority runs first; the first verdict that is not HOOK_PASS wins. ERR_NOMEM. */
MUST_CHECK int hook_register(struct hub *hub, enum hook_event event, int priority, hook_fn fn, void *ctx);
enum hook_verdict hooks_run(const struct hub *hub, enum hook_event event, struct hook_call *h);
void hooks_free(struct hook_table *t);

/* --- What is built in: each registers its own. --- */
MUST_CHECK int act_login_register(struct hub *hub);
MUST_CHECK int act_send_register(struct hub *hub);
MUST_CHECK int act_channel_register(struct hub *hub);
MUST_CHECK int act_history_register(struct hub *hub);
MUST_CHECK int act_inbox_register(struct hub *hub);
MUST_CHECK int act_people_register(struct hub *hub);
MUST_CHECK int policy_register(struct hub *hub);

#endif
