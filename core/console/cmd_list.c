/* list …: what there is, by the thousands. */
#include "core/console/console_private.h"
#include "core/console/cmd_stored.h"
#include "core/console/survey.h"
#include "core/hub/host/snapshot.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/tables.h"

/* A number that a text would round. */
static double tenths(float v)
{
    return (double)(int)(v * 10 + 0.5f) / 10;
}

/* --- Connections -------------------------------------------------------------------------------------------------- */

/* A user's text, or null. */
static void put_text(struct buf *b, struct slice s)
{
    if (s.n)
        buf_json_string(b, s);
    else
        buf_lit(b, "null");
}

static bool conn_wanted(struct survey *v, const struct snapshot_conn *c)
{
    const struct slice texts[] = {c->user, c->name, slice_str(c->ip)};
    return survey_wants(v, texts, 3);
}

static void put_handle(struct buf *b, const struct snapshot_conn *c)
{
    char handle[40];
    snapshot_handle(handle, c->shard, c->conn, c->generation);
    buf_printf(b, "{\"connection\":\"%s\",\"user\":", handle);
    put_text(b, c->user);
    buf_lit(b, ",\"name\":");
    put_text(b, c->name);
    buf_printf(b, ",\"ip\":\"%s\"", c->ip);
}

static bool conn_row(void *ctx, const struct snapshot_conn *c)
{
    struct survey *v = ctx;
    if (!conn_wanted(v, c))
        return true;
    if (!survey_row(v))
        return false;
    put_handle(&v->rows, c);
    buf_printf(&v->rows, ",\"transport\":\"%s\",\"compression\":\"%s\",\"silent\":%u,\"queued\":%u}", c->transport,
               c->compression, c->silent, c->queued);
    return true;
}

static uint32_t visit_conns(struct shard *s, struct survey *v)
{
    return snapshot_conns(s, v->at, conn_row, v);
}

static bool slow_row(void *ctx, const struct snapshot_conn *c)
{
    struct survey *v = ctx;
    if ((!c->slow && !c->queued) || !conn_wanted(v, c))
        return true;
    if (!survey_row(v))
        return false;
    put_handle(&v->rows, c);
    buf_printf(&v->rows, ",\"queued\":%u,\"skipping\":%s}", c->queued, c->slow ? "true" : "false");
    return true;
}

static uint32_t visit_slow(struct shard *s, struct survey *v)
{
    return snapshot_conns(s, v->at, slow_row, v);
}

/* --- Users and channels ------------------------------------------------------------------------------------------- */

static bool user_row(void *ctx, const struct snapshot_user *u)
{
    struct survey *v = ctx;
    const struct slice texts[] = {u->user, u->name};
    if (!survey_wants(v, texts, 2))
        return true;
    if (!survey_row(v))
        return false;
    buf_lit(&v->rows, "{\"user\":");
    put_text(&v->rows, u->user);
    buf_lit(&v->rows, ",\"name\":");
    put_text(&v->rows, u->name);
    buf_printf(&v->rows, ",\"connections\":%u,\"channels\":%u,\"guest\":%s}", u->connections, u->channels,
               u->guest ? "true" : "false");
    return true;
}

static uint32_t visit_users(struct shard *s, struct survey *v)
{
    return snapshot_users(s, v->at, user_row, v);
}

static bool channel_row(void *ctx, const struct snapshot_channel *c)
{
    struct survey *v = ctx;
    if (!survey_wants(v, &c->channel, 1))
        return true;
    if (!survey_row(v))
        return false;
    buf_lit(&v->rows, "{\"channel\":");
    put_text(&v->rows, c->channel);
    if (c->loaded)
        buf_printf(&v->rows, ",\"members\":%u,\"tier\":\"%s\",\"push\":\"%s\",\"rate\":%.1f}", c->members, c->tier,
                   c->push, tenths(c->rate));
    else
        buf_lit(&v->rows, ",\"members\":null,\"tier\":null,\"push\":null,\"rate\":0}");
    return true;
}

static uint32_t visit_channels(struct shard *s, struct survey *v)
{
    return snapshot_channels(s, v->at, channel_row, v);
}

/* ctx: the visit. */
static void run_survey(struct command_call *c, void *ctx)
{
    struct survey_page page;
    if (survey_arguments(c, 0, &page))
        survey_start(c, *(uint32_t(**)(struct shard *, struct survey *))ctx, &page);
}

/* --- What is registered: the main thread's own tables ------------------------------------------------------------- */

static const char *owner_of(const struct command_call *c, const void *owner)
{
    return owner ? hub_owner_name(c->hub, owner) : "magpied";
}

/* Rows made at once, of which a filter and a limit are let through. */
struct short_list {
    struct command_call *c;
    struct survey v; /* of which only filter, skip and left are used */
};

/* False: the call has failed. */
static bool short_list_begin(struct short_list *l, struct command_call *c)
{
    struct survey_page page;
    if (!survey_arguments(c, 0, &page))
        return false;
    *l = (struct short_list){.c = c, .v = {.filter = page.filter, .skip = page.skip, .left = page.limit}};
    c->rows = true;
    return true;
}

