/* ask: asks a backend by HTTP before a login, a subscription or a message takes effect. This file: the plugin, its
 * options, and from a hook to a question; asker.c asks. */
#include "asker.h"

#include "plugins/common/http_out.h"

#include <curl/curl.h>
#include <stdlib.h>

struct ask {
    mp_self *self;
    const struct mp_api *mp;
    struct asker *asker;
    mp_current *settings; /* of struct settings */
    uint64_t changes;     /* of the options; main thread */
};

static const char *const about_names[ABOUTS] = {"login", "subscribe", "message"};
static const char *const failures[] = {"closed", "open", NULL};

static const struct mp_option options[] = {
    {.name = "login", .type = MP_OPT_TEXT, .help = "Asked before a login: http://… or https://…."},
    {.name = "subscribe", .type = MP_OPT_TEXT, .help = "Asked before a subscription; absent: it is not asked about."},
    {.name = "message", .type = MP_OPT_TEXT, .help = "Asked before a message, and before an edit."},
    {.name = "secret",
     .type = MP_OPT_TEXT,
     .flags = MP_OPT_F_SECRET,
     .help = "Key of the signature, 16 bytes or more; absent: questions are not signed."},
    {.name = "login_failure",
     .type = MP_OPT_ENUM,
     .choices = failures,
     .fallback = "closed",
     .help = "What a failure means for a login: it is refused, or let in. With auth.mode \"ask\" it is refused."},
    {.name = "subscribe_failure",
     .type = MP_OPT_ENUM,
     .choices = failures,
     .fallback = "closed",
     .help = "What a failure means for a subscription."},
    {.name = "message_failure",
     .type = MP_OPT_ENUM,
     .choices = failures,
     .fallback = "open",
     .help = "What a failure means for a message."},
    {.name = "timeout_ms",
     .type = MP_OPT_MS,
     .min = 50,
     .max = 60000,
     .fallback = "2000",
     .help = "How long an answer may take, waiting for a connection included."},
    {.name = "cache",
     .type = MP_OPT_SECONDS,
     .max = 31536000,
     .fallback = "0",
     .help = "How long answers are good that do not say so themselves; 0: for the one question."},
    {.name = "cache_size",
     .type = MP_OPT_SIZE,
     .max = 1073741824,
     .fallback = "16777216",
     .help = "Bytes of answers that are kept; beyond that those that were used longest ago go."},
    {.name = "connections",
     .type = MP_OPT_COUNT,
     .min = 1,
     .max = 1000,
     .fallback = "16",
     .help = "Questions under way at a time."},
    {.name = "queue",
     .type = MP_OPT_COUNT,
     .min = 1,
     .max = 1000000,
     .fallback = "10000",
     .help = "Clients that may wait for an answer; for any further one it is a failure."},
};

/* --- From a hook to a question ------------------------------------------------------------------------------------ */

static void put(const struct mp_api *mp, mp_out *o, const char *key, struct mp_str value)
{
    if (!value.n)
        return;
    mp->out_printf(o, ",\"%s\":", key);
    mp->out_json(o, value);
}

static void put_user(const struct mp_api *mp, mp_out *o, const struct mp_event *e)
{
    if (!e->user.n)
        return;
    mp->out_put(o, mp_str(",\"user\":{\"id\":"));
    mp->out_json(o, e->user);
    put(mp, o, "name", e->user_name);
    if (e->claims.n) {
        mp->out_put(o, mp_str(",\"claims\":"));
        mp->out_put(o, e->claims);
    }
    mp->out_put(o, mp_str("}"));
}

/* Nothing in it differs when the same is asked again, so that answers can be shared and kept. */
static void put_event(const struct mp_api *mp, mp_out *o, const struct mp_event *e)
{
    put_user(mp, o, e);
    if (e->kind == MP_ON_LOGIN && !e->user.n)
        put(mp, o, "name", e->user_name);
    put(mp, o, "device", e->device);
    put(mp, o, "ip", e->ip);
    if (e->kind == MP_ON_LOGIN)
        put(mp, o, "transport", mp_str(e->websocket ? "websocket" : "tcp"));
    put(mp, o, "channel", e->channel);
    put(mp, o, "peer", e->peer);
    put(mp, o, "content", e->content);
    if (e->edit)
        mp->out_printf(o, ",\"edit\":true,\"seq\":%llu", (unsigned long long)e->seq);
}

