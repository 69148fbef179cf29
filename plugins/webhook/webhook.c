/* webhook: tells a URL of logins, messages and channel events. This file: the plugin, its options, and from a hook to
 * an event; sender.c delivers. */
#include "plugins/common/http_out.h"
#include "sender.h"

#include <curl/curl.h>
#include <stdlib.h>

enum kind {
    KIND_LOGIN,
    KIND_LOGOUT,
    KIND_MESSAGE,
    KIND_CHANNEL,
    KIND_OFFLINE,
    KIND_EDIT,
    KIND_RECALL,
    KIND_MEMBER,
    KIND_USER,
    KINDS
};
/* As the option `events` has them. */
static const char *const kind_names[KINDS + 1] = {"login", "logout", "message", "channel", "offline",
                                                  "edit",  "recall", "member",  "user",    NULL};

struct webhook {
    mp_self *self;
    const struct mp_api *mp;
    struct sender *sender;
    mp_current *settings; /* of struct settings; `kinds`: bits 1 << enum kind */
};

static const struct mp_option options[] = {
    {.name = "url",
     .type = MP_OPT_TEXT,
     .flags = MP_OPT_F_REQUIRED,
     .help = "Where events are posted: http://… or https://…."},
    {.name = "secret",
     .type = MP_OPT_TEXT,
     .flags = MP_OPT_F_SECRET,
     .help = "Key of the signature, 16 bytes or more; absent: events are not signed."},
    {.name = "events", .type = MP_OPT_TEXTS, .choices = kind_names, .help = "Which are told; absent: all."},
    {.name = "content", .type = MP_OPT_BOOL, .fallback = "true", .help = "Messages with their text."},
    {.name = "backlog",
     .type = MP_OPT_SIZE,
     .min = 4194304,
     .max = 1099511627776,
     .fallback = "268435456",
     .help = "Bytes of events kept on disk while the receiver cannot be reached; beyond that the oldest go."},
    {.name = "batch",
     .type = MP_OPT_SIZE,
     .min = 4096,
     .max = 16777216,
     .fallback = "262144",
     .help = "Bytes of events in one POST."},
    {.name = "timeout_ms",
     .type = MP_OPT_MS,
     .min = 100,
     .max = 120000,
     .fallback = "10000",
     .help = "How long a POST may take."},
};

/* --- From a hook to an event -------------------------------------------------------------------------------------- */

static void put(const struct mp_api *mp, mp_out *o, const char *key, struct mp_str value)
{
    mp->out_printf(o, ",\"%s\":", key);
    mp->out_json(o, value);
}

static void put_user(const struct mp_api *mp, mp_out *o, const struct mp_event *e)
{
    mp->out_put(o, mp_str(",\"user\":{\"id\":"));
    mp->out_json(o, e->user);
    if (e->user_name.n)
        put(mp, o, "name", e->user_name);
    mp->out_put(o, mp_str("}"));
}

static void put_message(struct webhook *w, mp_out *o, const struct mp_event *e, bool content)
{
    char id[20];
    w->mp->out_printf(o, ",\"message\":{\"id\":\"%s\",\"seq\":%llu", mp_id_text(e->id, id), (unsigned long long)e->seq);
    if (e->created_ms)
        w->mp->out_printf(o, ",\"createdAt\":%llu", (unsigned long long)e->created_ms);
    if (e->edited_ms)
        w->mp->out_printf(o, ",\"editedAt\":%llu", (unsigned long long)e->edited_ms);
    if (content && e->kind != MP_ON_RECALLED)
        put(w->mp, o, "content", e->content);
    w->mp->out_put(o, mp_str("}"));
}

static void put_receivers(const struct mp_api *mp, mp_out *o, const struct mp_event *e)
{
    mp->out_put(o, mp_str(",\"offline\":["));
    for (uint32_t i = 0; i < e->receiver_count; i++) {
        mp->out_put(o, mp_str(i ? "," : ""));
        mp->out_json(o, e->receivers[i]);
    }
    mp->out_put(o, mp_str("]"));
}

