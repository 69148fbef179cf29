/*
 * Hooks: who may change the hub's mind. Registered like actions, through a draft of the tables (tables.h); run on shard
 * threads.
 */
#ifndef MAGPIE_HUB_HOOK_H
#define MAGPIE_HUB_HOOK_H

#include "core/base/err.h"
#include "core/base/slice.h"
#include "core/hub/registry/code.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stdint.h>

struct bucket;
struct hub;
struct shard;
struct tables;

/* With the fields of struct hook_call that each has, beside `shard`. */
enum hook_event {
    HOOK_CONNECT, /* conn, ip, websocket, secure. Reject closes the connection (kicked) */
    /* conn, ip, websocket, secure, user_name, token, device, claims, user (of a valid resume token, or whom the
     * provider names). Accept ends the chain. After the provider of auth.mode has let it in; also when a login is
     * renewed */
    HOOK_LOGIN,
    HOOK_SUBSCRIBE,   /* user, channel, members, restored. On the channel's owner shard; restored ones on the user's */
    HOOK_UNSUBSCRIBE, /* user, channel, members. On the channel's owner shard; the verdict counts for nothing */
    HOOK_CREATE,      /* user, channel: before a new channel, before HOOK_SUBSCRIBE. Accept beats channels.create */
    HOOK_HISTORY,     /* user, channel | peer */
    HOOK_PRESENCE,    /* user */
    /* user, user_name, channel | peer, content, bucket, repeat_possible. On the sender's shard, after the values
     * were checked; content may be replaced with hook_set_content() */
    HOOK_MESSAGE,
    /* user, user_name, channel | peer, content, members, rate, tier, bucket, repeat_possible. On the owner shard,
     * before it is stored; may advise (push, tier, keep) */
    HOOK_CONVERSATION,
    /* user, user_name, channel | peer, content, id, seq, created_ms. On the owner shard, after it was stored,
     * answered and published; the verdict counts for nothing */
    HOOK_DELIVERED,
    /* conn, ip, websocket, secure, user, user_name, device: after the answer; the verdict counts for nothing */
    HOOK_LOGGED_IN,
    /* conn, user, user_name (empty before login), message (the reason's name); the verdict counts for nothing */
    HOOK_CLOSE,
    /* user, user_name, channel | peer, content, id, seq, created_ms, members, receivers: those without a connection of
     * a message that was stored and pushed (talk/offline.h). On the owner shard; the verdict counts for nothing */
    HOOK_OFFLINE,
    /* user, user_name, channel | peer, seq, and of an edit content: before it is done, on the asker's shard; an edit
     * has passed HOOK_MESSAGE by then. Reject and drop as there; an edit's content may be replaced */
    HOOK_EDIT,
    HOOK_RECALL,
    /* The same with id, members, and of an edit edited_ms: it is stored, answered and published. On the owner shard;
     * the verdict counts for nothing */
    HOOK_EDITED,
    HOOK_RECALLED,
    /* user, user_name, channel, members, message (how: "joined", "left", "kicked", "banned", "closed"): a membership
     * has begun or ended. On the channel's owner shard; the verdict counts for nothing */
    HOOK_MEMBER,
    /* user, user_name, message (what: "made", "renamed", "deleted"). On the user's shard, when it is stored; the
     * verdict counts for nothing */
    HOOK_USER,
    HOOK_EVENTS
};
/* "connect" … "recalled". */
const char *hook_event_name(enum hook_event event);

enum hook_verdict {
    HOOK_PASS,
    HOOK_ACCEPT,
    HOOK_REJECT,
    HOOK_DROP,
    HOOK_LATER /* it has called hook_later(): hook_wait.h */
};

struct hook_wait;

/* What a hook sees and may change. Fields that an event does not have are empty. All slices are borrowed for the
 * call. */
