/* ABI area: what an operator may do. `mod recall CHANNEL SEQ`, `mod recall2 A B SEQ`, `mod edit USER CHANNEL SEQ`,
 * `mod add ID NAME`, `mod token ID`, `mod delete ID keep|recall`, `mod remove CHANNEL`, `mod mute USER CHANNEL
 * SECONDS`, `mod unmute USER CHANNEL`, `mod bans`, `mod close CHANNEL`, `mod rule CHANNEL`, `mod users PREFIX CURSOR`,
 * `mod channels PREFIX CURSOR`, `mod wrong N`, `mod keys JSON`. */
#include "plugins/magpie_plugin.h"

#include <stdlib.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
} mod;

static bool good(mp_command_call *call, const struct mp_result *r)
{
    char text[160];
    if (r->code == MP_CODE_OK)
        return true;
    snprintf(text, sizeof text, "%d %s", (int)r->code, r->message);
    mod.mp->command_fail(call, "refused", text);
    return false;
}

static void done(mp_thread *here, const struct mp_result *r, void *ctx)
{
    (void)here;
    if (good(ctx, r))
        mod.mp->command_done(ctx);
}

static void edited(mp_thread *here, const struct mp_edited *r, void *ctx)
{
    (void)here;
    if (!good(ctx, &r->result))
        return;
    mod.mp->out_printf(mod.mp->command_out(ctx), "%s", r->edited_ms ? "true" : "false");
    mod.mp->command_done(ctx);
}

static void token(mp_thread *here, const struct mp_token *t, void *ctx)
{
    (void)here;
    if (!good(ctx, &t->result))
        return;
    mod.mp->out_json(mod.mp->command_out(ctx), t->token);
    mod.mp->command_done(ctx);
}

static void deleted(mp_thread *here, const struct mp_deleted *r, void *ctx)
{
    (void)here;
    if (!good(ctx, &r->result))
        return;
    mod.mp->out_printf(mod.mp->command_out(ctx), "[%u,%u,%u]", r->connections, r->memberships, (unsigned)r->recalled);
    mod.mp->command_done(ctx);
}

static void banned(mp_thread *here, const struct mp_ban_result *r, void *ctx)
{
    (void)here;
    if (!good(ctx, &r->result))
        return;
    mod.mp->out_printf(mod.mp->command_out(ctx), "[%u,%d]", r->connections, r->ended);
    mod.mp->command_done(ctx);
}

static void bans(mp_thread *here, const struct mp_bans *b, void *ctx)
{
    mp_out *o = mod.mp->command_out(ctx);
    (void)here;
    if (!good(ctx, &b->result))
        return;
    mod.mp->out_put(o, mp_str("["));
    for (size_t i = 0; i < b->n; i++) {
        mod.mp->out_printf(o, "%s{\"kind\":%d,\"for_ever\":%s,\"user\":", i ? "," : "", (int)b->bans[i].kind,
                           b->bans[i].until_ms == UINT64_MAX ? "true" : "false");
        mod.mp->out_json(o, b->bans[i].user);
        mod.mp->out_put(o, mp_str("}"));
    }
    mod.mp->out_put(o, mp_str("]"));
    mod.mp->command_done(ctx);
}

static void rule(mp_thread *here, const struct mp_rule_result *r, void *ctx)
{
    (void)here;
    if (!good(ctx, &r->result))
        return;
    mod.mp->out_printf(mod.mp->command_out(ctx), "[%d,%d,%d,%u,%d]", (int)r->tier, (int)r->push, r->limited, r->limit,
                       r->closed);
    mod.mp->command_done(ctx);
}

static void scanned(mp_thread *here, const struct mp_scanned *r, void *ctx)
{
    mp_out *o = mod.mp->command_out(ctx);
    (void)here;
    if (!good(ctx, &r->result))
        return;
    mod.mp->out_put(o, mp_str("{\"ids\":["));
    for (size_t i = 0; i < r->n; i++) {
        mod.mp->out_put(o, mp_str(i ? "," : ""));
        mod.mp->out_json(o, r->list[i].id);
    }
    mod.mp->out_printf(o, "],\"more\":%s,\"next\":", r->more ? "true" : "false");
    mod.mp->out_json(o, r->next);
    mod.mp->out_put(o, mp_str("}"));
    mod.mp->command_done(ctx);
}

/* What can be no operation is refused at once. */
static int wrong(unsigned n)
{
    const struct mp_api *mp = mod.mp;
    struct mp_ban b = {.size = sizeof b, .kind = MP_BAN_KINDS};
    struct mp_rule r = {.size = sizeof r, .tier = MP_CAST(enum mp_tier, 9)};
    struct mp_scan s = {.size = sizeof s};
    struct mp_recall unset = {.size = 0};
    switch (n) {
    case 0:
        return mp->ban(mod.self, &b, NULL, banned, NULL);
    case 1:
        return mp->rule(mod.self, &r, NULL, rule, NULL);
    case 2:
        return mp->scan(mod.self, &s, NULL, scanned, NULL);
    case 3:
        return mp->recall(mod.self, &unset, NULL, done, NULL);
    default:
        return mp->bans(mod.self, 0, 0, NULL, bans, NULL);
    }
}