/* `script`: NULL, or whose it is. */
static bool list_row(struct short_list *l, const char *name, const char *owner, const char *script)
{
    const struct slice texts[] = {slice_str(name), slice_str(owner), slice_str(script)};
    if (l->v.left == 0 || !survey_wants(&l->v, texts, script ? 3 : 2))
        return false;
    l->v.left--;
    if (l->c->out.n)
        buf_byte(&l->c->out, ',');
    return true;
}

static void run_hooks(struct command_call *c, void *ctx)
{
    (void)ctx;
    struct short_list l;
    const struct tables *t = c->hub->tables;
    if (!short_list_begin(&l, c))
        return;
    for (unsigned e = 0; e < HOOK_EVENTS; e++)
        for (uint32_t i = 0; i < t->hook_count[e]; i++) {
            const struct hook *h = &t->hooks[e][i];
            if (list_row(&l, hook_event_name((enum hook_event)e), owner_of(c, h->owner), h->script)) {
                buf_printf(&c->out, "{\"event\":\"%s\",\"priority\":%d,\"owner\":", hook_event_name((enum hook_event)e),
                           h->priority);
                buf_json_string(&c->out, slice_str(owner_of(c, h->owner)));
                buf_lit(&c->out, ",\"script\":");
                if (h->script)
                    buf_json_string(&c->out, slice_str(h->script));
                else
                    buf_lit(&c->out, "null");
                buf_byte(&c->out, '}');
            }
        }
    command_done(c);
}

static void run_actions(struct command_call *c, void *ctx)
{
    (void)ctx;
    struct short_list l;
    if (!short_list_begin(&l, c))
        return;
    for (unsigned i = 0; i < ACTIONS; i++) {
        const struct action *a = &c->hub->tables->actions[i];
        if (!a->handle || !list_row(&l, a->name, owner_of(c, a->owner), NULL))
            continue;
        buf_printf(&c->out, "{\"action\":%u,\"name\":", i);
        buf_json_string(&c->out, slice_str(a->name));
        buf_printf(&c->out, ",\"login\":%s,\"owner\":", a->before_login ? "false" : "true");
        buf_json_string(&c->out, slice_str(owner_of(c, a->owner)));
        buf_byte(&c->out, '}');
    }
    command_done(c);
}

/* Scripts and plugins tell of themselves: "list plugins" is "plugin list", where there is one. */
static void run_alias(struct command_call *c, void *ctx)
{
    const char *const *words = ctx;
    const struct slice name[] = {slice_str(words[0]), slice_str(words[1])};
    unsigned used;
    const struct command *d = command_find(c->hub, name, 2, &used);
    if (d && used == 2 && c->argc <= d->max) {
        c->command = *d;
        d->run(c, d->ctx);
        return;
    }
    c->rows = true;
    command_done(c);
}

static bool wants_all(const struct command_call *c)
{
    return c->argc && slice_eq(c->argv[0], SLICE_LIT("all"));
}

static void run_users(struct command_call *c, void *ctx)
{
    static uint32_t (*const online)(struct shard *, struct survey *) = visit_users;
    (void)ctx;
    if (wants_all(c))
        stored_list(c, STORE_SCAN_USERS);
    else
        run_survey(c, (void *)(uintptr_t)&online);
}

static void run_channels(struct command_call *c, void *ctx)
{
    static uint32_t (*const loaded)(struct shard *, struct survey *) = visit_channels;
    (void)ctx;
    if (wants_all(c))
        stored_list(c, STORE_SCAN_CHANNELS);
    else
        run_survey(c, (void *)(uintptr_t)&loaded);
}

static uint32_t (*const visits[])(struct shard *, struct survey *) = {visit_conns, visit_slow};
static const char *const alias_scripts[] = {"script", "list"}, *const alias_plugins[] = {"plugin", "list"};

int cmd_list_register(struct console *c)
{
#define FILTER   .args = "[FILTER] [limit N] [skip N]", .max = 5
#define VISIT(i) .run = run_survey, .ctx = (void *)(uintptr_t)&visits[i]
    const struct command list[] = {
        {.name = "list connections",
         FILTER,
         .help = "open connections; FILTER: a part of user, name or address",
         VISIT(0)},
        {.name = "list users",
         .args = "[all] [FILTER] [limit N] [skip N]",
         .max = 6,
         .help = "users who are online; all: those in the store whose id begins with FILTER",
         .run = run_users},
        {.name = "list channels",
         .args = "[all] [FILTER] [limit N] [skip N]",
         .max = 6,
         .help = "channels in memory: with members online, or lately used; all: those in the store whose name begins "
                 "with FILTER",
         .run = run_channels},
        {.name = "list slow", FILTER, .help = "connections with output that waits for them", VISIT(1)},
        {.name = "list hooks", FILTER, .help = "hooks in force, in the order in which they run", .run = run_hooks},
        {.name = "list actions", FILTER, .help = "actions that clients can ask for", .run = run_actions},
        {.name = "list scripts",
         FILTER,
         .help = "loaded scripts",
         .run = run_alias,
         .ctx = (void *)(uintptr_t)alias_scripts},
        {.name = "list plugins",
         FILTER,
         .help = "loaded plugins",
         .run = run_alias,
         .ctx = (void *)(uintptr_t)alias_plugins},
    };
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
