/* The table e that a hook or an action is called with: its fields, which are made when they are asked for. */
#ifndef MAGPIE_SCRIPT_EVENT_FIELDS_H
#define MAGPIE_SCRIPT_EVENT_FIELDS_H

#include "core/hub/registry/hook.h"
#include "core/script/state.h"

/* Which event's fields: one of enum hook_event, or those of an action. */
enum { FIELDS_OF_ACTION = HOOK_EVENTS };

/* Makes the metatables. Raises Lua errors. */
void event_fields_open(struct state *st, lua_State *L);
/* Pushes the table of the event st->event. The caller has made sure that there is memory, or is protected. */
void event_push(struct state *st, lua_State *L);
/* Whether the event has the field. */
bool event_has(unsigned which, enum key key);
/* Whether scripts may set e.content. */
bool event_content_open(unsigned which);
/* The names of its fields, with blanks between. */
void event_names(unsigned which, char *out, size_t size);

#endif
