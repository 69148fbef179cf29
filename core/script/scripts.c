#include "core/script/scripts.h"

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "core/hub/registry/hook.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shards.h"
#include "core/script/buckets.h"
#include "core/script/fetcher.h"
#include "core/script/script_set.h"
#include "core/script/script_store.h"
#include "core/script/scripts_private.h"
#include "core/script/timer.h"
#include "core/script/values.h"
#include "core/script/waiting.h"
#include "core/script/watchdog.h"
#include "storage/cluster.h"
#include "storage/store.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct script_record *scripts_record(struct scripts *s, const char *name)
{
    for (uint32_t i = 0; i < s->record_count; i++)
        if (strcmp(s->records[i].name, name) == 0)
            return &s->records[i];
    if (s->record_count == sizeof s->records / sizeof s->records[0])
        return NULL;
    struct script_record *r = &s->records[s->record_count];
    r->stats = calloc(s->shard_count, sizeof *r->stats);
    if (!r->stats)
        return NULL;
    snprintf(r->name, sizeof r->name, "%s", name);
    s->record_count++;
    return r;
}

/* --- Options of one's own ----------------------------------------------------------------------------------------- */

static void options_drop_copy(struct scripts_options *o)
{
    for (size_t i = 0; o->load && o->load[i]; i++)
        free((void *)(uintptr_t)o->load[i]);
    free((void *)(uintptr_t)o->load);
    free((void *)(uintptr_t)o->path);
    cJSON_Delete((struct cJSON *)(uintptr_t)o->config);
    *o = (struct scripts_options){.path = NULL};
}

static bool options_copy(struct scripts_options *to, const struct scripts_options *from)
{
    size_t n = 0;
    while (from->load[n])
        n++;
    *to = *from;
    char **load = calloc(n + 1, sizeof *load);
    to->load = (const char *const *)load;
    to->path = strdup(from->path);
    to->config = cJSON_Duplicate(from->config, true);
    bool ok = load && to->path && (to->config || !from->config);
    for (size_t i = 0; ok && i < n; i++)
        ok = (load[i] = strdup(from->load[i])) != NULL;
    if (!ok)
        options_drop_copy(to);
    return ok;
}

/* --- Change ------------------------------------------------------------------------------------------------------- */

/* Into a draft of the hub's tables; ERR_AGAIN: they are changing just now. */
static int draft(struct scripts *s, struct script_set *g, struct buf *errors)
{
    int rc = s->committing || s->queued ? ERR_AGAIN : tables_begin(s->hub);
    if (rc == ERR_AGAIN)
        return rc;
    if (rc != 0) {
        buf_printf(errors, "scripts: %s\n", err_str(rc));
        return rc;
    }
    rc = scripts_register(s, g, errors);
    if (rc != 0)
        tables_abandon(s->hub);
    g->drafted = rc == 0;
    return rc;
}

/* The thread for magpie.fetch(), once a config lists something. */
static int open_fetcher(struct scripts *s, const struct scripts_options *o, struct buf *errors)
{
    const struct cJSON *list = json_at(o->config, "scripts.fetch");
    if (s->fetcher || !s->hub || !fetcher_built() || cJSON_GetArraySize(list) == 0)
        return 0;
    s->fetcher = fetcher_new();
    if (s->fetcher)
        return 0;
    buf_str(errors, "scripts: the thread for magpie.fetch() cannot be started\n");
    return ERR_NOMEM;
}

static int prepare(struct scripts *s, const struct scripts_options *o, struct buf *errors)
{
    struct script_set *g;
    if (s->next) {
        buf_str(errors, "scripts: another change is being prepared\n");
        return ERR_AGAIN;
    }
    int rc = script_set_build(s, o, errors, &g);
    if (rc != 0)
        return rc;
    rc = draft(s, g, errors);
    if (rc != 0 && rc != ERR_AGAIN) {
        script_set_free(g);
        return rc;
    }
    s->next = g;
    return 0;
}

int scripts_prepare(struct scripts *s, const struct scripts_options *o, struct buf *errors)
{
    main_world_init(&s->main_world, o->content_max);
    if (!s->now)
        script_store_limit(s->store, o->store);
    int rc = open_fetcher(s, o, errors);
    if (rc == 0)
        rc = prepare(s, o, errors);
    if (rc != 0)
        return rc;
    if (!options_copy(&s->next_opt, o)) {
        buf_str(errors, "scripts: out of memory\n");
        scripts_abandon(s);
        return ERR_NOMEM;
    }
    return 0;
}

int scripts_prepare_again(struct scripts *s, struct buf *errors)
{
    return prepare(s, &s->opt, errors);
}

int scripts_try(struct scripts *s, struct buf *errors)
{
    struct script_set *g = NULL;
    int rc = script_set_build(s, &s->opt, errors, &g);
    script_set_free(g);
    return rc;
}

