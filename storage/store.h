/*
 * The store: conversations and their messages, inboxes, users, memberships, read marks.
 *
 * Asynchronous. A caller fills in an operation (a struct that begins with struct store_op) and hands it over. It gets
 * it back through `done`, on its own mailbox's thread: later, and never inside the call. The caller owns the operation
 * and everything it points to, must keep both unchanged until `done`, and frees them there. Any thread may call.
 *
 * Order is kept within one conversation, and within one user (engine.h says what belongs to which): operations that
 * change something (marked W) keep the order in which they were handed over. They take effect and are answered in it,
 * whatever their durability. Others may overtake each other: the embedded engine changes nothing out of order, but one
 * on other machines would. Those that only read (R) see every change whose `done` has been called; reads of the same
 * conversation or user are answered in the order handed over.
 *
 * A conversation is named by its key (conv_key.h). Messages get the next seq of their conversation and an id
 * (Snowflake) when they are written; ids ascend strictly in each conversation, and in the embedded engine over the
 * whole store.
 *
 * Expiry: everything stored remembers when it was born, by the store's own guarded clock (not createdAt). What is past
 * its time to live, or beyond its tier's `max` newest seqs, is never returned, whether or not it is still on disk.
 */
#ifndef MAGPIE_STORAGE_STORE_H
#define MAGPIE_STORAGE_STORE_H

#include "core/base/err.h"
#include "core/base/latency.h"
#include "core/base/mailbox.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum { STORE_CURSOR_MAX = 300, STORE_NAME_MAX = 255 }; /* bytes of a printable cursor; of a name */
struct buf;

enum store_status {
    STORE_OK,       /* done, and as durable as asked */
    STORE_RETRY,    /* surely not applied: the disk is full or failing, or the store is closing */
    STORE_UNKNOWN,  /* perhaps applied: with a clientId, a retry tells */
    STORE_FATAL,    /* a record that cannot be read (corruption), or out of memory */
    STORE_NOTFOUND, /* the thing named does not exist */
    STORE_DENIED,   /* it exists, and the caller may not (recall, edit: not the sender); or the user it is about was
                   * deleted */
    STORE_LATE,     /* recall, edit: the time for it has passed */
    STORE_LIMIT     /* a limit given in the operation is reached */
};

enum store_tier { TIER_DM, TIER_SMALL, TIER_LARGE, TIER_COUNT };

enum store_durability {
    DURABILITY_SYNC,   /* synced before the answer (group commit): survives lost power */
    DURABILITY_COMMIT, /* in the write-ahead log before the answer: survives a killed process */
    DURABILITY_ASYNC   /* answered at once, written behind */
};

struct store_tier_options {
    uint64_t ttl_ms; /* 0: for ever */
    uint32_t max;    /* messages kept per conversation: those with seq > newest - max; 0: all */
    enum store_durability durability;
};

/* Where the processes of a Redis cluster are, and what is asked of it: for the engine "redis". */
struct store_cluster_options {
    const char *const *addresses; /* "HOST:PORT" of some members; borrowed for the call, as all strings here */
    uint32_t address_count;
    const char *username, *password; /* NULL: none is asked for */
    const char *prefix;              /* that all keys begin with: 1-16 of A-Z a-z 0-9 _ . : -; NULL: "m" */
    uint32_t copies;      /* processes that must have a change before its answer, the master included; reloadable */
    uint32_t patience_ms; /* how long an operation is tried; reloadable */
    uint32_t isolated_ms; /* how long without the cluster until clients are sent away; reloadable */
    bool balance;         /* masters are moved apart; reloadable */
    struct {
        const char *url;     /* of the database that keeps private messages for good; NULL: none */
        uint32_t hot;        /* messages of a private conversation that stay in Redis at least */
        uint64_t hot_age_ms; /* and all that are younger than that */
        uint64_t cache_ms;   /* how long what was read back stays in Redis */
    } archive;
};

