/*
 * Stored records: how values look. Fixed big-endian fields, a version in each; a reader refuses what it does not know
 * to the last byte.
 *
 * Rows that can expire begin with a row header (storage/kv/row.h), and state rows with version u8 | flags u8. Decoders
 * return 0 or ERR_INVALID and never read outside the value; slices borrow from it. The formats are tabled in README.md.
 */
#ifndef MAGPIE_STORAGE_RECORD_H
#define MAGPIE_STORAGE_RECORD_H

#include "core/base/err.h"
#include "core/base/slice.h"
#include "storage/conv_key.h"
#include "storage/kv/row.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RECORD_VERSION = 1,
    MESSAGE_FIXED = ROW_HEADER_SIZE + 8 + 8 + 2,
    MESSAGE_EDITED = 8, /* more of one that was edited */
    HEAD_SIZE = 2 + 8 * 8 + 4 * 4 + 2,
    GONE_SIZE = 2 + 8 + 8,
    INBOX_FIXED = ROW_HEADER_SIZE + 8,
    DEDUP_SIZE = ROW_HEADER_SIZE + 24,
    USER_FIXED = 2 + 4 + 8,
    MARK_SIZE = 2 + 8,
    SUB_SIZE = 3,
    DELETED_SIZE = 2 + 4 + 8
};

struct message_record {
    struct row_header row;
    uint64_t id, created_ms; /* Snowflake; wall clock */
    uint64_t edited_ms;      /* ROW_EDITED: wall clock; 0 otherwise */
    struct slice sender, sender_name, content;
};

/* A conversation's head: all that is kept of it besides its messages. */
struct head_record {
    uint64_t seq;       /* newest */
    uint64_t last_id;   /* id of the newest message ever; 0: none */
    uint64_t reserved;  /* seqs up to this may have been given out at a weak durability */
    uint64_t low[3];    /* by tier: nothing at or below is visible any more */
    uint64_t skip_at;   /* seq after the last jump; 0: none */
    uint64_t losses;    /* those of the store when this was written */
    uint64_t gone_ms;   /* HEAD_GONE: when the channel went, guarded clock */
    uint32_t skip;      /* seqs that the last jump left out */
    uint32_t max;       /* the conversation's own count; 0: its tiers' */
    uint32_t members;   /* channel */
    uint32_t flags;     /* HEAD_* */
    uint8_t tier;       /* channel: enum store_tier, as last saved */
    uint8_t tiers_used; /* bit by tier: messages were ever stored there */
};
enum {
    HEAD_CHANNEL = 1, /* the channel was made */
    HEAD_WATCHED = 2, /* a row of `meta` says when to look whether anything is left of it (vacant.h) */
    HEAD_GONE = 4,    /* the channel went; its seq is all that is kept. Never with HEAD_CHANNEL */
    HEAD_CLOSING = 8  /* the channel is being deleted: for all but that it is there no more. Only with HEAD_CHANNEL */
};

struct inbox_record {
    struct row_header row; /* as of the message */
    uint64_t seq;
    struct slice conv;
};

struct dedup_record {
    struct row_header row;
    uint64_t seq, id, created_ms;
};

/* What is kept of a user that was deleted. */
struct deleted_record {
    uint32_t epoch;   /* of the next user of that id */
    uint64_t last_id; /* the newest message id when the deletion began */
    uint8_t flags;    /* DELETED_* */
};
enum {
    DELETED_NOW = 1,   /* there is no such user now */
    DELETED_GOING = 2, /* its deletion is under way */
    DELETED_RECALL = 4 /* likewise, and its messages are to be recalled */
};

struct user_record {
    uint32_t epoch;
    bool guest;
    uint64_t due_ms;     /* guest: by the guarded clock */
    uint64_t revoked_ms; /* date at which the epoch was raised last; 0: never */
    struct slice name;
};

struct sub_record {
    uint8_t push; /* enum push_mode */
    bool events;  /* wants to hear who joins and leaves */
};

