#include "core/server/settings.h"

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/server/secure.h"

#include <cjson/cJSON.h>
#include <string.h>

struct plugin_config settings_plugins(const struct config *c, const char *path)
{
    return (struct plugin_config){.file = path, .path = c->plugins.path, .load = c->plugins.load};
}

/* The plugins, their options, and whether one of them serves auth.mode. */
static void check_plugins(struct plugins *running, const struct config *c, const char *path, struct buf *errors)
{
    struct plugin_config pc = settings_plugins(c, path);
    bool served = false;
    plugins_check(running, &pc, c->auth.mode, &served, errors);
    if (strcmp(c->auth.mode, "open") != 0 && strcmp(c->auth.mode, "script") != 0 && !served)
        buf_printf(errors,
                   "%s: auth.mode: no provider registered for auth.mode \"%s\": no plugin of plugins.load serves it\n",
                   path, c->auth.mode);
}

struct config *settings_load(struct plugins *running, const char *path, struct buf *errors)
{
    struct config *c = config_load(path, errors);
    if (!c)
        return NULL;
    secure_check(c, path, errors);
    check_plugins(running, c, path, errors);
    if (errors->n == 0 && buf_ok(errors))
        return c;
    config_free(c);
    return NULL;
}

void settings_log_doubts(const struct config *c)
{
    if (c->listen.metrics.n && !cJSON_GetObjectItemCaseSensitive(c->plugins.load, "metrics"))
        log_event(LOG_WARN, "config.doubt",
                  LOG_STR("about", "listen.metrics has an address, but plugins.load has no metrics: nothing answers "
                                   "there but /health and /ready"));
    if (c->limits.output_queue < c->limits.page)
        log_event(
            LOG_WARN, "config.doubt",
            LOG_STR("about",
                    "limits.output_queue is smaller than limits.page: a full page of history closes the connection"));
}

struct scripts_options settings_scripts(const struct config *c, const struct cJSON *tree)
{
    return (struct scripts_options){.path = c->scripts.path,
                                    .load = (const char *const *)c->scripts.load.v,
                                    .budget_ms = c->scripts.budget_ms,
                                    .memory = c->scripts.memory,
                                    .store = c->scripts.store,
                                    .content_max = (uint32_t)c->limits.content,
                                    .login_needed = strcmp(c->auth.mode, "script") == 0,
                                    .config = tree};
}

bool settings_check_scripts(const struct config *c, struct buf *errors)
{
    struct cJSON *tree = config_tree(c);
    struct scripts_options o = settings_scripts(c, tree);
    bool good = tree && scripts_check(&o, errors) == 0;
    cJSON_Delete(tree);
    return good;
}

const char *settings_secret_directory(const struct config *c)
{
    return c->storage.engine == ENGINE_MEMORY && !c->cluster.redis.n ? NULL : c->data;
}
