/* Users that are made before their first login, and tokens for them: operations of host.h. Any thread. */
#ifndef MAGPIE_HUB_HOST_ACCOUNT_H
#define MAGPIE_HUB_HOST_ACCOUNT_H

#include "core/hub/host/host.h"
#include "core/hub/shard/token.h"

/* Makes a user, who stays until somebody deletes it. CODE_FORBIDDEN: there is one of that id. CODE_BAD_REQUEST: what
 * cannot be an id or a name. CODE_UNAVAILABLE: one of that id is being deleted, or the store cannot write. */
struct host_user_add {
    struct host_op op;
    struct slice user, name; /* name empty: the id */
    struct store_user_save save;
};
void host_user_add(struct hub *hub, struct host_user_add *q);

/* A resume token for a user, as a login would answer with. CODE_NOT_FOUND: no such user. CODE_FORBIDDEN: auth.mode is
 * not "open", so that tokens are somebody else's. */
struct host_user_token {
    struct host_op op;
    struct slice user;
    /* out */
    char token[TOKEN_MAX + 1]; /* a secret: never logged */
    struct store_user_load load;
};
void host_user_token(struct hub *hub, struct host_user_token *q);

#endif
