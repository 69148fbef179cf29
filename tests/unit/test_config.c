/* The config file: what is taken, what is refused and how it is told. */
#include "core/base/log.h"
#include "core/config/config.h"
#include "core/config/config_options.h"
#include "core/config/machine.h"
#include "core/config/config_schema.h"
#include "core/hub/shard/options.h"
#include "storage/store.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define PLANTED "planted-secret-0123456789"

static struct config *parse(const char *text, struct buf *errors)
{
    struct config *c = config_parse(slice_str(text), "f.lua", errors);
    buf_byte(errors, '\0');
    assert_true(buf_ok(errors));
    return c;
}

/* The config of a file that must be good. */
static struct config *good(const char *text)
{
    struct buf errors = BUF_INIT;
    struct config *c = parse(text, &errors);
    if (!c)
        fail_msg("%s: %s", text, errors.p);
    buf_free(&errors);
    return c;
}

static void test_defaults_are_a_config(void **state)
{
    (void)state;
    struct buf text = BUF_INIT, restart = BUF_INIT;
    config_print_defaults(&text);
    buf_byte(&text, '\0');
    struct config *a = good(text.p), *b = good("return {}");
    assert_int_equal(config_needs_restart(a, b, &restart), 0);
    config_free(a);
    config_free(b);
    buf_free(&text);
    buf_free(&restart);
}

/* The values of docs/configuration.md. */
static void test_default_values(void **state)
{
    (void)state;
    struct config *c = good("return {}");
    assert_string_equal(c->listen.tcp.v[0], "127.0.0.1:8081");
    assert_string_equal(c->listen.websocket.v[0], "127.0.0.1:8082");
    assert_string_equal(c->listen.console.v[0], "127.0.0.1:8083");
    assert_int_equal(c->listen.tcps.n + c->listen.wss.n, 0);
    assert_int_equal(c->tls.certificate.n + c->tls.key.n, 0);
    assert_int_equal(c->tls.records, RECORDS_OWN);
    assert_int_equal(c->threads + c->node, 0);
    assert_string_equal(c->data, "data");
    assert_int_equal(c->storage.engine, ENGINE_ROCKSDB);
    assert_int_equal(c->storage.memory, 128 << 20);
    assert_int_equal(c->log.level, LOG_INFO);
    assert_int_equal(c->log.format, LOG_TEXT);
    assert_null(c->log.file);
    assert_string_equal(c->auth.mode, "open");
    assert_null(c->auth.secret);
    assert_false(c->auth.allow_open);
    assert_int_equal(c->limits.connections, machine_connections());
    assert_int_equal(c->limits.connections_per_ip, 0);
    assert_int_equal(c->limits.inbox, 10000);
    assert_string_equal(c->scripts.path, "scripts");
    assert_int_equal(c->scripts.load.n, 3);
    assert_string_equal(c->scripts.load.v[2], "tiered_expiry");
    assert_null(c->scripts.load.v[3]);
    assert_string_equal(c->plugins.path, "plugins");
    assert_null(c->plugins.load->child);
    assert_null(c->console.password);
    assert_int_equal(c->origins.n, 0);
    assert_non_null(c->origins.v);
    config_free(c);
}

