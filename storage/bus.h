/*
 * The bus: how a server that is one of several (a node) has the others know what they must, and act where its own
 * connections end. For core/hub alone, as tests/layers.py proves. A server on the embedded engine has none.
 *
 * What a change in the store makes others need to know is told by the engine with the change: the message to the nodes
 * that follow its channel or have its users, the recall, the new name. Here is the rest: which channels this node
 * follows, who is connected to it, orders, and notes that must be in force everywhere.
 *
 * Operations are those of store.h: a struct that begins with struct store_op, owned by the caller and unchanged until
 * `done`, which arrives on `home` later and never inside the call. Any thread may call. Those about one channel or one
 * user take effect, and are answered, in the order handed over. STORE_RETRY: the bus has tried for as long as it may
 * (seconds) and is closing, or cut off; STORE_UNKNOWN: the same, and it may have happened.
 */
#ifndef MAGPIE_STORAGE_BUS_H
#define MAGPIE_STORAGE_BUS_H

#include "storage/store.h"

struct bus;

/* The bus of an open store; NULL: the server is alone. Always the same, until the store is closed. Any thread. */
struct bus *store_bus(struct store *s);

/* --- Channels ----------------------------------------------------------------------------------------------------- */

/* This node has members of the channel, and wants to hear of it. STORE_OK: whatever is stored from now on is told to
 * this node too. Otherwise it is not told yet, and the bus goes on trying until bus_unfollow(). Twice is once. */
struct bus_follow {
    struct store_op op;
    struct slice conv; /* the channel's key */
};
void bus_follow(struct bus *b, struct bus_follow *f);

/* No member is left here. Whatever the status, nothing needs to be done. */
struct bus_unfollow {
    struct store_op op;
    struct slice conv;
};
void bus_unfollow(struct bus *b, struct bus_unfollow *u);

/* --- Users -------------------------------------------------------------------------------------------------------- */

/* A connection, wherever it is. */
struct bus_handle {
    uint64_t node; /* its incarnation; 0: none */
    uint32_t shard, conn, generation;
};

/* The user has a connection to this node. To be done before its login is answered: from then on this node is told what
 * concerns it. STORE_NOTFOUND: there is no such user any more. Twice is once. */
struct bus_session_put {
    struct store_op op;
    struct slice user;
    struct slice device;    /* may be empty */
    struct bus_handle conn; /* of the device, for `replaces` of a later login; `node` is the bus's to know */
    /* out */
    uint32_t epoch; /* of the user's tokens, as it is now */
    struct bus_handle
        replaces; /* the device's connection to another node, to be closed by ORDER_REPLACE; node 0: none */
};
void bus_session_put(struct bus *b, struct bus_session_put *p);

/* The user's last connection to this node has gone. Whatever the status, nothing needs to be done: the bus repeats
 * it. */
struct bus_session_del {
    struct store_op op;
    struct slice user;
};
void bus_session_del(struct bus *b, struct bus_session_del *d);

/* Which of some users are connected to other nodes. */
struct bus_presence {
    struct store_op op;
    const struct slice *ids;
    uint32_t n;
    struct slice channels; /* names, each after a byte with its length; empty: not asked for */
    /* out: `n` each, all false when it is handed over */
    bool *online;
    bool *shared; /* is a member of one of the channels */
};
void bus_presence(struct bus *b, struct bus_presence *p);

/* --- Orders ------------------------------------------------------------------------------------------------------- */

enum bus_order_kind {
    ORDER_PUSH,   /* `body` as push `action` to each of the user's connections; nobody waits for a receipt */
    ORDER_KICK,   /* closes the user's connections; `body`: the message of their push 105 */
    ORDER_REPLACE /* closes the connection `conn`, whose device another one has taken over */
};

/* An order to other nodes. PUSH and KICK go to each other node where the user has connections, REPLACE to the one that
 * has `conn`. STORE_OK: all of them have done it, or are dead. STORE_RETRY: some have not said so, after a second;
 * REPLACE is repeated for as long as its node may be alive. */
struct bus_order {
    struct store_op op;
    enum bus_order_kind kind;
    struct slice user;
    struct slice body;
    struct bus_handle conn; /* REPLACE */
    uint16_t action;        /* PUSH: 100 or more */
    /* out */
    uint32_t connections; /* closed */
};
void bus_order(struct bus *b, struct bus_order *o);

/* What the hub hears. */
struct bus_ears {
    void *ctx;
    /* An order of another node, on the bus's thread, which may not wait. `op.mail` is the hub's until it gives the
     * receipt; all else is the bus's own, and stays unchanged until then, but for `connections`. */
    void (*ordered)(void *ctx, struct bus_order *o);
};
/* From now on; *ears is copied. NULL: no more, and none is being told when it returns; receipts are still taken. Main
 * thread. */
void bus_listen(struct bus *b, const struct bus_ears *ears);
/* The order has been carried out, and may be gone. Any thread. */
void bus_receipt(struct bus *b, struct bus_order *o);

/* --- Notes -------------------------------------------------------------------------------------------------------- */

/* store_note_put(), with its statuses, and the note is in force on every living node; or, after two seconds, it is not
 * on `missing` of them. */
struct bus_note {
    struct store_op op;
    struct store_note note;
    bool remove;
    /* out */
    uint32_t missing; /* nodes that have not said that they have it */
};
void bus_note(struct bus *b, struct bus_note *n);

#endif
