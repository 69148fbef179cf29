/* What plugins ask of the hub: sending, memberships, kicks, pushes. Each copies what it is given, counts itself as
 * under way, and tells how it went on the thread that the plugin named. */
#include "core/plugin/operations.h"

#include "core/base/frame.h"
#include "core/base/utf8.h"
#include "core/hub/host/host.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/host_send.h"
#include "core/net/send.h"
#include "core/plugin/asker.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/register.h"
#include "core/plugin/text.h"
#include "core/plugin/threads.h"

#include <stdlib.h>

/* --- Sending ------------------------------------------------------------------------------------------------------ */

struct sending {
    struct host_send q;
    struct asker a;
    mp_sent_fn done;
    char text[];
};

static void send_done(void *owner, struct host_op *op)
{
    struct sending *s = (struct sending *)op;
    struct mp_sent r = {.result = result_of(op, sizeof r),
                        .id = s->q.id,
                        .seq = s->q.seq,
                        .created_ms = s->q.created_ms,
                        .duplicate = s->q.duplicate};
    struct mp_self *p = s->a.plugin;
    (void)owner;
    if (s->done) {
        struct visit v = visit_begin(s->a.home, p, "the end of a send");
        s->done(s->a.home, &r, s->a.ctx);
        visit_end(s->a.home, &v);
    }
    free(s);
    plugin_end(p, PENDING_OPERATIONS);
}

int plugin_send(mp_self *p, const struct mp_send *given, mp_thread *home, mp_sent_fn done, void *ctx)
{
    struct mp_send m;
    int rc;
    if (!STRUCT_IN(
            &m,
            given)) /* the values are the hub's to judge: what is wrong with them is then told with the field's name */
        return MP_EINVALID;
    struct sending *s =
        op_new(p, sizeof *s, m.sender.n + m.receiver.n + m.channel.n + m.content.n + m.client_id.n, &rc);
    if (!s)
        return rc;
    char *at = s->text;
    s->a = asker_of(p, home, ctx);
    s->done = done;
    s->q = (struct host_send){.op = {.home = s->a.home->mailbox, .done = send_done},
                              .sender = copy_in(&at, m.sender),
                              .receiver = copy_in(&at, m.receiver),
                              .channel = copy_in(&at, m.channel),
                              .content = copy_in(&at, m.content),
                              .client_id = copy_in(&at, m.client_id)};
    host_send(p->plugins->hub, &s->q);
    return 0;
}

/* --- Memberships -------------------------------------------------------------------------------------------------- */

struct joining {
    struct host_member q;
    struct asker a;
    mp_member_fn done;
    char text[];
};

static void member_done(void *owner, struct host_op *op)
{
    struct joining *j = (struct joining *)op;
    struct mp_member_result r = {.result = result_of(op, sizeof r), .members = j->q.members, .existed = j->q.existed};
    struct mp_self *p = j->a.plugin;
    (void)owner;
    if (j->done) {
        struct visit v = visit_begin(j->a.home, p, "the end of a join or leave");
        j->done(j->a.home, &r, j->a.ctx);
        visit_end(j->a.home, &v);
    }
    free(j);
    plugin_end(p, PENDING_OPERATIONS);
}

int plugin_member(mp_self *p, const struct mp_member *given, mp_thread *home, mp_member_fn done, void *ctx)
{
    struct mp_member m;
    int rc;
    if (!STRUCT_IN(&m, given) || !value_user_id(slice_in(m.user)) || !value_channel(slice_in(m.channel)) ||
        (unsigned)m.push > MP_PUSH_NONE)
        return MP_EINVALID;
    struct joining *j = op_new(p, sizeof *j, m.user.n + m.channel.n, &rc);
    if (!j)
        return rc;
    char *at = j->text;
    j->a = asker_of(p, home, ctx);
    j->done = done;
    j->q = (struct host_member){.op = {.home = j->a.home->mailbox, .done = member_done},
                                .user = copy_in(&at, m.user),
                                .channel = copy_in(&at, m.channel),
                                .leave = m.leave,
                                .set_push = m.set_push && !m.leave,
                                .push = (enum push_mode)m.push,
                                .may_create = m.may_create};
    host_member(p->plugins->hub, &j->q);
    return 0;
}

/* --- Kicks -------------------------------------------------------------------------------------------------------- */

struct kicking {
    struct host_kick q;
    struct asker a;
    mp_kick_fn done;
    char text[];
};

static void kick_done(void *owner, struct host_op *op)
{
    struct kicking *k = (struct kicking *)op;
    struct mp_kick_result r = {.result = result_of(op, sizeof r), .connections = k->q.connections};
    struct mp_self *p = k->a.plugin;
    (void)owner;
    if (k->done) {
        struct visit v = visit_begin(k->a.home, p, "the end of a kick");
        k->done(k->a.home, &r, k->a.ctx);
        visit_end(k->a.home, &v);
    }
    free(k);
    plugin_end(p, PENDING_OPERATIONS);
}

int plugin_kick(mp_self *p, struct mp_str user, struct mp_str message, bool revoke, mp_thread *home, mp_kick_fn done,
                void *ctx)
{
    int rc;
    if (!value_user_id(slice_in(user)) || message.n > 500 || !utf8_valid(slice_in(message)))
        return MP_EINVALID;
    struct kicking *k = op_new(p, sizeof *k, user.n + message.n, &rc);
    if (!k)
        return rc;
    char *at = k->text;
    k->a = asker_of(p, home, ctx);
    k->done = done;
    k->q = (struct host_kick){.op = {.home = k->a.home->mailbox, .done = kick_done},
                              .user = copy_in(&at, user),
                              .message = copy_in(&at, message),
                              .revoke = revoke};
    host_kick(p->plugins->hub, &k->q);
    return 0;
}

