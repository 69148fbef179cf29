#include "storage/redis/start/check.h"

#include "core/base/buf.h"
#include "core/base/log.h"
#include "storage/redis/start/ask.h"
#include "storage/redis/start/view.h"

#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What Redis is to allow a node's user, besides keys and channels under the prefix: docs/cluster.md has the same. */
#define CHECK_RIGHTS "+@all -@dangerous +cluster +info +time +config|get +function"

enum {
    VERSION_NEEDED = 7,
    SLOTS_ALL = 16384,
    RECOMMENDED_REPLICAS = 2,
    ELECTION_MS = 3000,      /* so long slots may be nobody's before that is told */
    LONGEST_TIMEOUT = 2500,  /* ms; a master that is cut off refuses calls after 1.5 of it, before a node takes what it
                             * says for good (COPIES_SURE of copies.h) */
    SMALL_BACKLOG = 64 << 20 /* bytes: a moment's writes of a busy master */
};

/* What is warned of, each with the members that it is about. */
enum doubt { FEW_COPIES, SAME_HOST, WEAK_SYNC, NO_MAXMEMORY, SMALL_BACKLOGS, SLOW_FAILOVER, UNCHECKED, DOUBTS };

static const struct {
    const char *event, *about;
} doubts[DOUBTS] = {
    [FEW_COPIES] = {.event = "cluster.few_copies",
                    .about = "each of these masters needs two replicas and as many as cluster.copies: with "
                             "fewer, the loss of one makes its conversations unwritable"},
    [SAME_HOST] = {.event = "cluster.same_host",
                   .about = "these are on one machine, and two of them are masters, or copies of the same: "
                            "its loss may stop the cluster"},
    [WEAK_SYNC] = {.event = "cluster.weak_sync",
                   .about = "appendfsync is not `always`: if all machines lose their power at once, the last "
                            "second is lost, of private messages too"},
    [NO_MAXMEMORY] = {.event = "cluster.no_maxmemory",
                      .about = "maxmemory is not set: these may take all memory of their machine, and be "
                               "killed"},
    [SMALL_BACKLOGS] = {.event = "cluster.small_backlog",
                        .about = "repl-backlog-size is below 64mb: a replica that was away for a moment "
                                 "needs a full copy, and the master is short of copies meanwhile"},
    [SLOW_FAILOVER] = {.event = "cluster.slow_failover",
                       .about =
                           "cluster-node-timeout is above 2500 ms, or cluster-require-full-coverage or "
                           "cluster-allow-reads-when-down is `yes`: a master's death stops more, and longer, and one "
                           "that is cut off shows what is out of date"},
    [UNCHECKED] = {.event = "cluster.unchecked",
                   .about = "these do not let their settings be seen (CONFIG, INFO), or do not answer"},
};

struct check {
    const struct store_cluster_options *o;
    char *why;
    size_t why_size;
    struct view view;
    struct buf members[DOUBTS]; /* "127.0.0.1:7000 127.0.0.2:7001" */
};

/* Sets the sentence. */
__attribute__((format(printf, 3, 4))) static int refuse(const struct check *k, int rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(k->why, k->why_size, fmt, args);
    va_end(args);
    return rc;
}

static void doubt(struct check *k, enum doubt d, const char *address)
{
    buf_printf(&k->members[d], "%s%s", k->members[d].n ? " " : "", address);
}

static int refuse_password(const struct check *k, const struct ask *a)
{
    if (strncmp(a->why, "NOAUTH", 6) == 0)
        return refuse(k, ERR_AUTH, "cluster.password: Redis on %s asks for one", a->address);
    return refuse(k, ERR_AUTH, "cluster.password: Redis on %s refuses it: %s", a->address, a->why);
}

/* --- One member --------------------------------------------------------------------------------------------------- */

/* The value of "name:" in INFO's text, up to its line's end; false: there is none. */
static bool info_value(const char *info, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    for (const char *line = info; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) == 0 && line[n] == ':') {
            snprintf(out, size, "%.*s", (int)strcspn(line + n + 1, "\r\n"), line + n + 1);
            return true;
        }
    }
    return false;
}

