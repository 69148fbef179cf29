/*
 * magpie_plugin.h: the plugin ABI of Magpie, version 1. The only header that a plugin includes; it needs the C library
 * alone.
 *
 * A plugin is a shared object NAME.so that exports one symbol, `const struct mp_plugin magpie_plugin`: what it is
 * called, which options it takes, and the functions of its life. The server hands it a table of functions,
 * `struct mp_api`. docs/plugins.md has a plugin in ten minutes; plugins/echo is a real one to copy.
 *
 * LIFE
 *     check(mp, NULL, options)          may these options be used? Also by `magpied -t`, where nothing else is called
 *     init(self, mp, options)           main thread; the only place to register hooks, actions, routes, commands …
 *     shard_init(state, shard)          on every shard's thread, before anything registered is called there
 *        … hooks, actions, timers, routes …
 *     check(mp, state, options), apply(state, options)     at a reload, when config and all checks are good
 *        … unloading: what was registered is taken back; connections of claimed paths are closed; then the server waits
 *          until timers, work, posts and operations that are under way have ended (`closing` tells the plugin,
 *          functions that would begin something new return MP_ECLOSED); requests that are still unanswered are
 *          answered `unavailable` …
 *     shard_fini(state, shard)          on every shard's thread, after everything else there
 *     fini(state)                       main thread, the last call but the drop of values in force
 * What init and shard_init post or give to workers begins when all of them have been right, and never if one fails;
 * operations (send, user …) return MP_EAGAIN there: post what is to do them. When init or a shard_init fails,
 * everything registered before is undone. Then shard_fini is called where shard_init had been right, and fini if init
 * had been.
 *
 * THREADS. The server has a main thread and a number of shards; each is an `mp_thread`. A callback runs on the thread
 * that it is given and must not block there: a shard serves thousands of connections. What blocks goes to `work`. Every
 * function says where it may be called:
 *     [main]  on the main thread        [here]  on the thread given as `here`, and with no other value
 *     [call]  inside the callback that was given its first argument
 *     [any]   anywhere, worker threads and the plugin's own included
 * Callbacks of one thread never overlap; those of different threads do, so what they share must be constant, atomic or
 * locked.
 *
 * OWNERSHIP. Texts and structs given to a function are borrowed until it returns: the server copies what it keeps.
 * Those given to a callback are borrowed until the callback returns. What is said to be owned by the plugin is freed
 * with the named function.
 *
 * ERRORS. Functions return 0 (or a number, where said) or a negative enum mp_err. An operation that returned 0 calls
 * `done` exactly once, later, never inside the call; one that returned an error never does.
 *
 * COMPATIBILITY. Within one major version structs and the table only grow at their ends. Structs that a plugin fills in
 * begin with `size`: set it to sizeof the struct and all else to zero that is not used. Structs without a `size` stay
 * as they are. A plugin that was built with a newer minor version than the server's is refused.
 */
#ifndef MAGPIE_PLUGIN_H
#define MAGPIE_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Structs are filled in by naming the fields that matter and leaving out the rest, which grows. C never warns of that;
 * g++ does, so for the files that include this header it is told not to, unless they define MP_WARN_MISSING_FIELDS. */
#if defined(__cplusplus) && defined(__GNUC__) && !defined(MP_WARN_MISSING_FIELDS)
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Casts that warn in neither language. */
#ifdef __cplusplus
#define MP_CAST(type, value) static_cast<type>(value)
#else
#define MP_CAST(type, value) ((type)(value))
#endif

#define MP_ABI_MAJOR 1
#define MP_ABI_MINOR 4

/* --- Values ------------------------------------------------------------------------------------------------------- */

/* Bytes: not NUL-terminated, borrowed. Texts are valid UTF-8 where the protocol says so. */
struct mp_str {
    const char *p; /* may be NULL when n is 0 */
    size_t n;      /* bytes */
};

enum mp_err {
    MP_OK = 0,
    MP_ENOMEM = -1,    /* no memory; nothing was changed */
    MP_EINVALID = -2,  /* an argument is wrong, or this may not be called here or now */
    MP_ENOTFOUND = -3, /* no such thing */
    MP_EEXISTS = -4,   /* the number, name or path is taken */
    MP_EFULL = -5,     /* a limit is reached */
    MP_EIO = -6,       /* the operating system refused; errno tells more */
    MP_EAGAIN = -7,    /* not now: inside init() or shard_init() */
    MP_ECLOSED = -8    /* the plugin is being unloaded, or the other side is gone */
};

/* The protocol's answers (protocol.md, "Errors"). */
enum mp_code {
    MP_CODE_OK,
    MP_CODE_BAD_REQUEST,
    MP_CODE_UNKNOWN_ACTION,
    MP_CODE_UNAUTHORIZED,
    MP_CODE_FORBIDDEN,
    MP_CODE_NOT_FOUND,
    MP_CODE_TOO_LARGE,
    MP_CODE_QUOTA,
    MP_CODE_RATE_LIMITED,
    MP_CODE_UNAVAILABLE,
    MP_CODE_INTERNAL
};

enum mp_level { MP_DEBUG, MP_INFO, MP_WARN, MP_ERROR };
enum mp_tier { MP_TIER_DM, MP_TIER_SMALL, MP_TIER_LARGE };
enum mp_push { MP_PUSH_DEFAULT, MP_PUSH_ALL, MP_PUSH_MERGED, MP_PUSH_NONE };

typedef struct mp_self mp_self;       /* the plugin, as the server knows it: first argument of nearly everything */
typedef struct mp_thread mp_thread;   /* the main thread or a shard */
typedef struct mp_options mp_options; /* the plugin's options, checked against its schema */
typedef struct mp_call mp_call;       /* a client's request that waits for its answer */
typedef struct mp_http mp_http;       /* an HTTP request that waits for its answer */
typedef struct mp_command_call mp_command_call; /* a line of the console that waits for its answer */
typedef struct mp_json mp_json;                 /* a JSON value, read-only */
typedef struct mp_out mp_out;                   /* a growing text */
typedef struct mp_current mp_current;           /* the place of a value in force */
typedef struct mp_held mp_held;                 /* a value that was in force when it was asked for */

/* A connection by handle: it stays valid as a value when the connection is gone, and then finds nothing. A client's
 * connection gets another handle when it logs in (it moves to its user's shard). */
struct mp_conn {
    uint32_t shard, index, generation; /* index 0xffffffff: no connection */
};

struct mp_field {
    const char *key;    /* lower_snake_case */
    struct mp_str text; /* when text.p is not NULL */
    int64_t number;     /* else */
};

/* --- Options ------------------------------------------------------------------------------------------------------ */

enum mp_option_type {
    MP_OPT_TEXT,    /* min, and max when it is greater: length in bytes */
    MP_OPT_TEXTS,   /* a list of texts; with choices: each one of them */
    MP_OPT_NUMBER,  /* any number */
    MP_OPT_COUNT,   /* a whole number */
    MP_OPT_SIZE,    /* bytes, a whole number */
    MP_OPT_SECONDS, /* a duration */
    MP_OPT_MS,      /* a duration in milliseconds; by convention its name ends in _ms */
    MP_OPT_BOOL,
    MP_OPT_ENUM /* one of `choices`; read as text */
};

