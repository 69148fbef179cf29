/* What the files of core/server share. Private to core/server. Main thread, but where a function says otherwise. */
#ifndef MAGPIE_SERVER_SERVER_PRIVATE_H
#define MAGPIE_SERVER_SERVER_PRIVATE_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/heap.h"
#include "core/base/mailbox.h"
#include "core/config/config_commands.h"
#include "core/config/secret.h"
#include "storage/store.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct config;
struct console;
struct hub;
struct listener;
struct plugins;
struct scripts;
struct store;
struct tls;
struct tls_context;
struct tls_rows;
struct tls_tickets;

enum {
    WHY_MAX = 512,     /* bytes of a sentence that tells what went wrong */
    SIGNALS_KNOWN = 13 /* signals that mean something, or are ignored aloud */
};

/* Of key_watch.c: one look at a time. */
struct key_look {
    struct store_notes find;
    struct store_note_put put;
    uint8_t digest[SECRET_DIGEST_SIZE]; /* of the key in force */
    bool busy;                          /* the store has one of the two */
    bool again;                         /* the key has changed meanwhile */
};

/* Of secure.c: TLS. All owned; NULL where no listener speaks it. */
struct secure {
    struct tls *tls;
    struct tls_tickets *tickets;
    struct tls_rows **rows;                    /* one a shard */
    struct tls_context *fresh, *fresh_console; /* prepared, and neither in force nor abandoned */
    ev_timer turner;                           /* of the tickets' keys */
};

struct server {
    const char *config_path; /* from the command line */
    struct config *config;   /* in force; owned */
    /* what the server was started with, where it differs from `config`: restarts are reported against it; owned */
    struct config *boot;
    unsigned shards;
    uint8_t key[SECRET_KEY_SIZE]; /* of resume tokens */
    struct key_look key_look;
    struct secure secure;
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
    struct ev_loop *loop;             /* of the main thread */
    ev_signal signals[SIGNALS_KNOWN]; /* in the order of signals.c's table */
    ev_async drained;                 /* sent by a shard when the hub has drained */
    ev_timer drain_limit;             /* timeouts.drain */
    ev_timer breath;                  /* gives memory back when many connections are gone */
    struct heap_watch heap;
    bool draining;
    uint64_t drain_began; /* clock_mono_ms() */
};

/* --- server.c --- */
/* Tells why the server does not start: the one who started it, and the log where that is another place. -1. */
int server_fail(const struct server *s, const char *why);

#endif
