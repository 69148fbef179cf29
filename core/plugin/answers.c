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

#include <stdio.h>
#include <stdlib.h>

/* --- What waits --------------------------------------------------------------------------------------------------- */

void open_add(struct mp_self *p, struct open *o, void (*abandon)(struct open *o))
{
    o->plugin = p;
    o->abandon = abandon;
    pthread_mutex_lock(&p->lock);
    o->next = p->open;
    o->at = &p->open;
    if (o->next)
        o->next->at = &o->next;
    p->open = o;
    pthread_mutex_unlock(&p->lock);
}

void open_remove(struct open *o)
{
    pthread_mutex_lock(&o->plugin->lock);
    *o->at = o->next;
    if (o->next)
        o->next->at = o->at;
    pthread_mutex_unlock(&o->plugin->lock);
}

/* Nothing of the plugin runs any more, so nobody else answers them. */
void opens_abandon(struct mp_self *p)
{
    while (p->open)
        p->open->abandon(p->open);
}

/* --- Actions ------------------------------------------------------------------------------------------------------ */

struct mp_call {
    struct open open; /* the rest is the hub's: later.h */
};

static void call_abandon(struct open *o)
{
    action_error((mp_call *)o, MP_CODE_UNAVAILABLE, "the plugin was unloaded", 0);
}

void action_run(struct call *c)
{
    struct reg *r = c->action_ctx;
    struct mp_self *p = r->plugin;
    struct shard *s = c->shard;
    struct mp_thread *t = thread_of(p->plugins, s);
    mp_call *call = later_begin(c, sizeof *call);
    if (!call)
        return;
    open_add(p, &call->open, call_abandon);
    struct mp_request q = {.size = sizeof q,
                           .shard = t,
                           .conn = {s->index, c->conn, conn_at(s->net, c->conn)->generation},
                           .action = c->action,
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
    open_remove(&call->open);
    if (body.n && !json_is_object(slice_in(body)))
        later_fail(call, CODE_INTERNAL, "the plugin's answer is no JSON object", 0);
    else
        later_reply(call, slice_in(body));
}

void action_error(mp_call *call, enum mp_code code, const char *message, uint32_t retry_after_ms)
{
    bool good = code > MP_CODE_OK && code <= MP_CODE_INTERNAL;
    bool text = message && utf8_valid(slice_str(message));
    open_remove(&call->open);
    later_fail(call, good ? (enum code)code : CODE_INTERNAL, text ? message : "refused", retry_after_ms);
}

/* --- Commands ----------------------------------------------------------------------------------------------------- */

struct mp_command_call {
    struct open open;
    struct command_call *call;
    struct mp_out out;
};

static void command_abandon(struct open *o)
{
    command_failed((mp_command_call *)o, "unavailable", "the plugin was unloaded");
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
    mp_command_call *call = calloc(1, sizeof *call);
    if (!call) {
        command_fail(c, "internal", "out of memory");
        return;
    }
    call->call = c;
    call->out.b = &c->out;
    open_add(p, &call->open, command_abandon);
    for (unsigned i = 0; i < c->argc; i++)
        argv[i] = str_out(c->argv[i]);
    struct visit v = visit_begin(t, p, "a command");
    r->command.run(call, argv, c->argc, r->command.ctx);
    visit_end(t, &v);
}

void command_ended(mp_command_call *call)
{
    struct command_call *c = call->call;
    open_remove(&call->open);
    free(call);
    command_done(c);
}

void command_failed(mp_command_call *call, const char *code, const char *message)
{
    struct command_call *c = call->call;
    open_remove(&call->open);
    free(call);
    command_fail(c, code ? code : "internal", "%s", message ? message : "failed");
}

mp_out *command_text(mp_command_call *call)
{
    return &call->out;
}