static enum mp_verdict say(struct ask *k, struct mp_event *e, const struct answer *a)
{
    if (a->verdict == MP_REJECT)
        return k->mp->reject(e, a->code, a->message[0] ? a->message : NULL, a->retry_after_ms);
    if (a->verdict == MP_PASS && a->content_n && e->kind == MP_ON_MESSAGE &&
        k->mp->set_content(e, mp_str_of(a->content, a->content_n)) != MP_OK)
        return k->mp->reject(e, MP_CODE_INTERNAL, "the content that took its place is not one", 0);
    return a->verdict;
}

static enum mp_verdict fail(struct ask *k, struct mp_event *e, const struct settings *o, enum about about)
{
    if (o->open[about])
        return MP_PASS;
    return k->mp->reject(e, MP_CODE_UNAVAILABLE, "the server cannot ask its backend now; try again", 0);
}

/* Asks, or knows already. */
static enum mp_verdict decide(struct ask *k, struct mp_event *e, const struct settings *o, enum about about,
                              struct mp_str body)
{
    unsigned char key[KEY_SIZE];
    asker_key(key, o, about, body);
    struct answer *a = asker_kept(k->asker, key);
    if (a) {
        enum mp_verdict verdict = say(k, e, a);
        answer_unref(a);
        return verdict;
    }
    mp_held *held = body.p ? k->mp->current_hold(k->settings, e->shard) : NULL;
    struct waiter *w = held ? calloc(1, sizeof *w) : NULL;
    enum mp_verdict verdict = w ? k->mp->later(e, &w->ticket) : MP_PASS;
    if (verdict == MP_WAIT) {
        asker_ask(k->asker, held, about, key, body, w);
        return verdict;
    }
    free(w);
    if (held)
        k->mp->held_release(held);
    return fail(k, e, o, about);
}

static enum mp_verdict on_event(struct mp_event *e, void *ctx)
{
    struct ask *k = ctx;
    const struct settings *o = k->mp->current_get(k->settings, e->shard);
    enum about about = e->kind == MP_ON_LOGIN       ? ABOUT_LOGIN
                       : e->kind == MP_ON_SUBSCRIBE ? ABOUT_SUBSCRIBE
                                                    : ABOUT_MESSAGE;
    /* Where nobody may wait, nobody may refuse either: the server acts, or what was asked about long ago comes back. */
    if (!o->url[about] || !e->may_wait || (about == ABOUT_LOGIN && o->provides))
        return MP_PASS;
    mp_out *out = k->mp->out_new(k->self);
    k->mp->out_printf(out, "{\"event\":\"%s\"", about_names[about]);
    put_event(k->mp, out, e);
    k->mp->out_put(out, mp_str("}"));
    enum mp_verdict verdict = decide(k, e, o, about, k->mp->out_str(out));
    k->mp->out_free(out);
    return verdict;
}

/* --- auth.mode "ask" ---------------------------------------------------------------------------------------------- */

static enum mp_when refuse(struct mp_auth_answer *a, const char *why)
{
    a->code = MP_CODE_UNAVAILABLE;
    snprintf(a->message, sizeof a->message, "%s", why);
    return MP_NOW;
}

static mp_out *login_body(struct ask *k, const struct mp_login *l)
{
    const struct mp_api *mp = k->mp;
    mp_out *o = mp->out_new(k->self);
    mp->out_put(o, mp_str("{\"event\":\"login\""));
    put(mp, o, "token", l->token);
    put(mp, o, "name", l->name);
    put(mp, o, "device", l->device);
    put(mp, o, "ip", l->ip);
    put(mp, o, "transport", mp_str(l->websocket ? "websocket" : "tcp"));
    mp->out_put(o, mp_str("}"));
    return o;
}

/* Who it is, from an answer that was kept: as asker.c has it for one that comes. */
static enum mp_when provide(struct ask *k, const struct mp_login *l, struct mp_auth_answer *answer, struct mp_str body)
{
    unsigned char key[KEY_SIZE];
    mp_held *held = body.p ? k->mp->current_hold(k->settings, l->shard) : NULL;
    struct waiter *w = held ? calloc(1, sizeof *w) : NULL;
    if (!w) {
        if (held)
            k->mp->held_release(held);
        return refuse(answer, "out of memory");
    }
    asker_key(key, k->mp->held_value(held), ABOUT_LOGIN, body);
    struct answer *a = asker_kept(k->asker, key);
    if (a) {
        asker_fill(answer, a);
        answer_unref(a);
        k->mp->held_release(held);
        free(w);
        return MP_NOW;
    }
    w->ticket = l->ticket;
    w->provider = true;
    asker_ask(k->asker, held, ABOUT_LOGIN, key, body, w);
    return MP_LATER;
}

