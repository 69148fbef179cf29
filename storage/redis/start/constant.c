#include "storage/redis/start/constant.h"

#include "core/base/clock.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/start/view.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { AGAIN_MS = 200, COPIES_MS = 1000 };

/* Of one question: where, and what is said of it when nothing comes of it. */
struct constant {
    struct redis *r;
    char key[64];
    const char *name;
    struct slice proposal;
    bool replace;
    struct buf *out;
    char why[ASK_ADDRESS_MAX + ASK_WHY_MAX + 2]; /* "HOST:PORT: " and the reason */
};

static int failed(struct constant *k, const struct ask *a, const char *what)
{
    snprintf(k->why, sizeof k->why, "%s: %.*s", a->address, ASK_WHY_MAX - 1, what);
    return ERR_AGAIN;
}

/* A command's reply, of that type; NULL: it is not, and `why` says so. */
static struct redisReply *asked(struct constant *k, struct ask *a, int type, struct redisReply *reply)
{
    if (!reply)
        (void)failed(k, a, a->why);
    else if (reply->type != type)
        (void)failed(k, a, reply->type == REDIS_REPLY_ERROR ? reply->str : "it answers what it should not");
    if (reply && reply->type != type) {
        freeReplyObject(reply);
        reply = NULL;
    }
    return reply;
}

/* Sets it; ERR_AGAIN: not known to be set. */
static int constant_set(struct constant *k, struct ask *a, const char *proposal)
{
    struct redisReply *reply =
        asked(k, a, REDIS_REPLY_INTEGER, ASK(a, k->replace ? "HSET" : "HSETNX", k->key, k->name, proposal));
    if (!reply)
        return ERR_AGAIN;
    freeReplyObject(reply);
    return 0;
}

/* What stands there is in as many processes as it has to be. */
static int constant_wait(struct constant *k, struct ask *a, unsigned copies)
{
    char others[16], ms[16];
    snprintf(others, sizeof others, "%u", copies > 1 ? copies - 1 : 0);
    snprintf(ms, sizeof ms, "%d", (int)COPIES_MS);
    struct redisReply *reply = asked(k, a, REDIS_REPLY_INTEGER, ASK(a, "WAIT", others, ms));
    if (!reply)
        return ERR_AGAIN;
    bool enough = reply->integer + 1 >= copies;
    freeReplyObject(reply);
    return enough ? 0 : failed(k, a, "it is short of copies");
}

static int constant_ask(struct constant *k, struct ask *a)
{
    char *proposal = strndup(k->proposal.p ? k->proposal.p : "", k->proposal.n);
    if (!proposal)
        return ERR_NOMEM;
    int rc = k->proposal.n ? constant_set(k, a, proposal) : 0;
    free(proposal);
    struct redisReply *reply = rc ? NULL : asked(k, a, REDIS_REPLY_STRING, ASK(a, "HGET", k->key, k->name));
    if (!reply)
        return ERR_AGAIN;
    buf_reset(k->out);
    buf_put(k->out, reply->str, reply->len);
    freeReplyObject(reply);
    pthread_mutex_lock(&k->r->lock);
    unsigned copies = k->r->asked.cluster.copies;
    pthread_mutex_unlock(&k->r->lock);
    return buf_ok(k->out) ? constant_wait(k, a, copies) : ERR_NOMEM;
}

/* By way of the first of the config's members that answers. */
static int constant_try(struct constant *k)
{
    const struct slots *s = &k->r->slots;
    const char *username = k->r->login.username, *password = k->r->login.password;
    int rc = ERR_AGAIN;
    for (uint32_t i = 0; i < s->seed_count && rc == ERR_AGAIN; i++) {
        struct ask door, zero = {.c = NULL};
        struct view view = {NULL, 0};
        char address[ASK_ADDRESS_MAX];
        bool six = strchr(s->seeds[i].host, ':');
        snprintf(address, sizeof address, "%s%s%s:%u", six ? "[" : "", s->seeds[i].host, six ? "]" : "",
                 s->seeds[i].port);
        if (ask_open(&door, address, username, password) != 0 || view_ask(&door, &view) != 0)
            (void)failed(k, &door, door.why);
        else if (view_open_zero(&view, &zero, username, password) != 0)
            (void)failed(k, &zero, zero.why);
        else
            rc = constant_ask(k, &zero);
        ask_close(&zero);
        ask_close(&door);
        view_free(&view);
    }
    return rc;
}

int constant_agree(struct redis *r, const char *name, struct slice proposal, bool replace, struct buf *out, char *why,
                   size_t why_size)
{
    struct constant k = {.r = r, .name = name, .proposal = proposal, .replace = replace, .out = out};
    struct slice tag = partition_tag(&r->tags, 0);
    snprintf(k.key, sizeof k.key, "%sC{%.*s}", r->options.cluster.prefix, (int)tag.n, tag.p);
    uint64_t until = clock_mono_ms() + r->options.cluster.patience_ms;
    int rc;
    while ((rc = constant_try(&k)) == ERR_AGAIN && clock_mono_ms() < until && !ask_is_to_end())
        nanosleep(&(struct timespec){.tv_nsec = AGAIN_MS * 1000000}, NULL);
    if (rc)
        snprintf(why, why_size, "cluster.redis: %s", rc == ERR_AGAIN ? k.why : err_str(rc));
    return rc;
}
