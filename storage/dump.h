/*
 * Everything a store holds, as one file that every engine writes and reads: what `magpied --export` and `--import` go
 * by. It says what there is, and nothing of how an engine keeps it. README.md, "The export file", has it byte by byte.
 *
 * A file is a stream: written and read once from its beginning to its end, in bounded memory, through a pipe as well.
 * Blocks carry sums that go on from one to the next, and the last record counts all others. So a file that was cut,
 * changed or put together is refused. A reader trusts nothing that it has not checked.
 *
 * One thread at a time uses a writer or a reader.
 */
#ifndef MAGPIE_STORAGE_DUMP_H
#define MAGPIE_STORAGE_DUMP_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

enum {
    DUMP_VERSION = 1,
    DUMP_CONTENT_MAX = 64 * 1024 * 1024,
    DUMP_NOTE_MAX = 4096, /* bytes of a note's value */
    DUMP_WHY_MAX = 512    /* bytes of a sentence that tells what went wrong */
};

/*
 * What records there are. The numbers are in the file. Order: STORE is the first, END the last. A conversation's
 * messages follow its CONV, ascending by seq. Whatever names a conversation, or blocks one of its two users, comes
 * after it, if the file has that conversation. A user's inbox entries come in the order in which they are handed out.
 */
enum dump_kind {
    DUMP_STORE = 1, /* the store's clocks and ids */
    DUMP_USER,      /* a user or guest */
    DUMP_DELETED,   /* a user that was deleted; if it was made again, there is a USER as well */
    DUMP_CONV,      /* a conversation */
    DUMP_MESSAGE,   /* a message of the CONV before it */
    DUMP_MEMBER,    /* a user's membership in a channel */
    DUMP_PAIR,      /* a private conversation as one of its two users has it */
    DUMP_BLOCK,     /* a user blocks another */
    DUMP_INBOX,     /* an inbox entry */
    DUMP_DEDUP,     /* the first answer to a clientId */
    DUMP_DIGEST,    /* the same where only a digest of the clientId is known */
    DUMP_NOTE,      /* a note of the layers above the store: bans, mutes, rules, what scripts keep */
    DUMP_FLOOR,     /* what is left of channels' names that were dropped */
    DUMP_END,       /* how many of each kind there were */
    DUMP_KINDS
};

/* Times are ms since 1970. "guarded" and "steady" are the store's clocks (store.h, local/README.md). */
struct dump_store {
    uint64_t clock_ms;       /* the guarded clock now: births and times to live go by it */
    uint64_t steady_ms;      /* the steady clock now: stamps go by it */
    uint64_t paused_from_ms; /* DUMP_PAUSED: steady time since when the clock has been in doubt */
    uint64_t last_id;        /* no message id that was given out passes it */
    uint8_t flags;
    struct slice moves; /* accepted moves ahead of the clock: from u64 (steady), by u64; 16 at most, oldest first */
};
enum {
    DUMP_PAUSED = 1, /* the clock is in doubt: nothing expires before an operator has accepted it */
    DUMP_UNSURE = 2  /* since a start of the machine. With DUMP_PAUSED alone */
};

struct dump_user {
    struct slice id, name;
    uint32_t epoch;      /* of its tokens */
    uint64_t due_ms;     /* a guest's: when it may be forgotten, guarded */
    uint64_t revoked_ms; /* date of the last raise of the epoch; 0: never */
    uint8_t flags;
};
enum { DUMP_GUEST = 1 };

struct dump_deleted {
    struct slice id;
    uint64_t last_id; /* messages up to there are the former user's, and are shown without a name */
    uint32_t epoch;   /* of the next user of that id */
    uint8_t flags;
};
enum {
    DUMP_GONE_NOW = 1,  /* there is no such user now */
    DUMP_GOING = 2,     /* the deletion is under way */
    DUMP_GOING_ALL = 4, /* likewise, and its messages are to be recalled */
};

struct dump_conv {
    struct slice key; /* conv_key.h */
    uint64_t seq;     /* the newest */
    uint64_t given;   /* seqs up to this may have been given out, and are not given again; not below seq */
    uint64_t low;     /* nothing at or below it is left; seq: nothing at all */
    uint64_t last_id; /* of the newest message ever; 0: none */
    uint64_t skip_at; /* seq after the last jump of the numbering; 0: none */
    uint64_t gone_ms; /* DUMP_CONV_GONE: when the channel went, guarded */
    uint32_t skip;    /* seqs that the jump left out */
    uint32_t max;     /* its own count of messages; 0: its tiers' */
    uint8_t tier;     /* a channel's: enum store_tier */
    uint8_t flags;
};
enum {
    DUMP_CONV_MADE = 1,   /* a channel that is there */
    DUMP_CONV_GONE = 2,   /* a channel that went: its seq is all that is known of it */
    DUMP_CONV_CLOSING = 4 /* with DUMP_CONV_MADE: it is being deleted */
};

