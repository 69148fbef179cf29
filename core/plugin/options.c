/* Options of plugins: their schema, the checks, and reading the values. */
#include "core/plugin/options.h"

#include "core/base/log.h"
#include "core/base/schema.h"
#include "core/base/spelling.h"
#include "core/plugin/plugin_private.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

enum { SHOWN_MAX = 40 }; /* bytes of a name that are shown */

struct option_value {
    const struct mp_option *option;
    char *text; /* TEXT, ENUM; NULL: absent; owned */
    double number;
    bool flag;
    char **items; /* TEXTS: NULL-terminated; owned */
};

struct mp_options {
    unsigned count;
    struct option_value values[];
};

const struct mp_option *schema_at(const struct mp_plugin *desc, unsigned i)
{
    return (const struct mp_option *)(const void *)((const char *)desc->options + (size_t)i * desc->option_size);
}

/* --- Errors ------------------------------------------------------------------------------------------------------- */

static struct schema_rule rule_of(const struct mp_option *o)
{
    static const enum schema_type types[] = {
        [MP_OPT_TEXT] = SCHEMA_TEXT,   [MP_OPT_TEXTS] = SCHEMA_TEXTS, [MP_OPT_NUMBER] = SCHEMA_NUMBER,
        [MP_OPT_COUNT] = SCHEMA_COUNT, [MP_OPT_SIZE] = SCHEMA_SIZE,   [MP_OPT_SECONDS] = SCHEMA_SECONDS,
        [MP_OPT_MS] = SCHEMA_MS,       [MP_OPT_BOOL] = SCHEMA_BOOL,   [MP_OPT_ENUM] = SCHEMA_ENUM,
    };
    bool bounded = o->max > o->min, text = o->type == MP_OPT_TEXT;
    return (struct schema_rule){.type = types[o->type],
                                .min = bounded || text            ? o->min
                                       : o->type == MP_OPT_NUMBER ? -HUGE_VAL
                                                                  : 0,
                                .max = bounded ? o->max : HUGE_VAL,
                                .choices = o->choices,
                                .secret = o->flags & MP_OPT_F_SECRET};
}

static bool text_fits(const struct mp_option *o, const struct cJSON *item)
{
    const struct schema_rule rule = rule_of(o);
    return cJSON_IsString(item) && schema_text(&rule, item->valuestring);
}

/* Of a list, its first wrong text is told. */
static void unexpected(struct buf *errors, const char *prefix, const struct mp_option *o, const struct cJSON *item)
{
    struct schema_rule rule = rule_of(o);
    buf_printf(errors, "%s.%s", prefix, o->name);
    if (o->type == MP_OPT_TEXTS && cJSON_IsArray(item) && item->child) {
        unsigned number = 1;
        for (item = item->child; item->next && text_fits(o, item); item = item->next)
            number++;
        buf_printf(errors, "[%u]", number);
        rule.type = o->choices ? SCHEMA_ENUM : SCHEMA_TEXT;
    }
    buf_str(errors, ": ");
    schema_unexpected(&rule, item, errors);
    buf_byte(errors, '\n');
}

static void unknown(struct buf *errors, const char *prefix, const struct mp_plugin *d, const char *name)
{
    const char *best = NULL;
    unsigned distance = spelling_limit(name) + 1;
    for (unsigned i = 0; i < d->option_count; i++) {
        unsigned n = spelling_distance(name, schema_at(d, i)->name);
        if (n < distance) {
            distance = n;
            best = schema_at(d, i)->name;
        }
    }
    buf_printf(errors, "%s.", prefix);
    schema_plain(name, SHOWN_MAX, errors);
    buf_str(errors, ": unknown option");
    if (best)
        buf_printf(errors, "; did you mean %s?", best);
    else if (d->option_count == 0)
        buf_str(errors, "; the plugin has none");
    buf_byte(errors, '\n');
}

/* --- Values ------------------------------------------------------------------------------------------------------- */

static bool read_number(struct option_value *v, double x)
{
    const struct schema_rule rule = rule_of(v->option);
    v->number = x;
    return schema_number(&rule, x);
}

static bool read_items(struct option_value *v, const struct cJSON *item)
{
    /* The config cannot tell an empty list from an empty table. */
    bool empty = cJSON_IsObject(item) && !item->child;
    if (!cJSON_IsArray(item) && !empty)
        return false;
    size_t n = empty ? 0 : (size_t)cJSON_GetArraySize(item), i = 0;
    v->items = calloc(n + 1, sizeof *v->items);
    for (const struct cJSON *each = empty ? NULL : item->child; each && v->items; each = each->next) {
        if (!text_fits(v->option, each) || !(v->items[i] = strdup(each->valuestring)))
            return false;
        i++;
    }
    return v->items != NULL;
}

static bool read_value(struct option_value *v, const struct cJSON *item)
{
    const struct mp_option *o = v->option;
    switch (o->type) {
    case MP_OPT_TEXT:
    case MP_OPT_ENUM:
        if (!text_fits(o, item))
            return false;
        return (v->text = strdup(item->valuestring)) != NULL;
    case MP_OPT_TEXTS:
        return read_items(v, item);
    case MP_OPT_BOOL:
        v->flag = cJSON_IsTrue(item);
        return cJSON_IsBool(item);
    default:
        return cJSON_IsNumber(item) && read_number(v, item->valuedouble);
    }
}

