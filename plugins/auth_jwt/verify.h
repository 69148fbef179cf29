/* From a token to who it is: signature, algorithm, times, issuer, audience, id and name. Any thread. */
#ifndef MAGPIE_PLUGINS_AUTH_JWT_VERIFY_H
#define MAGPIE_PLUGINS_AUTH_JWT_VERIFY_H

#include "keys.h"
#include "plugins/magpie_plugin.h"

#include <stdatomic.h>

enum { TOKEN_MAX = 8192 };

/* Immutable once shared; whoever uses it holds a reference. */
struct policy {
    _Atomic unsigned users;
    struct keys keys;
    char *issuer, *audience;     /* what must stand there; NULL: anything; owned */
    char *id_claim, *name_claim; /* owned */
    double leeway;               /* seconds that clocks may differ */
    bool require_expiry;
};

void policy_drop(struct policy *p);

/* Fills in *answer: in, or why not. now: seconds since 1970. token: at most TOKEN_MAX bytes, NUL-terminated. */
void verify(const struct policy *p, const struct mp_api *mp, const char *token, double now,
            struct mp_auth_answer *answer);

#endif
