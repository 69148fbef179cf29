#include "core/script/script_set.h"

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/script/api.h"
#include "core/script/script_store.h"
#include "core/script/scripts_private.h"
#include "core/script/shipped.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 }; /* bytes of a script */

/* --- Life --------------------------------------------------------------------------------------------------------- */

void script_set_free(struct script_set *g)
{
    if (!g)
        return;
    for (size_t i = 0; g->states && i < (size_t)g->shard_count * g->count; i++)
        state_free(g->states[i]);
    cJSON_Delete(g->config);
    free(g->states);
    free(g->shard_sets);
    free(g->loading);
    free(g->hooks);
    free(g->actions);
    free(g->commands);
    free(g);
}

/* Words with slashes between: a script may lie in a folder below scripts.path, and nowhere else. */
static bool name_good(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/");
    return n > 0 && n < SCRIPT_NAME_MAX && name[n] == '\0' && name[0] != '/' && name[n - 1] != '/' &&
           !strstr(name, "//");
}

/* The names to load, those that are disabled aside. */
static int take_names(struct scripts *s, struct script_set *g, const struct scripts_options *o, struct buf *errors)
{
    size_t before = errors->n;
    bool too_many = false;
    for (const char *const *name = o->load; *name; name++) {
        const struct script_record *r = name_good(*name) ? scripts_record(s, *name) : NULL;
        if (!name_good(*name))
            buf_printf(errors,
                       "scripts.load: \"%s\" is no name of a script: letters, digits, _ and -, with / for folders, and "
                       "no .lua\n",
                       *name);
        else if (!r || g->count == SCRIPTS_MAX)
            too_many = true;
        else if (!r->disabled)
            memcpy(g->names[g->count++], r->name, SCRIPT_NAME_MAX);
    }
    if (too_many)
        buf_printf(errors, "scripts.load: too many scripts; %d at most\n", SCRIPTS_MAX);
    for (uint32_t i = 0; i < g->count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(g->names[j], g->names[i]) == 0)
                buf_printf(errors, "scripts.load: %s is named twice\n", g->names[i]);
    return errors->n == before ? 0 : ERR_INVALID;
}

static int script_set_new(struct scripts *s, const struct scripts_options *o, struct buf *errors,
                          struct script_set **out)
{
    struct script_set *g = calloc(1, sizeof *g);
    if (!g)
        goto oom;
    g->host = s;
    g->shard_count = s->shard_count;
    if (take_names(s, g, o, errors) != 0) {
        script_set_free(g);
        return ERR_INVALID;
    }
    g->config = cJSON_Duplicate(o->config, true);
    g->states = calloc((size_t)s->shard_count * g->count + 1, sizeof(struct state *));
    g->shard_sets = calloc(s->shard_count, sizeof *g->shard_sets);
    g->loading = calloc(s->shard_count, sizeof *g->loading);
    if ((o->config && !g->config) || !g->states || !g->shard_sets || !g->loading)
        goto oom;
    for (unsigned k = 0; k < s->shard_count; k++) {
        g->loading[k] = (struct script_env){
            .world = &s->main_world, .watched = s->main_watched, .kv = s->envs[k].kv, .shared = s->shared};
        g->shard_sets[k] = (struct shard_set){.env = &g->loading[k],
                                              .config = g->config,
                                              .budget_us = (uint64_t)(o->budget_ms * 1000) + 1,
                                              .memory_max = o->memory,
                                              .loading = true};
    }
    *out = g;
    return 0;
oom:
    buf_str(errors, "scripts: out of memory\n");
    script_set_free(g);
    return ERR_NOMEM;
}

/* --- Loading ------------------------------------------------------------------------------------------------------ */

/* A shipped script where scripts.path has no file of its name. */
static bool read_shipped(const char *file, const char *name, struct buf *text)
{
    for (const struct shipped_script *x = shipped_scripts; x->name; x++) {
        if (strcmp(x->name, name) != 0)
            continue;
        log_event(LOG_INFO, "script.shipped", LOG_STR("script", name), LOG_STR("because", "there is no such file"),
                  LOG_STR("file", file));
        buf_put(text, x->text, x->n);
        return buf_ok(text);
    }
    return false;
}

static int read_file(const char *file, const char *name, struct buf *text, struct buf *errors)
{
    FILE *f = fopen(file, "re");
    if (!f && errno == ENOENT && read_shipped(file, name, text))
        return 0;
    if (!f) {
        buf_printf(errors, "%s: %s\n", file, strerror(errno));
        return ERR_IO;
    }
    char *room;
    size_t n = 1;
    while (n > 0 && text->n <= FILE_MAX && (room = buf_reserve(text, 65536)) != NULL) {
        n = fread(room, 1, 65536, f);
        text->n += n;
    }
    bool bad = ferror(f) || !buf_ok(text);
    fclose(f);
    if (bad || text->n > FILE_MAX)
        buf_printf(errors, "%s: %s\n", file, bad ? "cannot be read" : "more than 1 MiB");
    return bad || text->n > FILE_MAX ? ERR_IO : 0;
}

