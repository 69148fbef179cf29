/* Requests that wait for a plugin's answer: actions of clients, commands of the console. HTTP requests are in
 * http.c. */
#include "core/plugin/answers.h"

#include "core/base/utf8.h"
#include "core/hub/people/later.h"
#include "core/hub/shard/shard.h"
#include "core/plugin/lifecycle.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/text.h"
#include "core/plugin/threads.h"
#include "core/plugin/ticket.h"

#include <stdio.h>
#include <stdlib.h>

/* --- Actions ------------------------------------------------------------------------------------------------------ */

static void call_abandon(struct open *o)
{
    later_fail(o, CODE_UNAVAILABLE, "the plugin was unloaded", 0);
}

void action_run(struct call *c)
{
    struct reg *r = c->action_ctx;
    struct mp_self *p = r->plugin;
    struct shard *s = c->shard;
    struct mp_thread *t = thread_of(p->plugins, s);
    struct open *o = later_begin(c, sizeof *o); /* the rest is the hub's: later.h */
    if (!o)
        return;
    mp_call *call = open_begin(p, o, OPEN_ACTION, call_abandon);
    if (!call) {
        later_fail(o, CODE_INTERNAL, "out of memory", 0);
        return;
    }
    struct mp_request q = {.size = sizeof q,
                           .shard = t,
                           .conn = {s->index, c->conn, conn_at(s->net, c->conn)->generation},
                           .action = c->action,
                           .claims = str_out(call_claims(c)),
                           .body = (const mp_json *)(const void *)c->body};
    if (c->user != NONE) {
        q.user = str_out(call_user_id(c));
        q.user_name = str_out(call_user_name(c));
    }
    struct visit v = visit_begin(t, p, "an action");
    r->action.handle(call, &q, r->action.ctx);
    visit_end(t, &v);
}

void action_answer(mp_call *call, struct mp_str body)
{
    struct open *o = open_take(call, OPEN_ACTION);
    if (!o)
        return;
    if (body.n && !json_is_object(slice_in(body)))
        later_fail(o, CODE_INTERNAL, "the plugin's answer is no JSON object", 0);
    else
        later_reply(o, slice_in(body));
}

void action_error(mp_call *call, enum mp_code code, const char *message, uint32_t retry_after_ms)
{
    bool good = code > MP_CODE_OK && code <= MP_CODE_INTERNAL;
    bool text = message && utf8_valid(slice_str(message));
    struct open *o = open_take(call, OPEN_ACTION);
    if (!o)
        return;
    later_fail(o, good ? (enum code)code : CODE_INTERNAL, text ? message : "refused", retry_after_ms);
}

/* --- Commands ----------------------------------------------------------------------------------------------------- */

struct open_command {
    struct open open;
    struct command_call *call;
    struct mp_out out;
};

static void command_abandon(struct open *o)
{
    struct command_call *c = ((struct open_command *)o)->call;
    free(o);
    command_fail(c, "unavailable", "%s", "the plugin was unloaded");
}

void command_run(struct command_call *c, void *ctx)
{
    struct reg *r = ctx;
    struct mp_self *p = r->plugin;
    struct mp_thread *t = &p->plugins->threads[0];
    struct mp_str argv[COMMAND_ARGS];
    if (p->state != PLUGIN_RUNNING) {
        command_fail(c, "unavailable", "the plugin %s is %s", p->name, plugin_state_name(p));
        return;
    }
    struct open_command *o = calloc(1, sizeof *o);
    mp_command_call *call = o ? open_begin(p, &o->open, OPEN_COMMAND, command_abandon) : NULL;
    if (!call) {
        free(o);
        command_fail(c, "internal", "out of memory");
        return;
    }
    o->call = c;
    o->out.b = &c->out;
    for (unsigned i = 0; i < c->argc; i++)
        argv[i] = str_out(c->argv[i]);
    struct visit v = visit_begin(t, p, "a command");
    r->command.run(call, argv, c->argc, r->command.ctx);
    visit_end(t, &v);
}

/* The call that ends; NULL: it has ended before. */
static struct command_call *command_take(mp_command_call *call)
{
    struct open_command *o = (struct open_command *)open_take(call, OPEN_COMMAND);
    struct command_call *c = o ? o->call : NULL;
    free(o);
    return c;
}

void command_ended(mp_command_call *call)
{
    struct command_call *c = command_take(call);
    if (c)
        command_done(c);
}

void command_failed(mp_command_call *call, const char *code, const char *message)
{
    struct command_call *c = command_take(call);
    if (c)
        command_fail(c, code ? code : "internal", "%s", message ? message : "failed");
}

mp_out *command_text(mp_command_call *call)
{
    struct open_command *o = (struct open_command *)open_peek(call, OPEN_COMMAND);
    return o ? &o->out : NULL;
}