struct store_options {
    const char *engine;     /* "rocksdb", "memory" or "redis" */
    const char *path;       /* rocksdb: data directory, made when absent, with parents; borrowed for the call */
    uint16_t node;          /* 0-1023, part of each id */
    uint64_t memory;        /* bytes for memtables, caches and indexes together */
    uint32_t sync_every_ms; /* what a power loss may take of commit and async tiers */
    struct store_tier_options tiers[TIER_COUNT]; /* reloadable */
    uint64_t dedup_window_ms;                    /* reloadable */
    uint32_t inbox_max;                          /* entries per inbox, 0: no limit; reloadable */
    bool keep_vacant;                            /* channels stay that have neither members nor messages; reloadable */
    struct store_cluster_options cluster;
};

/* Opens (and on first use makes) the store and starts its threads. On failure returns an enum err, and `why` gets a
 * sentence for people: another server uses the directory, a file (named) is corrupt, no permission … Corruption is
 * refused, never reset. */
MUST_CHECK int store_open(struct store **out, const struct store_options *options, char *why, size_t why_size);
/* Finishes what was handed over, syncs, closes. All `done` mails are posted before it returns. No call may come after
 * it begins. */
void store_close(struct store *s);
/* Whether a store that was closed has left a thread behind, which still connects to an archive and cannot be
 * interrupted. Then the process ends by _exit(): at exit() libraries clean up what that thread uses. Any thread. */
bool store_left_behind(void);
/* All that a store of these options holds, into an export (dump.h), or an export into a store that holds nothing yet.
 * No server may run on an embedded one; of a running cluster, what is sent meanwhile may be missing. The caller begins
 * and ends the writer, or the reader. An enum err; `why` gets a sentence. */
struct dump_writer;
struct dump_reader;
MUST_CHECK int store_export(const struct store_options *options, struct dump_writer *out, char *why, size_t why_size);
MUST_CHECK int store_import(const struct store_options *options, struct dump_reader *in, char *why, size_t why_size);
/* All of Redis was lost, and a new one holds nothing: private conversations go on above what the archive has of them,
 * which can be read again. n: how many. An enum err; `why` gets a sentence. */
MUST_CHECK int store_heads(const struct store_options *options, uint64_t *n, char *why, size_t why_size);
/* What all servers of a cluster agree on, by a name: `out` gets the value that stands, which is the proposal where
 * there was none, or where `replace` says so. An empty proposal only asks. Waits for Redis, `cluster.patience` at most.
 * ERR_INVALID: this store is one server's alone, and nothing is kept. */
MUST_CHECK int store_agree(struct store *s, const char *name, struct slice proposal, bool replace, struct buf *out,
                           char *why, size_t why_size);
/* Changes the reloadable options. Any thread. */
void store_configure(struct store *s, const struct store_options *options);
/* Takes the present wall clock as right after a jump that paused expiry. Any thread. */
void store_clock_accept(struct store *s);

/* What decisions about time go by, so that a wall clock that jumps ends no ban and no token. Cheap; any thread.
 *
 * The store's time is for stamps: when a token was issued, when a ban was made. It is about ms since 1970, goes on over
 * restarts, and only ever runs. */
uint64_t store_time_ms(struct store *s);
/* How much time has passed since such a stamp; 0 for one to come. Not the difference of two stamps: time that an
 * operator has accepted as passed (store_clock_accept) is in it. */
uint64_t store_age_ms(struct store *s, uint64_t stamp_ms);
/* What other machines' clocks say, as far as can be told: for comparing with dates that came from there. */
uint64_t store_date_ms(struct store *s);

struct store_stats {
    uint64_t appended, groups, syncs, duplicates; /* since start */
    uint64_t queue;                               /* operations waiting for the writer now */
    uint64_t errors, reopens;                     /* failed groups; recoveries from a failed disk */
    uint64_t memory;         /* bytes of memtables, block cache, table readers (RocksDB's own account) */
    struct latency_sum sync; /* how long the disk took to be made sure of */
    bool failing;            /* writes are refused now */
    bool clock_paused;       /* expiry stands still until store_clock_accept() */
};
/* Never waits for the disk. Any thread. */
void store_get_stats(struct store *s, struct store_stats *out);

enum { STORE_FAMILIES = 16 /* at most */ };

/* What is on the disk. */
struct store_disk {
    struct {
        const char *name; /* of the column family; static */
        uint64_t bytes;   /* of its tables; what is only in the log is not in them */
    } families[STORE_FAMILIES];
    unsigned count;
    uint64_t size,
        free; /* bytes of the file system, and those of them that the server may still use; 0: there is none */
};
/* Asks the operating system, but waits for no reads or writes. Any thread. */
void store_get_disk(struct store *s, struct store_disk *out);

