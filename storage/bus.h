/*
 * The bus: how a server that is one of several (a node) has the others know what they must, and act where its own
 * connections end. For core/hub alone, as tests/layers.py proves. A server on the embedded engine has none.
 *
 * What a change in the store makes others need to know is told by the engine with the change: the message to the nodes
 * that follow its channel or have its users, the recall, the new name. Here is the rest: which channels this node
 * follows, who is connected to it, what it hears of others, orders, and notes that must be in force everywhere.
 *
 * Operations are those of store.h: a struct that begins with struct store_op, owned by the caller and unchanged until
 * `done`, which arrives on `home` later and never inside the call. Any thread may call. Those about one channel or one
 * user take effect, and are answered, in the order handed over. STORE_RETRY: the bus has tried for as long as it may
 * (seconds) and is closing, or cut off; STORE_UNKNOWN: the same, and it may have happened.
 */
#ifndef MAGPIE_STORAGE_BUS_H
#define MAGPIE_STORAGE_BUS_H

#include "storage/cluster.h"
#include "storage/store.h"

struct bus;
struct bus_noted;

/* The bus of an open store; NULL: the server is alone. Always the same, until the store is closed. Any thread. */
struct bus *store_bus(struct store *s);

/* --- Channels ----------------------------------------------------------------------------------------------------- */

/* This node has members of the channel, and wants to hear of it. STORE_OK: whatever is stored after `seq` is told to
 * this node too. Otherwise it is not told yet, and the bus goes on trying until bus_unfollow(). Twice is once. */