static void test_default_options(void **state)
{
    (void)state;
    struct config *c = good("return {}");
    struct hub_options hub;
    struct store_options store;
    uint8_t key[32] = {7};
    config_hub_options(c, key, &hub);
    config_store_options(c, &store);
    assert_int_equal(hub.net.frame, 64 << 10);
    assert_int_equal(hub.net.output_queue, 1 << 20);
    assert_int_equal(hub.net.output_total, machine_memory() / 8);
    assert_int_equal(hub.net.output_per_ip, machine_memory() / 32);
    assert_int_equal(hub.output_per_user, 8 << 20);
    assert_int_equal(hub.net.early_total, 64 << 20);
    assert_int_equal(hub.net.early_per_ip, 8 << 20);
    assert_int_equal(hub.net.http.head, 16 << 10);
    assert_int_equal(hub.net.http.fields, 100);
    assert_int_equal(hub.net.connections, machine_connections());
    assert_int_equal(hub.net.login_timeout, 10);
    assert_int_equal(hub.net.ping_timeout, 45);
    assert_int_equal(hub.net.idle_timeout, 120);
    assert_null(hub.net.protocols[0]);
    assert_int_equal(hub.send, SEND_MEMBERS);
    assert_int_equal(hub.secret[0], 7);
    assert_int_equal(hub.content_max, 16 << 10);
    assert_int_equal(hub.page_max, 256 << 10);
    assert_int_equal(hub.subscriptions_max, 1000);
    assert_int_equal(hub.channels_max, 0);
    assert_int_equal(hub.guest_ms, 86400000);
    assert_int_equal(hub.recall_ms, 120000);
    assert_int_equal(hub.create, CREATE_ANY);
    assert_int_equal(hub.large_members, 500);
    assert_int_equal(hub.slice_ms, 200);
    assert_int_equal(hub.slice_max, 20);
    assert_int_equal(hub.rate_user, 10);
    assert_int_equal(hub.rate_channel, 40);
    assert_int_equal(hub.rate_policy, RATE_DROP);
    assert_string_equal(store.engine, "rocksdb");
    assert_int_equal(store.sync_every_ms, 1000);
    assert_int_equal(store.dedup_window_ms, 600000);
    assert_int_equal(store.inbox_max, 10000);
    assert_false(store.keep_vacant);
    assert_int_equal(store.tiers[TIER_DM].ttl_ms, 0);
    assert_int_equal(store.tiers[TIER_DM].max, 100000);
    assert_int_equal(store.tiers[TIER_DM].durability, DURABILITY_SYNC);
    assert_int_equal(store.tiers[TIER_SMALL].ttl_ms, 90ull * 86400000);
    assert_int_equal(store.tiers[TIER_SMALL].max, 10000);
    assert_int_equal(store.tiers[TIER_SMALL].durability, DURABILITY_COMMIT);
    assert_int_equal(store.tiers[TIER_LARGE].ttl_ms, 7ull * 86400000);
    assert_int_equal(store.tiers[TIER_LARGE].max, 1000);
    config_free(c);
}

/* Files that must be taken. */
static const char *const good_files[] = {
    "return {}",
    "-- only comments before\nreturn { limits = {} }",
    "return { listen = { tcp = '0.0.0.0:1', websocket = {} }, auth = { allow_open = true } }",
    "return { listen = { tcp = { '127.0.0.1:1', '[::1]:1' }, websocket = false, console = false } }",
    "return { listen = { tcp = { '127.0.0.1:0', '[::1]:0' }, websocket = '127.0.0.1:0' } }",
    "return { listen = { tcp = '127.0.0.1:8083' } }", /* the default of the console gives way */
    "return { listen = { tcp = 'unix:/tmp/m.sock' } }",
    "return { listen = { console = '0.0.0.0:9' }, console = { password = 'x' } }",
    "return { tls = { certificate = 'c', key = 'k' }, listen = { wss = '127.0.0.1:3' } }",
    "return { tls = { certificate = { 'c', 'd' }, key = { 'k', 'k' }, records = 'openssl' },"
    " listen = { tcps = '127.0.0.1:3', console = 'tls:127.0.0.1:4' } }",
    "return { tls = { certificate = 'c', key = 'k', client_ca = 'a' }, listen = { console = 'tls:*:4' } }",
    "local n = 4 return { threads = n * 2 }",
    "return { threads = env('MAGPIE_TEST_UNSET', 3) }",
    "return { threads = env('MAGPIE_TEST_FOUR') + 0 }",
    "return { limits = { frame = 1*MiB, content = 512*KiB, guest = 0.5 } }",
    "return { limits = { frame = 4096 } }",
    "return { auth = { secret = '" PLANTED "' } }",
    "return { plugins = { load = { web = {}, metrics = { path = '/m', list = { 1, 'a', { x = true } } }, old = false } "
    "} }",
    "return { origins = { 'https://chat.example.org', 'http://localhost:3000' } }",
    "return { storage = { engine = 'memory' }, timeouts = { login = 0, idle = 0 } }",
    "return { timeouts = { idle = 30 } }", /* the default of ping follows */
    "return { timeouts = { ping = 0 } }",
    "return { timeouts = { ping = 45, idle = 0 } }",
    "return { listen = { protocols = { 'chat.v1', 'x' } }, channels = { send = 'any' } }",
    "return { scripts = { load = {} }, rate = { user = 0, channel = 0, policy = 'complete' } }",
    "return { data = nil, log = { file = nil } }",
    "return { cluster = { redis = {} } }",
    "return { cluster = { redis = { '10.0.0.1:6379', 'redis-2.example:7000', '[fd00::1]:1' }, username = 'm', "
    "password = '" PLANTED "', prefix = 'A-z_0.9:', copies = 3, patience = 1, isolated = 5, balance = false, "
    "archive = { url = 'postgresql://m:" PLANTED "@db1,db2/chat', hot = 1, hot_age = 0, cache = 0 } } }",
};

