/* Pushes to one user, wherever its connections are. Private to core/hub. */
#ifndef MAGPIE_HUB_USER_MAIL_H
#define MAGPIE_HUB_USER_MAIL_H

#include "core/hub/shard/shard.h"

/* A push to all connections of a user, wherever it is, but one (its index and generation on the user's shard; NONE: to
 * all). NULL: out of memory. */
struct user_mail;
struct user_mail *user_mail_new(struct slice id, uint16_t action, struct slice body, uint32_t except,
                                uint32_t generation);
/* Remembers for `why` which message it brings; NULL is allowed. */
void user_mail_about(struct user_mail *p, uint64_t id);
/* It brings a private message to its receiver, as the n-th that ever came into its inbox; 0: not known. With an empty
 * body it only says that the n-th has been pushed. NULL is allowed. */
void user_mail_arrival(struct user_mail *p, uint64_t arrival);
/* That one was not pushed, since its turn had passed: it waits in the inbox, and the user's connections are told so in
 * a while. The body is empty. NULL is allowed. */
void user_mail_missed(struct user_mail *p);
/* It goes to the user's connections on other nodes too, for the store tells nobody of it; NULL is allowed. */
void user_mail_everywhere(struct user_mail *p);
/* It is not sent after all; NULL is allowed. */
void user_mail_free(struct user_mail *p);
/* Takes it; NULL is allowed. `from`: as for shard_post(). */
void user_mail_post(struct hub *hub, struct shard *from, struct user_mail *p);

#endif