enum mp_option_flag {
    MP_OPT_F_REQUIRED = 1, /* must be given */
    MP_OPT_F_SECRET = 2,   /* its value is never shown or logged by the server */
    MP_OPT_F_RESTART =
        /* a reload cannot change it: a changed value is reported, and the old one stays until the plugin is loaded
         * anew */
    4
};

/* One option of plugins.load.NAME in the config. */
struct mp_option {
    const char *name; /* lower_snake_case */
    enum mp_option_type type;
    unsigned flags; /* enum mp_option_flag */
    double min,
        /* numbers: bounds, inclusive, when max > min; else no bounds but that sizes, counts and durations are not
         * negative */
        max;
    const char *const *choices; /* MP_OPT_ENUM, MP_OPT_TEXTS: NULL-terminated */
    /* the value when it is absent, as text: "10", "true", "mask"; NULL: absent text, empty list, 0, false */
    const char *fallback;
    const char *help; /* a sentence */
};

/* --- Hooks -------------------------------------------------------------------------------------------------------- */

/* With the fields of struct mp_event that each has, beside `shard`. */
enum mp_event_kind {
    MP_ON_CONNECT, /* conn, ip, websocket. Reject closes the connection */
    /* conn, ip, websocket, user_name, token, device, user (of a valid resume token, or whom the provider of auth.mode
     * names, which is asked before), claims. Also when a login is renewed */
    MP_ON_LOGIN,
    MP_ON_SUBSCRIBE,   /* user, channel, members, restored */
    MP_ON_UNSUBSCRIBE, /* user, channel, members; the verdict counts for nothing */
    MP_ON_CREATE,      /* user, channel: before a new channel is made. Accept beats channels.create of the config */
    MP_ON_HISTORY,     /* user, channel | peer */
    MP_ON_PRESENCE,    /* user */
    /* user, user_name, channel | peer, content: before it is stored, on the sender's shard; may set_content() */
    MP_ON_MESSAGE,
    /* user, user_name, channel | peer, content, members, rate, tier: on the shard that owns the conversation, where
     * all its messages pass; may advise() */
    MP_ON_CONVERSATION,
    /* user, user_name, channel | peer, content, id, seq, created_ms: it is stored, answered and pushed */
    MP_ON_DELIVERED,
    MP_ON_LOGGED_IN, /* conn, ip, websocket, user, user_name, device */
    MP_ON_CLOSE,     /* conn, user, user_name (empty before login), reason */
    /* Since 1.3. user, user_name, channel | peer, content, id, seq, created_ms, members, receivers: a message was
     * stored and pushed, and these receivers had no connection: the one of a private message, or members of a channel
     * of the tier small with 500 members at most, never its sender. The verdict counts for nothing */
    MP_ON_OFFLINE,
    /* Since 1.3. user, user_name, channel | peer, seq, and of an edit content, which set_content() may replace: a
     * sender asks to edit or to recall a message, on its shard. Reject and drop as for MP_ON_MESSAGE, which an edit has
     * passed by then with `edit` true, as it passes MP_ON_CONVERSATION after it */
    MP_ON_EDIT,
    MP_ON_RECALL,
    /* Since 1.3. The same with id, members, and of an edit edited_ms: it is stored, answered and pushed, on the shard
     * that owns the conversation. The verdict counts for nothing */
    MP_ON_EDITED,
    MP_ON_RECALLED,
    /* Since 1.3. user, user_name, channel, members, reason: a membership has begun ("joined") or ended ("left",
     * "kicked", "banned", "closed"), on the shard that owns the channel. The verdict counts for nothing */
    MP_ON_MEMBER,
    /* Since 1.3. user, user_name (empty where it is gone), reason: a user was "made", "renamed" or "deleted", on its
     * shard. The verdict counts for nothing */
    MP_ON_USER,
    MP_EVENTS
};

enum mp_verdict {
    MP_PASS,   /* no opinion: the next hook is asked */
    MP_ACCEPT, /* yes, and no further hook is asked */
    MP_REJECT, /* made by reject() */
    MP_DROP,   /* MP_ON_MESSAGE, MP_ON_CONVERSATION: answered as if it had been sent, and thrown away */
    MP_WAIT    /* since 1.3: made by later() */
};

/* What a hook sees. Filled in by the server; fields that an event does not have are empty. */
struct mp_event {
    uint32_t size;
    enum mp_event_kind kind;
    mp_thread *shard;              /* where this runs */
    struct mp_conn conn;           /* index 0xffffffff: none */
    struct mp_str user, user_name; /* who acts: id and name */
    struct mp_str channel, peer;   /* about what: a channel, or the other user of a private conversation */
    struct mp_str content;
    struct mp_str token, device, ip; /* never log a token */
    /* close: "kicked", "shutdown", "slow", "idle", "replaced", "protocol", "logout", "peer"; member, user: see there */
    struct mp_str reason;
    bool websocket;   /* else TCP */
    bool restored;    /* subscribe: at login, not asked for anew */
    uint32_t members; /* of the channel */
    double rate;      /* conversation: messages a second, lately */
    enum mp_tier tier;
    uint64_t id, seq, created_ms; /* of the message; mp_id_text() */
    /* since 1.3 */
    const struct mp_str *receivers; /* offline: user ids, receiver_count */
    uint32_t receiver_count;
    bool may_wait; /* later() can be called: a login, a subscription asked for anew, a message or edit of a user */
    bool edit;     /* message, conversation: another content for a message that was sent before */
    uint64_t edited_ms;
    /* What the authentication provider vouches for beside `user`, on the connection that acts: a JSON object; empty:
     * nothing. With login, subscribe, unsubscribe, create, history, presence, message, conversation, delivered,
     * logged_in, close */
    struct mp_str claims;
    struct mp_str pair[2]; /* recalled, where `user` is empty (an operator, the API): both users of the conversation */
    bool secure;           /* the connection is by TLS */
};

typedef enum mp_verdict (*mp_hook_fn)(struct mp_event *e, void *ctx);

/* Names something that waits for its answer; may be copied to any thread. */
struct mp_ticket {
    uint32_t shard, conn, generation;
};

/* The verdict of a hook that answers later (since 1.3). */
struct mp_hook_answer {
    uint32_t size;
    enum mp_verdict verdict; /* but MP_WAIT. MP_PASS: the hooks behind it are asked */
    enum mp_code code;       /* of MP_REJECT */
    uint32_t retry_after_ms; /* of MP_REJECT with MP_CODE_RATE_LIMITED */
    struct mp_str message;   /* of MP_REJECT: for people, UTF-8, cut to 95 bytes; empty: none */
    /* Of MP_PASS and MP_ON_MESSAGE: the message goes on with this content (UTF-8, 1 byte to limits.content; larger ones
     * are rejected as `internal`). Empty: as it is */
    struct mp_str content;
};

/* Advice of an MP_ON_CONVERSATION hook. Of each part the first hook that gives it counts. */
struct mp_advice {
    uint32_t size;
    bool has_push; /* channel: how it is pushed to subscriptions that have no mode of their own */
    enum mp_push push;
    uint32_t slice_ms; /* of merged slices; 0: the config's */
    uint32_t slice_max;
    bool has_tier; /* channel: the tier from this message on */
    enum mp_tier tier;
    bool has_keep; /* how long this message lives, and how many of the conversation are kept; 0: the tier's */
    uint64_t ttl_ms;
    uint32_t keep_max;
};

