#include "core/config/config_commands.h"

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/config/config_edit.h"
#include "core/config/config_private.h"
#include "core/hub/hub.h"
#include "core/hub/registry/command.h"
#include "core/hub/shard/shards.h"

/* Lines of errors as an array: the details of a failure. */
static void put_lines(struct buf *out, const struct buf *lines)
{
    bool first = true;
    buf_byte(out, '[');
    for (size_t at = 0; at < lines->n;) {
        const char *end = memchr(lines->p + at, '\n', lines->n - at);
        size_t n = end ? (size_t)(end - (lines->p + at)) : lines->n - at;
        buf_str(out, first ? "" : ",");
        buf_json_string(out, slice_of(lines->p + at, n));
        first = false;
        at += n + 1;
    }
    buf_byte(out, ']');
}

/* The first line, for the status; the rest, where there is more, as details. */
static void fail_lines(struct command_call *c, struct buf *lines)
{
    size_t n = lines->n ? strcspn(lines->p, "\n") : 0;
    bool more = n + 1 < lines->n;
    struct buf first = BUF_INIT;
    buf_put(&first, lines->p, n);
    buf_byte(&first, '\0');
    if (more)
        put_lines(&c->out, lines);
    command_fail(c, "bad_request", "%s%s", buf_ok(&first) && n ? first.p : "out of memory", more ? " (and more)" : "");
    buf_free(&first);
}

/* --- show config -------------------------------------------------------------------------------------------------- */

/* Whether the option is the one of this path, or below it. */
static bool under(const struct config_option *o, struct slice path)
{
    return path.n == 0 ||
           (strncmp(o->path, path.p, path.n) == 0 && (o->path[path.n] == '\0' || o->path[path.n] == '.'));
}

static void unknown_path(struct command_call *c, struct slice path)
{
    char copy[CONFIG_PATH_MAX];
    size_t n = path.n < sizeof copy ? path.n : sizeof copy - 1;
    memcpy(copy, path.p, n);
    copy[n] = '\0';
    const char *near = config_schema_nearest(copy);
    if (near)
        command_fail(c, "not_found", "there is no option %s; did you mean %s?", copy, near);
    else
        command_fail(c, "not_found", "there is no option %s", copy);
}

static void run_show(struct command_call *c, void *ctx)
{
    const struct config_keeper *k = ctx;
    const struct config *now = k->current(k->ctx);
    struct slice path = c->argc ? c->argv[0] : SLICE_NONE;
    unsigned shown = 0;
    buf_byte(&c->out, '{');
    for (unsigned i = 0; i < config_schema_count; i++) {
        const struct config_option *o = &config_schema[i];
        if (o->type == OPT_SECTION || !under(o, path))
            continue;
        buf_printf(&c->out, "%s\"%s\":", shown++ ? "," : "", o->path);
        config_value_put(&c->out, now, o);
    }
    buf_byte(&c->out, '}');
    if (shown) {
        command_done(c);
        return;
    }
    buf_reset(&c->out);
    unknown_path(c, path);
}

/* --- config … ----------------------------------------------------------------------------------------------------- */

static void run_check(struct command_call *c, void *ctx)
{
    const struct config_keeper *k = ctx;
    struct buf errors = BUF_INIT;
    struct config *file = k->load(k->ctx, &errors);
    if (file)
        command_done(c);
    else
        fail_lines(c, &errors);
    config_free(file);
    buf_free(&errors);
}

static void put_difference(struct command_call *c, const struct config *now, const struct config *file,
                           const struct config_option *o)
{
    if (c->out.n)
        buf_byte(&c->out, ',');
    buf_printf(&c->out, "{\"option\":\"%s\",\"now\":", o->path);
    config_value_put(&c->out, now, o);
    buf_lit(&c->out, ",\"file\":");
    config_value_put(&c->out, file, o);
    buf_printf(&c->out, ",\"restart\":%s}", o->flags & OPT_F_RESTART ? "true" : "false");
}

static void run_diff(struct command_call *c, void *ctx)
{
    const struct config_keeper *k = ctx;
    struct buf errors = BUF_INIT;
    struct config *file = k->load(k->ctx, &errors);
    if (!file) {
        fail_lines(c, &errors);
        buf_free(&errors);
        return;
    }
    c->rows = true;
    for (unsigned i = 0; i < config_schema_count; i++) {
        const struct config_option *o = &config_schema[i];
        /* What needs a restart is in force as it was at the start, whatever was read since. */
        const struct config *now = o->flags & OPT_F_RESTART ? k->boot(k->ctx) : k->current(k->ctx);
        if (o->type != OPT_SECTION && !config_value_same(now, file, o))
            put_difference(c, now, file, o);
    }
    config_free(file);
    buf_free(&errors);
    command_done(c);
}