/* --- Users -------------------------------------------------------------------------------------------------------- */

struct asking {
    struct host_user q;
    struct asker a;
    mp_user_fn done;
    char text[];
};

static void user_tell(struct asking *k, const struct mp_str *channels)
{
    const struct store_user_load *l = &k->q.load;
    struct mp_user u = {.result = result_of(&k->q.op, sizeof u),
                        .id = str_out(k->q.user),
                        .name = str_out(l->name),
                        .connections = k->q.connections,
                        .inbox = l->inbox,
                        .channels = channels,
                        .channel_count = channels ? l->subscription_count : 0};
    if (k->q.op.code == CODE_OK && l->subscription_count && !channels) {
        u.result.code = MP_CODE_INTERNAL;
        u.result.message = "out of memory";
    }
    struct visit v = visit_begin(k->a.home, k->a.plugin, "the end of a lookup");
    k->done(k->a.home, &u, k->a.ctx);
    visit_end(k->a.home, &v);
}

static void user_done(void *owner, struct host_op *op)
{
    struct asking *k = (struct asking *)op;
    struct mp_self *p = k->a.plugin;
    (void)owner;
    if (k->done) {
        uint32_t n = op->code == CODE_OK ? k->q.load.subscription_count : 0;
        struct mp_str *channels = n ? calloc(n, sizeof *channels) : NULL;
        for (uint32_t i = 0; channels && i < n; i++)
            channels[i] = str_out(k->q.load.subscriptions[i].channel);
        user_tell(k, channels);
        free(channels);
    }
    store_user_load_free(&k->q.load);
    free(k);
    plugin_end(p, PENDING_OPERATIONS);
}

int plugin_user(mp_self *p, struct mp_str id, mp_thread *home, mp_user_fn done, void *ctx)
{
    int rc;
    if (!value_user_id(slice_in(id)))
        return MP_EINVALID;
    struct asking *k = op_new(p, sizeof *k, id.n, &rc);
    if (!k)
        return rc;
    char *at = k->text;
    k->a = asker_of(p, home, ctx);
    k->done = done;
    k->q = (struct host_user){.op = {.home = k->a.home->mailbox, .done = user_done}, .user = copy_in(&at, id)};
    host_user(p->plugins->hub, &k->q);
    return 0;
}

/* --- Without an answer -------------------------------------------------------------------------------------------- */

static bool push_good(uint16_t action, struct mp_str body)
{
    return action >= 1000 && action <= 1999 && (body.n == 0 || json_is_object(slice_in(body)));
}

int plugin_push_user(mp_self *p, struct mp_str user, uint16_t action, struct mp_str body)
{
    if (!value_user_id(slice_in(user)) || !push_good(action, body))
        return MP_EINVALID;
    return plugin_error(
        host_push(p->plugins->hub, NULL, slice_in(user), action, body.n ? slice_in(body) : SLICE_LIT("{}")));
}

struct push {
    struct mail mail;
    uint32_t conn, generation;
    uint16_t action;
    size_t n;
    char body[];
};

static void push_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct push *q = (struct push *)m;
    struct conn *k = s->net ? conn_find(s->net, q->conn, q->generation) : NULL;
    /* Before login no push may come; and what speaks another protocol has no words for one, or its own. */
    if (k && (k->flags & (CONN_F_READY | CONN_F_CLOSING)) == CONN_F_READY) {
        struct frame *f = frame_borrow(q->action, 0, slice_of(q->body, q->n), WIRE_TAG_NONE);
        if (f) {
            (void)conn_send_frame(s->net, q->conn, f, CONN_MUST);
            frame_unref(f);
        }
    }
    free(q);
}

int plugin_push_conn(mp_self *p, struct mp_conn conn, uint16_t action, struct mp_str body)
{
    if (conn.shard + 1 >= p->plugins->thread_count || !push_good(action, body))
        return MP_EINVALID;
    if (body.n == 0)
        body = mp_str("{}");
    struct push *q = malloc(sizeof *q + body.n);
    if (!q)
        return MP_ENOMEM;
    *q = (struct push){
        .mail.run = push_arrive, .conn = conn.index, .generation = conn.generation, .action = action, .n = body.n};
    memcpy(q->body, body.p, body.n);
    mailbox_post(p->plugins->threads[conn.shard + 1].mailbox, &q->mail);
    return 0;
}

int plugin_announce(mp_self *p, struct mp_str content)
{
    if (content.n == 0 || !utf8_valid(slice_in(content)))
        return MP_EINVALID;
    return plugin_error(host_announce(p->plugins->hub, NULL, slice_in(content)));
}

int plugin_close_conn(mp_self *p, struct mp_conn conn, struct mp_str message)
{
    if (conn.shard + 1 >= p->plugins->thread_count || message.n > 500 || !utf8_valid(slice_in(message)))
        return MP_EINVALID;
    return plugin_error(host_close(p->plugins->hub, NULL, conn.shard, conn.index, conn.generation, slice_in(message)));
}
