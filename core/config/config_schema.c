#include "core/config/config_schema.h"

#include "core/base/log.h"
#include "core/base/spelling.h"
#include "core/config/config.h"
#include "core/hub/shard/options.h"
#include "core/net/http.h"
#include "storage/store.h"

#include <string.h>

/* Indexes are the values of the enums; config_schema.c is where the two meet. */
static const char *const level_names[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error", NULL};
static const char *const format_names[] = {[LOG_TEXT] = "text", [LOG_JSON] = "json", NULL};
static const char *const records_names[] = {[RECORDS_OWN] = "own", [RECORDS_OPENSSL] = "openssl", NULL};
static const char *const engine_names[] = {[ENGINE_ROCKSDB] = "rocksdb", [ENGINE_MEMORY] = "memory", NULL};
static const char *const create_names[] = {
    [CREATE_ANY] = "any", [CREATE_SCRIPT] = "script", [CREATE_NONE] = "none", NULL};
static const char *const send_names[] = {[SEND_MEMBERS] = "members", [SEND_ANY] = "any", NULL};
static const char *const policy_names[] = {[RATE_DROP] = "drop", [RATE_COMPLETE] = "complete", NULL};
static const char *const durability_names[] = {
    [DURABILITY_SYNC] = "sync", [DURABILITY_COMMIT] = "commit", [DURABILITY_ASYNC] = "async", NULL};

/* The member's name is the option's path; an array of negative size where its C type is not that of the option's
 * type. */
#define TYPED(member, ctype)                                                                                           \
    (offsetof(struct config, member) +                                                                                 \
     0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((struct config *)0)->member), ctype) ? 1 : -1]))
#define OPTION(member, ctype, ...)                                                                                     \
    {                                                                                                                  \
        .path = #member, .offset = TYPED(member, ctype), __VA_ARGS__                                                   \
    }

#define SECTION(name, text)                                                                                            \
    {                                                                                                                  \
        .path = name, .type = OPT_SECTION, .help = text                                                                \
    }
#define COUNT(member, lo, hi, dflt, f, text)                                                                           \
    OPTION(member, uint32_t, .type = OPT_COUNT, .min = lo, .max = hi, .fallback = dflt, .flags = f, .help = text)
#define SIZE(member, lo, hi, dflt, f, text)                                                                            \
    OPTION(member, uint64_t, .type = OPT_SIZE, .min = lo, .max = hi, .fallback = dflt, .flags = f, .help = text)
#define SECONDS(member, lo, hi, dflt, f, text)                                                                         \
    OPTION(member, double, .type = OPT_SECONDS, .min = lo, .max = hi, .fallback = dflt, .flags = f, .help = text)
#define MS(member, lo, hi, dflt, f, text)                                                                              \
    OPTION(member, double, .type = OPT_MS, .min = lo, .max = hi, .fallback = dflt, .flags = f, .help = text)
#define BOOL(member, dflt, f, text) OPTION(member, bool, .type = OPT_BOOL, .fallback = dflt, .flags = f, .help = text)
#define ENUM(member, names, dflt, f, text)                                                                             \
    OPTION(member, int, .type = OPT_ENUM, .choices = names, .fallback = dflt, .flags = f, .help = text)
#define TEXT(member, least, dflt, f, text)                                                                             \
    OPTION(member, char *, .type = OPT_TEXT, .min = least, .fallback = dflt, .flags = f, .help = text)
#define ADDRESSES(member, dflt, f, text)                                                                               \
    OPTION(member, struct config_strings, .type = OPT_ADDRESSES, .fallback = dflt, .flags = f, .help = text)
#define TEXTS(member, dflt, f, text)                                                                                   \
    OPTION(member, struct config_strings, .type = OPT_TEXTS, .fallback = dflt, .flags = f, .help = text)
#define FILES(member, dflt, f, text)                                                                                   \
    OPTION(member, struct config_strings, .type = OPT_FILES, .fallback = dflt, .flags = f, .help = text)