/* --- Authentication ----------------------------------------------------------------------------------------------- */

struct mp_login {
    uint32_t size;
    mp_thread *shard;
    struct mp_ticket ticket;
    struct mp_str name, token, device, ip; /* as the client gave them; empty: absent. Never log a token */
    bool websocket;
    /* since 1.3 */
    bool secure; /* the connection is by TLS */
};

struct mp_auth_answer {
    uint32_t size;
    /* MP_CODE_OK: in. Else the refusal: unauthorized, forbidden, rate_limited, unavailable, internal */
    enum mp_code code;
    uint32_t retry_after_ms; /* of MP_CODE_RATE_LIMITED */
    char message[96];        /* of a refusal, for people; NUL-terminated */
    char id[65];             /* in: the user's id, NUL-terminated: 1-64 bytes of A-Z a-z 0-9 _ . : -, not "system" */
    char name[65];           /* in: the user's name, NUL-terminated; empty: the client's, or the one known, or the id */
    /* since 1.3; milliseconds since 1970 */
    /* in: when the token was made; 0: not known. One from before the user's tokens were revoked (`kick … revoke`, a
     * ban, a logout) is `unauthorized` */
    uint64_t issued_ms;
    /* in: when the login ends: the connection is closed then ("kicked", "token expired"). 0: never. A login with an end
     * can be renewed on its connection, by a token of the same user that lasts longer */
    uint64_t expires_ms;
    /* in: what else is vouched for, a JSON object, NUL-terminated, to be seen by hooks and scripts; empty: nothing */
    char claims[4096];
};

enum mp_when {
    MP_NOW,  /* *answer is filled in */
    MP_LATER /* auth_finish() will be called with the ticket; the connection waits, timeouts.login goes on */
};

/* On the connection's shard. *answer comes zeroed, with its size. */
typedef enum mp_when (*mp_auth_fn)(const struct mp_login *l, struct mp_auth_answer *answer, void *ctx);

/* --- Actions, commands, metrics ----------------------------------------------------------------------------------- */

/* A request of a client with an action of the plugin's. */
struct mp_request {
    uint32_t size;
    mp_thread *shard;
    struct mp_conn conn;
    struct mp_str user, user_name; /* empty before login */
    uint16_t action;
    const mp_json *body;  /* an object */
    struct mp_str claims; /* since 1.3: of the connection, as in struct mp_event */
};

struct mp_action {
    uint32_t size;
    uint16_t number;   /* 1000-1999 */
    const char *name;  /* for people and metrics */
    bool before_login; /* allowed on a connection that has not logged in */
    /* On the connection's shard. `call` must be answered exactly once with answer() or answer_error(), here or later
     * from any thread. Until then the connection's further requests wait. */
    void (*handle)(mp_call *call, const struct mp_request *r, void *ctx);
    void *ctx;
};

struct mp_command {
    uint32_t size;
    const char *name;  /* one or two words: "filter reload" */
    const char *args;  /* for help: "WORD [seconds]"; NULL: none */
    const char *help;  /* one line */
    unsigned min, max; /* arguments; at most 16 */
    bool changes;      /* it changes something: who gave it is logged */
    /* Main thread. `call` must be ended exactly once with command_done() or command_fail(), here or later on the main
     * thread. */
    void (*run)(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx);
    void *ctx;
};

enum mp_metric_kind { MP_COUNTER, MP_GAUGE, MP_HISTOGRAM /* of the server's own alone */ };

/* By Prometheus's conventions: base units in the name, counters end in _total. */
struct mp_metric {
    uint32_t size;
    const char *name; /* [a-z0-9_], "magpie_filter_rejected_total" */
    const char *help;
    enum mp_metric_kind kind;
    double (*read)(void *ctx); /* main thread: the value; NULL: what count() added up */
    void *ctx;
};

/* Of a histogram: how many values were at most `le`. */
struct mp_metric_bucket {
    double le;
    uint64_t count;
};

struct mp_metric_value {
    uint32_t size;
    const char *name, *help;
    enum mp_metric_kind kind;
    double value; /* of a histogram: how many values it has seen */
    double sum;   /* what follows, of a histogram alone: of all values */
    /* ascending, and cumulative; the one without a bound, which holds all, is left out */
    const struct mp_metric_bucket *buckets;
    uint32_t bucket_count;
    /* Since 1.3: as they stand between the braces ("script=\"ratelimit\""); empty: none. A metric with labels is told
     * once for each value, one after the other. */
    const char *labels;
};

/* --- HTTP and WebSocket paths ------------------------------------------------------------------------------------- */

/* An HTTP request on the WebSocket port that a route of the plugin claimed. Valid until it is answered. */
struct mp_http_request {
    uint32_t size;
    struct mp_str method; /* "GET" */
    struct mp_str path;   /* as it came, undecoded, without the query */
    struct mp_str rest;   /* of a route that ends in "*": the part of the path that the star stands for */
    struct mp_str query;  /* behind the "?", undecoded */
    struct mp_str host;   /* of the Host field */
    struct mp_str bearer; /* of "Authorization: Bearer …"; empty: none. Never log it */
    struct mp_str body;   /* whole */
    struct mp_str ip;     /* of the other side, or "unix" */
    /* It came to a loopback address under a name that is not known to be this server's, perhaps from a web page whose
     * name was made to point here: answer 403, unless it shows a credential. Only a route with MP_ROUTE_F_ANY_HOST gets
     * such requests. */
    bool foreign;
    /* Since 1.3. It comes from this machine and, as far as anything in it tells, no proxy has handed it on. */
    bool local;
    bool metrics; /* since 1.3: it came to an address of listen.metrics */
    /* Since 1.3. The client spoke TLS: with the server, or with a trusted proxy (listen.proxy) that says so. */
    bool secure;
};

/* Flags of a route. */
enum {
    /* It asks for a credential, or looks at `foreign`: it also gets what the server would otherwise refuse by the Host
     * field (docs/plugins.md). */
    MP_ROUTE_F_ANY_HOST = 1,
    /* Since 1.3. It is served on the addresses of listen.metrics where the config names some, and then nowhere else. */
    MP_ROUTE_F_METRICS = 2
};

struct mp_route {
    uint32_t size;
    /* "GET", "POST" …; NULL: every method. A route of GET is asked for HEAD too (the server leaves out the body) */
    const char *method;
    /* "/metrics", or with a star at its end "/api/v1/" "*": everything that begins so. The longest match is taken */
    const char *path;
    uint32_t body_max; /* bytes of a request's body; more is answered 413 by the server. At most 16 MiB */
    /* On the connection's shard. `http` must be answered exactly once with http_answer(), here or later from any
     * thread. */
    void (*handle)(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx);
    void *ctx;
    uint32_t flags; /* MP_ROUTE_F_… */
};

struct mp_http_header {
    const char *name, *value; /* no line breaks; Content-Length, Connection and Date are the server's */
};

struct mp_http_answer {
    uint32_t size;
    unsigned status;                      /* 200 */
    const char *content_type;             /* NULL: none */
    const struct mp_http_header *headers; /* further ones */
    size_t header_count;
    struct mp_str body;
};

/* A path that the plugin claims for WebSocket upgrades: its connections are the plugin's, without login, limits.frame
 * or JSON. All functions are called on the connection's shard. */