/* --- Operations ---------------------------------------------------------------------------------------------- */

struct store_op {
    struct mail mail;                               /* the store's, while the operation is under way */
    struct mailbox *home;                           /* where `done` is posted */
    void (*done)(void *owner, struct store_op *op); /* on home's thread; owner is what home's mailbox_run() was given */
    enum store_status status;                       /* the result */
    bool lazy;     /* a change: the writer need not be woken for it; store_kick() comes soon */
    uint8_t kind;  /* which operation: the store's */
    uint64_t note; /* the engine's; 0 when it is handed over */
};

/* Wakes the writer for the lazy operations that were handed over. A thread that hands over many in one turn of its loop
 * wakes it once, at the turn's end: it then has them all in one group, for the price of one write to the log. Cheap
 * when there are none. Any thread. */
void store_kick(struct store *s);

struct store_message {
    uint64_t seq, id, created_ms;              /* created_ms: wall clock, since 1970 */
    uint64_t edited_ms;                        /* when its content was changed last, wall clock; 0: never */
    bool recalled;                             /* then content is empty */
    struct slice conv;                         /* key; set in inbox pages, empty in ranges */
    struct slice sender, sender_name, content; /* raw UTF-8 */
};

/* Messages that an operation returned, with their bytes in `arena`. */
struct store_page {
    struct store_message *messages; /* malloc'd; ascending by seq (ranges) or by id (inbox) */
    uint32_t n;
    char *arena; /* malloc'd: what the slices borrow from */
};
void store_page_free(struct store_page *p);

/* W: one message. A WriteBatch holds the message, its dedup record, the inbox entry, the sender's read mark and the
 * conversation's head. A second append with the same (sender, conv, client_id), in the same group or within the dedup
 * window: `duplicate`, and the first one's numbers. STORE_NOTFOUND: there is no such channel (any more). STORE_DENIED:
 * the sender or the receiver was deleted. */
enum store_check {
    CHECK_NONE,
    CHECK_MEMBER, /* the sender is a member of the channel */
    CHECK_BLOCK   /* the receiver has not blocked the sender */
};
enum { STORE_ADVICE_MAX = 255 };

struct store_append {
    struct store_op op;
    struct slice conv;
    enum store_tier tier; /* whose family, ttl, max and durability apply */
    uint64_t ttl_ms;      /* this message's own time to live; 0: the tier's */
    uint32_t max;         /* the conversation's own count; 0: the tier's */
    struct slice sender, sender_name, content;
    struct slice client_id; /* empty: not idempotent */
    struct slice receiver;  /* whose inbox gets a reference; empty for channels */
    bool only_duplicate;    /* do not store: STORE_OK with `duplicate`, or STORE_NOTFOUND */
    bool stranger;          /* the sender is no member of the channel: it gets no read mark, which would outlive it */
    /* For a cluster, where another server may have changed what the caller knows. The embedded engine looks at none. */
    enum store_check check; /* looked at once more with the write: STORE_DENIED, and `refused` */
    struct slice advice;    /* at most STORE_ADVICE_MAX bytes that travel with the news of it (bus.h) */
    /* out */
    uint64_t seq, id, created_ms;
    bool duplicate;
    enum store_check refused; /* why STORE_DENIED; CHECK_NONE: a user was deleted */
    uint64_t arrival;         /* its place among all that ever came into the receiver's inbox; 0: not known */
    uint32_t members;         /* of a channel; 0: not known */
};
void store_append(struct store *s, struct store_append *a);

/* R: a page of history, by the rules of protocol.md section 4 "history". STORE_NOTFOUND: a channel that is being
 * deleted; of one that never was the page is empty. */
struct store_range {
    struct store_op op;
    struct slice conv;
    struct slice reader; /* a pair's user, who reads nothing of whoever had that id before; empty: all is read */
    bool has_after, has_before;
    uint64_t after, before; /* exclusive seqs */
    uint32_t limit;         /* >= 1 */
    uint32_t page_bytes;    /* stop when contents add up to more (one message at least); 0: no bound */
    /* out */
    struct store_page page; /* free with store_page_free */
    uint64_t first, last;   /* protocol.md: 0, 0 when nothing was ever sent; first == last + 1 when all is gone */
    bool more;
};
void store_range(struct store *s, struct store_range *r);