static void test_good_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_files / sizeof good_files[0]; i++)
        config_free(good(good_files[i]));
}

/* Files that must be refused, with a piece of the error. */
static const struct {
    const char *text, *error;
} bad_files[] = {
    /* the file as a whole */
    {"", "f.lua: the file must return a table"},
    {"return 7", "must return a table"},
    {"return { 1, 2 }", "found a list"},
    {"return {", "f.lua:1: "},
    {"return {\n  a = = 1 }", "f.lua:2: "},
    {"\x1bLJ\x02", "compiled Lua"},
    {"return { log = { level = info } }", "f.lua:1: unknown name: a text stands in quotes"},
    {"return { limits = { frame = 64*KB } }", "f.lua:1: unknown name KB; did you mean KiB?"},
    {"return { auth = { secret = hunter2hunter2 } }", "f.lua:1: unknown name: a text stands in quotes"},
    {"return { storage = { memory = 128*MB } }", "f.lua:1: unknown name MB; did you mean MiB?"},
    {"return { tiers = { dm = { ttl = 9*day } } }", "f.lua:1: unknown name day; did you mean days?"},
    {"return print", "there is no print here"},
    {"return { data = os.getenv('HOME') }", "f.lua:1: there is no os here: a config is plain data"},
    {"return { data = env('MAGPIE_TEST_UNSET') }", "the environment has no MAGPIE_TEST_UNSET"},
    {"return { threads = ('x'):rep(9) }", "f.lua:1: "},
    {"while true do end", "runs for too long"},
    {"local function f() return f() end return f()", "runs for too long"},
    {"local function f() return 1 + f() end return f()", "f.lua"},
    {"local s = 'x' for i = 1, 60 do s = s .. s end return {}", "too much memory"},
    {"local t = {} for i = 1, 1e9 do t[i] = {} end return t", "f.lua: "},
    {"local t = {} t.t = t return t", "deep"},
    {"local t = {} for i = 1, 20 do t = { a = t, b = t } end return { plugins = { load = { x = t } } }", "f.lua: "},
    {"local t = {} for i = 1, 20000 do t[i] = 'x' end return { origins = t }", "more than"},
    {"return { data = env({}) }", "f.lua:1: "},
    {"return { timeouts = { ping = 120 } }",
     "timeouts.ping: must be less than timeouts.idle, or nobody is asked before "
     "being closed, but 120 is not less than 120 (the default)"},
    {"return { timeouts = { ping = 31, idle = 30 } }", "but 31 is not less than 30\n"},
    {"return { listen = { protocols = { 'chat.v1', 'chat v2' } } }", "listen.protocols: expected the name of a "
                                                                     "subprotocol"},
    {"return { listen = { protocols = { '' } } }", "listen.protocols[1]: expected a text, found \"\""},
    {"return { channels = { send = 'script' } }", "channels.send"},
    /* unknown keys, at any level */
    {"return { limits = { frme = 1 } }", "limits.frme: unknown key; did you mean limits.frame?"},
    {"return { limit = {} }", "limit: unknown key; did you mean limits?"},
    {"return { frame = 1 }", "frame: unknown key; did you mean limits.frame?"},
    {"return { limits = { user = 1 } }", "did you mean rate.user?"},
    {"return { tiers = { dm = { tll = 1 } } }", "did you mean tiers.dm.ttl?"},
    {"return { tiers = { dm = { members = 1 } } }", "tiers.dm.members: unknown key"},
    {"return { zzzzzzzz = 1 }", "f.lua: zzzzzzzz: unknown key\n"},
    {"return { [1] = 1, data = 'x' }", "[1]: unknown key"},
    {"return { limits = { [true] = 1 } }", "limits[boolean]: unknown key"},
    {"return { ['a\\27[31m'] = 1 }", "a\\x1b[31m: unknown key"},
    /* types and bounds */
    {"return { limits = 7 }", "limits: expected a table, found 7"},
    {"return { limits = { 1, 2 } }", "limits: expected a table, found a list"},
    {"return { threads = '4' }", "threads: expected a whole number (0 to 256), found \"4\""},
    {"return { threads = 1.5 }", "found 1.5"},
    {"return { threads = -1 }", "found -1"},
    {"return { threads = 257 }", "found 257"},
    {"return { threads = 0/0 }", "expected a whole number (0 to 256), found no number"},
    {"return { threads = 1/0 }", "found inf"},
    {"return { threads = {} }", "found a table"},
    {"return { threads = true }", "found true"},
    {"return { threads = env }", "found a function"},
    {"return { node = 1024 }", "node: expected a whole number (0 to 1023), found 1024"},
    {"return { limits = { connections = 2^40 } }", "limits.connections"},
    {"return { limits = { frame = 2^60 } }", "limits.frame: expected a size in whole bytes (256 to 1*GiB)"},
    {"return { limits = { frame = 300.5 } }", "limits.frame"},
    {"return { limits = { frame = 1e308*10 } }", "found inf"},
    {"return { tiers = { dm = { ttl = 'forever' } } }",
     "tiers.dm.ttl: expected a duration in seconds (0 or more), found \"forever\""},
    {"return { tiers = { dm = { ttl = -1 } } }", "found -1"},
    {"return { tiers = { dm = { durability = 'fsync' } } }",
     "tiers.dm.durability: expected one of \"sync\", \"commit\", \"async\", found \"fsync\""},
    {"return { tiers = { dm = 'x' } }", "tiers.dm: expected a table, found \"x\""},
    {"return { log = { level = 1 } }", "log.level: expected one of \"debug\""},
    {"return { log = { file = '' } }", "log.file: expected a text or nil, found \"\""},
    {"return { data = '' }", "data: expected a text, found \"\""},
    {"return { data = 'a\\0b' }", "data: expected a text, found a text with a zero byte"},
    {"return { data = 'a\\nb\\27' , threads = 'a\\nb' }", "found \"a\\x0ab\""},
    {"return { auth = { allow_open = 1 } }", "auth.allow_open: expected true or false, found 1"},
    {"return { auth = { mode = ('x') } , threads = -2 }", "threads"},
    {"return { auth = { mode = 'a-name-that-is-longer-than-31-bytes' } }", "auth.mode"},
    {"return { scripts = { load = 'ratelimit' } }", "scripts.load: expected a list of texts"},
    {"return { scripts = { load = { 'a', 2 } } }", "scripts.load[2]: expected a text, found 2"},
    {"return { scripts = { load = { 'a', 'a' } } }", "scripts.load[2]: stands in the list twice"},
    {"return { scripts = { budget_ms = 0 } }", "scripts.budget_ms: expected a time in milliseconds"},
    {"return { plugins = { load = { 'web' } } }", "plugins.load: expected a table of NAME = { options }, found a list"},
    {"return { plugins = { load = { web = 1 } } }", "plugins.load.web: expected a table of options, or false"},
    {"return { plugins = { load = { ['../x'] = {} } } }", "plugins.load.../x: expected the name of a plugin"},
    {"return { origins = 'https://x' }", "origins: expected a list of texts"},
    {"return { origins = { 'chat.example.org' } }", "origins: expected"},
    {"return { origins = { 'https://chat.example.org/' } }", "origins: expected"},
    /* the cluster */
    {"return { cluster = { redis = '10.0.0.1:6379' } }", "cluster.redis: expected a list of texts"},
    {"return { cluster = { redis = { '10.0.0.1' } } }", "cluster.redis: expected \"HOST:PORT\""},
    {"return { cluster = { redis = { 'h:1', 'h:0' } } }", "found \"h:0\" as entry 2"},
    {"return { cluster = { redis = { 'h:65536' } } }", "found \"h:65536\" as entry 1"},
    {"return { cluster = { redis = { ':7000' } } }", "cluster.redis: expected"},
    {"return { cluster = { redis = { 'fd00::1:7000' } } }", "cluster.redis: expected"},
    {"return { cluster = { redis = { '[]:7000' } } }", "cluster.redis: expected"},
    {"return { cluster = { redis = { 'redis://h:7000' } } }", "cluster.redis: expected"},
    {"return { cluster = { redis = { 'h:7000 ' } } }", "cluster.redis: expected"},
    {"return { cluster = { redis = { 'h:1', 'h:1' } } }", "cluster.redis[2]: stands in the list twice"},
    {"return { cluster = { redis = { 'h:1' }, username = 'm' } }", "cluster.username: needs cluster.password"},
    {"return { cluster = { redis = { 'h:1' }, prefix = '' } }", "cluster.prefix: expected"},
    {"return { cluster = { redis = { 'h:1' }, prefix = 'a{b}' } }", "cluster.prefix: expected 1 to 16 of letters"},
    {"return { cluster = { redis = { 'h:1' }, prefix = 'abcdefghijklmnopq' } }", "cluster.prefix: expected 1 to 16"},
    {"return { cluster = { redis = { 'h:1' }, copies = 0 } }", "cluster.copies: expected"},
    {"return { cluster = { redis = { 'h:1' }, patience = 0 } }", "cluster.patience: expected"},
    {"return { cluster = { redis = { 'h:1' }, isolated = 1 } }", "cluster.isolated: expected"},
    {"return { cluster = { redis = { 'h:1' }, archive = { url = 'db1/chat' } } }",
     "cluster.archive.url: expected \"postgresql://"},
    {"return { cluster = { redis = { 'h:1' }, archive = { hot = 0 } } }", "cluster.archive.hot: expected"},
    {"return { cluster = { redis = { 'h:1' }, archive = { uri = 'x' } } }",
     "cluster.archive.uri: unknown key; did you mean cluster.archive.url?"},
    {"return { cluster = { archive = { url = 'postgresql://db' } } }", "cluster.archive.url: needs cluster.redis"},
    {"return { cluster = { password = '" PLANTED "' } }", "cluster.password: needs cluster.redis"},
    /* addresses */
    {"return { listen = { tcp = 8081 } }", "listen.tcp: expected an address or a list of addresses, found 8081"},
    {"return { listen = { tcp = 'nonsense' } }", "listen.tcp: expected \"IP:PORT\""},
    {"return { listen = { tcp = { '127.0.0.1:1', 'x' } } }", "listen.tcp[2]: expected \"IP:PORT\""},
    {"return { listen = { tcp = { '127.0.0.1:1', '127.0.0.1:1' } } }", "listen.tcp[2]: stands in the list twice"},
    {"return { listen = { tcp = { true } } }", "listen.tcp[1]: expected an address, found true"},
    {"return { listen = { tcp = { a = '127.0.0.1:1' } } }", "found a table"},
    {"return { listen = { tcp = {}, websocket = {} } }", "listen: no address for clients"},
    {"return { listen = { tcp = '127.0.0.1:8082' } }", "is the address of listen.tcp already"},
    {"return { listen = { console = '127.0.0.1:8081' } }",
     "listen.console: 127.0.0.1:8081 is the address of listen.tcp already"},
    /* relations */
    {"return { listen = { tcp = '0.0.0.0:1' } }", "auth.allow_open = true"},
    {"return { listen = { websocket = '*:1' } }", "listen.websocket: *:1 can be reached by others"},
    {"return { listen = { console = '*:1' } }", "listen.console: *:1 can be reached by others: set console.password"},
    {"return { listen = { wss = '127.0.0.1:1' } }", "listen.wss: needs tls.certificate and tls.key"},
    {"return { tls = { key = 'k' } }", "tls.key: needs tls.certificate too"},
    {"return { tls = { certificate = 'c' } }", "tls.certificate: needs tls.key too"},
    {"return { tls = { certificate = { 'c', 'd' }, key = 'k' } }",
     "tls.key: expected a key for each of the 2 certificates, found 1"},
    {"return { tls = { certificate = 'c', key = 'k', records = 'mine' } }", "tls.records: "},
    {"return { listen = { console = 'tls:127.0.0.1:5' } }",
     "listen.console: tls:127.0.0.1:5 needs tls.certificate and tls.key"},
    {"return { tls = { certificate = 'c', key = 'k' }, listen = { tcp = 'tls:127.0.0.1:5' } }",
     "listen.tcp: tls:127.0.0.1:5: \"tls:\" is for consoles; clients have listen.tcps and listen.wss"},
    {"return { tls = { certificate = 'c', key = 'k' }, listen = { console = 'tls:*:5' } }",
     "listen.console: tls:*:5 can be reached by others: set console.password, or listen on \"tls:\" with "
     "tls.client_ca"},
    {"return { tls = { certificate = 'c', key = 'k' }, listen = { tcps = '*:5' } }", "listen.tcps: *:5 can be reached"},
    {"return { tls = { certificate = 'c', key = 'k' }, listen = { console = 'tls:unix:x' } }",
     "behind \"tls:\" there is an IP address and a port"},
    {"return { limits = { content = 64*KiB } }", "limits.content: must fit in limits.frame"},
    {"return { limits = { content = 4096, frame = 4096 } }", "limits.content: must fit in limits.frame"},
};

