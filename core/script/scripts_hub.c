/* Scripts in the hub's tables: hooks, custom actions, the provider of auth.mode "script", console commands. */
#include "core/hub/act/policy.h"
#include "core/hub/people/call.h"
#include "core/hub/registry/action.h"
#include "core/hub/registry/command.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shards.h"
#include "core/script/event.h"
#include "core/script/json_lua.h"
#include "core/script/scripts_private.h"
#include "core/script/verdict.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

struct shard_set *shard_set_on(struct script_set *g, struct shard *s)
{
    struct shard_set *t = &g->shard_sets[s->index];
    if (t->loading) {
        /* The first call on this shard. */
        t->env = &g->host->envs[s->index];
        t->loading = false;
    }
    return t;
}

static struct state *state_on(const struct registration *r, struct shard *s)
{
    shard_set_on(r->set, s);
    return r->set->states[(size_t)s->index * r->set->count + r->script];
}

/* --- Hooks -------------------------------------------------------------------------------------------------------- */

static enum hook_verdict on_hook(struct hook_call *h, void *ctx)
{
    struct state *st = state_on(ctx, h->shard);
    struct handler *handler = &st->handlers[((struct registration *)ctx)->item];
    return event_wanted(handler, h) ? event_run(st, handler, h) : HOOK_PASS;
}

/* In mode "script" the provider asks the login hooks. */
static enum hook_verdict on_login(struct hook_call *h, void *ctx)
{
    return strcmp(h->shard->opt->auth_mode, "script") == 0 ? HOOK_PASS : on_hook(h, ctx);
}

/* Whether a stands before b in the order of priorities. */
static bool before(const struct script_set *g, const struct registration *a, const struct registration *b)
{
    return g->states[a->script]->handlers[a->item].priority > g->states[b->script]->handlers[b->item].priority;
}

/* One answer of the login hooks. Returns whether it settles the matter. */
static bool login_settled(struct auth_call *a, struct state *st, const struct hook_call *h, enum hook_verdict v)
{
    if (v == HOOK_REJECT) {
        a->answer.code = h->code;
        a->answer.retry_after_ms = h->retry_after_ms;
        snprintf(a->answer.message, sizeof a->answer.message, "%s", h->message);
        return true;
    }
    if (v != HOOK_ACCEPT)
        return false;
    if (!st->accepted_id_len) {
        a->answer.code = CODE_INTERNAL;
        snprintf(a->answer.message, sizeof a->answer.message, "the server's script failed");
        log_event(LOG_ERROR, "script.error", LOG_STR("script", st->name), LOG_STR("in", "login"),
                  LOG_STR("error", "auth.mode \"script\" needs magpie.accept{id=, name=}"));
        return true;
    }
    a->answer.code = CODE_OK;
    a->answer.id_len = st->accepted_id_len;
    a->answer.name_len = st->accepted_name_len;
    memcpy(a->answer.id, st->accepted_id, st->accepted_id_len);
    memcpy(a->answer.name, st->accepted_name, st->accepted_name_len);
    a->answer.claims = st->accepted_claims; /* given away */
    st->accepted_claims = NULL;
    return true;
}

static enum auth_when ask(struct auth_call *a, void *ctx)
{
    struct script_set *g = ctx;
    for (uint32_t i = 0; i < g->hook_count; i++) {
        struct registration *r = &g->hooks[i];
        if (g->states[r->script]->handlers[r->item].event != HOOK_LOGIN)
            continue;
        struct state *st = state_on(r, a->shard);
        struct hook_call h = {.shard = a->shard,
                              .event = HOOK_LOGIN,
                              .conn = a->ticket.conn,
                              .user_name = a->name,
                              .token = a->token,
                              .device = a->device,
                              .ip = a->ip,
                              .websocket = a->websocket,
                              .secure = a->secure};
        enum hook_verdict v = event_run(st, &st->handlers[r->item], &h);
        if (login_settled(a, st, &h, v))
            return AUTH_NOW;
    }
    a->answer.code = CODE_UNAUTHORIZED;
    snprintf(a->answer.message, sizeof a->answer.message, "not known here");
    return AUTH_NOW;
}

/* --- Actions ------------------------------------------------------------------------------------------------------ */

