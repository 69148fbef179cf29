/*
 * Subscribing and unsubscribing, the same for a client's request and for the layers above: on the channel's owner shard
 * hooks and bans decide and the store keeps the membership; at home the user's subscription follows. Private to
 * core/hub.
 */
#ifndef MAGPIE_HUB_MEMBERSHIP_H
#define MAGPIE_HUB_MEMBERSHIP_H

#include "core/base/push.h"
#include "core/hub/talk/conv.h"
#include "storage/cluster.h"

/* Names of enum push_mode as clients write them; "" for MODE_DEFAULT. */
extern const char *const push_names[MODE_NONE + 1];

struct subscribe {
    struct owned_req o;
    struct store_member_put op;
    uint64_t version; /* of the user, after it: see copy_changed() */
    uint32_t chan;    /* on home, pending */
    bool past_hooks;  /* from the layers above: hooks may watch, not refuse */
    bool may_create;  /* with past_hooks: makes the channel when there is none */
    void *host;       /* the operation of host_member.c that it is for; NULL: a client's */
    uint64_t joined; /* the channel's seq then; members here may have been told more by the answer, whose seq that is */
    uint8_t noted;   /* the interest the owner noted for home */
    bool admitted;   /* the subscribe hooks have passed */
    bool creating;   /* the create hooks have, for a channel that was not there */
    bool charged;    /* a token of the user's bucket was taken: for a channel that it may make */
    uint32_t wait_ms; /* not 0: it has made so many channels that it may make one in so long again */
    /* in the user's sub_count, so that requests under way on its other connections do not pass the limit together */
    bool counted;
    uint8_t id_len, name_len; /* of the user */
    char id[64], name[64];
};
/* req.finish of a struct subscribe. */
void subscribe_finish(struct req *r);
/* owned_req.ready of it: may this user, and makes it so. */
void subscribe_ready(struct owned_req *o);

struct unsubscribe {
    struct owned_req o;
    struct store_member_del op;
    uint64_t version;          /* of the user, after it: see copy_changed() */
    void *host;                /* the operation of host_member.c that it is for; NULL: a client's */
    bool going;                /* leaves a channel that is being deleted, too */
    enum member_change change; /* what is said of it */
    uint8_t id_len, name_len;  /* of the user */
    char id[64], name[64];
    struct silent_nodes silent; /* who has not said that nothing more of the channel goes out there */
};
/* req.finish of a struct unsubscribe. */
void unsubscribe_finish(struct req *r);
/* For whoever ends a membership: what the conversation's owner makes of the store's answer. `change` and the user's
 * name are for those who want to hear of it. */
void membership_ended(struct shard *s, uint32_t conv, const struct store_member_del *op, enum member_change change,
                      struct slice name);
/* owned_req.ready of it. */
void unsubscribe_ready(struct owned_req *o);

#endif