static void tell(struct webhook *w, enum kind kind, const char *type, const struct mp_event *e)
{
    const struct mp_api *mp = w->mp;
    const struct settings *settings = mp->current_get(w->settings, e->shard);
    if (!(settings->kinds & 1u << kind))
        return;
    mp_out *o = mp->out_new(w->self);
    if (!o) {
        (void)sender_put(w->sender, mp_str_of(NULL, 0)); /* counted as lost */
        return;
    }
    mp->out_printf(o, "\"type\":\"%s\",\"time\":%llu", type, (unsigned long long)mp->wall_ms());
    if (e->user.n)
        put_user(mp, o, e);
    if (e->channel.n)
        put(mp, o, "channel", e->channel);
    if (e->pair[0].n) {
        mp->out_put(o, mp_str(",\"pair\":["));
        mp->out_json(o, e->pair[0]);
        mp->out_put(o, mp_str(","));
        mp->out_json(o, e->pair[1]);
        mp->out_put(o, mp_str("]"));
    } else if (e->peer.n) {
        put(mp, o, "peer", e->peer);
    }
    if (e->device.n)
        put(mp, o, "device", e->device);
    if (e->ip.n)
        put(mp, o, "ip", e->ip);
    if (e->kind == MP_ON_CLOSE && e->reason.n)
        put(mp, o, "reason", e->reason);
    if (e->kind == MP_ON_MEMBER)
        mp->out_printf(o, ",\"members\":%u", e->members);
    if (e->seq)
        put_message(w, o, e, settings->content);
    if (e->kind == MP_ON_OFFLINE)
        put_receivers(mp, o, e);
    (void)sender_put(w->sender, mp->out_str(o));
    mp->out_free(o);
}

/* "member.joined": the event, and how. */
static void tell_how(struct webhook *w, enum kind kind, const char *what, const struct mp_event *e)
{
    char type[40];
    snprintf(type, sizeof type, "%s.%.*s", what, (int)e->reason.n, e->reason.p);
    tell(w, kind, type, e);
}

static enum mp_verdict on_event(struct mp_event *e, void *ctx)
{
    struct webhook *w = ctx;
    switch (e->kind) {
    case MP_ON_LOGGED_IN:
        tell(w, KIND_LOGIN, "login", e);
        break;
    case MP_ON_CLOSE:
        if (e->user.n)
            tell(w, KIND_LOGOUT, "logout", e);
        break;
    case MP_ON_DELIVERED:
        tell(w, KIND_MESSAGE, "message", e);
        break;
    case MP_ON_CREATE:
        tell(w, KIND_CHANNEL, "channel.create", e);
        break;
    case MP_ON_SUBSCRIBE:
        if (!e->restored)
            tell(w, KIND_CHANNEL, "channel.subscribe", e);
        break;
    case MP_ON_UNSUBSCRIBE:
        tell(w, KIND_CHANNEL, "channel.unsubscribe", e);
        break;
    case MP_ON_OFFLINE:
        tell(w, KIND_OFFLINE, "message.offline", e);
        break;
    case MP_ON_EDITED:
        tell(w, KIND_EDIT, "message.edit", e);
        break;
    case MP_ON_RECALLED:
        tell(w, KIND_RECALL, "message.recall", e);
        break;
    case MP_ON_MEMBER:
        tell_how(w, KIND_MEMBER, "member", e);
        break;
    case MP_ON_USER:
        tell_how(w, KIND_USER, "user", e);
        break;
    default:
        break;
    }
    return MP_PASS;
}

/* --- Options ------------------------------------------------------------------------------------------------------ */

static unsigned read_kinds(const struct mp_api *mp, const mp_options *o)
{
    const char *text;
    unsigned kinds = 0, i;
    for (i = 0; (text = mp->option_item(o, "events", i)); i++)
        for (unsigned k = 0; k < KINDS; k++)
            if (strcmp(text, kind_names[k]) == 0)
                kinds |= 1u << k;
    return i ? kinds : (1u << KINDS) - 1;
}

