/*
 * Plugins: loading, checking, reloading, unloading. All functions: main thread.
 *
 * What a plugin may do is said in plugins/magpie_plugin.h; README.md here tells how it is kept.
 */
#ifndef MAGPIE_PLUGIN_PLUGINS_H
#define MAGPIE_PLUGIN_PLUGINS_H

#include "core/base/buf.h"
#include "core/base/err.h"

#include <stdbool.h>

struct cJSON;
struct ev_loop;
struct hub;
struct plugins;

/* What plugins need of the server beside the hub. All borrowed, and must outlive the struct plugins. */
struct plugin_env {
    struct hub *hub;
    struct ev_loop *loop; /* of the main thread */
    const char *data;     /* the data directory */
    /* A value of the config in force, as text; ERR_NOTFOUND: none, a list, or a secret. */
    int (*config)(void *ctx, const char *path, struct buf *out);
    void *ctx; /* of config */
};

/* What the config says about plugins. All borrowed. */
struct plugin_config {
    const char *file;         /* the config file, for errors; they read "FILE: plugins.load.NAME.OPTION: …" */
    const char *path;         /* directory of NAME.so */
    const struct cJSON *load; /* an object: name → options */
};

/* Before hub_start(). NULL: out of memory. Registers the commands `plugin …`. */
struct plugins *plugins_new(const struct plugin_env *env);
/* After plugins_stop(). */
void plugins_free(struct plugins *ps);

/* Opens every plugin of the config and checks it, its options too; what is wrong is appended to `errors`, one a line.
 * `ps`: those that run (their check() gets their state); NULL: none. `auth_mode`: of the config; *auth_served is set to
 * whether a plugin provides it. Nothing is changed. */
void plugins_check(struct plugins *ps, const struct plugin_config *c, const char *auth_mode, bool *auth_served,
                   struct buf *errors);
/* Loads them, before hub_start(). ERR_INVALID: one of them failed; why is appended to `errors`. */
MUST_CHECK int plugins_start(struct plugins *ps, const struct plugin_config *c, struct buf *errors);
/* Makes everything ready for plugins_reload() with a config that plugins_check() found good, or that differs from
 * one in other values. A running plugin whose check() refuses its options all the same keeps the old ones, which is
 * logged. */
MUST_CHECK int plugins_prepare(struct plugins *ps, const struct plugin_config *c);
/* Brings what was prepared into force: hands running plugins their options, unloads those that it does not name, loads
 * new ones. The latter two end later; their failures are logged. */
void plugins_reload(struct plugins *ps);
/* Unloads all; runs the main loop meanwhile (or, when the hub has not been started, the mailboxes). False: some have
 * not ended within the time, and nothing that their code or the hub's threads may use can be freed. Before
 * hub_stop(). */
MUST_CHECK bool plugins_stop(struct plugins *ps, unsigned timeout_ms);

#endif