/* Every shard must have got the same hooks and actions, since one table in the hub stands for all. */
static bool same_shape(const struct state *a, const struct state *b)
{
    if (a->handler_count != b->handler_count || a->action_count != b->action_count ||
        a->command_count != b->command_count)
        return false;
    for (uint32_t i = 0; i < a->handler_count; i++)
        if (a->handlers[i].event != b->handlers[i].event || a->handlers[i].priority != b->handlers[i].priority)
            return false;
    for (uint32_t i = 0; i < a->action_count; i++)
        if (a->actions[i].number != b->actions[i].number)
            return false;
    for (uint32_t i = 0; i < a->command_count; i++)
        if (strcmp(a->commands[i].name, b->commands[i].name) != 0)
            return false;
    return true;
}

static int load_script(struct scripts *s, struct script_set *g, const char *path, uint32_t i, struct buf *errors)
{
    char file[512];
    struct buf text = BUF_INIT;
    snprintf(file, sizeof file, "%s/%s.lua", path, g->names[i]);
    int rc = read_file(file, g->names[i], &text, errors);
    struct script_record *r = scripts_record(s, g->names[i]);
    for (unsigned k = 0; rc == 0 && k < g->shard_count; k++) {
        struct state *st = r ? state_new(&g->shard_sets[k], g->names[i], &r->stats[k]) : NULL;
        g->states[(size_t)k * g->count + i] = st;
        if (!st) {
            buf_printf(errors, "%s: out of memory: does scripts.memory suffice?\n", file);
            rc = ERR_NOMEM;
        } else if (!(st->space = script_store_space(s->store, g->names[i]))) {
            buf_printf(errors, "%s: out of memory\n", file);
            rc = ERR_NOMEM;
        } else if ((rc = state_load(st, file, buf_slice(&text))) != 0) {
            buf_printf(errors, "%s%s%s\n", strncmp(st->error, file, strlen(file)) == 0 ? "" : file,
                       strncmp(st->error, file, strlen(file)) == 0 ? "" : ": ", st->error);
        } else if (k == 0 && state_is_idle(st)) {
            buf_printf(errors, STATE_IDLE "\n", file);
            rc = ERR_INVALID;
        } else if (!same_shape(g->states[i], st)) {
            buf_printf(errors, "%s: registers other hooks, actions or commands on one shard than on another\n", file);
            rc = ERR_INVALID;
        }
    }
    if (rc == 0)
        g->timers[i] = g->states[i]->timer_count;
    buf_free(&text);
    return rc;
}

/* Two scripts may not both answer one action. */
static int check_actions(const struct script_set *g, struct buf *errors)
{
    uint8_t by[1000] = {0}; /* script + 1 */
    size_t before = errors->n;
    for (uint32_t i = 0; i < g->count; i++) {
        const struct state *st = g->states[i];
        for (uint32_t a = 0; a < st->action_count; a++) {
            uint16_t number = st->actions[a].number;
            if (by[number])
                buf_printf(errors, "scripts: action %u of %s is one of %s already\n", number, st->name,
                           g->names[by[number] - 1]);
            by[number] = (uint8_t)(i + 1);
        }
    }
    return errors->n == before ? 0 : ERR_INVALID;
}

static int check_login(const struct script_set *g, const struct scripts_options *o, struct buf *errors)
{
    if (!o->login_needed)
        return 0;
    for (uint32_t i = 0; i < g->count; i++)
        for (uint32_t j = 0; j < g->states[i]->handler_count; j++)
            if (g->states[i]->handlers[j].event == HOOK_LOGIN)
                return 0;
    buf_str(errors,
            "auth.mode: is \"script\", and no script that is loaded has a \"login\" hook: nobody could log in\n");
    return ERR_INVALID;
}

static int check_fetch(const struct scripts_options *o, struct buf *errors)
{
    const struct cJSON *list = json_at(o->config, "scripts.fetch"), *item;
    size_t before = errors->n;
    cJSON_ArrayForEach(item, list)
    {
        const char *wrong = cJSON_IsString(item) ? fetch_prefix_wrong(item->valuestring) : "it is no text";
        if (wrong)
            buf_printf(errors, "scripts.fetch: \"%s\": %s\n", cJSON_IsString(item) ? item->valuestring : "?", wrong);
    }
    return errors->n == before ? 0 : ERR_INVALID;
}

int script_set_build(struct scripts *s, const struct scripts_options *o, struct buf *errors, struct script_set **out)
{
    struct script_set *g;
    int rc = script_set_new(s, o, errors, &g);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < g->count; i++) {
        int one = load_script(s, g, o->path, i, errors);
        rc = rc ? rc : one;
    }
    int listed = check_fetch(o, errors);
    rc = rc ? rc : listed;
    if (rc == 0)
        rc = check_actions(g, errors);
    if (rc == 0)
        rc = check_login(g, o, errors);
    if (rc != 0) {
        script_set_free(g);
        return rc;
    }
    *out = g;
    return 0;
}
