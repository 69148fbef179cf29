/*
 * magpied: the only file that knows every layer. It reads the command line and the config, opens what the config names, starts
 * the hub, and then waits on the main thread for signals: SIGTERM and SIGINT drain, SIGHUP reloads.
 *
 * It is long because it is the only one of its kind: what ties two layers together has no other place. What needs one layer alone belongs there.
 */
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/err.h"
#include "core/base/hash.h"
#include "core/base/heap.h"
#include "core/base/log.h"
#include "core/base/mailbox.h"
#include "core/base/notify.h"
#include "core/base/stdio_fds.h"
#include "core/config/config.h"
#include "core/config/config_commands.h"
#include "core/config/config_options.h"
#include "core/config/config_value.h"
#include "core/config/machine.h"
#include "core/config/secret.h"
#include "core/console/console.h"
#include "core/hub/command.h"
#include "core/hub/figures.h"
#include "core/hub/hub.h"
#include "core/hub/options.h"
#include "core/net/listener.h"
#include "core/plugin/plugins.h"
#include "core/script/scripts.h"
#include "storage/store.h"

#include <cjson/cJSON.h>
#include <ev.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WHY_MAX        512 /* bytes of a sentence that tells what went wrong */
#define BREATH_SECONDS 5.  /* between two looks at whether memory is to be given back */

struct server {
    const char *config_path; /* from the command line */
    struct config *config;   /* in force; owned */
    struct config
        *boot; /* what the server was started with, where it differs from `config`: restarts are reported against it; owned */
    unsigned shards;
    uint8_t key[SECRET_KEY_SIZE]; /* of resume tokens */
    struct store *store;
    struct hub *hub;
    struct mailbox mail; /* answers to the main thread: hub_main() */
    ev_async mailed;     /* something is in it */
    struct console *console;
    struct scripts *scripts;
    struct plugins *plugins;
    struct config_keeper keeper; /* what the console's commands see of the config */
    struct listener *listeners;  /* open ones; owned */
    unsigned listener_count;
    struct ev_loop *loop; /* of the main thread */
    ev_signal term, intr, hup;
    ev_async drained;     /* sent by a shard when the hub has drained */
    ev_timer drain_limit; /* timeouts.drain */
    ev_timer breath;      /* gives memory back when many connections are gone */
    struct heap_watch heap;
    bool draining;
    uint64_t drain_began; /* clock_mono_ms() */
};

/* --- Telling ------------------------------------------------------------------------------------------------------------ */

/* Why the server does not start: for the one who started it, and in the log where that is another place. */
static int fail(const struct server *s, const char *why)
{
    fprintf(stderr, "magpied: %s\n", why);
    if (s->config && s->config->log.file)
        log_event(LOG_ERROR, "server.failed", LOG_STR("error", why));
    notify("STATUS=failed to start");
    return -1;
}

/* Lines of a buffer, each as one log line. */
static void log_lines(enum log_level level, const char *id, const char *key, const struct buf *lines)
{
    for (size_t at = 0; at < lines->n;) {
        const char *end = memchr(lines->p + at, '\n', lines->n - at);
        size_t n = end ? (size_t)(end - lines->p) - at : lines->n - at;
        log_event(level, id, LOG_SLICE(key, slice_of(lines->p + at, n)));
        at += n + 1;
    }
}

/* --- The config -------------------------------------------------------------------------------------------------------- */

/* What the schema knows and this version does not have: errors. */
static void check_build(const struct config *c, const char *name, struct buf *errors)
{
    if (c->tls.certificate || c->tls.key)
        buf_printf(errors, "%s: tls: this version has no TLS yet; put a proxy that ends TLS in front\n", name);
    if (c->listen.tcps.n)
        buf_printf(errors, "%s: listen.tcps: this version has no TLS yet\n", name);
    if (c->listen.wss.n)
        buf_printf(errors, "%s: listen.wss: this version has no TLS yet\n", name);
}

static struct plugin_config plugin_config(const struct config *c, const char *path)
{
    return (struct plugin_config){.file = path, .path = c->plugins.path, .load = c->plugins.load};
}

