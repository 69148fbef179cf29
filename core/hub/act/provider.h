/* Logins that an authentication provider (registry/auth.h) decides. */
#ifndef MAGPIE_HUB_PROVIDER_H
#define MAGPIE_HUB_PROVIDER_H

#include "core/hub/registry/auth.h"

struct call;
struct login;

/* The provider that auth.mode names; NULL: there is none. Private to core/hub, as the next one. */
const struct auth_provider *provider_of(const struct shard *s);
/* Asks the provider about this login, which it answers now or later. The login may be gone when this returns. */
void provider_ask(struct call *c, struct login *l, struct slice token);
/* Any thread. Answers a login that waits; one that is gone is passed over. ERR_NOMEM: not answered. */
int auth_finish(struct hub *hub, struct auth_ticket ticket, const struct auth_answer *answer);

#endif
