/* Wrong: a hook that holds its shard for as many ms as the message says, and a command that gives a worker as much to
 * do; it leaks too. */
#include "plugins/magpie_plugin.h"

#include <stdlib.h>
#include <unistd.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
} slow;

static void hold(unsigned ms)
{
    for (unsigned i = 0; i < ms; i++)
        usleep(1000);
}

static enum mp_verdict on_message(struct mp_event *e, void *ctx)
{
    char text[24];
    (void)ctx;
    snprintf(text, sizeof text, "%.*s", (int)e->content.n, e->content.p);
    if (strncmp(text, "hold ", 5) == 0)
        hold((unsigned)atoi(text + 5));
    return MP_PASS;
}

static void on_worker(void *ctx)
{
    hold((unsigned)(uintptr_t)ctx);
}

static void run(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    char text[24];
    (void)argc, (void)ctx;
    snprintf(text, sizeof text, "%.*s", (int)argv[0].n, argv[0].p);
    if (slow.mp->work(slow.self, on_worker, NULL, NULL, (void *)(uintptr_t)atoi(text)) == MP_OK)
        slow.mp->command_done(call);
    else
        slow.mp->command_fail(call, "unavailable", "no worker");
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct mp_hook h = {.size = sizeof h, .event = MP_ON_MESSAGE, .fn = on_message};
    struct mp_command c = {
        .size = sizeof c, .name = "slow work", .args = "MS", .help = "holds a worker", .min = 1, .max = 1, .run = run};
    (void)o, (void)state;
    slow.self = self;
    slow.mp = mp;
    if (!mp->alloc(self, NULL, 12345))
        return MP_ENOMEM;
    return mp->hook(self, &h) ? MP_ENOMEM : mp->command(self, &c);
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "wrong_slow", .version = "1", .summary = "test", .init = init};