/* R: the oldest entries of an inbox, in the order of storing; in a cluster, in the order of arrival. There `after` has
 * the place of its entry, and where that is gone, entries with a larger id come. */
struct store_inbox_peek {
    struct store_op op;
    struct slice user;
    uint64_t after; /* message id, exclusive; 0: from the oldest */
    uint32_t limit;
    uint32_t page_bytes;
    /* out */
    struct store_page page; /* `conv` set in each */
    bool more;
};
void store_inbox_peek(struct store *s, struct store_inbox_peek *p);

/* W (commit): removes inbox entries. Unknown ids are no error. In a cluster `up_to` goes by the place of its entry, and
 * removes nothing if that is not there; UINT64_MAX is all. Repeats after a lost answer may count less as removed. */
struct store_inbox_ack {
    struct store_op op;
    struct slice user;
    uint64_t up_to; /* that id and all stored before it; 0: use ids */
    const uint64_t *ids;
    uint32_t id_count;
    /* out */
    uint32_t removed, remaining;
};
void store_inbox_ack(struct store *s, struct store_inbox_ack *a);

/* What is known of a user. */
struct store_user {
    uint32_t epoch;        /* of its tokens */
    bool guest;            /* may be forgotten: see store_guests_due */
    uint64_t guest_due_ms; /* guest: when, by the store's clock (out) */
    bool guest_due;        /* guest: that time has come (out, of store_user_load) */
    uint64_t revoked_ms;   /* by store_date_ms(): when the epoch was last raised; 0: never (out) */
};

enum push_mode { MODE_DEFAULT, MODE_ALL, MODE_MERGED, MODE_NONE }; /* a subscription's own push mode */

struct store_subscription {
    struct slice channel;
    enum push_mode push;
    bool events; /* wants to hear who joins and leaves */
};

/* R: a user with its subscriptions and the size of its inbox; STORE_NOTFOUND when there never was one. */
struct store_user_load {
    struct store_op op;
    struct slice id;
    bool going; /* one whose deletion is under way as well: its subscriptions alone */
    /* out; slices borrow from arena; free with store_user_load_free */
    struct store_user user;
    struct slice name;
    struct store_subscription *subscriptions;
    uint32_t subscription_count;
    uint32_t inbox;
    uint64_t version;  /* in a cluster: how often what a server copies of it has changed */
    uint64_t arrivals; /* likewise: how many messages ever came into its inbox */
    char *arena;
};
void store_user_load(struct store *s, struct store_user_load *u);
void store_user_load_free(struct store_user_load *u);

/* A user was perhaps changed before, by the same operation's first attempt. */
#define STORE_VERSION_UNKNOWN UINT64_MAX

/* W (commit): makes or changes a user. With user.guest, it becomes due for store_guests_due() guest_ttl_ms from now. In
 * a cluster, where another server may have changed it, an epoch never gets smaller: user.epoch is the one in force; and
 * with user.guest only who is new, or is a guest, is one.
 * One that was deleted is made again with `create` alone (else STORE_NOTFOUND), under a higher epoch; STORE_RETRY: its
 * deletion is still under way. */
struct store_user_save {
    struct store_op op;
    struct slice id, name;
    bool fresh;             /* an id that was just thought of: the store need not look whether it has it */
    bool create;            /* only where there is none; else STORE_DENIED */
    struct store_user user; /* out, with create: the epoch that it has */
    uint64_t guest_ttl_ms;
    uint64_t version; /* out, in a cluster: of the user, after it */
};
void store_user_save(struct store *s, struct store_user_save *u);

/* A deletion: first FORGET_BEGIN, then whoever deletes ends the memberships, then FORGET_END until there is no more. */
enum store_forget_step { FORGET_BEGIN, FORGET_END };

