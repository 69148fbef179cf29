#include "core/config/config.h"

#include "core/config/config_check.h"
#include "core/config/config_edit.h"
#include "core/config/config_lua.h"
#include "core/config/config_private.h"
#include "core/config/config_read.h"
#include "core/config/config_schema.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 }; /* bytes of a config file */

/* --- One value by its type -------------------------------------------------------------------------------------- */

static void free_member(struct config *c, const struct config_option *o)
{
    void *member = config_member(c, o);
    if (o->type == OPT_TEXT) {
        free(*(char **)member);
    } else if (o->type == OPT_PLUGINS) {
        cJSON_Delete(*(struct cJSON **)member);
    } else if (o->type == OPT_ADDRESSES || o->type == OPT_TEXTS || o->type == OPT_FILES) {
        struct config_strings *list = member;
        for (uint32_t i = 0; i < list->n; i++)
            free(list->v[i]);
        free(list->v);
    }
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_list(const struct config_strings *a, const struct config_strings *b)
{
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++)
        if (strcmp(a->v[i], b->v[i]) != 0)
            return false;
    return true;
}

static bool same_member(const struct config *x, const struct config *y, const struct config_option *o)
{
    const void *a = config_member_const(x, o), *b = config_member_const(y, o);
    switch (o->type) {
    case OPT_SECTION:
        return true;
    case OPT_COUNT:
        return *(const uint32_t *)a == *(const uint32_t *)b;
    case OPT_SIZE:
        return *(const uint64_t *)a == *(const uint64_t *)b;
    case OPT_SECONDS:
    case OPT_MS:
        return !(*(const double *)a < *(const double *)b) && !(*(const double *)a > *(const double *)b);
    case OPT_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case OPT_ENUM:
        return *(const int *)a == *(const int *)b;
    case OPT_TEXT:
        return same_text(*(char *const *)a, *(char *const *)b);
    case OPT_ADDRESSES:
    case OPT_TEXTS:
    case OPT_FILES:
        return same_list(a, b);
    case OPT_PLUGINS:
        return cJSON_Compare(*(struct cJSON *const *)a, *(struct cJSON *const *)b, true);
    }
    return false;
}

/* --- Loading ------------------------------------------------------------------------------------------------------ */

/* A config with every default: they are a config file too. NULL: out of memory. */
static struct config *make_default(struct buf *errors)
{
    struct config *c = calloc(1, sizeof *c);
    struct buf text = BUF_INIT;
    config_print_defaults(&text);
    struct cJSON *tree = buf_ok(&text) && c ? config_lua_run(buf_slice(&text), "defaults", errors) : NULL;
    buf_free(&text);
    if (!tree) {
        free(c);
        buf_str(errors, "magpied: out of memory\n");
        return NULL;
    }
    struct config_reader r = {.c = c, .name = "defaults", .errors = errors};
    config_read_tree(&r, tree);
    cJSON_Delete(tree);
    if (r.error_count) {
        config_free(c);
        return NULL;
    }
    return c;
}

bool config_value_same(const struct config *a, const struct config *b, const struct config_option *o)
{
    return same_member(a, b, o);
}

struct config *config_parse(struct slice text, const char *name, struct buf *errors)
{
    struct cJSON *tree = config_lua_run(text, name, errors);
    struct config *c = tree ? config_from_tree(tree, name, errors) : NULL;
    cJSON_Delete(tree);
    return c;
}

struct config *config_from_tree(const struct cJSON *tree, const char *name, struct buf *errors)
{
    struct config *c = make_default(errors);
    if (!c)
        return NULL;
    struct config_reader r = {.c = c, .name = name, .errors = errors};
    config_read_tree(&r, tree);
    config_check_relations(&r);
    if (r.error_count > CONFIG_ERRORS_MAX)
        buf_printf(errors, "%s: and %u more\n", name, r.error_count - CONFIG_ERRORS_MAX);
    if (r.error_count) {
        config_free(c);
        return NULL;
    }
    return c;
}

struct config *config_load(const char *path, struct buf *errors)
{
    struct config *c = NULL;
    struct buf text = BUF_INIT;
    errno = 0;
    FILE *file = fopen(path, "re");
    if (!file) {
        buf_printf(errors, "%s: cannot be read: %s\n", path, strerror(errno));
        return NULL;
    }
    char *room = buf_reserve(&text, FILE_MAX + 1);
    if (room)
        text.n = fread(room, 1, FILE_MAX + 1, file);
    if (!room)
        buf_printf(errors, "%s: out of memory\n", path);
    else if (ferror(file))
        buf_printf(errors, "%s: cannot be read: %s\n", path, strerror(errno));
    else if (text.n > FILE_MAX)
        buf_printf(errors, "%s: is larger than %u bytes\n", path, FILE_MAX);
    else
        c = config_parse(buf_slice(&text), path, errors);
    fclose(file);
    buf_free(&text);
    return c;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < config_schema_count; i++)
        free_member(c, &config_schema[i]);
    free(c);
}

unsigned config_needs_restart(const struct config *before, const struct config *after, struct buf *out)
{
    unsigned count = 0;
    for (unsigned i = 0; i < config_schema_count; i++) {
        const struct config_option *o = &config_schema[i];
        if ((o->flags & OPT_F_RESTART) && !same_member(before, after, o)) {
            buf_printf(out, "%s\n", o->path);
            count++;
        }
    }
    return count;
}
