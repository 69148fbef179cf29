/*
 * A message that is recalled or edited: on the conversation's owner shard the store changes it, and whoever may have it
 * hears of it. The same for a client's request and for the layers above. Private to core/hub.
 */
#ifndef MAGPIE_HUB_CHANGE_H
#define MAGPIE_HUB_CHANGE_H

#include "core/hub/registry/hook.h"
#include "core/hub/talk/conv.h"

struct change {
    struct owned_req o;
    union {
        struct store_recall recall;
        struct store_edit edit;
    } op;
    bool edit;                             /* else a recall */
    bool member;                           /* channel: who asks is subscribed */
    bool privileged;                       /* recall, from the server itself: any sender's message, at any time */
    void *host;                            /* the operation of a layer above that it is for; NULL: a client's */
    struct slice user, user_name, content; /* who asks; the new content; in `data` */
    uint64_t seq;
    char data[];
};

/* Bytes of a struct change with these texts. */
size_t change_size(struct slice user, struct slice user_name, struct slice content);
/* Fills in what the hooks let through (h: user, user_name, content, seq); the texts are copied. Then owned_post() sends
 * it on its way. A zeroed struct, whose flags may be set before or after. */
void change_fill(struct change *q, const struct conv_key *key, const struct hook_call *h);
/* The answer to an edit, and to one that a hook dropped. */
void change_encode_edited(struct buf *b, uint64_t edited_ms);

#endif
