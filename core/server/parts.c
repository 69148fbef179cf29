#include "core/server/parts.h"

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "core/base/notify.h"
#include "core/config/config.h"
#include "core/config/config_options.h"
#include "core/config/config_value.h"
#include "core/config/machine.h"
#include "core/console/console.h"
#include "core/hub/hub.h"
#include "core/hub/shard/options.h"
#include "core/hub/shard/shards.h"
#include "core/net/listener.h"
#include "core/plugin/plugins.h"
#include "core/script/scripts.h"
#include "core/server/commands.h"
#include "core/server/key_watch.h"
#include "core/net/stream.h"
#include "core/server/secure.h"
#include "core/server/server_private.h"
#include "core/server/settings.h"
#include "core/server/token_key.h"
#include "storage/store.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void parts_raise_limits(const struct config *c)
{
    char why[WHY_MAX];
    uint32_t room = machine_raise_descriptors(c->limits.connections, why, sizeof why);
    /* What was not set by hand is what the machine has. */
    if (why[0] && c->limits.connections > machine_connections())
        log_event(LOG_WARN, "limit.descriptors", LOG_INT("limits_connections", c->limits.connections),
                  LOG_INT("room_for", room), LOG_STR("because", why));
}

/* What this config needs before the first client comes: counted, not reckoned (docs/operations.md). */
static int check_machine(const struct server *s)
{
    enum {
        DESCRIPTORS = 40 + 10, /* with the console's reserve of 16; and some for the database to work with */
        DESCRIPTORS_SHARD = 3,
        THREADS = 16,      /* the store's, the database's, the watchdog, plugins' */
        MEMORY = 256 << 20 /* bytes beside the store's: heaps of the threads, code, scripts */
    };
    const struct config *c = s->config;
    char why[WHY_MAX];
    uint32_t clients =
        c->listen.tcp.n + c->listen.websocket.n + c->listen.tcps.n + c->listen.wss.n + c->listen.metrics.n;
    uint32_t listeners = clients * s->shards + c->listen.console.n;
    struct machine_need need = {.descriptors = DESCRIPTORS + DESCRIPTORS_SHARD * s->shards + listeners,
                                .threads = THREADS + s->shards,
                                .memory = MEMORY + (c->cluster.redis.n ? 0 : c->storage.memory)};
    return machine_check(&need, why, sizeof why) == 0 ? 0 : server_fail(s, why);
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

static int open_store(struct server *s)
{
    char why[WHY_MAX] = "";
    struct store_options options;
    config_store_options(s->config, &options);
    if (store_open(&s->store, &options, why, sizeof why) != 0) {
        s->store = NULL;
        return server_fail(s, why);
    }
    if (token_key_load(s, s->config, s->key, why, sizeof why) != 0)
        return server_fail(s, why);
    return 0;
}

static int open_console(struct server *s)
{
    const struct config_strings *addresses = &s->config->listen.console;
    s->console = console_new(s->loop, s->hub);
    if (!s->console || orders_register(s) != 0)
        return server_fail(s, "out of memory");
    console_set_password(s->console, s->config->console.password);
    for (uint32_t i = 0; i < addresses->n; i++) {
        char why[WHY_MAX] = "";
        struct listener *l = &s->listeners[s->listener_count];
        if (listener_open(l, addresses->v[i], 1, 0600, why, sizeof why) != 0)
            return server_fail(s, why);
        s->listener_count++;
        if (console_listen(s->console, l) != 0)
            return server_fail(s, "listen.console: too many addresses");
        log_event(LOG_INFO, "listen.open", LOG_STR("address", l->name), LOG_STR("transport", "console"));
    }
    return 0;
}

static int plugin_asks(void *ctx, const char *path, struct buf *out)
{
    const struct server *s = ctx;
    return config_value(s->config, path, out);
}

static int open_plugins(struct server *s)
{
    struct buf errors = BUF_INIT;
    struct plugin_config pc = settings_plugins(s->config, s->config_path);
    s->plugins = plugins_new(
        &(struct plugin_env){.hub = s->hub, .loop = s->loop, .data = s->config->data, .config = plugin_asks, .ctx = s});
    int rc = s->plugins ? plugins_start(s->plugins, &pc, &errors) : ERR_NOMEM;
    if (rc != 0) {
        while (errors.n && errors.p[errors.n - 1] == '\n')
            errors.n--;
        buf_byte(&errors, '\0');
        server_fail(s, errors.n > 1 && buf_ok(&errors) ? errors.p : "plugins: out of memory");
    }
    buf_free(&errors);
    return rc == 0 ? 0 : -1;
}

int parts_prepare_scripts(struct server *s, const struct config *c, struct buf *errors)
{
    struct cJSON *tree = config_tree(c);
    struct scripts_options o = settings_scripts(c, tree);
    int rc = tree ? scripts_prepare(s->scripts, &o, errors) : ERR_NOMEM;
    if (!tree)
        buf_str(errors, "out of memory\n");
    cJSON_Delete(tree);
    return rc;
}

static int open_scripts(struct server *s)
{
    struct buf errors = BUF_INIT;
    s->scripts = scripts_new(s->hub);
    if (!s->scripts || scripts_commands(s->scripts) != 0)
        return server_fail(
            s, "the scripts' host cannot be made: out of memory or threads, or what they keep cannot be read");
    int rc = parts_prepare_scripts(s, s->config, &errors);
    if (rc == 0)
        rc = scripts_commit(s->scripts);
    if (rc != 0) {
        buf_byte(&errors, 0);
        size_t n = errors.n > 1 && errors.p[errors.n - 2] == '\n' ? errors.n - 2 : 0;
        if (n)
            errors.p[n] = '\0';
        server_fail(s, buf_ok(&errors) && errors.n > 1 ? errors.p : "out of memory");
    }
    buf_free(&errors);
    return rc;
}

/* The listeners of clients. */
static const struct {
    const char *name; /* of the transport */
    size_t offset;    /* of the addresses, a struct config_strings in the config */
    enum conn_transport transport;
    unsigned stream;
} ports[] = {
    {"tcp", offsetof(struct config, listen.tcp), CONN_TCP, STREAM_PLAIN},
    {"websocket", offsetof(struct config, listen.websocket), CONN_WEBSOCKET, STREAM_PLAIN},
    {"tcps", offsetof(struct config, listen.tcps), CONN_TCP, STREAM_TLS},
    {"wss", offsetof(struct config, listen.wss), CONN_WEBSOCKET, STREAM_TLS_WEB},
    {"metrics", offsetof(struct config, listen.metrics), CONN_METRICS, STREAM_PLAIN},
};
enum { PORTS = sizeof ports / sizeof *ports };

static const struct config_strings *addresses_of(const struct config *c, unsigned port)
{
    return (const struct config_strings *)(const void *)((const char *)c + ports[port].offset);
}

static int listen_on(struct server *s, unsigned port)
{
    const struct config_strings *addresses = addresses_of(s->config, port);
    for (uint32_t i = 0; i < addresses->n; i++) {
        char why[WHY_MAX] = "";
        struct listener *l = &s->listeners[s->listener_count];
        if (listener_open(l, addresses->v[i], s->shards, 0660, why, sizeof why) != 0)
            return server_fail(s, why);
        s->listener_count++;
        if (hub_listen(s->hub, l, ports[port].transport, ports[port].stream) != 0)
            return server_fail(s, "out of memory");
        log_event(LOG_INFO, "listen.open", LOG_STR("address", l->name), LOG_STR("transport", ports[port].name));
    }
    return 0;
}

static const char *transport_of(const struct server *s, unsigned listener)
{
    uint32_t end = s->config->listen.console.n;
    if (listener < end)
        return "console";
    for (unsigned i = 0; i < PORTS; i++)
        if (listener < (end += addresses_of(s->config, i)->n))
            return ports[i].name;
    return "?";
}

/* Tells the console's `status` where things are. */
static int tell_place(struct server *s)
{
    struct buf texts = BUF_INIT;
    const char **listeners = calloc(s->listener_count + 1, sizeof *listeners);
    char *config = realpath(s->config_path, NULL), *data = realpath(s->config->data, NULL);
    for (unsigned i = 0; i < s->listener_count; i++)
        buf_printf(&texts, "%s:%s%c", transport_of(s, i), s->listeners[i].name, '\0');
    const char *at = texts.p;
    for (unsigned i = 0; listeners && buf_ok(&texts) && i < s->listener_count; i++, at += strlen(at) + 1)
        listeners[i] = at;
    struct console_place place = {
        .config = config ? config : s->config_path, .data = data ? data : s->config->data, .listeners = listeners};
    int rc = listeners && buf_ok(&texts) ? console_set_place(s->console, &place) : ERR_NOMEM;
    free(config);
    free(data);
    free(listeners);
    buf_free(&texts);
    return rc == 0 ? 0 : server_fail(s, "out of memory");
}

static int open_hub(struct server *s)
{
    const struct config *c = s->config;
    struct hub_options options;
    config_hub_options(c, s->key, &options);
    s->hub = hub_new(s->shards, s->store, &options);
    uint32_t listeners = c->listen.console.n + 1;
    for (unsigned i = 0; i < PORTS; i++)
        listeners += addresses_of(c, i)->n;
    s->listeners = calloc(listeners, sizeof *s->listeners);
    if (!s->hub || !s->listeners)
        return server_fail(s, "the shards cannot be made: out of memory or descriptors");
    hub_set_main(s->hub, &s->mail);
    if (open_console(s) != 0 || secure_open(s) != 0 || open_plugins(s) != 0)
        return -1;
    if (open_scripts(s) != 0)
        return -1;
    for (unsigned i = 0; i < PORTS; i++)
        if (listen_on(s, i) != 0)
            return -1;
    if (tell_place(s) != 0)
        return -1;
    if (hub_start(s->hub) != 0)
        return server_fail(s, "the threads of the shards cannot be started");
    return 0;
}

/* "127.0.0.1:8081 127.0.0.1:8082". */
static void put_addresses(struct buf *out, const struct config *c)
{
    for (unsigned i = 0; i < PORTS; i++)
        for (uint32_t j = 0; j < addresses_of(c, i)->n; j++)
            buf_printf(out, "%s%s:%s", out->n ? " " : "", ports[i].name, addresses_of(c, i)->v[j]);
}

int parts_open(struct server *s)
{
    const struct config *c = s->config;
    uint64_t began = clock_mono_ms();
    struct buf addresses = BUF_INIT;
    put_addresses(&addresses, c);
    s->shards = c->threads ? c->threads : machine_shards(machine_processors());
    log_event(LOG_INFO, "server.start", LOG_STR("version", MAGPIE_VERSION), LOG_INT("pid", getpid()),
              LOG_SLICE("listen", buf_slice(&addresses)), LOG_INT("shards", s->shards), LOG_INT("node", c->node),
              LOG_STR("engine", config_engine_name(c)), LOG_STR("data", c->data));
    buf_free(&addresses);
    settings_log_doubts(c);
    parts_raise_limits(c);
    hash_init();
    if (check_machine(s) != 0)
        return -1;
    if (open_store(s) != 0 || open_hub(s) != 0)
        return -1;
    key_watch(s);
    log_event(LOG_INFO, "server.ready", LOG_INT("ms", clock_mono_ms() - began));
    notify("READY=1\nSTATUS=serving");
    return 0;
}

/* --- Closing ------------------------------------------------------------------------------------------------------ */

/* Code of a plugin that does not end may still use anything: then the process ends as it stands. Everything
 * acknowledged is as safe as after kill -9. */
static void close_plugins(struct server *s)
{
    enum { PLUGINS_STOP_MS = 5000, LAST_LINE_MS = 1000 };
    if (!plugins_stop(s->plugins, PLUGINS_STOP_MS)) {
        log_event(LOG_ERROR, "server.stop", LOG_STR("reason", "a plugin does not end"));
        log_flush(LAST_LINE_MS);
        _exit(1);
    }
    plugins_free(s->plugins);
    s->plugins = NULL;
}

/* Whoever waits for an answer on the main thread gets it first, from the shards or the store. */
static void close_hub(struct server *s)
{
    if (!s->hub)
        return;
    close_plugins(s);
    scripts_stop(s->scripts);
    console_stop(s->console);
    hub_stop(s->hub);
    while (mailbox_run(&s->mail, s) > 0 || console_busy(s->console) || hub_busy(s->hub)) {
        hub_pump(s->hub); /* an order of several steps may have one more for the shards */
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    /* The store's threads have answered everything, but the last of them may still be on its way out of a mailbox. */
    store_close(s->store);
    s->store = NULL;
    mailbox_run(&s->mail, s); /* what it answered last */
    console_free(s->console);
    scripts_free(s->scripts);
    hub_free(s->hub);
    ev_async_stop(s->loop, &s->mailed);
    mailbox_fini(&s->mail);
}

void parts_close(struct server *s)
{
    close_hub(s);
    secure_close(s);
    if (s->store)
        store_close(s->store);
    for (unsigned i = 0; i < s->listener_count; i++)
        listener_close(&s->listeners[i]);
    free(s->listeners);
    explicit_bzero(s->key, sizeof s->key);
    if (s->boot != s->config)
        config_free(s->boot);
    config_free(s->config);
}