struct dump_message {
    struct slice sender, name, content;
    uint64_t seq, id;
    uint64_t created_ms; /* wall clock */
    uint64_t birth_ms;   /* guarded */
    uint64_t ttl_ms;     /* its own; 0: the tier's */
    uint64_t edited_ms;  /* DUMP_EDITED: wall clock; else 0 */
    uint8_t tier;        /* enum store_tier */
    uint8_t flags;
};
enum { DUMP_RECALLED = 1, DUMP_EDITED = 2 };

struct dump_member {
    struct slice user, conv;
    uint64_t read; /* newest seq that it has read */
    uint8_t push;  /* enum push_mode */
    uint8_t flags;
};
enum { DUMP_EVENTS = 1 /* it hears who joins and leaves */ };

struct dump_pair {
    struct slice user, conv;
    uint64_t read;
};

struct dump_block {
    struct slice user, target;
};

struct dump_inbox {
    struct slice user, conv;
    uint64_t id, seq;          /* of the message */
    uint64_t birth_ms, ttl_ms; /* likewise */
    uint8_t tier;              /* likewise */
};

struct dump_dedup {
    struct slice sender, conv, client_id;
    uint64_t seq, id, created_ms;
    uint64_t birth_ms; /* guarded: limits.dedup_window counts from there */
};

struct dump_digest {
    struct slice digest; /* the first 16 bytes of SHA-256 over sender, 0, conversation's key, 0, clientId */
    uint64_t seq, id, created_ms;
    uint16_t part; /* the conversation's partition */
};

struct dump_note {
    struct slice key, value;
};

struct dump_floor {
    uint64_t seq;   /* no channel that the file does not name, and that has this place, begins at or below it … */
    uint16_t place; /* … if its other place has a floor, too: the low and the next 16 bits of hash_stable(key) */
};

struct dump_end {
    struct slice counts; /* u64 for each kind before END */
};

struct dump_record {
    enum dump_kind kind;
    union {
        struct dump_store store;
        struct dump_user user;
        struct dump_deleted deleted;
        struct dump_conv conv;
        struct dump_message message;
        struct dump_member member;
        struct dump_pair pair;
        struct dump_block block;
        struct dump_inbox inbox;
        struct dump_dedup dedup;
        struct dump_digest digest;
        struct dump_note note;
        struct dump_floor floor;
        struct dump_end end;
    };
};

/* "users", "messages": what a kind's records are, for people. Static. */
const char *dump_kind_name(enum dump_kind kind);

/* Appends the record's bytes, as they stand in a block. ERR_INVALID: a value that the format does not allow; nothing is
 * appended. `out` tells when there was no memory. */
MUST_CHECK int dump_encode(struct buf *out, const struct dump_record *r);
/* Takes the first record off `bytes`, whose memory its slices borrow. ERR_INVALID: it is none, or not allowed. */
MUST_CHECK int dump_decode(struct slice *bytes, struct dump_record *r);

/* --- Writing ------------------------------------------------------------------------------------------------------ */

struct dump_writer;

/* Begins PATH.tmp, mode 0600; "-" is standard output. ERR_IO, ERR_NOMEM; `why` gets a sentence. */
MUST_CHECK int dump_create(struct dump_writer **out, const char *path, char *why, size_t why_size);
/* Adds a record, END excepted. The first error stays: later calls do nothing and return it, dump_finish() tells it. */
int dump_put(struct dump_writer *w, const struct dump_record *r);
/* Writes what is left and END, syncs the file and gives it its name. `why` gets a sentence. */
MUST_CHECK int dump_finish(struct dump_writer *w, char *why, size_t why_size);
/* Whether a call before has failed: then dump_finish() says why. */
bool dump_failed(const struct dump_writer *w);
/* How many records of a kind were put. */
uint64_t dump_written(const struct dump_writer *w, enum dump_kind kind);
/* Without a dump_finish() that went well, PATH.tmp goes. NULL is accepted. */
void dump_writer_free(struct dump_writer *w);

/* --- Reading ------------------------------------------------------------------------------------------------------ */

struct dump_reader;

/* Opens a file ("-": standard input) and looks at its first bytes. ERR_IO, ERR_INVALID, ERR_NOMEM; `why` gets a
 * sentence: no such file, no export at all, a version that this server does not know. */
MUST_CHECK int dump_open(struct dump_reader **out, const char *path, char *why, size_t why_size);
/* The next record, END excepted; its slices are good until the next call. 1, or 0 at a good end, or an enum err, which
 * dump_error() puts into words. After 0 or an error it is the same at each call. */
MUST_CHECK int dump_next(struct dump_reader *r, struct dump_record *out);
/* What dump_next() found; empty: nothing wrong. */
const char *dump_error(const struct dump_reader *r);
/* How many records of a kind were read so far. */
uint64_t dump_read(const struct dump_reader *r, enum dump_kind kind);
/* Whether it can be read again from its beginning: a plain file can. */
bool dump_can_rewind(const struct dump_reader *r);
/* Begins again. ERR_IO, ERR_INVALID: as dump_next(). */
MUST_CHECK int dump_rewind(struct dump_reader *r);
void dump_reader_free(struct dump_reader *r);

#endif
