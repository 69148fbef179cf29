#include "storage/redis/start/ask.h"

#include "core/base/clock.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum { LOOK_MS = 100 /* between two looks whether the process is to end */ };

static struct timeval after(unsigned ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

static void because(struct ask *a, const char *why)
{
    snprintf(a->why, sizeof a->why, "%s", why);
}

bool ask_is_to_end(void)
{
    sigset_t pending;
    sigemptyset(&pending);
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT) || sigismember(&pending, SIGQUIT));
}

/* Waits for bytes. False: they do not come, or the process is to end. */
static bool readable(struct ask *a)
{
    uint64_t until = clock_mono_ms() + ASK_REPLY_MS, now;
    while ((now = clock_mono_ms()) < until) {
        struct pollfd fd = {.fd = a->c->fd, .events = POLLIN};
        if (ask_is_to_end()) {
            because(a, "told to end while it waited");
            return false;
        }
        int n = poll(&fd, 1, until - now < LOOK_MS ? (int)(until - now) : LOOK_MS);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            break;
    }
    because(a, "no reply in time");
    return false;
}

struct redisReply *ask(struct ask *a, unsigned argc, const char *const *argv)
{
    void *reply = NULL;
    int sent = 0;
    /* hiredis takes the words as `const char **`, and changes none. */
    int rc = redisAppendCommandArgv(a->c, (int)argc, (const char **)(uintptr_t)argv, NULL);
    while (rc == REDIS_OK && !sent)
        rc = redisBufferWrite(a->c, &sent);
    while (rc == REDIS_OK && !reply && a->c->reader->len <= ASK_MAX) {
        rc = redisGetReplyFromReader(a->c, &reply);
        if (rc == REDIS_OK && !reply && !readable(a))
            return NULL;
        if (rc == REDIS_OK && !reply)
            rc = redisBufferRead(a->c);
    }
    if (rc == REDIS_OK && !reply)
        because(a, "its reply is too large");
    else if (!reply)
        because(a, a->c->errstr);
    return reply;
}

/* The reply is let go of. 0: it is no error; ERR_AUTH with Redis's words if it is; ERR_IO if there is none. */
static int settled(struct ask *a, struct redisReply *reply)
{
    if (!reply)
        return ERR_IO;
    int rc = reply->type == REDIS_REPLY_ERROR ? ERR_AUTH : 0;
    if (rc)
        because(a, reply->str);
    freeReplyObject(reply);
    return rc;
}

int ask_open(struct ask *a, const char *address, const char *username, const char *password)
{
    char host[ASK_ADDRESS_MAX];
    *a = (struct ask){.c = NULL};
    snprintf(a->address, sizeof a->address, "%s", address);
    snprintf(host, sizeof host, "%s", address);
    char *colon = strrchr(host, ':');
    if (!colon) {
        because(a, "no port");
        return ERR_IO;
    }
    *colon = '\0';
    size_t n = strlen(host);
    bool bracketed = n > 2 && host[0] == '[' && host[n - 1] == ']';
    if (bracketed)
        host[n - 1] = '\0';
    if (ask_is_to_end()) {
        because(a, "told to end while it waited");
        return ERR_IO;
    }
    a->c = redisConnectWithTimeout(host + bracketed, atoi(colon + 1), after(ASK_CONNECT_MS));
    if (!a->c || a->c->err) {
        because(a, a->c ? a->c->errstr : "out of memory");
        return ERR_IO;
    }
    redisSetTimeout(a->c, after(ASK_REPLY_MS));
    int rc = 0;
    if (username)
        rc = settled(a, ASK(a, "AUTH", username, password));
    else if (password)
        rc = settled(a, ASK(a, "AUTH", password));
    if (rc)
        return rc;
    rc = settled(a, ASK(a, "PING"));
    /* One that loads its data, or lost its master, has let us in. */
    return rc == ERR_AUTH && strncmp(a->why, "NOAUTH", 6) != 0 && strncmp(a->why, "NOPERM", 6) != 0 ? 0 : rc;
}

void ask_close(struct ask *a)
{
    if (a->c)
        redisFree(a->c);
    a->c = NULL;
}
