/* The default policies, with their numbers from the config. */
#ifndef MAGPIE_HUB_POLICY_H
#define MAGPIE_HUB_POLICY_H

#include "core/base/err.h"

#include <stdbool.h>

struct hub;

/* Into the draft: with or without the rate limits of the config, for which a script may stand in. */
MUST_CHECK int policy_rate(struct hub *hub, bool on);

#endif