static void test_bad_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_files / sizeof bad_files[0]; i++) {
        struct buf errors = BUF_INIT;
        struct config *c = parse(bad_files[i].text, &errors);
        if (c || !strstr(errors.p, bad_files[i].error))
            fail_msg("%s: expected «%s», got «%s»", bad_files[i].text, bad_files[i].error, c ? "no error" : errors.p);
        /* Every line names the file, and nothing in it acts on a terminal. */
        for (const char *line = errors.p; *line; line = strchr(line, '\n') + 1)
            assert_int_equal(strncmp(line, "f.lua", 5), 0);
        assert_null(strchr(errors.p, '\x1b'));
        buf_free(&errors);
    }
}

static void test_all_errors_at_once(void **state)
{
    (void)state;
    struct buf errors = BUF_INIT;
    assert_null(
        parse("return { threads = -1, limits = { frme = 1, page = 'x' }, listen = { tcp = 'x', websocket = '*:5' }, "
              "tls = { key = 'k' } }",
              &errors));
    static const char *const parts[] = {"threads",    "limits.frme",      "limits.page",
                                        "listen.tcp", "listen.websocket", "tls.key"};
    unsigned lines = 0;
    for (const char *p = errors.p; (p = strchr(p, '\n')); p++)
        lines++;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_non_null(strstr(errors.p, parts[i]));
    assert_int_equal(lines, 6);
    buf_free(&errors);
}

