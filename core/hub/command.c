#include "core/hub/command.h"

#include "core/hub/shard.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct command_table {
    struct command *list; /* by name; owned */
    unsigned count;
    command_end_fn end;   /* the console's */
};

static struct command_table *table_of(struct hub *hub)
{
    if (!hub->commands)
        hub->commands = calloc(1, sizeof *hub->commands);
    return hub->commands;
}

void commands_free(struct hub *hub)
{
    if (hub->commands)
        free(hub->commands->list);
    free(hub->commands);
    hub->commands = NULL;
}

int command_register(struct hub *hub, const struct command *c)
{
    struct command_table *t = table_of(hub);
    struct command *p = t ? realloc(t->list, (t->count + 1) * sizeof *p) : NULL;
    if (!p)
        return ERR_NOMEM;
    t->list = p;
    unsigned at = t->count;
    while (at > 0 && strcmp(p[at - 1].name, c->name) > 0)
        at--;
    if (at > 0 && strcmp(p[at - 1].name, c->name) == 0)
        return ERR_EXISTS;
    memmove(p + at + 1, p + at, (t->count - at) * sizeof *p);
    p[at] = *c;
    t->count++;
    return 0;
}

int commands_register(struct hub *hub, const struct command *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int rc = command_register(hub, &list[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

void commands_remove(struct hub *hub, const void *owner)
{
    struct command_table *t = hub->commands;
    unsigned kept = 0;
    for (unsigned i = 0; t && owner && i < t->count; i++)
        if (t->list[i].owner != owner)
            t->list[kept++] = t->list[i];
    if (t && owner)
        t->count = kept;
}

const struct command *command_at(const struct hub *hub, unsigned i)
{
    return hub->commands && i < hub->commands->count ? &hub->commands->list[i] : NULL;
}

void commands_on_end(struct hub *hub, command_end_fn fn)
{
    struct command_table *t = table_of(hub);
    if (t)
        t->end = fn;
}

void command_done(struct command_call *c)
{
    c->hub->commands->end(c, NULL, NULL);
}

void command_fail(struct command_call *c, const char *code, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->hub->commands->end(c, code, text);
}
