/* Membership of any user, for the layers above: an operation of host.h. Any thread. */
#ifndef MAGPIE_HUB_HOST_MEMBER_H
#define MAGPIE_HUB_HOST_MEMBER_H

#include "core/base/push.h"
#include "core/hub/host/host.h"

/* Membership of any user. CODE_NOT_FOUND: no such user (or, leaving, channel). */
struct host_member {
    struct host_op op;
    struct slice user, channel;
    bool leave;
    bool going;                /* leaving: a channel that is being deleted, too */
    enum member_change change; /* leaving: what its connections and other members are told (MEMBER_LEFT) */
    bool set_push;             /* joining: the next counts */
    enum push_mode push;
    bool may_create; /* joining: make the channel when there is none */
    /* out */
    uint32_t members;
    bool existed; /* was a member before */
};
void host_member(struct hub *hub, struct host_member *q);

#endif