/* The plugins, their options, and whether one of them serves auth.mode. */
static void check_plugins(struct plugins *running, const struct config *c, const char *path, struct buf *errors)
{
    struct plugin_config pc = plugin_config(c, path);
    bool served = false;
    plugins_check(running, &pc, c->auth.mode, &served, errors);
    if (strcmp(c->auth.mode, "open") != 0 && strcmp(c->auth.mode, "script") != 0 && !served)
        buf_printf(errors, "%s: auth.mode: no provider registered for auth.mode \"%s\": no plugin of plugins.load serves it\n",
                   path, c->auth.mode);
}

/* `running`: the plugins of a server that reloads; NULL: none run. */
static struct config *load(struct plugins *running, const char *path, struct buf *errors)
{
    struct config *c = config_load(path, errors);
    if (!c)
        return NULL;
    check_build(c, path, errors);
    check_plugins(running, c, path, errors);
    if (errors->n == 0 && buf_ok(errors))
        return c;
    config_free(c);
    return NULL;
}

/* What is allowed, and probably not meant. */
static void log_doubts(const struct config *c)
{
    if (c->limits.output_queue < c->limits.page)
        log_event(
            LOG_WARN, "config.doubt",
            LOG_STR("about", "limits.output_queue is smaller than limits.page: a full page of history closes the connection"));
}

/* --- Scripts ------------------------------------------------------------------------------------------------------------- */

/* What the config says of them. tree: config_tree(c), or NULL when there was no memory for it. */
static struct scripts_options scripts_options_of(const struct config *c, const struct cJSON *tree)
{
    return (struct scripts_options){.path = c->scripts.path,
                                    .load = (const char *const *)c->scripts.load.v,
                                    .budget_ms = c->scripts.budget_ms,
                                    .memory = c->scripts.memory,
                                    .content_max = (uint32_t)c->limits.content,
                                    .login_needed = strcmp(c->auth.mode, "script") == 0,
                                    .config = tree};
}

/* Builds the scripts of this config beside those in force; scripts_commit() brings them there. */
static int prepare_scripts(struct server *s, const struct config *c, struct buf *errors)
{
    struct cJSON *tree = config_tree(c);
    struct scripts_options o = scripts_options_of(c, tree);
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
        return fail(s, "the scripts' host cannot be made: out of memory or threads");
    int rc = prepare_scripts(s, s->config, &errors);
    if (rc == 0)
        rc = scripts_commit(s->scripts);
    if (rc != 0) {
        buf_byte(&errors, 0);
        size_t n = errors.n > 1 && errors.p[errors.n - 2] == '\n' ? errors.n - 2 : 0;
        if (n)
            errors.p[n] = '\0';
        fail(s, buf_ok(&errors) && errors.n > 1 ? errors.p : "out of memory");
    }
    buf_free(&errors);
    return rc;
}

/* --- Starting ------------------------------------------------------------------------------------------------------------- */

static void raise_limits(const struct config *c)
{
    char why[WHY_MAX];
    uint32_t room = machine_raise_descriptors(c->limits.connections, why, sizeof why);
    if (why[0])
        log_event(LOG_WARN, "limit.descriptors", LOG_INT("limits_connections", c->limits.connections),
                  LOG_INT("room_for", room), LOG_STR("because", why));
}

/* The directory that holds the key's file; a store that keeps nothing has none. */
static const char *secret_directory(const struct config *c)
{
    return c->storage.engine == ENGINE_MEMORY ? NULL : c->data;
}

static int open_store(struct server *s)
{
    char why[WHY_MAX] = "";
    struct store_options options;
    config_store_options(s->config, &options);
    if (store_open(&s->store, &options, why, sizeof why) != 0) {
        s->store = NULL;
        return fail(s, why);
    }
    if (secret_load(s->config->auth.secret, secret_directory(s->config), s->key, why, sizeof why) != 0)
        return fail(s, why);
    return 0;
}

static int listen_on(struct server *s, const struct config_strings *addresses, enum conn_transport transport)
{
    for (uint32_t i = 0; i < addresses->n; i++) {
        char why[WHY_MAX] = "";
        struct listener *l = &s->listeners[s->listener_count];
        if (listener_open(l, addresses->v[i], s->shards, 0660, why, sizeof why) != 0)
            return fail(s, why);
        s->listener_count++;
        if (hub_listen(s->hub, l, transport) != 0)
            return fail(s, "out of memory");
        log_event(LOG_INFO, "listen.open", LOG_STR("address", l->name),
                  LOG_STR("transport", transport == CONN_TCP ? "tcp" : "websocket"));
    }
    return 0;
}