struct mp_upgrade {
    uint32_t size;
    const char *path;     /* "/echo", exactly */
    uint32_t message_max; /* bytes of a message; larger ones close with 1009. At most 16 MiB */
    /* NULL: nothing to do. */
    void (*opened)(struct mp_conn conn, mp_thread *shard, void *ctx);
    /* A whole message, its fragments joined. `text`: valid UTF-8; else binary. */
    void (*message)(struct mp_conn conn, bool text, struct mp_str data, mp_thread *shard, void *ctx);
    /* The connection is gone. Exactly once for each that was opened. NULL: nothing to do. */
    void (*closed)(struct mp_conn conn, mp_thread *shard, void *ctx);
    void *ctx;
};

/* ---
 * Operations ----------------------------------------------------------------------------------------------------------
 * What an operation tells `done` begins with how it went. `done` runs on the thread given as `home`; NULL for `done`
 * where nobody wants to know. */

struct mp_result {
    uint32_t size;
    enum mp_code code;       /* MP_CODE_OK, or why not */
    uint32_t retry_after_ms; /* of MP_CODE_RATE_LIMITED, or of a mute that ends; 0: not known */
    const char *message;     /* for people; "" when it went well */
};

/* A message to a user or a channel. */
struct mp_send {
    uint32_t size;
    /* a user's id: every rule of the protocol holds, hooks included, as if that user had sent it. Empty: from
     * `system`, which goes past memberships, blocks and limits */
    struct mp_str sender;
    struct mp_str receiver; /* a user's id … */
    struct mp_str channel;  /* … or a channel's name */
    struct mp_str content;
    struct mp_str client_id; /* makes it idempotent; empty: it is not */
};
struct mp_sent {
    struct mp_result result;
    uint64_t id, seq, created_ms;
    bool duplicate; /* this client_id had been sent before: these are the first one's numbers */
};
typedef void (*mp_sent_fn)(mp_thread *here, const struct mp_sent *r, void *ctx);

/* A user joins a channel or leaves it. */
struct mp_member {
    uint32_t size;
    struct mp_str user, channel;
    bool leave;    /* else join */
    bool set_push; /* join: `push` is given */
    enum mp_push push;
    bool may_create; /* join: makes the channel when there is none */
};
struct mp_member_result {
    struct mp_result result;
    uint32_t members; /* now */
    bool existed;     /* was a member before */
};
typedef void (*mp_member_fn)(mp_thread *here, const struct mp_member_result *r, void *ctx);

struct mp_kick_result {
    struct mp_result result;
    uint32_t connections; /* closed */
};
typedef void (*mp_kick_fn)(mp_thread *here, const struct mp_kick_result *r, void *ctx);

struct mp_user {
    struct mp_result result; /* MP_CODE_NOT_FOUND: there never was one */
    struct mp_str id, name;
    uint32_t connections;          /* open now: 0 is offline; none on this node but some on others: 1 */
    uint32_t inbox;                /* messages that wait */
    const struct mp_str *channels; /* subscriptions */
    size_t channel_count;
};
typedef void (*mp_user_fn)(mp_thread *here, const struct mp_user *u, void *ctx);

/* A page of history, by the rules of protocol.md; no hook is asked and no membership is looked at: that is the plugin's
 * to decide. */
struct mp_range {
    uint32_t size;
    struct mp_str channel;  /* a channel … */
    struct mp_str users[2]; /* … or a pair of users */
    bool has_after, has_before;
    uint64_t after, before; /* exclusive seqs */
    uint32_t limit;         /* 1-1000 */
};
struct mp_message {
    uint64_t id, seq, created_ms;
    struct mp_str sender, sender_name, content;
    bool recalled; /* then content is empty */
};
struct mp_history {
    struct mp_result result;
    const struct mp_message *messages; /* ascending by seq */
    size_t n;
    uint64_t first, last; /* what is retained; both 0: nothing was ever sent */
    bool more;            /* in the direction asked */
    /* since 1.3 */
    const uint64_t *edited_ms; /* of each message: when its content was changed last; 0: never */
};
typedef void (*mp_history_fn)(mp_thread *here, const struct mp_history *h, void *ctx);

struct mp_person {
    struct mp_str id, name;
};
struct mp_members {
    struct mp_result result;        /* MP_CODE_NOT_FOUND: no such channel */
    const struct mp_person *people; /* by id, ascending */
    size_t n;
    bool more; /* ask again with the last id as cursor */
};
typedef void (*mp_members_fn)(mp_thread *here, const struct mp_members *m, void *ctx);

struct mp_channel {
    struct mp_result result; /* MP_CODE_NOT_FOUND: no such channel */
    uint64_t first, last;    /* seqs, as in struct mp_history */
    uint32_t members;
    enum mp_tier tier;
};
typedef void (*mp_channel_fn)(mp_thread *here, const struct mp_channel *c, void *ctx);

/* Since 1.3: moderation and accounts. What an operator may do; no hook is asked but by an edit. */

/* How an operation went that tells nothing else. */
typedef void (*mp_done_fn)(mp_thread *here, const struct mp_result *r, void *ctx);

/* A message to be recalled: whoever sent it, whenever. */
struct mp_recall {
    uint32_t size;
    struct mp_str channel;  /* of a channel … */
    struct mp_str users[2]; /* … or of a pair of users */
    uint64_t seq;
};

/* A message to be edited, by every rule of the protocol, as if `sender` had asked. */
struct mp_edit {
    uint32_t size;
    struct mp_str sender;
    struct mp_str peer;    /* the other one of a pair … */
    struct mp_str channel; /* … or a channel */
    uint64_t seq;
    struct mp_str content;
};
struct mp_edited {
    struct mp_result result;
    uint64_t edited_ms; /* 0: a hook dropped it */
};
typedef void (*mp_edited_fn)(mp_thread *here, const struct mp_edited *r, void *ctx);

struct mp_token {
    struct mp_result result; /* MP_CODE_FORBIDDEN: auth.mode is not "open" */
    struct mp_str token;     /* a secret: never log it */
};
typedef void (*mp_token_fn)(mp_thread *here, const struct mp_token *t, void *ctx);

struct mp_deleted {
    struct mp_result result;
    uint32_t connections; /* user: closed */
    uint32_t memberships; /* ended */
    uint64_t recalled;    /* user: messages */
};
typedef void (*mp_deleted_fn)(mp_thread *here, const struct mp_deleted *r, void *ctx);

enum mp_ban_kind {
    MP_BAN_USER,    /* user: logins are refused, tokens end */
    MP_BAN_IP,      /* ip: "192.0.2.1", "192.0.2.0/24", "2001:db8::/32" */
    MP_BAN_MEMBER,  /* user, channel: the membership ends, subscribing is refused */
    MP_MUTE_USER,   /* user: sends are refused everywhere */
    MP_MUTE_MEMBER, /* user, channel: … in that channel */
    MP_BAN_KINDS
};
/* A ban or mute that is made, replaced or lifted. */
struct mp_ban {
    uint32_t size;
    enum mp_ban_kind kind;
    struct mp_str user, channel, ip;
    struct mp_str reason; /* for people, of MP_BAN_USER and MP_BAN_IP; 256 bytes at most */
    uint64_t seconds;     /* 0: until it is lifted */
    bool lift;            /* MP_CODE_NOT_FOUND: there was none */
};
struct mp_ban_result {
    struct mp_result result;
    uint32_t connections; /* MP_BAN_USER, MP_BAN_IP: closed */
    bool ended;           /* MP_BAN_MEMBER: a membership was ended */
};
typedef void (*mp_ban_fn)(mp_thread *here, const struct mp_ban_result *r, void *ctx);

