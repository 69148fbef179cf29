/* Console commands about plugins. */
#include "core/plugin/commands.h"

#include "core/base/clock.h"
#include "core/base/spelling.h"
#include "core/plugin/lifecycle.h"
#include "core/plugin/options.h"
#include "core/plugin/plugin_private.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static void put_seconds(struct buf *out, const struct mp_self *p)
{
    buf_printf(out, "\"seconds\":%llu", (unsigned long long)((clock_mono_ms() - p->changed_ms) / 1000));
}

static unsigned count_regs(const struct mp_self *p, int kind)
{
    unsigned n = 0;
    for (const struct reg *r = p->regs; r; r = r->next)
        n += (int)r->kind == kind;
    return n;
}

static void put_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, ",\"%s\":", key);
    buf_json_string(out, slice_str(text));
}

/* --- plugin list -------------------------------------------------------------------------------------------------- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_plugin_file(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 3 && n < 68 && strcmp(d->d_name + n - 3, ".so") == 0;
}

/* Files that are there and not loaded. */
static void put_available(const struct plugins *ps, struct buf *out)
{
    struct dirent **list = NULL;
    int n = scandir(ps->setup.path, &list, is_plugin_file, by_name);
    for (int i = 0; i < n; i++) {
        char name[68];
        snprintf(name, sizeof name, "%.*s", (int)strlen(list[i]->d_name) - 3, list[i]->d_name);
        if (!plugin_find(ps, name)) {
            buf_str(out, out->n > 1 ? ",{\"name\":" : "{\"name\":");
            buf_json_string(out, slice_str(name));
            buf_lit(out, ",\"state\":\"not loaded\",\"version\":\"\",\"seconds\":0,\"memory\":0,\"summary\":\"\"}");
        }
        free(list[i]);
    }
    free(list);
}

static void list_run(struct command_call *c, void *ctx)
{
    const struct plugins *ps = ctx;
    struct buf *out = &c->out;
    buf_byte(out, '[');
    for (const struct mp_self *p = ps->list; p; p = p->next) {
        if (p->state == PLUGIN_DEAD)
            continue;
        buf_str(out, out->n > 1 ? ",{\"name\":" : "{\"name\":");
        buf_json_string(out, slice_str(p->name));
        put_text(out, "state", plugin_state_name(p));
        put_text(out, "version", p->desc->version);
        buf_byte(out, ',');
        put_seconds(out, p);
        buf_printf(out, ",\"memory\":%zu", p->memory);
        put_text(out, "summary", p->desc->summary);
        buf_byte(out, '}');
    }
    put_available(ps, out);
    buf_byte(out, ']');
    command_done(c);
}

/* --- plugin info -------------------------------------------------------------------------------------------------- */

static void name_of(const struct command_call *c, char out[65])
{
    snprintf(out, 65, "%.*s", (int)(c->argv[0].n < 64 ? c->argv[0].n : 64), c->argv[0].p);
}

static void not_loaded(struct plugins *ps, struct command_call *c, const char *name)
{
    const char *near = NULL;
    unsigned best = spelling_limit(name) + 1;
    for (const struct mp_self *p = ps->list; p; p = p->next) {
        unsigned d = spelling_distance(name, p->name);
        if (p->state != PLUGIN_DEAD && d < best) {
            best = d;
            near = p->name;
        }
    }
    if (near)
        command_fail(c, "not_found", "no plugin %s is loaded; did you mean %s?", name, near);
    else
        command_fail(c, "not_found", "no plugin %s is loaded", name);
}

static void info_run(struct command_call *c, void *ctx)
{
    static const char *const kinds[] = {"hooks", "actions", "providers", "routes", "paths", "metrics", "commands"};
    struct plugins *ps = ctx;
    char name[65];
    name_of(c, name);
    struct mp_self *p = plugin_find(ps, name);
    struct buf *out = &c->out, pending = BUF_INIT;
    if (!p) {
        not_loaded(ps, c, name);
        return;
    }
    plugin_put_pending(p, &pending);
    buf_byte(&pending, '\0');
    buf_lit(out, "{\"name\":");
    buf_json_string(out, slice_str(p->name));
    put_text(out, "version", p->desc->version);
    put_text(out, "summary", p->desc->summary);
    put_text(out, "state", plugin_state_name(p));
    buf_byte(out, ',');
    put_seconds(out, p);
    put_text(out, "file", p->file);
    buf_printf(out, ",\"abi\":\"%u.%u\",\"memory\":%zu", p->desc->abi_major, p->desc->abi_minor, p->memory);
    for (int kind = 0; kind <= REG_COMMAND; kind++)
        buf_printf(out, ",\"%s\":%u", kinds[kind], count_regs(p, kind));
    put_text(out, "under_way", p->state == PLUGIN_RUNNING && strcmp(pending.p, "a shard") == 0 ? "nothing" : pending.p);
    buf_lit(out, ",\"options\":[");
    for (unsigned i = 0; i < p->desc->option_count; i++) {
        buf_str(out, i ? "," : "");
        buf_json_string(out, slice_str(schema_at(p->desc, i)->name));
    }
    buf_lit(out, "]}");
    buf_free(&pending);
    command_done(c);
}

/* --- plugin load, unload ------------------------------------------------------------------------------------------ */

static void load_run(struct command_call *c, void *ctx)
{
    struct plugins *ps = ctx;
    struct buf errors = BUF_INIT;
    char name[65];
    name_of(c, name);
    if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(name)) {
        command_fail(c, "bad_request", "a plugin's name has letters, digits, _ and - only");
        return;
    }
    const struct cJSON *options = ps->setup.config ? cJSON_GetObjectItemCaseSensitive(ps->setup.config, name) : NULL;
    int rc = plugin_load(ps, name, options, c, &errors);
    if (rc != 0) {
        while (errors.n && errors.p[errors.n - 1] == '\n')
            errors.n--;
        command_fail(c, rc == ERR_EXISTS ? "exists" : "invalid", "%.*s", (int)errors.n,
                     errors.p ? errors.p : "out of memory");
    }
    buf_free(&errors);
}

static void unload_run(struct command_call *c, void *ctx)
{
    struct plugins *ps = ctx;
    char name[65];
    name_of(c, name);
    struct mp_self *p = plugin_find(ps, name);
    if (!p)
        not_loaded(ps, c, name);
    else
        plugin_unload(p, c);
}

int plugin_commands_register(struct plugins *ps)
{
    const struct command list[] = {
        {.name = "plugin list",
         .args = "",
         .help = "plugins that are loaded, and files that could be",
         .run = list_run,
         .ctx = ps,
         .owner = ps},
        {.name = "plugin info",
         .args = "NAME",
         .help = "what a plugin is, has registered and waits for",
         .min = 1,
         .max = 1,
         .run = info_run,
         .ctx = ps,
         .owner = ps},
        {.name = "plugin load",
         .args = "NAME",
         .help = "load plugins.path/NAME.so, with its options of the config",
         .min = 1,
         .max = 1,
         .changes = true,
         .shown = 1,
         .run = load_run,
         .ctx = ps,
         .owner = ps},
        {.name = "plugin unload",
         .args = "NAME",
         .help = "finish what a plugin has under way and take it out",
         .min = 1,
         .max = 1,
         .changes = true,
         .shown = 1,
         .run = unload_run,
         .ctx = ps,
         .owner = ps},
    };
    return commands_register(ps->hub, list, sizeof list / sizeof *list);
}
