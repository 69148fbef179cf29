/* Commands about the console and the server as a whole. */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/console/console_private.h"
#include "core/console/survey.h"
#include "core/hub/host/host.h"
#include "core/hub/hub.h"
#include "core/hub/shard/figures.h"
#include "core/hub/shard/shards.h"
#include "storage/store.h"

#include <unistd.h>

enum { LOG_TAIL = 50 }; /* lines, where no number is given */

/* --- help --------------------------------------------------------------------------------------------------------- */

static void help_json(struct buf *b, const struct command *d, bool first)
{
    buf_str(b, first ? "{\"name\":" : ",{\"name\":");
    buf_json_string(b, slice_str(d->name));
    buf_lit(b, ",\"args\":");
    buf_json_string(b, slice_str(d->args));
    buf_lit(b, ",\"help\":");
    buf_json_string(b, slice_str(d->help));
    buf_printf(b, ",\"changes\":%s}", d->changes ? "true" : "false");
}

static void help_line(struct buf *b, const struct command *d, unsigned width)
{
    int n = (int)(strlen(d->name) + strlen(d->args)) + (*d->args ? 1 : 0);
    buf_printf(b, "%s%s%s%*s%s\n", d->name, *d->args ? " " : "", d->args, n < (int)width ? (int)width - n + 2 : 2, "",
               d->help);
}

/* Whether the command is, or begins with, these words. */
static bool help_wanted(const struct command_call *c, const struct command *d)
{
    const char *at = d->name;
    for (unsigned i = 0; i < c->argc; i++) {
        size_t n = strcspn(at, " ");
        if (!slice_eq(c->argv[i], slice_of(at, n)))
            return false;
        at += n + (at[n] == ' ');
    }
    return true;
}

static void run_help(struct command_call *c, void *ctx)
{
    (void)ctx;
    struct buf text = BUF_INIT;
    const struct command *d;
    unsigned width = 0, found = 0;
    for (unsigned i = 0; (d = command_at(c->hub, i)) != NULL; i++) {
        unsigned n = (unsigned)(strlen(d->name) + strlen(d->args)) + 1;
        if (n > width && n <= 36)
            width = n;
    }
    for (unsigned i = 0; (d = command_at(c->hub, i)) != NULL; i++) {
        if (!help_wanted(c, d))
            continue;
        if (c->json)
            help_json(&text, d, found == 0);
        else
            help_line(&text, d, width);
        found++;
    }
    if (found && c->json) {
        c->rows = true;
        buf_slice_put(&c->out, buf_slice(&text));
    } else if (found) {
        buf_json_string(&c->out, buf_slice(&text));
    }
    c->out.oom = c->out.oom || text.oom;
    buf_free(&text);
    if (found) {
        command_done(c);
        return;
    }
    const char *near = command_nearest(c->hub, c->argv, c->argc);
    if (near)
        command_fail(c, "not_found", "no such command; did you mean %s?", near);
    else
        command_fail(c, "not_found", "no such command; help lists all");
}

/* --- The connection ----------------------------------------------------------------------------------------------- */

static void run_auth(struct command_call *c, void *ctx)
{
    struct console *console = ctx;
    struct console_peer *p = call_peer(c);
    const char *text = NULL, *code = console->has_password ? auth_try(console, p->ip, c->argv[0], &text) : NULL;
    if (code) {
        command_fail(c, code, "%s", text);
        return;
    }
    p->authed = true;
    command_done(c);
}

static void run_quit(struct command_call *c, void *ctx)
{
    (void)ctx;
    call_peer(c)->ending = true;
    command_done(c);
}

static void run_version(struct command_call *c, void *ctx)
{
    (void)ctx;
    buf_lit(&c->out, "{\"name\":\"magpied\",\"version\":");
    buf_json_string(&c->out, slice_str(MAGPIE_VERSION));
    buf_lit(&c->out, "}");
    command_done(c);
}

/* --- The server --------------------------------------------------------------------------------------------------- */

/* Bytes of the file system that the data is on, and of the tables. */
static void put_disk(struct buf *b, struct store *store)
{
    struct store_disk disk;
    uint64_t tables = 0;
    store_get_disk(store, &disk);
    for (unsigned i = 0; i < disk.count; i++)
        tables += disk.families[i].bytes;
    if (disk.size)
        buf_printf(b, ",\"disk\":{\"size\":%llu,\"free\":%llu,\"used\":%llu}", (unsigned long long)disk.size,
                   (unsigned long long)disk.free, (unsigned long long)tables);
}

