/* magpiectl: one connection to a console, blocking. Private to core/tools. */
#ifndef MAGPIE_TOOLS_CTL_CONN_H
#define MAGPIE_TOOLS_CTL_CONN_H

#include "core/tools/ctl.h"

/* Connects to `address`, or to the first of `usual` where anything listens, and gives the password where there is one.
 * 0, or -1 with ctl->why. */
int ctl_connect(struct ctl *c);
void ctl_close(struct ctl *c);
/* As recv(2) on the connection, blocking. */
ssize_t ctl_recv(struct ctl *c, void *p, size_t n);
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

#endif
