/* ABI area: what is asked of the server. `op send FROM TO TEXT` (FROM "-": system; TO "#NAME": a channel),
 * `op join|leave USER CHANNEL`, `op kick USER`, `op user ID`, `op history CHANNEL`, `op members CHANNEL`,
 * `op channel NAME`, `op announce TEXT`. */
#include "plugins/magpie_plugin.h"

#include <stdlib.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
} op;

/* Fails the command when it did not go well. */
static bool good(mp_command_call *call, const struct mp_result *r)
{
    char text[160];
    if (r->code == MP_CODE_OK)
        return true;
    snprintf(text, sizeof text, "%d %s", (int)r->code, r->message);
    op.mp->command_fail(call, "refused", text);
    return false;
}

static void sent(mp_thread *here, const struct mp_sent *r, void *ctx)
{
    char id[20];
    (void)here;
    if (!good(ctx, &r->result))
        return;
    op.mp->out_printf(op.mp->command_out(ctx), "{\"id\":\"%s\",\"seq\":%u}", mp_id_text(r->id, id), (unsigned)r->seq);
    op.mp->command_done(ctx);
}

static void joined(mp_thread *here, const struct mp_member_result *r, void *ctx)
{
    (void)here;
    if (!good(ctx, &r->result))
        return;
    op.mp->out_printf(op.mp->command_out(ctx), "{\"members\":%u,\"existed\":%s}", r->members,
                      r->existed ? "true" : "false");
    op.mp->command_done(ctx);
}

static void kicked(mp_thread *here, const struct mp_kick_result *r, void *ctx)
{
    (void)here;
    if (!good(ctx, &r->result))
        return;
    op.mp->out_printf(op.mp->command_out(ctx), "{\"connections\":%u}", r->connections);
    op.mp->command_done(ctx);
}

static void found(mp_thread *here, const struct mp_user *u, void *ctx)
{
    mp_out *o = op.mp->command_out(ctx);
    (void)here;
    if (!good(ctx, &u->result))
        return;
    op.mp->out_put(o, mp_str("{\"name\":"));
    op.mp->out_json(o, u->name);
    op.mp->out_printf(o, ",\"connections\":%u,\"inbox\":%u,\"channels\":[", u->connections, u->inbox);
    for (size_t i = 0; i < u->channel_count; i++) {
        op.mp->out_put(o, mp_str(i ? "," : ""));
        op.mp->out_json(o, u->channels[i]);
    }
    op.mp->out_put(o, mp_str("]}"));
    op.mp->command_done(ctx);
}

static void history(mp_thread *here, const struct mp_history *h, void *ctx)
{
    mp_out *o = op.mp->command_out(ctx);
    (void)here;
    if (!good(ctx, &h->result))
        return;
    op.mp->out_printf(o, "{\"last\":%u,\"messages\":[", (unsigned)h->last);
    for (size_t i = 0; i < h->n; i++) {
        op.mp->out_put(o, mp_str(i ? "," : ""));
        op.mp->out_json(o, h->messages[i].content);
    }
    op.mp->out_put(o, mp_str("]}"));
    op.mp->command_done(ctx);
}

static void members(mp_thread *here, const struct mp_members *m, void *ctx)
{
    mp_out *o = op.mp->command_out(ctx);
    (void)here;
    if (!good(ctx, &m->result))
        return;
    op.mp->out_put(o, mp_str("["));
    for (size_t i = 0; i < m->n; i++) {
        op.mp->out_put(o, mp_str(i ? "," : ""));
        op.mp->out_json(o, m->people[i].name);
    }
    op.mp->out_put(o, mp_str("]"));
    op.mp->command_done(ctx);
}

static void channel(mp_thread *here, const struct mp_channel *c, void *ctx)
{
    (void)here;
    if (!good(ctx, &c->result))
        return;
    op.mp->out_printf(op.mp->command_out(ctx), "{\"members\":%u,\"last\":%u,\"tier\":%d}", c->members,
                      (unsigned)c->last, (int)c->tier);
    op.mp->command_done(ctx);
}

static int start(mp_command_call *call, const struct mp_str *argv, unsigned argc)
{
    const struct mp_api *mp = op.mp;
    mp_thread *main_thread = mp->main_thread(op.self);
    struct mp_str a = argc > 1 ? argv[1] : mp_str(""), b = argc > 2 ? argv[2] : mp_str("");
    if (mp_eq(argv[0], mp_str("send")) && argc == 4) {
        struct mp_send s = {.size = sizeof s, .content = argv[3]};
        s.sender = mp_eq(a, mp_str("-")) ? mp_str("") : a;
        if (b.n && b.p[0] == '#')
            s.channel = mp_str_of(b.p + 1, b.n - 1);
        else
            s.receiver = b;
        return mp->send(op.self, &s, main_thread, sent, call);
    }
    if (mp_eq(argv[0], mp_str("join")) || mp_eq(argv[0], mp_str("leave"))) {
        struct mp_member m = {
            .size = sizeof m, .user = a, .channel = b, .leave = argv[0].p[0] == 'l', .may_create = true};
        return mp->member(op.self, &m, NULL, joined, call);
    }
    if (mp_eq(argv[0], mp_str("kick")))
        return mp->kick(op.self, a, mp_str("by a plugin"), false, NULL, kicked, call);
    if (mp_eq(argv[0], mp_str("user")))
        return mp->user(op.self, a, NULL, found, call);
    if (mp_eq(argv[0], mp_str("history"))) {
        struct mp_range r = {.size = sizeof r, .channel = a, .limit = 10};
        return mp->range(op.self, &r, NULL, history, call);
    }
    if (mp_eq(argv[0], mp_str("members")))
        return mp->members(op.self, a, mp_str(""), 10, NULL, members, call);
    if (mp_eq(argv[0], mp_str("channel")))
        return mp->channel(op.self, a, NULL, channel, call);
    if (mp_eq(argv[0], mp_str("announce"))) {
        int rc = mp->announce(op.self, a);
        if (rc == MP_OK)
            mp->command_done(call);
        return rc;
    }
    return MP_ENOTFOUND;
}

static void run(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)ctx;
    int rc = start(call, argv, argc);
    if (rc == MP_OK)
        return;
    char text[40];
    snprintf(text, sizeof text, "error %d", rc);
    op.mp->command_fail(call, "bad_request", text);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct mp_command c = {.size = sizeof c,
                           .name = "op",
                           .args = "WHAT …",
                           .help = "asks something of the server",
                           .min = 1,
                           .max = 4,
                           .changes = true,
                           .run = run};
    (void)o, (void)state;
    op.self = self;
    op.mp = mp;
    return mp->command(self, &c);
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "operations", .version = "1", .summary = "test: operations", .init = init};