static void run_status(struct command_call *c, void *ctx)
{
    struct console *console = ctx;
    struct hub_stats h;
    struct store_stats s;
    struct log_stats log;
    uint64_t up_ms = clock_mono_ms() - console->began_ms;
    hub_get_stats(c->hub, &h);
    store_get_stats(hub_store(c->hub), &s);
    buf_printf(&c->out,
               "{\"version\":\"%s\",\"pid\":%d,\"state\":\"%s\",\"startedAt\":%llu,\"uptime\":%llu,\"shards\":%u",
               MAGPIE_VERSION, (int)getpid(), console->state, (unsigned long long)(clock_wall_ms() - up_ms),
               (unsigned long long)(up_ms / 1000), hub_shard_count(c->hub));
    buf_printf(
        &c->out,
        ",\"connections\":%u,\"users\":%u,\"channels\":%u,\"requests\":%llu,\"messages\":%llu,\"deliveries\":%llu",
        h.connections, h.users, h.channels, (unsigned long long)h.requests, (unsigned long long)h.messages,
        (unsigned long long)h.deliveries);
    log_get_stats(&log);
    buf_printf(&c->out, ",\"storage\":\"%s\",\"clock\":\"%s\",\"log_lost\":%llu", s.failing ? "failing" : "good",
               s.clock_paused ? "paused" : "good", (unsigned long long)log.lost);
    if (console->place)
        buf_str(&c->out, console->place);
    put_disk(&c->out, hub_store(c->hub));
    buf_byte(&c->out, '}');
    command_done(c);
}

static void run_log(struct command_call *c, void *ctx)
{
    (void)ctx;
    int level = log_level_parse(c->argv[0]);
    if (level < 0) {
        command_fail(c, "bad_request", "expected debug, info, warn or error");
        return;
    }
    log_set_level((enum log_level)level);
    command_done(c);
}

/* Each line as an element: what is in them is for people, as text or JSON, however the log is written. */
static void run_log_tail(struct command_call *c, void *ctx)
{
    (void)ctx;
    uint64_t n = LOG_TAIL;
    if (c->argc && (!argument_number(c->argv[0], UINT16_MAX, &n) || n == 0)) {
        command_fail(c, "bad_request", "usage: %s %s", c->command.name, c->command.args);
        return;
    }
    struct buf lines = BUF_INIT;
    log_tail((unsigned)n, &lines);
    if (!c->json) {
        buf_json_string(&c->out, buf_slice(&lines));
    } else {
        c->rows = true;
        for (const char *at = lines.p, *end; at && (end = memchr(at, '\n', lines.n - (size_t)(at - lines.p)));
             at = end + 1) {
            buf_str(&c->out, c->out.n ? "," : "");
            buf_json_string(&c->out, slice_of(at, (size_t)(end - at)));
        }
    }
    c->out.oom = c->out.oom || lines.oom;
    buf_free(&lines);
    command_done(c);
}

int cmd_general_register(struct console *c)
{
    const struct command list[] = {
        {.name = "help", .args = "[COMMAND]", .help = "what there is", .max = 2, .run = run_help},
        {.name = "version", .args = "", .help = "the server's version", .run = run_version},
        {.name = "auth",
         .args = "PASSWORD",
         .help = "the password of this console, where one is set",
         .min = 1,
         .max = 1,
         .run = run_auth,
         .ctx = c,
         .peer = true},
        {.name = "quit", .args = "", .help = "close this connection", .run = run_quit, .peer = true},
        {.name = "status", .args = "", .help = "the server at a glance", .run = run_status, .ctx = c},
        {.name = "log",
         .args = "debug|info|warn|error",
         .help = "the least important level that is logged, until the next reload",
         .min = 1,
         .max = 1,
         .changes = true,
         .shown = 1,
         .run = run_log},
        {.name = "log tail",
         .args = "[N]",
         .help = "the newest lines of the log (50); some 200 are kept",
         .max = 1,
         .run = run_log_tail},
    };
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