/* 0: it is a new enough Redis in cluster mode; `info` is its INFO. */
static int check_version(const struct check *k, const char *address, const char *info)
{
    char value[64];
    if (info_value(info, "redis_version", value, sizeof value) && atoi(value) < VERSION_NEEDED)
        return refuse(k, ERR_INVALID, "cluster.redis: %s is Redis %s; 7.0 is needed", address, value);
    if (info_value(info, "cluster_enabled", value, sizeof value) && strcmp(value, "1") != 0)
        return refuse(k, ERR_INVALID, "cluster.redis: %s is not in cluster mode (cluster-enabled)", address);
    return 0;
}

static int check_info(struct check *k, const char *address, const char *info)
{
    char value[64];
    int rc = check_version(k, address, info);
    if (rc)
        return rc;
    if (info_value(info, "aof_enabled", value, sizeof value) && strcmp(value, "1") != 0)
        return refuse(k, ERR_INVALID, "appendonly is off on %s: a restart there would lose everything", address);
    if (info_value(info, "maxmemory_policy", value, sizeof value) && strcmp(value, "noeviction") != 0)
        return refuse(k, ERR_INVALID, "maxmemory-policy on %s may evict (%s); noeviction is needed", address, value);
    if (info_value(info, "maxmemory", value, sizeof value) && strtoull(value, NULL, 10) == 0)
        doubt(k, NO_MAXMEMORY, address);
    if (info_value(info, "repl_backlog_size", value, sizeof value) && strtoull(value, NULL, 10) < SMALL_BACKLOG)
        doubt(k, SMALL_BACKLOGS, address);
    return 0;
}

/* The text of INFO, to be freed; NULL: Redis does not tell. *rc: ERR_IO where the connection is lost. */
static char *ask_info(struct ask *a, int *rc)
{
    struct redisReply *reply = ASK(a, "INFO");
    *rc = reply ? 0 : ERR_IO;
    char *info = reply && reply->type == REDIS_REPLY_STRING ? strdup(reply->str) : NULL;
    if (reply)
        freeReplyObject(reply);
    return info;
}

/* What CONFIG GET says of a setting; "": nothing. */
static const char *setting(const struct redisReply *reply, const char *name)
{
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const struct redisReply *key = reply->element[i], *value = reply->element[i + 1];
        if (key->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING && strcmp(key->str, name) == 0)
            return value->str;
    }
    return "";
}

/* What stands in CONFIG alone. */
static void check_settings(struct check *k, struct ask *a)
{
    struct redisReply *reply = ASK(a, "CONFIG", "GET", "appendfsync", "cluster-node-timeout",
                                   "cluster-require-full-coverage", "cluster-allow-reads-when-down");
    const char *sync = reply && reply->type == REDIS_REPLY_ARRAY ? setting(reply, "appendfsync") : "";
    if (!*sync) {
        doubt(k, UNCHECKED, a->address);
    } else {
        if (strcmp(sync, "always") != 0)
            doubt(k, WEAK_SYNC, a->address);
        if (strtoull(setting(reply, "cluster-node-timeout"), NULL, 10) > LONGEST_TIMEOUT ||
            strcmp(setting(reply, "cluster-require-full-coverage"), "yes") == 0 ||
            strcmp(setting(reply, "cluster-allow-reads-when-down"), "yes") == 0)
            doubt(k, SLOW_FAILOVER, a->address);
    }
    if (reply)
        freeReplyObject(reply);
}

/* --- What the node may do ----------------------------------------------------------------------------------------- */

/* Commands of a node, none of which changes anything; K and C stand for a key and a channel under the prefix. Access is
 * looked at before anything else, so that any other error means that it is granted. The last two change what the
 * connection is good for. */
enum { RIGHT_WORDS = 4 };
static const char *const rights[][RIGHT_WORDS] = {
    {"FCALL", "magpie_none", "1", "K"},
    {"FCALL_RO", "magpie_none", "1", "K"},
    {"HGET", "K", "none"},
    {"SCAN", "0", "COUNT", "1"},
    {"FUNCTION", "LIST", "LIBRARYNAME", "magpie_none"},
    {"CLUSTER", "NODES"},
    {"TIME"},
    {"WAIT", "0", "0"},
    {"SPUBLISH", "C", ""},
    {"SSUBSCRIBE", "C"},
    {"SUNSUBSCRIBE", "C"},
};