static enum mp_when on_login(const struct mp_login *l, struct mp_auth_answer *answer, void *ctx)
{
    struct ask *k = ctx;
    const struct settings *o = k->mp->current_get(k->settings, l->shard);
    if (!o->url[ABOUT_LOGIN])
        return refuse(answer, "the plugin ask has no URL for logins");
    mp_out *out = login_body(k, l);
    enum mp_when when = provide(k, l, answer, k->mp->out_str(out));
    k->mp->out_free(out);
    return when;
}

/* --- Options ------------------------------------------------------------------------------------------------------ */

static void settings_free(void *value)
{
    struct settings *o = value;
    if (o && o->secret)
        explicit_bzero(o->secret, strlen(o->secret));
    for (unsigned i = 0; o && i < ABOUTS; i++)
        free(o->url[i]);
    if (o)
        free(o->secret);
    free(o);
}

static char *copy_of(const char *text, bool *ok)
{
    char *copy = text ? strdup(text) : NULL;
    *ok = *ok && (!text || copy);
    return copy;
}

/* NULL: out of memory. */
static struct settings *settings_new(struct ask *k, const mp_options *given)
{
    const struct mp_api *mp = k->mp;
    struct settings *o = calloc(1, sizeof *o);
    char name[32], mode[32] = "";
    bool ok = o != NULL;
    if (!ok)
        return NULL;
    for (unsigned i = 0; i < ABOUTS; i++) {
        snprintf(name, sizeof name, "%s_failure", about_names[i]);
        o->url[i] = copy_of(mp->option_text(given, about_names[i]), &ok);
        o->open[i] = strcmp(mp->option_text(given, name), "open") == 0;
    }
    o->secret = copy_of(mp->option_text(given, "secret"), &ok);
    o->timeout_ms = (uint32_t)mp->option_number(given, "timeout_ms");
    o->cache_ms = (int64_t)(mp->option_number(given, "cache") * 1000);
    o->cache_bytes = (size_t)mp->option_number(given, "cache_size");
    o->connections = (uint32_t)mp->option_number(given, "connections");
    o->waiting_max = (uint32_t)mp->option_number(given, "queue");
    o->provides = mp->config(k->self, "auth.mode", mode, sizeof mode) > 0 && strcmp(mode, "ask") == 0;
    o->number = ++k->changes;
    if (ok)
        return o;
    settings_free(o);
    return NULL;
}

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    const char *secret = mp->option_text(o, "secret");
    struct ask *k = state;
    bool any = false;
    for (unsigned i = 0; i < ABOUTS; i++) {
        const char *url = mp->option_text(o, about_names[i]);
        any = any || url;
        if (!url || url_good(url))
            continue;
        snprintf(why, why_size, "%s: expected http://… or https://…", about_names[i]);
        return MP_EINVALID;
    }
    if (!any || (secret && strlen(secret) < SECRET_MIN)) {
        snprintf(why, why_size,
                 any ? "secret: expected 16 bytes or more"
                     : "nothing is asked about: give login, subscribe or message");
        return MP_EINVALID;
    }
    if (!k)
        return MP_OK;
    struct settings *c = settings_new(k, o);
    snprintf(why, why_size, "out of memory");
    return c ? mp->current_prepare(k->settings, c) : MP_ENOMEM;
}

static void commit(struct ask *k)
{
    k->mp->current_commit(k->settings);
    const struct settings *o = k->mp->current_get(k->settings, k->mp->main_thread(k->self));
    asker_limit_cache(k->asker, o->cache_bytes);
}

static void apply(void *state, const mp_options *o)
{
    (void)o;
    commit(state); /* what check() prepared */
}

/* --- The console and the figures ---------------------------------------------------------------------------------- */

static void run_status(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    struct ask *k = ctx;
    struct asker_stats s;
    mp_out *o = k->mp->command_out(call);
    (void)argv, (void)argc;
    asker_get_stats(k->asker, &s);
    k->mp->out_printf(o,
                      "{\"asked\":%llu,\"answered\":%llu,\"failed\":%llu,\"cached\":%llu,\"shared\":%llu,"
                      "\"waiting\":%u,\"kept\":%zu,\"average_ms\":%.1f,\"error\":",
                      (unsigned long long)s.asked, (unsigned long long)s.answered, (unsigned long long)s.failed,
                      (unsigned long long)s.cached, (unsigned long long)s.shared, s.waiting, s.kept,
                      s.answered ? s.latency_s * 1000 / (double)s.answered : 0.0);
    k->mp->out_json(o, mp_str(s.error));
    k->mp->out_put(o, mp_str("}"));
    k->mp->command_done(call);
}

static void run_flush(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    struct ask *k = ctx;
    (void)argv, (void)argc;
    asker_flush(k->asker);
    k->mp->command_done(call);
}

