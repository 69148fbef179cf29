/*
 * Where pushes begin of a membership that another node has made, and this one hears of late: what was stored since may
 * have been pushed here already, to other members. Private to core/hub.
 *
 * Nothing of the channel is pushed to the user until the channel's owner has said how far members here have been told.
 * If that is no further than where the membership began, pushes begin there. Else push 107 says that the user is
 * behind, before anything else, and pushes begin behind that. So everything is pushed, or known to be missing.
 */
#ifndef MAGPIE_HUB_LATE_JOIN_H
#define MAGPIE_HUB_LATE_JOIN_H

#include "core/hub/shard/shard.h"

enum late_kind {
    LATE_KNOWN,   /* the membership, or its push mode, is of `since` */
    LATE_UNKNOWN, /* its push mode is of nobody knows when */
    LATE_JOINED   /* so is the membership, of which the user's connections hear by it */
};

/* For a user's subscription that this node has just made or changed. Without memory the user is behind. */
void late_join(struct shard *s, uint32_t user, uint32_t sub, enum late_kind kind, uint64_t since);

#endif
