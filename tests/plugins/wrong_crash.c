/* Wrong: crashes where a message, the console or a worker says so. The server cannot go on, but its last line in the
 * log names the plugin and the place. */
#include "plugins/magpie_plugin.h"

#include <stdlib.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
} crash;

static volatile unsigned depth;

static unsigned deeper(unsigned n)
{
    volatile char room[4096];
    room[n % sizeof room] = (char)n;
    depth = n;
    return n == UINT32_MAX ? 0 : deeper(n + 1) + (unsigned char)room[0];
}

static void crash_now(struct mp_str how)
{
    volatile int *volatile nothing = NULL;
    if (mp_eq(how, mp_str("segv")))
        *nothing = 1;
    if (mp_eq(how, mp_str("abort")))
        abort();
    if (mp_eq(how, mp_str("stack")))
        depth = deeper(0);
}

static enum mp_verdict on_message(struct mp_event *e, void *ctx)
{
    (void)ctx;
    crash_now(e->content);
    return MP_PASS;
}

static void work(void *ctx)
{
    (void)ctx;
    crash_now(mp_str("abort"));
}

static void command(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)argc, (void)ctx;
    if (mp_eq(argv[0], mp_str("work")))
        (void)!crash.mp->work(crash.self, work, NULL, NULL, NULL);
    crash_now(argv[0]);
    crash.mp->command_done(call);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct mp_hook h = {.size = sizeof h, .event = MP_ON_MESSAGE, .fn = on_message};
    struct mp_command c = {.size = sizeof c, .name = "crash", .help = "crashes", .min = 1, .max = 1, .run = command};
    (void)o, (void)state;
    crash.self = self;
    crash.mp = mp;
    int rc = mp->command(self, &c);
    return rc == MP_OK ? mp->hook(self, &h) : rc;
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "wrong_crash", .version = "1", .summary = "test", .init = init};
