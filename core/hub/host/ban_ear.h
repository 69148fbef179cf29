/*
 * Bans, mutes and rules that any node of a cluster changes: put in force here, in the order of all changes. A server
 * alone hears of none. Private to core/hub.
 */
#ifndef MAGPIE_HUB_BAN_EAR_H
#define MAGPIE_HUB_BAN_EAR_H

#include "core/base/err.h"

struct hub;

/* From now on. Main thread, before hub_start(). ERR_FULL. */
MUST_CHECK int ban_ear_begin(struct hub *hub);

#endif
