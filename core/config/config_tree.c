/* A config as a tree, for those who read it by path: scripts, and people at the console. */
#include "core/config/config_tree.h"

#include "core/base/json.h"
#include "core/config/config.h"
#include "core/config/config_schema.h"

#include <cjson/cJSON.h>
#include <string.h>

struct cJSON *config_value_tree(const struct config *c, const struct config_option *o)
{
    const void *member = config_member_const(c, o);
    const struct config_strings *list = member;
    const char *text;
    switch (o->type) {
    case OPT_SECTION:
        return cJSON_CreateObject();
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
        text = *(char *const *)member;
        return text ? cJSON_CreateString(text) : cJSON_CreateNull();
    case OPT_ADDRESSES:
    case OPT_TEXTS:
    case OPT_FILES:
        return cJSON_CreateStringArray((const char *const *)list->v, (int)list->n);
    case OPT_PLUGINS:
        return cJSON_Duplicate(*(struct cJSON *const *)member, true);
    }
    return NULL;
}

/* Their options may hold secrets: names alone, each true. */
static struct cJSON *plugin_names(const struct cJSON *plugins)
{
    struct cJSON *names = cJSON_CreateObject();
    for (const struct cJSON *p = plugins->child; p && names; p = p->next)
        if (!cJSON_AddBoolToObject(names, p->string, true))
            break;
    return names;
}

static struct cJSON *shown_value(const struct config *c, const struct config_option *o)
{
    if (o->type == OPT_PLUGINS)
        return plugin_names(*(struct cJSON *const *)config_member_const(c, o));
    return config_value_tree(c, o);
}

struct cJSON *config_tree(const struct config *c)
{
    struct cJSON *root = cJSON_CreateObject();
    for (unsigned i = 0; root && i < config_schema_count; i++) {
        const struct config_option *o = &config_schema[i];
        const char *word = o->path;
        struct cJSON *parent = json_parent(root, o->path, &word);
        if (o->flags & OPT_F_SECRET ||
            (o->type == OPT_SECTION && parent && cJSON_GetObjectItemCaseSensitive(parent, word)))
            continue;
        struct cJSON *value = parent ? shown_value(c, o) : NULL;
        if (!value || !cJSON_AddItemToObject(parent, word, value)) {
            cJSON_Delete(value);
            cJSON_Delete(root);
            return NULL;
        }
    }
    return root;
}