struct mp_ban_entry {
    enum mp_ban_kind kind;
    struct mp_str user, channel, ip, reason;
    uint64_t until_ms; /* since 1970; UINT64_MAX: until it is lifted */
};
struct mp_bans {
    struct mp_result result;
    const struct mp_ban_entry *bans; /* in no order that means something */
    size_t n;
    bool more; /* ask again with `next` as cursor */
    uint32_t next;
};
typedef void (*mp_bans_fn)(mp_thread *here, const struct mp_bans *b, void *ctx);

/* What an operator sets for one channel. */
struct mp_rule {
    uint32_t size;
    struct mp_str channel;
    bool set_tier, set_push, set_limit, set_closed; /* what of the following is to be set; none: it is read */
    enum mp_tier tier;                              /* MP_TIER_DM: by the number of members */
    enum mp_push push; /* of subscriptions without their own; MP_PUSH_DEFAULT: the tier's */
    bool limited;      /* `limit` messages a second, 0 for none; else the config's */
    uint32_t limit;
    bool closed; /* nobody may subscribe; who is in it stays */
};
struct mp_rule_result {
    struct mp_result result;
    enum mp_tier tier; /* as it is now, all of it */
    enum mp_push push;
    bool limited;
    uint32_t limit;
    bool closed;
};
typedef void (*mp_rule_fn)(mp_thread *here, const struct mp_rule_result *r, void *ctx);

/* All users, or all channels, that are stored; in the bytewise order of ids. In a cluster they are in no order, and one
 * may come twice. */
struct mp_scan {
    uint32_t size;
    bool channels;        /* else users */
    struct mp_str prefix; /* ids that begin so; empty: all */
    struct mp_str cursor; /* `next` of the page before; empty: from the start */
    uint32_t limit;       /* 1-1000 */
};
struct mp_scanned_one {
    struct mp_str id;   /* a user's id, a channel's name */
    struct mp_str name; /* users */
    bool guest;         /* users */
    uint32_t members;   /* channels */
    uint64_t last;      /* channels: the newest seq */
    enum mp_tier tier;  /* channels */
};
struct mp_scanned {
    struct mp_result result;
    const struct mp_scanned_one *list;
    size_t n; /* may be less than the limit, or 0, although there is more */
    bool more;
    struct mp_str next;
};
typedef void (*mp_scanned_fn)(mp_thread *here, const struct mp_scanned *r, void *ctx);

/* Since 1.3. How a line of the console went. */
struct mp_console_result {
    uint32_t size;
    const char *code;    /* NULL: it was done. Else as the console tells it: "not_found", "bad_request" … */
    const char *message; /* of an error, for people; else "" */
    struct mp_str json; /* one JSON value: what `json LINE` answers at the console; of an error its details, or empty */
};
typedef void (*mp_console_fn)(mp_thread *here, const struct mp_console_result *r, void *ctx);

/* Since 1.4. What the plugin of another node has answered. */
struct mp_node_answer {
    unsigned node;      /* its number */
    bool given;         /* false: it has not answered in time, or has nobody to answer */
    struct mp_str body; /* borrowed, as all here */
};
typedef void (*mp_node_answers_fn)(mp_thread *here, const struct mp_node_answer *answers, size_t n, void *ctx);
/* The plugin of another node asks: what is put into `answer` is what it gets, of 256 KiB at most. */
typedef void (*mp_node_asked_fn)(mp_thread *here, struct mp_str body, mp_out *answer, void *ctx);

typedef void (*mp_thread_fn)(mp_thread *here, void *ctx);
enum { MP_READ = 1, MP_WRITE = 2 };
typedef void (*mp_io_fn)(mp_thread *here, int fd, unsigned events, void *ctx);

/* --- The server's functions --------------------------------------------------------------------------------------- */

struct mp_hook {
    uint32_t size;
    enum mp_event_kind event;
    int priority;  /* higher runs first; the shipped scripts have 0 */
    mp_hook_fn fn; /* on a shard */
    void *ctx;
};

struct mp_api {
    uint32_t size;                 /* of this table, as the server has it */
    uint16_t abi_major, abi_minor; /* the server's */
    const char *server_version;

    /* --- Log, memory ---------------------------------------------------------------------------------------------- */

    /* [any] A line of the log: `event` ("rejected") is put behind the plugin's name ("filter.rejected"). Never secrets
     * or message content. Each event is limited to 20 lines a second. */
    void (*log)(mp_self *self, enum mp_level level, const char *event, const struct mp_field *fields, size_t n);
    /* [any] Memory, zeroed, counted to the plugin and shown in `plugin info`; NULL: none left. alloc(…, NULL, n) makes,
     * alloc(…, p, n) resizes (what is added is not zeroed), alloc(…, p, 0) frees and returns NULL. The C library's own
     * functions may be used too. */
    void *(*alloc)(mp_self *self, void *p, size_t n);
    /* [any] True once the plugin is being unloaded: work that takes long should look at it and end soon. */
    bool (*closing)(mp_self *self);

    /* --- Options and config --------------------------------------------------------------------------------------- */

    /* [main] A value of the plugin's options, the fallback where it is absent. Texts are valid as long as `options`
     * are: in check() and init() until they return, after apply() until the next apply() returns. */
    const char *(*option_text)(const mp_options *options, const char *name); /* NULL: absent. TEXT, ENUM */
    double (*option_number)(const mp_options *options, const char *name);    /* every kind of number */
    bool (*option_bool)(const mp_options *options, const char *name);
    const char *(*option_item)(const mp_options *options, const char *name,
                               unsigned i); /* the i-th text of TEXTS; NULL at the end */
    /* [main] A value of the server's config by its path, "limits.content": text as text, numbers in digits, booleans as
     * "true", "false". The length, cut to what `out` holds (which is NUL-terminated); MP_ENOTFOUND: no such value, a
     * list, or a secret. */
    int (*config)(mp_self *self, const char *path, char *out, size_t size);
    /* [main] The plugin's own directory below the server's data directory, made when it is not there (mode 0700).
     * MP_EIO; MP_EFULL: `size` is too small. */
    int (*data_dir)(mp_self *self, char *out, size_t size);

    /* --- Registering: [main], inside init() only. MP_EEXISTS, MP_EINVALID, MP_EFULL, MP_ENOMEM -------------------- */

    int (*hook)(mp_self *self, const struct mp_hook *h);
    int (*action)(mp_self *self, const struct mp_action *a);
    /* The provider of the auth.mode that the plugin's description names (mp_plugin.auth_mode). */
    int (*auth)(mp_self *self, mp_auth_fn ask, void *ctx);
    int (*command)(mp_self *self, const struct mp_command *c);
    /* Returns the metric's number. */
    int (*metric)(mp_self *self, const struct mp_metric *m);
    int (*route)(mp_self *self, const struct mp_route *r);
    int (*upgrade)(mp_self *self, const struct mp_upgrade *u);

    /* --- Verdicts: [call] of a hook ------------------------------------------------------------------------------- */

