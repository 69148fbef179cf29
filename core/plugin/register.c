/*
 * Registrations. init() fills the list mp_self.regs, and what cannot be is refused there and then. Commands and metrics
 * are the main thread's and take effect at once; what shards read goes into the hub's tables when shard_init() has run
 * everywhere (regs_commit).
 */
#include "core/plugin/register.h"

#include "core/base/log.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/metric.h"
#include "core/plugin/answers.h"
#include "core/plugin/hooks.h"
#include "core/plugin/http.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/threads.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int plugin_error(int rc)
{
    switch (rc) {
    case 0:
        return MP_OK;
    case ERR_NOMEM:
        return MP_ENOMEM;
    case ERR_NOTFOUND:
        return MP_ENOTFOUND;
    case ERR_EXISTS:
        return MP_EEXISTS;
    case ERR_FULL:
        return MP_EFULL;
    case ERR_IO:
        return MP_EIO;
    case ERR_AGAIN:
        return MP_EAGAIN;
    case ERR_CLOSED:
        return MP_ECLOSED;
    default:
        return MP_EINVALID;
    }
}

const char *plugin_error_text(int rc)
{
    static const char *const texts[] = {"MP_OK",
                                        "MP_ENOMEM: no memory",
                                        "MP_EINVALID: a wrong argument, or not here",
                                        "MP_ENOTFOUND: no such thing",
                                        "MP_EEXISTS: taken",
                                        "MP_EFULL: a limit is reached",
                                        "MP_EIO: the operating system refused",
                                        "MP_EAGAIN: not now",
                                        "MP_ECLOSED: closed"};
    return rc <= 0 && rc > -(int)(sizeof texts / sizeof texts[0]) ? texts[-rc] : "a code of its own";
}

bool struct_in(void *out, size_t size, const void *given)
{
    uint32_t n;
    memset(out, 0, size);
    if (!given)
        return false;
    memcpy(&n, given, sizeof n);
    if (n < sizeof n)
        return false;
    memcpy(out, given, n < size ? n : size);
    return true;
}

/* --- The list ----------------------------------------------------------------------------------------------------- */

static struct reg *reg_new(struct mp_self *p, int kind)
{
    struct reg *r = calloc(1, sizeof *r);
    if (r) {
        r->plugin = p;
        r->kind = kind;
    }
    return r;
}

static void reg_free(struct reg *r)
{
    free(r->name);
    free(r->args);
    free(r->help);
    free(r);
}

/* At the end: hooks of the same priority run in the order of registration. */
static int reg_add(struct reg *r)
{
    struct reg **at = &r->plugin->regs;
    while (*at)
        at = &(*at)->next;
    *at = r;
    return 0;
}

static int reg_refuse(struct reg *r, int rc)
{
    reg_free(r);
    return rc;
}

/* Copies of texts that the plugin may throw away. */
static bool keep_text(char **out, const char *text)
{
    *out = strdup(text ? text : "");
    return *out != NULL;
}

void regs_free(struct mp_self *p)
{
    while (p->regs) {
        struct reg *r = p->regs;
        p->regs = r->next;
        reg_free(r);
    }
}

/* --- Refusals ----------------------------------------------------------------------------------------------------- */

/* What init() was refused, for the line that says why the plugin is not loaded. Returns rc. */
static int refused(struct mp_self *p, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int refused(struct mp_self *p, int rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(p->refusal, sizeof p->refusal, fmt, args);
    va_end(args);
    return rc;
}

/* Whether init() runs and the struct has its size; else the call was refused. */
static bool may_register(struct mp_self *p, const char *call, bool sized)
{
    if (!p->may_register) {
        log_event(LOG_ERROR, "plugin.bug", LOG_STR("plugin", p->name), LOG_STR("about", "registered outside init()"),
                  LOG_STR("call", call));
        return false;
    }
    if (!sized)
        refused(p, MP_EINVALID, "%s: its struct has no size", call);
    return sized;
}

static bool same(const struct reg *a, const struct reg *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case REG_ACTION:
        return a->action.number == b->action.number;
    case REG_ROUTE:
    case REG_UPGRADE:
        return a->prefix == b->prefix && strcmp(a->path, b->path) == 0 && strcmp(a->method, b->method) == 0;
    case REG_METRIC:
    case REG_COMMAND:
        return strcmp(a->name, b->name) == 0;
    default:
        return a->kind == REG_AUTH;
    }
}

