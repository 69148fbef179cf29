/*
 * Running the config file: text in, a tree out.
 *
 * The chunk sees KiB, MiB, GiB, seconds, minutes, hours, days and env(name [, default]), and no library at all. Its
 * memory, its instructions and the size of what it returns are bounded. So a config file can be wrong, but it never
 * hangs the server or fills the machine.
 */
#ifndef MAGPIE_CONFIG_CONFIG_LUA_H
#define MAGPIE_CONFIG_CONFIG_LUA_H

#include "core/base/buf.h"
#include "core/base/slice.h"

struct cJSON;

/*
 * The returned table: lists (keys 1..n) as arrays, other tables (the empty one too) as objects, where a key that is no
 * text stands as "[1]". Numbers may be NaN or infinite. What has no place in a config is a cJSON_Raw that says what was
 * found ("a function"). On failure NULL, with one line in `error` that begins with `name` and, where known, the line's
 * number. Free with cJSON_Delete().
 */
struct cJSON *config_lua_run(struct slice text, const char *name, struct buf *error);

#endif
