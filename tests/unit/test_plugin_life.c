/* Plugins on a hub whose shards do not run: everything happens inside the calls, so that what is left can be looked
 * at. */
#include "tests/unit/plugin_kit.h"

#include "core/base/log.h"
#include "core/hub/registry/action.h"
#include "core/hub/hub.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shards.h"
#include "core/plugin/lifecycle.h"

#include <ev.h>

struct kit {
    struct ev_loop *loop;
    struct mailbox mail;
    ev_async mailed;
    struct store *store;
    struct hub *hub;
    struct plugins *plugins;
    char path[512];
    unsigned metrics; /* of the hub alone */
    uint32_t hooks;   /* the same */
    char data[64];
};

static void on_mail(struct ev_loop *loop, ev_async *w, int events)
{
    (void)loop, (void)events;
    mailbox_run(w->data, NULL);
}

static void wake(void *ctx)
{
    struct kit *k = ctx;
    ev_async_send(k->loop, &k->mailed);
}

static int no_config(void *ctx, const char *path, struct buf *out)
{
    (void)ctx;
    if (strcmp(path, "auth.mode") != 0)
        return ERR_NOTFOUND;
    buf_str(out, "open");
    return 0;
}

static void count(void *ctx, const struct metric *m, const char *labels, double value, const struct metric_histogram *h)
{
    (void)m, (void)labels, (void)value, (void)h;
    ++*(unsigned *)ctx;
}

static unsigned metrics_of(const struct kit *k)
{
    unsigned n = 0;
    metrics_each(k->hub, count, &n);
    return n;
}

static uint32_t hooks_of(const struct kit *k)
{
    uint32_t n = 0;
    for (unsigned e = 0; e < HOOK_EVENTS; e++)
        n += k->hub->tables->hook_count[e];
    return n;
}

/* The data directory and what the plugin `values` made in it. */
static void remove_data(const struct kit *k)
{
    static const char *const below[] = {"/plugins/values", "/plugins", ""};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", k->data, below[i]);
        rmdir(path);
    }
}

static void begin(struct kit *k)
{
    char why[256];
    struct store_options so = {.engine = "memory", .memory = 1 << 20, .sync_every_ms = 1000};
    struct hub_options ho = {
        .auth_mode = "open", .content_max = 1000, .page_max = 65536, .net = {.frame = 65536, .output_queue = 1 << 20}};
    memset(k, 0, sizeof *k);
    hash_init();
    (void)!log_open(NULL, LOG_TEXT, LOG_ERROR);
    log_set_level(LOG_ERROR + 1);
    k->loop = ev_loop_new(EVFLAG_AUTO);
    mailbox_init(&k->mail, wake, k);
    ev_async_init(&k->mailed, on_mail);
    k->mailed.data = &k->mail;
    ev_async_start(k->loop, &k->mailed);
    assert_int_equal(store_open(&k->store, &so, why, sizeof why), 0);
    k->hub = hub_new(2, k->store, &ho);
    assert_non_null(k->hub);
    hub_set_main(k->hub, &k->mail);
    k->metrics = metrics_of(k);
    k->hooks = hooks_of(k);
    snprintf(k->data, sizeof k->data, "/tmp/magpie-plugins-XXXXXX");
    assert_non_null(mkdtemp(k->data));
    k->plugins = plugins_new(
        &(struct plugin_env){.hub = k->hub, .loop = k->loop, .data = k->data, .config = no_config, .ctx = k});
    assert_non_null(k->plugins);
    kit_plugins(k->path);
}

static void end(struct kit *k)
{
    assert_true(plugins_stop(k->plugins, 20000));
    assert_null(k->plugins->list);
    assert_int_equal(metrics_of(k), k->metrics);
    plugins_free(k->plugins);
    assert_null(command_at(k->hub, 0));
    hub_stop(k->hub);
    store_close(k->store);
    mailbox_run(&k->mail, NULL);
    hub_free(k->hub);
    ev_async_stop(k->loop, &k->mailed);
    mailbox_fini(&k->mail);
    ev_loop_destroy(k->loop);
    remove_data(k);
    log_set_level(LOG_ERROR);
}