static void settings_free(void *value)
{
    struct settings *c = value;
    if (c && c->secret)
        explicit_bzero(c->secret, strlen(c->secret));
    if (c) {
        free(c->url);
        free(c->secret);
    }
    free(c);
}

/* NULL: out of memory. */
static struct settings *settings_new(const struct mp_api *mp, const mp_options *o)
{
    const char *secret = mp->option_text(o, "secret");
    struct settings *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    *c = (struct settings){.url = strdup(mp->option_text(o, "url")),
                           .secret = secret ? strdup(secret) : NULL,
                           .backlog_max = (uint64_t)mp->option_number(o, "backlog"),
                           .batch_max = (uint32_t)mp->option_number(o, "batch"),
                           .timeout_ms = (uint32_t)mp->option_number(o, "timeout_ms"),
                           .kinds = read_kinds(mp, o),
                           .content = mp->option_bool(o, "content")};
    if (c->url && (c->secret || !secret))
        return c;
    settings_free(c);
    return NULL;
}

static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    const char *secret = mp->option_text(o, "secret");
    struct webhook *w = state;
    if (!url_good(mp->option_text(o, "url"))) {
        snprintf(why, why_size, "url: expected http://… or https://…");
        return MP_EINVALID;
    }
    if (secret && strlen(secret) < SECRET_MIN) {
        snprintf(why, why_size, "secret: expected 16 bytes or more");
        return MP_EINVALID;
    }
    if (!w)
        return MP_OK;
    struct settings *c = settings_new(mp, o);
    snprintf(why, why_size, "out of memory");
    return c ? mp->current_prepare(w->settings, c) : MP_ENOMEM;
}

static void apply(void *state, const mp_options *o)
{
    struct webhook *w = state;
    (void)o;
    w->mp->current_commit(w->settings); /* what check() prepared */
    sender_configure(w->sender, w->mp->current_hold(w->settings, w->mp->main_thread(w->self)));
}

/* --- The console and the figures ---------------------------------------------------------------------------------- */

static void run_status(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    struct webhook *w = ctx;
    struct sender_stats s;
    mp_out *o = w->mp->command_out(call);
    uint64_t now = w->mp->mono_ms();
    (void)argv, (void)argc;
    sender_get_stats(w->sender, &s);
    w->mp->out_printf(
        o,
        "{\"accepted\":%llu,\"delivered\":%llu,\"lost\":%llu,\"failures\":%llu,\"backlog\":%llu,\"status\":%ld,"
        "\"retry_ms\":%llu,\"error\":",
        (unsigned long long)s.accepted, (unsigned long long)s.delivered, (unsigned long long)s.lost,
        (unsigned long long)s.failures, (unsigned long long)s.backlog, s.status,
        (unsigned long long)(s.retry_at_ms > now ? s.retry_at_ms - now : 0));
    w->mp->out_json(o, mp_str(s.error));
    w->mp->out_put(o, mp_str("}"));
    w->mp->command_done(call);
}

static void run_retry(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    struct webhook *w = ctx;
    (void)argv, (void)argc;
    sender_kick(w->sender);
    w->mp->command_done(call);
}

#define READER(field)                                                                                                  \
    static double read_##field(void *ctx)                                                                              \
    {                                                                                                                  \
        struct sender_stats s;                                                                                         \
        sender_get_stats(((struct webhook *)ctx)->sender, &s);                                                         \
        return (double)s.field;                                                                                        \
    }
READER(accepted)
READER(delivered)
READER(lost)
READER(failures)
READER(backlog)

