#include "core/plugin/moderation.h"

#include "core/base/utf8.h"
#include "core/hub/host/ban_change.h"
#include "core/hub/host/host_account.h"
#include "core/hub/host/host_delete.h"
#include "core/hub/host/host_edit.h"
#include "core/hub/host/host_recall.h"
#include "core/hub/host/host_rule.h"
#include "core/plugin/asker.h"
#include "core/plugin/threads.h"

#include <string.h>

enum { LIMIT_MAX = 1000 };

/* An operation that a plugin has asked for. */
struct asked {
    union {
        struct host_op op;
        struct host_recall recall;
        struct host_edit edit;
        struct host_user_add add;
        struct host_user_token token;
        struct host_user_delete user;
        struct host_channel_delete channel;
        struct ban_change ban;
        struct host_bans bans;
        struct host_rule rule;
    } u;
    struct asker a;
    /* of the plugin: which one, the function that is begun tells */
    union {
        mp_done_fn plain;
        mp_edited_fn edited;
        mp_token_fn token;
        mp_deleted_fn deleted;
        mp_ban_fn ban;
        mp_bans_fn bans;
        mp_rule_fn rule;
    } done;
    char text[];
};

/* NULL with *rc. `extra`: bytes of texts. */
static struct asked *asked_new(mp_self *p, size_t extra, mp_thread *home, void *ctx,
                               void (*end)(void *owner, struct host_op *op), int *rc)
{
    struct asked *q = op_new(p, sizeof *q, extra, rc);
    if (!q)
        return NULL;
    q->a = asker_of(p, home, ctx);
    q->u.op.home = q->a.home->mailbox;
    q->u.op.done = end;
    return q;
}

static void asked_free(struct asked *q)
{
    struct mp_self *p = q->a.plugin;
    free(q);
    plugin_end(p, PENDING_OPERATIONS);
}

/* Calls the plugin with the answer, and frees the operation. */
#define TELL(q, member, what, r)                                                                                       \
    do {                                                                                                               \
        if ((q)->done.member) {                                                                                        \
            struct visit v_ = visit_begin((q)->a.home, (q)->a.plugin, what);                                           \
            (q)->done.member((q)->a.home, (r), (q)->a.ctx);                                                            \
            visit_end((q)->a.home, &v_);                                                                               \
        }                                                                                                              \
        asked_free(q);                                                                                                 \
    } while (0)

/* --- What tells nothing else -------------------------------------------------------------------------------------- */

static void plain_end(void *owner, struct host_op *op)
{
    struct asked *q = (struct asked *)op;
    const struct mp_result r = result_of(op, sizeof r);
    (void)owner;
    TELL(q, plain, "the end of a recall or a new user", &r);
}

int plugin_recall(mp_self *p, const struct mp_recall *given, mp_thread *home, mp_done_fn done, void *ctx)
{
    struct mp_recall m;
    int rc;
    if (!STRUCT_IN(&m, given))
        return MP_EINVALID;
    struct asked *q = asked_new(p, m.channel.n + m.users[0].n + m.users[1].n, home, ctx, plain_end, &rc);
    if (!q)
        return rc;
    char *at = q->text;
    q->done.plain = done;
    q->u.recall.channel = copy_in(&at, m.channel);
    q->u.recall.users[0] = copy_in(&at, m.users[0]);
    q->u.recall.users[1] = copy_in(&at, m.users[1]);
    q->u.recall.seq = m.seq;
    host_recall(p->plugins->hub, &q->u.recall);
    return 0;
}

int plugin_user_add(mp_self *p, struct mp_str id, struct mp_str name, mp_thread *home, mp_done_fn done, void *ctx)
{
    int rc;
    struct asked *q = asked_new(p, id.n + name.n, home, ctx, plain_end, &rc);
    if (!q)
        return rc;
    char *at = q->text;
    q->done.plain = done;
    q->u.add.user = copy_in(&at, id);
    q->u.add.name = copy_in(&at, name);
    host_user_add(p->plugins->hub, &q->u.add);
    return 0;
}

/* --- Edits, tokens ------------------------------------------------------------------------------------------------ */

static void edit_end(void *owner, struct host_op *op)
{
    struct asked *q = (struct asked *)op;
    const struct mp_edited r = {.result = result_of(op, sizeof r), .edited_ms = q->u.edit.edited_ms};
    (void)owner;
    TELL(q, edited, "the end of an edit", &r);
}

