/* Memory that is counted to a plugin. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_MEMORY_H
#define MAGPIE_PLUGIN_MEMORY_H

#include "core/plugin/plugin_private.h"

void *memory_alloc(mp_self *p, void *at, size_t n);
/* Frees what the plugin left; returns how many bytes. */
size_t memory_free_all(struct mp_self *p);

#endif