/* Whether this plugin has it already. */
static bool reg_there(const struct reg *r)
{
    for (const struct reg *o = r->plugin->regs; o; o = o->next)
        if (same(o, r))
            return true;
    return false;
}

/* Refuses and frees a registration whose place is somebody else's, and says whose. */
static int taken(struct reg *r, const char *call, const void *owner)
{
    struct mp_self *p = r->plugin;
    const char *by = owner ? hub_owner_name(p->plugins->hub, owner) : NULL;
    char name[80];
    for (const struct mp_self *o = p->plugins->list; o && !by; o = o->next) {
        const struct reg *other = o->regs;
        while (other && !same(other, r))
            other = other->next;
        if (!other)
            continue;
        snprintf(name, sizeof name, "plugin %s", o->name);
        by = o == p ? "this plugin itself" : name;
    }
    refused(p, MP_EEXISTS, "%s: taken by %s", call, by ? by : "the server");
    reg_free(r);
    return MP_EEXISTS;
}

/* --- Hooks, actions, authentication ------------------------------------------------------------------------------- */

int reg_hook(mp_self *p, const struct mp_hook *given)
{
    struct mp_hook h;
    if (!may_register(p, "hook()", STRUCT_IN(&h, given)))
        return MP_EINVALID;
    if ((unsigned)h.event >= MP_EVENTS || !h.fn)
        return refused(p, MP_EINVALID, "hook(%d): %s", (int)h.event,
                       (unsigned)h.event >= MP_EVENTS ? "there is no such event" : "no function");
    struct reg *r = reg_new(p, REG_HOOK);
    if (!r)
        return MP_ENOMEM;
    r->hook = h;
    return reg_add(r);
}

int reg_action(mp_self *p, const struct mp_action *given)
{
    struct mp_action a;
    char call[32];
    if (!may_register(p, "action()", STRUCT_IN(&a, given)))
        return MP_EINVALID;
    snprintf(call, sizeof call, "action(%u)", a.number);
    if (a.number < 1000 || a.number > 1999 || !a.handle)
        return refused(p, MP_EINVALID, "%s: %s", call,
                       a.handle ? "a plugin's actions are 1000 to 1999" : "no function");
    struct reg *r = reg_new(p, REG_ACTION);
    if (!r || !keep_text(&r->name, a.name ? a.name : p->name))
        return r ? reg_refuse(r, MP_ENOMEM) : MP_ENOMEM;
    r->action = a;
    const struct action *there = action_find(p->plugins->hub->tables, a.number);
    if (there || reg_there(r))
        return taken(r, call, there ? there->owner : NULL);
    return reg_add(r);
}

int reg_auth(mp_self *p, mp_auth_fn ask, void *ctx)
{
    const struct tables *t = p->plugins->hub->tables;
    if (!may_register(p, "auth()", true))
        return MP_EINVALID;
    if (!ask || !p->desc->auth_mode)
        return refused(p, MP_EINVALID, "auth(): %s", ask ? "the description has no auth_mode" : "no function");
    struct reg *r = reg_new(p, REG_AUTH);
    if (!r)
        return MP_ENOMEM;
    r->ask = ask;
    r->ctx = ctx;
    if (reg_there(r))
        return taken(r, "auth()", NULL);
    for (uint32_t i = 0; i < t->auth_count; i++)
        if (strcmp(t->auth[i].name, p->desc->auth_mode) == 0)
            return taken(r, "auth()", t->auth[i].owner);
    return reg_add(r);
}

/* --- Commands and metrics ----------------------------------------------------------------------------------------- */

