/* The console's `plugin …`. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_COMMANDS_H
#define MAGPIE_PLUGIN_COMMANDS_H

#include "core/plugin/plugin_private.h"

int plugin_commands_register(struct plugins *ps);

#endif