static int refuse_right(const struct check *k, const struct ask *a, const char *command, const char *error)
{
    const char *prefix = k->o->prefix ? k->o->prefix : "m";
    return refuse(k, ERR_INVALID,
                  "cluster.username: Redis on %s refuses what a node needs (%s): %s. On each process: "
                  "ACL SETUSER %s on >PASSWORD ~%s* &%s* " CHECK_RIGHTS,
                  a->address, command, error, k->o->username ? k->o->username : "default", prefix, prefix);
}

/* Whoever may not do all of it would find out in the middle of the work. One that answers no more is passed over. */
static int check_rights(const struct check *k, struct ask *a)
{
    char key[64], channel[64];
    const char *prefix = k->o->prefix ? k->o->prefix : "m";
    int rc = 0;
    snprintf(key, sizeof key, "%sm{0}:none", prefix);
    snprintf(channel, sizeof channel, "%sn{0}:none", prefix);
    for (size_t i = 0; !rc && i < sizeof rights / sizeof rights[0]; i++) {
        const char *words[RIGHT_WORDS];
        unsigned n = 0;
        for (; n < RIGHT_WORDS && rights[i][n]; n++)
            words[n] = strcmp(rights[i][n], "K") == 0 ? key : strcmp(rights[i][n], "C") == 0 ? channel : rights[i][n];
        struct redisReply *reply = ask(a, n, words);
        if (!reply)
            return 0;
        if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOPERM", 6) == 0)
            rc = refuse_right(k, a, words[0], reply->str);
        freeReplyObject(reply);
    }
    return rc;
}

static int check_member(struct check *k, const struct view_member *m)
{
    struct ask a;
    int rc = ask_open(&a, m->address, k->o->username, k->o->password);
    if (rc == ERR_AUTH)
        rc = refuse_password(k, &a);
    else if (rc)
        doubt(k, UNCHECKED, m->address);
    if (rc) {
        ask_close(&a);
        return rc == ERR_AUTH ? rc : 0; /* one that is away now does not keep the others from serving */
    }
    int lost;
    char *info = ask_info(&a, &lost);
    if (!info)
        doubt(k, UNCHECKED, m->address);
    else if ((rc = check_info(k, m->address, info)) == 0)
        check_settings(k, &a);
    free(info);
    if (rc == 0)
        rc = check_rights(k, &a);
    ask_close(&a);
    return rc;
}

/* --- The whole ---------------------------------------------------------------------------------------------------- */

/* The first that answers. ERR_IO: none; why they do not is told of the first one. */
static int find_door(const struct check *k, struct ask *door)
{
    struct buf named = BUF_INIT;
    char first[ASK_ADDRESS_MAX + ASK_WHY_MAX] = "";
    int rc = ERR_IO;
    for (uint32_t i = 0; i < k->o->address_count; i++) {
        const char *address = k->o->addresses[i];
        rc = ask_open(door, address, k->o->username, k->o->password);
        if (rc != ERR_IO)
            break;
        if (!first[0])
            snprintf(first, sizeof first, "%s: %s", address, door->why);
        ask_close(door);
        buf_printf(&named, "%s%s", named.n ? ", " : "", address);
    }
    if (rc == ERR_AUTH)
        rc = refuse_password(k, door);
    else if (rc && ask_is_to_end())
        rc = refuse(k, rc, "told to end while it waited: cluster.redis: %s", first);
    else if (rc)
        rc = refuse(k, rc, "cluster.redis: none of %.*s answers (%s)", (int)named.n, named.p ? named.p : "", first);
    buf_free(&named);
    return rc;
}

/* What the door is, before it is asked for the others. */
static int check_door(const struct check *k, struct ask *door)
{
    int rc;
    char *info = ask_info(door, &rc);
    if (rc)
        return refuse(k, rc, "cluster.redis: %s: %s", door->address, door->why);
    rc = info ? check_version(k, door->address, info) : 0;
    free(info);
    return rc;
}