    /* Returns MP_REJECT. `message` is for people, copied; NULL: none. retry_after_ms: of MP_CODE_RATE_LIMITED. */
    enum mp_verdict (*reject)(struct mp_event *e, enum mp_code code, const char *message, uint32_t retry_after_ms);
    /* MP_ON_MESSAGE: the message goes on with this content (UTF-8, 1 byte to limits.content), e->content becomes it.
     * MP_EINVALID, MP_ENOMEM: unchanged. */
    int (*set_content)(struct mp_event *e, struct mp_str content);
    /* MP_ON_CONVERSATION. */
    int (*advise)(struct mp_event *e, const struct mp_advice *a);

    /* --- Answers: [any], exactly once for each. They free what they are given -------------------------------------
     * A second answer is refused and logged (plugin.answered_twice); nothing else happens. */

    /* Answers a login that waits. One that is gone is passed over. MP_ENOMEM: not answered, try again. MP_ENOTFOUND: it
     * was answered before; that is logged. */
    int (*auth_finish)(mp_self *self, struct mp_ticket ticket, const struct mp_auth_answer *answer);
    /* `body`: a JSON object; empty: {}. A body that is none is answered `internal`. */
    void (*answer)(mp_call *call, struct mp_str body);
    void (*answer_error)(mp_call *call, enum mp_code code, const char *message, uint32_t retry_after_ms);
    void (*http_answer)(mp_http *http, const struct mp_http_answer *a);
    /* [main] */
    void (*command_done)(mp_command_call *call);
    void (*command_fail)(mp_command_call *call, const char *code, const char *message);
    /* [main] Where a command writes its answer, one JSON value: a string is shown as its lines, an object as "key:
     * value" lines, an array of objects as a table. The call's own: not to be freed. */
    mp_out *(*command_out)(mp_command_call *call);

    /* --- Reading an HTTP request: [any], until it is answered ----------------------------------------------------- */

    /* The value of the first header field of that name, its case aside; p is NULL when there is none. */
    struct mp_str (*http_header)(const mp_http *http, const char *name);
    /* A parameter of the query, decoded. The length (out is NUL-terminated); MP_ENOTFOUND; MP_EINVALID: no valid UTF-8,
     * or a NUL in it; MP_EFULL: longer than size - 1. */
    int (*http_param)(const mp_http *http, const char *name, char *out, size_t size);
    /* Undoes %XX. As http_param(). */
    int (*url_decode)(struct mp_str s, char *out, size_t size);

    /* --- Threads, timers, work ------------------------------------------------------------------------------------ */

    /* [any] */
    mp_thread *(*main_thread)(mp_self *self);
    unsigned (*shard_count)(mp_self *self);
    mp_thread *(*shard)(mp_self *self, unsigned i);
    int (*thread_index)(const mp_thread *t); /* of a shard; -1: main */
    /* [any] The shard that a user or a channel belongs to. */
    mp_thread *(*user_shard)(mp_self *self, struct mp_str id);
    mp_thread *(*channel_shard)(mp_self *self, struct mp_str name);
    /* [here] What shard_init() stored for this shard. */
    void *(*local)(mp_self *self, mp_thread *here);
    /* [any] Runs fn on a thread, in the order posted, never inside this call. MP_ECLOSED, MP_ENOMEM. */
    int (*post)(mp_self *self, mp_thread *to, mp_thread_fn fn, void *ctx);
    /* [here] Runs fn on this thread after first_ms, then each every_ms (0: once). *timer (may be NULL): its number.
     * MP_ECLOSED, MP_ENOMEM. */
    int (*timer)(mp_self *self, mp_thread *here, uint64_t first_ms, uint64_t every_ms, mp_thread_fn fn, void *ctx,
                 uint64_t *timer);
    /* [here] One that has fired once and for all, or is unknown, is passed over. */
    void (*timer_stop)(mp_self *self, mp_thread *here, uint64_t timer);
    /* [any] Runs run(ctx) on a worker thread, where it may block, and then done(home, ctx). The order of several is not
     * kept. Few plugins' works run at a time, and of each plugin four at most. MP_ECLOSED, MP_ENOMEM, MP_EIO. */
    int (*work)(mp_self *self, void (*run)(void *ctx), mp_thread *home, mp_thread_fn done, void *ctx);
    /* [here] Watches a descriptor of the plugin's (a listener or connection of its own protocol) on this thread.
     * io_stop() before closing it. Unloading stops it before shard_fini() and fini(), which close it. Returns
     * MP_ECLOSED, MP_ENOMEM, MP_EINVALID. */
    int (*io)(mp_self *self, mp_thread *here, int fd, unsigned events, mp_io_fn fn, void *ctx, uint64_t *io);
    int (*io_change)(mp_self *self, mp_thread *here, uint64_t io, unsigned events);
    void (*io_stop)(mp_self *self, mp_thread *here, uint64_t io);
    /* [any] Milliseconds: since 1970, for people (see date_ms()); and of a clock that never jumps. */
    uint64_t (*wall_ms)(void);
    uint64_t (*mono_ms)(void);

    /* --- Users, channels, messages: [any] ------------------------------------------------------------------------- */

    int (*send)(mp_self *self, const struct mp_send *s, mp_thread *home, mp_sent_fn done, void *ctx);
    int (*member)(mp_self *self, const struct mp_member *m, mp_thread *home, mp_member_fn done, void *ctx);
    /* Closes a user's connections (reason "kicked", `message` in push 105). revoke: no token given so far works any
     * more. */
    int (*kick)(mp_self *self, struct mp_str user, struct mp_str message, bool revoke, mp_thread *home, mp_kick_fn done,
                void *ctx);
    int (*user)(mp_self *self, struct mp_str id, mp_thread *home, mp_user_fn done, void *ctx);
    int (*range)(mp_self *self, const struct mp_range *r, mp_thread *home, mp_history_fn done, void *ctx);
    /* `cursor`: the last id of the page before; empty: from the start. limit: 1-1000. */
    int (*members)(mp_self *self, struct mp_str channel, struct mp_str cursor, uint32_t limit, mp_thread *home,
                   mp_members_fn done, void *ctx);
    int (*channel)(mp_self *self, struct mp_str name, mp_thread *home, mp_channel_fn done, void *ctx);
    /* A push (action 1000-1999) with a JSON object to every connection of a user, or to one connection. Without an
     * answer. */
    int (*push_user)(mp_self *self, struct mp_str user, uint16_t action, struct mp_str body);
    int (*push_conn)(mp_self *self, struct mp_conn conn, uint16_t action, struct mp_str body);
    /* Push 106 to every connection of this server. */
    int (*announce)(mp_self *self, struct mp_str content);
    /* Closes one connection (reason "kicked"). */
    int (*close_conn)(mp_self *self, struct mp_conn conn, struct mp_str message);

    /* --- Connections of claimed paths (struct mp_upgrade): [any]; copies. MP_ECLOSED: it is gone (when that can be
     * told here) */

    int (*ws_send)(mp_self *self, struct mp_conn conn, bool text, struct mp_str data);
    /* code: 1000, 1001, 1003, 1007-1011, 3000-4999. */
    int (*ws_close)(mp_self *self, struct mp_conn conn, uint16_t code, struct mp_str reason);

    /* --- Metrics -------------------------------------------------------------------------------------------------- */