static void on_action(struct call *c)
{
    struct state *st = state_on(c->action_ctx, c->shard);
    struct custom_action *a = &st->actions[((struct registration *)c->action_ctx)->item];
    struct event e = {.body = c->body,
                      .user = call_user_id(c),
                      .user_name = call_user_name(c),
                      .claims = call_claims(c),
                      .action = c->action,
                      .seq = c->seq};
    struct action_answer out;
    event_run_action(st, a, &e, &out);
    if (out.code == CODE_OK)
        call_reply(c, out.body);
    else if (out.code == CODE_RATE_LIMITED)
        call_rate_limited(c, out.retry_after_ms, out.message);
    else
        call_fail(c, out.code, "%s", out.message);
}

/* --- Into the draft ----------------------------------------------------------------------------------------------- */

static bool has_script(const struct script_set *g, const char *name)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (strcmp(g->names[i], name) == 0)
            return true;
    return false;
}

static int count_registrations(struct script_set *g)
{
    size_t hooks = 0, actions = 0, commands = 0;
    for (uint32_t i = 0; i < g->count; i++) {
        hooks += g->states[i]->handler_count;
        actions += g->states[i]->action_count;
        commands += g->states[i]->command_count;
    }
    g->hooks = calloc(hooks + 1, sizeof *g->hooks);
    g->actions = calloc(actions + 1, sizeof *g->actions);
    g->commands = calloc(commands + 1, sizeof *g->commands);
    return g->hooks && g->actions && g->commands ? 0 : ERR_NOMEM;
}

/* Sorted by priority, equal ones in the order of loading. */
static void add_hook(struct script_set *g, struct registration r)
{
    uint32_t at = g->hook_count++;
    for (; at > 0 && before(g, &r, &g->hooks[at - 1]); at--)
        g->hooks[at] = g->hooks[at - 1];
    g->hooks[at] = r;
}

static int register_hooks(struct scripts *s, struct script_set *g)
{
    bool login = false;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < g->hook_count; i++) {
        struct registration *r = &g->hooks[i];
        const struct handler *h = &g->states[r->script]->handlers[r->item];
        login |= h->event == HOOK_LOGIN;
        rc = hook_register(s->hub, &(struct hook){.event = h->event,
                                                  .priority = h->priority,
                                                  .fn = h->event == HOOK_LOGIN ? on_login : on_hook,
                                                  .ctx = r,
                                                  .owner = s,
                                                  .script = g->names[r->script]});
    }
    if (rc == 0 && login)
        rc = auth_register(s->hub, &(struct auth_provider){.name = "script", .ask = ask, .ctx = g, .owner = s});
    return rc;
}

static int register_actions(struct scripts *s, struct script_set *g, struct buf *errors)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < g->action_count; i++) {
        struct registration *r = &g->actions[i];
        uint16_t number = g->states[r->script]->actions[r->item].number;
        rc = action_register(s->hub, &(struct action){.number = number,
                                                      .name = g->names[r->script],
                                                      .class = CLASS_NOW,
                                                      .whole_body = true,
                                                      .handle = on_action,
                                                      .ctx = r,
                                                      .owner = s});
        if (rc == ERR_EXISTS)
            buf_printf(errors, "scripts: action %u of %s is taken\n", number, g->names[r->script]);
    }
    return rc;
}

int scripts_register(struct scripts *s, struct script_set *g, struct buf *errors)
{
    size_t told = errors->n;
    int rc = count_registrations(g);
    for (uint32_t i = 0; rc == 0 && i < g->count; i++) {
        const struct state *st = g->states[i];
        for (uint32_t k = 0; k < st->handler_count; k++)
            add_hook(g, (struct registration){.set = g, .script = i, .item = k});
        for (uint32_t k = 0; k < st->action_count; k++)
            g->actions[g->action_count++] = (struct registration){.set = g, .script = i, .item = k};
        for (uint32_t k = 0; k < st->command_count; k++)
            g->commands[g->command_count++] = (struct registration){.set = g, .script = i, .item = k};
    }
    if (rc == 0) {
        tables_remove(s->hub, s);
        /* The script of this name decides in place of the hub's own hooks. */
        rc = policy_rate(s->hub, !has_script(g, "ratelimit"));
    }
    if (rc == 0)
        rc = register_hooks(s, g);
    if (rc == 0)
        rc = register_actions(s, g, errors);
    if (rc != 0 && errors->n == told)
        buf_printf(errors, "scripts: %s\n", err_str(rc));
    return rc;
}

