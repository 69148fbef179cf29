/* Logins under way, as other parts of the hub must know them. Private to core/hub. */
#ifndef MAGPIE_HUB_LOGIN_H
#define MAGPIE_HUB_LOGIN_H

#include "core/hub/shard.h"

/* A private message for this user arrives: logins under way count the inbox anew. */
void login_missed(struct shard *s, uint32_t user);
/* A user was being forgotten and is gone (or not): its waiting logins go on. The caller holds a pin. */
void login_retry(struct shard *s, uint32_t user, bool gone);

#endif