    /* [any] Adds to a metric that has no `read`; `here` is the calling thread, NULL on threads of the plugin's own and
     * worker threads. */
    void (*count)(mp_self *self, mp_thread *here, int metric, int64_t n);
    /* [main] Every metric of the server, scripts and plugins. */
    void (*metrics_each)(mp_self *self, void (*fn)(void *ctx, const struct mp_metric_value *m), void *ctx);

    /* --- JSON: [any] ---------------------------------------------------------------------------------------------- */

    /* Strict (RFC 8259, UTF-8, no duplicate keys, depth 32, no \u0000 and no lone surrogates in texts). NULL: *why
     * (may be NULL) says what is wrong, static. Freed with json_free(); parts of it are not. An integer beyond 2^53
     * may stand in a member that nobody asks for; json_int() takes it for none. */
    mp_json *(*json_parse)(struct mp_str text, const char **why);
    void (*json_free)(mp_json *v);
    const mp_json *(*json_get)(const mp_json *object, const char *key); /* NULL: absent or null, or no object */
    const mp_json *(*json_at)(const mp_json *array, unsigned i);        /* NULL at the end, or no array */
    /* Members: 1: present and right; 0: absent or null; MP_EINVALID: of another type. Texts are borrowed from the
     * value. */
    int (*json_text)(const mp_json *object, const char *key, struct mp_str *out);
    int (*json_int)(const mp_json *object, const char *key, int64_t *out);
    int (*json_bool)(const mp_json *object, const char *key, bool *out);
    bool (*json_string)(const mp_json *v, struct mp_str *out); /* the value itself; false: it is no string */

    /* --- Growing texts: [any], one thread at a time --------------------------------------------------------------- */

    /* Without memory everything after is passed over and out_str() is empty with p NULL. */
    mp_out *(*out_new)(mp_self *self);
    void (*out_free)(mp_out *o);
    void (*out_put)(mp_out *o, struct mp_str s);
    void (*out_printf)(mp_out *o, const char *fmt, ...)
#ifdef __GNUC__
        __attribute__((format(printf, 2, 3)))
#endif
        ;
    /* A JSON string, quotes included. */
    void (*out_json)(mp_out *o, struct mp_str s);
    void (*out_reset)(mp_out *o);
    struct mp_str (*out_str)(const mp_out *o); /* borrowed until the next change */

    /* --- Values in force (since 1.1) ------------------------------------------------------------------------------
     * A value that callbacks on every thread read and the main thread replaces: keys, rules, words. Readers take no
     * lock and see a new value at once; the one before is dropped when none of them can have it any more. For a reload
     * that is exact: check() prepares the new value and tells what is wrong with it, apply() commits it and cannot
     * fail. */

    /* [main] Inside init() only; taken back at the end. `drop` frees a value, on the main thread. It is called for what
     * is left after fini() too, so it must need nothing but the value. NULL: no memory, or not inside init(). */
    mp_current *(*current_new)(mp_self *self, void (*drop)(void *value));
    /* [main] Makes everything ready for current_commit(); another that was prepared is dropped. Owns the value from now
     * on, also when it fails: MP_ENOMEM. MP_EINVALID: value is NULL. */
    int (*current_prepare)(mp_current *c, void *value);
    /* [main] Brings what was prepared into force: every callback that begins later sees it. Nothing prepared: nothing
     * happens. */
    void (*current_commit)(mp_current *c);
    /* [here] The value in force; NULL: there was none yet. Borrowed until the callback returns; never to be changed.
     * Not for worker threads. */
    void *(*current_get)(mp_current *c, mp_thread *here);
    /* [here] The same for longer: works, and answers that come later. NULL: there was none yet. */
    mp_held *(*current_hold)(mp_current *c, mp_thread *here);
    /* [any] Of a held value: itself; whether it is still in force; that it is no longer needed (exactly once, fini() at
     * the latest). */
    void *(*held_value)(const mp_held *held);
    bool (*held_in_force)(const mp_held *held);
    void (*held_release)(mp_held *held);

    /* --- Since 1.2 ------------------------------------------------------------------------------------------------ */

    /* [any] Milliseconds since 1970, as wall_ms(), but for decisions: a wall clock that jumps by mistake does not move
     * it. For comparing with dates that other machines have written. */
    uint64_t (*date_ms)(mp_self *self);

    /* --- Since 1.3 ------------------------------------------------------------------------------------------------ */

    /* [call] Of a hook with e->may_wait: its verdict comes later, by hook_finish(). Returns MP_WAIT, which the hook
     * must return, and fills in *ticket; or MP_PASS when that cannot be (e->may_wait is false, no memory). Meanwhile
     * the connection's next requests wait; `e` is not valid any more. When the connection goes meanwhile, nothing of
     * what was asked takes effect; the answer is owed all the same. */
    enum mp_verdict (*later)(struct mp_event *e, struct mp_ticket *ticket);
    /* [any] The verdict. MP_ENOMEM: not answered, try again. MP_EINVALID: not answered, `answer` is wrong.
     * MP_ENOTFOUND: it was answered before; that is logged. */
    int (*hook_finish)(mp_self *self, struct mp_ticket ticket, const struct mp_hook_answer *answer);
    /* [any] A JSON value as text, without blanks. */
    void (*json_put)(mp_out *o, const mp_json *v);

    /* [any] Recalls any message; MP_CODE_NOT_FOUND: there is none (any more). */
    int (*recall)(mp_self *self, const struct mp_recall *r, mp_thread *home, mp_done_fn done, void *ctx);
    int (*edit)(mp_self *self, const struct mp_edit *e, mp_thread *home, mp_edited_fn done, void *ctx);
    /* [any] Makes a user before its first login; name empty: the id. MP_CODE_FORBIDDEN: there is one of that id. */
    int (*user_add)(mp_self *self, struct mp_str id, struct mp_str name, mp_thread *home, mp_done_fn done, void *ctx);
    /* [any] A token with which a client logs in as that user. */
    int (*user_token)(mp_self *self, struct mp_str id, mp_thread *home, mp_token_fn done, void *ctx);
    /* [any] Takes a user away for good. Its messages stay without its name, or are recalled. `done` comes when all is
     * done; what is interrupted goes on after the next start. */
    int (*user_delete)(mp_self *self, struct mp_str id, bool recall, mp_thread *home, mp_deleted_fn done, void *ctx);
    /* [any] Takes a channel away with all that is in it. As user_delete(). */
    int (*channel_delete)(mp_self *self, struct mp_str name, mp_thread *home, mp_deleted_fn done, void *ctx);
    int (*ban)(mp_self *self, const struct mp_ban *b, mp_thread *home, mp_ban_fn done, void *ctx);
    /* [any] Bans and mutes in force. cursor: 0, then `next` of the page before. limit: 1-1000. */
    int (*bans)(mp_self *self, uint32_t cursor, uint32_t limit, mp_thread *home, mp_bans_fn done, void *ctx);
    int (*rule)(mp_self *self, const struct mp_rule *r, mp_thread *home, mp_rule_fn done, void *ctx);
    int (*scan)(mp_self *self, const struct mp_scan *q, mp_thread *home, mp_scanned_fn done, void *ctx);

    /* [any] The name of the i-th member of an object; p is NULL at the end, or where it is no object. */
    struct mp_str (*json_key)(const mp_json *object, unsigned i);

