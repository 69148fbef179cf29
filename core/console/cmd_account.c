/* Users and messages that an operator makes and takes away: user add, token, delete; recall. */
#include "core/console/console_private.h"
#include "core/console/survey.h"
#include "core/hub/host/host_account.h"
#include "core/hub/host/host_delete.h"
#include "core/hub/host/host_recall.h"
#include "core/hub/shard/shards.h"

#include <stdlib.h>

/* An operation under way for a call. */
struct order {
    union {
        struct host_op op;
        struct host_user_add add;
        struct host_user_token token;
        struct host_user_delete delete;
        struct host_recall recall;
    } u;
    struct command_call *call;
};

/* NULL: the call has failed. */
static struct order *order_new(struct command_call *c, void (*done)(void *owner, struct host_op *op))
{
    struct order *o = calloc(1, sizeof *o);
    if (!o) {
        command_fail(c, "internal", "out of memory");
        return NULL;
    }
    o->call = c;
    o->u.op.home = hub_main(c->hub);
    o->u.op.done = done;
    return o;
}

/* Ends the call, with what the order has put into its answer. */
static void order_end(struct order *o)
{
    struct command_call *c = o->call;
    if (o->u.op.code == CODE_OK)
        command_done(c);
    else
        command_fail(c, code_name(o->u.op.code), "%s", o->u.op.message);
    free(o);
}

static void order_done(void *owner, struct host_op *op)
{
    (void)owner;
    order_end((struct order *)op);
}

/* --- Users -------------------------------------------------------------------------------------------------------- */

static void run_add(struct command_call *c, void *ctx)
{
    (void)ctx;
    struct order *o = order_new(c, order_done);
    if (!o)
        return;
    o->u.add.user = c->argv[0];
    o->u.add.name = c->argv[1];
    host_user_add(c->hub, &o->u.add);
}

static void token_done(void *owner, struct host_op *op)
{
    struct order *o = (struct order *)op;
    (void)owner;
    if (op->code == CODE_OK)
        buf_printf(&o->call->out, "{\"token\":\"%s\"}", o->u.token.token);
    explicit_bzero(o->u.token.token, sizeof o->u.token.token);
    order_end(o);
}

static void run_token(struct command_call *c, void *ctx)
{
    (void)ctx;
    struct order *o = order_new(c, token_done);
    if (!o)
        return;
    o->u.token.user = c->argv[0];
    host_user_token(c->hub, &o->u.token);
}

static void deleted(void *owner, struct host_op *op)
{
    struct order *o = (struct order *)op;
    const struct host_user_delete *q = &o->u.delete;
    (void)owner;
    if (op->code == CODE_OK)
        buf_printf(&o->call->out, "{\"connections\":%u,\"channels\":%u,\"recalled\":%llu}", q->connections, q->channels,
                   (unsigned long long)q->messages);
    order_end(o);
}

static void run_delete(struct command_call *c, void *ctx)
{
    (void)ctx;
    bool recall = c->argc == 3 && slice_eq(c->argv[2], SLICE_LIT("recall"));
    bool good = c->argc == 1 || (c->argc == 3 && slice_eq(c->argv[1], SLICE_LIT("messages")) &&
                                 (recall || slice_eq(c->argv[2], SLICE_LIT("keep"))));
    if (!good) {
        command_fail(c, "bad_request", "usage: user delete %s", c->command.args);
        return;
    }
    struct order *o = order_new(c, deleted);
    if (!o)
        return;
    o->u.delete.user = c->argv[0];
    o->u.delete.recall = recall;
    host_user_delete(c->hub, &o->u.delete);
}

/* --- Messages ----------------------------------------------------------------------------------------------------- */

static void recalled(void *owner, struct host_op *op)
{
    struct order *o = (struct order *)op;
    (void)owner;
    if (op->code == CODE_OK)
        buf_str(&o->call->out, o->u.recall.again ? "{\"again\":true}" : "{\"again\":false}");
    order_end(o);
}

/* ctx not NULL: of a channel. */
static void run_recall(struct command_call *c, void *ctx)
{
    uint64_t seq;
    if (!argument_number(c->argv[c->argc - 1], UINT64_MAX / 16, &seq) || seq == 0) {
        command_fail(c, "bad_request", "expected the message's seq, as `history` shows it");
        return;
    }
    struct order *o = order_new(c, recalled);
    if (!o)
        return;
    o->u.recall.seq = seq;
    if (ctx) {
        o->u.recall.channel = c->argv[0];
    } else {
        o->u.recall.users[0] = c->argv[0];
        o->u.recall.users[1] = c->argv[1];
    }
    host_recall(c->hub, &o->u.recall);
}

int cmd_account_register(struct console *c)
{
    static const struct command list[] = {
        {.name = "user add",
         .args = "ID NAME",
         .help = "makes a user before its first login; it can be written to and put into channels",
         .min = 2,
         .max = 2,
         .changes = true,
         .shown = 1,
         .text = true,
         .run = run_add},
        {.name = "user token",
         .args = "ID",
         .help = "a token with which a client logs in as this user (auth.mode \"open\")",
         .min = 1,
         .max = 1,
         .changes = true,
         .shown = 1,
         .run = run_token},
        {.name = "user delete",
         .args = "ID [messages keep|recall]",
         .help = "takes a user away for good: name, tokens, inbox, memberships; its messages stay without its name, or "
                 "are recalled",
         .min = 1,
         .max = 3,
         .changes = true,
         .shown = 3,
         .run = run_delete},
        {.name = "recall channel",
         .args = "NAME SEQ",
         .help = "recalls a message, whoever sent it and whenever",
         .min = 2,
         .max = 2,
         .changes = true,
         .shown = 2,
         .run = run_recall,
         .ctx = (void *)(uintptr_t)list},
        {.name = "recall user",
         .args = "A B SEQ",
         .help = "recalls a private message between the two",
         .min = 3,
         .max = 3,
         .changes = true,
         .shown = 3,
         .run = run_recall},
    };
    return commands_register(c->hub, list, sizeof list / sizeof list[0]);
}
