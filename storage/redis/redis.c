/* The Redis engine: opening, closing, options, and what it does for the doors of store.c. */
#include "storage/redis/redis.h"

#include "core/base/log.h"
#include "storage/directory.h"
#include "storage/redis/bus/bus_private.h"
#include "storage/redis/bus/sessions.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/cold/cold.h"
#include "storage/redis/io.h"
#include "storage/redis/nodes/balance.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/nodes/notes.h"
#include "storage/redis/nodes/notes_log.h"
#include "storage/redis/nodes/time.h"
#include "storage/redis/ops/channels.h"
#include "storage/redis/ops/gone.h"
#include "storage/redis/ops/known.h"
#include "storage/redis/ops/marks.h"
#include "storage/redis/ops/settle.h"
#include "storage/redis/ops/untold.h"
#include "storage/redis/redis_private.h"
#include "storage/redis/report.h"
#include "storage/redis/start/check.h"
#include "storage/redis/start/constant.h"
#include "storage/redis/sweep.h"
#include "storage/redis/task.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- What the engine does ----------------------------------------------------------------------------------------- */

static void redis_post(struct store *base, struct store_op *op)
{
    redis_io_post(redis_of(base), op);
}

static void redis_kick(struct store *base)
{
    redis_io_kick(redis_of(base));
}

