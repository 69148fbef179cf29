#include "core/config/config_read.h"

#include "core/config/config.h"
#include "core/net/listener.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = 40 }; /* bytes of a name that are shown */

/* --- Errors ------------------------------------------------------------------------------------------------------- */

void config_error(struct config_reader *r, const char *path, const char *fmt, ...)
{
    if (++r->error_count > CONFIG_ERRORS_MAX)
        return;
    buf_printf(r->errors, "%s: ", r->name);
    if (path)
        buf_printf(r->errors, "%s: ", path);
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_str(r->errors, text);
    buf_byte(r->errors, '\n');
}

/* "expected …, found …". */
static void unexpected(struct config_reader *r, const char *path, const struct config_option *o,
                       const struct cJSON *item)
{
    struct buf text = BUF_INIT;
    const struct schema_rule rule = config_schema_rule(o);
    schema_unexpected(&rule, item, &text);
    config_error(r, path, "%.*s", (int)text.n, text.p ? text.p : "");
    buf_free(&text);
}

/* --- Values ------------------------------------------------------------------------------------------------------- */

static void read_number(struct config_reader *r, const struct config_option *o, const struct cJSON *item)
{
    const struct schema_rule rule = config_schema_rule(o);
    double v = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (!schema_number(&rule, v)) {
        unexpected(r, o->path, o, item);
        return;
    }
    void *member = config_member(r->c, o);
    if (o->type == OPT_COUNT)
        *(uint32_t *)member = (uint32_t)v;
    else if (o->type == OPT_SIZE)
        *(uint64_t *)member = (uint64_t)v;
    else
        *(double *)member = v;
}

static void read_bool(struct config_reader *r, const struct config_option *o, const struct cJSON *item)
{
    if (!cJSON_IsBool(item)) {
        unexpected(r, o->path, o, item);
        return;
    }
    *(bool *)config_member(r->c, o) = cJSON_IsTrue(item);
}

static void read_enum(struct config_reader *r, const struct config_option *o, const struct cJSON *item)
{
    const struct schema_rule rule = config_schema_rule(o);
    int choice = cJSON_IsString(item) ? schema_choice(&rule, item->valuestring) : -1;
    if (choice < 0)
        unexpected(r, o->path, o, item);
    else
        *(int *)config_member(r->c, o) = choice;
}

static char *copy_text(struct config_reader *r, const char *s)
{
    char *copy = strdup(s);
    if (!copy)
        config_error(r, NULL, "out of memory");
    return copy;
}

static void read_text(struct config_reader *r, const struct config_option *o, const struct cJSON *item)
{
    const struct schema_rule rule = config_schema_rule(o);
    if (!cJSON_IsString(item) || !schema_text(&rule, item->valuestring)) {
        unexpected(r, o->path, o, item);
        return;
    }
    char **member = config_member(r->c, o);
    char *copy = copy_text(r, item->valuestring);
    if (copy) {
        free(*member);
        *member = copy;
    }
}

static void free_strings(struct config_strings *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        free(s->v[i]);
    free(s->v);
    *s = (struct config_strings){NULL, 0};
}

static void read_list_item(struct config_reader *r, const struct config_option *o, const struct cJSON *item,
                           const char *path, struct config_strings *list)
{
    char why[160] = "";
    if (!cJSON_IsString(item) || item->valuestring[0] == '\0') {
        struct buf found = BUF_INIT;
        schema_found(item, o->flags & OPT_F_SECRET, &found);
        config_error(r, path, "expected %s, found %.*s",
                     o->type == OPT_ADDRESSES ? "an address"
                     : o->type == OPT_FILES   ? "a file"
                                              : "a text",
                     (int)found.n, found.p);
        buf_free(&found);
        return;
    }
    if (o->type == OPT_ADDRESSES && !listener_check(item->valuestring, why, sizeof why)) {
        struct buf found = BUF_INIT;
        schema_found(item, o->flags & OPT_F_SECRET, &found);
        config_error(r, path, "expected \"IP:PORT\", \"[IPv6]:PORT\", \"*:PORT\" or \"unix:PATH\", found %.*s (%s)",
                     (int)found.n, found.p, why);
        buf_free(&found);
        return;
    }
    for (uint32_t i = 0; i < list->n && o->type != OPT_FILES; i++) {
        if (strcmp(list->v[i], item->valuestring) == 0) {
            config_error(r, path, "stands in the list twice");
            return;
        }
    }
    list->v[list->n] = copy_text(r, item->valuestring);
    list->n += list->v[list->n] != NULL;
}

