/* Values in force, which a reload replaces while every thread reads them. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_CURRENT_H
#define MAGPIE_PLUGIN_CURRENT_H

#include "core/plugin/plugin_private.h"

mp_current *current_new(mp_self *p, void (*drop)(void *value));
int current_prepare(mp_current *c, void *value);
void current_commit(mp_current *c);
void *current_get(mp_current *c, mp_thread *here);
mp_held *current_hold(mp_current *c, mp_thread *here);
void *held_value(const mp_held *h);
bool held_in_force(const mp_held *h);
void held_release(mp_held *h);
/* Drops what is left. Nobody reads it any more. */
void currents_free(struct mp_self *p);

#endif
