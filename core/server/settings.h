/*
 * A config file with all that it names: the plugins and their options, the scripts, what this version does not serve.
 * Checked as a whole, before anything is opened or changed.
 */
#ifndef MAGPIE_SERVER_SETTINGS_H
#define MAGPIE_SERVER_SETTINGS_H

#include "core/base/buf.h"
#include "core/plugin/plugins.h"
#include "core/script/scripts.h"

#include <stdbool.h>

struct cJSON;
struct config;

/* Reads the file and checks it, the scripts aside. `running`: the plugins of a server that reloads; NULL: none run. The
 * config is the caller's; NULL: every error is a line in `errors`. */
struct config *settings_load(struct plugins *running, const char *path, struct buf *errors);
/* Loads the scripts as the server would, and forgets them. False, with lines in `errors`. */
bool settings_check_scripts(const struct config *c, struct buf *errors);
/* What is allowed, and probably not meant, goes to the log. */
void settings_log_doubts(const struct config *c);

/* What the config says of plugins and scripts, for those who run them; borrows from the config. tree: config_tree(c),
 * or NULL when there was no memory for it. */
struct plugin_config settings_plugins(const struct config *c, const char *path);
struct scripts_options settings_scripts(const struct config *c, const struct cJSON *tree);
/* The directory that holds the key's file; NULL: a store that keeps nothing has none. */
const char *settings_secret_directory(const struct config *c);

#endif
