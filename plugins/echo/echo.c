/*
 * echo: a WebSocket path that sends every message back as it came. For conformance suites, and the plugin to read
 * first: one option, one claimed path, one counter.
 */
#include "magpie_plugin.h" /* alone, as in a plugin outside these sources */

#include <stdlib.h>

struct echo {
    mp_self *self;           /* first argument of the server's functions */
    const struct mp_api *mp; /* the server's functions */
    int messages, bytes;     /* numbers of our metrics */
};

static const struct mp_option options[] = {
    {.name = "path",
     .type = MP_OPT_TEXT,
     .min = 1,
     .fallback = "/echo",
     .flags = MP_OPT_F_RESTART,
     .help = "The path to claim."},
    {.name = "message_max",
     .type = MP_OPT_SIZE,
     .min = 1,
     .max = 16 << 20,
     .fallback = "16777216",
     .flags = MP_OPT_F_RESTART,
     .help = "Bytes of a message; a larger one closes the connection with 1009."},
};

/* On the connection's shard. `data` is borrowed: ws_send() copies it, and what it cannot send closes the connection by
 * itself. */
static void on_message(struct mp_conn conn, bool text, struct mp_str data, mp_thread *shard, void *ctx)
{
    struct echo *e = ctx;
    if (e->mp->ws_send(e->self, conn, text, data) != MP_OK)
        return;
    e->mp->count(e->self, shard, e->messages, 1);
    e->mp->count(e->self, shard, e->bytes, (int64_t)data.n);
}

/* Whether the path can be claimed shows in init(); here only what is wrong whatever else is loaded. */
static int check(const struct mp_api *mp, void *state, const mp_options *o, char *why, size_t why_size)
{
    const char *path = mp->option_text(o, "path");
    (void)state;
    if (path[0] == '/' && !strpbrk(path, " ?#*"))
        return MP_OK;
    snprintf(why, why_size, "path: expected a path that begins with / and has no space, ?, # or *");
    return MP_EINVALID;
}

static int register_all(struct echo *e, const mp_options *o)
{
    const struct mp_api *mp = e->mp;
    struct mp_metric messages = {.size = sizeof messages,
                                 .name = "magpie_echo_messages_total",
                                 .help = "Messages sent back.",
                                 .kind = MP_COUNTER};
    struct mp_metric bytes = {.size = sizeof bytes,
                              .name = "magpie_echo_bytes_total",
                              .help = "Bytes of messages sent back.",
                              .kind = MP_COUNTER};
    struct mp_upgrade upgrade = {.size = sizeof upgrade,
                                 .path = mp->option_text(o, "path"),
                                 .message_max = (uint32_t)mp->option_number(o, "message_max"),
                                 .message = on_message,
                                 .ctx = e};
    e->messages = mp->metric(e->self, &messages);
    e->bytes = mp->metric(e->self, &bytes);
    if (e->messages < 0 || e->bytes < 0)
        return e->messages < 0 ? e->messages : e->bytes;
    return mp->upgrade(e->self, &upgrade);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct echo *e = mp->alloc(self, NULL, sizeof *e);
    if (!e)
        return MP_ENOMEM;
    *e = (struct echo){.self = self, .mp = mp};
    int rc = register_all(e, o);
    if (rc != MP_OK) {
        struct mp_field path = mp_field_text("path", mp_str(mp->option_text(o, "path")));
        mp->log(self, MP_ERROR, rc == MP_EEXISTS ? "path_taken" : "not_registered", &path, 1);
        mp->alloc(self, e, 0);
        return rc;
    }
    *state = e;
    return MP_OK;
}

static void fini(void *state)
{
    struct echo *e = state;
    e->mp->alloc(e->self, e, 0);
}

MP_PLUGIN = {
    MP_PLUGIN_HEAD,
    MP_OPTIONS(options),
    .name = "echo",
    .version = "1.0",
    .summary = "sends every WebSocket message on its path back",
    .check = check,
    .init = init,
    .fini = fini,
};
