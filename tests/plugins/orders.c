/* Lines of the console that a plugin gives: console_run(), console_login(), console_password(). */
#include "plugins/magpie_plugin.h"

static mp_self *self;
static const struct mp_api *api;
enum { BIG = 9 << 20 };

static void ran(mp_thread *here, const struct mp_console_result *r, void *ctx)
{
    mp_out *o = api->command_out(ctx);
    (void)here;
    api->out_put(o, mp_str("{\"code\":"));
    api->out_json(o, mp_str(r->code ? r->code : "OK"));
    api->out_put(o, mp_str(",\"message\":"));
    api->out_json(o, mp_str(r->message));
    api->out_put(o, mp_str(",\"json\":"));
    api->out_put(o, r->json.n ? r->json : mp_str("\"nothing\""));
    api->out_put(o, mp_str("}"));
    api->command_done(ctx);
}

/* orders run LINE WHO */
static void run(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)argc, (void)ctx;
    int rc = api->console_run(self, argv[0], argv[1], ran, call);
    if (rc < 0) {
        api->out_printf(api->command_out(call), "{\"rc\":%d}", rc);
        api->command_done(call);
    }
}

/* orders login ADDRESS PASSWORD */
static void login(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)argc, (void)ctx;
    api->out_printf(api->command_out(call), "{\"code\":%d,\"password\":%llu}",
                    (int)api->console_login(self, argv[0], argv[1]), (unsigned long long)api->console_password(self));
    api->command_done(call);
}

/* orders big: an answer that is too long for another plugin */
static void big(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    static const char kib[1025] = {[0 ... 1023] = 'x'};
    mp_out *o = api->command_out(call);
    (void)argv, (void)argc, (void)ctx;
    api->out_put(o, mp_str("\""));
    for (unsigned i = 0; i < BIG / 1024; i++)
        api->out_put(o, mp_str_of(kib, 1024));
    api->out_put(o, mp_str("\""));
    api->command_done(call);
}

static int init(mp_self *me, const struct mp_api *mp, const mp_options *options, void **state)
{
    (void)options;
    self = me;
    api = mp;
    *state = NULL;
    const struct mp_command list[] = {
        {.size = sizeof *list,
         .name = "orders run",
         .args = "LINE WHO",
         .help = "run a line",
         .min = 2,
         .max = 2,
         .run = run},
        {.size = sizeof *list,
         .name = "orders login",
         .args = "ADDRESS PASSWORD",
         .help = "is it the password?",
         .min = 2,
         .max = 2,
         .run = login},
        {.size = sizeof *list, .name = "orders big", .help = "a long answer", .run = big},
    };
    int rc = MP_OK;
    for (size_t i = 0; rc == MP_OK && i < sizeof list / sizeof *list; i++)
        rc = mp->command(me, &list[i]);
    return rc;
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "orders", .version = "1.0", .summary = "Lines of the console", .init = init};
