/*
 * What members are sent of a message, or of its recall or edit: made while its texts are there, and sent later, after
 * the answer. On the conversation's owner shard. Private to core/hub.
 */
#ifndef MAGPIE_HUB_TELL_H
#define MAGPIE_HUB_TELL_H

#include "core/base/push.h"
#include "core/hub/talk/conv.h"
#include "storage/bus.h"

struct user_mail;

struct tell {
    enum push_action action; /* 101, 102, 109, 110 */
    bool channel;
    uint64_t seq;
    struct buf body;            /* channel: of the push */
    struct buf message;         /* channel, 110: the message as it is now, for windows that hold the old one */
    struct user_mail *mails[2]; /* pair: to each of the two; of a message the receiver first. NULL: none */
};

/* Whose connection has its answer and gets no push: of a pair. Index and generation on the user's shard; NONE: no one.
 */
struct tell_except {
    struct slice user;
    uint32_t conn, generation;
};

/* A new message. `arrival`: see user_mail_arrival(). */
void tell_message(struct tell *t, struct slice conv, const struct store_message *m, uint64_t arrival,
                  const struct tell_except *except);
/* NEWS_RECALLED: seq, id. NEWS_EDITED: time, created, sender, name, content too. */
void tell_change(struct tell *t, struct slice conv, const struct bus_news *n, const struct tell_except *except);
/* Sends it, and frees what it holds. A channel is pinned by the caller. over_limit: see conv_publish(). */
void tell_go(struct shard *s, uint32_t conv, struct tell *t, bool over_limit);
/* Frees what it holds. */
void tell_drop(struct tell *t);

#endif
