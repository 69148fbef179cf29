#include "core/server/commands.h"

#include "core/config/config.h"
#include "core/hub/registry/command.h"
#include "core/server/drain.h"
#include "core/server/reload.h"
#include "core/server/server_private.h"
#include "core/server/settings.h"

#include <stdio.h>
#include <stdlib.h>

static const struct config *config_now(void *ctx)
{
    return ((struct server *)ctx)->config;
}

static const struct config *config_boot(void *ctx)
{
    return ((struct server *)ctx)->boot;
}

static struct config *config_file(void *ctx, struct buf *errors)
{
    struct server *s = ctx;
    return settings_load(s->plugins, s->config_path, errors);
}

/* Decimal seconds; the server's own where none are given. */
static void run_drain(struct command_call *c, void *ctx)
{
    struct server *s = ctx;
    double seconds = s->config->timeouts.drain;
    if (c->argc) {
        char text[16], *end;
        snprintf(text, sizeof text, "%.*s", (int)c->argv[0].n, c->argv[0].p);
        seconds = strtod(text, &end);
        if (c->argv[0].n == 0 || c->argv[0].n >= sizeof text || *end || !(seconds >= 0 && seconds <= 86400)) {
            command_fail(c, "bad_request", "expected seconds, up to 86400 (0: as long as it takes)");
            return;
        }
    }
    drain_begin(s, "console", seconds);
    command_done(c);
}

/* Whoever can be told is told; nobody is waited for. */
static void run_shutdown(struct command_call *c, void *ctx)
{
    drain_begin(ctx, "console", 1);
    command_done(c);
}

int orders_register(struct server *s)
{
    const struct command list[] = {
        {.name = "drain",
         .args = "[SECONDS]",
         .help = "stop as on SIGTERM: tell the clients, finish what is under way, end",
         .max = 1,
         .changes = true,
         .shown = 1,
         .run = run_drain,
         .ctx = s},
        {.name = "shutdown",
         .args = "",
         .help = "stop within a second",
         .changes = true,
         .run = run_shutdown,
         .ctx = s},
    };
    s->keeper = (struct config_keeper){
        .current = config_now, .boot = config_boot, .load = config_file, .adopt = reload_adopt, .ctx = s};
    int rc = config_commands_register(s->hub, &s->keeper);
    return rc ? rc : commands_register(s->hub, list, sizeof list / sizeof list[0]);
}