/* W (commit): forgets a user: its record, guest entry, inbox, read marks and whom it blocks. Subscriptions must have
 * been ended with store_member_del(). STORE_DENIED: a guest that has a private conversation by now.
 *
 * With `force` any user is deleted, in steps. FORGET_BEGIN takes the record, in one write with a mark that the deletion
 * is under way (STORE_SCAN_GOING_USERS), and raises the epoch for good. From then on nothing is stored from it or for
 * it. STORE_NOTFOUND: there is no such user, nor such a deletion. FORGET_END removes the rest, and the mark with the
 * last of it. Messages that it has sent stay; pages show them without the sender's name. */
struct store_user_forget {
    struct store_op op;
    struct slice id;
    bool force;
    enum store_forget_step step; /* with force */
    bool recall; /* FORGET_BEGIN: its messages are to be recalled, which the mark remembers. In and out */
    bool more;   /* out, FORGET_END: there is more to be removed */
};
void store_user_forget(struct store *s, struct store_user_forget *u);

/* R: guests whose time has come and who are in no private conversation (those who are lose the mark here), soonest
 * first. */
struct store_guests_due {
    struct store_op op;
    uint32_t limit;
    /* out */
    struct slice *ids; /* malloc'd array, borrowing from arena; free both */
    uint32_t n;
    char *arena;
};
void store_guests_due(struct store *s, struct store_guests_due *g);

/* R: what an owner shard must know of a conversation before its first message. Never STORE_NOTFOUND: see `exists`. */
struct store_conv_load {
    struct store_op op;
    struct slice conv;
    /* out */
    bool exists;          /* channel: was made; pair: has had a message */
    uint64_t seq;         /* newest, 0: none */
    uint64_t first;       /* as in store_range */
    uint64_t last_id;     /* id of the newest message ever, 0: none */
    uint32_t members;     /* channel */
    uint64_t version;     /* channel, in a cluster: of its members */
    enum store_tier tier; /* channel: as last saved */
    bool user_exists[2];  /* pair: lower, higher id */
    bool blocks[2];       /* pair: lower blocks higher; higher blocks lower */
};
void store_conv_load(struct store *s, struct store_conv_load *c);

/* W (commit): remembers a channel's tier. */
struct store_channel_save {
    struct store_op op;
    struct slice conv;
    enum store_tier tier;
};
void store_channel_save(struct store *s, struct store_channel_save *c);

/* W (commit): begins to delete a channel. From then on it does not exist: history, members and appends find none; it
 * cannot be made again (STORE_RETRY of store_member_put) before store_channel_wipe() has ended it. A mark says that
 * this is under way (STORE_SCAN_GOING_CHANNELS). STORE_NOTFOUND: no such channel, nor such a deletion. */
struct store_channel_close {
    struct store_op op;
    struct slice conv;
    uint32_t members; /* out: still to be ended */
};
void store_channel_close(struct store *s, struct store_channel_close *c);

/* W (commit): ends the deletion of a channel once it has no member: all its messages, its head and the mark go. Made
 * again, it goes on with its seqs. STORE_DENIED: there are members. STORE_NOTFOUND: it is not being deleted. */
struct store_channel_wipe {
    struct store_op op;
    struct slice conv;
    uint32_t members; /* out */
};
void store_channel_wipe(struct store *s, struct store_channel_wipe *c);

/* W (commit): makes a user a member of a channel, or changes its subscription. A new member has read up to the
 * channel's seq. STORE_DENIED: the user was deleted. */
struct store_member_put {
    struct store_op op;
    struct slice conv, user;
    bool set_push; /* false: a member keeps its mode, a new one gets MODE_DEFAULT */
    enum push_mode push;
    bool set_events;       /* false: a member keeps what it has, a new one gets false */
    bool events;           /* in and out: wants to hear who joins and leaves; in force now */
    bool may_create;       /* make the channel when there is none; else STORE_NOTFOUND */
    struct slice name;     /* of the user, for those who are told; may be empty */
    uint8_t change;        /* likewise, and the caller's to know: what has happened */
    uint32_t channels_max; /* STORE_LIMIT when making one would exceed it; 0: no limit. What other servers of a cluster
                            * have made counts some seconds later */
    /* out */
    bool created, existed; /* the channel was made; the user was a member already */
    enum push_mode mode;   /* in force now */
    uint32_t members;
    uint64_t seq, first;   /* as in store_range */
    uint64_t version;      /* in a cluster: of the channel's members, after it */
    uint64_t user_version; /* likewise, of the user, where this has changed it; else 0. STORE_VERSION_UNKNOWN */
};
void store_member_put(struct store *s, struct store_member_put *m);

