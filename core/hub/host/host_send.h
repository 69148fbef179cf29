/* Messages from the layers above: an operation of host.h. Any thread. */
#ifndef MAGPIE_HUB_HOST_SEND_H
#define MAGPIE_HUB_HOST_SEND_H

#include "core/hub/host/host.h"

/* A message to a user or a channel. From `system` it goes past memberships, blocks and limits; from anybody else every
 * rule of the protocol holds (membership, blocks, mutes, limits, hooks), as if that user had sent it. */
struct host_send {
    struct host_op op;
    struct slice sender;            /* empty: "system" */
    struct slice receiver, channel; /* one of them */
    struct slice content;           /* checked: UTF-8, limits.content */
    struct slice client_id;         /* empty: not idempotent */
    /* out */
    uint64_t seq, id, created_ms;
    bool duplicate;
};
void host_send(struct hub *hub, struct host_send *q);

#endif
