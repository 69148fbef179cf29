/* All plugins together: what main asks for. */
#include "core/plugin/plugins.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/hub/shard/shards.h"
#include "core/plugin/commands.h"
#include "core/plugin/lifecycle.h"
#include "core/plugin/loader.h"
#include "core/plugin/options.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/questions.h"
#include "core/plugin/reload.h"
#include "core/plugin/ticket.h"
#include "core/plugin/watch.h"
#include "core/plugin/work.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void on_poll(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    plugin_poll(w->data);
}

struct plugins *plugins_new(const struct plugin_env *env)
{
    struct plugins *ps = calloc(1, sizeof *ps);
    if (!ps)
        return NULL;
    ps->env = *env;
    ps->hub = env->hub;
    ps->thread_count = hub_shard_count(env->hub) + 1;
    ps->threads = calloc(ps->thread_count, sizeof *ps->threads);
    ps->last = &ps->first;
    pthread_mutex_init(&ps->lock, NULL);
    pthread_cond_init(&ps->wake, NULL);
    tickets_init(ps);
    ev_timer_init(&ps->poll, on_poll, 0., 0.005);
    ps->poll.data = ps;
    if (!ps->threads || plugin_commands_register(ps) != 0) {
        tickets_free(ps);
        free(ps->threads);
        free(ps);
        return NULL;
    }
    ps->threads[0] = (struct mp_thread){.plugins = ps, .mailbox = hub_main(env->hub), .loop = env->loop, .index = -1};
    for (unsigned i = 1; i < ps->thread_count; i++) {
        struct shard *s = hub_shard(env->hub, i - 1);
        ps->threads[i] =
            (struct mp_thread){.plugins = ps, .shard = s, .mailbox = &s->mailbox, .loop = s->loop, .index = (int)i - 1};
    }
    watch_start(ps);
    questions_begin(ps);
    return ps;
}

static void setup_free(struct plugin_setup *s)
{
    free(s->path);
    free(s->file);
    cJSON_Delete(s->config);
    *s = (struct plugin_setup){.path = NULL};
}

void plugins_free(struct plugins *ps)
{
    if (!ps)
        return;
    questions_end(ps);
    commands_remove(ps->hub, ps);
    watch_stop(ps);
    ev_timer_stop(ps->env.loop, &ps->poll);
    workers_end(ps);
    pthread_mutex_destroy(&ps->lock);
    pthread_cond_destroy(&ps->wake);
    tickets_free(ps);
    setup_free(&ps->setup);
    setup_free(&ps->next);
    free(ps->threads);
    free(ps);
}

/* --- Checking ----------------------------------------------------------------------------------------------------- */

static void check_one(struct plugins *ps, const struct plugin_config *c, const struct cJSON *each,
                      const char *auth_mode, bool *auth_served, struct buf *errors)
{
    char why[512], prefix[512], *file = NULL;
    struct mp_self *running = ps ? plugin_find(ps, each->string) : NULL;
    snprintf(prefix, sizeof prefix, "%s: plugins.load.%s", c->file, each->string);
    const struct mp_plugin *d = running ? running->desc : image_open(c->path, each->string, &file, why, sizeof why);
    free(file);
    if (!d) {
        buf_printf(errors, "%s: %s\n", prefix, why);
        return;
    }
    if (d->auth_mode && strcmp(d->auth_mode, auth_mode) == 0)
        *auth_served = true;
    struct mp_options *o = options_read(d, each, prefix, errors);
    bool may_apply = running && running->state == PLUGIN_RUNNING && !atomic_load(&running->closing);
    size_t before = errors->n;
    if (o)
        options_check(d, may_apply ? running->data : NULL, o, prefix, errors);
    if (o && may_apply && d->apply && errors->n == before)
        checked_keep(running, each, o);
    else
        options_free(o);
}

void plugins_check(struct plugins *ps, const struct plugin_config *c, const char *auth_mode, bool *auth_served,
                   struct buf *errors)
{
    *auth_served = false;
    for (const struct cJSON *each = c->load ? c->load->child : NULL; each; each = each->next)
        check_one(ps, c, each, auth_mode, auth_served, errors);
}

/* --- The config --------------------------------------------------------------------------------------------------- */

static int setup_copy(struct plugin_setup *s, const struct plugin_config *c)
{
    setup_free(s);
    s->path = strdup(c->path);
    s->file = strdup(c->file);
    s->config = c->load ? cJSON_Duplicate(c->load, true) : cJSON_CreateObject();
    if (s->path && s->file && s->config)
        return 0;
    setup_free(s);
    return ERR_NOMEM;
}