struct bus_follow {
    struct store_op op;
    struct slice conv; /* the channel's key */
    /* out: the channel as it was once this node was told of it; zero: it does not exist */
    uint64_t seq, member_version;
    uint32_t members;
    enum store_tier tier;
    bool exists;
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

/* How many connections of one device to other nodes a login hears of: one that came later may have failed, or its node
 * died, before it told the one before. */
enum { BUS_REPLACES = 2 };

/* The user has a connection to this node. To be done before its login is answered: from then on this node is told what
 * concerns it. STORE_NOTFOUND: there is no such user any more. STORE_DENIED, with `restore`: another node has the
 * device by now. Twice is once. */
struct bus_session_put {
    struct store_op op;
    struct slice user;
    struct slice device;    /* may be empty */
    struct bus_handle conn; /* of the device, for `replaces` of a later login; `node` is the bus's to know */
    bool restore;           /* put again after this node had been taken for dead: takes no device from another one */
    /* out */
    uint32_t epoch;    /* of the user's tokens, as it is now */
    uint64_t version;  /* of the user: another one than that of store_user_load: it has changed since */
    uint64_t arrivals; /* how many messages have come into its inbox so far, ever */
    struct bus_handle replaces[BUS_REPLACES]; /* the device's connections to other nodes, to be closed by ORDER_REPLACE;
                                                 node 0: none, and none behind it */
};
void bus_session_put(struct bus *b, struct bus_session_put *p);

/* The user's last connection to this node has gone. Whatever the status, nothing needs to be done: the bus repeats
 * it. */
struct bus_session_del {
    struct store_op op;
    struct slice user;
};
void bus_session_del(struct bus *b, struct bus_session_del *d);

/* What a node compares its copy of a user with, when news may have been missed. STORE_NOTFOUND: there is none. */
struct bus_look {
    struct store_op op;
    struct slice user;
    /* out: as of bus_session_put */
    uint32_t epoch;
    uint64_t version, arrivals;
};
void bus_look(struct bus *b, struct bus_look *l);

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

/* Connections to this node want to hear whether the user comes or goes (NEWS_PRESENCE), or none does any more. */
struct bus_watch {
    struct store_op op;
    struct slice user;
    bool on;
    /* out, with `on` */
    bool online;      /* it is connected to another node now */
    uint64_t changes; /* number of the newest change of the nodes that it is connected to, this one among them; it
                       * ascends, and NEWS_PRESENCE has it too: of two the one with the larger is true */
};
void bus_watch(struct bus *b, struct bus_watch *w);

/* --- News --------------------------------------------------------------------------------------------------------- */

/* What another node has stored. What it itself stores, a node knows from its own operations. */
enum bus_news_kind {
    NEWS_MESSAGE =
        1,         /* conv, seq, id, time, name, sender, content, advice; a channel's: members, tier; a private one's:
                       * user, whose connections are to be told, and arrival, for its receiver */
    NEWS_NUDGE,    /* conv, seq, and likewise user and arrival: there is such a message; who has not heard it reads */
    NEWS_RECALLED, /* conv, seq, id; user: of a private one */
    NEWS_EDITED,   /* the same; time (editedAt), content, sender, name, created */
    NEWS_CHANNEL,  /* conv, members, tier, version (of its members' changes); sender, name, change: who joined or
                       * left, empty: nobody did; gone: it is no more, or is being deleted */
    NEWS_MEMBER,   /* user, version (the user's), conv, push, events, seq, members, change: its membership; gone: it is
                    * no member any more */
    NEWS_USER,     /* user, version, name, epoch; gone: it was deleted */
    NEWS_READ,     /* user, conv, seq: its read mark has moved */
    NEWS_INBOX,    /* user, count: so many entries are left after an acknowledgement */
    NEWS_PRESENCE, /* user, version and online: as bus_watch.changes and .online: it is connected to another node than
                       this one, whichever */
    NEWS_KINDS
};

/* Kinds of what `news.change` and store_member_put.change say are the hub's; 0 is none. */
struct bus_news {
    struct mail mail; /* the hub's; first */
    uint8_t kind;     /* enum bus_news_kind */
    uint8_t tier;     /* enum store_tier */
    uint8_t push;     /* enum push_mode */
    uint8_t change;
    bool events, online, gone;
    uint32_t members, epoch, count;
    uint64_t origin; /* incarnation of the node that tells it */
    uint64_t seq, id, time, created, version, arrival;
    /* They borrow from `data`; empty where the kind has none. */
    struct slice conv, user, sender, name, content, advice;
    char data[];
};

/* --- Orders ------------------------------------------------------------------------------------------------------- */

enum bus_order_kind {
    ORDER_PUSH,    /* `body` as push `action` to each of the user's connections; nobody waits for a receipt */
    ORDER_KICK,    /* closes the user's connections; `body`: the message of their push 105 */
    ORDER_REPLACE, /* closes the connection `conn`, whose device another one has taken over */
    ORDER_REMOVE   /* the user is no member of the channel `body` any more: nothing of it goes out after the receipt */
};

/* An order to other nodes. PUSH, KICK and REMOVE go to each other node where the user has connections, REPLACE to the
 * one that has `conn`. STORE_OK: all of them have done it, or are dead. STORE_RETRY: some have not said so, after a
 * second; REPLACE is repeated for as long as its node may be alive. */
struct bus_order {
    struct store_op op;
    enum bus_order_kind kind;
    struct slice user;
    struct slice body;
    struct bus_handle conn; /* REPLACE; REMOVE: its `node` is the user's version by the end of the membership, or 0 */
    uint16_t action;        /* PUSH: 100 or more */
    /* out */
    uint32_t connections;       /* closed */
    struct silent_nodes silent; /* with STORE_RETRY: who has not said so; n 0: to whom it goes could not be read */
};
void bus_order(struct bus *b, struct bus_order *o);
/* The order of another node has been carried out, and may be gone. Any thread. */
void bus_receipt(struct bus *b, struct bus_order *o);

/* What is asked of other nodes: each row has its answerer above core/hub, or in it. Their numbers are those of other
 * versions, too: 2 is of none. */
enum bus_call_what { CALL_CONSOLE = 1, CALL_TRACE = 3, CALL_CLOSED, CALL_PLUGIN, CALL_KINDS };

enum { BUS_CALL_MAX = 256 << 10 }; /* bytes of a body */

struct bus_answer {
    uint64_t node;            /* its incarnation */
    uint16_t number;          /* its number, for people */
    enum store_status status; /* STORE_RETRY: it has not answered in time */
    struct slice body;
};

/* A question to one node, or all others, and their answers. STORE_OK: see each answer. */
struct bus_call {
    struct store_op op;
    uint64_t node;       /* 0: all other nodes */
    uint16_t what;       /* enum bus_call_what */
    uint32_t timeout_ms; /* 0: a second */
    struct slice body;
    /* out; free with bus_call_free() */
    struct bus_answer *answers;
    uint32_t n;
};
void bus_call(struct bus *b, struct bus_call *c);
void bus_call_free(struct bus_call *c);

/* A question of another node, which is the hub's until it answers. */
struct bus_called {
    struct mail mail; /* the hub's; first */
    uint64_t node;    /* that asks: its incarnation */
    uint64_t ticket;  /* the bus's */
    uint16_t what;
    struct slice body; /* borrows from data */
    char data[];
};
/* Answers and frees it. Any thread. A body above BUS_CALL_MAX is cut. */
void bus_answer(struct bus *b, struct bus_called *c, struct slice body);

/* --- Nodes -------------------------------------------------------------------------------------------------------- */

struct bus_node {
    uint64_t node;   /* its incarnation */
    uint16_t number; /* for people */
    bool self, leader, draining;
    bool joining;  /* it does not serve yet, or only since its newest beat */
    char host[64]; /* NUL-terminated */
};
/* Those that live, as the newest beat showed them; returns how many there are. Any thread. */
unsigned bus_nodes(struct bus *b, struct bus_node *out, unsigned n);
/* Whether this node does now what one of all does. Two may for a moment. Any thread. */
bool bus_leads(struct bus *b);

/* This node takes no clients any more and sends away those that it has: the others see it as draining. Main thread. */
void bus_drain(struct bus *b);

enum bus_event {
    BUS_NODE_DEAD, /* `node` lives no more: its connections count for nothing */
    BUS_BURIED,    /* this node was taken for dead: nothing more is read from clients until BUS_BACK */
    BUS_BACK,      /* it has another incarnation: it puts its sessions (restore) and watches again */
    BUS_ISOLATED,  /* it cannot serve: clients are sent away, and none is taken */
    BUS_REJOINED   /* it can again */
};

enum { BUS_PARTS = 1024 / 8 }; /* bytes of a set of partitions */

/* What the hub hears, on the bus's thread, which may not wait. NULL: it does not want to hear of that. */
struct bus_ears {
    void *ctx;
    /* The hub's, which frees it. */
    void (*heard)(void *ctx, struct bus_news *n);
    /* Of the conversations and users of these partitions (bit p % 8 of byte p / 8) news may have been missed, and from
     * now on are told again: their heads are compared. */
    void (*reset)(void *ctx, const uint8_t parts[BUS_PARTS]);
    void (*event)(void *ctx, enum bus_event what, uint64_t node);
    /* An order of another node. `op.mail` is the hub's until it gives the receipt; all else is the bus's own, and stays
     * unchanged until then, but for `connections`. */
    void (*ordered)(void *ctx, struct bus_order *o);
    void (*called)(void *ctx, struct bus_called *c);
    /* A note was changed, here or elsewhere: in the order of the log, the next one after bus_applied(). */
    void (*noted)(void *ctx, struct bus_noted *n);
};
/* From now on; *ears is copied. NULL: no more, and none is being told when it returns; receipts are still taken. Main
 * thread. */
void bus_listen(struct bus *b, const struct bus_ears *ears);
/* In which partition a conversation, or a user, is: for `reset`. */
unsigned bus_part_conv(struct bus *b, struct slice conv);
unsigned bus_part_user(struct bus *b, struct slice user);

/* --- Notes -------------------------------------------------------------------------------------------------------- */

/* store_note_put(), with its statuses, and the note is in force on every living node; or, after two seconds, it is not
 * on those that are `silent`. */
struct bus_note {
    struct store_op op;
    struct store_note note;
    bool remove;  /* with a value: only where the note's begins with it */
    bool passing; /* nothing is kept: it is told to each node that lives, and that is all */
    /* The value is "UNTIL n NUMBER", decimal: NUMBER is added to that of the note that stands, whose UNTIL stays, too.
     * Without such a note, or with one that has ended (its UNTIL is no 0, and past, ms of cluster time), it is set. One
     * that begins with another UNTIL and blank, and is no number, stays as it is. */
    bool add;
    /* It waits for no other node: it is answered once it is kept and in force here, or after two seconds. So whoever
     * made it has heard of it, in the order of all changes, before it is answered. */
    bool behind;
    /* Not 0: of this change among all that this process makes. Handed over again, after STORE_UNKNOWN, it is done
     * once. */
    uint64_t number;
    /* out */
    struct silent_nodes silent; /* that have not said that they have it */
};
void bus_note(struct bus *b, struct bus_note *n);

/* A change of a note, as the log of all nodes has it. */
struct bus_noted {
    struct mail mail;       /* the hub's; first */
    uint64_t seq;           /* its place in the log */
    uint64_t origin;        /* incarnation of the node that made it */
    uint64_t number;        /* bus_note.number, where this process made it; else 0 */
    struct store_note note; /* as it is now: with `add`, the sum */
    bool remove, passing, add;
    bool all; /* instead: more was missed than can be told one by one: all notes are to be read anew; `note` is empty */
    char data[];
};
/* It is in force here. Frees it. Any thread. */
void bus_applied(struct bus *b, struct bus_noted *n);

#endif