/* --- Commands ----------------------------------------------------------------------------------------------------- */

/* A command on its way to shard 0, and back. */
struct command_run {
    struct mail mail;
    struct command_call *call; /* stays until it is ended */
    struct registration *registration;
    bool failed;
    char error[512]; /* as the state's */
};

/* Inside the protected call: function, list of words → a text or a JSON value in the state's scratch buffer. */
static int run_command(lua_State *L)
{
    struct state *st = state_of(L);
    const struct command_call *c = lua_touserdata(L, 2);
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, (int)lua_tointeger(L, 1));
    lua_createtable(L, (int)c->argc, 0);
    for (unsigned i = 0; i < c->argc; i++) {
        lua_pushlstring(L, c->argv[i].p ? c->argv[i].p : "", c->argv[i].n);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_call(L, 1, 1);
    const struct verdict *v = verdict_at(L, -1);
    if (v && v->kind == VERDICT_REJECT)
        return luaL_error(L, "%s", v->reject.message);
    if (lua_isnil(L, -1))
        buf_lit(state_scratch(st), "null");
    else
        json_lua_encode(st, L, lua_gettop(L));
    return 0;
}

static void command_back(void *owner, struct mail *m)
{
    struct command_run *r = (struct command_run *)m;
    (void)owner;
    if (r->failed)
        command_fail(r->call, "internal", "%s", r->error);
    else if (!buf_ok(&r->call->out))
        command_fail(r->call, "internal", "out of memory");
    else
        command_done(r->call);
    free(r);
}

/* On shard 0. The call's buffer is nobody else's meanwhile. */
static void command_there(void *owner, struct mail *m)
{
    struct command_run *r = (struct command_run *)m;
    struct shard *s = owner;
    struct state *st = state_on(r->registration, s);
    lua_State *L = st->L;
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, st->command_runner);
    lua_pushinteger(L, st->commands[r->registration->item].fn);
    lua_pushlightuserdata(L, r->call);
    r->failed = state_call(st, 2, 0, st->shard_set->budget_us, true) != 0;
    if (r->failed)
        snprintf(r->error, sizeof r->error, "%s", st->error);
    else
        buf_slice_put(&r->call->out, buf_slice(&st->scratch));
    lua_settop(L, 0);
    r->mail.run = command_back;
    mailbox_post(hub_main(s->hub), &r->mail);
}

static void on_command(struct command_call *c, void *ctx)
{
    struct registration *r = ctx;
    struct command_run *run = calloc(1, sizeof *run);
    if (!run || !hub_main(c->hub)) {
        free(run);
        command_fail(c, "internal", "out of memory");
        return;
    }
    run->mail.run = command_there;
    run->call = c;
    run->registration = r;
    mailbox_post(&hub_shard(c->hub, 0)->mailbox, &run->mail);
}

void scripts_tell(struct scripts *s, struct script_set *g)
{
    commands_remove(s->hub, s->envs);
    for (uint32_t i = 0; g && i < g->command_count; i++) {
        struct registration *r = &g->commands[i];
        const struct custom_command *c = &g->states[r->script]->commands[r->item];
        int rc = command_register(s->hub, &(struct command){.name = c->name,
                                                            .args = "[...]",
                                                            .help = c->help,
                                                            .max = COMMAND_ARGS,
                                                            .changes = true,
                                                            .run = on_command,
                                                            .ctx = r,
                                                            .owner = s->envs});
        if (rc != 0)
            log_event(LOG_WARN, "script.command", LOG_STR("script", g->names[r->script]), LOG_STR("name", c->name),
                      LOG_STR("error", rc == ERR_EXISTS ? "there is a command of this name, or of its first word"
                                                        : err_str(rc)));
    }
    scripts_register_metrics(s);
}

void command_runner_open(struct state *st, lua_State *L)
{
    lua_pushcfunction(L, run_command);
    st->command_runner = luaL_ref(L, LUA_REGISTRYINDEX);
}
