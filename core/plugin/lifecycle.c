/*
 * The life of a plugin, step by step (enum plugin_state). Before the shards run, each step ends inside the call that
 * begins it, so that a plugin is loaded when plugin_load() returns; later, steps end in callbacks on the main thread,
 * and what must be tried again (the tables are in somebody else's hands, no memory, something is still under way) is
 * tried by the poll timer.
 *
 * Order of the way out, and why:
 *  1. closing: nothing new may begin; commands and metrics go, main's timers end.
 *  2. the tables without it, on every shard: no hook, action, route or login reaches it any more.
 *  3. on each shard: timers and descriptors end, connections of its paths are closed (their `closed` is called).
 *  4. what is under way ends: posts, works, operations tell the plugin how they went. Only its own code can still run
 *     now, and it ends.
 *  5. requests that it did not answer are answered for it. Not before 4: its code may still hold their handles.
 *  6. shard_fini() on each shard, fini(), the drop of the values in force, and the ledger is empty.
 */
#include "core/plugin/lifecycle.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/hub/registry/route.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shards.h"
#include "core/plugin/current.h"
#include "core/plugin/loader.h"
#include "core/plugin/memory.h"
#include "core/plugin/options.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/register.h"
#include "core/plugin/reload.h"
#include "core/plugin/threads.h"
#include "core/plugin/ticket.h"
#include "core/plugin/work.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

static void step(struct mp_self *p);

static void set_state(struct mp_self *p, enum plugin_state state)
{
    p->state = state;
    p->changed_ms = clock_mono_ms();
}

/* --- Telling how it ended ----------------------------------------------------------------------------------------- */

static void tell_waiter(struct mp_self *p, const char *code, const char *text)
{
    struct command_call *c = p->waiter;
    p->waiter = NULL;
    if (!c)
        return;
    if (code) {
        command_fail(c, code, "%s", text);
        return;
    }
    buf_json_string(&c->out, slice_str(text));
    command_done(c);
}

static void loaded(struct mp_self *p)
{
    char text[256];
    set_state(p, PLUGIN_RUNNING);
    p->loaded_ms = p->changed_ms;
    log_event(LOG_INFO, "plugin.loaded", LOG_STR("plugin", p->name), LOG_STR("version", p->desc->version),
              LOG_STR("file", p->file));
    snprintf(text, sizeof text, "%s %s is loaded", p->name, p->desc->version);
    tell_waiter(p, NULL, text);
    const struct cJSON *json = cJSON_GetObjectItemCaseSensitive(p->plugins->setup.config, p->name);
    if (p->overtaken && json && plugin_prepare(p, json) == 0)
        plugin_adopt(p, json);
    p->overtaken = false;
}

/* --- The way in --------------------------------------------------------------------------------------------------- */

static void fail(struct mp_self *p)
{
    log_event(LOG_ERROR, "plugin.failed", LOG_STR("plugin", p->name), LOG_STR("because", p->why));
    plugin_unload(p, NULL);
}

static void shard_in(struct shard *s, void *ctx)
{
    struct mp_self *p = ctx;
    struct mp_thread *t = thread_of(p->plugins, s);
    struct local *l = &p->local[t->index + 1];
    int rc = 0;
    if (p->desc->shard_init) {
        struct visit v = visit_begin(t, p, "shard_init()");
        rc = p->desc->shard_init(p->data, t, &l->shard_state);
        visit_end(t, &v);
    }
    l->inited = rc == 0;
    if (rc != 0)
        atomic_store(&p->shard_error, rc);
}

static void shards_in(void *ctx)
{
    struct mp_self *p = ctx;
    int rc = atomic_load(&p->shard_error);
    set_state(p, PLUGIN_COMMIT);
    if (atomic_load(&p->closing)) { /* unloaded meanwhile: plugin_unload() has left the rest to us */
        set_state(p, PLUGIN_REMOVE);
        step(p);
    } else if (rc != 0) {
        snprintf(p->why, sizeof p->why, "shard_init() failed with %d (%s); its lines in the log tell more", rc,
                 plugin_error_text(rc));
        fail(p);
    } else {
        posts_release(p);
        work_release(p);
        step(p);
    }
}

static void committed(void *ctx)
{
    struct mp_self *p = ctx;
    p->committed = true;
    if (atomic_load(&p->closing)) { /* unloaded meanwhile */
        set_state(p, PLUGIN_REMOVE);
        step(p);
        return;
    }
    loaded(p);
}

