/* ABI area: hooks that answer later. What a message, a login's name or a channel's name says after "later ", happens to
 * it, some milliseconds later and from a worker thread: "later pass", "later reject", "later replace", "later drop",
 * "later twice"; "later never" waits for the command `later go`, or for the end. */
#include "plugins/magpie_plugin.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
    _Atomic bool go;
    _Atomic int waiting;
} later;

struct job {
    struct mp_ticket ticket;
    char what[32];
};

static void answer(const struct job *j)
{
    struct mp_hook_answer a = {.size = sizeof a, .verdict = MP_PASS};
    if (strcmp(j->what, "reject") == 0) {
        a.verdict = MP_REJECT;
        a.code = MP_CODE_RATE_LIMITED;
        a.retry_after_ms = 777;
        a.message = mp_str("slowly, later");
    } else if (strcmp(j->what, "replace") == 0) {
        a.content = mp_str("replaced later");
    } else if (strcmp(j->what, "drop") == 0) {
        a.verdict = MP_DROP;
    } else if (strcmp(j->what, "wrong") == 0) {
        a.content = mp_str("\xff");
        if (later.mp->hook_finish(later.self, j->ticket, &a) != MP_EINVALID)
            abort();
        a.content = mp_str("");
    }
    if (later.mp->hook_finish(later.self, j->ticket, &a) != MP_OK)
        abort();
    a.verdict = MP_DROP;
    if (strcmp(j->what, "twice") == 0 && later.mp->hook_finish(later.self, j->ticket, &a) != MP_ENOTFOUND)
        abort();
}

static void run(void *ctx)
{
    struct job *j = ctx;
    struct timespec some = {.tv_nsec = 20000000};
    if (strcmp(j->what, "quick") != 0)
        nanosleep(&some, NULL);
    while (strcmp(j->what, "never") == 0 && !atomic_load(&later.go)) {
        if (later.mp->closing(later.self))
            return; /* without an answer: the server gives one */
        nanosleep(&some, NULL);
    }
    answer(j);
}

static void done(mp_thread *here, void *ctx)
{
    (void)here;
    atomic_fetch_sub(&later.waiting, 1);
    free(ctx);
}

static enum mp_verdict on_event(struct mp_event *e, void *ctx)
{
    struct mp_str text = e->kind == MP_ON_MESSAGE ? e->content : e->kind == MP_ON_LOGIN ? e->user_name : e->channel;
    (void)ctx;
    if (text.n < 6 || memcmp(text.p, "later ", 6) != 0)
        return MP_PASS;
    struct job *j = calloc(1, sizeof *j);
    if (!j || !e->may_wait) {
        free(j);
        return MP_PASS;
    }
    if ((size_t)snprintf(j->what, sizeof j->what, "%.*s", (int)(text.n - 6), text.p + 6) >= sizeof j->what)
        j->what[0] = '\0';
    enum mp_verdict v = later.mp->later(e, &j->ticket);
    if (v != MP_WAIT)
        abort();
    atomic_fetch_add(&later.waiting, 1);
    if (later.mp->work(later.self, run, e->shard, done, j) != MP_OK)
        abort();
    return v;
}

static void go(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)argv, (void)argc, (void)ctx;
    atomic_store(&later.go, true);
    later.mp->command_done(call);
}

static void show(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)argv, (void)argc, (void)ctx;
    later.mp->out_printf(later.mp->command_out(call), "{\"waiting\":%d}", atomic_load(&later.waiting));
    later.mp->command_done(call);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    static const enum mp_event_kind events[] = {MP_ON_MESSAGE, MP_ON_LOGIN, MP_ON_SUBSCRIBE, MP_ON_CREATE};
    struct mp_command g = {.size = sizeof g, .name = "later go", .help = "lets go what waits", .run = go},
                      w = {.size = sizeof w, .name = "later show", .help = "how many wait", .run = show};
    (void)o, (void)state;
    later.self = self;
    later.mp = mp;
    atomic_store(&later.go, false);
    atomic_store(&later.waiting, 0);
    int rc = mp->command(self, &g);
    rc = rc == MP_OK ? mp->command(self, &w) : rc;
    for (unsigned i = 0; rc == MP_OK && i < sizeof events / sizeof events[0]; i++) {
        struct mp_hook h = {.size = sizeof h, .event = events[i], .priority = 20, .fn = on_event};
        rc = mp->hook(self, &h);
    }
    return rc;
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "later", .version = "1", .summary = "test: hooks that answer later", .init = init};
