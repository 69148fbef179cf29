/* The hub's world: what scripts may do as operators. */
#include "core/hub/host/ban_change.h"
#include "core/hub/host/host_account.h"
#include "core/hub/host/host_delete.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/host_recall.h"
#include "core/hub/shard/shard.h"
#include "core/script/scripts_private.h"
#include "core/script/waiting.h"
#include "core/script/world_hub.h"

#include <stdlib.h>

/* An order under way. Owns copies of all its texts. */
struct ordered {
    union {
        struct host_op op;
        struct host_member member;
        struct ban_change ban;
        struct host_recall recall;
        struct host_user_add add;
        struct host_user_delete user;
        struct host_channel_delete channel;
    } u;
    struct hub_world *world;
    enum order_kind kind;
    struct conv_key conv;
    char script[SCRIPT_NAME_MAX];
    char user[64], channel[64], name[64];
};

/* A ban that is made twice, or lifted twice, is what the script wanted. */
static void ordered_done(void *owner, struct host_op *op)
{
    struct ordered *o = (struct ordered *)op;
    bool lifted = (o->kind == ORDER_UNMUTE || o->kind == ORDER_UNBAN) && op->code == CODE_NOT_FOUND;
    (void)owner;
    o->world->sends--;
    if (op->code != CODE_OK && !lifted)
        log_event(LOG_WARN, "script.refused", LOG_STR("script", o->script), LOG_STR("order", order_names[o->kind]),
                  LOG_STR("code", code_name(op->code)), LOG_STR("error", op->message));
    free(o);
}

static struct slice keep(char *to, struct slice s)
{
    if (s.n)
        memcpy(to, s.p, s.n);
    return slice_of(to, s.n);
}

static void begin_ban(struct hub *hub, struct ordered *o, const struct script_order *given, struct slice user,
                      struct slice channel)
{
    bool mute = o->kind == ORDER_MUTE || o->kind == ORDER_UNMUTE;
    o->u.ban.kind = mute ? (channel.n ? MUTE_MEMBER : MUTE_USER) : (channel.n ? BAN_MEMBER : BAN_USER);
    o->u.ban.user = user;
    o->u.ban.channel = channel;
    o->u.ban.seconds = given->seconds;
    o->u.ban.lift = o->kind == ORDER_UNMUTE || o->kind == ORDER_UNBAN;
    ban_change(hub, &o->u.ban);
}

static void begin_recall(struct hub *hub, struct ordered *o, const struct script_order *given)
{
    o->conv = given->conv;
    struct slice key = conv_key_slice(&o->conv);
    if (conv_is_channel(key))
        o->u.recall.channel = conv_channel_name(key);
    else
        conv_pair_users(key, &o->u.recall.users[0], &o->u.recall.users[1]);
    o->u.recall.seq = given->seq;
    host_recall(hub, &o->u.recall);
}

static void begin(struct hub *hub, struct ordered *o, const struct script_order *given)
{
    struct slice user = keep(o->user, given->user), channel = keep(o->channel, given->channel);
    switch (o->kind) {
    case ORDER_JOIN:
    case ORDER_LEAVE:
        o->u.member.user = user;
        o->u.member.channel = channel;
        o->u.member.leave = o->kind == ORDER_LEAVE;
        o->u.member.change = (enum member_change)given->change;
        o->u.member.may_create = true;
        host_member(hub, &o->u.member);
        break;
    case ORDER_RECALL:
        begin_recall(hub, o, given);
        break;
    case ORDER_USER_ADD:
        o->u.add.user = user;
        o->u.add.name = keep(o->name, given->name);
        host_user_add(hub, &o->u.add);
        break;
    case ORDER_USER_DELETE:
        o->u.user.user = user;
        o->u.user.recall = given->recall;
        host_user_delete(hub, &o->u.user);
        break;
    case ORDER_CHANNEL_DELETE:
        o->u.channel.channel = channel;
        host_channel_delete(hub, &o->u.channel);
        break;
    default:
        begin_ban(hub, o, given, user, channel);
        break;
    }
}

int hub_world_order(struct world *world, struct state *st, const struct script_order *given)
{
    struct hub_world *w = (struct hub_world *)world;
    struct ordered *o = w->sends < SENDS_MAX ? calloc(1, sizeof *o) : NULL;
    if (!o)
        return w->sends < SENDS_MAX ? ERR_NOMEM : ERR_AGAIN;
    w->sends++;
    o->world = w;
    o->kind = given->kind;
    memcpy(o->script, st->name, sizeof o->script);
    o->u.op.home = &w->shard->mailbox;
    o->u.op.done = ordered_done;
    begin(w->shard->hub, o, given);
    return 0;
}

/* --- Tokens ------------------------------------------------------------------------------------------------------- */

struct token_order {
    struct host_user_token q;
    struct waiting *waiting;
    char user[64];
};

static void push_token(struct state *st, lua_State *L, void *ctx)
{
    (void)st;
    lua_pushstring(L, ctx);
}

static void token_back(void *owner, struct host_op *op)
{
    struct token_order *o = (struct token_order *)op;
    (void)owner;
    waiting_answer(o->waiting, op->code == CODE_OK ? NULL : code_name(op->code), push_token, o->q.token);
    explicit_bzero(o->q.token, sizeof o->q.token);
    free(o);
}

int hub_world_token(struct world *world, struct waiting *w, struct slice user)
{
    struct shard *s = ((struct hub_world *)world)->shard;
    struct token_order *o = calloc(1, sizeof *o);
    if (!o)
        return ERR_NOMEM;
    o->waiting = w;
    o->q.user = keep(o->user, user);
    o->q.op.home = &s->mailbox;
    o->q.op.done = token_back;
    host_user_token(s->hub, &o->q);
    return 0;
}