/* Encoders write exactly the stated number of bytes to `out` (fixed part + slices) and return it. */
size_t message_size(const struct message_record *m);
size_t message_encode(char *out, const struct message_record *m);
MUST_CHECK int message_decode(struct slice value, struct message_record *m);
size_t head_size(const struct head_record *h); /* HEAD_SIZE at most */
size_t head_encode(char *out, const struct head_record *h);
MUST_CHECK int head_decode(struct slice value, struct head_record *h);
size_t inbox_size(const struct inbox_record *r);
size_t inbox_encode(char *out, const struct inbox_record *r);
MUST_CHECK int inbox_decode(struct slice value, struct inbox_record *r);
size_t dedup_encode(char *out, const struct dedup_record *r);
MUST_CHECK int dedup_decode(struct slice value, struct dedup_record *r);
size_t user_size(const struct user_record *u);
size_t user_encode(char *out, const struct user_record *u);
MUST_CHECK int user_decode(struct slice value, struct user_record *u);
size_t mark_encode(char *out, uint64_t read);
MUST_CHECK int mark_decode(struct slice value, uint64_t *read);
size_t sub_encode(char *out, const struct sub_record *r);
MUST_CHECK int sub_decode(struct slice value, struct sub_record *r);
size_t deleted_encode(char *out, const struct deleted_record *d);
MUST_CHECK int deleted_decode(struct slice value, struct deleted_record *d);
size_t flag_encode(char *out);
/* Keys. Each writes to a key buffer and returns the slice of it. */
enum { KEY_MAX = 280 };
struct key {
    size_t n;
    char p[KEY_MAX];
};
static inline struct slice key_slice(const struct key *k)
{
    return slice_of(k->p, k->n);
}

struct slice key_message(struct key *k, struct slice conv, uint64_t seq); /* dm, small, large: conv 0 seq */
struct slice key_head(struct key *k, struct slice conv);                  /* channel: 'h' conv */
struct slice key_member(struct key *k, struct slice channel,
                        struct slice user);                 /* channel: 'm' name 0 user; empty user: the first */
struct slice key_user(struct key *k, struct slice user);    /* user: 'u' id */
struct slice key_deleted(struct key *k, struct slice user); /* user: 'x' id */
struct slice key_sub(struct key *k, struct slice user, struct slice conv);     /* user: 's' id 0 conv */
struct slice key_mark(struct key *k, struct slice user, struct slice conv);    /* user: 'r' id 0 conv */
struct slice key_block(struct key *k, struct slice user, struct slice target); /* user: 'b' id 0 target */
struct slice key_inbox(struct key *k, struct slice user, uint64_t id);         /* inbox: user 0 id */
struct slice key_dedup(struct key *k, struct slice sender, struct slice conv,
                       struct slice client_id);                             /* dedup: sender 0 len conv client */
struct slice key_guest(struct key *k, uint64_t due_ms, struct slice user);  /* meta: 'g' due user */
struct slice key_vacant(struct key *k, uint64_t due_ms, struct slice conv); /* meta: 'e' due conv */
struct slice key_gone(struct key *k, uint64_t gone_ms, struct slice conv);  /* meta: 'o' gone conv */
struct slice key_floor(struct key *k, uint16_t place);                      /* meta: 'f' place */
struct slice key_going_user(struct key *k, struct slice user);              /* meta: 'D' id */
struct slice key_going_channel(struct key *k, struct slice conv);           /* meta: 'W' conv */
/* The time and the name of a key_guest(), key_vacant() or key_gone(); false: it is none. */
bool key_timed(struct slice key, uint64_t *ms, struct slice *name);
/* The first key after all that begin with `prefix` (which is not all 0xff). */
struct slice key_after_prefix(struct key *k, struct slice prefix);

/* The trailing u64 of a message or inbox key; false when the key is too short. */
bool key_tail_u64(struct slice key, uint64_t *out);
/* What follows the first 0x00 of a key; empty when there is none. */
struct slice key_tail(struct slice key);

#endif