struct hook_call {
    struct shard *shard;
    enum hook_event event;        /* set by hooks_run() */
    uint32_t conn;                /* index on the shard; NONE where there is none */
    struct slice user, user_name; /* who acts */
    struct slice channel, peer;   /* about what */
    struct slice content;
    struct slice token, device, ip;
    struct slice claims;   /* of `user`, by its connection's login: a JSON object; empty: none */
    bool websocket;        /* else TCP */
    bool secure;           /* by TLS */
    bool restored;         /* subscribe: at login, not asked for anew */
    uint32_t members;      /* channel */
    float rate;            /* conversation: messages a second, lately */
    enum store_tier tier;  /* conversation */
    struct bucket *bucket; /* message: the user's (NULL when it has no connection); conversation: the conversation's */
    bool edit;             /* message, conversation: not a new one, but another content for that of `seq` */
    uint64_t edited_ms;    /* edited */
    bool repeat_possible;  /* there is a clientId: a rejection is withdrawn when it turns out to be a repeat */
    uint64_t id, seq, created_ms;  /* delivered */
    struct slice pair[2];          /* recalled by the server itself, in a private conversation: both users' ids */
    const struct slice *receivers; /* offline: user ids, receiver_count */
    uint32_t receiver_count;
    /* verdict */
    enum code code;          /* HOOK_REJECT */
    uint32_t retry_after_ms; /* of CODE_RATE_LIMITED, or of a refusal that ends by itself; 0: not known */
    /* HOOK_REJECT: for people; must live until the next hook runs on this shard: static, or hook_text() */
    const char *message;
    bool may_wait;          /* set by who runs the chain: HOOK_LATER is understood */
    struct hook_wait *wait; /* of the hook that returned HOOK_LATER */
    /* Tokens that hooks took from buckets of their own, on the sender's or the conversation's shard: other nodes are
     * told, and take the same. More than that is not told. */
    struct hook_take {
        uint64_t bucket; /* its name, the same on all nodes */
        float n;
    } takes[4];
    unsigned take_count;
    bool charged; /* a token of `bucket` was taken: it is given back when the send turns out to be a repeat */
    /* A hook that took a token elsewhere: called on this shard, when the send turns out to be a repeat, with
     * refund_what. NULL: nothing. */
    void (*refund)(struct shard *s, uint64_t refund_what);
    uint64_t refund_what;
    /* conversation: advice. Each part is set by the first hook that has an opinion; hooks go on after it. */
    struct hook_advice {
        bool has_push;       /* channel: the next four count */
        enum push_mode mode; /* for subscriptions without a mode of their own; MODE_DEFAULT: the tier's */
        uint32_t slice_ms;   /* of merged slices; 0: push.slice_ms */
        uint32_t slice_max;  /* of them, messages; 0: push.max */
        bool over_limit;     /* policy "complete": in slices for mode `all` too */
        bool has_tier;       /* channel: the tier from this message on */
        enum store_tier tier;
        bool has_keep;     /* the next two count */
        uint64_t ttl_ms;   /* this message's time to live; 0: the tier's */
        uint32_t keep_max; /* the conversation's messages; 0: the tier's */
    } advice;
};

typedef enum hook_verdict (*hook_fn)(struct hook_call *h, void *ctx);

struct hook {
    enum hook_event event;
    int priority; /* higher runs first; equal ones in the order of registration */
    hook_fn fn;
    void *ctx;
    const void *owner;  /* who registered it, for tables_remove(); NULL: built in */
    const char *script; /* whose it is, for people; must live as long as it is registered; NULL: no script's */
};

/* Into the draft. ERR_NOMEM. */
MUST_CHECK int hook_register(struct hub *hub, const struct hook *hook);
/* Runs the hooks of the shard's tables; the first verdict that is not HOOK_PASS wins. HOOK_LATER only with may_wait;
 * then see hook_wait.h. */
enum hook_verdict hooks_run(enum hook_event event, struct hook_call *h);

/* Where in a chain a hook stands; the tables may change while it waits. */
struct hook_place {
    int priority;
    hook_fn fn;
    void *ctx;
};
/* Runs the hooks behind that one; where it is no more, those of lower priority. */
enum hook_verdict hooks_run_behind(const struct hook_place *place, struct hook_call *h);
/* Whether there is any: what costs something to prepare can be left out. */
bool hooks_any(const struct shard *s, enum hook_event event);

/* Copies into memory of the shard that lives until the next call on it. Out of memory: returns false (content), a
 * static text (hook_text). */
bool hook_set_content(struct hook_call *h, struct slice content);
const char *hook_text(struct shard *s, struct slice text);
/* Who takes tokens that a hook took on another node: `charge` is called on the shard where that hook would have run.
 * Before hub_start(). */
void hook_set_charge(struct hub *hub, void (*charge)(struct shard *s, uint64_t bucket, double n));

#endif