/* W (commit): ends a membership, with its read mark. STORE_NOTFOUND: no such channel. A channel without members and
 * without visible messages goes away, unless store_options.keep_vacant; so one may go later too, when its last message
 * ends. Made again, it goes on with its seqs. */
struct store_member_del {
    struct store_op op;
    struct slice conv, user;
    struct slice name; /* as in store_member_put */
    uint8_t change;
    /* out */
    bool existed;
    bool gone; /* the channel went with it */
    uint32_t members;
    uint64_t version;      /* in a cluster: of the channel's members, after it */
    uint64_t user_version; /* as in store_member_put */
};
void store_member_del(struct store *s, struct store_member_del *m);

struct store_person {
    struct slice id, name;
};

/* R: members by id, bytewise ascending. STORE_NOTFOUND: no such channel. */
struct store_members {
    struct store_op op;
    struct slice conv;
    bool going;          /* of a channel that is being deleted as well */
    struct slice cursor; /* the last id of the page before; empty: from the start */
    uint32_t limit;
    /* out */
    struct store_person *people; /* malloc'd, borrowing from arena; free both */
    uint32_t n;
    bool more;
    char *arena;
};
void store_members(struct store *s, struct store_members *m);

/* W (commit): moves a read mark forward, to the conversation's newest seq at most. STORE_NOTFOUND: no such
 * conversation. In a cluster only members have marks in a channel. */
struct store_mark_read {
    struct store_op op;
    struct slice conv, user;
    uint64_t seq;
    /* out */
    uint64_t read;   /* now in force */
    uint64_t unread; /* seq - max(read, first - 1) */
    bool moved;
};
void store_mark_read(struct store *s, struct store_mark_read *m);

struct store_conversation {
    struct slice conv;
    uint64_t seq, read, unread;
    int32_t last; /* index of the newest message in page.messages, -1 when none is retained */
};

/* R: a user's conversations, newest activity first (those without any message last, by key). */
struct store_conversations {
    struct store_op op;
    struct slice user;
    struct slice cursor; /* next_cursor of the page before; empty: from the start. Anything else: STORE_NOTFOUND */
    uint32_t limit;
    uint32_t page_bytes;
    /* out; free with store_conversations_free */
    struct store_conversation *list;
    uint32_t n;
    struct store_page page;
    char next_cursor[STORE_CURSOR_MAX + 1]; /* printable, NUL-terminated; empty at the end */
};
void store_conversations(struct store *s, struct store_conversations *c);
void store_conversations_free(struct store_conversations *c);

/* W (commit): empties a message's content and marks it recalled; that it was edited is forgotten. STORE_NOTFOUND: not
 * there (any more); STORE_DENIED: not the sender's; STORE_LATE: older than window_ms. Recalling twice is STORE_OK. */
struct store_recall {
    struct store_op op;
    struct slice conv;
    struct slice sender; /* empty: whoever sent it */
    uint64_t seq;
    uint64_t window_ms; /* 0: no limit */
    /* out */
    uint64_t id;
    bool again; /* it was recalled already */
};
void store_recall(struct store *s, struct store_recall *r);

/* W (as durable as the message's tier): gives a message another content; its seq, id, time of birth and time to live
 * stay. Each edit of a message has a later edited_ms than the one before. STORE_NOTFOUND: not there (any more), or
 * recalled; STORE_DENIED, STORE_LATE: as store_recall(). */
struct store_edit {
    struct store_op op;
    struct slice conv, sender;
    uint64_t seq;
    uint64_t window_ms; /* 0: no limit */
    struct slice content;
    /* out */
    uint64_t id, created_ms, edited_ms;
    uint8_t name_len;
    char name[STORE_NAME_MAX]; /* the sender's, as the message has it */
};
void store_edit(struct store *s, struct store_edit *e);

/* W (commit): user blocks (or unblocks) target. */
struct store_block {
    struct store_op op;
    struct slice user, target;
    bool blocked;
};
void store_block(struct store *s, struct store_block *b);