int reg_command(mp_self *p, const struct mp_command *given)
{
    struct mp_command c;
    char call[96];
    if (!may_register(p, "command()", STRUCT_IN(&c, given)))
        return MP_EINVALID;
    snprintf(call, sizeof call, "command(\"%.64s\")", c.name ? c.name : "");
    if (!c.name || !c.help || !c.run || c.min > c.max || c.max > COMMAND_ARGS)
        return refused(p, MP_EINVALID, "%s: expected a name, a help, a function, and min <= max <= %d", call,
                       COMMAND_ARGS);
    struct reg *r = reg_new(p, REG_COMMAND);
    if (!r || !keep_text(&r->name, c.name) || !keep_text(&r->args, c.args) || !keep_text(&r->help, c.help))
        return r ? reg_refuse(r, MP_ENOMEM) : MP_ENOMEM;
    r->command = c;
    int rc = command_register(p->plugins->hub, &(struct command){.name = r->name,
                                                                 .args = r->args,
                                                                 .help = r->help,
                                                                 .min = c.min,
                                                                 .max = c.max,
                                                                 .changes = c.changes,
                                                                 .run = command_run,
                                                                 .ctx = r,
                                                                 .owner = p});
    if (rc == 0)
        return reg_add(r);
    if (rc == ERR_EXISTS)
        return taken(r, call, NULL);
    if (rc == ERR_INVALID)
        refused(p, MP_EINVALID, "%s: a name is one or two words of lower case letters", call);
    return reg_refuse(r, plugin_error(rc));
}

/* The value of a counter or gauge that the plugin adds to: every thread's part. */
static double metric_sum(struct hub *hub, void *ctx)
{
    const struct reg *r = ctx;
    int64_t sum = atomic_load_explicit(&r->elsewhere, memory_order_relaxed);
    for (unsigned i = 0; i < hub->shard_count; i++)
        sum += atomic_load_explicit(&hub->shards[i]->metrics[r->metric_number], memory_order_relaxed);
    return (double)sum;
}

static double metric_read(struct hub *hub, void *ctx)
{
    const struct reg *r = ctx;
    struct mp_thread *t = &r->plugin->plugins->threads[0];
    (void)hub;
    struct visit v = visit_begin(t, r->plugin, "a metric");
    double x = r->metric.read(r->metric.ctx);
    visit_end(t, &v);
    return x;
}

int reg_metric(mp_self *p, const struct mp_metric *given)
{
    struct mp_metric m;
    char call[96];
    if (!may_register(p, "metric()", STRUCT_IN(&m, given)))
        return MP_EINVALID;
    snprintf(call, sizeof call, "metric(\"%.64s\")", m.name ? m.name : "");
    if (!m.name || !m.help || (unsigned)m.kind > MP_GAUGE || strlen(m.name) > 63)
        return refused(p, MP_EINVALID, "%s: expected a name of at most 63 bytes, a help, a counter or gauge", call);
    struct reg *r = reg_new(p, REG_METRIC);
    if (!r || !keep_text(&r->name, m.name))
        return r ? reg_refuse(r, MP_ENOMEM) : MP_ENOMEM;
    r->metric = m;
    if (reg_there(r))
        return taken(r, call, NULL);
    struct metric h = {.kind = m.kind == MP_COUNTER ? METRIC_COUNTER : METRIC_GAUGE,
                       .read = m.read ? metric_read : metric_sum,
                       .ctx = r,
                       .owner = p};
    snprintf(h.name, sizeof h.name, "%s", m.name);
    snprintf(h.help, sizeof h.help, "%s", m.help);
    int rc = metric_register(p->plugins->hub, &h);
    if (rc == ERR_EXISTS)
        return taken(r, call, NULL);
    if (rc < 0)
        return reg_refuse(r, refused(p, plugin_error(rc), "%s: %s", call,
                                     rc == ERR_FULL ? "there are as many metrics as there may be" : err_str(rc)));
    r->metric_number = rc;
    reg_add(r);
    return rc;
}

