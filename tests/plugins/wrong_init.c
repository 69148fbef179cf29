/* Wrong: fails half-way through init(), after it has registered and begun a bit of everything; what it began refers to
 * memory that it frees. */
#include "plugins/magpie_plugin.h"

#include <stdlib.h>

static void on_thread(mp_thread *here, void *ctx)
{
    (void)here;
    *(volatile char *)ctx = 1; /* freed by then: nobody may call this */
}

static void on_worker(void *ctx)
{
    (void)ctx;
}

static enum mp_verdict on_message(struct mp_event *e, void *ctx)
{
    (void)e;
    on_thread(NULL, ctx);
    return MP_DROP;
}

static void run(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)call, (void)argv, (void)argc;
    on_thread(NULL, ctx);
}

static void handle(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    (void)http, (void)q;
    on_thread(shard, ctx);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    char *memory = malloc(1);
    struct mp_hook h = {.size = sizeof h, .event = MP_ON_MESSAGE, .fn = on_message, .ctx = memory};
    struct mp_command c = {.size = sizeof c, .name = "wrong init", .help = "never there", .run = run, .ctx = memory};
    struct mp_route r = {.size = sizeof r, .path = "/wrong", .handle = handle, .ctx = memory};
    struct mp_metric m = {.size = sizeof m, .name = "wrong_total", .help = "Never there.", .kind = MP_COUNTER};
    (void)o, (void)state;
    if (!memory || mp->hook(self, &h) || mp->command(self, &c) || mp->route(self, &r) || mp->metric(self, &m) < 0 ||
        mp->timer(self, mp->main_thread(self), 0, 1, on_thread, memory, NULL) ||
        mp->post(self, mp->main_thread(self), on_thread, memory) ||
        mp->post(self, mp->shard(self, 0), on_thread, memory) || mp->work(self, on_worker, NULL, on_thread, memory) ||
        !mp->alloc(self, NULL, 100))
        abort();
    free(memory);
    return MP_EIO;
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "wrong_init", .version = "1", .summary = "test", .init = init};
