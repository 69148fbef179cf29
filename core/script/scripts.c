#include "core/script/scripts.h"

#include "core/base/log.h"
#include "core/hub/tables.h"
#include "core/script/buckets.h"
#include "core/script/keep.h"
#include "core/script/scripts_internal.h"
#include "core/script/shipped.h"
#include "core/script/timer.h"
#include "core/script/watchdog.h"

#include <cjson/cJSON.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILE_MAX = 1 << 20 };

/* --- A generation -------------------------------------------------------------------------------------------------------------------- */

static void generation_free(struct generation *g)
{
    if (!g)
        return;
    for (size_t i = 0; g->states && i < (size_t)g->shard_count * g->count; i++)
        state_free(g->states[i]);
    cJSON_Delete(g->config);
    free(g->states);
    free(g->troupes);
    free(g->loading);
    free(g->hooks);
    free(g->actions);
    free(g->commands);
    free(g);
}

/* Words with slashes between: a script may lie in a folder below scripts.path, and nowhere else. */
static bool name_good(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/");
    return n > 0 && n < SCRIPT_NAME_MAX && name[n] == '\0' && name[0] != '/' && name[n - 1] != '/' && !strstr(name, "//");
}

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

/* The names to load, those that are disabled aside. */
static int take_names(struct scripts *s, struct generation *g, const struct scripts_options *o, struct buf *errors)
{
    size_t before = errors->n;
    bool too_many = false;
    for (const char *const *name = o->load; *name; name++) {
        const struct script_record *r = name_good(*name) ? scripts_record(s, *name) : NULL;
        if (!name_good(*name))
            buf_printf(
                errors,
                "scripts.load: \"%s\" is no name of a script: letters, digits, _ and -, with / for folders, and no .lua\n",
                *name);
        else if (!r || g->count == SCRIPTS_MAX)
            too_many = true;
        else if (!r->disabled)
            memcpy(g->names[g->count++], r->name, SCRIPT_NAME_MAX);
    }
    if (too_many)
        buf_printf(errors, "scripts.load: too many scripts; %d at most\n", SCRIPTS_MAX);
    for (uint32_t i = 0; i < g->count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(g->names[i], g->names[j]) == 0)
                buf_printf(errors, "scripts.load: %s is named twice\n", g->names[i]);
    return errors->n == before ? 0 : ERR_INVALID;
}

static int generation_new(struct scripts *s, const struct scripts_options *o, struct buf *errors, struct generation **out)
{
    struct generation *g = calloc(1, sizeof *g);
    if (!g)
        goto oom;
    g->host = s;
    g->shard_count = s->shard_count;
    if (take_names(s, g, o, errors) != 0) {
        generation_free(g);
        return ERR_INVALID;
    }
    g->config = cJSON_Duplicate(o->config, true);
    g->states = calloc((size_t)s->shard_count * g->count + 1, sizeof(struct state *));
    g->troupes = calloc(s->shard_count, sizeof *g->troupes);
    g->loading = calloc(s->shard_count, sizeof *g->loading);
    if ((o->config && !g->config) || !g->states || !g->troupes || !g->loading)
        goto oom;
    for (unsigned k = 0; k < s->shard_count; k++) {
        g->loading[k] =
            (struct site){.world = &s->main_world, .watched = s->main_watched, .kv = s->sites[k].kv, .shared = s->shared};
        g->troupes[k] = (struct troupe){.site = &g->loading[k],
                                        .config = g->config,
                                        .budget_us = (uint64_t)(o->budget_ms * 1000) + 1,
                                        .memory_max = o->memory,
                                        .loading = true};
    }
    *out = g;
    return 0;
oom:
    buf_str(errors, "scripts: out of memory\n");
    generation_free(g);
    return ERR_NOMEM;
}

/* --- Loading ------------------------------------------------------------------------------------------------------------------------- */

