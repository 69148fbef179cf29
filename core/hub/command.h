/*
 * Console commands: the table, and what a command is given. The console (core/console) reads lines, finds the command here, and renders what it
 * answers; scripts and plugins register theirs. Main thread; a command that must wait answers later, on the main thread too.
 */
#ifndef MAGPIE_HUB_COMMAND_H
#define MAGPIE_HUB_COMMAND_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct hub;

/* One line being served. Lives until command_done() or command_fail(). */
struct command_call {
    struct hub *hub;
    const struct command *command;
    unsigned argc;
    struct slice argv[16]; /* the words after the command's name, unquoted; borrowed until the call ends */
    struct buf out;        /* the answer as one JSON value (empty: null). Text output is rendered from it: a string as its lines, an object as
                            * "key: value" lines, an array of objects as a table */
    void *console;         /* the console's own */
    void *state;           /* the command's own, between its steps */
};

struct command {
    const char *name;   /* "kick user": one or two words; must live as long as it is registered, like all texts here */
    const char *args;   /* "ID [reason]", for help; "" */
    const char *help;   /* one line */
    unsigned min, max;  /* arguments */
    bool changes;       /* changes something: it is logged with who gave it */
    void (*run)(struct command_call *c, void *ctx);
    void *ctx;
    const void *owner;  /* who registered it; NULL: built in */
};

/* ERR_EXISTS, ERR_NOMEM. */
MUST_CHECK int command_register(struct hub *hub, const struct command *c);
MUST_CHECK int commands_register(struct hub *hub, const struct command *list, size_t n);
void commands_remove(struct hub *hub, const void *owner);
/* In the order of names; NULL at the end. */
const struct command *command_at(const struct hub *hub, unsigned i);

/* Ends the call with what is in `out`, or with an error ("not_found", "bad_request", … and a sentence). */
void command_done(struct command_call *c);
void command_fail(struct command_call *c, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* How the console ends a call. Set once by it; until then nobody can make calls. */
typedef void (*command_end_fn)(struct command_call *c, const char *code, const char *message);
void commands_on_end(struct hub *hub, command_end_fn fn);

#endif