static int keys(mp_command_call *call, struct mp_str text)
{
    const struct mp_api *mp = mod.mp;
    mp_json *v = mp->json_parse(text, NULL);
    mp_out *o = mp->command_out(call);
    struct mp_str key;
    mp->out_put(o, mp_str("["));
    for (unsigned i = 0; (key = mp->json_key(v, i)).p; i++) {
        mp->out_put(o, mp_str(i ? "," : ""));
        mp->out_json(o, key);
    }
    mp->out_put(o, mp_str("]"));
    mp->json_free(v);
    mp->command_done(call);
    return MP_OK;
}

static int start_with(mp_command_call *call, struct mp_str what, const struct mp_str *arg, uint64_t last)
{
    const struct mp_api *mp = mod.mp;
    if (mp_eq(what, mp_str("mute")) || mp_eq(what, mp_str("unmute"))) {
        struct mp_ban b = {.size = sizeof b,
                           .kind = MP_MUTE_MEMBER,
                           .user = arg[0],
                           .channel = arg[1],
                           .seconds = last,
                           .lift = what.p[0] == 'u'};
        return mp->ban(mod.self, &b, NULL, banned, call);
    }
    if (mp_eq(what, mp_str("bans")))
        return mp->bans(mod.self, 0, 100, NULL, bans, call);
    if (mp_eq(what, mp_str("close")) || mp_eq(what, mp_str("rule"))) {
        bool close = what.p[0] == 'c';
        struct mp_rule r = {.size = sizeof r,
                            .channel = arg[0],
                            .set_limit = close,
                            .set_closed = close,
                            .limited = true,
                            .limit = 7,
                            .closed = true};
        return mp->rule(mod.self, &r, NULL, rule, call);
    }
    if (mp_eq(what, mp_str("users")) || mp_eq(what, mp_str("channels"))) {
        struct mp_scan s = {
            .size = sizeof s, .channels = what.p[0] == 'c', .prefix = arg[0], .cursor = arg[1], .limit = 2};
        return mp->scan(mod.self, &s, NULL, scanned, call);
    }
    if (mp_eq(what, mp_str("wrong")))
        return wrong((unsigned)last);
    if (mp_eq(what, mp_str("keys")))
        return keys(call, arg[0]);
    return MP_ENOTFOUND;
}

static int start(mp_command_call *call, const struct mp_str *argv, unsigned argc)
{
    const struct mp_api *mp = mod.mp;
    char text[32];
    struct mp_str arg[3] = {mp_str(""), mp_str(""), mp_str("")}, what = argv[0];
    for (unsigned i = 1; i < argc && i < 4; i++)
        arg[i - 1] = argv[i];
    snprintf(text, sizeof text, "%.*s", (int)argv[argc - 1].n, argv[argc - 1].p);
    uint64_t last = strtoull(text, NULL, 10);
    if (mp_eq(what, mp_str("recall"))) {
        struct mp_recall r = {.size = sizeof r, .channel = arg[0], .seq = last};
        return mp->recall(mod.self, &r, NULL, done, call);
    }
    if (mp_eq(what, mp_str("recall2"))) {
        struct mp_recall r = {.size = sizeof r, .users = {arg[0], arg[1]}, .seq = last};
        return mp->recall(mod.self, &r, mp->shard(mod.self, 0), NULL, NULL) == MP_OK ? keys(call, mp_str("{}")) : -99;
    }
    if (mp_eq(what, mp_str("edit"))) {
        struct mp_edit e = {
            .size = sizeof e, .sender = arg[0], .channel = arg[1], .seq = last, .content = mp_str("edited")};
        return mp->edit(mod.self, &e, NULL, edited, call);
    }
    if (mp_eq(what, mp_str("add")))
        return mp->user_add(mod.self, arg[0], arg[1], NULL, done, call);
    if (mp_eq(what, mp_str("token")))
        return mp->user_token(mod.self, arg[0], NULL, token, call);
    if (mp_eq(what, mp_str("delete")))
        return mp->user_delete(mod.self, arg[0], mp_eq(arg[1], mp_str("recall")), NULL, deleted, call);
    if (mp_eq(what, mp_str("remove")))
        return mp->channel_delete(mod.self, arg[0], NULL, deleted, call);
    return start_with(call, what, arg, last);
}

static void run(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    char text[40];
    int rc = start(call, argv, argc);
    (void)ctx;
    if (rc == MP_OK)
        return;
    snprintf(text, sizeof text, "error %d", rc);
    mod.mp->command_fail(call, "bad_request", text);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    const struct mp_command c = {.size = sizeof c,
                                 .name = "mod",
                                 .args = "WHAT …",
                                 .help = "does what an operator may",
                                 .min = 1,
                                 .max = 4,
                                 .changes = true,
                                 .run = run};
    (void)o, (void)state;
    mod.self = self;
    mod.mp = mp;
    return mp->command(self, &c);
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "moderation", .version = "1", .summary = "test: moderation", .init = init};