    /* [main] Runs a line as an operator's at the console, who may do everything: a plugin that takes lines from people
     * must know who they are (console_login()), and let through only what they need. `who` names them in the log,
     * behind the plugin's name, where orders that change something are told (console.command). The answer is JSON, of 8
     * MiB at most (else too_large). Commands about a connection to the console (auth, quit, trace) are refused. `done`
     * is called on the main thread. MP_EINVALID: a text is missing, or not UTF-8; MP_ECLOSED: the server stops. */
    int (*console_run)(mp_self *self, struct mp_str line, struct mp_str who, mp_console_fn done, void *ctx);
    /* [main] Whether it is the console's password, asked by somebody at this address (an IP, or "unix"): MP_CODE_OK;
     * MP_CODE_UNAUTHORIZED; MP_CODE_RATE_LIMITED after five wrong ones within a minute from there, those given at the
     * console included; MP_CODE_FORBIDDEN: none is set. Failures are logged as the console's. */
    enum mp_code (*console_login)(mp_self *self, struct mp_str address, struct mp_str password);
    /* [main] A number that is another one whenever the password has changed; 0: none is set. Whoever logged in under
     * another number should log in again. */
    uint64_t (*console_password)(mp_self *self);

    /* Since 1.4. [main] The number of this server among the nodes of its cluster, by which people know it; 0: it stands
     * alone. It changes only where others took this node for dead, and another one has its number by now; once the
     * process has ended, it may be another one's as well. */
    unsigned (*node)(mp_self *self);
    /* [main] Asks this plugin of one node by its number, or, with 0, of all others. `done` is called on the main thread
     * when all have answered, or timeout_ms are over (0: a second; 10000 at most). MP_ENOTFOUND: no such node lives, or
     * it is this one, or the server stands alone; MP_EINVALID: a body above 256,000 bytes. */
    int (*node_ask)(mp_self *self, unsigned node, struct mp_str body, unsigned timeout_ms, mp_node_answers_fn done,
                    void *ctx);
    /* [main] In init() alone: who answers the questions of other nodes, on the main thread, while the plugin runs. */
    int (*node_answerer)(mp_self *self, mp_node_asked_fn asked, void *ctx);

    /* New functions go here. */
};

/* --- What a plugin exports ---------------------------------------------------------------------------------------- */

struct mp_plugin {
    uint32_t size;                 /* sizeof(struct mp_plugin) */
    uint16_t abi_major, abi_minor; /* MP_ABI_MAJOR, MP_ABI_MINOR */
    uint32_t option_size;          /* sizeof(struct mp_option) */
    uint32_t option_count;
    const struct mp_option *options;
    const char *name;      /* as the file without .so: [A-Za-z0-9_-], 1-64 bytes */
    const char *version;   /* "1.0" */
    const char *summary;   /* one line */
    const char *auth_mode; /* the auth.mode whose provider it registers; NULL: none */
    /* [main] Whether the options are good beyond the schema (files that can be read, values that fit each other). 0;
     * else negative, with one line for each error in `why`: "OPTION: what is wrong". `state` is NULL when the plugin is
     * not running; `self` is not there then, so only functions of `mp` that need none may be called. It may keep what
     * it has prepared for the apply() that follows; another check() may follow instead. NULL: the schema is enough. */
    int (*check)(const struct mp_api *mp, void *state, const mp_options *options, char *why, size_t why_size);
    /* [main] 0, with *state being what all the other functions here are given; or negative: the plugin is not loaded,
     * fini is not called. */
    int (*init)(mp_self *self, const struct mp_api *mp, const mp_options *options, void **state);
    /* On each shard; NULL: nothing to do there. *shard_state: what local() returns. Negative: the plugin is not
     * loaded. */
    int (*shard_init)(void *state, mp_thread *shard, void **shard_state);
    void (*shard_fini)(void *state, mp_thread *shard, void *shard_state);
    /* [main] Takes new options, which check() found good: cannot fail. NULL: a change of options needs the plugin to be
     * loaded anew. */
    void (*apply)(void *state, const mp_options *options);
    /* [main] Frees everything. NULL: nothing to free. */
    void (*fini)(void *state);
};

/* Exports the description:  MP_PLUGIN = { MP_PLUGIN_HEAD, .name = "echo", … }; */
#define MP_PLUGIN const struct mp_plugin magpie_plugin
#define MP_PLUGIN_HEAD                                                                                                 \
    .size = sizeof(struct mp_plugin), .abi_major = MP_ABI_MAJOR, .abi_minor = MP_ABI_MINOR,                            \
    .option_size = sizeof(struct mp_option)
#define MP_OPTIONS(list) .option_count = sizeof(list) / sizeof((list)[0]), .options = (list)
#ifdef __GNUC__
#define MP_EXPORT __attribute__((visibility("default")))
#else
#define MP_EXPORT
#endif
extern MP_EXPORT const struct mp_plugin magpie_plugin; /* what the definition need not say again: its visibility */

/* --- Helpers ------------------------------------------------------------------------------------------------------ */

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* a function of a struct's name */
#endif

/* The head of a description where it cannot be written with MP_PLUGIN_HEAD (C++ before 20): the rest is zero. */
static inline struct mp_plugin mp_plugin_head(void)
{
    struct mp_plugin p;
    memset(&p, 0, sizeof p);
    p.size = sizeof p;
    p.abi_major = MP_ABI_MAJOR;
    p.abi_minor = MP_ABI_MINOR;
    p.option_size = sizeof(struct mp_option);
    return p;
}
static inline struct mp_str mp_str_of(const void *p, size_t n)
{
    struct mp_str s = {MP_CAST(const char *, p), n};
    return s;
}
/* NULL is the empty text. */
static inline struct mp_str mp_str(const char *text)
{
    return mp_str_of(text, text ? strlen(text) : 0);
}
/* Whether a secret is the right one, in a time that tells nothing of where they differ. An empty one never is. */
static inline bool mp_same_secret(struct mp_str secret, struct mp_str given)
{
    unsigned differs = secret.n != given.n || secret.n == 0;
    for (size_t i = 0; i < given.n && secret.n; i++)
        differs |= MP_CAST(unsigned char, given.p[i] ^ secret.p[i % secret.n]);
    return !differs;
}
/* Whether a caller can send it as "Authorization: Bearer …": not empty, no control characters, no blanks at its ends.
 * */
static inline bool mp_bearer_good(const char *text)
{
    size_t n = strlen(text);
    bool good = n && text[0] != ' ' && text[n - 1] != ' ';
    for (size_t i = 0; i < n; i++)
        good = good && MP_CAST(unsigned char, text[i]) >= ' ' && text[i] != 0x7f;
    return good;
}
static inline bool mp_eq(struct mp_str a, struct mp_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
/* A message's id as the protocol has it: 19 digits. */
static inline const char *mp_id_text(uint64_t id, char out[20])
{
    for (int i = 18; i >= 0; i--, id /= 10)
        out[i] = MP_CAST(char, '0' + id % 10);
    out[19] = '\0';
    return out;
}
static inline struct mp_field mp_field_text(const char *key, struct mp_str text)
{
    struct mp_field f = {key, {text.p ? text.p : "", text.n}, 0};
    return f;
}
static inline struct mp_field mp_field_int(const char *key, int64_t number)
{
    struct mp_field f = {key, {NULL, 0}, number};
    return f;
}

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#ifdef __cplusplus
}
#endif
#endif
