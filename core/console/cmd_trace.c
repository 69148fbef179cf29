/* trace: a user's or a connection's frames, live on this console connection. */
#include "core/console/cmd_trace.h"

#include "core/base/utf8.h"
#include "core/console/console_private.h"
#include "core/console/survey.h"
#include "core/console/trace_nodes.h"
#include "core/hub/host/snapshot.h"
#include "core/hub/people/trace.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shards.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* --- Events ------------------------------------------------------------------------------------------------------- */

static const char *action_name(struct hub *hub, uint16_t number)
{
    static const char *const pushes[] = {"user_message", "channel_message", "inbox_waiting", "merged",
                                         "closing",      "announcement",    "behind",        "read_elsewhere",
                                         "recalled",     "edited",          "presence",      "membership"};
    if (number >= 101 && number < 101 + sizeof pushes / sizeof pushes[0])
        return pushes[number - 101];
    const struct action *a = action_find(hub->tables, number);
    return a ? a->name : number ? "?" : "error";
}

static const char *const what_names[] = {
    [TRACE_IN] = "in", [TRACE_OUT] = "out", [TRACE_LOGIN] = "login", [TRACE_CLOSE] = "close"};

static const char *fate(const struct trace_event *e)
{
    return e->rc == 0 ? "queued" : e->rc == ERR_AGAIN ? "skipped" : "refused";
}

static void put_json(struct buf *b, struct hub *hub, const struct trace_event *e, const char *handle)
{
    buf_printf(b, "{\"at\":%llu,\"what\":\"%s\",\"connection\":\"%s\",\"user\":", (unsigned long long)e->wall_ms,
               what_names[e->what], handle);
    if (e->user_len)
        buf_json_string(b, slice_of(e->user, e->user_len));
    else
        buf_lit(b, "null");
    if (e->what == TRACE_IN || e->what == TRACE_OUT) {
        buf_printf(b, ",\"action\":%u,\"name\":", e->action);
        buf_json_string(b, slice_str(action_name(hub, e->action)));
        buf_printf(b, ",\"seq\":%u,\"bytes\":%u", e->seq, e->size);
    }
    if (e->what == TRACE_OUT)
        buf_printf(b, ",\"fate\":\"%s\",\"waiting\":%u", fate(e), e->queued);
    buf_byte(b, '}');
}

static void put_line(struct buf *b, struct hub *hub, const struct trace_event *e, const char *handle)
{
    char at[16];
    time_t second = (time_t)(e->wall_ms / 1000);
    struct tm tm;
    gmtime_r(&second, &tm);
    strftime(at, sizeof at, "%H:%M:%S", &tm);
    buf_printf(b, "%s.%03uZ %s %.*s %s", at, (unsigned)(e->wall_ms % 1000), handle, e->user_len ? (int)e->user_len : 1,
               e->user_len ? e->user : "-", what_names[e->what]);
    if (e->what == TRACE_IN || e->what == TRACE_OUT)
        buf_printf(b, " action=%u %s seq=%u bytes=%u", e->action, action_name(hub, e->action), e->seq, e->size);
    if (e->what == TRACE_OUT)
        buf_printf(b, " %s waiting=%u", fate(e), e->queued);
}

void trace_put(struct buf *b, struct hub *hub, const struct trace_event *e, bool json)
{
    char handle[48];
    struct hub_node nodes[HUB_NODES];
    unsigned n = hub_nodes(hub, nodes), at = 0;
    for (unsigned i = 0; n > 1 && i < n; i++)
        if (nodes[i].self)
            at = (unsigned)snprintf(handle, 8, "%u/", nodes[i].number);
    snapshot_handle(handle + at, e->shard, e->conn, e->generation);
    if (json)
        put_json(b, hub, e, handle);
    else
        put_line(b, hub, e, handle);
}