/* A plugin has few metrics, and counts in hot code: found by number in its own list. */
static struct reg *metric_of(mp_self *p, int metric)
{
    for (struct reg *r = p->regs; r; r = r->next)
        if (r->kind == REG_METRIC && r->metric_number == metric)
            return r;
    return NULL;
}

void metric_count(mp_self *p, mp_thread *here, int metric, int64_t n)
{
    struct reg *r = metric_of(p, metric);
    if (!r || r->metric.read)
        return;
    if (here && here->shard)
        metric_add(here->shard, metric, n);
    else
        atomic_fetch_add_explicit(&r->elsewhere, n, memory_order_relaxed);
}

struct metric_walk {
    void (*fn)(void *ctx, const struct mp_metric_value *m);
    void *ctx;
};

static void metric_show(void *ctx, const struct metric *m, const char *labels, double value,
                        const struct metric_histogram *h)
{
    static const enum mp_metric_kind kinds[] = {
        [METRIC_COUNTER] = MP_COUNTER, [METRIC_GAUGE] = MP_GAUGE, [METRIC_HISTOGRAM] = MP_HISTOGRAM};
    const struct metric_walk *w = ctx;
    struct mp_metric_value v = {
        .size = sizeof v, .name = m->name, .help = m->help, .kind = kinds[m->kind], .value = value, .labels = labels};
    struct mp_metric_bucket buckets[METRIC_BUCKETS];
    for (unsigned i = 0; h && i < h->buckets; i++)
        buckets[i] = (struct mp_metric_bucket){h->bounds[i], h->at_most[i]};
    if (h) {
        v.sum = h->sum;
        v.buckets = buckets;
        v.bucket_count = h->buckets;
    }
    w->fn(w->ctx, &v);
}

void metric_each(mp_self *p, void (*fn)(void *ctx, const struct mp_metric_value *m), void *ctx)
{
    metrics_each(p->plugins->hub, metric_show, &(struct metric_walk){fn, ctx});
}

/* --- Routes and paths --------------------------------------------------------------------------------------------- */

/* Takes a path, with a star at its end or not, into the registration. */
static bool keep_path(struct reg *r, const char *path, bool star_allowed)
{
    size_t n = path ? strlen(path) : 0;
    r->prefix = star_allowed && n > 0 && path[n - 1] == '*';
    n -= r->prefix ? 1 : 0;
    if (n == 0 || n >= sizeof r->path || path[0] != '/')
        return false;
    memcpy(r->path, path, n);
    return true;
}

int reg_route(mp_self *p, const struct mp_route *given)
{
    const struct tables *t = p->plugins->hub->tables;
    struct mp_route m;
    char call[160];
    if (!may_register(p, "route()", STRUCT_IN(&m, given)))
        return MP_EINVALID;
    snprintf(call, sizeof call, "route(\"%.128s\")", m.path ? m.path : "");
    if (!m.handle || m.body_max > ROUTE_BODY_MAX || (m.flags & ~(uint32_t)(MP_ROUTE_F_ANY_HOST | MP_ROUTE_F_METRICS)) ||
        (m.method && strlen(m.method) > 15))
        return refused(p, MP_EINVALID, "%s: %s", call,
                       !m.handle                     ? "no function"
                       : m.body_max > ROUTE_BODY_MAX ? "its body_max is over 16 MiB"
                                                     : "an unknown flag, or too long a method");
    struct reg *r = reg_new(p, REG_ROUTE);
    if (!r)
        return MP_ENOMEM;
    r->route = m;
    snprintf(r->method, sizeof r->method, "%s", m.method ? m.method : "");
    if (!keep_path(r, m.path, true))
        return reg_refuse(r, refused(p, MP_EINVALID, "%s: expected a path of at most 127 bytes", call));
    if (reg_there(r))
        return taken(r, call, NULL);
    for (uint32_t i = 0; i < t->route_count; i++)
        if (t->routes[i].prefix == r->prefix && strcmp(t->routes[i].path, r->path) == 0 &&
            strcmp(t->routes[i].method, r->method) == 0)
            return taken(r, call, t->routes[i].owner);
    return reg_add(r);
}

