/*
 * The Magpie protocol for C programs: libmagpie-client.
 *
 * A `struct magpie_client` holds connections of one thread; a `struct magpie_conn` is one of them, over TCP or
 * WebSocket. Requests are queued and answered by callbacks; pushes come by a handler. Nothing blocks but
 * magpie_connect(), which resolves the host's name, and magpie_client_run(), for as long as it is told to.
 *
 *     struct magpie_client *client = magpie_client_new();
 *     struct magpie_conn *conn = magpie_connect(client, "localhost:8081", &handlers, NULL, &why);
 *     while (magpie_client_count(client) > 0)
 *         magpie_client_run(client, -1);
 *     magpie_client_free(client);
 *
 * A program with a loop of its own watches magpie_client_fd() for reading instead, and calls magpie_client_run(client,
 * 0) when it is readable and after it has made requests.
 *
 * Not in it: connecting again, and timeouts (for which there is magpie_conn_close()); magpie-chat shows how to do both.
 *
 * Strings are UTF-8 and end with a NUL. Functions that fail return a negative enum magpie_error. Callbacks may call
 * everything here except magpie_client_run() and magpie_client_free().
 */
#ifndef MAGPIE_CLIENT_H
#define MAGPIE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct magpie_client;
struct magpie_conn;

enum magpie_error {
    MAGPIE_ERR_NOMEM = -1,    /* out of memory */
    MAGPIE_ERR_INVALID = -2,  /* a bad argument or text; as an answer's status: the server refuses */
    MAGPIE_ERR_NOTFOUND = -3, /* there is no such member */
    MAGPIE_ERR_FULL = -5,     /* too much waits already to be sent or answered */
    MAGPIE_ERR_IO = -6,       /* the operating system refused */
    MAGPIE_ERR_AGAIN = -7,    /* the connection is not open yet */
    MAGPIE_ERR_CLOSED = -8,   /* the connection is gone */
    MAGPIE_ERR_TOOLARGE = -9  /* a frame over the size limit */
};

/* Actions: 1-18 are requests, from 100 on pushes. What each says stands in the protocol's document. */
enum magpie_action {
    MAGPIE_ERROR = 0, /* what the server says before it closes over a protocol error */
    MAGPIE_LOGIN = 1,
    MAGPIE_SEND_USER = 2,
    MAGPIE_SUBSCRIBE = 3,
    MAGPIE_SEND_CHANNEL = 4,
    MAGPIE_HISTORY = 5,
    MAGPIE_UNSUBSCRIBE = 6,
    MAGPIE_INBOX = 7,
    MAGPIE_INBOX_ACK = 8,
    MAGPIE_PING = 9,
    MAGPIE_CONVERSATIONS = 10,
    MAGPIE_MARK_READ = 11,
    MAGPIE_PRESENCE = 12,
    MAGPIE_MEMBERS = 13,
    MAGPIE_RECALL = 14,
    MAGPIE_BLOCK = 15,
    MAGPIE_LOGOUT = 16,
    MAGPIE_EDIT = 17,
    MAGPIE_WATCH = 18,
    MAGPIE_PUSH_USER = 101,
    MAGPIE_PUSH_CHANNEL = 102,
    MAGPIE_PUSH_INBOX = 103,
    MAGPIE_PUSH_MERGED = 104,
    MAGPIE_PUSH_CLOSING = 105,
    MAGPIE_PUSH_ANNOUNCEMENT = 106,
    MAGPIE_PUSH_BEHIND = 107,
    MAGPIE_PUSH_READ = 108,
    MAGPIE_PUSH_RECALLED = 109,
    MAGPIE_PUSH_EDITED = 110,
    MAGPIE_PUSH_PRESENCE = 111,
    MAGPIE_PUSH_MEMBERSHIP = 112
};

/* A value of a JSON text as it is written there, borrowed. p is NULL: there is none, or null. */
struct magpie_json {
    const char *p; /* its first byte; no NUL follows */
    size_t n;      /* bytes */
};

/* What happens on a connection; any may be NULL. `user` is the pointer given to magpie_connect(). Bodies and `why` are
 * borrowed for the call. */
struct magpie_handlers {
    /* Requests can be made from now on; the first one is the login. */
    void (*open)(struct magpie_conn *conn, void *user);
    /* A push, or MAGPIE_ERROR. */
    void (*push)(struct magpie_conn *conn, void *user, uint16_t action, struct magpie_json body);
    /* Gone (or never there), not by magpie_conn_close(). `why` is a phrase for people. Unanswered requests have had
     * their answers before. `conn` must not be used afterwards. */
    void (*close)(struct magpie_conn *conn, void *user, int code, const char *why);
};

/* An answer: status 0 and its body; MAGPIE_ERR_INVALID: refused, see magpie_refusal_read(); MAGPIE_ERR_CLOSED: the
 * connection ended before, and whether the request took effect is not known. `body` is borrowed for the call. */
