/* Recalling anybody's message at any time, for the layers above: an operation of host.h. Any thread. */
#ifndef MAGPIE_HUB_HOST_RECALL_H
#define MAGPIE_HUB_HOST_RECALL_H

#include "core/hub/host/host.h"

/* Recalls a message as its sender would, without a limit of time: receivers get push 109. CODE_NOT_FOUND: there is no
 * such message (any more). Recalling twice is CODE_OK. */
struct host_recall {
    struct host_op op;
    struct slice channel;  /* of a channel; else empty, and … */
    struct slice users[2]; /* … of these two */
    uint64_t seq;
    /* out */
    bool again; /* it was recalled already */
};
void host_recall(struct hub *hub, struct host_recall *q);

#endif