static int register_all(struct webhook *w)
{
    static const enum mp_event_kind events[] = {MP_ON_LOGGED_IN, MP_ON_CLOSE,       MP_ON_DELIVERED, MP_ON_CREATE,
                                                MP_ON_SUBSCRIBE, MP_ON_UNSUBSCRIBE, MP_ON_OFFLINE,   MP_ON_EDITED,
                                                MP_ON_RECALLED,  MP_ON_MEMBER,      MP_ON_USER};
    const struct mp_metric metrics[] = {
        {sizeof metrics[0], "magpie_webhook_events_total", "Events to be told.", MP_COUNTER, read_accepted, w},
        {sizeof metrics[0], "magpie_webhook_delivered_total", "Events that the receiver took.", MP_COUNTER,
         read_delivered, w},
        {sizeof metrics[0], "magpie_webhook_lost_total", "Events thrown away, since too many waited.", MP_COUNTER,
         read_lost, w},
        {sizeof metrics[0], "magpie_webhook_failures_total", "Attempts that failed.", MP_COUNTER, read_failures, w},
        {sizeof metrics[0], "magpie_webhook_backlog_bytes", "Events on disk that wait.", MP_GAUGE, read_backlog, w},
    };
    const struct mp_command commands[] = {
        {.size = sizeof commands[0],
         .name = "webhook status",
         .help = "how the delivery of events goes",
         .run = run_status,
         .ctx = w},
        {.size = sizeof commands[0],
         .name = "webhook retry",
         .help = "tries again now",
         .changes = true,
         .run = run_retry,
         .ctx = w},
    };
    int rc = MP_OK;
    for (unsigned i = 0; rc >= 0 && i < sizeof metrics / sizeof metrics[0]; i++)
        rc = w->mp->metric(w->self, &metrics[i]);
    for (unsigned i = 0; rc >= 0 && i < sizeof commands / sizeof commands[0]; i++)
        rc = w->mp->command(w->self, &commands[i]);
    for (unsigned i = 0; rc >= 0 && i < sizeof events / sizeof events[0]; i++) {
        /* Last of all: what others refuse did not happen. */
        const struct mp_hook h = {.size = sizeof h, .event = events[i], .priority = -2000, .fn = on_event, .ctx = w};
        rc = w->mp->hook(w->self, &h);
    }
    return rc < 0 ? rc : MP_OK;
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static void fini(void *state)
{
    struct webhook *w = state;
    if (w->sender)
        sender_stop(w->sender);
    free(w);
}

static int start_sender(struct webhook *w, const mp_options *o, char *why, size_t why_size)
{
    const struct mp_api *mp = w->mp;
    char directory[4096];
    snprintf(why, why_size, "out of memory");
    w->settings = mp->current_new(w->self, settings_free);
    struct settings *c = w->settings ? settings_new(mp, o) : NULL;
    if (!c || mp->current_prepare(w->settings, c) != MP_OK)
        return MP_ENOMEM;
    mp->current_commit(w->settings);
    snprintf(why, why_size, "the data directory cannot be made");
    if (mp->data_dir(w->self, directory, sizeof directory) < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return MP_EIO;
    mp_held *held = mp->current_hold(w->settings, mp->main_thread(w->self));
    w->sender = sender_start(w->self, mp, directory, held, why, why_size);
    return w->sender ? MP_OK : MP_EIO;
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    char why[300];
    struct webhook *w = calloc(1, sizeof *w);
    if (!w)
        return MP_ENOMEM;
    w->self = self;
    w->mp = mp;
    int rc = start_sender(w, o, why, sizeof why);
    if (rc != MP_OK) {
        struct mp_field f = mp_field_text("error", mp_str(why));
        mp->log(self, MP_ERROR, "failed", &f, 1);
    } else {
        rc = register_all(w);
    }
    if (rc != MP_OK) {
        fini(w);
        return rc;
    }
    *state = w;
    return MP_OK;
}

MP_PLUGIN = {MP_PLUGIN_HEAD,
             MP_OPTIONS(options),
             .name = "webhook",
             .version = "1.1",
             .summary = "Tells a URL of logins, messages, members and users",
             .check = check,
             .init = init,
             .apply = apply,
             .fini = fini};
