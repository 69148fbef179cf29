#include "core/server/reload.h"

#include "core/base/log.h"
#include "core/base/log_security.h"
#include "core/config/config.h"
#include "core/config/config_options.h"
#include "core/config/secret.h"
#include "core/console/console.h"
#include "core/hub/hub.h"
#include "core/hub/shard/options.h"
#include "core/plugin/plugins.h"
#include "core/script/scripts.h"
#include "core/server/parts.h"
#include "core/server/secure.h"
#include "core/server/key_watch.h"
#include "core/server/server_private.h"
#include "core/server/settings.h"
#include "core/server/token_key.h"
#include "storage/store.h"

#include <errno.h>
#include <string.h>

/* Lines of a buffer, each as one log line: however many they are, who mends the config needs them all. */
static void log_lines(enum log_level level, const char *id, const char *key, const struct buf *lines)
{
    for (size_t at = 0; at < lines->n;) {
        const char *end = memchr(lines->p + at, '\n', lines->n - at);
        size_t n = end ? (size_t)(end - lines->p) - at : lines->n - at;
        const struct log_field line[] = {LOG_SLICE(key, slice_of(lines->p + at, n)), {.type = LOG_F_END}};
        if (log_enabled(level))
            log_write_all(level, id, line);
        at += n + 1;
    }
}

/* Nothing comes of what was prepared. */
static void abandon(struct server *s)
{
    scripts_abandon(s->scripts);
    secure_abandon(s);
}

static void logs_back(const struct config *c)
{
    (void)!log_open(c->log.file, (enum log_format)c->log.format, (enum log_level)c->log.level);
    (void)!security_open(c->log.security, (enum log_format)c->log.format);
}

/* Both logs, or none: after an error they are as `now` says. */
static int open_logs(const struct config *fresh, const struct config *now, struct buf *errors)
{
    if (log_open(fresh->log.file, (enum log_format)fresh->log.format, (enum log_level)fresh->log.level) != 0) {
        buf_printf(errors, "log.file: %s cannot be opened for appending: %s\n", fresh->log.file, strerror(errno));
        return -1;
    }
    if (security_open(fresh->log.security, (enum log_format)fresh->log.format) != 0) {
        buf_printf(errors, "log.security: %s cannot be opened for appending: %s\n", fresh->log.security,
                   strerror(errno));
        logs_back(now);
        return -1;
    }
    return 0;
}

/* Everything that can fail comes before anything that is seen from outside, but for the log, which stays where it was
 * if it cannot be opened. */
static int apply(struct server *s, struct config *fresh, struct buf *errors)
{
    uint8_t key[SECRET_KEY_SIZE];
    char why[WHY_MAX] = "";
    struct hub_options hub_options;
    struct store_options store_options;
    if (token_key_load(s, fresh, key, why, sizeof why) != 0) {
        buf_printf(errors, "%s\n", why);
        return -1;
    }
    if (secure_prepare(s, fresh, errors) != 0)
        return -1;
    int prepared = parts_prepare_scripts(s, fresh, errors);
    if (prepared != 0) {
        secure_abandon(s);
        return prepared == ERR_AGAIN ? ERR_AGAIN : -1;
    }
    struct plugin_config plugins = settings_plugins(fresh, s->config_path);
    if (plugins_prepare(s->plugins, &plugins) != 0) {
        abandon(s);
        buf_str(errors, "out of memory\n");
        return -1;
    }
    if (open_logs(fresh, s->config, errors) != 0) {
        abandon(s);
        return -1;
    }
    config_hub_options(fresh, key, &hub_options);
    if (hub_reconfigure(s->hub, &hub_options) != 0) {
        abandon(s);
        logs_back(s->config);
        buf_str(errors, "out of memory\n");
        return -1;
    }
    secure_commit(s);
    if (scripts_commit(s->scripts) != 0)
        log_event(LOG_ERROR, "script.reload_failed", LOG_STR("because", "out of memory"),
                  LOG_STR("kept", "the scripts before"));
    config_store_options(fresh, &store_options);
    store_configure(s->store, &store_options);
    memcpy(s->key, key, sizeof key);
    explicit_bzero(key, sizeof key);
    return 0;
}

int reload_adopt(void *ctx, struct config *fresh, struct buf *errors)
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
    key_watch(s);
    console_set_password(s->console, fresh->console.password);
    plugins_reload(s->plugins);
    log_event(LOG_INFO, "config.reloaded", LOG_STR("file", s->config_path), LOG_INT("need_restart", waiting));
    log_lines(LOG_WARN, "config.needs_restart", "path", &restart);
    settings_log_doubts(fresh);
    if (more)
        parts_raise_limits(fresh);
    buf_free(&restart);
    return 0;
}

/* Whatever else failed: a moved log file is what rotation waits for. */
static void reopen_logs(const struct config *c)
{
    if (log_reopen(c->log.file) != 0)
        log_event(LOG_ERROR, "log.reopen_failed", LOG_STR("file", c->log.file), LOG_STR("error", strerror(errno)));
    if (security_open(c->log.security, (enum log_format)c->log.format) != 0)
        log_event(LOG_ERROR, "log.reopen_failed", LOG_STR("file", c->log.security), LOG_STR("error", strerror(errno)));
}

void reload_file(struct server *s)
{
    struct buf errors = BUF_INIT;
    struct config *fresh = settings_load(s->plugins, s->config_path, &errors);
    if (!fresh || reload_adopt(s, fresh, &errors) != 0) {
        reopen_logs(s->config); /* first, so that the errors are in the file that is looked at */
        log_lines(LOG_ERROR, "config.error", "error", &errors);
        log_event(LOG_ERROR, "config.reload_failed", LOG_STR("kept", "the config before"));
        config_free(fresh);
    }
    buf_free(&errors);
}