/* A list; for addresses and files also a single text. An empty table is an empty list, and so is `false` for these. */
static void read_list(struct config_reader *r, const struct config_option *o, const struct cJSON *item)
{
    bool lone = o->type == OPT_ADDRESSES || o->type == OPT_FILES;
    bool single = lone && cJSON_IsString(item);
    bool empty = (cJSON_IsObject(item) && !item->child) || (lone && cJSON_IsFalse(item));
    if (!single && !empty && !cJSON_IsArray(item)) {
        unexpected(r, o->path, o, item);
        return;
    }
    uint32_t n = single ? 1 : (uint32_t)cJSON_GetArraySize(item);
    struct config_strings list = {calloc(n + 1, sizeof(char *)), 0};
    if (!list.v) {
        config_error(r, NULL, "out of memory");
        return;
    }
    if (single)
        read_list_item(r, o, item, o->path, &list);
    unsigned number = 1;
    for (const struct cJSON *each = single || empty ? NULL : item->child; each; each = each->next) {
        char path[CONFIG_PATH_MAX];
        snprintf(path, sizeof path, "%s[%u]", o->path, number++);
        read_list_item(r, o, each, path, &list);
    }
    struct config_strings *member = config_member(r->c, o);
    free_strings(member);
    *member = list;
}

static bool plugin_name(const char *s)
{
    return *s && strlen(s) <= 64 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == strlen(s);
}

/* Options of plugins are checked by their own schemas; here they only must be tables. */
static void read_plugins(struct config_reader *r, const struct config_option *o, const struct cJSON *item)
{
    if (!cJSON_IsObject(item)) {
        unexpected(r, o->path, o, item);
        return;
    }
    struct cJSON *load = cJSON_CreateObject();
    for (const struct cJSON *each = item->child; each && load; each = each->next) {
        struct buf path = BUF_INIT;
        buf_printf(&path, "%s.", o->path);
        schema_plain(each->string, SHOWN_MAX, &path);
        buf_byte(&path, '\0');
        const char *shown = buf_ok(&path) ? path.p : o->path;
        bool table = cJSON_IsObject(each) || cJSON_IsTrue(each);
        if (!plugin_name(each->string))
            config_error(r, shown, "expected the name of a plugin (letters, digits, _ and -)");
        else if (table) {
            struct cJSON *copy = cJSON_IsTrue(each) ? cJSON_CreateObject() : cJSON_Duplicate(each, true);
            if (!copy || !cJSON_AddItemToObject(load, each->string, copy)) {
                cJSON_Delete(copy);
                config_error(r, NULL, "out of memory");
            }
        } else if (!cJSON_IsFalse(each)) {
            config_error(r, shown, "expected a table of options, or false");
        }
        buf_free(&path);
    }
    if (!load) {
        config_error(r, NULL, "out of memory");
        return;
    }
    struct cJSON **member = config_member(r->c, o);
    cJSON_Delete(*member);
    *member = load;
}

static void (*const readers[])(struct config_reader *, const struct config_option *, const struct cJSON *) = {
    [OPT_COUNT] = read_number, [OPT_SIZE] = read_number, [OPT_SECONDS] = read_number,  [OPT_MS] = read_number,
    [OPT_BOOL] = read_bool,    [OPT_ENUM] = read_enum,   [OPT_TEXT] = read_text,       [OPT_ADDRESSES] = read_list,
    [OPT_TEXTS] = read_list,   [OPT_FILES] = read_list,  [OPT_PLUGINS] = read_plugins,
};

/* --- Tables ------------------------------------------------------------------------------------------------------- */

static void read_section(struct config_reader *r, const char *prefix, const struct cJSON *table);

static void read_entry(struct config_reader *r, const char *path, const struct cJSON *item)
{
    const struct config_option *o = config_schema_find(path);
    if (!o) {
        const char *near = config_schema_nearest(path);
        config_error(r, path, near ? "unknown key; did you mean %s?" : "unknown key", near);
        return;
    }
    if (o->type != OPT_SECTION) {
        r->given[o - config_schema] = true;
        readers[o->type](r, o, item);
    } else if (cJSON_IsObject(item)) {
        read_section(r, path, item);
    } else {
        unexpected(r, path, o, item);
    }
}

static void read_section(struct config_reader *r, const char *prefix, const struct cJSON *table)
{
    for (const struct cJSON *each = table->child; each; each = each->next) {
        struct buf path = BUF_INIT;
        buf_str(&path, prefix);
        if (*prefix && each->string[0] != '[')
            buf_byte(&path, '.');
        schema_plain(each->string, 64, &path);
        buf_byte(&path, '\0');
        if (buf_ok(&path))
            read_entry(r, path.p, each);
        else
            config_error(r, NULL, "out of memory");
        buf_free(&path);
    }
}

void config_read_tree(struct config_reader *r, const struct cJSON *root)
{
    if (cJSON_IsObject(root))
        read_section(r, "", root);
    else
        config_error(r, NULL, "the file must return a table of named values, found a list");
}

bool config_read_given(const struct config_reader *r, const char *path)
{
    const struct config_option *o = config_schema_find(path);
    return o && r->given[o - config_schema];
}
