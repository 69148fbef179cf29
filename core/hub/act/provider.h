/* Logins that an authentication provider (registry/auth.h) decides. */
#ifndef MAGPIE_HUB_PROVIDER_H
#define MAGPIE_HUB_PROVIDER_H

#include "core/base/mailbox.h"
#include "core/hub/registry/auth.h"

struct login;

/* The provider that auth.mode names; NULL: there is none. Private to core/hub, as the next one. */
const struct auth_provider *provider_of(const struct shard *s);
/* Asks the provider about this login, which it answers now or later. The login may be gone when this returns. */
void provider_ask(struct login *l, struct slice token);
/* Any thread. Answers a login that waits; one that is gone is passed over. Takes answer->claims. ERR_NOMEM: not
 * answered, and the claims are not taken. */
int auth_finish(struct hub *hub, struct auth_ticket ticket, const struct auth_answer *answer);

/* The same in two steps, of which the second cannot fail. */
struct auth_mail {
    struct mail mail;
    struct auth_ticket ticket;
    struct auth_answer answer;
};
/* Takes a, which malloc() made and whose ticket and answer are filled in. ERR_INVALID: there is no such shard. */
int auth_send(struct hub *hub, struct auth_mail *a);

#endif
