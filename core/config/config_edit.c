#include "core/config/config_edit.h"

#include "core/config/config.h"
#include "core/config/config_lua.h"
#include "core/config/config_read.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

/* --- Out ----------------------------------------------------------------------------------------------------------------- */

static cJSON *list_tree(const struct config_strings *list)
{
    cJSON *array = cJSON_CreateArray();
    for (uint32_t i = 0; array && i < list->n; i++)
        cJSON_AddItemToArray(array, cJSON_CreateString(list->v[i]));
    return array;
}

/* NULL: absent (or out of memory). */
static cJSON *value_tree(const struct config *c, const struct config_option *o)
{
    const void *member = config_member_const(c, o);
    switch (o->type) {
    case OPT_SECTION:
        return NULL;
    case OPT_COUNT:
        return cJSON_CreateNumber(*(const uint32_t *)member);
    case OPT_SIZE:
        return cJSON_CreateNumber((double)*(const uint64_t *)member);
    case OPT_SECONDS:
    case OPT_MS:
        return cJSON_CreateNumber(*(const double *)member);
    case OPT_BOOL:
        return cJSON_CreateBool(*(const bool *)member);
    case OPT_ENUM:
        return cJSON_CreateString(o->choices[*(const int *)member]);
    case OPT_TEXT:
        return *(char *const *)member ? cJSON_CreateString(*(char *const *)member) : NULL;
    case OPT_ADDRESSES:
    case OPT_TEXTS:
        return list_tree(member);
    case OPT_PLUGINS:
        return cJSON_Duplicate(*(struct cJSON *const *)member, true);
    }
    return NULL;
}

void config_value_put(struct buf *out, const struct config *c, const struct config_option *o)
{
    cJSON *tree = value_tree(c, o);
    if (!tree) {
        buf_lit(out, "null");
    } else if (o->flags & OPT_F_SECRET) {
        buf_lit(out, "\"(secret)\"");
    } else if (o->type == OPT_PLUGINS) {
        /* Their options may be secrets: names alone. */
        buf_byte(out, '[');
        for (const cJSON *p = tree->child; p; p = p->next) {
            buf_str(out, p == tree->child ? "" : ",");
            buf_json_string(out, slice_str(p->string));
        }
        buf_byte(out, ']');
    } else {
        char *text = cJSON_PrintUnformatted(tree);
        if (text)
            buf_str(out, text);
        else
            out->oom = true;
        free(text);
    }
    cJSON_Delete(tree);
}

/* --- In ------------------------------------------------------------------------------------------------------------------ */

/* The table that an option stands in, made where it is missing; *last is its own name. */
static cJSON *table_of(cJSON *root, const char *path, const char **last)
{
    char name[CONFIG_PATH_MAX];
    const char *dot;
    while (root && (dot = strchr(path, '.')) != NULL) {
        size_t n = (size_t)(dot - path);
        memcpy(name, path, n);
        name[n] = '\0';
        cJSON *next = cJSON_GetObjectItemCaseSensitive(root, name);
        root = next ? next : cJSON_AddObjectToObject(root, name);
        path = dot + 1;
    }
    *last = path;
    return root;
}

/* Words between blanks and commas. */
static cJSON *parse_words(struct slice text)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; list && i < text.n;) {
        size_t n = 0;
        while (i + n < text.n && text.p[i + n] != ' ' && text.p[i + n] != ',')
            n++;
        char *word = n ? strndup(text.p + i, n) : NULL;
        if (word)
            cJSON_AddItemToArray(list, cJSON_CreateString(word));
        free(word);
        i += n + 1;
    }
    return list;
}

/* What a person wrote for this option; NULL: it cannot be read, *why says so. */
static cJSON *parse_value(const struct config_option *o, struct slice text, struct buf *why)
{
    if (o->type == OPT_ENUM || o->type == OPT_TEXT) {
        char *copy = strndup(text.n ? text.p : "", text.n);
        cJSON *value = copy ? cJSON_CreateString(copy) : NULL;
        free(copy);
        return value;
    }
    if ((o->type == OPT_TEXTS || o->type == OPT_ADDRESSES) && text.n && text.p[0] != '{')
        return parse_words(text);
    struct buf chunk = BUF_INIT;
    buf_lit(&chunk, "return { v = ");
    buf_slice_put(&chunk, text);
    buf_lit(&chunk, " }");
    cJSON *tree = config_lua_run(buf_slice(&chunk), o->path, why);
    buf_free(&chunk);
    cJSON *value = tree && tree->child && !tree->child->next ? cJSON_DetachItemFromObject(tree, "v") : NULL;
    cJSON_Delete(tree);
    return value;
}

struct config *config_value_set(const struct config *c, const struct config_option *o, struct slice text, struct buf *errors)
{
    struct buf why = BUF_INIT;
    cJSON *root = cJSON_CreateObject(), *value = parse_value(o, text, &why);
    struct config *made = NULL;
    buf_free(&why);
    if (!value) {
        buf_printf(errors, "%s: expected ", o->path);
        config_schema_expected(o, errors);
        buf_lit(errors, "\n");
    }
    bool good = root && value;
    for (unsigned i = 0; good && i < config_schema_count; i++) {
        const struct config_option *each = &config_schema[i];
        const char *name;
        cJSON *item = each == o ? value : value_tree(c, each);
        cJSON *table = item ? table_of(root, each->path, &name) : NULL;
        if (each == o)
            value = NULL; /* the tree's, or freed here */
        if (item && !(table && cJSON_AddItemToObject(table, name, item))) {
            cJSON_Delete(item);
            buf_lit(errors, "out of memory\n");
            good = false;
        }
    }
    if (good)
        made = config_from_tree(root, "set", errors);
    cJSON_Delete(value);
    cJSON_Delete(root);
    return made;
}
