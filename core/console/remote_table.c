/* Which commands are for several nodes, and how: see remote.h. */
#include "core/console/remote.h"

enum { PATIENCE_CHANGE_MS = 15000 };

static const char *const of_status[] = {"connections", "users",      "channels", "requests",
                                        "messages",    "deliveries", "log_lost", NULL};

static const struct spread_row table[] = {
    {.command = "list connections", .how = SPREAD_ROWS, .page = true},
    {.command = "list users", .how = SPREAD_ROWS, .page = true},
    {.command = "list channels", .how = SPREAD_ROWS, .page = true},
    {.command = "list slow", .how = SPREAD_ROWS, .page = true},
    {.command = "list hooks", .how = SPREAD_ROWS, .page = true},
    {.command = "list actions", .how = SPREAD_ROWS, .page = true},
    {.command = "list scripts", .how = SPREAD_ROWS},
    {.command = "list plugins", .how = SPREAD_ROWS},
    {.command = "script list", .how = SPREAD_ROWS},
    {.command = "plugin list", .how = SPREAD_ROWS},
    {.command = "status", .how = SPREAD_SUM, .added = of_status},
    {.command = "show memory", .how = SPREAD_SUM},
    {.command = "show storage", .how = SPREAD_SUM},
    {.command = "show metrics", .how = SPREAD_SERIES},
    {.command = "cluster status", .how = SPREAD_VIEWS},
    {.command = "show user", .how = SPREAD_JOIN},
    {.command = "show channel", .how = SPREAD_JOIN},
    {.command = "why", .how = SPREAD_HERE}, /* which asks by itself, as the next one does */
    {.command = "trace user", .how = SPREAD_HERE},
    {.command = "show connection", .how = SPREAD_CONN},
    {.command = "kick connection", .how = SPREAD_CONN},
    {.command = "config check", .how = SPREAD_ALL, .patience_ms = PATIENCE_CHANGE_MS},
    {.command = "config reload", .how = SPREAD_ALL, .patience_ms = PATIENCE_CHANGE_MS},
    {.command = "set", .how = SPREAD_ALL, .patience_ms = PATIENCE_CHANGE_MS},
    {.command = "log", .how = SPREAD_ALL},
    {.command = "script check", .how = SPREAD_ALL, .patience_ms = PATIENCE_CHANGE_MS},
    {.command = "script reload", .how = SPREAD_ALL, .patience_ms = PATIENCE_CHANGE_MS},
    {.command = "script enable", .how = SPREAD_ALL, .patience_ms = PATIENCE_CHANGE_MS},
    {.command = "script disable", .how = SPREAD_ALL, .patience_ms = PATIENCE_CHANGE_MS},
    {.command = "plugin load", .how = SPREAD_ALL, .patience_ms = PATIENCE_CHANGE_MS},
    {.command = "plugin unload", .how = SPREAD_ALL, .patience_ms = PATIENCE_CHANGE_MS},
};

const struct spread_row *spread_of(const char *command)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].command, command) == 0)
            return &table[i];
    return NULL;
}
