/* Wrong: wants what others have. The option says what. */
#include "plugins/magpie_plugin.h"

static void handle(mp_call *call, const struct mp_request *r, void *ctx)
{
    (void)call, (void)r, (void)ctx;
}

static void route(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    (void)http, (void)q, (void)shard, (void)ctx;
}

static void run(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)call, (void)argv, (void)argc, (void)ctx;
}

static const struct mp_option options[] = {
    {.name = "what", .type = MP_OPT_TEXT, .flags = MP_OPT_F_REQUIRED, .help = "What it wants."}};

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    const char *what = mp->option_text(o, "what");
    struct mp_action a = {.size = sizeof a, .number = 1501, .handle = handle};
    struct mp_route r = {.size = sizeof r, .method = "GET", .path = "/twice", .handle = route};
    struct mp_command c = {
        .size = sizeof c, .name = strcmp(what, "status") == 0 ? "status" : "twice", .help = "h", .run = run};
    struct mp_metric m = {.size = sizeof m, .name = "magpie_messages_total", .help = "h", .kind = MP_COUNTER};
    struct mp_hook h = {.size = sizeof h, .event = (enum mp_event_kind)1000};
    (void)state;
    if (strcmp(what, "number") == 0)
        a.number = 99;
    if (strcmp(what, "action") == 0 || strcmp(what, "number") == 0)
        return mp->action(self, &a);
    if (strcmp(what, "route") == 0)
        return mp->route(self, &r);
    if (strcmp(what, "metric") == 0)
        return mp->metric(self, &m);
    if (strcmp(what, "hook") == 0)
        return mp->hook(self, &h);
    return mp->command(self, &c);
}

MP_PLUGIN = {MP_PLUGIN_HEAD, MP_OPTIONS(options), .name = "wrong_taken",
             .version = "1", .summary = "test",   .init = init};