/* --- The main thread's mailbox, and the console ------------------------------------------------------------------------------ */

static void on_mail(struct ev_loop *loop, ev_async *w, int events)
{
    (void)loop, (void)events;
    struct server *s = w->data;
    mailbox_run(&s->mail, s);
}

static void wake_main(void *ctx)
{
    struct server *s = ctx;
    ev_async_send(s->loop, &s->mailed);
}

static int register_commands(struct server *s);

static int open_console(struct server *s)
{
    const struct config_strings *addresses = &s->config->listen.console;
    s->console = console_new(s->loop, s->hub);
    if (!s->console || register_commands(s) != 0)
        return fail(s, "out of memory");
    console_set_password(s->console, s->config->console.password);
    for (uint32_t i = 0; i < addresses->n; i++) {
        char why[WHY_MAX] = "";
        struct listener *l = &s->listeners[s->listener_count];
        if (listener_open(l, addresses->v[i], 1, 0600, why, sizeof why) != 0)
            return fail(s, why);
        s->listener_count++;
        if (console_listen(s->console, l) != 0)
            return fail(s, "listen.console: too many addresses");
        log_event(LOG_INFO, "listen.open", LOG_STR("address", l->name), LOG_STR("transport", "console"));
    }
    return 0;
}

/* --- Plugins ----------------------------------------------------------------------------------------------------------------- */

static int plugin_asks(void *ctx, const char *path, struct buf *out)
{
    const struct server *s = ctx;
    return config_value(s->config, path, out);
}

static int open_plugins(struct server *s)
{
    struct buf errors = BUF_INIT;
    struct plugin_config pc = plugin_config(s->config, s->config_path);
    s->plugins = plugins_new(
        &(struct plugin_env){.hub = s->hub, .loop = s->loop, .data = s->config->data, .config = plugin_asks, .ctx = s});
    int rc = s->plugins ? plugins_start(s->plugins, &pc, &errors) : ERR_NOMEM;
    if (rc != 0) {
        while (errors.n && errors.p[errors.n - 1] == '\n')
            errors.n--;
        buf_byte(&errors, '\0');
        fail(s, errors.n > 1 && buf_ok(&errors) ? errors.p : "plugins: out of memory");
    }
    buf_free(&errors);
    return rc == 0 ? 0 : -1;
}