static void commit(struct mp_self *p)
{
    struct hub *hub = p->plugins->hub;
    int rc = tables_begin(hub);
    if (rc == ERR_AGAIN || rc == ERR_NOMEM)
        return;
    if (rc != 0 || regs_commit(p) != 0) {
        if (rc == 0)
            tables_abandon(hub);
        fail(p);
        return;
    }
    char name[80];
    snprintf(name, sizeof name, "plugin %s", p->name);
    (void)!hub_owner_set(hub, p, name); /* for list hooks, list actions; without memory it has no name */
    set_state(p, PLUGIN_COMMITTING);
    if (tables_commit(hub, committed, p) != 0) {
        tables_abandon(hub);
        set_state(p, PLUGIN_COMMIT);
    }
}

/* --- The way out -------------------------------------------------------------------------------------------------- */

static void removed(void *ctx)
{
    struct mp_self *p = ctx;
    p->committed = false;
    (void)!hub_owner_set(p->plugins->hub, p, NULL);
    set_state(p, PLUGIN_STOP);
    step(p);
}

static void withdraw(struct mp_self *p)
{
    struct hub *hub = p->plugins->hub;
    if (!p->committed) {
        removed(p);
        return;
    }
    if (tables_begin(hub) != 0)
        return;
    tables_remove(hub, p);
    set_state(p, PLUGIN_REMOVING);
    if (tables_commit(hub, removed, p) != 0) {
        tables_abandon(hub);
        set_state(p, PLUGIN_REMOVE);
    }
}

static void shard_stop(struct shard *s, void *ctx)
{
    struct mp_self *p = ctx;
    watchers_end(p, thread_of(p->plugins, s));
    if (s->net)
        upgrades_close(s, p);
}

static void shards_stopped(void *ctx)
{
    struct mp_self *p = ctx;
    watchers_end(p, &p->plugins->threads[0]);
    set_state(p, PLUGIN_WAITING);
    step(p);
}

static void shard_out(struct shard *s, void *ctx)
{
    struct mp_self *p = ctx;
    struct mp_thread *t = thread_of(p->plugins, s);
    struct local *l = &p->local[t->index + 1];
    if (l->inited && p->desc->shard_fini) {
        struct visit v = visit_begin(t, p, "shard_fini()");
        p->desc->shard_fini(p->data, t, l->shard_state);
        visit_end(t, &v);
    }
    l->inited = false;
}

static void plugin_free(struct mp_self *p)
{
    struct mp_self **at = &p->plugins->list;
    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
    regs_free(p);
    checked_free(p);
    options_free(p->options);
    cJSON_Delete(p->json);
    pthread_mutex_destroy(&p->lock);
    free(p->local);
    free(p->file);
    free(p);
}

static void shards_out(void *ctx)
{
    struct mp_self *p = ctx;
    char text[640];
    if (p->inited && p->desc->fini) {
        struct visit v = visit_begin(&p->plugins->threads[0], p, "fini()");
        p->desc->fini(p->data);
        visit_end(&p->plugins->threads[0], &v);
    }
    currents_free(p);
    size_t left = memory_free_all(p);
    if (left)
        log_event(LOG_WARN, "plugin.leak", LOG_STR("plugin", p->name), LOG_INT("bytes", left));
    if (p->why[0]) {
        snprintf(text, sizeof text, "%s is not loaded: %s", p->name, p->why);
        tell_waiter(p, "invalid", text);
    } else {
        log_event(LOG_INFO, "plugin.unloaded", LOG_STR("plugin", p->name));
        snprintf(text, sizeof text, "%s is unloaded", p->name);
        tell_waiter(p, NULL, text);
    }
    set_state(p, PLUGIN_DEAD);
}

static bool idle(const struct mp_self *p)
{
    for (unsigned i = 0; i < PENDING_KINDS; i++)
        if (atomic_load(&p->pending[i]))
            return false;
    return true;
}

/* --- Steps -------------------------------------------------------------------------------------------------------- */

/* Runs fn on every shard and then done; in between the plugin is in `state`. Without memory it stays where it is. */
static void on_shards(struct mp_self *p, void (*fn)(struct shard *s, void *ctx), void (*done)(void *ctx),
                      enum plugin_state state)
{
    enum plugin_state before = p->state;
    set_state(p, state);
    if (hub_each(p->plugins->hub, fn, done, p) != 0)
        set_state(p, before);
}

