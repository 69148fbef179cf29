/* JSON and growing texts for plugins. A struct mp_json is a cJSON value, which core/base/json.h has checked. */
#include "core/plugin/text.h"

#include "core/base/json.h"
#include "core/plugin/plugin_private.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct cJSON *tree(const mp_json *v)
{
    return (const struct cJSON *)(const void *)v;
}

static const mp_json *value(const struct cJSON *v)
{
    return (const mp_json *)(const void *)v;
}

bool json_is_object(struct slice text)
{
    size_t i = 0;
    while (i < text.n && strchr(" \t\r\n", text.p[i]))
        i++;
    return i < text.n && text.p[i] == '{' && !json_check(text);
}

mp_json *text_json_parse(struct mp_str text, const char **why)
{
    struct json_verdict v;
    struct cJSON *tree = json_parse_open(slice_in(text), JSON_DEPTH, &v);
    if (why && v.why)
        *why = v.why;
    return (mp_json *)(void *)tree;
}

void text_json_free(mp_json *v)
{
    json_free((struct cJSON *)(void *)v);
}

const mp_json *text_json_get(const mp_json *object, const char *key)
{
    return cJSON_IsObject(tree(object)) ? value(json_get(tree(object), key)) : NULL;
}

const mp_json *text_json_at(const mp_json *array, unsigned i)
{
    const struct cJSON *v = cJSON_IsArray(tree(array)) ? tree(array)->child : NULL;
    while (v && i-- > 0)
        v = v->next;
    return value(v);
}

int text_json_text(const mp_json *object, const char *key, struct mp_str *out)
{
    struct slice s = SLICE_NONE;
    int rc = cJSON_IsObject(tree(object)) ? json_get_string(tree(object), key, &s) : 0;
    *out = str_out(s);
    return rc < 0 ? MP_EINVALID : rc;
}

int text_json_int(const mp_json *object, const char *key, int64_t *out)
{
    int rc = cJSON_IsObject(tree(object)) ? json_get_int(tree(object), key, out) : 0;
    return rc < 0 ? MP_EINVALID : rc;
}

int text_json_bool(const mp_json *object, const char *key, bool *out)
{
    int rc = cJSON_IsObject(tree(object)) ? json_get_bool(tree(object), key, out) : 0;
    return rc < 0 ? MP_EINVALID : rc;
}

struct mp_str text_json_key(const mp_json *object, unsigned i)
{
    const struct cJSON *v = cJSON_IsObject(tree(object)) ? tree(object)->child : NULL;
    while (v && i-- > 0)
        v = v->next;
    return mp_str(v ? v->string : NULL);
}

bool text_json_string(const mp_json *v, struct mp_str *out)
{
    bool is = cJSON_IsString(tree(v));
    *out = is ? mp_str(tree(v)->valuestring) : mp_str(NULL);
    return is;
}

/* --- Growing texts ------------------------------------------------------------------------------------------------ */

mp_out *text_out_new(mp_self *p)
{
    (void)p;
    mp_out *o = calloc(1, sizeof *o);
    if (o)
        o->b = &o->own;
    return o;
}

void text_out_free(mp_out *o)
{
    if (!o)
        return;
    buf_free(&o->own);
    free(o);
}

void text_out_put(mp_out *o, struct mp_str s)
{
    if (o)
        buf_put(o->b, s.p, s.n);
}

void text_out_printf(mp_out *o, const char *fmt, ...)
{
    char small[512], *all = small;
    va_list ap;
    if (!o)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof small) {
        all = NULL;
        va_start(ap, fmt);
        n = vasprintf(&all, fmt, ap);
        va_end(ap);
    }
    if (n >= 0 && all)
        buf_put(o->b, all, (size_t)n);
    else
        o->b->oom = true;
    if (all != small)
        free(all);
}

void text_out_json(mp_out *o, struct mp_str s)
{
    if (o)
        buf_json_string(o->b, slice_in(s));
}

void text_json_put(mp_out *o, const mp_json *v)
{
    char *text = o && v ? cJSON_PrintUnformatted(tree(v)) : NULL;
    if (text)
        buf_str(o->b, text);
    else if (o)
        o->b->oom = true;
    cJSON_free(text);
}

void text_out_reset(mp_out *o)
{
    if (o)
        buf_reset(o->b);
}

struct mp_str text_out_str(const mp_out *o)
{
    return o && buf_ok(o->b) ? str_out(buf_slice(o->b)) : mp_str(NULL);
}
