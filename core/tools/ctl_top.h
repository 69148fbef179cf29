/* magpiectl: the live view of `top`. Private to core/tools. */
#ifndef MAGPIE_TOOLS_CTL_TOP_H
#define MAGPIE_TOOLS_CTL_TOP_H

#include "core/tools/ctl.h"

/* The live view, until it is left. once: one picture and out. 0, or -1 when the server refuses or is gone, which has
 * been told. */
int ctl_top(struct ctl *c, bool once);
/* One picture of the live view, `width` columns and `height` lines (0: no bound). */
void ctl_top_draw(struct buf *out, const struct cJSON *now, const struct cJSON *before, unsigned width,
                  unsigned height);

#endif