#define PLUGINS(member, dflt, f, text)                                                                                 \
    OPTION(member, struct cJSON *, .type = OPT_PLUGINS, .fallback = dflt, .flags = f, .help = text)

#define RESTART OPT_F_RESTART
#define NIL     OPT_F_NIL
#define SECRET  OPT_F_SECRET

#define EVER 4e9 /* schema_ever */
#define MANY 4e9
#define KIB  1024.0
#define MIB  (1024.0 * 1024)
#define GIB  (1024.0 * 1024 * 1024)

const struct config_option config_schema[] = {
    SECTION("listen", "Where to listen: an address, a list of addresses, or {} for none. An address is \"IP:PORT\", "
                      "\"[IPv6]:PORT\", \"*:PORT\" "
                      "or \"unix:PATH\"."),
    ADDRESSES(listen.tcp, "\"127.0.0.1:8081\"", RESTART, "The protocol over plain TCP."),
    ADDRESSES(listen.websocket, "\"127.0.0.1:8082\"", RESTART, "The protocol over WebSocket."),
    ADDRESSES(listen.tcps, "{}", RESTART, "The protocol over TLS. Needs tls.certificate and tls.key."),
    ADDRESSES(listen.wss, "{}", RESTART, "WebSocket over TLS (wss://). Needs tls.certificate and tls.key."),
    ADDRESSES(listen.console, "\"127.0.0.1:8083\"", RESTART,
              "The console of operators. Other addresses than loopback and Unix sockets need console.password, or "
              "\"tls:IP:PORT\" with tls.client_ca."),
    ADDRESSES(
        listen.metrics, "{}", RESTART,
        "Where the plugin metrics answers, and nothing else but /health and /ready (\"127.0.0.1:9464\"). None: on "
        "the WebSocket port, for those who show its bearer, or who ask from this machine and not through a proxy."),
    TEXTS(listen.proxy, "{}", 0,
          "Peers that are believed when they say for whom they speak: addresses, networks (\"10.0.0.0/8\") and "
          "\"unix:\". "
          "By the PROXY protocol (1 and 2) on every port for clients, by Forwarded or X-Forwarded-For over HTTP. From "
          "others the first is refused and the second ignored."),
    TEXTS(listen.protocols, "{}", 0,
          "WebSocket subprotocols that are answered: of those that a client offers, the first that is listed here."),

    SECTION("tls", "Certificates and keys of listen.tcps, listen.wss, and of consoles over TLS."),
    FILES(tls.certificate, "{}", 0,
          "File with the certificate and its chain (PEM), or a list of files: a client gets the one that is for the "
          "name it asks for, else the first."),
    FILES(tls.key, "{}", 0, "File with the private key (PEM), or a list of as many: one for each certificate."),
    TEXT(tls.client_ca, 1, "nil", NIL,
         "File with the authorities (PEM) one of which must have signed the certificate of whoever connects to a "
         "console over TLS; nil: they need none."),
    ENUM(tls.records, records_names, "\"own\"", 0,
         "Who encrypts what is sent by TLS 1.3: Magpie itself, or OpenSSL, which needs 14 KB more for each "
         "connection."),

    COUNT(threads, 0, 256, "0", RESTART,
          "Shards: threads that serve connections. 0: one less than the processors that the process may use, and one "
          "at least."),
    COUNT(node, 0, 1023, "0", RESTART,
          "Number of this server, part of each message id. Different on each machine that shares clients. In a cluster "
          "0 is "
          "any free number, and only people see it."),
    TEXT(
        data, 1, "\"data\"", RESTART,
        "Directory of the database and of the key of resume tokens; in a cluster, of what plugins keep alone. Relative "
        "to the working directory."),

    SECTION("storage", "The database in the data directory. Not used in a cluster."),
    ENUM(storage.engine, engine_names, "\"rocksdb\"", RESTART, "\"memory\" keeps nothing over a restart: for tests."),
    SIZE(storage.memory, MIB, 1024 * GIB, "128*MiB", RESTART, "Write buffers, caches and indexes together."),
    SECONDS(
        storage.sync_every, 0.01, 86400, "1", RESTART,
        "How often what is not synced yet is synced: the window that a power loss can take from tiers below \"sync\"."),

    SECTION("cluster", "A node on a Redis Cluster, which keeps all that users have (docs/cluster.md)."),
    TEXTS(cluster.redis, "{}", RESTART,
          "Some members of the Redis Cluster: { \"10.0.0.1:6379\", \"10.0.0.2:6379\" }; the others are found by these. "
          "Not empty: this server is a node of a cluster, all that users have is kept in Redis, and storage is not "
          "used."),
    TEXT(cluster.username, 1, "nil", RESTART | NIL, "The user of Redis's ACL; nil: its default user."),
    TEXT(cluster.password, 1, "nil", RESTART | NIL | SECRET, "What Redis asks for; nil: nothing."),
    TEXT(cluster.prefix, 1, "\"m\"", RESTART,
         "What all keys begin with, 1 to 16 of letters, digits and _ . : - : those of one cluster of Magpie."),
    COUNT(cluster.copies, 1, 16, "2", 0,
          "Processes of Redis that must have a change before it is answered, the master included. 1: the master's word "
          "alone, so that its death may lose what was answered."),
    SECONDS(cluster.patience, 1, 600, "8", 0,
            "How long what cannot be done in Redis is tried again before the client is told `unavailable`."),
    SECONDS(cluster.isolated, 5, 86400, "15", 0,
            "How long a Redis master may be out of reach before /ready says so (503)."),
    BOOL(
        cluster.balance, "true", 0,
        "Whether Redis masters that have gathered on one machine are moved apart, once all is well (docs/cluster.md)."),
    SECTION("cluster.archive", "Where private messages are kept for long: PostgreSQL."),
    TEXT(cluster.archive.url, 1, "nil", RESTART | NIL | SECRET,
         "\"postgresql://USER:PASSWORD@HOST,HOST2/DATABASE\"; nil: private messages stay in Redis alone."),
    COUNT(cluster.archive.hot, 1, MANY, "200", RESTART,
          "The newest messages of a private conversation that stay in Redis."),
    SECONDS(cluster.archive.hot_age, 0, EVER, "30*days", RESTART, "And all that are younger than this."),
    SECONDS(cluster.archive.cache, 0, EVER, "10*minutes", RESTART,
            "How long older ones stay in Redis once somebody has read them. 0: they are not put there."),

    SECTION("log", "The log: one line an event, with a stable id and key=value pairs."),
    ENUM(log.level, level_names, "\"info\"", 0, "The least important level that is written."),
    ENUM(log.format, format_names, "\"text\"", 0, "For people or for machines."),
    TEXT(log.file, 1, "nil", NIL, "File to append to; nil: standard error. SIGHUP opens it anew, for rotation."),
    TEXT(log.security, 1, "nil", NIL,
         "File of the security log, to append to: logins, refusals, bans, with addresses. nil: none."),

    SECTION("auth", "Who may log in."),
    TEXT(auth.mode, 1, "\"open\"", 0,
         "\"open\": whoever gives a name becomes a new user and gets a token to come back with. Anything else names a "
         "provider that a plugin registers (\"jwt\" of the plugin auth_jwt)."),
    TEXT(auth.secret, 16, "nil", NIL | SECRET,
         "The key of resume tokens, 16 bytes at least; changing it ends all sessions. nil: made once and kept in the "
         "file `secret` in the data directory, mode 0600; in a cluster, in Redis. Given, it is the same on all nodes."),
    BOOL(auth.allow_open, "false", 0, "Allow mode \"open\" on an address that others than this machine can reach."),

    SECTION("limits", "Limits. 0: no limit, where the range allows it."),
    COUNT(limits.connections, 0, MANY, "descriptors", 0,
          "Connections in all. descriptors: as many as the machine has descriptors for, 1200000 at most."),
    COUNT(limits.connections_per_ip, 0, MANY, "0", 0, "Connections from one IP address."),
    SIZE(limits.frame, 256, GIB, "64*KiB", 0, "A frame or WebSocket message from a client."),
    SIZE(limits.content, 1, GIB, "16*KiB", 0,
         "The content of a message. With everything around it, it must fit in limits.frame; when only that is given "
         "and is "
         "small, this follows it."),
    SIZE(limits.page, KIB, GIB, "256*KiB", 0,
         "A page of history or inbox, or a merged slice, from the server. One message always goes."),
    COUNT(limits.subscriptions, 0, MANY, "1000", 0, "Channels that one user may be in."),
    COUNT(limits.channels, 0, MANY, "0", 0, "Channels that are there at a time."),
    SIZE(
        limits.output_queue, KIB, GIB, "1*MiB", 0,
        "Output that waits for one slow connection. From half of it channel messages are skipped; when it is full, the "
        "connection is closed."),
    SIZE(limits.output_total, 0, 1024 * GIB, "memory/8", 0,
         "Output that waits for all connections together; over it, channel messages are skipped, and who holds more "
         "than "
         "its share is closed."),
    SIZE(limits.output_per_ip, 0, 1024 * GIB, "memory/32", 0,
         "The same for the connections from one IP address (the client's, where listen.proxy lists the proxy in "
         "front)."),
    SIZE(limits.output_per_user, 0, 128 * MIB, "8*MiB", 0, "The same for the connections of one user."),
    SIZE(limits.http_head, HTTP_HEAD_MIN, HTTP_HEAD_MAX, "16*KiB", 0,
         "The head of an HTTP request, that of a WebSocket upgrade too: its lines, cookies included."),
    COUNT(limits.http_fields, HTTP_FIELDS_MIN, HTTP_FIELDS_MAX, "100", 0, "Header fields of an HTTP request."),
    SIZE(limits.before_login, 0, 1024 * GIB, "64*MiB", 0,
         "What all connections that have not logged in may hold of unfinished messages and HTTP requests; who wants "
         "more is refused (503). A connection may hold 64 KiB, or an HTTP request that a plugin takes. Those on "
         "WebSocket paths of plugins hold as much again, unread output included, and one message at least."),
    SIZE(limits.before_login_per_ip, 0, 1024 * GIB, "8*MiB", 0,
         "The same for the connections from one IP address (the client's, where listen.proxy lists the proxy in "
         "front)."),
    COUNT(limits.inbox, 0, MANY, "10000", 0,
          "Messages that wait in one inbox; the oldest are dropped first, and history keeps them."),
    SECONDS(limits.dedup_window, 0, EVER, "10*minutes", 0, "How long a clientId makes a repeated send harmless."),
    SECONDS(limits.guest, 0, EVER, "1*days", 0, "When a user who never came back is forgotten. 0: never."),
    SECONDS(limits.recall, 0, EVER, "2*minutes", 0, "How long a sender may recall a message. 0: for ever."),
    SECONDS(limits.edit, 0, EVER, "1*days", 0, "How long a sender may edit a message. 0: for ever."),

    SECTION("channels", "Channels."),
    ENUM(channels.create, create_names, "\"any\"", 0,
         "Who may make a channel by subscribing to it: any user, whom a script allows, or none."),
    ENUM(channels.send, send_names, "\"members\"", 0,
         "Who may send to a channel: its subscribers, or any user that is not banned from it. Reading needs a "
         "subscription either way."),

    SECTION("timeouts", "Timeouts, in seconds. 0: none, where the range allows it."),
    SECONDS(timeouts.login, 0, EVER, "10", 0, "From connect to login."),
    SECONDS(
        timeouts.ping, 0, EVER, "45", 0,
        "Silence after which a WebSocket is probed with PING: proxies cut what is silent for 50 to 60 seconds. Less "
        "than timeouts.idle; when only that is given and is small, this follows it."),
    SECONDS(timeouts.idle, 0, EVER, "120", 0,
            "Silence after which a connection is closed: WebSocket, and TCP once it has sent a ping."),
    SECONDS(timeouts.drain, 0, EVER, "30", 0,
            "How long SIGTERM lets clients and requests finish. 0: as long as it takes."),

    SECTION("compression", "Compression: gzip on TCP, permessage-deflate on WebSocket."),
    SIZE(compression.threshold, 0, GIB, "512", 0,
         "Smaller bodies and messages go as they are. 0: all that becomes smaller is compressed."),
    COUNT(compression.level, 0, 9, "6", 0,
          "zlib's level; of more than 8 KiB 1. 0: nothing is compressed, and permessage-deflate not negotiated."),

    SECTION("tiers", "How long and how safely messages are kept."),
    SECTION("tiers.dm", "Private messages."),
    SECONDS(tiers.dm.ttl, 0, EVER, "0", 0, "How long a message is kept. 0: for ever."),
    COUNT(tiers.dm.max, 0, MANY, "100000", 0, "Messages kept per conversation. 0: all."),
    ENUM(tiers.dm.durability, durability_names, "\"sync\"", 0,
         "\"sync\": on the disk before the answer. \"commit\": survives a killed process. \"async\": answered at once, "
         "stored "
         "behind."),
    SECTION("tiers.small", "Channels with few members."),
    SECONDS(tiers.small.ttl, 0, EVER, "90*days", 0, "As tiers.dm.ttl."),
    COUNT(tiers.small.max, 0, MANY, "10000", 0, "As tiers.dm.max."),
    ENUM(tiers.small.durability, durability_names, "\"commit\"", 0, "As tiers.dm.durability."),
    SECTION("tiers.large",
            "Channels with many members; their messages are pushed merged unless a client asks otherwise."),
    SECONDS(tiers.large.ttl, 0, EVER, "7*days", 0, "As tiers.dm.ttl."),
    COUNT(tiers.large.max, 0, MANY, "1000", 0, "As tiers.dm.max."),
    ENUM(tiers.large.durability, durability_names, "\"commit\"", 0, "As tiers.dm.durability."),
    COUNT(tiers.large.members, 0, MANY, "500", 0,
          "Members from which a channel is large; below 80 % of that it is small again. 0: never."),

    SECTION("push", "Merged pushes."),
    MS(push.slice_ms, 0, 60000, "200", 0, "A slice of time whose messages go together. 0: each at once."),
    COUNT(push.max, 0, MANY, "20", 0,
          "The newest messages of a slice that are pushed; the others are counted, and history has them. 0: all."),

    SECTION("rate", "Messages a second, a second's worth at once. 0: no limit."),
    COUNT(rate.user, 0, 1e6, "10", 0, "Of one user. It makes as many channels too, ten seconds' worth at once."),
    COUNT(rate.channel, 0, 1e6, "40", 0, "In one conversation."),
    ENUM(rate.policy, policy_names, "\"drop\"", 0,
         "What a channel over its limit does: \"drop\" refuses the message; \"complete\" stores all and pushes the "
         "newest of "
         "each slice."),

    SECTION("scripts", "Policy in Lua (docs/scripting.md)."),
    TEXT(scripts.path, 1, "\"scripts\"", 0, "The folder that scripts are in."),
    TEXTS(scripts.load, "{ \"ratelimit\", \"merge_push\", \"tiered_expiry\" }", 0,
          "Names of the scripts to load, without .lua, in their order. The three shipped ones are in the binary too, "
          "where "
          "path has no file of their name."),
    MS(scripts.budget_ms, 0.01, 60000, "5", 0, "CPU time that one call of a script may take."),
    SIZE(scripts.memory, MIB, 16 * GIB, "24*MiB", 0, "Memory of the scripts of one shard."),
    TEXTS(scripts.fetch, "{}", 0,
          "Beginnings of the URLs that scripts may fetch, as \"https://api.example.com/v1/\". Loopback and private "
          "addresses are reached only where they are listed as such: \"http://127.0.0.1:9000/\"."),
    SIZE(scripts.store, MIB, 16 * GIB, "16*MiB", 0,
         "What scripts may keep over restarts, all of them together. It is held in memory."),

    SECTION("plugins", "Extensions in C (docs/plugins.md). Options of each plugin are in its README."),
    TEXT(plugins.path, 1, "\"plugins\"", 0, "The directory of NAME.so."),
    PLUGINS(plugins.load, "{}", 0, "Plugins to load: NAME = { options }; NAME = false leaves one out."),

    SECTION("console", "The console."),
    TEXT(console.password, 1, "nil", NIL | SECRET, "What `auth` asks for; nil: nothing."),

    TEXTS(origins, "{}", 0,
          "Origins that web pages may connect from, exact match (\"https://chat.example.org\"). Empty: the same host, "
          "and "
          "loopback origins on a loopback address. Their hosts are also names by which HTTP requests may come to a "
          "loopback "
          "address."),
};

