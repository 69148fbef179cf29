/* What people read of the schema: expectations in errors, `magpied --defaults`, the table in the docs. */
#include "core/config/config.h"
#include "core/config/config_schema.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KIB 1024.0
#define MIB (1024.0 * 1024)
#define GIB (1024.0 * 1024 * 1024)

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

static const char *const type_phrases[] = {
    [OPT_SECTION] = "a table",
    [OPT_COUNT] = "a whole number",
    [OPT_SIZE] = "a size in whole bytes",
    [OPT_SECONDS] = "a duration in seconds",
    [OPT_MS] = "a time in milliseconds",
    [OPT_BOOL] = "true or false",
    [OPT_ENUM] = "one of",
    [OPT_TEXT] = "a text",
    [OPT_ADDRESSES] = "an address or a list of addresses",
    [OPT_TEXTS] = "a list of texts",
    [OPT_PLUGINS] = "a table of NAME = { options }",
};

/* Bounds as Lua would write them: 65536 is 64*KiB. */
static void put_bound(struct buf *out, enum config_type type, double v)
{
    static const struct {
        double unit;
        const char *name;
    } units[] = {{GIB, "GiB"}, {MIB, "MiB"}, {KIB, "KiB"}};
    for (unsigned i = 0; type == OPT_SIZE && i < sizeof units / sizeof units[0]; i++) {
        if (v >= units[i].unit && fmod(v, units[i].unit) == 0) {
            buf_printf(out, "%.15g*%s", v / units[i].unit, units[i].name);
            return;
        }
    }
    buf_printf(out, "%.15g", v);
}

/* A bound that is there against slips only is not worth a word. */
static bool bounded_above(const struct config_option *o)
{
    return o->max < CONFIG_EVER;
}

static void put_range(struct buf *out, const struct config_option *o)
{
    put_bound(out, o->type, o->min);
    if (bounded_above(o)) {
        buf_str(out, " to ");
        put_bound(out, o->type, o->max);
    } else {
        buf_str(out, " or more");
    }
}

void config_schema_expected(const struct config_option *option, struct buf *out)
{
    buf_str(out, type_phrases[option->type]);
    switch (option->type) {
    case OPT_COUNT:
    case OPT_SIZE:
    case OPT_SECONDS:
    case OPT_MS:
        buf_str(out, " (");
        put_range(out, option);
        buf_str(out, ")");
        break;
    case OPT_ENUM:
        for (unsigned i = 0; option->choices[i]; i++)
            buf_printf(out, "%s\"%s\"", i ? ", " : " ", option->choices[i]);
        break;
    case OPT_TEXT:
        if (option->min > 1)
            buf_printf(out, " of at least %.0f bytes", option->min);
        if (option->flags & OPT_F_NIL)
            buf_str(out, " or nil");
        break;
    default:
        break;
    }
}

void config_schema_reference(struct buf *out)
{
    buf_str(out, "| key | value | default | reload | |\n| --- | --- | --- | --- | --- |\n");
    for (unsigned i = 0; i < config_schema_count; i++) {
        const struct config_option *o = &config_schema[i];
        if (o->type == OPT_SECTION) {
            buf_printf(out, "| **`%s`** | | | | **%s** |\n", o->path, o->help);
            continue;
        }
        buf_printf(out, "| `%s` | ", o->path);
        config_schema_expected(o, out);
        buf_printf(out, " | `%s` | %s | %s |\n", o->fallback, o->flags & OPT_F_RESTART ? "restart" : "yes", o->help);
    }
}

/* --- magpied --defaults ------------------------------------------------------------------------------------------- */

enum { COMMENT_WIDTH = 110 }; /* columns */

static void put_indent(struct buf *out, unsigned depth)
{
    buf_printf(out, "%*s", (int)(4 * depth), "");
}

/* The text as comment lines, broken at spaces. */
static void put_comment(struct buf *out, unsigned depth, const char *text)
{
    size_t room = COMMENT_WIDTH - 4 * depth - 3;
    while (*text) {
        size_t n = strlen(text);
        if (n > room) {
            n = room;
            while (n > 0 && text[n] != ' ')
                n--;
            if (n == 0)
                n = strcspn(text, " ");
        }
        put_indent(out, depth);
        buf_printf(out, "-- %.*s\n", (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
}

static unsigned depth_of(const char *path)
{
    unsigned depth = 1;
    for (; *path; path++)
        depth += *path == '.';
    return depth;
}

/* How many of the open tables this path is still inside of. `open` is the path of the innermost section so far. */
static unsigned depth_shared(const char *open, const char *path)
{
    unsigned shared = 0;
    for (size_t i = 0;; i++) {
        bool open_ends = open[i] == '.' || open[i] == '\0';
        if (open_ends && path[i] == '.')
            shared += i > 0;
        if (open[i] == '\0' || open[i] != path[i])
            return shared;
    }
}

static void close_tables(struct buf *out, unsigned *open_depth, unsigned depth)
{
    for (; *open_depth > depth; (*open_depth)--) {
        put_indent(out, *open_depth);
        buf_str(out, "},\n");
    }
}

void config_print_defaults(struct buf *out)
{
    const char *open = "";   /* path of the innermost open section */
    unsigned open_depth = 0; /* tables open inside the outermost */
    buf_str(out, "-- Magpie " MAGPIE_VERSION
                 ": every option with its default. Durations are in seconds (minutes, hours, days are there to\n"
                 "-- multiply with), sizes in bytes (KiB, MiB, GiB), env(\"NAME\", default) reads the environment.\n"
                 "-- (restart): a reload (SIGHUP) cannot change it.\n"
                 "return {\n");
    for (unsigned i = 0; i < config_schema_count; i++) {
        const struct config_option *o = &config_schema[i];
        close_tables(out, &open_depth, depth_shared(open, o->path));
        if (o->type == OPT_SECTION) {
            buf_str(out, "\n");
            put_comment(out, open_depth + 1, o->help);
            put_indent(out, open_depth + 1);
            buf_printf(out, "%s = {\n", last_word(o->path));
            open = o->path;
            open_depth = depth_of(o->path);
            continue;
        }
        char help[512];
        snprintf(help, sizeof help, "%s%s", o->help, o->flags & OPT_F_RESTART ? " (restart)" : "");
        if (open_depth == 0)
            buf_str(out, "\n");
        put_comment(out, open_depth + 1, help);
        put_indent(out, open_depth + 1);
        buf_printf(out, "%s = %s,\n", last_word(o->path), o->fallback);
        if (open_depth == 0)
            open = "";
    }
    close_tables(out, &open_depth, 0);
    buf_str(out, "}\n");
}