void scripts_abandon(struct scripts *s)
{
    if (!s->next)
        return;
    if (s->next->drafted)
        tables_abandon(s->hub);
    script_set_free(s->next);
    s->next = NULL;
    options_drop_copy(&s->next_opt);
}

/* --- Into force --------------------------------------------------------------------------------------------------- */

static void launch(struct scripts *s);

struct settled {
    struct settled *next;
    void (*fn)(void *ctx);
    void *ctx;
};

static bool is_settled(const struct scripts *s)
{
    return !s->committing && !s->queued;
}

int scripts_when_settled(struct scripts *s, void (*fn)(void *ctx), void *ctx)
{
    if (is_settled(s)) {
        fn(ctx);
        return 0;
    }
    struct settled *x = malloc(sizeof *x);
    if (!x)
        return ERR_NOMEM;
    *x = (struct settled){.next = s->settled, .fn = fn, .ctx = ctx};
    s->settled = x;
    return 0;
}

static void tell_settled(struct scripts *s)
{
    while (s->settled && is_settled(s)) {
        struct settled *x = s->settled;
        s->settled = x->next;
        x->fn(x->ctx);
        free(x);
    }
}

/* There is no way back where this is needed: without memory for the mails it waits for some. */
static void on_each_shard(struct scripts *s, void (*fn)(struct shard *, void *), void (*done)(void *))
{
    while (hub_each(s->hub, fn, done, s) != 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* On each shard, when no old hook can run any more: the timers change hands. */
static void begin_on(struct shard *shard, void *ctx)
{
    struct scripts *s = ctx;
    shard->scripts = &s->envs[shard->index];
    s->worlds[shard->index].world.content_max = shard->opt->content_max;
    for (uint32_t i = 0; s->before && i < s->before->count; i++) {
        struct state *old = s->before->states[(size_t)shard->index * s->before->count + i];
        timers_drop(old);
        waiting_drop_all(old);
    }
    shard_set_on(s->now, shard);
    for (uint32_t i = 0; i < s->now->count; i++)
        timers_begin(s->now->states[(size_t)shard->index * s->now->count + i], shard->index == 0);
}

static void begun(void *ctx)
{
    struct scripts *s = ctx;
    script_set_free(s->before);
    s->before = NULL;
    s->committing = false;
    for (uint32_t i = 0; i < s->record_count; i++)
        for (unsigned k = 0; !s->records[i].loaded && k < s->shard_count; k++)
            atomic_store(&s->records[i].stats[k].memory, 0);
    launch(s);
    tell_settled(s);
}

static void committed(void *ctx)
{
    on_each_shard(ctx, begin_on, begun);
}

static void mark_loaded(struct scripts *s, const struct script_set *g)
{
    for (uint32_t i = 0; i < s->record_count; i++)
        s->records[i].loaded = false;
    for (uint32_t i = 0; g && i < g->count; i++)
        scripts_record(s, g->names[i])->loaded = true;
}

/* A drafted set; taken either way. */
static int commit(struct scripts *s, struct script_set *g)
{
    s->before = s->now;
    s->now = g;
    s->committing = true;
    mark_loaded(s, g);
    /* The old commands stand on what is about to go. */
    scripts_tell(s, g);
    int rc = tables_commit(s->hub, committed, s);
    if (rc == 0)
        return 0;
    tables_abandon(s->hub);
    s->now = s->before;
    s->before = NULL;
    s->committing = false;
    mark_loaded(s, s->now);
    scripts_tell(s, s->now);
    script_set_free(g);
    return rc;
}

static void nothing(struct shard *shard, void *ctx)
{
    (void)shard, (void)ctx;
}

static void waited(void *ctx)
{
    struct scripts *s = ctx;
    s->waiting = false;
    launch(s);
    tell_settled(s);
}

/* The queued set, if its turn has come. What it needs was checked when it was prepared. */
static void launch(struct scripts *s)
{
    struct script_set *g = s->queued;
    if (!g || s->committing || s->waiting)
        return;
    struct buf errors = BUF_INIT;
    s->queued = NULL;
    int rc = draft(s, g, &errors);
    if (rc == ERR_AGAIN) {
        /* Somebody else's change: when all shards have answered a later mail, they are done with it. */
        s->queued = g;
        s->waiting = true;
        on_each_shard(s, nothing, waited);
    } else if (rc != 0) {
        script_set_free(g);
    } else {
        rc = commit(s, g);
    }
    if (rc != 0 && rc != ERR_AGAIN)
        log_event(LOG_ERROR, "script.reload_failed", LOG_STR("because", err_str(rc)),
                  LOG_SLICE("error", buf_slice(&errors)));
    buf_free(&errors);
}

int scripts_commit(struct scripts *s)
{
    struct script_set *g = s->next;
    int rc = 0;
    s->next = NULL;
    if (g->drafted) {
        rc = commit(s, g);
    } else {
        script_set_free(s->queued); /* overtaken */
        s->queued = g;
        launch(s);
    }
    if (rc == 0 && s->next_opt.path) {
        options_drop_copy(&s->opt);
        s->opt = s->next_opt;
        script_store_limit(s->store, s->opt.store);
        s->next_opt = (struct scripts_options){.path = NULL};
    }
    options_drop_copy(&s->next_opt);
    return rc;
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

/* Names of buckets are hashed with a secret, which is the same on all nodes of a cluster. */
static uint64_t bucket_seed(struct hub *hub)
{
    char fresh[17], why[256] = "";
    uint64_t seed;
    struct buf out = BUF_INIT;
    random_bytes(&seed, sizeof seed);
    if (!hub || !store_is_shared(hub_store(hub)))
        return seed;
    snprintf(fresh, sizeof fresh, "%016llx", (unsigned long long)seed);
    int rc = store_agree(hub_store(hub), "buckets", slice_str(fresh), false, &out, why, sizeof why);
    buf_byte(&out, '\0');
    if (rc == 0 && buf_ok(&out))
        seed = strtoull(out.p, NULL, 16);
    else
        log_event(LOG_WARN, "script.bucket_seed", LOG_STR("because", why[0] ? why : "out of memory"));
    buf_free(&out);
    return seed;
}

static bool sites_new(struct scripts *s)
{
    uint64_t seed = bucket_seed(s->hub);
    s->envs = calloc(s->shard_count, sizeof *s->envs);
    s->worlds = calloc(s->shard_count, sizeof *s->worlds);
    for (unsigned k = 0; s->envs && s->worlds && k < s->shard_count; k++) {
        struct script_env *x = &s->envs[k];
        if (s->hub)
            hub_world_init(&s->worlds[k], s, hub_shard(s->hub, k), 0);
        x->world = &s->worlds[k].world;
        x->watched = watchdog_watch(s->dog);
        x->kv = values_new(KV_STRIPES, KV_BYTES);
        x->shared = s->shared;
        x->buckets = buckets_new();
        x->bucket_seed = seed;
        x->refunds = x->buckets ? refunds_new(x->buckets) : NULL;
        if (!x->watched || !x->kv || !x->refunds)
            return false;
    }
    return s->envs && s->worlds;
}

/* hub NULL: a dry run on one shard that there is not. */
static struct scripts *new_host(struct hub *hub)
{
    struct scripts *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->hub = hub;
    s->shard_count = hub ? hub_shard_count(hub) : 1;
    pthread_mutex_init(&s->counter_lock, NULL);
    s->dog = watchdog_new();
    s->shared = values_new(SHARED_STRIPES, SHARED_BYTES);
    s->store = script_store_new(hub);
    s->main_watched = s->dog ? watchdog_watch(s->dog) : NULL;
    if (s->main_watched && s->shared && s->store && sites_new(s))
        return s;
    scripts_free(s);
    return NULL;
}

/* What scripts of another node took for a message. */
static void charge(struct shard *shard, uint64_t bucket, double n)
{
    struct script_env *env = shard->scripts;
    if (env)
        buckets_charge(env->buckets, bucket, n, shard->now_ms);
}

struct scripts *scripts_new(struct hub *hub)
{
    struct scripts *s = new_host(hub);
    if (s && hub)
        hook_set_charge(hub, charge);
    if (s && hub)
        (void)!hub_owner_set(hub, s, "scripts"); /* without memory it has no name */
    return s;
}

void scripts_stop(struct scripts *s)
{
    if (s)
        fetcher_stop(s->fetcher);
}

void scripts_free(struct scripts *s)
{
    if (!s)
        return;
    fetcher_free(s->fetcher);
    for (unsigned k = 0; s->hub && k < s->shard_count; k++)
        hub_shard(s->hub, k)->scripts = NULL;
    scripts_abandon(s);
    script_set_free(s->queued);
    script_set_free(s->before);
    script_set_free(s->now);
    for (unsigned k = 0; s->envs && k < s->shard_count; k++) {
        values_free(s->envs[k].kv);
        refunds_free(s->envs[k].refunds);
        buckets_free(s->envs[k].buckets);
    }
    for (uint32_t i = 0; i < s->record_count; i++)
        free(s->records[i].stats);
    values_free(s->shared);
    script_store_free(s->store);
    watchdog_free(s->dog);
    options_drop_copy(&s->opt);
    pthread_mutex_destroy(&s->counter_lock);
    while (s->settled) {
        struct settled *x = s->settled;
        s->settled = x->next;
        free(x);
    }
    free(s->envs);
    free(s->worlds);
    free(s);
}

int scripts_check(const struct scripts_options *o, struct buf *errors)
{
    struct script_set *g = NULL;
    struct scripts *s = new_host(NULL);
    if (!s) {
        buf_str(errors, "scripts: out of memory\n");
        return ERR_NOMEM;
    }
    main_world_init(&s->main_world, o->content_max);
    int rc = script_set_build(s, o, errors, &g);
    script_set_free(g);
    scripts_free(s);
    return rc;
}