int plugins_start(struct plugins *ps, const struct plugin_config *c, struct buf *errors)
{
    if (setup_copy(&ps->setup, c) != 0) {
        buf_printf(errors, "%s: plugins: out of memory\n", c->file);
        return ERR_NOMEM;
    }
    size_t before = errors->n;
    for (const struct cJSON *each = ps->setup.config->child; each; each = each->next) {
        if (plugin_load(ps, each->string, each, NULL, errors) != 0)
            continue;
        for (const struct mp_self *p = ps->list; p; p = p->next)
            if (strcmp(p->name, each->string) == 0 && p->why[0])
                buf_printf(errors, "%s: plugins.load.%s: %s\n", c->file, p->name, p->why);
    }
    plugin_poll(ps);
    /* So far the main thread stood in for the shards. */
    for (unsigned i = 1; i < ps->thread_count; i++)
        atomic_store(&ps->threads[i].self, 0);
    return errors->n == before && buf_ok(errors) ? 0 : ERR_INVALID;
}

int plugins_prepare(struct plugins *ps, const struct plugin_config *c)
{
    if (setup_copy(&ps->next, c) != 0)
        return ERR_NOMEM;
    for (struct mp_self *p = ps->list; p; p = p->next) {
        const struct cJSON *json = cJSON_GetObjectItemCaseSensitive(c->load, p->name);
        if (json && p->desc->apply && p->state == PLUGIN_RUNNING && plugin_prepare(p, json) == ERR_NOMEM)
            return ERR_NOMEM;
    }
    return 0;
}

void plugins_reload(struct plugins *ps)
{
    if (!ps->next.config)
        return;
    setup_free(&ps->setup);
    ps->setup = ps->next;
    ps->next = (struct plugin_setup){.path = NULL};
    for (struct mp_self *p = ps->list; p; p = p->next) {
        const struct cJSON *json = cJSON_GetObjectItemCaseSensitive(ps->setup.config, p->name);
        if (p->state == PLUGIN_DEAD || atomic_load(&p->closing))
            continue;
        if (!json)
            plugin_unload(p, NULL);
        else if (p->state == PLUGIN_RUNNING)
            plugin_adopt(p, json);
        else
            p->overtaken = true;
    }
    for (const struct cJSON *each = ps->setup.config->child; each; each = each->next) {
        const struct mp_self *p = plugin_find(ps, each->string);
        struct buf errors = BUF_INIT;
        if (p && atomic_load(&p->closing))
            buf_str(&errors, "it is still being unloaded; `plugin load` it when it is gone");
        else if (!p)
            (void)plugin_load(ps, each->string, each, NULL, &errors);
        if (errors.n)
            log_event(LOG_ERROR, "plugin.failed", LOG_STR("plugin", each->string),
                      LOG_SLICE("because", buf_slice(&errors)));
        buf_free(&errors);
    }
}

/* --- The end ------------------------------------------------------------------------------------------------------ */

bool plugins_stop(struct plugins *ps, unsigned timeout_ms)
{
    if (!ps)
        return true;
    uint64_t until = clock_mono_ms() + timeout_ms;
    bool started = ps->hub->started;
    ps->stopping = true;
    for (struct mp_self *p = ps->list; p; p = p->next)
        if (p->state != PLUGIN_DEAD)
            plugin_unload(p, NULL);
    plugin_poll(ps);
    while (ps->list && clock_mono_ms() < until) {
        if (started) {
            ev_run(ps->env.loop, EVRUN_ONCE);
            continue;
        }
        /* The shards do not run: their mail is ours. */
        for (unsigned i = 1; i < ps->thread_count; i++)
            mailbox_run(ps->threads[i].mailbox, ps->threads[i].shard);
        ev_run(ps->env.loop, EVRUN_NOWAIT);
        if (ps->list)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    for (struct mp_self *p = ps->list; p; p = p->next) {
        struct buf what = BUF_INIT;
        plugin_put_pending(p, &what);
        log_event(LOG_ERROR, "plugin.stuck", LOG_STR("plugin", p->name), LOG_STR("state", plugin_state_name(p)),
                  LOG_SLICE("waits_for", buf_slice(&what)));
        buf_free(&what);
    }
    if (ps->list) {
        pthread_mutex_lock(&ps->lock);
        ps->abandoned = true;
        pthread_mutex_unlock(&ps->lock);
    }
    return ps->list == NULL;
}
