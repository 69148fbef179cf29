/*
 * Tickets: what a plugin is given for something that waits for its answer. To the plugin it looks like a pointer
 * (struct mp_call and others, which nobody defines) or is a struct mp_ticket. It may be asked about for ever: one that
 * was answered already is found to be so, whatever the memory has become. Private to core/plugin.
 */
#ifndef MAGPIE_PLUGIN_TICKET_H
#define MAGPIE_PLUGIN_TICKET_H

#include "core/plugin/plugin_private.h"

/* Main thread, before and after all plugins. */
void tickets_init(struct plugins *ps);
void tickets_free(struct plugins *ps);

/* Puts o, which waits for the plugin's answer, under a new ticket. `abandon` answers it when the plugin is gone without
 * doing so; it must free o. NULL: out of memory. Any thread, like all here. */
void *open_begin(struct mp_self *p, struct open *o, enum open_kind kind, void (*abandon)(struct open *o));
/* What waits under the ticket, which is no longer good from now on: the caller answers and frees it. NULL: it was
 * answered before, or the ticket is none of this kind; that is logged. */
struct open *open_take(const void *ticket, enum open_kind kind);
/* The same by name, of a plugin's own. */
struct open *open_take_named(struct mp_self *p, struct mp_ticket ticket, enum open_kind kind);
/* What waits under the ticket, to be looked at; NULL: it was answered. */
struct open *open_peek(const void *ticket, enum open_kind kind);
/* A ticket's name, which may be copied. */
struct mp_ticket open_name(const void *ticket);
/* Takes back, without a word, what its opener answers itself; NULL: it was answered meanwhile. */
struct open *open_withdraw(const void *ticket);
/* Logs what open_take() does, for whoever finds out by open_withdraw(). */
void open_log_twice(const struct mp_self *p, enum open_kind kind);
/* Answers all that the plugin did not. Nothing of the plugin runs any more, so nobody else does. */
void opens_abandon(struct mp_self *p);

#endif