/* A shipped script where scripts.path has no file of its name. */
static bool read_shipped(const char *file, const char *name, struct buf *text)
{
    for (const struct shipped_script *x = shipped_scripts; x->name; x++) {
        if (strcmp(x->name, name) != 0)
            continue;
        log_event(LOG_INFO, "script.shipped", LOG_STR("script", name), LOG_STR("because", "there is no such file"),
                  LOG_STR("file", file));
        buf_put(text, x->text, x->n);
        return buf_ok(text);
    }
    return false;
}

static int read_file(const char *file, const char *name, struct buf *text, struct buf *errors)
{
    FILE *f = fopen(file, "re");
    if (!f && errno == ENOENT && read_shipped(file, name, text))
        return 0;
    if (!f) {
        buf_printf(errors, "%s: %s\n", file, strerror(errno));
        return ERR_IO;
    }
    char *room;
    size_t n = 1;
    while (n > 0 && text->n <= FILE_MAX && (room = buf_reserve(text, 65536)) != NULL) {
        n = fread(room, 1, 65536, f);
        text->n += n;
    }
    bool bad = ferror(f) || !buf_ok(text);
    fclose(f);
    if (bad || text->n > FILE_MAX)
        buf_printf(errors, "%s: %s\n", file, bad ? "cannot be read" : "more than 1 MiB");
    return bad || text->n > FILE_MAX ? ERR_IO : 0;
}

/* Every shard must have got the same hooks and actions, since one table in the hub stands for all. */
static bool same_shape(const struct state *a, const struct state *b)
{
    if (a->handler_count != b->handler_count || a->action_count != b->action_count || a->command_count != b->command_count)
        return false;
    for (uint32_t i = 0; i < a->handler_count; i++)
        if (a->handlers[i].event != b->handlers[i].event || a->handlers[i].priority != b->handlers[i].priority)
            return false;
    for (uint32_t i = 0; i < a->action_count; i++)
        if (a->actions[i].number != b->actions[i].number)
            return false;
    for (uint32_t i = 0; i < a->command_count; i++)
        if (strcmp(a->commands[i].name, b->commands[i].name) != 0)
            return false;
    return true;
}

static int load_script(struct scripts *s, struct generation *g, const char *path, uint32_t i, struct buf *errors)
{
    char file[512];
    struct buf text = BUF_INIT;
    snprintf(file, sizeof file, "%s/%s.lua", path, g->names[i]);
    int rc = read_file(file, g->names[i], &text, errors);
    struct script_record *r = scripts_record(s, g->names[i]);
    for (unsigned k = 0; rc == 0 && k < g->shard_count; k++) {
        struct state *st = r ? state_new(&g->troupes[k], g->names[i], &r->stats[k]) : NULL;
        g->states[(size_t)k * g->count + i] = st;
        if (!st) {
            buf_printf(errors, "%s: out of memory: does scripts.memory suffice?\n", file);
            rc = ERR_NOMEM;
        } else if ((rc = state_load(st, file, buf_slice(&text))) != 0) {
            buf_printf(errors, "%s%s%s\n", strncmp(st->error, file, strlen(file)) == 0 ? "" : file,
                       strncmp(st->error, file, strlen(file)) == 0 ? "" : ": ", st->error);
        } else if (!same_shape(g->states[i], st)) {
            buf_printf(errors, "%s: registers other hooks, actions or commands on one shard than on another\n", file);
            rc = ERR_INVALID;
        }
    }
    if (rc == 0)
        g->timers[i] = g->states[i]->timer_count;
    buf_free(&text);
    return rc;
}

/* Two scripts may not both answer one action. */
static int check_actions(const struct generation *g, struct buf *errors)
{
    uint8_t by[1000] = {0}; /* script + 1 */
    size_t before = errors->n;
    for (uint32_t i = 0; i < g->count; i++) {
        const struct state *st = g->states[i];
        for (uint32_t a = 0; a < st->action_count; a++) {
            uint16_t number = st->actions[a].number;
            if (by[number])
                buf_printf(errors, "scripts: action %u of %s is one of %s already\n", number, st->name,
                           g->names[by[number] - 1]);
            by[number] = (uint8_t)(i + 1);
        }
    }
    return errors->n == before ? 0 : ERR_INVALID;
}

