/*
 * Console commands: the table, and what a command is given. The console (core/console) reads lines, finds the command
 * here, and renders what it answers; scripts and plugins register theirs. Main thread; a command that must wait answers
 * later, on the main thread too.
 */
#ifndef MAGPIE_HUB_COMMAND_H
#define MAGPIE_HUB_COMMAND_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hub;
struct command_call;

enum { COMMAND_ARGS = 16 }; /* words after the command's name */

struct command {
    const char *name;  /* "kick user": one or two words; must live as long as it is registered, like all texts here */
    const char *args;  /* "ID [reason]", for help; "" */
    const char *help;  /* one line */
    unsigned min, max; /* arguments; max is COMMAND_ARGS at most */
    bool changes;      /* changes something: it is logged with who gave it */
    void (*run)(struct command_call *c, void *ctx);
    void *ctx;
    const void *owner; /* who registered it; NULL: built in */
    unsigned shown;    /* so many of its arguments may be logged: never secrets, never content */
    bool text;         /* the last argument takes all words that are left, joined by spaces */
    bool peer;         /* it is about the connection to the console that gave it: orders cannot give it */
};

/* One line being served. Lives until command_done() or command_fail(), one of which must come. */
struct command_call {
    struct hub *hub;
    struct command command; /* as it was when the line came: the table may change meanwhile */
    unsigned argc;
    struct slice argv
        [COMMAND_ARGS]; /* the words after the command's name, unquoted, valid UTF-8; borrowed until the call ends */
    /* the answer as one JSON value (empty: null). Text output is rendered from it: a string as its lines, an object
     * as "key: value" lines, an array of objects as a table */
    struct buf out;
    /* asked for as JSON; else as text, and then a command that knows better than the rules above answers a string */
    bool json;
    /* set by the command, before it answers: `out` holds elements of an array, separated by commas, without its
     * brackets */
    bool rows;
    bool gone;       /* nobody waits for the answer any more: a long one should end */
    const char *who; /* who gave it, for logs: "127.0.0.1:4711", "unix uid 0"; borrowed */
    void *console;   /* the console's own */
    void *state;     /* the command's own, between its steps */
};

/* Names must be one or two lower-case words. ERR_INVALID, ERR_EXISTS, ERR_NOMEM. The first word of a name of two must
 * not be the name of somebody else's command: that counts as existing too. */
MUST_CHECK int command_register(struct hub *hub, const struct command *c);
MUST_CHECK int commands_register(struct hub *hub, const struct command *list, size_t n);
void commands_remove(struct hub *hub, const void *owner);
/* In the order of names; NULL at the end. Borrowed until the table changes. */
const struct command *command_at(const struct hub *hub, unsigned i);
/* The command that these words begin with, and how many words its name takes; NULL: none. Borrowed until the table
 * changes. */
const struct command *command_find(const struct hub *hub, const struct slice *words, unsigned n, unsigned *used);
/* The name that was probably meant by these words; NULL: none is near. */
const char *command_nearest(const struct hub *hub, const struct slice *words, unsigned n);

/* Ends the call with what is in `out`, or with an error ("not_found", "bad_request", … and a sentence), which may have
 * details in `out`. */
void command_done(struct command_call *c);
void command_fail(struct command_call *c, const char *code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/*
 * A long answer is an array (`rows` is set) that goes out in pieces. The console takes the elements that are in `out`;
 * none is fine too. It calls `resume` when the reader has room for more, or is gone. It does so inside this call only
 * when `gone` was set before. The end is command_done(), with the last elements in `out`; command_fail() after a piece
 * breaks the connection off.
 */
void command_more(struct command_call *c, void (*resume)(struct command_call *c));

/*
 * Orders: lines that do not come by a connection to the console, but from a plugin that has its own way to operators.
 * They are run, checked and logged as those of the console, and are always answered as JSON.
 */
enum { ORDER_ANSWER_MAX = 8 << 20 }; /* bytes of an answer; a longer one fails with too_large */

struct command_order {
    const char *who;   /* for logs; copied */
    struct slice line; /* without the prefix `json`; copied */
    /* Exactly once for each order that was begun, later, on the main thread, never inside command_order(). code NULL:
     * done, and `json` is one value; else `message` says why not, and `json` may have details. All are borrowed. */
    void (*done)(void *ctx, const char *code, const char *message, struct slice json);
    void *ctx;
};
/* ERR_NOMEM; ERR_CLOSED: the console is at its end, or there is none. Then `done` is never called. */
MUST_CHECK int command_order(struct hub *hub, const struct command_order *o);

/* What somebody who gives the console's password is told. */
enum password_answer {
    PASSWORD_RIGHT,
    PASSWORD_WRONG,
    PASSWORD_LIMITED, /* too many wrong ones from this address within a minute; it was not looked at */
    PASSWORD_NONE     /* none is set */
};
/* Counted and logged as the console's `auth`. ip: an address as text. */
enum password_answer command_password(struct hub *hub, const char *ip, struct slice password);
/* Which password is in force: another number whenever it has changed; 0: none is set. */
uint64_t command_password_number(const struct hub *hub);

/* What the console does for those who make calls and answer them. Set once by it; until then nobody can make calls. */
struct command_sink {
    void *ctx;                                                                  /* of the last three */
    void (*end)(struct command_call *c, const char *code, const char *message); /* code NULL: done */
    void (*more)(struct command_call *c, void (*resume)(struct command_call *c));
    int (*order)(void *ctx, const struct command_order *o);
    enum password_answer (*password)(void *ctx, const char *ip, struct slice password);
    uint64_t (*password_number)(const void *ctx);
};
/* sink NULL: there is no console any more. */
void commands_set_sink(struct hub *hub, const struct command_sink *sink);

void commands_free(struct hub *hub);

#endif
