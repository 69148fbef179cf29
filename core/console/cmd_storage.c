/* storage …: work on the database. */
#include "core/console/console_private.h"
#include "core/hub/hub.h"
#include "core/hub/shard/shards.h"
#include "storage/store.h"

#include <stdlib.h>

struct work {
    struct store_work op;
    struct command_call *call;
    char *directory; /* owned */
};

static void worked(void *owner, struct store_op *op)
{
    struct work *w = (struct work *)op;
    struct command_call *c = w->call;
    (void)owner;
    if (op->status == STORE_OK)
        command_done(c);
    else
        command_fail(c, "unavailable", "%s", w->op.why[0] ? w->op.why : "the database failed; the log says more");
    free(w->directory);
    free(w);
}

static void run_work(struct command_call *c, void *ctx)
{
    struct work *w = calloc(1, sizeof *w);
    bool named = w && c->argc;
    if (named)
        w->directory = strndup(c->argv[0].p, c->argv[0].n);
    if (!w || (named && !w->directory)) {
        free(w);
        command_fail(c, "internal", "out of memory");
        return;
    }
    w->call = c;
    w->op.kind = *(const enum store_work_kind *)ctx;
    w->op.directory = w->directory;
    w->op.op.home = hub_main(c->hub);
    w->op.op.done = worked;
    store_work(hub_store(c->hub), &w->op);
}

static void run_clock(struct command_call *c, void *ctx)
{
    (void)ctx;
    if (!slice_eq(c->argv[0], SLICE_LIT("accept"))) {
        command_fail(c, "bad_request", "usage: storage clock accept");
        return;
    }
    struct store_stats s;
    store_get_stats(hub_store(c->hub), &s);
    store_clock_accept(hub_store(c->hub)); /* in a cluster clocks may be apart, and nothing is paused for that */
    buf_printf(&c->out, "{\"paused\":%s}", s.clock_paused ? "true" : "false");
    command_done(c);
}

static const enum store_work_kind flush = STORE_FLUSH, compact = STORE_COMPACT, checkpoint = STORE_CHECKPOINT;

int cmd_storage_register(struct console *c)
{
#define WORK(k) .run = run_work, .ctx = (void *)(uintptr_t) & (k), .changes = true
    const struct command list[] = {
        {.name = "storage flush", .args = "", .help = "write what is in memory into tables", WORK(flush)},
        {.name = "storage compact",
         .args = "",
         .help = "rewrite all tables: what is past its time leaves the disk. May take long",
         WORK(compact)},
        {.name = "storage checkpoint",
         .args = "DIRECTORY",
         .help = "a copy of the database in a new data directory, while the server runs",
         .min = 1,
         .max = 1,
         .shown = 1,
         WORK(checkpoint)},
        {.name = "storage clock",
         .args = "accept",
         .help = "take the machine's clock as right after a jump: expiry goes on",
         .min = 1,
         .max = 1,
         .changes = true,
         .shown = 1,
         .run = run_clock},
    };
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
