/* Which plugin holds a shard. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_WATCH_H
#define MAGPIE_PLUGIN_WATCH_H

#include "core/plugin/plugin_private.h"

void watch_start(struct plugins *ps);
void watch_stop(struct plugins *ps);

#endif
