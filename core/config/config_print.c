/* What people read of the schema: expectations in errors, `magpied --defaults`, the table in the docs. */
#include "core/config/config_print.h"

#include "core/config/config.h"
#include "core/config/config_schema.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
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
        const struct schema_rule rule = config_schema_rule(o);
        schema_expected(&rule, out);
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
    buf_str(out,
            "-- Magpie " MAGPIE_VERSION
            ": every option with its default. Durations are in seconds (minutes, hours, days are there to\n"
            "-- multiply with), sizes in bytes (KiB, MiB, GiB), memory is what the server may have of the machine's,\n"
            "-- env(\"NAME\", default) reads the environment.\n"
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
