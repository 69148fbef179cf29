/* What the files of core/server share. Private to core/server. Main thread, but where a function says otherwise. */
#ifndef MAGPIE_SERVER_SERVER_PRIVATE_H
#define MAGPIE_SERVER_SERVER_PRIVATE_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/heap.h"
#include "core/base/mailbox.h"
#include "core/config/config_commands.h"
#include "core/config/secret.h"

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

enum {
    WHY_MAX = 512,     /* bytes of a sentence that tells what went wrong */
    SIGNALS_KNOWN = 13 /* signals that mean something, or are ignored aloud */
};

struct server {
    const char *config_path; /* from the command line */
    struct config *config;   /* in force; owned */
    /* what the server was started with, where it differs from `config`: restarts are reported against it; owned */
    struct config *boot;
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

/* --- signals.c --- */
/* Before any thread: from now on signals wait, which threads inherit, so that they are the main thread's and none is
 * lost, or ends the process, while it starts. */
void signals_block(void);
/* Puts the watchers of s->loop in place. */
void signals_watch(struct server *s);
/* What has waited arrives. */
void signals_unblock(void);
/* The loop is over: those that end a process do so at once again, the others do nothing. */
void signals_leave(struct server *s);

/* --- parts.c: what the server is made of --- */
/* Opens all that s->config names, and serves. On -1, which has been told, parts_close() closes what is open. */
MUST_CHECK int parts_open(struct server *s);
/* The loop is over, or the start failed half-way. */
void parts_close(struct server *s);
/* Builds the scripts of this config beside those in force; scripts_commit() brings them there. Else not 0, with lines
 * in `errors`; ERR_AGAIN: the change before is not yet on all shards. */
MUST_CHECK int parts_prepare_scripts(struct server *s, const struct config *c, struct buf *errors);
/* Descriptors for limits.connections, as many as the system allows; a warning in the log where they are too few. */
void parts_raise_limits(const struct config *c);

/* --- drain.c --- */
/* Its watchers; s->loop is there. */
void drain_init(struct server *s);
/* Tells the clients to go and ends the loop when they are gone. limit: seconds, 0: as long as it takes. While draining,
 * only the limit is set anew. */
void drain_begin(struct server *s, const char *because, double limit);

/* --- reload.c --- */
/* Brings a config into force and takes it; else not 0, with lines in `errors`. ctx: the server. As
 * config_keeper.adopt. */
int reload_adopt(void *ctx, struct config *fresh, struct buf *errors);
/* Reads the file anew and brings it into force, or tells the log why not. */
void reload_file(struct server *s);

/* --- orders.c --- */
/* The console's commands about the config and the server's end. ERR_NOMEM. */
MUST_CHECK int orders_register(struct server *s);

#endif
