/*
 * The config file: a Lua data chunk that is run in an empty environment and checked against a schema; all errors at
 * once.
 *
 * The schema (config_schema.c) is one static table: path, type, bounds, default as text, whether a reload can change
 * it, help. From it come the checks, the defaults, `magpied --defaults`, the table in docs/configuration.md and (later)
 * the console's `show config` and `config diff`.
 *
 * A loaded config is immutable. Any thread may load one; nothing here is shared.
 */
#ifndef MAGPIE_CONFIG_CONFIG_H
#define MAGPIE_CONFIG_CONFIG_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct cJSON;

struct config_strings {
    char **v;   /* NULL-terminated, also when empty; owned */
    uint32_t n; /* strings before the NULL */
};

struct config_tier {
    double ttl;       /* seconds, 0: for ever */
    uint32_t max;     /* messages kept per conversation, 0: all */
    int durability;   /* enum store_durability */
    uint32_t members; /* large only: members from which a channel is large; 0: never */
};

enum config_records { RECORDS_OWN, RECORDS_OPENSSL };
enum config_engine { ENGINE_ROCKSDB, ENGINE_MEMORY };

/*
 * One loaded config. Members are named as the paths in a config file (`config.limits.frame` is "limits.frame"),
 * and that is how the schema names them; the type of an option decides the type of its member (config_schema.h).
 * Durations are seconds unless the name ends in _ms, sizes bytes, 0 no limit. Strings are owned; a text that may be
 * absent is NULL then.
 */
struct config {
    struct {
        /* addresses that listener_check() accepts; "tls:" before one of the console's */
        struct config_strings tcp, websocket, tcps, wss, metrics, console;
        struct config_strings protocols; /* WebSocket subprotocols: tokens */
        struct config_strings proxy;     /* peers that speak for others: entries that proxies_add() accepts */
    } listen;
    struct {
        struct config_strings certificate, key; /* files, as many of each */
        char *client_ca;                        /* file; NULL: clients of the console need no certificate */
        int records;                            /* enum config_records */
    } tls;
    uint32_t threads; /* 0: as many as the machine wants */
    uint32_t node;    /* 0-1023 */
    char *data;       /* directory */
    struct {
        int engine; /* enum config_engine */
        uint64_t memory;
        double sync_every;
    } storage;
    struct {
        struct config_strings redis; /* "HOST:PORT"; empty: the server stands alone, on `storage` */
        char *username, *password;   /* NULL: none */
        char *prefix;                /* of all keys there */
        uint32_t copies;             /* processes that must have a change before its answer */
        double patience, isolated;   /* seconds */
        bool balance;
        struct {
            char *url; /* NULL: there is no archive */
            uint32_t hot;
            double hot_age, cache; /* seconds */
        } archive;
    } cluster;
    struct {
        int level, format; /* enum log_level, enum log_format */
        char *file;        /* NULL: standard error */
        char *security;    /* file of the security log; NULL: none */
    } log;
    struct {
        char *mode;
        char *secret; /* NULL: data/secret */
        bool allow_open;
    } auth;
    struct {
        uint32_t connections, connections_per_ip;
        uint64_t frame, content, page;
        uint32_t subscriptions, channels;
        uint64_t output_queue, output_total, output_per_ip, output_per_user;
        uint64_t http_head;
        uint32_t http_fields;
        uint64_t before_login, before_login_per_ip;
        uint32_t inbox;
        double dedup_window, guest, recall, edit;
    } limits;
    struct {
        int create, send; /* enum channels_create, enum channels_send */
    } channels;
    struct {
        double login, ping, idle, drain;
    } timeouts;
    struct {
        uint64_t threshold;
        uint32_t level;
    } compression;
    struct {
        struct config_tier dm, small, large;
    } tiers;
    struct {
        double slice_ms;
        uint32_t max;
    } push;
    struct {
        uint32_t user, channel; /* messages/s */
        int policy;             /* enum rate_policy */
    } rate;
    struct {
        char *path;
        struct config_strings load; /* names */
        double budget_ms;
        uint64_t memory;
        uint64_t store;
        struct config_strings fetch; /* beginnings of URLs */
    } scripts;
    struct {
        char *path;
        /* an object: name → options (an object); those switched off by `false` are left out. Owned */
        struct cJSON *load;
    } plugins;
    struct {
        char *password; /* NULL: none */
    } console;
    struct config_strings origins; /* of WebSocket upgrades; exact match */
};

/* Loads and checks a file. On failure NULL, with every error appended to `errors`, one a line:
 *     etc/magpie.lua: limits.frme: unknown key; did you mean limits.frame?
 *     etc/magpie.lua: tiers.dm.ttl: expected a duration in seconds (0 or more), found "forever"
 * Relations between values are checked too (content within frame, open mode on a public address …). Secrets never
 * appear in errors. */
struct config *config_load(const char *path, struct buf *errors);
/* The same with the text at hand; `name` is what errors begin with. */
struct config *config_parse(struct slice text, const char *name, struct buf *errors);
/* NULL is allowed. */
void config_free(struct config *c);

/* The full default config with comments, itself a valid config file. */
void config_print_defaults(struct buf *out);
/* The whole config without its secrets, as an object of objects: sections by their names, lists as arrays, enums as
 * their words, an absent text as null. NULL: out of memory. Free with cJSON_Delete(). */
struct cJSON *config_tree(const struct config *c);
/* Paths (one a line, in `out`) of values that differ between two configs and need a restart to take effect. Returns how
 * many. */
unsigned config_needs_restart(const struct config *before, const struct config *after, struct buf *out);

#endif
