/* A file: dlopen, the symbol, its description; refusals for people. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_LOADER_H
#define MAGPIE_PLUGIN_LOADER_H

#include "core/plugin/plugin_private.h"

/* Opens PATH/NAME.so and checks its description. NULL: why tells. The image stays. */
const struct mp_plugin *image_open(const char *path, const char *name, char **file, char *why, size_t why_size);
/* The same for a description at hand. 0, or -1 and why. */
int image_check(const struct mp_plugin *desc, const char *name, char *why, size_t why_size);

#endif