typedef void magpie_answer_fn(struct magpie_conn *conn, void *arg, int status, struct magpie_json body);

/* --- Connections ------------------------------------------------------------------------------------------------- */

/* NULL: out of memory or descriptors. A client belongs to the thread that uses it. */
struct magpie_client *magpie_client_new(void);
/* Closes what is open, without calling `close`. NULL is fine. */
void magpie_client_free(struct magpie_client *client);
/* Connections that are open or being opened. */
size_t magpie_client_count(const struct magpie_client *client);
/* A descriptor that is readable when magpie_client_run() has something to do. The client's: do not read or close it. */
int magpie_client_fd(const struct magpie_client *client);
/* Sends what was queued; otherwise that is done by the next magpie_client_run(). Not from inside a callback. */
void magpie_client_flush(struct magpie_client *client);
/* Sends what was queued, waits up to `timeout_ms` (-1: for ever) and calls handlers for what came. 0 also when nothing
 * came or a signal arrived; MAGPIE_ERR_IO. */
int magpie_client_run(struct magpie_client *client, int timeout_ms);

/* Whose word on a server's certificate counts from now on: a PEM file of authorities; NULL: the system's, as without
 * this call. MAGPIE_ERR_INVALID: *why is a phrase (static). With TLS the program must ignore SIGPIPE. */
int magpie_client_secure(struct magpie_client *client, const char *authority, const char **why);

/* Starts to connect to "HOST:PORT", "[IPv6]:PORT", "unix:PATH", "ws://HOST[:PORT][/PATH]", or by TLS to
 * "tcps://HOST:PORT" and "wss://HOST[:PORT][/PATH]"; each address of the host is tried in turn.
 * No handler is called before this returns. `handlers` is borrowed for the connection's life. NULL: *why is a phrase
 * that says why (static). */
struct magpie_conn *magpie_connect(struct magpie_client *client, const char *address,
                                   const struct magpie_handlers *handlers, void *user, const char **why);
/* Closes at once, without what is still unwritten. Unanswered requests are answered with MAGPIE_ERR_CLOSED. `conn` must
 * not be used afterwards. */
void magpie_conn_close(struct magpie_conn *conn);
void *magpie_conn_user(const struct magpie_conn *conn);
/* Requests without an answer so far. */
uint32_t magpie_conn_pending(const struct magpie_conn *conn);

/* --- Requests ---------------------------------------------------------------------------------------------------- */

/* Any request, also those of scripts and plugins: `body` is a JSON object, or "" for none. `answer` may be NULL; it is
 * called exactly once when this returns 0. The other functions return the same, and MAGPIE_ERR_INVALID for text that is
 * no UTF-8. A string that is NULL leaves its member out, and so does a number that is 0. */
int magpie_request(struct magpie_conn *conn, uint16_t action, const char *body, magpie_answer_fn *answer, void *arg);

/* A new user with this name, or with `token` (of an earlier login's answer) the same user again. With `merge` slices of
 * large channels come as one MAGPIE_PUSH_MERGED. */
int magpie_login(struct magpie_conn *conn, const char *name, const char *token, const char *device, bool merge,
                 magpie_answer_fn *answer, void *arg);
/* Ends the connection and makes all of the user's tokens void. */
int magpie_logout(struct magpie_conn *conn, magpie_answer_fn *answer, void *arg);
int magpie_ping(struct magpie_conn *conn, magpie_answer_fn *answer, void *arg);

/* `push`: "all", "merged", "none"; NULL: as it is. With `events` MAGPIE_PUSH_MEMBERSHIP tells of others. */
int magpie_subscribe(struct magpie_conn *conn, const char *channel, const char *push, bool events,
                     magpie_answer_fn *answer, void *arg);
int magpie_unsubscribe(struct magpie_conn *conn, const char *channel, magpie_answer_fn *answer, void *arg);
/* `client_id` (1-64 bytes, unique among yours) makes it safe to send again what was not answered. */
int magpie_send_channel(struct magpie_conn *conn, const char *channel, const char *content, const char *client_id,
                        magpie_answer_fn *answer, void *arg);
int magpie_send_user(struct magpie_conn *conn, const char *receiver, const char *content, const char *client_id,
                     magpie_answer_fn *answer, void *arg);

/* Of a conversation: `channel` or `peer` (a user's id), the other one NULL. `before` and `after` are exclusive. */
int magpie_history(struct magpie_conn *conn, const char *channel, const char *peer, uint64_t before, uint64_t after,
                   uint32_t limit, magpie_answer_fn *answer, void *arg);
int magpie_mark_read(struct magpie_conn *conn, const char *channel, const char *peer, uint64_t seq,
                     magpie_answer_fn *answer, void *arg);