static int load(struct kit *k, const char *json, struct buf *errors)
{
    struct cJSON *tree = cJSON_Parse(json);
    assert_non_null(tree);
    int rc =
        plugins_start(k->plugins, &(struct plugin_config){.file = "test.lua", .path = k->path, .load = tree}, errors);
    cJSON_Delete(tree);
    return rc;
}

/* Nothing of a plugin is in the newest tables. */
static bool tables_clean(const struct kit *k)
{
    const struct tables *t = k->hub->tables;
    return hooks_of(k) == k->hooks && !t->route_count && !t->upgrade_count && !t->auth_count && !action_find(t, 1000);
}

static void all_areas(void **state)
{
    struct kit k;
    struct buf errors = BUF_INIT;
    (void)state;
    begin(&k);
    assert_int_equal(load(&k,
                          "{\"hooks\":{},\"provider\":{},\"actions\":{},\"http\":{},\"sockets\":{},\"threads\":{},"
                          "\"current\":{\"word\":\"x\"},\"operations\":{},"
                          "\"values\":{\"must\":\"x\"}}",
                          &errors),
                     0);
    assert_int_equal(errors.n, 0);
    for (const struct mp_self *p = k.plugins->list; p; p = p->next)
        assert_int_equal(p->state, PLUGIN_RUNNING);
    const struct tables *t = k.hub->tables;
    assert_int_equal(t->route_count, 6);
    assert_int_equal(t->upgrade_count, 1);
    assert_int_equal(t->auth_count, 1);
    assert_string_equal(t->auth[0].name, "test");
    assert_non_null(action_find(t, 1005));
    assert_int_equal(metrics_of(&k), k.metrics + 2);
    /* The threads plugin's main timer and pipe. */
    for (int i = 0; i < 50; i++)
        ev_run(k.loop, EVRUN_ONCE);
    plugin_unload(plugin_find(k.plugins, "hooks"), NULL);
    plugin_poll(k.plugins);
    assert_null(plugin_find(k.plugins, "hooks"));
    assert_non_null(plugin_find(k.plugins, "threads"));
    assert_true(plugins_stop(k.plugins, 20000));
    assert_true(tables_clean(&k));
    end(&k);
}

static void half_way(void **state)
{
    static const char *const wrong[] = {"wrong_init", "wrong_shard", "wrong_promise"};
    struct kit k;
    (void)state;
    begin(&k);
    for (size_t i = 0; i < 3; i++) {
        struct buf errors = BUF_INIT;
        char json[64];
        snprintf(json, sizeof json, "{\"%s\":{}}", wrong[i]);
        assert_int_equal(load(&k, json, &errors), ERR_INVALID);
        assert_true(errors.n > 0);
        assert_true(tables_clean(&k));
        for (int turn = 0; turn < 100 && k.plugins->list; turn++) {
            ev_run(k.loop, EVRUN_ONCE);
            mailbox_run(&hub_shard(k.hub, 0)->mailbox, hub_shard(k.hub, 0));
        }
        assert_null(k.plugins->list);
        buf_free(&errors);
    }
    end(&k);
}

static void checks(void **state)
{
    struct kit k;
    struct buf errors = BUF_INIT;
    bool served = true;
    (void)state;
    begin(&k);
    struct cJSON *tree = cJSON_Parse("{\"values\":{\"must\":\"never\"},\"nowhere\":{},\"provider\":{\"x\":1}}");
    struct plugin_config c = {.file = "f", .path = k.path, .load = tree};
    plugins_check(NULL, &c, "other", &served, &errors);
    assert_false(served);
    buf_byte(&errors, '\0');
    assert_non_null(strstr(
        errors.p,
        "f: plugins.load.values.must: may not be \"never\"\nf: plugins.load.values: and that is all (not running)\n"));
    assert_non_null(strstr(errors.p, "f: plugins.load.nowhere: there is no file"));
    assert_non_null(strstr(errors.p, "f: plugins.load.provider.x: unknown option; the plugin has none\n"));
    plugins_check(NULL, &c, "test", &served, &errors);
    assert_true(served);
    buf_free(&errors);
    cJSON_Delete(tree);
    end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_areas), cmocka_unit_test(half_way),
                                       cmocka_unit_test(checks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