static void test_many_errors_are_counted(void **state)
{
    (void)state;
    struct buf errors = BUF_INIT;
    assert_null(parse("local t = {} for i = 1, 5000 do t['k' .. i] = 1 end return t", &errors));
    assert_non_null(strstr(errors.p, "f.lua: and 4900 more"));
    buf_free(&errors);
}

/* Whatever is wrong around them, secrets do not appear. */
static void test_secrets_are_not_shown(void **state)
{
    (void)state;
    static const char *const files[] = {
        "return { auth = { secret = { '" PLANTED "' } } }",
        "return { auth = { secret = 1234567890123456 } , threads = -1 }",
        "return { auth = { secret = 'planted-short' } }",
        "return { console = { password = { x = '" PLANTED "' } } }",
        "return { auth = { secret = '" PLANTED " } }",
        "return { auth = { secret '" PLANTED "' } }",
        "return { auth = { secret = [[" PLANTED " } }",
        "return { auth = { secret = planted } }",
        "return { auth = { secret = planted-secret } }",
        "return { auth = { secret = x planted } }",
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct buf errors = BUF_INIT;
        assert_null(parse(files[i], &errors));
        if (strstr(errors.p, "planted") || strstr(errors.p, "12345"))
            fail_msg("%s: %s", files[i], errors.p);
        buf_free(&errors);
    }
}

