/*
 * New options for a running plugin. What check() has found good is what apply() gets, so a plugin can prepare all that
 * may fail in check() and has nothing left to do that could.
 */
#include "core/plugin/reload.h"

#include "core/base/log.h"
#include "core/plugin/options.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/threads.h"

#include <cjson/cJSON.h>
#include <stdio.h>

int plugin_check(const struct mp_plugin *d, void *state, const struct mp_options *o, char *why, size_t why_size)
{
    if (!d->check)
        return 0;
    struct running before = running_set((struct running){.kind = "plugin", .name = d->name, .doing = "check()"});
    int rc = d->check(&plugin_api, state, o, why, why_size);
    running_set(before);
    return rc;
}

void options_check(const struct mp_plugin *d, void *state, const struct mp_options *o, const char *prefix,
                   struct buf *errors)
{
    char why[2048] = "";
    if (plugin_check(d, state, o, why, sizeof why) == 0)
        return;
    if (!why[0])
        snprintf(why, sizeof why, "its options are refused");
    for (const char *line = why; *line;) {
        size_t n = strcspn(line, "\n");
        /* "OPTION: what is wrong" and "OPTION[1]: …" continue the path, any other sentence stands behind it. */
        size_t word = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_");
        if (word && line[word] == '[')
            word += 1 + strspn(line + word + 1, "0123456789]");
        bool is_option = word > 0 && word < n && line[word] == ':';
        buf_printf(errors, "%s%s%.*s\n", prefix, is_option ? "." : ": ", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

void checked_free(struct mp_self *p)
{
    options_free(p->checked.options);
    cJSON_Delete(p->checked.json);
    memset(&p->checked, 0, sizeof p->checked);
}

void checked_keep(struct mp_self *p, const struct cJSON *json, struct mp_options *o)
{
    struct cJSON *copy = cJSON_Duplicate(json, true);
    checked_free(p);
    if (!copy) { /* plugin_prepare() tries once more */
        options_free(o);
        return;
    }
    p->checked.of = json;
    p->checked.json = copy;
    p->checked.options = o;
}

int plugin_prepare(struct mp_self *p, const struct cJSON *json)
{
    /* It was checked already, unless the config was changed by another way than a file (`set`). */
    if (p->checked.options && p->checked.of == json && cJSON_Compare(p->checked.json, json, true))
        return 0;
    checked_free(p);
    struct buf errors = BUF_INIT;
    struct mp_options *o = options_read(p->desc, json, p->name, &errors);
    if (o)
        options_check(p->desc, p->data, o, p->name, &errors);
    bool refused = errors.n > 0;
    if (refused)
        log_event(LOG_ERROR, "plugin.reload_failed", LOG_STR("plugin", p->name),
                  LOG_SLICE("because", buf_slice(&errors)), LOG_STR("kept", "the options before"));
    buf_free(&errors);
    if (o && !refused)
        checked_keep(p, json, o);
    else
        options_free(o);
    return p->checked.options ? 0 : refused ? ERR_INVALID : ERR_NOMEM;
}

void plugin_adopt(struct mp_self *p, const struct cJSON *json)
{
    struct buf kept = BUF_INIT;
    bool changed = !cJSON_Compare(p->json, json, true);
    if (!p->desc->apply) {
        if (changed)
            log_event(LOG_WARN, "plugin.needs_reload", LOG_STR("plugin", p->name),
                      LOG_STR("because", "it takes no new options while it runs: `plugin unload` and `plugin load`"));
        return;
    }
    struct mp_options *fresh = p->checked.options;
    if (!fresh)
        return;
    options_keep(fresh, p->options, &kept);
    if (kept.n)
        log_event(LOG_WARN, "plugin.needs_reload", LOG_STR("plugin", p->name), LOG_SLICE("options", buf_slice(&kept)));
    struct visit v = visit_begin(&p->plugins->threads[0], p, "apply()");
    p->desc->apply(p->data, fresh);
    visit_end(&p->plugins->threads[0], &v);
    options_free(p->options);
    cJSON_Delete(p->json);
    p->options = fresh;
    p->json = p->checked.json;
    memset(&p->checked, 0, sizeof p->checked);
    if (changed)
        log_event(LOG_INFO, "plugin.reloaded", LOG_STR("plugin", p->name));
    buf_free(&kept);
}