/* The schema's own default. False: it is wrong. */
static bool read_fallback(struct option_value *v)
{
    const struct mp_option *o = v->option;
    const struct schema_rule rule = rule_of(o);
    char *end = NULL;
    if (!o->fallback) {
        if (o->type == MP_OPT_TEXTS)
            return (v->items = calloc(1, sizeof *v->items)) != NULL;
        return true;
    }
    switch (o->type) {
    case MP_OPT_TEXT:
    case MP_OPT_ENUM:
        return schema_text(&rule, o->fallback) && (v->text = strdup(o->fallback)) != NULL;
    case MP_OPT_TEXTS: /* a single one */
        v->items = calloc(2, sizeof *v->items);
        return v->items && schema_text(&rule, o->fallback) && (v->items[0] = strdup(o->fallback)) != NULL;
    case MP_OPT_BOOL:
        v->flag = strcmp(o->fallback, "true") == 0;
        return v->flag || strcmp(o->fallback, "false") == 0;
    default: {
        double x = strtod(o->fallback, &end);
        return *o->fallback && *end == '\0' && read_number(v, x);
    }
    }
}

struct mp_options *options_read(const struct mp_plugin *d, const struct cJSON *json, const char *prefix,
                                struct buf *errors)
{
    size_t before = errors->n;
    struct mp_options *all = calloc(1, sizeof *all + d->option_count * sizeof all->values[0]);
    if (!all) {
        buf_printf(errors, "%s: out of memory\n", prefix);
        return NULL;
    }
    all->count = d->option_count;
    for (unsigned i = 0; i < d->option_count; i++) {
        struct option_value *v = &all->values[i];
        v->option = schema_at(d, i);
        const struct cJSON *item = json ? cJSON_GetObjectItemCaseSensitive(json, v->option->name) : NULL;
        if (item && !cJSON_IsNull(item)) {
            if (!read_value(v, item))
                unexpected(errors, prefix, v->option, item);
        } else if (v->option->flags & MP_OPT_F_REQUIRED) {
            buf_printf(errors, "%s.%s: must be given: ", prefix, v->option->name);
            const struct schema_rule rule = rule_of(v->option);
            schema_expected(&rule, errors);
            buf_byte(errors, '\n');
        } else if (!read_fallback(v)) {
            buf_printf(errors, "%s.%s: the plugin's own default is wrong: \"%s\"\n", prefix, v->option->name,
                       v->option->fallback);
        }
    }
    for (const struct cJSON *each = json ? json->child : NULL; each; each = each->next) {
        bool known = false;
        for (unsigned i = 0; each->string && i < d->option_count; i++)
            known = known || strcmp(schema_at(d, i)->name, each->string) == 0;
        if (!known)
            unknown(errors, prefix, d, each->string ? each->string : "[1]");
    }
    if (errors->n == before && buf_ok(errors))
        return all;
    options_free(all);
    return NULL;
}

void options_free(struct mp_options *o)
{
    for (unsigned i = 0; o && i < o->count; i++) {
        struct option_value *v = &o->values[i];
        if (v->text)
            explicit_bzero(v->text, strlen(v->text));
        free(v->text);
        for (char **s = v->items; s && *s; s++) {
            explicit_bzero(*s, strlen(*s));
            free(*s);
        }
        free(v->items);
    }
    free(o);
}

static bool value_equal(const struct option_value *a, const struct option_value *b)
{
    if (a->number != b->number || a->flag != b->flag || !a->text != !b->text ||
        (a->text && strcmp(a->text, b->text) != 0))
        return false;
    size_t i = 0;
    for (; a->items && b->items && a->items[i] && b->items[i]; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return !a->items || (!a->items[i] && !b->items[i]);
}

void options_keep(struct mp_options *fresh, struct mp_options *before, struct buf *kept)
{
    for (unsigned i = 0; i < fresh->count; i++) {
        struct option_value *v = &fresh->values[i], *old = &before->values[i];
        if (!(v->option->flags & MP_OPT_F_RESTART) || value_equal(v, old))
            continue;
        struct option_value swap = *v;
        *v = *old;
        *old = swap;
        buf_printf(kept, "%s%s", kept->n ? ", " : "", v->option->name);
    }
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static const struct option_value *find(const mp_options *o, const char *name)
{
    for (unsigned i = 0; o && i < o->count; i++)
        if (strcmp(o->values[i].option->name, name) == 0)
            return &o->values[i];
    log_event(LOG_ERROR, "plugin.bug", LOG_STR("about", "a plugin asks for an option that is not in its schema"),
              LOG_STR("option", name));
    return NULL;
}

const char *options_text(const mp_options *o, const char *name)
{
    const struct option_value *v = find(o, name);
    return v ? v->text : NULL;
}

double options_number(const mp_options *o, const char *name)
{
    const struct option_value *v = find(o, name);
    return v ? v->number : 0;
}

bool options_bool(const mp_options *o, const char *name)
{
    const struct option_value *v = find(o, name);
    return v && v->flag;
}

const char *options_item(const mp_options *o, const char *name, unsigned i)
{
    const struct option_value *v = find(o, name);
    for (unsigned at = 0; v && v->items && v->items[at]; at++)
        if (at == i)
            return v->items[at];
    return NULL;
}