/* A small durable note of a layer above (bans, cursors). Keys of 1-200 bytes, values of up to 4096. */
struct store_note {
    struct slice key, value;
};

/* W (commit): keeps a note, or removes it. */
struct store_note_put {
    struct store_op op;
    struct store_note note;
    bool remove;
};
void store_note_put(struct store *s, struct store_note_put *n);

/* R: the notes whose keys begin with `prefix` (not empty), bytewise ascending. */
struct store_notes {
    struct store_op op;
    struct slice prefix;
    struct slice cursor; /* the last key of the page before; empty: from the start */
    uint32_t limit;
    /* out */
    struct store_note *notes; /* malloc'd, borrowing from arena; free both */
    uint32_t n;
    bool more;
    char *arena;
};
void store_notes(struct store *s, struct store_notes *n);

/* Work on the database as a whole, on a thread of its own; may take long. STORE_RETRY: it failed, `why` says how; or
 * the store is closing. */
enum store_work_kind {
    STORE_FLUSH,     /* writes what is in memory into tables */
    STORE_COMPACT,   /* rewrites all tables: what is past its time leaves the disk */
    STORE_CHECKPOINT /* a copy that can be served from, at this moment: hard links where they can be */
};
struct store_work {
    struct store_op op;
    enum store_work_kind kind;
    const char *directory; /* checkpoint: a new data directory; must not exist. Until `done` */
    /* out */
    char why[256];
};
void store_work(struct store *s, struct store_work *w);

/* R: with which of `ids` the user has a private conversation, or with `channels` a channel in common. */
struct store_pairs {
    struct store_op op;
    struct slice user;
    const struct slice *ids;
    uint32_t n; /* 128 at most */
    bool channels;
    /* out */
    bool known[128];
};
void store_pairs(struct store *s, struct store_pairs *p);

/* --- All there is, page by page ---------------------------------------------------------------------------------- */

enum store_scan_what {
    STORE_SCAN_USERS,         /* by id, with their names */
    STORE_SCAN_CHANNELS,      /* by name */
    STORE_SCAN_GOING_USERS,   /* whose deletion is under way */
    STORE_SCAN_GOING_CHANNELS /* likewise */
};

struct store_scanned {
    struct slice id;      /* a user's id, a channel's name */
    struct slice name;    /* users */
    bool guest;           /* users */
    bool recall;          /* STORE_SCAN_GOING_USERS: its messages are to be recalled */
    enum store_tier tier; /* channels */
    uint32_t members;     /* channels */
    uint64_t seq;         /* channels: the newest; 0: none */
};

/* R: what is stored, in the bytewise order of ids. It looks at a bounded number of rows: a page may be short, or empty,
 * and have more after it. An engine on other machines has users and channels in no order; whatever is there from the
 * first page to the last is found, and perhaps twice. Its cursors are printable text. STORE_NOTFOUND: the cursor is
 * none of this engine's. */
struct store_scan {
    struct store_op op;
    enum store_scan_what what;
    struct slice prefix; /* ids that begin so; empty: all */
    struct slice cursor; /* `next` of the page before; empty: from the start */
    uint32_t limit;
    /* out */
    struct store_scanned *list; /* malloc'd, borrowing from arena; free both */
    uint32_t n;
    bool more;
    uint8_t next_n;
    char next[64]; /* next_n bytes: where the next page begins */
    char *arena;
};
void store_scan(struct store *s, struct store_scan *q);

enum { STORE_SENT_MAX = 64, STORE_SENT_CURSOR = 160 };

/* R: messages of one sender, recalled ones excepted, wherever they are: a walk over all that is stored, a bounded
 * number of rows at a time, in no order that means something. */
struct store_sent {
    struct store_op op;
    struct slice sender;
    uint64_t id_max; /* messages with a larger id are passed over */
    /* in and out: where the walk stands. cursor_n 0, from the start */
    uint8_t cursor_n;
    char cursor[STORE_SENT_CURSOR];
    /* out */
    struct store_sent_one {
        uint64_t seq;
        uint8_t conv_n;
        char conv[130]; /* the conversation's key */
    } list[STORE_SENT_MAX];
    uint32_t n;
    bool more;
};
void store_sent(struct store *s, struct store_sent *q);

#endif