static void test_content_follows_a_small_frame(void **state)
{
    (void)state;
    struct config *c = good("return { limits = { frame = 4096 } }");
    assert_int_equal(c->limits.content, 4096 - 192);
    config_free(c);
    c = good("return { limits = { frame = 256 } }");
    assert_in_range(c->limits.content, 1, 255);
    config_free(c);
}

/* Where nobody may make channels, those that are empty stay. */
static void test_empty_channels(void **state)
{
    (void)state;
    static const char *const names[] = {"any", "script", "none"};
    for (int i = 0; i < 3; i++) {
        char text[80];
        struct store_options store;
        snprintf(text, sizeof text, "return { channels = { create = \"%s\" } }", names[i]);
        struct config *c = good(text);
        config_store_options(c, &store);
        assert_int_equal(store.keep_vacant, i == 2);
        config_free(c);
    }
}

static void test_values_are_taken(void **state)
{
    (void)state;
    struct config *c = good("return { limits = { guest = 1.5*hours, dedup_window = 1*days + 2*minutes + 3*seconds }, "
                            "storage = { memory = 1*GiB },"
                            " timeouts = { idle = 0.2 }, plugins = { load = { web = true, off = false } } }");
    struct hub_options hub;
    struct store_options store;
    config_hub_options(c, (const uint8_t[32]){0}, &hub);
    config_store_options(c, &store);
    assert_int_equal(hub.guest_ms, 5400000);
    assert_int_equal(hub.net.idle_timeout, 1);
    assert_int_equal(hub.net.ping_timeout, 1);
    assert_int_equal(store.dedup_window_ms, 86523000);
    assert_int_equal(store.memory, 1 << 30);
    assert_true(cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(c->plugins.load, "web")));
    assert_null(cJSON_GetObjectItemCaseSensitive(c->plugins.load, "off"));
    config_free(c);
}

