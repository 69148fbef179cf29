/* Options of plugins: their schema, the checks, and reading the values. */
#include "core/base/log.h"
#include "core/base/spelling.h"
#include "core/plugin/plugin_private.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdlib.h>

enum { SHOWN_MAX = 40 }; /* bytes of a found text that are shown */

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

static bool is_number(enum mp_option_type t)
{
    return t >= MP_OPT_NUMBER && t <= MP_OPT_MS;
}

/* --- Errors ------------------------------------------------------------------------------------------------------- */

static void put_choices(struct buf *out, const struct mp_option *o)
{
    for (unsigned i = 0; o->choices[i]; i++)
        buf_printf(out, "%s\"%s\"", i ? ", " : "", o->choices[i]);
}

static void put_expected(struct buf *out, const struct mp_option *o)
{
    static const char *const phrases[] = {
        [MP_OPT_TEXT] = "a text",
        [MP_OPT_TEXTS] = "a list of texts",
        [MP_OPT_NUMBER] = "a number",
        [MP_OPT_COUNT] = "a whole number",
        [MP_OPT_SIZE] = "a size in bytes",
        [MP_OPT_SECONDS] = "a duration in seconds",
        [MP_OPT_MS] = "a duration in milliseconds",
        [MP_OPT_BOOL] = "true or false",
        [MP_OPT_ENUM] = "one of ",
    };
    buf_str(out, phrases[o->type]);
    if (is_number(o->type) && o->max > o->min)
        buf_printf(out, " from %.15g to %.15g", o->min, o->max);
    else if (is_number(o->type) && o->type != MP_OPT_NUMBER)
        buf_str(out, ", 0 or more");
    else if (o->type == MP_OPT_TEXT && o->min > 0)
        buf_printf(out, " of at least %.0f bytes", o->min);
    else if (o->type == MP_OPT_ENUM)
        put_choices(out, o);
    else if (o->type == MP_OPT_TEXTS && o->choices) {
        buf_str(out, " out of ");
        put_choices(out, o);
    }
}

/* Text from the file, for people: cut, and without anything that could act on a terminal or break the line. */
static void put_plain(struct buf *out, const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n && i < SHOWN_MAX; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_byte(out, c);
    }
    if (n > SHOWN_MAX)
        buf_str(out, "…");
}

static void put_found(struct buf *out, const struct cJSON *item, const struct mp_option *o)
{
    bool secret = o->flags & MP_OPT_F_SECRET;
    if (cJSON_IsNumber(item) && !secret)
        buf_printf(out, "%.15g", item->valuedouble);
    else if (cJSON_IsNumber(item))
        buf_str(out, "a number");
    else if (cJSON_IsBool(item))
        buf_str(out, cJSON_IsTrue(item) ? "true" : "false");
    else if (cJSON_IsString(item) && secret)
        buf_printf(out, "a text of %zu bytes", strlen(item->valuestring));
    else if (cJSON_IsString(item)) {
        buf_byte(out, '"');
        put_plain(out, item->valuestring);
        buf_byte(out, '"');
    } else
        buf_str(out, cJSON_IsArray(item) ? "a list" : "a table");
}

static void unexpected(struct buf *errors, const char *prefix, const struct mp_option *o, const struct cJSON *item)
{
    buf_printf(errors, "%s.%s: expected ", prefix, o->name);
    put_expected(errors, o);
    buf_str(errors, ", found ");
    put_found(errors, item, o);
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
    put_plain(errors, name);
    buf_str(errors, ": unknown option");
    if (best)
        buf_printf(errors, "; did you mean %s?", best);
    else if (d->option_count == 0)
        buf_str(errors, "; the plugin has none");
    buf_byte(errors, '\n');
}

/* --- Values ------------------------------------------------------------------------------------------------------- */

static bool chosen(const struct mp_option *o, const char *s)
{
    for (unsigned i = 0; o->choices && o->choices[i]; i++)
        if (strcmp(o->choices[i], s) == 0)
            return true;
    return !o->choices;
}

static bool read_number(struct option_value *v, double x)
{
    const struct mp_option *o = v->option;
    bool whole = o->type == MP_OPT_COUNT || o->type == MP_OPT_SIZE;
    bool bounded = o->max > o->min;
    if (isnan(x) || isinf(x) || (whole && x != floor(x)) || (bounded && !(x >= o->min && x <= o->max)) ||
        (!bounded && o->type != MP_OPT_NUMBER && x < 0))
        return false;
    v->number = x;
    return true;
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
        if (!cJSON_IsString(each) || !chosen(v->option, each->valuestring) ||
            !(v->items[i] = strdup(each->valuestring)))
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
        if (!cJSON_IsString(item) || (o->type == MP_OPT_ENUM && !chosen(o, item->valuestring)) ||
            (o->type == MP_OPT_TEXT && (double)strlen(item->valuestring) < o->min))
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
    char *end = NULL;
    if (!o->fallback) {
        if (o->type == MP_OPT_TEXTS)
            return (v->items = calloc(1, sizeof *v->items)) != NULL;
        return true;
    }
    switch (o->type) {
    case MP_OPT_TEXT:
    case MP_OPT_ENUM:
        return (o->type == MP_OPT_TEXT || chosen(o, o->fallback)) && (v->text = strdup(o->fallback)) != NULL;
    case MP_OPT_TEXTS: /* a single one */
        v->items = calloc(2, sizeof *v->items);
        return v->items && chosen(o, o->fallback) && (v->items[0] = strdup(o->fallback)) != NULL;
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
            put_expected(errors, v->option);
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
