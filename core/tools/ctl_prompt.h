/* magpiectl: the interactive prompt. Private to core/tools. */
#ifndef MAGPIE_TOOLS_CTL_PROMPT_H
#define MAGPIE_TOOLS_CTL_PROMPT_H

#include "core/tools/ctl.h"

/* The interactive prompt. The exit status. */
int ctl_prompt(struct ctl *c);

#endif
