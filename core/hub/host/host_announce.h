/* Announcements of other nodes. Private to core/hub; those of this one: host.h. */
#ifndef MAGPIE_HUB_HOST_ANNOUNCE_H
#define MAGPIE_HUB_HOST_ANNOUNCE_H

#include "core/base/err.h"

struct hub;

/* They are heard from now on. Main thread, before hub_start(). ERR_FULL. */
MUST_CHECK int host_announce_begin(struct hub *hub);

#endif
