/* `why` over the nodes of a cluster: what is gathered, and asking others for it. Private to core/console. */
#ifndef MAGPIE_CONSOLE_WHY_CALL_H
#define MAGPIE_CONSOLE_WHY_CALL_H

#include "core/console/console_private.h"
#include "core/hub/host/snapshot.h"
#include "core/hub/shard/why.h"

struct why_call {
    struct store_inbox_peek inbox; /* first */
    struct command_call *call;     /* of which argv[0] is the user, and state this */
    uint64_t id, user;             /* asked for; hash of the user's id */
    unsigned shard;                /* the next one to ask */
    uint64_t since;                /* the youngest of the shards' oldest notes: what is older may be forgotten */
    bool have_stored, have_published, have_walked, have_skipped, have_pushed, have_acked, have_edited, have_recalled;
    struct why_note stored, published, walked, skipped, pushed, acked, edited, recalled;
    struct snapshot_membership member;
    char channel[65];              /* its name, where it could be found; "" otherwise */
    uint32_t connections, waiting; /* of the user now; bytes that wait in their queues */
    bool in_inbox, inbox_read;
    void (*then)(struct why_call *w); /* what comes when all shards, or all nodes, have been asked */
    uint64_t unanswered[HUB_NODES];   /* numbers of nodes that did not answer */
    unsigned unanswered_count;
};

static inline bool why_is_channel(const struct why_call *w)
{
    return w->stored.bits & WHY_B_CHANNEL;
}

/* Who stored it, whether it was pushed, acknowledged: from this node's shards, into *w. */
void why_find_stored(struct why_call *w, void (*then)(struct why_call *w));
/* With that known: what the channel's owner and the user's shard noted of it. */
void why_find_notes(struct why_call *w, void (*then)(struct why_call *w));

/* The same of other nodes. */
enum why_ask { WHY_ASK_STORED = '1', WHY_ASK_NOTES };
void why_ask_nodes(struct why_call *w, enum why_ask what, void (*then)(struct why_call *w));
void why_put_unanswered(struct buf *out, const struct why_call *w);

#endif