/* Goes on from where it is, as far as possible now. */
static void step(struct mp_self *p)
{
    switch (p->state) {
    case PLUGIN_COMMIT:
        commit(p);
        break;
    case PLUGIN_REMOVE:
        withdraw(p);
        break;
    case PLUGIN_STOP:
        on_shards(p, shard_stop, shards_stopped, PLUGIN_STOPPING);
        break;
    case PLUGIN_WAITING:
        if (atomic_load(
                &p->holding)) { /* a shard_init() may have posted after plugin_unload() had dropped the others */
            posts_drop(p);
            work_cancel(p);
        }
        if (!idle(p))
            break;
        opens_abandon(p);
        set_state(p, PLUGIN_FINI);
        on_shards(p, shard_out, shards_out, PLUGIN_FINISHING);
        break;
    case PLUGIN_FINI:
        on_shards(p, shard_out, shards_out, PLUGIN_FINISHING);
        break;
    default:
        break;
    }
}

void plugin_unload(struct mp_self *p, struct command_call *waiter)
{
    if (waiter && p->waiter) {
        command_fail(waiter, "busy", "somebody waits for this plugin already");
        waiter = NULL;
    }
    if (waiter)
        p->waiter = waiter;
    if (atomic_exchange(&p->closing, true))
        return;
    commands_remove(p->plugins->hub, p);
    metrics_remove(p->plugins->hub, p);
    watchers_end(p, &p->plugins->threads[0]);
    if (atomic_load(&p->holding)) {
        posts_drop(p);
        work_cancel(p);
    }
    ev_timer_again(p->plugins->env.loop, &p->plugins->poll);
    /* What runs on the shards now ends in a callback, which sees `closing`. */
    if (p->state == PLUGIN_SHARDS || p->state == PLUGIN_COMMITTING)
        return;
    set_state(p, PLUGIN_REMOVE);
    step(p);
}

static const char *const step_names[] = {
    [PLUGIN_OPEN] = "being loaded",
    [PLUGIN_SHARDS] = "being loaded",
    [PLUGIN_COMMIT] = "being loaded",
    [PLUGIN_COMMITTING] = "being loaded",
    [PLUGIN_RUNNING] = "running",
    [PLUGIN_REMOVE] = "being unloaded",
    [PLUGIN_REMOVING] = "being unloaded",
    [PLUGIN_STOP] = "being unloaded",
    [PLUGIN_STOPPING] = "being unloaded",
    [PLUGIN_WAITING] = "being unloaded",
    [PLUGIN_FINI] = "being unloaded",
    [PLUGIN_FINISHING] = "being unloaded",
    [PLUGIN_DEAD] = "gone",
};

const char *plugin_state_name(const struct mp_self *p)
{
    return step_names[p->state];
}

void plugin_put_pending(const struct mp_self *p, struct buf *out)
{
    static const char *const names[] = {"posts", "works", "operations", "replaced values"};
    for (unsigned i = 0; i < PENDING_KINDS; i++) {
        uint32_t n = atomic_load(&p->pending[i]);
        if (n)
            buf_printf(out, "%s%u %s", out->n ? ", " : "", n, names[i]);
    }
    if (!out->n)
        buf_str(out, p->state == PLUGIN_WAITING ? "nothing" : "a shard");
}

/* --- Polling ------------------------------------------------------------------------------------------------------ */

/* Ten seconds in one step are too many: said once, and whoever waits for it is let go. It goes on. */
static void report_stuck(struct mp_self *p)
{
    enum { STUCK_MS = 10000 };
    if (p->state == PLUGIN_RUNNING || clock_mono_ms() - p->changed_ms < STUCK_MS || p->told_ms == p->changed_ms)
        return;
    struct buf what = BUF_INIT;
    char text[256];
    plugin_put_pending(p, &what);
    p->told_ms = p->changed_ms;
    log_event(LOG_WARN, "plugin.stuck", LOG_STR("plugin", p->name), LOG_STR("state", plugin_state_name(p)),
              LOG_SLICE("waits_for", buf_slice(&what)));
    snprintf(text, sizeof text, "%s is still %s: it waits for %.*s; that goes on", p->name, plugin_state_name(p),
             (int)what.n, what.p ? what.p : "");
    tell_waiter(p, "unavailable", text);
    buf_free(&what);
}

