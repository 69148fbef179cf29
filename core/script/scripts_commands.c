/* The console's `script list|check|reload|enable|disable`. */
#include "core/hub/registry/command.h"
#include "core/script/scripts_private.h"

#include <stdlib.h>
#include <string.h>

static void put_row(void *ctx, const struct script_info *i)
{
    struct buf *b = ctx;
    if (b->p && b->n > 1)
        buf_byte(b, ',');
    buf_lit(b, "{\"name\":");
    buf_json_string(b, slice_str(i->name));
    buf_printf(
        b,
        ",\"state\":\"%s\",\"hooks\":%u,\"actions\":%u,\"commands\":%u,\"timers\":%u,\"calls\":%llu,\"errors\":%llu,"
        "\"kills\":%llu,"
        "\"cpu_ms\":%llu.%03llu,\"memory\":%lld}",
        i->loaded     ? "loaded"
        : i->disabled ? "disabled"
                      : "unloaded",
        i->hooks, i->actions, i->commands, i->timers, (unsigned long long)i->calls, (unsigned long long)i->errors,
        (unsigned long long)i->kills, (unsigned long long)i->cpu_us / 1000, (unsigned long long)i->cpu_us % 1000,
        (long long)i->memory);
}

static void run_list(struct command_call *c, void *ctx)
{
    buf_byte(&c->out, '[');
    scripts_each(ctx, put_row, &c->out);
    buf_byte(&c->out, ']');
    command_done(c);
}

/* Ends with the errors, one a line, or with what was done. */
static void answer(struct command_call *c, int rc, const struct buf *errors, const char *done)
{
    if (rc != 0) {
        size_t n = errors->n;
        while (n > 0 && errors->p[n - 1] == '\n')
            n--;
        command_fail(c, "failed", "%.*s", (int)n, errors->p ? errors->p : "");
        return;
    }
    buf_json_string(&c->out, slice_str(done));
    command_done(c);
}

static void run_check(struct command_call *c, void *ctx)
{
    struct buf errors = BUF_INIT;
    int rc = scripts_try(ctx, &errors);
    answer(c, rc, &errors, "good");
    buf_free(&errors);
}

static void in_force(void *ctx)
{
    struct command_call *c = ctx;
    buf_json_string(&c->out, slice_str(c->state));
    command_done(c);
}

/* Loads anew and answers when it is in force. Returns whether it will be. `done` is static. */
static bool reload(struct command_call *c, struct scripts *s, const char *done)
{
    struct buf errors = BUF_INIT;
    int rc = scripts_prepare_again(s, &errors);
    if (rc == 0 && (rc = scripts_commit(s)) != 0)
        buf_str(&errors, "out of memory\n");
    c->state = (void *)(uintptr_t)done;
    if (rc != 0)
        answer(c, rc, &errors, "");
    else if (scripts_when_settled(s, in_force, c) != 0)
        answer(c, 0, &errors, done);
    buf_free(&errors);
    return rc == 0;
}

static void run_reload(struct command_call *c, void *ctx)
{
    reload(c, ctx, "reloaded");
}

static bool is_configured(const struct scripts *s, struct slice name)
{
    for (size_t i = 0; s->opt.load && s->opt.load[i]; i++)
        if (slice_eq(slice_str(s->opt.load[i]), name))
            return true;
    return false;
}

static void set_disabled(struct command_call *c, struct scripts *s, bool disabled)
{
    char name[SCRIPT_NAME_MAX];
    struct script_record *r = NULL;
    if (c->argv[0].n < sizeof name && is_configured(s, c->argv[0])) {
        memcpy(name, c->argv[0].p, c->argv[0].n);
        name[c->argv[0].n] = '\0';
        r = scripts_record(s, name);
    }
    if (!r) {
        command_fail(c, "not_found", "scripts.load has no such script");
        return;
    }
    const char *done = disabled ? "disabled" : "enabled";
    if (r->disabled == disabled) {
        buf_json_string(&c->out, slice_str(done));
        command_done(c);
        return;
    }
    r->disabled = disabled;
    if (!reload(c, s, done))
        r->disabled = !disabled;
}

static void run_enable(struct command_call *c, void *ctx)
{
    set_disabled(c, ctx, false);
}

static void run_disable(struct command_call *c, void *ctx)
{
    set_disabled(c, ctx, true);
}

int scripts_commands(struct scripts *s)
{
    const struct command list[] = {
        {.name = "script list", .args = "", .help = "scripts with their hooks and figures", .run = run_list},
        {.name = "script check",
         .args = "",
         .help = "loads the scripts anew and forgets them: prints every error",
         .run = run_check},
        {.name = "script reload",
         .args = "",
         .help = "reads the loaded scripts anew, all or none; another scripts.load takes config reload",
         .changes = true,
         .run = run_reload},
        {.name = "script enable",
         .args = "NAME",
         .help = "loads a disabled script again",
         .min = 1,
         .max = 1,
         .changes = true,
         .shown = 1,
         .run = run_enable},
        {.name = "script disable",
         .args = "NAME",
         .help = "leaves a script out until it is enabled",
         .min = 1,
         .max = 1,
         .changes = true,
         .shown = 1,
         .run = run_disable},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        struct command c = list[i];
        c.ctx = s;
        c.owner = s;
        int rc = command_register(s->hub, &c);
        if (rc != 0 && rc != ERR_EXISTS)
            return rc;
    }
    return 0;
}