static int check_login(const struct generation *g, const struct scripts_options *o, struct buf *errors)
{
    if (!o->login_needed)
        return 0;
    for (uint32_t i = 0; i < g->count; i++)
        for (uint32_t j = 0; j < g->states[i]->handler_count; j++)
            if (g->states[i]->handlers[j].event == HOOK_LOGIN)
                return 0;
    buf_str(errors, "auth.mode: is \"script\", and no script that is loaded has a \"login\" hook: nobody could log in\n");
    return ERR_INVALID;
}

static int build(struct scripts *s, const struct scripts_options *o, struct buf *errors, struct generation **out)
{
    struct generation *g;
    int rc = generation_new(s, o, errors, &g);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < g->count; i++) {
        int one = load_script(s, g, o->path, i, errors);
        rc = rc ? rc : one;
    }
    if (rc == 0)
        rc = check_actions(g, errors);
    if (rc == 0)
        rc = check_login(g, o, errors);
    if (rc != 0) {
        generation_free(g);
        return rc;
    }
    *out = g;
    return 0;
}

/* --- Options of one's own ------------------------------------------------------------------------------------------------------------- */

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

/* --- Change -------------------------------------------------------------------------------------------------------------------------- */

/* Into a draft of the hub's tables; ERR_AGAIN: they are changing just now. */
static int draft(struct scripts *s, struct generation *g, struct buf *errors)
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

static int prepare(struct scripts *s, const struct scripts_options *o, struct buf *errors)
{
    struct generation *g;
    if (s->next) {
        buf_str(errors, "scripts: another change is being prepared\n");
        return ERR_AGAIN;
    }
    int rc = build(s, o, errors, &g);
    if (rc != 0)
        return rc;
    rc = draft(s, g, errors);
    if (rc != 0 && rc != ERR_AGAIN) {
        generation_free(g);
        return rc;
    }
    s->next = g;
    return 0;
}

int scripts_prepare(struct scripts *s, const struct scripts_options *o, struct buf *errors)
{
    main_world_init(&s->main_world, o->content_max);
    int rc = prepare(s, o, errors);
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
    struct generation *g = NULL;
    int rc = build(s, &s->opt, errors, &g);
    generation_free(g);
    return rc;
}

void scripts_abandon(struct scripts *s)
{
    if (!s->next)
        return;
    if (s->next->drafted)
        tables_abandon(s->hub);
    generation_free(s->next);
    s->next = NULL;
    options_drop_copy(&s->next_opt);
}

/* --- Into force ---------------------------------------------------------------------------------------------------------------------- */

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
    shard->slots[SLOT_SCRIPT] = &s->sites[shard->index];
    s->worlds[shard->index].world.content_max = shard->opt->content_max;
    for (uint32_t i = 0; s->before && i < s->before->count; i++)
        timers_drop(s->before->states[(size_t)shard->index * s->before->count + i]);
    troupe_on(s->now, shard);
    for (uint32_t i = 0; i < s->now->count; i++)
        timers_begin(s->now->states[(size_t)shard->index * s->now->count + i], shard->index == 0);
}

static void begun(void *ctx)
{
    struct scripts *s = ctx;
    generation_free(s->before);
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

static void mark_loaded(struct scripts *s, const struct generation *g)
{
    for (uint32_t i = 0; i < s->record_count; i++)
        s->records[i].loaded = false;
    for (uint32_t i = 0; g && i < g->count; i++)
        scripts_record(s, g->names[i])->loaded = true;
}

/* A drafted generation; taken either way. */
static int commit(struct scripts *s, struct generation *g)
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
    generation_free(g);
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

/* The queued generation, if its turn has come. What it needs was checked when it was prepared. */
static void launch(struct scripts *s)
{
    struct generation *g = s->queued;
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
        generation_free(g);
    } else {
        rc = commit(s, g);
    }
    if (rc != 0 && rc != ERR_AGAIN)
        log_event(LOG_ERROR, "script.reload_failed", LOG_STR("because", err_str(rc)), LOG_SLICE("error", buf_slice(&errors)));
    buf_free(&errors);
}

