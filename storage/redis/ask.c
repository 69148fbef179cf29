#include "storage/redis/ask.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static struct timeval after(unsigned ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

static void because(struct ask *a, const char *why)
{
    snprintf(a->why, sizeof a->why, "%s", why);
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
        if (rc == REDIS_OK && !reply)
            rc = redisBufferRead(a->c);
    }
    if (rc == REDIS_OK && !reply)
        because(a, "its reply is too large");
    else if (!reply)
        because(a,
                a->c->err == REDIS_ERR_IO && strstr(a->c->errstr, "temporarily") ? "no reply in time" : a->c->errstr);
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