static void test_needs_restart(void **state)
{
    (void)state;
    struct buf paths = BUF_INIT;
    struct config *a = good("return {}");
    struct config *b = good(
        "return { threads = 3, data = 'x', listen = { tcp = { '127.0.0.1:8081', '[::1]:8081' } },"
        " rate = { user = 1 }, log = { level = 'debug' }, origins = { 'http://x' }, plugins = { load = { x = {} } } }");
    assert_int_equal(config_needs_restart(a, b, &paths), 3);
    buf_byte(&paths, '\0');
    assert_string_equal(paths.p, "listen.tcp\nthreads\ndata\n");
    config_free(a);
    config_free(b);
    paths.n = 0;
    a = good("return { cluster = { redis = { 'h:1' } } }");
    b = good("return { cluster = { redis = { 'h:1' }, copies = 1, patience = 20, isolated = 60, balance = false } }");
    assert_int_equal(config_needs_restart(a, b, &paths), 0); /* these help through a bad day */
    config_free(b);
    b = good("return { cluster = { redis = { 'h:2' }, prefix = 'n', archive = { url = 'postgres://h', hot = 9 } } }");
    assert_int_equal(config_needs_restart(a, b, &paths), 4);
    config_free(a);
    config_free(b);
    buf_free(&paths);
}

static void test_load_from_disk(void **state)
{
    (void)state;
    struct buf errors = BUF_INIT;
    assert_null(config_load("/nonexistent/x.lua", &errors));
    assert_null(config_load("/tmp", &errors));
    struct config *c = config_load("etc/magpie.lua", &errors);
    buf_byte(&errors, '\0');
    assert_non_null(strstr(errors.p, "/nonexistent/x.lua: cannot be read"));
    assert_non_null(c);
    config_free(c);
    buf_free(&errors);
}

static int set_environment(void **state)
{
    (void)state;
    unsetenv("MAGPIE_TEST_UNSET");
    return setenv("MAGPIE_TEST_FOUR", "4", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_a_config),
        cmocka_unit_test(test_default_values),
        cmocka_unit_test(test_default_options),
        cmocka_unit_test(test_good_files),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_all_errors_at_once),
        cmocka_unit_test(test_many_errors_are_counted),
        cmocka_unit_test(test_secrets_are_not_shown),
        cmocka_unit_test(test_empty_channels),
        cmocka_unit_test(test_content_follows_a_small_frame),
        cmocka_unit_test(test_values_are_taken),
        cmocka_unit_test(test_needs_restart),
        cmocka_unit_test(test_load_from_disk),
    };
    return cmocka_run_group_tests(tests, set_environment, NULL);
}