int plugin_edit(mp_self *p, const struct mp_edit *given, mp_thread *home, mp_edited_fn done, void *ctx)
{
    struct mp_edit m;
    int rc;
    if (!STRUCT_IN(&m, given))
        return MP_EINVALID;
    struct asked *q = asked_new(p, m.sender.n + m.peer.n + m.channel.n + m.content.n, home, ctx, edit_end, &rc);
    if (!q)
        return rc;
    char *at = q->text;
    q->done.edited = done;
    q->u.edit.sender = copy_in(&at, m.sender);
    q->u.edit.peer = copy_in(&at, m.peer);
    q->u.edit.channel = copy_in(&at, m.channel);
    q->u.edit.content = copy_in(&at, m.content);
    q->u.edit.seq = m.seq;
    host_edit(p->plugins->hub, &q->u.edit);
    return 0;
}

static void token_end(void *owner, struct host_op *op)
{
    struct asked *q = (struct asked *)op;
    const struct mp_token r = {.result = result_of(op, sizeof r),
                               .token = op->code == CODE_OK ? mp_str(q->u.token.token) : mp_str_of(NULL, 0)};
    (void)owner;
    if (q->done.token) {
        struct visit v = visit_begin(q->a.home, q->a.plugin, "a user's token");
        q->done.token(q->a.home, &r, q->a.ctx);
        visit_end(q->a.home, &v);
    }
    explicit_bzero(q->u.token.token, sizeof q->u.token.token);
    asked_free(q);
}

int plugin_user_token(mp_self *p, struct mp_str id, mp_thread *home, mp_token_fn done, void *ctx)
{
    int rc;
    struct asked *q = asked_new(p, id.n, home, ctx, token_end, &rc);
    if (!q)
        return rc;
    char *at = q->text;
    q->done.token = done;
    q->u.token.user = copy_in(&at, id);
    host_user_token(p->plugins->hub, &q->u.token);
    return 0;
}

/* --- Deleting ----------------------------------------------------------------------------------------------------- */

static void user_deleted(void *owner, struct host_op *op)
{
    struct asked *q = (struct asked *)op;
    const struct mp_deleted r = {.result = result_of(op, sizeof r),
                                 .connections = q->u.user.connections,
                                 .memberships = q->u.user.channels,
                                 .recalled = q->u.user.messages};
    (void)owner;
    TELL(q, deleted, "the end of a deletion", &r);
}

int plugin_user_delete(mp_self *p, struct mp_str id, bool recall, mp_thread *home, mp_deleted_fn done, void *ctx)
{
    int rc;
    struct asked *q = asked_new(p, id.n, home, ctx, user_deleted, &rc);
    if (!q)
        return rc;
    char *at = q->text;
    q->done.deleted = done;
    q->u.user.user = copy_in(&at, id);
    q->u.user.recall = recall;
    host_user_delete(p->plugins->hub, &q->u.user);
    return 0;
}

static void channel_deleted(void *owner, struct host_op *op)
{
    struct asked *q = (struct asked *)op;
    const struct mp_deleted r = {.result = result_of(op, sizeof r), .memberships = q->u.channel.members};
    (void)owner;
    TELL(q, deleted, "the end of a deletion", &r);
}

int plugin_channel_delete(mp_self *p, struct mp_str name, mp_thread *home, mp_deleted_fn done, void *ctx)
{
    int rc;
    struct asked *q = asked_new(p, name.n, home, ctx, channel_deleted, &rc);
    if (!q)
        return rc;
    char *at = q->text;
    q->done.deleted = done;
    q->u.channel.channel = copy_in(&at, name);
    host_channel_delete(p->plugins->hub, &q->u.channel);
    return 0;
}

/* --- Bans and rules ----------------------------------------------------------------------------------------------- */

_Static_assert((int)MP_BAN_USER == BAN_USER && (int)MP_BAN_IP == BAN_IP && (int)MP_BAN_MEMBER == BAN_MEMBER &&
                   (int)MP_MUTE_USER == MUTE_USER && (int)MP_MUTE_MEMBER == MUTE_MEMBER &&
                   (int)MP_BAN_KINDS == CHANNEL_RULE && (int)MP_TIER_LARGE == TIER_LARGE &&
                   (int)MP_PUSH_NONE == MODE_NONE,
               "handed on as they are");

static void ban_end(void *owner, struct host_op *op)
{
    struct asked *q = (struct asked *)op;
    const struct mp_ban_result r = {
        .result = result_of(op, sizeof r), .connections = q->u.ban.connections, .ended = q->u.ban.ended};
    (void)owner;
    TELL(q, ban, "the end of a ban", &r);
}