int reg_upgrade(mp_self *p, const struct mp_upgrade *given)
{
    const struct tables *t = p->plugins->hub->tables;
    struct mp_upgrade u;
    char call[160];
    if (!may_register(p, "upgrade()", STRUCT_IN(&u, given)))
        return MP_EINVALID;
    snprintf(call, sizeof call, "upgrade(\"%.128s\")", u.path ? u.path : "");
    if (!u.message || u.message_max == 0 || u.message_max > ROUTE_BODY_MAX)
        return refused(p, MP_EINVALID, "%s: %s", call,
                       u.message ? "expected a message_max of 1 byte to 16 MiB" : "no function");
    struct reg *r = reg_new(p, REG_UPGRADE);
    if (!r)
        return MP_ENOMEM;
    r->upgrade = u;
    if (!keep_path(r, u.path, false))
        return reg_refuse(r, refused(p, MP_EINVALID, "%s: expected a path of at most 127 bytes, without a star", call));
    if (reg_there(r))
        return taken(r, call, NULL);
    for (uint32_t i = 0; i < t->upgrade_count; i++)
        if (strcmp(t->upgrades[i].path, r->path) == 0)
            return taken(r, call, t->upgrades[i].owner);
    return reg_add(r);
}

/* --- Into force --------------------------------------------------------------------------------------------------- */

static int commit_route(struct hub *hub, struct reg *r)
{
    struct route route = {.prefix = r->prefix,
                          .any_host = r->route.flags & MP_ROUTE_F_ANY_HOST,
                          .metrics = r->route.flags & MP_ROUTE_F_METRICS,
                          .body_max = r->route.body_max,
                          .handle = http_run,
                          .ctx = r,
                          .owner = r->plugin};
    memcpy(route.method, r->method, sizeof r->method);
    memcpy(route.path, r->path, sizeof r->path);
    return route_register(hub, &route);
}

static int commit_upgrade(struct hub *hub, struct reg *r)
{
    struct upgrade u = {.message_max = r->upgrade.message_max,
                        .opened = ws_opened,
                        .message = ws_message,
                        .closed = ws_closed,
                        .ctx = r,
                        .owner = r->plugin};
    memcpy(u.path, r->path, sizeof r->path);
    return upgrade_register(hub, &u);
}

static int commit_one(struct hub *hub, struct reg *r)
{
    struct mp_self *p = r->plugin;
    struct auth_provider provider = {.ask = auth_run, .ctx = r, .owner = p};
    switch (r->kind) {
    case REG_HOOK:
        return hook_register(hub, &(struct hook){.event = (enum hook_event)r->hook.event,
                                                 .priority = r->hook.priority,
                                                 .fn = hook_run,
                                                 .ctx = r,
                                                 .owner = p});
    case REG_ACTION:
        return action_register(hub, &(struct action){.number = r->action.number,
                                                     .name = r->name,
                                                     .class = CLASS_ALONE,
                                                     .before_login = r->action.before_login,
                                                     .handle = action_run,
                                                     .ctx = r,
                                                     .owner = p});
    case REG_AUTH:
        snprintf(provider.name, sizeof provider.name, "%s", p->desc->auth_mode);
        return auth_register(hub, &provider);
    case REG_ROUTE:
        return commit_route(hub, r);
    case REG_UPGRADE:
        return commit_upgrade(hub, r);
    default:
        return 0;
    }
}

int regs_commit(struct mp_self *p)
{
    static const char *const kinds[] = {
        "a hook", "an action", "its authentication provider", "a route", "a WebSocket path", "", ""};
    for (struct reg *r = p->regs; r; r = r->next) {
        int rc = commit_one(p->plugins->hub, r);
        if (rc != 0) {
            snprintf(p->why, sizeof p->why, "%s cannot be registered: %s", kinds[r->kind], err_str(rc));
            return rc;
        }
    }
    return 0;
}
