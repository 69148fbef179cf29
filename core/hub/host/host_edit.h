/* Editing in a user's name, for the layers above: an operation of host.h. Any thread. */
#ifndef MAGPIE_HUB_HOST_EDIT_H
#define MAGPIE_HUB_HOST_EDIT_H

#include "core/hub/host/host.h"

/* Gives a message of `sender` another content, by every rule of the protocol, as if the sender had asked. A content
 * that a hook dropped is CODE_OK with edited_ms 0. */
struct host_edit {
    struct host_op op;
    struct slice sender;        /* a user's id */
    struct slice peer, channel; /* one of them: where the message is */
    uint64_t seq;
    struct slice content;
    /* out */
    uint64_t edited_ms;
};
void host_edit(struct hub *hub, struct host_edit *q);

#endif
