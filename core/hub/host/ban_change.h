/* Making and lifting bans, mutes and rules of channels: an operation of host.h. Any thread. */
#ifndef MAGPIE_HUB_BAN_CHANGE_H
#define MAGPIE_HUB_BAN_CHANGE_H

#include "core/hub/host/host.h"
#include "core/hub/people/ban.h"

/* An operation of host.h: makes a ban or mute, replaces it, or lifts it. Kept (`commit`) and in force on all shards
 * before `done`. CODE_BAD_REQUEST; CODE_NOT_FOUND: no such user (where ids are the server's own), or, lifting, there is
 * none; CODE_UNAVAILABLE. */
struct ban_change {
    struct host_op op;
    enum ban_kind kind;
    struct slice user;    /* but BAN_IP */
    struct slice channel; /* BAN_MEMBER, MUTE_MEMBER, CHANNEL_RULE */
    struct slice ip;      /* BAN_IP */
    /* CHANNEL_RULE: packed; else for people: of a BAN_USER in push 105 and at login; may be empty */
    struct slice reason;
    uint64_t seconds; /* 0: until it is lifted */
    bool lift;
    /* out */
    uint32_t connections; /* closed */
    bool ended;           /* BAN_MEMBER: a membership was ended */
    void *inner;          /* ban.c's */
};
void ban_change(struct hub *hub, struct ban_change *q);

/* Every shard has the change of this note_number() that all nodes hear of (ban_ear.c); existed: there was one before.
 * Whether it is one of this node's own, under way. Main thread. Private to core/hub. */
bool ban_change_heard(struct hub *hub, uint64_t number, bool existed);
/* Every shard has all bans as they stand by now: the node has missed how they came about. Likewise. */
void ban_change_heard_all(struct hub *hub);

#endif