void plugin_poll(struct plugins *ps)
{
    bool moving = false;
    for (struct mp_self *p = ps->list, *next; p; p = next) {
        next = p->next;
        if (p->state != PLUGIN_DEAD)
            step(p);
        if (p->state == PLUGIN_DEAD) {
            plugin_free(p);
            continue;
        }
        report_stuck(p);
        moving = moving || p->state != PLUGIN_RUNNING;
    }
    if (!moving)
        ev_timer_stop(ps->env.loop, &ps->poll);
}

/* --- Loading ------------------------------------------------------------------------------------------------------ */

struct mp_self *plugin_find(const struct plugins *ps, const char *name)
{
    for (struct mp_self *p = ps->list; p; p = p->next)
        if (p->state != PLUGIN_DEAD && strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static struct mp_self *plugin_new(struct plugins *ps, const char *name, const struct cJSON *json)
{
    struct mp_self *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->plugins = ps;
    snprintf(p->name, sizeof p->name, "%s", name);
    pthread_mutex_init(&p->lock, NULL);
    atomic_store(&p->holding, true);
    p->held_last = &p->held;
    p->local = calloc(ps->thread_count, sizeof *p->local);
    p->json = json ? cJSON_Duplicate(json, true) : cJSON_CreateObject();
    struct mp_self **at = &ps->list; /* at the end: in the order of the config */
    while (*at)
        at = &(*at)->next;
    *at = p;
    if (p->local && p->json)
        return p;
    plugin_free(p);
    return NULL;
}

/* init() with everything open that it may do. */
static int run_init(struct mp_self *p)
{
    struct mp_thread *t = &p->plugins->threads[0];
    p->may_register = true;
    struct visit v = visit_begin(t, p, "init()");
    int rc = p->desc->init(p, &plugin_api, p->options, &p->data);
    visit_end(t, &v);
    p->may_register = false;
    p->inited = rc == 0;
    if (rc != 0 && p->refusal[0])
        snprintf(p->why, sizeof p->why, "init() failed with %d: %s", rc, p->refusal);
    else if (rc != 0)
        snprintf(p->why, sizeof p->why, "init() failed with %d (%s); its lines in the log tell more", rc,
                 plugin_error_text(rc));
    return rc;
}

/* The provider that its description promises, or main would believe that auth.mode is served. */
static bool keeps_promise(struct mp_self *p)
{
    if (!p->desc->auth_mode)
        return true;
    for (const struct reg *r = p->regs; r; r = r->next)
        if (r->kind == REG_AUTH)
            return true;
    snprintf(p->why, sizeof p->why, "it promises to serve auth.mode \"%s\", but init() has registered no provider",
             p->desc->auth_mode);
    return false;
}

static void begin(struct mp_self *p)
{
    struct plugins *ps = p->plugins;
    if (run_init(p) != 0 || !keeps_promise(p)) {
        fail(p);
        return;
    }
    ev_timer_again(ps->env.loop, &ps->poll);
    set_state(p, PLUGIN_SHARDS);
    if (hub_each(ps->hub, shard_in, shards_in, p) != 0) {
        snprintf(p->why, sizeof p->why, "out of memory");
        set_state(p, PLUGIN_OPEN);
        fail(p);
    }
}

int plugin_load(struct plugins *ps, const char *name, const struct cJSON *json, struct command_call *waiter,
                struct buf *errors)
{
    char why[512], prefix[256], check_why[1024] = "";
    snprintf(prefix, sizeof prefix, "%s: plugins.load.%s", ps->setup.file ? ps->setup.file : "config", name);
    if (plugin_find(ps, name)) {
        buf_printf(errors, "%s: it is loaded already (%s)\n", prefix, plugin_state_name(plugin_find(ps, name)));
        return ERR_EXISTS;
    }
    struct mp_self *p = plugin_new(ps, name, json);
    if (!p) {
        buf_printf(errors, "%s: out of memory\n", prefix);
        return ERR_NOMEM;
    }
    p->desc = image_open(ps->setup.path, name, &p->file, why, sizeof why);
    if (!p->desc)
        buf_printf(errors, "%s: %s\n", prefix, why);
    else
        p->options = options_read(p->desc, p->json, prefix, errors);
    if (p->options && plugin_check(p->desc, NULL, p->options, check_why, sizeof check_why) != 0) {
        buf_printf(errors, "%s: %s\n", prefix, check_why[0] ? check_why : "its options are refused");
        options_free(p->options);
        p->options = NULL;
    }
    if (!p->options) {
        plugin_free(p);
        return ERR_INVALID;
    }
    p->waiter = waiter;
    begin(p);
    return 0;
}
