/* magpiectl: completion of words. Private to core/tools. */
#ifndef MAGPIE_TOOLS_CTL_COMPLETE_H
#define MAGPIE_TOOLS_CTL_COMPLETE_H

#include "core/tools/ctl.h"

/* What could follow `before` (the line up to the cursor): calls `found` for each whole word. commands: the server's
 * table as JSON, options: an object whose keys are config options; either may be NULL. */
void ctl_complete(const struct cJSON *commands, const struct cJSON *options, struct slice before,
                  void (*found)(void *ctx, const char *word), void *ctx);

#endif
