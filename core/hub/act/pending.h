/*
 * A message, or a new text for one, whose hooks have not all decided yet: what is kept of it until they have. Private
 * to core/hub.
 */
#ifndef MAGPIE_HUB_PENDING_H
#define MAGPIE_HUB_PENDING_H

#include "core/hub/people/req.h"
#include "core/hub/registry/hook_wait.h"
#include "storage/conv_key.h"

struct pending {
    struct req r;
    struct conv_key key;
    uint64_t seq;          /* of the message that is edited */
    uint8_t client_id_len; /* of one that is sent */
    char client_id[64];
};

/* The hooks answer `call` later: waiter->resume gets the struct pending. The client's next frames wait behind it. */
void pending_begin(struct call *c, const struct conv_key *key, struct hook_wait *wait, const struct hook_waiter *waiter,
                   struct slice client_id, uint64_t seq);
/* For hook_waiter.refresh. */
void pending_refresh(struct hook_call *h, void *pending);
/* Whether its connection is still there. */
bool pending_here(const struct pending *w, const struct shard *s);
/* First of all when the hooks have decided: whether it ends here, refused (but not by a rate limit where there is a
 * clientId), or because its user may not any more. Then the request is answered and gone. */
bool pending_refused(struct pending *w, const struct hook_call *h, enum hook_verdict verdict);
/* Whether the user is subscribed to its channel now, or it has none. */
bool pending_member(const struct pending *w, const struct shard *s);

#endif