#define READER(field)                                                                                                  \
    static double read_##field(void *ctx)                                                                              \
    {                                                                                                                  \
        struct asker_stats s;                                                                                          \
        asker_get_stats(((struct ask *)ctx)->asker, &s);                                                               \
        return (double)s.field;                                                                                        \
    }
READER(asked)
READER(answered)
READER(failed)
READER(cached)
READER(shared)
READER(latency_s)
READER(waiting)

static int register_all(struct ask *k)
{
    /* After limits, filters and scripts: what they refuse is not asked about. Before those who only listen. */
    static const enum mp_event_kind events[] = {MP_ON_LOGIN, MP_ON_SUBSCRIBE, MP_ON_MESSAGE};
    const struct mp_metric metrics[] = {
        {sizeof metrics[0], "magpie_ask_asked_total", "Questions to the backend.", MP_COUNTER, read_asked, k},
        {sizeof metrics[0], "magpie_ask_answered_total", "Questions that it answered.", MP_COUNTER, read_answered, k},
        {sizeof metrics[0], "magpie_ask_failed_total", "Questions without a good answer.", MP_COUNTER, read_failed, k},
        {sizeof metrics[0], "magpie_ask_cached_total", "Answers that were known.", MP_COUNTER, read_cached, k},
        {sizeof metrics[0], "magpie_ask_shared_total", "Askers who joined a question under way.", MP_COUNTER,
         read_shared, k},
        {sizeof metrics[0], "magpie_ask_latency_seconds_total", "Time that the answered ones took, together.",
         MP_COUNTER, read_latency_s, k},
        {sizeof metrics[0], "magpie_ask_waiting", "Clients that wait for an answer.", MP_GAUGE, read_waiting, k},
    };
    const struct mp_command commands[] = {
        {.size = sizeof commands[0],
         .name = "ask status",
         .help = "how the backend answers",
         .run = run_status,
         .ctx = k},
        {.size = sizeof commands[0],
         .name = "ask flush",
         .help = "forgets the answers that are kept",
         .changes = true,
         .run = run_flush,
         .ctx = k},
    };
    int rc = MP_OK;
    for (unsigned i = 0; rc >= 0 && i < sizeof metrics / sizeof metrics[0]; i++)
        rc = k->mp->metric(k->self, &metrics[i]);
    for (unsigned i = 0; rc >= 0 && i < sizeof commands / sizeof commands[0]; i++)
        rc = k->mp->command(k->self, &commands[i]);
    for (unsigned i = 0; rc >= 0 && i < sizeof events / sizeof events[0]; i++) {
        const struct mp_hook h = {.size = sizeof h, .event = events[i], .priority = -1500, .fn = on_event, .ctx = k};
        rc = k->mp->hook(k->self, &h);
    }
    return rc < 0 ? rc : k->mp->auth(k->self, on_login, k);
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static void fini(void *state)
{
    struct ask *k = state;
    if (k->asker)
        asker_stop(k->asker);
    free(k);
}

static int start(struct ask *k, const mp_options *o, char *why, size_t why_size)
{
    snprintf(why, why_size, "out of memory");
    k->settings = k->mp->current_new(k->self, settings_free);
    struct settings *c = k->settings ? settings_new(k, o) : NULL;
    if (!c || k->mp->current_prepare(k->settings, c) != MP_OK || curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return MP_ENOMEM;
    k->asker = asker_start(k->self, k->mp, why, why_size);
    if (!k->asker)
        return MP_EIO;
    commit(k);
    snprintf(why, why_size, "login: auth.mode is \"ask\", which needs its URL");
    const struct settings *now = k->mp->current_get(k->settings, k->mp->main_thread(k->self));
    return now->provides && !now->url[ABOUT_LOGIN] ? MP_EINVALID : MP_OK;
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    char why[300];
    struct ask *k = calloc(1, sizeof *k);
    if (!k)
        return MP_ENOMEM;
    k->self = self;
    k->mp = mp;
    int rc = start(k, o, why, sizeof why);
    if (rc == MP_OK) {
        rc = register_all(k);
    } else {
        struct mp_field f = mp_field_text("error", mp_str(why));
        mp->log(self, MP_ERROR, "failed", &f, 1);
    }
    if (rc != MP_OK) {
        fini(k);
        return rc;
    }
    *state = k;
    return MP_OK;
}

MP_PLUGIN = {MP_PLUGIN_HEAD,
             MP_OPTIONS(options),
             .name = "ask",
             .version = "1.0",
             .summary = "Asks a backend before logins, subscriptions and messages",
             .auth_mode = "ask",
             .check = check,
             .init = init,
             .apply = apply,
             .fini = fini};