static unsigned slots_of(const struct view *v)
{
    unsigned slots = 0;
    for (unsigned i = 0; i < v->n; i++)
        slots += v->members[i].slots;
    return slots;
}

/* Takes the view. While a master changes, who is asked may know that the old one is none, and not who is. */
static int check_view(struct check *k, struct ask *door)
{
    int rc = 0;
    for (unsigned waited = 0; waited <= ELECTION_MS; waited += ELECTION_MS / 30) {
        view_free(&k->view);
        rc = view_ask(door, &k->view);
        if (rc || slots_of(&k->view) == SLOTS_ALL || ask_is_to_end())
            break;
        nanosleep(&(struct timespec){.tv_nsec = ELECTION_MS / 30 * 1000000}, NULL);
    }
    if (rc)
        rc = refuse(k, rc, "cluster.redis: %s: CLUSTER NODES: %s", door->address,
                    door->why[0] ? door->why : err_str(rc));
    return rc;
}

static int check_slots(const struct check *k, const struct ask *door)
{
    unsigned slots = slots_of(&k->view);
    if (slots == SLOTS_ALL)
        return 0;
    return refuse(
        k, ERR_INVALID,
        "cluster.redis: the cluster does not serve all slots: %u of %d, as %s sees it (redis-cli --cluster check)",
        slots, (int)SLOTS_ALL, door->address);
}

static bool same_host(const struct view_member *a, const struct view_member *b)
{
    size_t n = view_host(a->address);
    return n == view_host(b->address) && strncmp(a->address, b->address, n) == 0;
}

/* Which process's data it has. */
static const char *family(const struct view_member *m)
{
    return m->is_master ? m->id : m->master;
}

static bool serves(const struct view_member *m)
{
    return m->is_master && m->slots && !m->failed;
}

static void check_places(struct check *k)
{
    const struct view *v = &k->view;
    for (unsigned i = 0; i < v->n; i++) {
        const struct view_member *m = &v->members[i];
        unsigned replicas = view_replicas(v, m);
        if (serves(m) && (replicas < RECOMMENDED_REPLICAS || replicas < k->o->copies))
            doubt(k, FEW_COPIES, m->address);
        bool close = false;
        for (unsigned j = 0; j < v->n && !close; j++)
            close = j != i && !m->failed && !v->members[j].failed && same_host(m, &v->members[j]) &&
                    ((serves(m) && serves(&v->members[j])) || strcmp(family(m), family(&v->members[j])) == 0);
        if (close)
            doubt(k, SAME_HOST, m->address);
    }
}

static void tell_doubts(struct check *k)
{
    for (unsigned d = 0; d < DOUBTS; d++)
        if (k->members[d].n)
            log_event(LOG_WARN, doubts[d].event, LOG_SLICE("members", buf_slice(&k->members[d])),
                      LOG_STR("about", doubts[d].about));
    if (k->o->copies == 1)
        log_event(LOG_WARN, doubts[FEW_COPIES].event,
                  LOG_STR("about", "cluster.copies is 1: a master's death may lose what it has answered"));
}

int check_cluster(const struct store_cluster_options *o, char *why, size_t why_size)
{
    struct check k = {.o = o, .why = why, .why_size = why_size};
    for (unsigned d = 0; d < DOUBTS; d++)
        k.members[d] = (struct buf)BUF_INIT;
    struct ask door;
    int rc = find_door(&k, &door);
    if (rc == 0)
        rc = check_door(&k, &door);
    if (rc == 0)
        rc = check_view(&k, &door);
    if (rc == 0)
        rc = check_slots(&k, &door);
    for (unsigned i = 0; rc == 0 && i < k.view.n; i++)
        if (!k.view.members[i].failed)
            rc = check_member(&k, &k.view.members[i]);
    if (rc == 0) {
        check_places(&k);
        tell_doubts(&k);
    }
    ask_close(&door);
    view_free(&k.view);
    for (unsigned d = 0; d < DOUBTS; d++)
        buf_free(&k.members[d]);
    return rc;
}
