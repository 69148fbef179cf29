/* magpiectl: what its files share. One connection to a console, blocking. */
#ifndef MAGPIE_TOOLS_CTL_H
#define MAGPIE_TOOLS_CTL_H

#include "core/base/buf.h"

#include <signal.h>
#include <stdbool.h>

struct cJSON;

struct ctl {
    const char *address;               /* HOST:PORT or unix:PATH */
    const char *password;              /* for `auth`; NULL: none given */
    bool json;                         /* -f json */
    int fd;                            /* -1: not connected */
    struct buf in;                     /* received, not yet taken */
    size_t in_at;                      /* bytes of it that are taken */
    char why[256];                     /* what went wrong, for people */
    const volatile sig_atomic_t *stop; /* set by a signal's handler, which ends waiting for the server; NULL: none */
};

/* One reply. */
struct ctl_reply {
    bool ok;
    struct buf status; /* "OK", or "code text" of an ERR; NUL-terminated; owned */
    struct buf body;   /* lines, unstuffed; owned; empty when they went to `line` */
};

/* Connects, and gives the password where there is one. 0, or -1 with ctl->why. */
int ctl_connect(struct ctl *c);
void ctl_close(struct ctl *c);
/* Sends a line and takes its reply. line: gets each body line as it comes (without a copy in the reply); NULL: the body
 * is collected. 0, or -1 with ctl->why: the connection is lost. */
int ctl_ask(struct ctl *c, const char *command, struct ctl_reply *r, void (*line)(void *ctx, struct slice text),
            void *ctx);
void ctl_reply_free(struct ctl_reply *r);
/* The body of "json COMMAND", parsed; NULL with ctl->why: refused, no JSON, or the connection is lost. Free with
 * cJSON_Delete(). */
struct cJSON *ctl_ask_json(struct ctl *c, const char *command);
/* Prints traced frames until the connection ends, which is an error: -1 with ctl->why. Or 0: nobody reads them. */
int ctl_follow(struct ctl *c);
/* A command line of words, quoted where they must be. One word alone is taken as a whole line. */
void ctl_join(struct buf *out, int argc, char **argv);

/* Runs one line and prints the reply: the body to stdout, errors to stderr. 0: OK; 1: ERR; -1: the connection is
 * lost. */
int ctl_run(struct ctl *c, const char *command);
/* Whether the line asks for what goes on until it is stopped ("trace … on"). */
bool ctl_is_trace(const char *command);
/* The interactive prompt. The exit status. */
int ctl_prompt(struct ctl *c);
/* The live view, until it is left. once: one picture and out. 0, or -1 when the server refuses or is gone, which has been
 * told. */
int ctl_top(struct ctl *c, bool once);
/* One picture of the live view, `width` columns and `height` lines (0: no bound). */
void ctl_top_draw(struct buf *out, const struct cJSON *now, const struct cJSON *before, unsigned width,
                  unsigned height);

/* What could follow `before` (the line up to the cursor): calls `found` for each whole word. commands: the server's
 * table as JSON, options: an object whose keys are config options; either may be NULL. */
void ctl_complete(const struct cJSON *commands, const struct cJSON *options, struct slice before,
                  void (*found)(void *ctx, const char *word), void *ctx);

#endif
