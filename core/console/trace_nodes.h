/*
 * `trace` over the nodes of a cluster. The node where somebody looks asks the others to follow, and then again and
 * again for what has happened; each answers as soon as something has, or after a second. Who is not asked for a while
 * follows no more. Private to core/console.
 */
#ifndef MAGPIE_CONSOLE_TRACE_NODES_H
#define MAGPIE_CONSOLE_TRACE_NODES_H

#include "core/console/console_private.h"

struct trace_event;

/* cmd_trace.c: an event as a line, or as JSON. */
void trace_put(struct buf *b, struct hub *hub, const struct trace_event *e, bool json);

/* `trace user`, which has been done here: on the other nodes too. Ends the call. */
void trace_nodes_user(struct command_call *c, bool on);
/* `trace connection` of another node: done there; it ends the call. False: it is of this one. */
bool trace_nodes_conn(struct command_call *c);
/* Whether an event is for another node, which gets it. */
bool trace_nodes_event(struct console *c, const struct trace_event *e);
/* A connection to the console goes. */
void trace_nodes_forget(struct console *c, const struct console_peer *p);

void trace_nodes_begin(struct console *c);
/* Once a second. */
void trace_nodes_check(struct console *c);
/* The console stops. */
void trace_nodes_stop(struct console *c);

#endif
