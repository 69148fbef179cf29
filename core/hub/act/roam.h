/*
 * Users who roam: whose connections end on several nodes. The bus knows which node each user is connected to, from
 * before its first login there is answered until its last connection has gone. On the user's owner shard. A server
 * alone tells nobody, and none of this does anything. Private to core/hub.
 */
#ifndef MAGPIE_HUB_ROAM_H
#define MAGPIE_HUB_ROAM_H

#include "core/hub/act/login.h"

/* For roam_waits() alone. */
bool roam_begin(struct login *l);

/* Before the login is answered: its user's channels are followed, other nodes know that it is here, and the one where
 * its device was has closed that connection. True: not yet; login_complete() or login_refuse() is called in time. */
static inline bool roam_waits(struct login *l)
{
    return __builtin_expect(l->shard->bus != NULL, 0) && roam_begin(l);
}

/* With a bus: the user is about to be loaded for this login; and was, although it is here already. */
void roam_load(struct login *l);
void roam_loaded(struct login *l);
/* The owner of the channel has noted members of this shard: logins that wait for that may go on. */
void roam_noted(struct shard *s, struct slice channel);
/* The user's last connection has closed, or a login has ended: tells the bus when nothing of it is here any more. */
void roam_left(struct shard *s, uint32_t user);

#endif