static void on_event(void *ctx, const struct trace_event *e)
{
    struct console *c = ctx;
    if (trace_nodes_event(c, e))
        return;
    struct console_peer *p = c->first;
    while (p && p->number != e->asked_by)
        p = p->next;
    if (!p)
        return;
    struct buf b = BUF_INIT;
    p->lost_events += e->lost;
    trace_put(&b, c->hub, e, p->trace_json);
    if (buf_ok(&b))
        peer_event(p, buf_slice(&b));
    buf_free(&b);
}

/* --- on, off ------------------------------------------------------------------------------------------------------ */

struct order {
    uint64_t number;
    bool on, user, done;
    unsigned shard;
    uint32_t conn, generation;
};

static void there(struct shard *s, struct command_call *c)
{
    struct order *o = c->state;
    if (!o->on) {
        trace_stop(s, o->number, o->user ? c->argv[0] : SLICE_NONE, o->user ? NONE : o->conn);
        o->done = true;
    } else if (o->user) {
        o->done = trace_start_user(s, o->number, c->argv[0]);
    } else {
        o->done = trace_start_conn(s, o->number, o->conn, o->generation);
    }
}

static void back(struct command_call *c)
{
    struct order o = *(struct order *)c->state;
    free(c->state);
    if (o.done && o.user)
        trace_nodes_user(c, o.on);
    else if (o.done)
        command_done(c);
    else if (o.user)
        command_fail(c, "quota", "as much is traced already as can be");
    else
        command_fail(c, "not_found", "there is no such connection (any more)");
}

/* ctx: not NULL for a user. */
static void run_trace(struct command_call *c, void *ctx)
{
    if (!ctx && trace_nodes_conn(c))
        return;
    struct order o = {.on = slice_eq(c->argv[1], SLICE_LIT("on")), .user = ctx != NULL};
    if (!o.on && !slice_eq(c->argv[1], SLICE_LIT("off"))) {
        command_fail(c, "bad_request", "usage: %s %s", c->command.name, c->command.args);
        return;
    }
    if (o.user ? !value_user_id(c->argv[0]) : !snapshot_handle_parse(c->argv[0], &o.shard, &o.conn, &o.generation)) {
        command_fail(c, "bad_request",
                     o.user ? "expected a user id"
                            : "expected a connection as `list connections` names it, like 0.12.34");
        return;
    }
    struct order *copy = malloc(sizeof *copy);
    if (!copy || o.shard >= c->hub->shard_count) {
        command_fail(c, copy ? "not_found" : "internal", copy ? "there is no such connection" : "out of memory");
        free(copy);
        return;
    }
    struct console_peer *p = call_peer(c);
    o.number = p->number;
    p->traces = p->traces || o.on;
    p->trace_json = c->json;
    *copy = o;
    c->state = copy;
    errand_start(c, o.user ? shard_of(c->hub, c->argv[0]) : c->hub->shards[o.shard], there, back);
}

/* --- The connection goes ------------------------------------------------------------------------------------------ */

static void stop_all(struct shard *s, void *ctx)
{
    trace_stop(s, *(const uint64_t *)ctx, SLICE_NONE, NONE);
}

static void stopped(void *ctx)
{
    free(ctx);
}

void trace_forget(struct console *c, const struct console_peer *p)
{
    uint64_t *number = p->traces ? malloc(sizeof *number) : NULL;
    trace_nodes_forget(c, p);
    if (!number)
        return;
    *number = p->number;
    if (hub_each(c->hub, stop_all, stopped, number) != 0)
        free(number); /* what still comes finds nobody */
}

int cmd_trace_register(struct console *c)
{
    static const char user[] = "user";
    const struct command list[] = {
        {.name = "trace user",
         .args = "ID on|off",
         .help = "show a user's frames here as they come and go (never what is in them)",
         .min = 2,
         .max = 2,
         .changes = true,
         .shown = 2,
         .run = run_trace,
         .ctx = (void *)(uintptr_t)user,
         .peer = true},
        {.name = "trace connection",
         .args = "CONNECTION on|off",
         .help = "show one connection's frames here",
         .min = 2,
         .max = 2,
         .changes = true,
         .shown = 2,
         .run = run_trace,
         .peer = true},
    };
    trace_set_sink(c->hub, on_event, c);
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
