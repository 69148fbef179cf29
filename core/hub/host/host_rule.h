/* What an operator sets for one channel, and the list of all bans: operations of host.h. Any thread. */
#ifndef MAGPIE_HUB_HOST_RULE_H
#define MAGPIE_HUB_HOST_RULE_H

#include "core/hub/host/ban_change.h"

/* Reads a channel's rule, and changes the parts that are set. It may be made before the channel is. CODE_BAD_REQUEST;
 * CODE_UNAVAILABLE. */
struct host_rule {
    struct host_op op;
    struct slice channel;
    bool set_tier, set_push, set_limit, set_closed;
    /* In: what is to be set. Out: the whole rule as it is now. */
    struct channel_rule rule;
    struct ban_change change;
    char packed[CHANNEL_RULE_SIZE];
};
void host_rule(struct hub *hub, struct host_rule *q);

struct host_ban {
    enum ban_kind kind; /* any but CHANNEL_RULE */
    struct slice user, channel, reason;
    char ip[64];
    uint64_t until_ms; /* wall clock; BAN_FOREVER */
};

/* Some of the bans and mutes in force, in no order that means something. */
struct host_bans {
    struct host_op op;
    uint32_t cursor; /* `next` of the page before; 0: from the start */
    uint32_t limit;
    /* out */
    struct host_ban *list; /* malloc'd, borrowing from arena; free both */
    uint32_t n;
    uint32_t next; /* UINT32_MAX: that was all */
    char *arena;
};
void host_bans(struct hub *hub, struct host_bans *q);

#endif