int magpie_edit(struct magpie_conn *conn, const char *channel, const char *peer, uint64_t seq, const char *content,
                magpie_answer_fn *answer, void *arg);
int magpie_recall(struct magpie_conn *conn, const char *channel, const char *peer, uint64_t seq,
                  magpie_answer_fn *answer, void *arg);

/* `after` is a message's id. */
int magpie_inbox(struct magpie_conn *conn, const char *after, uint32_t limit, magpie_answer_fn *answer, void *arg);
/* Takes `up_to` and all that stood before it out of the inbox. */
int magpie_inbox_ack(struct magpie_conn *conn, const char *up_to, magpie_answer_fn *answer, void *arg);
/* Takes these messages out of it. */
int magpie_inbox_ack_ids(struct magpie_conn *conn, const char *const *ids, size_t count, magpie_answer_fn *answer,
                         void *arg);

/* Lists come in pages; `cursor` is that of the page before, NULL for the first one. */
int magpie_conversations(struct magpie_conn *conn, uint32_t limit, const char *cursor, magpie_answer_fn *answer,
                         void *arg);
int magpie_members(struct magpie_conn *conn, const char *channel, uint32_t limit, const char *cursor,
                   magpie_answer_fn *answer, void *arg);
/* Up to 100 ids. The answer's "online" lists those who are. */
int magpie_presence(struct magpie_conn *conn, const char *const *ids, size_t count, magpie_answer_fn *answer,
                    void *arg);
/* The same, and with `watch` MAGPIE_PUSH_PRESENCE tells of their changes from now on; without, no more. */
int magpie_watch(struct magpie_conn *conn, const char *const *ids, size_t count, bool watch, magpie_answer_fn *answer,
                 void *arg);
int magpie_block(struct magpie_conn *conn, const char *id, bool blocked, magpie_answer_fn *answer, void *arg);

/* --- What comes -------------------------------------------------------------------------------------------------- */

/* What a refusal says. */
struct magpie_refusal {
    char code[32];          /* "forbidden", "rate_limited" …; "" when unreadable */
    char message[160];      /* for people; cut to fit */
    int64_t retry_after_ms; /* 0 when not given */
};
void magpie_refusal_read(struct magpie_json body, struct magpie_refusal *out);

/* What a push tells, or a message of a history or inbox. Strings that it does not have are NULL, numbers 0. */
struct magpie_push {
    const char *channel;         /* NULL: a private message */
    const char *peer;            /* of 108-110 about a private message: the other user */
    const char *id;              /* the message's id; of 111 and 112: the user's */
    const char *content;         /* a message's text, or an announcement's; "" of what was recalled */
    const char *sender_id;       /* of a message */
    const char *sender_name;     /* of a message */
    const char *receiver_id;     /* of a private message */
    const char *name;            /* of 112: the user's */
    const char *change;          /* of 112: "joined", "left", "kicked", "banned" or "closed" */
    const char *reason;          /* of 105: "kicked", "shutdown" … */
    const char *message;         /* of 105: what an operator says to it */
    uint64_t seq;                /* the message's; of 107: the channel's newest */
    uint64_t from, to, omitted;  /* of 104: the range of seqs, and how many of it are left out */
    uint64_t members;            /* of 112: how many there are now */
    uint64_t inbox;              /* of 103 and 108: how many messages wait */
    int64_t created_at;          /* ms since 1970 */
    int64_t edited_at;           /* ms since 1970; 0: never edited */
    int64_t retry_after_ms;      /* of 105: when to come again */
    bool recalled;               /* of a message in a history */
    bool online;                 /* of 111 */
    struct magpie_json messages; /* of 104: an array of messages; borrows from the body */
};
/* Reads them; the caller frees it with magpie_push_free(). NULL: out of memory, or no object. */
struct magpie_push *magpie_push_read(struct magpie_json body);
void magpie_push_free(struct magpie_push *push);

/* What stands at a path like "sender.id"; p is NULL when nothing does. */
struct magpie_json magpie_json_get(struct magpie_json object, const char *path);
/* A string, unescaped, to be freed with free(). NULL: it is none, or out of memory. */
char *magpie_json_string(struct magpie_json value);
/* 0, or MAGPIE_ERR_INVALID when it is no integer of at most 18 digits. */
int magpie_json_int(struct magpie_json value, int64_t *out);
/* Whether it is `true`. */
bool magpie_json_true(struct magpie_json value);
/* Steps through an array: start with *at = 0. 1: *item is the next value; 0: the end; MAGPIE_ERR_INVALID. */
int magpie_json_next(struct magpie_json array, size_t *at, struct magpie_json *item);

/* A phrase for people ("out of memory"). Static. */
const char *magpie_error_text(int code);
/* The library's version, "1.0.0". */
const char *magpie_client_version(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
