/* ABI area: hooks and verdicts. What a message says, happens to it; `hooks seen` tells how often each event was
 * seen. */
#include "plugins/magpie_plugin.h"

#include <pthread.h>
#include <stdatomic.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
    _Atomic unsigned seen[MP_EVENTS];
    pthread_mutex_t lock;
    char claims[MP_EVENTS][200]; /* of the last event of each kind; under lock */
    char missed[400];            /* the last offline event: sender, conversation, receivers; under lock */
} hooks = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const names[MP_EVENTS] = {"connect",   "login",    "subscribe", "unsubscribe",  "create",
                                             "history",   "presence", "message",   "conversation", "delivered",
                                             "logged_in", "close",    "offline",   "edit",         "recall",
                                             "edited",    "recalled", "member",    "user"};

static bool says(struct mp_str s, const char *text)
{
    return mp_eq(s, mp_str(text));
}

/* Under lock. */
static void note_missed(const struct mp_event *e)
{
    struct mp_str of = e->channel.n ? e->channel : e->peer;
    int n = snprintf(hooks.missed, sizeof hooks.missed, "%.*s %.*s %.*s:", (int)e->user.n, e->user.p, (int)of.n, of.p,
                     (int)e->content.n, e->content.p);
    for (uint32_t i = 0; i < e->receiver_count && n > 0 && (size_t)n < sizeof hooks.missed; i++)
        n += snprintf(hooks.missed + n, sizeof hooks.missed - (size_t)n, " %.*s", (int)e->receivers[i].n,
                      e->receivers[i].p);
}

static enum mp_verdict on_event(struct mp_event *e, void *ctx)
{
    const struct mp_api *mp = hooks.mp;
    (void)ctx;
    atomic_fetch_add(&hooks.seen[e->kind], 1);
    pthread_mutex_lock(&hooks.lock);
    snprintf(hooks.claims[e->kind], sizeof hooks.claims[0], "%.*s", (int)e->claims.n, e->claims.p ? e->claims.p : "");
    if (e->kind == MP_ON_OFFLINE)
        note_missed(e);
    pthread_mutex_unlock(&hooks.lock);
    switch (e->kind) {
    case MP_ON_LOGIN:
        return says(e->user_name, "Mallory") ? mp->reject(e, MP_CODE_FORBIDDEN, "not Mallory", 0) : MP_PASS;
    case MP_ON_MESSAGE:
        if (says(e->content, "replace"))
            return mp->set_content(e, mp_str("replaced")) == MP_OK ? MP_PASS : MP_DROP;
        if (says(e->content, "empty")) /* not allowed: goes on as it was */
            return mp->set_content(e, mp_str("")) == MP_EINVALID ? MP_PASS : MP_DROP;
        if (says(e->content, "reject"))
            return mp->reject(e, MP_CODE_RATE_LIMITED, "slowly", 1234);
        if (says(e->content, "silent"))
            return mp->reject(e, MP_CODE_OK, NULL, 0); /* no code, no text: still a refusal */
        return says(e->content, "drop") ? MP_DROP : MP_PASS;
    case MP_ON_CONVERSATION:
        if (says(e->content, "large")) {
            struct mp_advice a = {.size = sizeof a, .has_tier = true, .tier = MP_TIER_LARGE};
            mp->advise(e, &a);
        }
        return says(e->content, "replaced") && says(e->channel, "closed")
                   ? mp->reject(e, MP_CODE_FORBIDDEN, "closed", 0)
                   : MP_PASS;
    case MP_ON_CREATE:
        return says(e->channel, "never") ? mp->reject(e, MP_CODE_FORBIDDEN, "never", 0) : MP_PASS;
    case MP_ON_HISTORY:
        return says(e->channel, "secret") ? mp->reject(e, MP_CODE_FORBIDDEN, "secret", 0) : MP_PASS;
    case MP_ON_EDIT:
        if (says(e->content, "improve"))
            return mp->set_content(e, mp_str("improved")) == MP_OK ? MP_PASS : MP_DROP;
        return says(e->content, "never edit") ? mp->reject(e, MP_CODE_FORBIDDEN, "never", 0) : MP_PASS;
    case MP_ON_RECALL:
        return says(e->channel, "kept") ? mp->reject(e, MP_CODE_FORBIDDEN, "kept", 0) : MP_PASS;
    default:
        return MP_PASS;
    }
}

static void seen(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    mp_out *o = hooks.mp->command_out(call);
    (void)argv, (void)argc, (void)ctx;
    for (int i = 0; i < MP_EVENTS; i++)
        hooks.mp->out_printf(o, "%s\"%s\":%u", i ? "," : "{", names[i], atomic_load(&hooks.seen[i]));
    hooks.mp->out_put(o, mp_str("}"));
    hooks.mp->command_done(call);
}

static void claims(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    mp_out *o = hooks.mp->command_out(call);
    (void)argv, (void)argc, (void)ctx;
    pthread_mutex_lock(&hooks.lock);
    for (int i = 0; i < MP_EVENTS; i++) {
        hooks.mp->out_printf(o, "%s\"%s\":", i ? "," : "{", names[i]);
        hooks.mp->out_json(o, mp_str(hooks.claims[i]));
    }
    pthread_mutex_unlock(&hooks.lock);
    hooks.mp->out_put(o, mp_str("}"));
    hooks.mp->command_done(call);
}

static void missed(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)argv, (void)argc, (void)ctx;
    pthread_mutex_lock(&hooks.lock);
    hooks.mp->out_json(hooks.mp->command_out(call), mp_str(hooks.missed));
    pthread_mutex_unlock(&hooks.lock);
    hooks.mp->command_done(call);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct mp_command c = {
        .size = sizeof c, .name = "hooks seen", .help = "how often each event was seen", .run = seen};
    struct mp_command l = {
        .size = sizeof l, .name = "hooks claims", .help = "the claims of the last event of each kind", .run = claims};
    int rc = mp->command(self, &c);
    struct mp_command m = {.size = sizeof m, .name = "hooks missed", .help = "the last offline event", .run = missed};
    rc = rc == MP_OK ? mp->command(self, &l) : rc;
    rc = rc == MP_OK ? mp->command(self, &m) : rc;
    (void)o, (void)state;
    hooks.self = self;
    hooks.mp = mp;
    for (int i = 0; i < MP_EVENTS && rc == MP_OK; i++) {
        atomic_store(&hooks.seen[i], 0);
        struct mp_hook h = {.size = sizeof h, .event = (enum mp_event_kind)i, .priority = 10, .fn = on_event};
        rc = mp->hook(self, &h);
    }
    return rc;
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "hooks", .version = "1", .summary = "test: hooks", .init = init};