const unsigned config_schema_count = sizeof config_schema / sizeof config_schema[0];
_Static_assert(sizeof config_schema / sizeof config_schema[0] <= CONFIG_OPTIONS_MAX,
               "arrays beside the schema are that long");

void *config_member(struct config *c, const struct config_option *option)
{
    return (char *)c + option->offset;
}

const void *config_member_const(const struct config *c, const struct config_option *option)
{
    return (const char *)c + option->offset;
}

const struct config_option *config_schema_find(const char *path)
{
    for (unsigned i = 0; i < config_schema_count; i++)
        if (strcmp(config_schema[i].path, path) == 0)
            return &config_schema[i];
    return NULL;
}

struct schema_rule config_schema_rule(const struct config_option *option)
{
    static const struct {
        enum schema_type type;
        const char *phrase;
    } types[] = {
        [OPT_SECTION] = {SCHEMA_OTHER, "a table"},
        [OPT_COUNT] = {SCHEMA_COUNT, NULL},
        [OPT_SIZE] = {SCHEMA_SIZE, NULL},
        [OPT_SECONDS] = {SCHEMA_SECONDS, NULL},
        [OPT_MS] = {SCHEMA_MS, NULL},
        [OPT_BOOL] = {SCHEMA_BOOL, NULL},
        [OPT_ENUM] = {SCHEMA_ENUM, NULL},
        [OPT_TEXT] = {SCHEMA_TEXT, NULL},
        [OPT_ADDRESSES] = {SCHEMA_OTHER, "an address or a list of addresses"},
        [OPT_TEXTS] = {SCHEMA_TEXTS, NULL},
        [OPT_FILES] = {SCHEMA_OTHER, "a file or a list of files"},
        [OPT_PLUGINS] = {SCHEMA_OTHER, "a table of NAME = { options }"},
    };
    return (struct schema_rule){.type = types[option->type].type,
                                .phrase = types[option->type].phrase,
                                .min = option->min,
                                .max = option->max,
                                .choices = option->type == OPT_ENUM ? option->choices : NULL,
                                .optional = option->flags & OPT_F_NIL,
                                .secret = option->flags & OPT_F_SECRET};
}

/* --- Did you mean ------------------------------------------------------------------------------------------------ */

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

const char *config_schema_nearest(const char *path)
{
    const char *word = last_word(path);
    unsigned near = spelling_limit(word);
    const char *best = NULL;
    unsigned best_score = 2 * near + 1;
    for (unsigned i = 0; i < config_schema_count; i++) {
        const char *known = config_schema[i].path;
        /* Wrong in its place counts less than right elsewhere. */
        unsigned whole = 2 * spelling_distance(path, known);
        unsigned part = 2 * spelling_distance(word, last_word(known)) + 1;
        unsigned score = whole < part ? whole : part;
        if (score < best_score) {
            best = known;
            best_score = score;
        }
    }
    return best;
}