/* Code of a plugin that does not end may still use anything: then the process ends as it stands. Everything acknowledged is as safe as after kill -9. */
static void close_plugins(struct server *s)
{
    enum { PLUGINS_STOP_MS = 5000 };
    if (!plugins_stop(s->plugins, PLUGINS_STOP_MS)) {
        log_event(LOG_ERROR, "server.stop", LOG_STR("reason", "a plugin does not end"));
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
    console_stop(s->console);
    hub_stop(s->hub);
    while (mailbox_run(&s->mail, s) > 0 || console_busy(s->console)) {
        hub_pump(s->hub); /* an order of several steps may have one more for the shards */
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    /* The store's threads have answered everything, but the last of them may still be on its way out of a mailbox. */
    store_close(s->store);
    s->store = NULL;
    console_free(s->console);
    scripts_free(s->scripts);
    hub_free(s->hub);
    ev_async_stop(s->loop, &s->mailed);
    mailbox_fini(&s->mail);
}

static int open_hub(struct server *s)
{
    const struct config *c = s->config;
    struct hub_options options;
    config_hub_options(c, s->key, &options);
    s->hub = hub_new(s->shards, s->store, &options);
    s->listeners = calloc(c->listen.tcp.n + c->listen.websocket.n + c->listen.console.n + 1, sizeof *s->listeners);
    if (!s->hub || !s->listeners)
        return fail(s, "the shards cannot be made: out of memory or descriptors");
    hub_set_main(s->hub, &s->mail);
    if (open_console(s) != 0 || open_plugins(s) != 0)
        return -1;
    if (open_scripts(s) != 0)
        return -1;
    if (listen_on(s, &c->listen.tcp, CONN_TCP) != 0 || listen_on(s, &c->listen.websocket, CONN_WEBSOCKET) != 0)
        return -1;
    if (hub_start(s->hub) != 0)
        return fail(s, "the threads of the shards cannot be started");
    return 0;
}

/* "127.0.0.1:8081 127.0.0.1:8082". */
static void put_addresses(struct buf *out, const struct config *c)
{
    const struct config_strings *lists[] = {&c->listen.tcp, &c->listen.websocket};
    for (unsigned i = 0; i < 2; i++)
        for (uint32_t j = 0; j < lists[i]->n; j++)
            buf_printf(out, "%s%s:%s", out->n ? " " : "", i ? "websocket" : "tcp", lists[i]->v[j]);
}

static int start(struct server *s)
{
    const struct config *c = s->config;
    uint64_t began = clock_mono_ms();
    struct buf addresses = BUF_INIT;
    put_addresses(&addresses, c);
    s->shards = c->threads ? c->threads : machine_shards(machine_processors());
    log_event(LOG_INFO, "server.start", LOG_STR("version", MAGPIE_VERSION), LOG_INT("pid", getpid()),
              LOG_SLICE("listen", buf_slice(&addresses)), LOG_INT("shards", s->shards), LOG_INT("node", c->node),
              LOG_STR("engine", c->storage.engine == ENGINE_MEMORY ? "memory" : "rocksdb"), LOG_STR("data", c->data));
    buf_free(&addresses);
    log_doubts(c);
    raise_limits(c);
    hash_init();
    if (open_store(s) != 0 || open_hub(s) != 0)
        return -1;
    log_event(LOG_INFO, "server.ready", LOG_INT("ms", clock_mono_ms() - began));
    notify("READY=1\nSTATUS=serving");
    return 0;
}

/* --- Stopping ------------------------------------------------------------------------------------------------------------- */

/* How far the clients' retries are spread: a second, and for many clients so that no more than some 20,000 come back in one. */
static uint32_t spread_of(uint32_t connections)
{
    return 1000 + connections / 20;
}

/* On a shard's thread. */
static void hub_is_drained(void *ctx)
{
    struct server *s = ctx;
    ev_async_send(s->loop, &s->drained);
}

/* limit: seconds, 0: as long as it takes. While draining, only the limit is set anew. */
static void drain(struct server *s, const char *because, double limit)
{
    struct hub_stats stats;
    hub_get_stats(s->hub, &stats);
    ev_timer_stop(s->loop, &s->drain_limit);
    if (limit > 0) {
        /* What is left after that (the threads, the store) must fit into the timeout too. */
        ev_timer_set(&s->drain_limit, limit > 5 ? limit - 1 : limit * 0.8, 0.);
        ev_timer_start(s->loop, &s->drain_limit);
    }
    if (s->draining)
        return;
    s->draining = true;
    console_set_state(s->console, "draining");
    s->drain_began = clock_mono_ms();
    log_event(LOG_INFO, "server.drain", LOG_STR("signal", because), LOG_INT("connections", stats.connections),
              LOG_INT("timeout_ms", limit * 1000));
    notify("STOPPING=1\nSTATUS=draining");
    hub_drain(s->hub, spread_of(stats.connections), hub_is_drained, s);
}

static void on_drained(struct ev_loop *loop, ev_async *w, int events)
{
    (void)w, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void on_drain_limit(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)events;
    struct server *s = w->data;
    struct hub_stats stats;
    hub_get_stats(s->hub, &stats);
    log_event(LOG_WARN, "server.drain_timeout", LOG_INT("connections", stats.connections));
    ev_break(loop, EVBREAK_ALL);
}

static void on_term(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop, (void)events;
    struct server *s = w->data;
    const char *name = w->signum == SIGTERM ? "SIGTERM" : "SIGINT";
    if (!s->draining) {
        drain(s, name, s->config->timeouts.drain);
        return;
    }
    /* Meant: at once. Everything acknowledged is as safe as after kill -9. */
    log_event(LOG_WARN, "server.stop", LOG_STR("reason", "second signal"), LOG_STR("signal", name));
    _exit(1);
}

/* The loop is over, or the start failed half-way. */
static void close_all(struct server *s)
{
    close_hub(s);
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

/* --- Reloading ------------------------------------------------------------------------------------------------------------ */

/* Everything that can fail comes before anything that is seen from outside, but for the log, which stays where it was if it
 * cannot be opened. */
static int apply(struct server *s, struct config *fresh, struct buf *errors)
{
    uint8_t key[SECRET_KEY_SIZE];
    char why[WHY_MAX] = "";
    struct hub_options hub_options;
    struct store_options store_options;
    /* The directory is that of the start: a changed `data` waits for a restart. */
    if (secret_load(fresh->auth.secret, secret_directory(s->boot), key, why, sizeof why) != 0) {
        buf_printf(errors, "%s\n", why);
        return -1;
    }
    /* Without a file, the key drawn at the start stays. */
    if (!fresh->auth.secret && !secret_directory(s->boot) && !s->config->auth.secret)
        memcpy(key, s->key, sizeof key);
    int prepared = prepare_scripts(s, fresh, errors);
    if (prepared != 0)
        return prepared == ERR_AGAIN ? ERR_AGAIN : -1;
    if (log_open(fresh->log.file, (enum log_format)fresh->log.format, (enum log_level)fresh->log.level) != 0) {
        buf_printf(errors, "log.file: %s cannot be opened\n", fresh->log.file ? fresh->log.file : "standard error");
        scripts_abandon(s->scripts);
        return -1;
    }
    config_hub_options(fresh, key, &hub_options);
    if (hub_reconfigure(s->hub, &hub_options) != 0) {
        scripts_abandon(s->scripts);
        (void)!log_open(s->config->log.file, (enum log_format)s->config->log.format, (enum log_level)s->config->log.level);
        buf_str(errors, "out of memory\n");
        return -1;
    }
    if (scripts_commit(s->scripts) != 0)
        log_event(LOG_ERROR, "script.reload_failed", LOG_STR("because", "out of memory"),
                  LOG_STR("kept", "the scripts before"));
    config_store_options(fresh, &store_options);
    store_configure(s->store, &store_options);
    memcpy(s->key, key, sizeof key);
    explicit_bzero(key, sizeof key);
    return 0;
}

/* Brings a config into force and takes it; else -1, with lines in `errors`. */
static int adopt(void *ctx, struct config *fresh, struct buf *errors)
{
    struct server *s = ctx;
    struct buf restart = BUF_INIT;
    int rc = apply(s, fresh, errors);
    if (rc != 0)
        return rc;
    unsigned waiting = config_needs_restart(s->boot, fresh, &restart);
    bool more = fresh->limits.connections != s->config->limits.connections;
    if (s->config != s->boot)
        config_free(s->config);
    s->config = fresh;
    console_set_password(s->console, fresh->console.password);
    log_event(LOG_INFO, "config.reloaded", LOG_STR("file", s->config_path), LOG_INT("need_restart", waiting));
    log_lines(LOG_WARN, "config.needs_restart", "path", &restart);
    struct plugin_config pc = plugin_config(fresh, s->config_path);
    plugins_reload(s->plugins, &pc);
    log_doubts(fresh);
    if (more)
        raise_limits(fresh);
    buf_free(&restart);
    return 0;
}

static void reload(struct server *s)
{
    struct buf errors = BUF_INIT;
    struct config *fresh = load(s->plugins, s->config_path, &errors);
    if (!fresh || adopt(s, fresh, &errors) != 0) {
        log_lines(LOG_ERROR, "config.error", "error", &errors);
        log_event(LOG_ERROR, "config.reload_failed", LOG_STR("kept", "the config before"));
        config_free(fresh);
        /* A moved log file is opened anew all the same: that is what rotation waits for. */
        if (!fresh)
            (void)!log_open(s->config->log.file, (enum log_format)s->config->log.format, (enum log_level)s->config->log.level);
    }
    buf_free(&errors);
}

static void on_hup(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop, (void)events;
    struct server *s = w->data;
    if (s->draining)
        return;
    notify_reloading();
    reload(s);
    notify("READY=1\nSTATUS=serving");
}

/* --- Orders of the console ------------------------------------------------------------------------------------------------ */

static const struct config *config_now(void *ctx)
{
    return ((struct server *)ctx)->config;
}

static const struct config *config_boot(void *ctx)
{
    return ((struct server *)ctx)->boot;
}

static struct config *config_file(void *ctx, struct buf *errors)
{
    struct server *s = ctx;
    return load(s->plugins, s->config_path, errors);
}

/* Decimal seconds; the server's own where none are given. */
static void run_drain(struct command_call *c, void *ctx)
{
    struct server *s = ctx;
    double seconds = s->config->timeouts.drain;
    if (c->argc) {
        char text[16], *end;
        snprintf(text, sizeof text, "%.*s", (int)c->argv[0].n, c->argv[0].p);
        seconds = strtod(text, &end);
        if (c->argv[0].n == 0 || c->argv[0].n >= sizeof text || *end || !(seconds >= 0 && seconds <= 86400)) {
            command_fail(c, "bad_request", "expected seconds, up to 86400 (0: as long as it takes)");
            return;
        }
    }
    drain(s, "console", seconds);
    command_done(c);
}

/* Whoever can be told is told; nobody is waited for. */
static void run_shutdown(struct command_call *c, void *ctx)
{
    drain(ctx, "console", 1);
    command_done(c);
}

static int register_commands(struct server *s)
{
    const struct command list[] = {
        {.name = "drain",
         .args = "[SECONDS]",
         .help = "stop as on SIGTERM: tell the clients, finish what is under way, end",
         .max = 1,
         .changes = true,
         .shown = 1,
         .run = run_drain,
         .ctx = s},
        {.name = "shutdown", .args = "", .help = "stop within a second", .changes = true, .run = run_shutdown, .ctx = s},
    };
    s->keeper =
        (struct config_keeper){.current = config_now, .boot = config_boot, .load = config_file, .adopt = adopt, .ctx = s};
    int rc = config_commands_register(s->hub, &s->keeper);
    return rc ? rc : commands_register(s->hub, list, sizeof list / sizeof list[0]);
}

/* --- Running -------------------------------------------------------------------------------------------------------------- */

static void on_breath(struct ev_loop *loop, ev_timer *w, int events)
{
    struct server *s = w->data;
    struct hub_stats stats;
    (void)loop, (void)events;
    hub_get_stats(s->hub, &stats);
    (void)heap_breathe(&s->heap, stats.connections, figures_resident());
}

static void watch(struct server *s)
{
    ev_signal_init(&s->term, on_term, SIGTERM);
    ev_signal_init(&s->intr, on_term, SIGINT);
    ev_signal_init(&s->hup, on_hup, SIGHUP);
    ev_async_init(&s->drained, on_drained);
    ev_init(&s->drain_limit, on_drain_limit);
    ev_timer_init(&s->breath, on_breath, BREATH_SECONDS, BREATH_SECONDS);
    s->term.data = s->intr.data = s->hup.data = s->drained.data = s->drain_limit.data = s->breath.data = s;
    ev_timer_start(s->loop, &s->breath);
    ev_signal_start(s->loop, &s->term);
    ev_signal_start(s->loop, &s->intr);
    ev_signal_start(s->loop, &s->hup);
    ev_async_start(s->loop, &s->drained);
    mailbox_init(&s->mail, wake_main, s);
    ev_async_init(&s->mailed, on_mail);
    s->mailed.data = s;
    ev_async_start(s->loop, &s->mailed);
}

static int serve(struct server *s)
{
    sigset_t ours, before;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is a full disk: the write fails, and the store deals with it */
    s->loop = ev_default_loop(EVFLAG_AUTO);
    if (!s->loop)
        return fail(s, "libev finds no way to wait for events");
    watch(s);
    /* Threads inherit the mask: signals are the main thread's, and none is lost while it starts. */
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    int rc = start(s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return -1;
    ev_run(s->loop, 0);
    /* From here on nobody looks at signals: who cannot wait ends the process in the plain way. */
    ev_signal_stop(s->loop, &s->term);
    ev_signal_stop(s->loop, &s->intr);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    return 0;
}

static int run(const char *config_path)
{
    struct server s = {.config_path = config_path};
    struct buf errors = BUF_INIT;
    s.config = s.boot = load(NULL, config_path, &errors);
    if (!s.config) {
        fwrite(errors.p ? errors.p : "", 1, errors.n, stderr);
        buf_free(&errors);
        return 1;
    }
    buf_free(&errors);
    const struct config *c = s.config;
    if (log_open(c->log.file, (enum log_format)c->log.format, (enum log_level)c->log.level) != 0) {
        fprintf(stderr, "magpied: log.file: %s cannot be opened for appending\n", c->log.file ? c->log.file : "standard error");
        config_free(s.config);
        return 1;
    }
    int rc = serve(&s);
    uint64_t began = s.drain_began;
    close_all(&s);
    if (rc == 0)
        log_event(LOG_INFO, "server.stop", LOG_INT("drained_ms", clock_mono_ms() - began));
    return rc == 0 ? 0 : 1;
}

/* --- The command line
 * --------------------------------------------------------------------------------------------------------- */

/* Loads the scripts as the server would, and forgets them. */
static bool check_scripts(const struct config *c, struct buf *errors)
{
    struct cJSON *tree = config_tree(c);
    struct scripts_options o = scripts_options_of(c, tree);
    bool good = tree && scripts_check(&o, errors) == 0;
    cJSON_Delete(tree);
    return good;
}

static int check(const char *config_path)
{
    struct buf errors = BUF_INIT;
    struct config *c = load(NULL, config_path, &errors);
    bool good = c && check_scripts(c, &errors);
    if (good)
        printf("%s: good\n", config_path);
    else
        fwrite(errors.p ? errors.p : "", 1, errors.n, stderr);
    buf_free(&errors);
    config_free(c);
    return good ? 0 : 1;
}

/* The tests beside the scripts of a folder, on the default config. */
static int run_script_tests(const char *folder)
{
    struct buf errors = BUF_INIT;
    struct config *c = config_parse(SLICE_LIT("return {}"), "defaults", &errors);
    struct cJSON *tree = c ? config_tree(c) : NULL;
    unsigned failed = tree ? scripts_run_tests(folder, tree, stdout) : 1;
    cJSON_Delete(tree);
    config_free(c);
    buf_free(&errors);
    return failed ? 1 : 0;
}

static int print_defaults(void)
{
    struct buf text = BUF_INIT;
    config_print_defaults(&text);
    bool ok = buf_ok(&text) && fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0;
    buf_free(&text);
    return ok ? 0 : 1;
}

static const char usage[] = "usage: magpied -c FILE       run in the foreground\n"
                            "       magpied -t -c FILE    check the config and the scripts, print every error\n"
                            "       magpied --defaults    print the default config with comments\n"
                            "       magpied --run-script-tests DIR    run the *_test.lua of a folder\n"
                            "       magpied --version\n"
                            "       magpied --help\n";

static int wrong_usage(const char *what, const char *which)
{
    fprintf(stderr, "magpied: %s%s\n%s", what, which, usage);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"defaults", no_argument, NULL, 'D'},
                                            {"run-script-tests", required_argument, NULL, 'S'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *config_path = NULL;
    bool test = false;
    opterr = 0;
    if (stdio_fds_open() != 0)
        return 1;
    heap_setup();
    for (int c; (c = getopt_long(argc, argv, ":c:th", options, NULL)) != -1;) {
        /* A letter inside of a cluster (-xt) is told alone. */
        const char letter[3] = {'-', (char)optopt};
        const char *given = strncmp(argv[optind - 1], "--", 2) != 0 && optopt ? letter : argv[optind - 1];
        switch (c) {
        case 'c':
            config_path = optarg;
            break;
        case 't':
            test = true;
            break;
        case 'D':
            return print_defaults();
        case 'S':
            return run_script_tests(optarg);
        case 'V':
            return printf("magpied %s\n", MAGPIE_VERSION) < 0;
        case 'h':
            return fputs(usage, stdout) < 0;
        case ':':
            return wrong_usage(given, strcmp(given, "-c") == 0 ? " needs a file" : " needs a folder");
        default:
            return wrong_usage("unknown option ", given);
        }
    }
    if (optind < argc)
        return wrong_usage("unexpected argument ", argv[optind]);
    if (!config_path)
        return wrong_usage("no config: -c FILE is missing", "");
    return test ? check(config_path) : run(config_path);
}