int scripts_commit(struct scripts *s)
{
    struct generation *g = s->next;
    int rc = 0;
    s->next = NULL;
    if (g->drafted) {
        rc = commit(s, g);
    } else {
        generation_free(s->queued); /* overtaken */
        s->queued = g;
        launch(s);
    }
    if (rc == 0 && s->next_opt.path) {
        options_drop_copy(&s->opt);
        s->opt = s->next_opt;
        s->next_opt = (struct scripts_options){.path = NULL};
    }
    options_drop_copy(&s->next_opt);
    return rc;
}

/* --- Life ---------------------------------------------------------------------------------------------------------------------------- */

static bool sites_new(struct scripts *s)
{
    s->sites = calloc(s->shard_count, sizeof *s->sites);
    s->worlds = calloc(s->shard_count, sizeof *s->worlds);
    for (unsigned k = 0; s->sites && s->worlds && k < s->shard_count; k++) {
        struct site *x = &s->sites[k];
        if (s->hub)
            hub_world_init(&s->worlds[k], s, hub_shard(s->hub, k), 0);
        x->world = &s->worlds[k].world;
        x->watched = watchdog_watch(s->dog);
        x->kv = keep_new(KV_STRIPES, KV_BYTES);
        x->shared = s->shared;
        x->buckets = buckets_new();
        x->refunds = x->buckets ? refunds_new(x->buckets) : NULL;
        if (!x->watched || !x->kv || !x->refunds)
            return false;
    }
    return s->sites && s->worlds;
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
    s->shared = keep_new(SHARED_STRIPES, SHARED_BYTES);
    s->main_watched = s->dog ? watchdog_watch(s->dog) : NULL;
    if (s->main_watched && s->shared && sites_new(s))
        return s;
    scripts_free(s);
    return NULL;
}

struct scripts *scripts_new(struct hub *hub)
{
    struct scripts *s = new_host(hub);
    if (s && hub)
        (void)!hub_owner_set(hub, s, "scripts"); /* without memory it has no name */
    return s;
}

void scripts_free(struct scripts *s)
{
    if (!s)
        return;
    for (unsigned k = 0; s->hub && k < s->shard_count; k++)
        hub_shard(s->hub, k)->slots[SLOT_SCRIPT] = NULL;
    scripts_abandon(s);
    generation_free(s->queued);
    generation_free(s->before);
    generation_free(s->now);
    for (unsigned k = 0; s->sites && k < s->shard_count; k++) {
        keep_free(s->sites[k].kv);
        refunds_free(s->sites[k].refunds);
        buckets_free(s->sites[k].buckets);
    }
    for (uint32_t i = 0; i < s->record_count; i++)
        free(s->records[i].stats);
    keep_free(s->shared);
    watchdog_free(s->dog);
    options_drop_copy(&s->opt);
    pthread_mutex_destroy(&s->counter_lock);
    while (s->settled) {
        struct settled *x = s->settled;
        s->settled = x->next;
        free(x);
    }
    free(s->sites);
    free(s->worlds);
    free(s);
}

int scripts_check(const struct scripts_options *o, struct buf *errors)
{
    struct generation *g = NULL;
    struct scripts *s = new_host(NULL);
    if (!s) {
        buf_str(errors, "scripts: out of memory\n");
        return ERR_NOMEM;
    }
    main_world_init(&s->main_world, o->content_max);
    int rc = build(s, o, errors, &g);
    generation_free(g);
    scripts_free(s);
    return rc;
}
