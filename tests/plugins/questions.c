/* What a plugin asks of itself on other nodes: node(), node_ask(), node_answerer(). */
#include "plugins/magpie_plugin.h"

#include <stdlib.h>

static mp_self *self;
static const struct mp_api *api;
static unsigned heard;
enum { LARGE = 256001 };

static void answered(mp_thread *here, const struct mp_node_answer *answers, size_t n, void *ctx)
{
    mp_out *o = api->command_out(ctx);
    (void)here;
    api->out_put(o, mp_str("["));
    for (size_t i = 0; i < n; i++) {
        api->out_printf(o, "%s{\"node\":%u,\"given\":%s,\"body\":", i ? "," : "", answers[i].node,
                        answers[i].given ? "true" : "false");
        api->out_json(o, answers[i].body);
        api->out_put(o, mp_str("}"));
    }
    api->out_put(o, mp_str("]"));
    api->command_done(ctx);
}

/* questions ask NODE TEXT */
static void ask(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    char number[16];
    (void)argc, (void)ctx;
    snprintf(number, sizeof number, "%.*s", (int)argv[0].n, argv[0].p);
    int rc = api->node_ask(self, (unsigned)atoi(number), argv[1], 5000, answered, call);
    if (rc == MP_OK)
        return;
    api->out_printf(api->command_out(call), "{\"rc\":%d}", rc);
    api->command_done(call);
}

/* questions self: this node, what has been heard here, and what wrong questions come to */
static void of_self(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    static const char large[LARGE];
    (void)argv, (void)argc, (void)ctx;
    api->out_printf(
        api->command_out(call), "{\"node\":%u,\"heard\":%u,\"wrong\":[%d,%d,%d,%d]}", api->node(self), heard,
        api->node_ask(self, 0, mp_str("x"), 10001, answered, call), api->node_ask(self, 0, mp_str("x"), 0, NULL, call),
        api->node_ask(self, 0, mp_str_of(large, LARGE), 0, answered, call), api->node_answerer(self, NULL, NULL));
    api->command_done(call);
}

static void asked(mp_thread *here, struct mp_str body, mp_out *answer, void *ctx)
{
    (void)here, (void)ctx;
    heard++;
    if (mp_eq(body, mp_str("nothing")))
        return;
    api->out_printf(answer, "%u heard ", api->node(self));
    api->out_put(answer, body);
}

static int init(mp_self *me, const struct mp_api *mp, const mp_options *options, void **state)
{
    (void)options;
    self = me;
    api = mp;
    *state = NULL;
    const struct mp_command list[] = {{.size = sizeof *list,
                                       .name = "questions ask",
                                       .args = "NODE TEXT",
                                       .help = "ask the others",
                                       .min = 2,
                                       .max = 2,
                                       .run = ask},
                                      {.size = sizeof *list, .name = "questions self", .help = "who?", .run = of_self}};
    int rc = mp->node_answerer(me, asked, NULL);
    for (size_t i = 0; rc == MP_OK && i < sizeof list / sizeof *list; i++)
        rc = mp->command(me, &list[i]);
    return rc;
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "questions", .version = "1.0", .summary = "Asks other nodes", .init = init};
