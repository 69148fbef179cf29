/*
 * A connection that waits for its replies: for what is asked of the cluster before the engine's thread runs, and for
 * the few questions of the main thread afterwards. Any thread, one at a time.
 */
#ifndef MAGPIE_STORAGE_REDIS_ASK_H
#define MAGPIE_STORAGE_REDIS_ASK_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct redisContext;
struct redisReply;

enum {
    ASK_CONNECT_MS = 1000, /* for a connection */
    ASK_REPLY_MS = 3000,   /* for a reply */
    ASK_ADDRESS_MAX = 280, /* "HOST:PORT" and its NUL */
    ASK_WHY_MAX = 160,
    ASK_MAX = 16 << 20 /* bytes of a reply */
};

struct ask {
    struct redisContext *c;
    char address[ASK_ADDRESS_MAX];
    char why[ASK_WHY_MAX]; /* what went wrong last: "Connection refused" */
};

/* Connects, and says who asks; username, password: NULL for none. ERR_IO: it does not answer. ERR_AUTH: the password is
 * wrong, missing, or not wanted; `why` has Redis's words. Afterwards ask_close() in any case. */
MUST_CHECK int ask_open(struct ask *a, const char *address, const char *username, const char *password);
void ask_close(struct ask *a);

/* Whether a signal waits that ends the process: the start has blocked them, until somebody deals with them. Nothing is
 * waited for then. */
bool ask_is_to_end(void);

/* A command's reply, which may be an error of Redis; the caller frees it with freeReplyObject(). NULL: the connection
 * is lost, see `why`. */
struct redisReply *ask(struct ask *a, unsigned argc, const char *const *argv);
/* ask() with the words of the command: ASK(&a, "HGET", key, "format"). */
#define ASK(a, ...)                                                                                                    \
    ask((a), sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *), (const char *const[]){__VA_ARGS__})

#endif
