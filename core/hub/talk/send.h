/*
 * A message on its way, the same for a client's and one from the layers above: on the conversation's owner shard the
 * hooks decide, the store appends, and what is stored is answered and published. Private to core/hub.
 */
#ifndef MAGPIE_HUB_SEND_H
#define MAGPIE_HUB_SEND_H

#include "core/hub/registry/hook.h"
#include "core/hub/talk/advice.h"
#include "core/hub/talk/conv.h"

/* What a policy took for a message. */
struct charge {
    bool bucket;                                    /* a token of the bucket that the hook was given */
    void (*refund)(struct shard *s, uint64_t what); /* for one taken elsewhere */
    uint64_t what;
    struct hook_take takes[sizeof((struct hook_call *)0)->takes / sizeof(struct hook_take)]; /* that others take, too */
    unsigned take_count;
};

struct send {
    struct owned_req o;
    struct store_append op;
    uint64_t began_us;                      /* of the append; 0: not timed */
    bool member;                            /* channel: the sender is subscribed */
    bool counted;                           /* by news_sends() */
    bool privileged;                        /* from the server itself: past memberships, blocks and limits */
    struct charge user_charge, conv_charge; /* to be taken back when it is a repeat */
    struct hook_advice advice;              /* of the conversation hooks */
    char told[ADVICE_MAX];                  /* with a bus: op.advice */
    void *host;                             /* the operation of host_send.c that it is for; NULL: a client's */
    char data[];                            /* sender id, name, clientId, content */
};

/* Bytes of a struct send with these texts. */
size_t send_size(struct slice sender, struct slice name, struct slice client_id, struct slice content);
/* Fills in what the message hooks let through; the texts are copied. Then owned_post() sends it on its way. */
void send_fill(struct send *q, const struct conv_key *key, const struct hook_call *h, struct slice client_id);
/* It is over a limit: only a repeat of something that was sent before is answered well. */
void send_refuse(struct send *q, const struct hook_call *h);
/* Tells a hook which conversation it is about. h->user must be set. */
void send_hook_about(struct hook_call *h, const struct conv_key *key);
/* On the owner: whether the sender, who is subscribed or not, may say something here. False: it has been answered, with
 * `unknown` where the other one of a pair does not exist. */
bool send_admitted(struct owned_req *o, struct slice sender, bool member, const char *unknown);
/* The answer for a message that a hook dropped: an id that nothing bears, and seq 0. */
void send_encode_dropped(struct buf *b);

#endif