/* --- Again, when the change before has reached the shards --------------------------------------------------------- */

enum { ATTEMPTS = 200 };

static void nothing(struct shard *s, void *ctx)
{
    (void)s, (void)ctx;
}

static void again(void *ctx)
{
    struct command_call *c = ctx;
    c->command.run(c, c->command.ctx);
}

/* A config was not taken: ends the call, or runs it once more in a moment. */
static void not_taken(struct command_call *c, int rc, struct buf *errors)
{
    uintptr_t attempts = (uintptr_t)c->state + 1;
    c->state = (void *)attempts;
    if (rc != ERR_AGAIN || attempts > ATTEMPTS || hub_each(c->hub, nothing, again, c) != 0)
        fail_lines(c, errors);
}

/* What was taken is in force on every shard. */
static void reached(void *ctx)
{
    command_done(ctx);
}

/* The answer waits until then: a key that was taken out opens nothing any more when it comes. */
static void done_everywhere(struct command_call *c)
{
    if (hub_each(c->hub, nothing, reached, c) != 0)
        command_done(c);
}

static void run_reload(struct command_call *c, void *ctx)
{
    const struct config_keeper *k = ctx;
    struct buf errors = BUF_INIT, waiting = BUF_INIT;
    struct config *file = k->load(k->ctx, &errors);
    int rc = file ? k->adopt(k->ctx, file, &errors) : -1;
    if (rc != 0) {
        config_free(file);
        not_taken(c, rc, &errors);
    } else {
        (void)config_needs_restart(k->boot(k->ctx), file, &waiting);
        buf_lit(&c->out, "{\"needs_restart\":");
        put_lines(&c->out, &waiting);
        buf_byte(&c->out, '}');
        done_everywhere(c);
    }
    buf_free(&errors);
    buf_free(&waiting);
}

/* --- set ---------------------------------------------------------------------------------------------------------- */

static void run_set(struct command_call *c, void *ctx)
{
    const struct config_keeper *k = ctx;
    char path[CONFIG_PATH_MAX];
    size_t n = c->argv[0].n < sizeof path ? c->argv[0].n : sizeof path - 1;
    memcpy(path, c->argv[0].p, n);
    path[n] = '\0';
    const struct config_option *o = config_schema_find(path);
    if (!o || o->type == OPT_SECTION) {
        unknown_path(c, c->argv[0]);
        return;
    }
    if (o->flags & (OPT_F_RESTART | OPT_F_SECRET)) {
        command_fail(c, "forbidden",
                     o->flags & OPT_F_SECRET ? "%s is a secret: set it in the file, then config reload"
                                             : "%s needs a restart: set it in the file",
                     o->path);
        return;
    }
    struct buf errors = BUF_INIT;
    struct config *fresh = config_value_set(k->current(k->ctx), o, c->argv[1], &errors);
    int rc = fresh ? k->adopt(k->ctx, fresh, &errors) : -1;
    if (rc != 0) {
        config_free(fresh);
        not_taken(c, rc, &errors);
    } else {
        log_event(LOG_INFO, "config.set", LOG_STR("who", c->who), LOG_STR("option", o->path),
                  LOG_SLICE("value", c->argv[1]));
        buf_printf(&c->out, "{\"%s\":", o->path);
        config_value_put(&c->out, k->current(k->ctx), o);
        buf_byte(&c->out, '}');
        done_everywhere(c);
    }
    buf_free(&errors);
}

int config_commands_register(struct hub *hub, const struct config_keeper *keeper)
{
    void *ctx = (void *)(uintptr_t)keeper;
    const struct command list[] = {
        {.name = "show config",
         .args = "[OPTION]",
         .help = "options in force: all, a section, or one",
         .max = 1,
         .run = run_show,
         .ctx = ctx},
        {.name = "config check",
         .args = "",
         .help = "read the config file and tell what is wrong with it",
         .run = run_check,
         .ctx = ctx},
        {.name = "config diff",
         .args = "",
         .help = "what the config file says otherwise than what is in force",
         .run = run_diff,
         .ctx = ctx},
        {.name = "config reload",
         .args = "",
         .help = "bring the config file into force",
         .changes = true,
         .run = run_reload,
         .ctx = ctx},
        {.name = "set",
         .args = "OPTION VALUE",
         .help = "change an option until the next reload; VALUE as in the file, without quotes: 64*KiB, 90*days, drop",
         .min = 2,
         .max = 2,
         .text = true,
         .changes = true,
         .shown = 1,
         .run = run_set,
         .ctx = ctx},
    };
    return commands_register(hub, list, sizeof list / sizeof list[0]);
}
