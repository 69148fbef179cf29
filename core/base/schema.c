#include "core/base/schema.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

enum { SHOWN_MAX = 40 }; /* bytes of a found text that are shown */

static const char *const phrases[] = {
    [SCHEMA_NUMBER] = "a number",
    [SCHEMA_COUNT] = "a whole number",
    [SCHEMA_SIZE] = "a size in whole bytes",
    [SCHEMA_SECONDS] = "a duration in seconds",
    [SCHEMA_MS] = "a time in milliseconds",
    [SCHEMA_BOOL] = "true or false",
    [SCHEMA_ENUM] = "one of",
    [SCHEMA_TEXT] = "a text",
    [SCHEMA_TEXTS] = "a list of texts",
    [SCHEMA_OTHER] = "another value",
};

static bool is_number(enum schema_type t)
{
    return t <= SCHEMA_MS;
}

bool schema_number(const struct schema_rule *r, double v)
{
    bool whole = r->type == SCHEMA_COUNT || r->type == SCHEMA_SIZE;
    /* NaN fails every comparison. */
    return v >= r->min && v <= r->max && !isinf(v) && (!whole || v == floor(v));
}

int schema_choice(const struct schema_rule *r, const char *text)
{
    for (int i = 0; r->choices && r->choices[i]; i++)
        if (strcmp(r->choices[i], text) == 0)
            return i;
    return -1;
}

bool schema_text(const struct schema_rule *r, const char *text)
{
    size_t n = strlen(text);
    if ((n == 0 && r->secret) || (r->choices && schema_choice(r, text) < 0))
        return false;
    return r->type != SCHEMA_TEXT || ((double)n >= r->min && (r->max <= r->min || (double)n <= r->max));
}

/* --- What is said ------------------------------------------------------------------------------------------------- */

void schema_plain(const char *text, size_t max, struct buf *out)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n && i < max; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_byte(out, c);
    }
    if (n > max)
        buf_str(out, "…");
}

void schema_found(const struct cJSON *item, bool secret, struct buf *out)
{
    if (cJSON_IsRaw(item))
        buf_str(out, item->valuestring);
    else if (cJSON_IsNumber(item) && isnan(item->valuedouble))
        buf_str(out, "no number (0/0)");
    else if (cJSON_IsNumber(item) && !secret)
        buf_printf(out, "%.15g", item->valuedouble);
    else if (cJSON_IsNumber(item))
        buf_str(out, "a number");
    else if (cJSON_IsBool(item))
        buf_str(out, cJSON_IsTrue(item) ? "true" : "false");
    else if (cJSON_IsString(item) && secret)
        buf_printf(out, "a text of %zu bytes", strlen(item->valuestring));
    else if (cJSON_IsString(item)) {
        buf_byte(out, '"');
        schema_plain(item->valuestring, SHOWN_MAX, out);
        buf_byte(out, '"');
    } else
        buf_str(out, cJSON_IsArray(item) ? "a list" : "a table");
}

void schema_number_text(enum schema_type type, double v, struct buf *out)
{
    static const struct {
        double unit;
        const char *name;
    } units[] = {{1024.0 * 1024 * 1024, "GiB"}, {1024.0 * 1024, "MiB"}, {1024.0, "KiB"}};
    for (unsigned i = 0; type == SCHEMA_SIZE && i < sizeof units / sizeof units[0]; i++) {
        if (v >= units[i].unit && fmod(v, units[i].unit) == 0) {
            buf_printf(out, "%.15g*%s", v / units[i].unit, units[i].name);
            return;
        }
    }
    buf_printf(out, "%.15g", v);
}

static void put_range(const struct schema_rule *r, struct buf *out)
{
    bool below = !isinf(r->min), above = r->max < schema_ever;
    if (!below && !above)
        return;
    buf_str(out, " (");
    if (below)
        schema_number_text(r->type, r->min, out);
    buf_str(out, !below ? "at most " : above ? " to " : " or more");
    if (above)
        schema_number_text(r->type, r->max, out);
    buf_byte(out, ')');
}

static void put_choices(const struct schema_rule *r, struct buf *out)
{
    for (unsigned i = 0; r->choices[i]; i++)
        buf_printf(out, "%s\"%s\"", i ? ", " : " ", r->choices[i]);
}

static void put_length(const struct schema_rule *r, struct buf *out)
{
    if (r->max > r->min && !isinf(r->max))
        buf_printf(out, " of %.0f to %.0f bytes", r->min, r->max);
    else if (r->min > 1)
        buf_printf(out, " of at least %.0f bytes", r->min);
    else if (r->secret)
        buf_str(out, " that is not empty");
}

void schema_expected(const struct schema_rule *r, struct buf *out)
{
    buf_str(out, r->phrase ? r->phrase : phrases[r->type]);
    if (is_number(r->type))
        put_range(r, out);
    else if (r->type == SCHEMA_ENUM)
        put_choices(r, out);
    else if (r->type == SCHEMA_TEXT)
        put_length(r, out);
    if (r->type == SCHEMA_TEXT && r->optional)
        buf_str(out, " or nil");
    if (r->type == SCHEMA_TEXTS && r->choices) {
        buf_str(out, " out of");
        put_choices(r, out);
    }
}

void schema_unexpected(const struct schema_rule *r, const struct cJSON *item, struct buf *out)
{
    buf_str(out, "expected ");
    schema_expected(r, out);
    buf_str(out, ", found ");
    schema_found(item, r->secret, out);
    if (r->secret && cJSON_IsString(item) && !*item->valuestring)
        buf_str(out, " (an empty secret protects nothing)");
}