int plugin_ban(mp_self *p, const struct mp_ban *given, mp_thread *home, mp_ban_fn done, void *ctx)
{
    struct mp_ban m;
    int rc;
    if (!STRUCT_IN(&m, given) || (unsigned)m.kind >= MP_BAN_KINDS || m.reason.n > BAN_REASON_MAX ||
        !utf8_valid(slice_in(m.reason)))
        return MP_EINVALID;
    struct asked *q = asked_new(p, m.user.n + m.channel.n + m.ip.n + m.reason.n, home, ctx, ban_end, &rc);
    if (!q)
        return rc;
    char *at = q->text;
    q->done.ban = done;
    q->u.ban.kind = (enum ban_kind)m.kind;
    q->u.ban.user = copy_in(&at, m.user);
    q->u.ban.channel = copy_in(&at, m.channel);
    q->u.ban.ip = copy_in(&at, m.ip);
    q->u.ban.reason = copy_in(&at, m.reason);
    q->u.ban.seconds = m.seconds;
    q->u.ban.lift = m.lift;
    ban_change(p->plugins->hub, &q->u.ban);
    return 0;
}

static void bans_end(void *owner, struct host_op *op)
{
    struct asked *q = (struct asked *)op;
    const struct host_bans *b = &q->u.bans;
    struct mp_bans r = {.result = result_of(op, sizeof r), .more = b->next != UINT32_MAX, .next = b->next};
    struct mp_ban_entry *list = b->n ? calloc(b->n, sizeof *list) : NULL;
    (void)owner;
    for (uint32_t i = 0; list && i < b->n; i++)
        list[i] = (struct mp_ban_entry){.kind = (enum mp_ban_kind)b->list[i].kind,
                                        .user = str_out(b->list[i].user),
                                        .channel = str_out(b->list[i].channel),
                                        .ip = mp_str(b->list[i].ip),
                                        .reason = str_out(b->list[i].reason),
                                        .until_ms = b->list[i].until_ms};
    if (b->n && !list) {
        r.result.code = MP_CODE_INTERNAL;
        r.result.message = "out of memory";
    }
    r.bans = list;
    r.n = list ? b->n : 0;
    if (q->done.bans) {
        struct visit v = visit_begin(q->a.home, q->a.plugin, "a list of bans");
        q->done.bans(q->a.home, &r, q->a.ctx);
        visit_end(q->a.home, &v);
    }
    free(list);
    free(b->list);
    free(b->arena);
    asked_free(q);
}

int plugin_bans(mp_self *p, uint32_t cursor, uint32_t limit, mp_thread *home, mp_bans_fn done, void *ctx)
{
    int rc;
    if (limit < 1 || limit > LIMIT_MAX)
        return MP_EINVALID;
    struct asked *q = asked_new(p, 0, home, ctx, bans_end, &rc);
    if (!q)
        return rc;
    q->done.bans = done;
    q->u.bans.cursor = cursor;
    q->u.bans.limit = limit;
    host_bans(p->plugins->hub, &q->u.bans);
    return 0;
}

static void rule_end(void *owner, struct host_op *op)
{
    struct asked *q = (struct asked *)op;
    const struct channel_rule *rule = &q->u.rule.rule;
    const struct mp_rule_result r = {.result = result_of(op, sizeof r),
                                     .tier = (enum mp_tier)rule->tier,
                                     .push = (enum mp_push)rule->push,
                                     .limited = rule->limited,
                                     .limit = rule->limit,
                                     .closed = rule->closed};
    (void)owner;
    TELL(q, rule, "a channel's rule", &r);
}

int plugin_rule(mp_self *p, const struct mp_rule *given, mp_thread *home, mp_rule_fn done, void *ctx)
{
    struct mp_rule m;
    int rc;
    if (!STRUCT_IN(&m, given) || (unsigned)m.tier > MP_TIER_LARGE || (unsigned)m.push > MP_PUSH_NONE)
        return MP_EINVALID;
    struct asked *q = asked_new(p, m.channel.n, home, ctx, rule_end, &rc);
    if (!q)
        return rc;
    char *at = q->text;
    q->done.rule = done;
    q->u.rule.channel = copy_in(&at, m.channel);
    q->u.rule.set_tier = m.set_tier;
    q->u.rule.set_push = m.set_push;
    q->u.rule.set_limit = m.set_limit;
    q->u.rule.set_closed = m.set_closed;
    q->u.rule.rule = (struct channel_rule){
        .tier = (uint8_t)m.tier, .push = (uint8_t)m.push, .limited = m.limited, .limit = m.limit, .closed = m.closed};
    host_rule(p->plugins->hub, &q->u.rule);
    return 0;
}
