#include "core/config/config_edit.h"

#include "core/base/json.h"
#include "core/config/config.h"
#include "core/config/config_lua.h"
#include "core/config/config_private.h"
#include "core/config/config_read.h"
#include "core/config/config_tree.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

/* --- Out ---------------------------------------------------------------------------------------------------------- */

void config_value_put(struct buf *out, const struct config *c, const struct config_option *o)
{
    cJSON *tree = config_value_tree(c, o);
    if (!tree || cJSON_IsNull(tree)) {
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

/* --- In ----------------------------------------------------------------------------------------------------------- */

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
    if ((o->type == OPT_TEXTS || o->type == OPT_ADDRESSES || o->type == OPT_FILES) && text.n && text.p[0] != '{')
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

struct config *config_value_set(const struct config *c, const struct config_option *o, struct slice text,
                                struct buf *errors)
{
    struct buf why = BUF_INIT;
    cJSON *root = cJSON_CreateObject(), *value = parse_value(o, text, &why);
    struct config *made = NULL;
    buf_free(&why);
    if (!value) {
        buf_printf(errors, "%s: expected ", o->path);
        const struct schema_rule rule = config_schema_rule(o);
        schema_expected(&rule, errors);
        buf_lit(errors, "\n");
    }
    bool good = root && value;
    for (unsigned i = 0; good && i < config_schema_count; i++) {
        const struct config_option *each = &config_schema[i];
        const char *name;
        if (each->type == OPT_SECTION)
            continue;
        cJSON *item = each == o ? value : config_value_tree(c, each);
        if (each == o)
            value = NULL; /* the tree's, or freed here */
        else if (item && cJSON_IsNull(item)) {
            cJSON_Delete(item); /* absent */
            continue;
        }
        cJSON *table = item ? json_parent(root, each->path, &name) : NULL;
        if (!(table && cJSON_AddItemToObject(table, name, item))) {
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