static void redis_configure(struct store *base, const struct store_options *o)
{
    struct redis *r = redis_of(base);
    pthread_mutex_lock(&r->lock);
    r->asked = *o;
    r->changed = true;
    redis_io_wake(r);
    /* What they end, they end now: for the engine's turn, which waits for nothing, one may wait. */
    while (r->changed)
        pthread_cond_wait(&r->taken, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

static void redis_clock_accept(struct store *base)
{
    node_accept(redis_of(base));
}

static uint64_t redis_time(struct store *base)
{
    return time_steady(redis_of(base));
}

static uint64_t redis_age(struct store *base, uint64_t stamp_ms)
{
    return time_age(redis_of(base), stamp_ms);
}

static uint64_t redis_date(struct store *base)
{
    return time_date(redis_of(base));
}

static void redis_stats(struct store *base, struct store_stats *out)
{
    struct redis *r = redis_of(base);
    *out = (struct store_stats){.appended = atomic_load(&r->stats.appended),
                                .duplicates = atomic_load(&r->stats.duplicates),
                                .groups = atomic_load(&r->stats.groups),
                                .queue = atomic_load(&r->stats.queue),
                                .errors = atomic_load(&r->stats.repeats),
                                .memory = atomic_load(&r->stats.bytes),
                                .failing = report_isolated(r),
                                .clock_paused = time_paused(r)};
    latency_read(&r->group_latency, &out->sync);
    out->syncs = out->sync.count;
}

/* Nothing of this machine is to be flushed, compacted or copied. */
static void redis_work(struct store *base, struct store_work *w)
{
    (void)base;
    snprintf(w->why, sizeof w->why,
             "the data is in Redis: this is for a server alone; magpied --export makes a backup");
    w->op.status = STORE_RETRY;
    store_answer(&w->op);
}

void redis_free(struct redis *r)
{
    redis_io_run_rest(r);
    slots_stop(r);
    redis_bus_fini(r);
    cold_fini(r);
    tasks_fini(r);
    tell_fini(r);
    sweep_fini(r);
    node_fini(r);
    balance_fini(r);
    report_fini(r);
    marks_fini(r);
    channels_fini(r);
    notes_log_fini(r);
    notes_fini(r);
    settle_fini(r);
    gone_fini(r);
    sessions_fini(r);
    free(r->known);
    free(r->untold);
    time_fini(r);
    redis_io_fini(r);
    while (r->spare_count)
        buf_free(&r->spare[--r->spare_count]);
    free((char *)r->options.cluster.prefix);
    free((char *)r->options.cluster.archive.url);
    free(r->login.username);
    free(r->login.password);
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    free(r);
}

static void redis_close(struct store *base)
{
    struct redis *r = redis_of(base);
    redis_io_stop(r);
    redis_free(r);
}

static int redis_agree(struct store *base, const char *name, struct slice proposal, bool replace, struct buf *out,
                       char *why, size_t why_size)
{
    return constant_agree(redis_of(base), name, proposal, replace, out, why, why_size);
}

static void redis_cluster(struct store *base, struct cluster_figures *out)
{
    report_read(redis_of(base), out);
}

static void redis_cluster_work(struct store *base, struct cluster_work *w)
{
    balance_work(redis_of(base), w);
}

static const struct store_engine redis_engine = {
    .post = redis_post,
    .kick = redis_kick,
    .configure = redis_configure,
    .clock_accept = redis_clock_accept,
    .time = redis_time,
    .age = redis_age,
    .date = redis_date,
    .stats = redis_stats,
    .work = redis_work,
    .agree = redis_agree,
    .cluster = redis_cluster,
    .cluster_work = redis_cluster_work,
    .close = redis_close,
};

/* --- Opening ------------------------------------------------------------------------------------------------------ */

/* Looks a name up; waits for that, as a start may. Returns how many of `max` addresses there are. */
static uint32_t look_up(const char *text, struct address *out, uint32_t max)
{
    const char *colon = strrchr(text, ':');
    char host[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    uint32_t n = 0;
    if (!colon || (size_t)(colon - text) >= sizeof host)
        return 0;
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    if (host[0] == '[' && colon[-1] == ']')
        snprintf(host, sizeof host, "%.*s", (int)(colon - text) - 2, text + 1);
    if (getaddrinfo(host, colon + 1, &hints, &list))
        return 0;
    for (struct addrinfo *a = list; a && n < max; a = a->ai_next) {
        char port[8];
        out[n] = (struct address){.port = 0};
        if (getnameinfo(a->ai_addr, a->ai_addrlen, out[n].host, sizeof out[n].host, port, sizeof port,
                        NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
            out[n].port = (uint16_t)atoi(port);
            n++;
        }
    }
    freeaddrinfo(list);
    return n;
}

enum { EACH = 8 /* addresses of one name at most */ };

/* The addresses of the config's members; NULL when none can be found. */
static struct address *seeds_of(const struct store_cluster_options *o, uint32_t *count)
{
    struct address *seeds = malloc((o->address_count + 1) * EACH * sizeof *seeds);
    *count = 0;
    for (uint32_t i = 0; seeds && i < o->address_count; i++)
        *count += look_up(o->addresses[i], seeds + *count, EACH);
    if (seeds && !*count) {
        free(seeds);
        return NULL;
    }
    return seeds;
}

static char *copy_of(const char *s)
{
    return s && *s ? strdup(s) : NULL;
}

/* The engine's own copies of what the options borrow. */
static int options_copy(struct redis *r, const struct store_options *o)
{
    const struct store_cluster_options *c = &o->cluster;
    r->options = *o;
    r->options.path = NULL;
    r->options.cluster.addresses = NULL;
    r->options.cluster.username = r->options.cluster.password = NULL;
    r->options.cluster.prefix = strdup(c->prefix ? c->prefix : "m");
    r->options.cluster.archive.url = copy_of(c->archive.url);
    r->login = (struct redis_login){copy_of(c->username), copy_of(c->password)};
    bool missing = (c->password && *c->password && !r->login.password) ||
                   (c->username && *c->username && !r->login.username) ||
                   (c->archive.url && *c->archive.url && !r->options.cluster.archive.url);
    return r->options.cluster.prefix && !missing ? 0 : ERR_NOMEM;
}

/* The data directory, which has what plugins keep. path: NULL for none. */
static int data_take(struct redis *r, const char *path, char *why, size_t why_size)
{
    int e = path ? directory_check(path, why, why_size) : 0;
    if (path && !e && (e = directory_make(path)))
        snprintf(why, why_size, "cannot make the data directory %s: %s", path, strerror(errno));
    return path && !e ? directory_lock(path, &r->lock_fd, why, why_size) : e;
}

/* Everything but the thread. On failure r is still to be freed, or is freed where slots are not there yet. */
static int redis_make(struct redis *r, const struct store_options *options, char *why, size_t why_size)
{
    uint32_t count = 0;
    int e = redis_io_init(r);
    struct address *seeds = seeds_of(&options->cluster, &count);
    slots_start(r, seeds, count);
    e = e ? e : options_copy(r, options);
    r->asked = r->options;
    e = e ? e : tasks_init(r);
    e = e ? e : tell_init(r);
    e = e ? e : known_init(&r->known);
    e = e ? e : untold_init(&r->untold);
    e = e ? e : gone_init(r);
    e = e ? e : sessions_init(r);
    e = e ? e : settle_init(r);
    e = e ? e : marks_init(r);
    e = e ? e : channels_init(r);
    e = e ? e : notes_init(r);
    e = e ? e : notes_log_init(r);
    e = e ? e : time_init(r);
    e = e ? e : node_init(r);
    e = e ? e : report_init(r);
    e = e ? e : balance_init(r);
    e = e ? e : sweep_init(r);
    e = e ? e : redis_bus_init(r);
    snprintf(why, why_size, "out of memory");
    if (!e && !seeds) {
        snprintf(why, why_size, "cluster.redis: none of its names is known");
        e = ERR_IO;
    }
    return e ? e : cold_open(r, why, why_size);
}

int redis_new(struct redis **out, const struct store_options *options, const struct redis_hooks *hooks, char *why,
              size_t why_size)
{
    struct redis *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) {
        snprintf(why, why_size, "out of memory");
        return ERR_NOMEM;
    }
    r->base.engine = &redis_engine;
    r->lock_fd = -1;
    r->hooks = hooks ? *hooks : (struct redis_hooks){0};
    r->node_ears = r->hooks.node_ears;
    partition_tags_make(&r->tags);
    library_init(&r->library);
    int e = data_take(r, options->path, why, why_size);
    if (e) {
        if (r->lock_fd >= 0)
            close(r->lock_fd);
        free(r);
        return e;
    }
    e = redis_make(r, options, why, why_size);
    if (e)
        redis_free(r);
    else
        *out = r;
    return e;
}

int redis_open_hooked(struct store **out, const struct store_options *options, const struct redis_hooks *hooks,
                      char *why, size_t why_size)
{
    struct redis *r;
    int e = redis_new(&r, options, hooks, why, why_size);
    *out = NULL;
    if (e)
        return e;
    if ((e = redis_io_start(r)))
        snprintf(why, why_size, "cannot start the storage thread");
    if (!e && (e = node_wait(r, why, why_size)))
        redis_io_stop(r);
    if (e) {
        redis_free(r);
        return e;
    }
    *out = &r->base;
    return 0;
}

int redis_open(struct store **out, const struct store_options *options, char *why, size_t why_size)
{
    *out = NULL;
    int e = check_cluster(&options->cluster, why, why_size);
    if (e)
        return e;
    return redis_open_hooked(out, options, NULL, why, why_size);
}
