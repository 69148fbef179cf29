/*
 * What is kept in Redis, byte by byte: heads of conversations, messages, marks, subscriptions, inbox entries, intents.
 *
 * Big-endian, packed. The functions (functions/head.lua) write most of it and know the same layouts; this side reads
 * it, and writes what it hands to them. Decoders return 0 or ERR_INVALID, and never read outside the value; slices
 * borrow from it.
 */
#ifndef MAGPIE_STORAGE_REDIS_LAYOUT_H
#define MAGPIE_STORAGE_REDIS_LAYOUT_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/slice.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stdint.h>

enum { LAYOUT_FORMAT = 1 };                      /* of all of it together: C{z}.format */
#define LAYOUT_YEAR_2020 UINT64_C(1577836800000) /* ms since 1970, from which ids count */

/*
 * A conversation's head, field `h` of m{t}:K:
 *
 *     kind u8, flags u8, tier u8, used u8, seq u48, low u48, last id u64, max u32, edits u32, then
 *     a channel's: members u32, version u48
 *     a pair's:    archived u48, first u48, k of the lower id u48, k of the higher id u48
 *     and with LAYOUT_FLOORS: floor u48 for each tier
 */
enum layout_kind { LAYOUT_CHANNEL = 1, LAYOUT_PAIR = 2 };
enum {
    LAYOUT_MADE = 1,        /* the channel was made */
    LAYOUT_WIPING = 2,      /* the channel is being deleted: for all but that it is there no more. Only with MADE */
    LAYOUT_LOW_BLOCKS = 4,  /* the pair's lower id blocks the higher one */
    LAYOUT_HIGH_BLOCKS = 8, /* the higher one blocks the lower one */
    LAYOUT_TIER = 16,       /* two bits from here: tier of the newest message */
    LAYOUT_OWN = 64,        /* `max` is the conversation's own count, for all tiers */
    LAYOUT_FLOORS = 128     /* floors follow */
};
enum {
    LAYOUT_HEAD_FIXED = 32, /* bytes that all heads have */
    LAYOUT_HEAD_CHANNEL = LAYOUT_HEAD_FIXED + 10,
    LAYOUT_HEAD_PAIR = LAYOUT_HEAD_FIXED + 24,
    LAYOUT_FLOORS_SIZE = 18
};

/* In c{t}, the fields f0 …: floors of channels' names that were dropped. member.lua has the same, as NAME_FLOORS. */
enum { LAYOUT_NAME_FLOORS = 64 };

struct layout_head {
    uint8_t kind;       /* enum layout_kind; 0: there is no head */
    uint8_t flags;      /* LAYOUT_* */
    uint8_t tier;       /* channel: enum store_tier, as last saved */
    uint8_t used;       /* bit by tier: messages were ever stored in it */
    uint64_t seq;       /* newest; 0: none */
    uint64_t low;       /* all at or below has left Redis */
    uint64_t last_id;   /* of the newest message ever; 0: none */
    uint32_t max;       /* the count that was in force when the newest message came, of its tier; 0: all */
    uint32_t edits;     /* changes of messages so far */
    uint32_t members;   /* channel */
    uint64_t version;   /* channel: + 1 at each change of a membership */
    uint64_t archived;  /* pair: all at or below is in the archive, as it is now */
    uint64_t first;     /* pair: the oldest in the archive; 0: none */
    uint64_t k[2];      /* pair: messages to the other's inbox so far, from the lower, from the higher id */
    uint64_t floors[3]; /* by tier: a count of before hides all at or below for good */
};
/* An empty value: there is none, and *h is all 0. */
MUST_CHECK int layout_head(struct slice v, struct layout_head *h);

/*
 * A message, field SEQ (decimal) of m{t}:K:
 *
 *     version u8, flags u8, tier u8, id u64, created u48, birth u48, ttl u48, rev u16, edited u48, n u8, n u8,
 *     sender, name, content
 */
enum {
    LAYOUT_RECORD = 1,   /* its version */
    LAYOUT_RECALLED = 1, /* in flags */
    LAYOUT_RECORD_FIXED = 39,
    LAYOUT_META = 31 /* bytes of a record up to rev: what tells whether it is visible */
};

struct layout_record {
    bool recalled;
    uint8_t tier;        /* enum store_tier */
    uint16_t rev;        /* + 1 at each change */
    uint64_t id;         /* Snowflake, of which the node's bits are the partition */
    uint64_t created_ms; /* cluster time */
    uint64_t birth_ms;   /* cluster time: what expiry goes by */
    uint64_t ttl_ms;     /* its own; 0: the tier's */
    uint64_t edited_ms;  /* 0: never */
    /* They lie one behind the other, up to the first byte that is no UTF-8. */
    struct slice sender, sender_name, content;
};
MUST_CHECK int layout_record(struct slice v, struct layout_record *m);
/* The same of its first LAYOUT_META bytes: no texts, and neither rev nor edited_ms. */
MUST_CHECK int layout_meta(struct slice v, struct layout_record *m);
/* What append and change are given of a message: n u8, n u8, sender, name, content. */
void layout_texts_put(struct buf *b, struct slice sender, struct slice name, struct slice content);

/* A repeat's record, field DIGEST of d{t}:B: id u64, seq u48, created u48. */
enum { LAYOUT_DIGEST = 16, LAYOUT_DEDUP = 20 };
/* SHA-256 over sender, 0, conversation, 0, clientId: its first bytes. */
void layout_digest(char out[LAYOUT_DIGEST], struct slice sender, struct slice conv, struct slice client_id);

/*
 * An intent, in o{t}: field 'p' and the message's id u64 → birth u48, seq u48, k u48, ttl u48, high u8, K. high 1: the
 * sender is the pair's higher id. k 0: it goes to nobody's inbox, and only the sender's side is to be done.
 */
struct layout_intent {
    uint64_t birth_ms, seq, k, ttl_ms;
    struct slice sender, receiver, conv; /* receiver: also with k 0 */
};
MUST_CHECK int layout_intent(struct slice v, struct layout_intent *i);

/*
 * What a user knows of a private peer, field PEER of r{t}:U: read u48, then, once a message came from it, put u48 (all
 * of the peer's k up to it have entered the inbox), newest id u64, and k u48 of each that came early, ascending.
 */
enum { LAYOUT_PEER_READ = 6, LAYOUT_PEER_PUT = 20 };
/* The read mark; ERR_INVALID. */
MUST_CHECK int layout_peer_read(struct slice v, uint64_t *read);

/*
 * A subscription, field K (with its 'c') of u{t}:U: 1 u8, push u8, events u8, read u48, version u48. After leaving,
 * for an hour: 0 u8, time u48, version u48. The version is that of the membership (layout_head.version).
 *
 * The other fields of u{t}:U: n name, e epoch, t when it was last raised (if it was), g guest due (of a guest; 0: it
 * was one), f being deleted (1; 2: and its messages recalled), x (below), i arrivals so far, s the number of the newest
 * change of sessions, v version; and 'b' with PEER → 1: whom the user blocks, or once did, so that it can be forgotten
 * (what is in force stands in the pair's head).
 */
enum { LAYOUT_SUB = 15, LAYOUT_LEFT = 13 };
struct layout_sub {
    bool member;      /* false: it has left */
    uint8_t push;     /* member: enum push_mode */
    bool events;      /* member: wants to hear who joins and leaves */
    uint64_t read;    /* member: its read mark */
    uint64_t left_ms; /* else: when it left */
    uint64_t version;
};
MUST_CHECK int layout_sub(struct slice v, struct layout_sub *s);

/*
 * The intent of a join or a leave, in o{t}: field 'j' K 0 USER → birth u48, version u48, put u8, push u8, events u8,
 * set u8, seq u48. What `sub_put` (put 1) or `sub_del` at the user is to be called with, until it is known to be done.
 */
enum { LAYOUT_HALF = 22 };
struct layout_half {
    uint64_t birth_ms;
    uint64_t version; /* of the membership */
    bool put;         /* it joined, or its subscription changes; false: it left */
    uint8_t push, events;
    uint8_t set;  /* 1: push is to be set, 2: events, 3: both */
    uint64_t seq; /* the channel's newest then, up to which a new member has read */
    struct slice conv, user;
};
/* The field without its 'j', and what stands there. */
MUST_CHECK int layout_half(struct slice field, struct slice v, struct layout_half *h);

/*
 * A user that was deleted, field `x` of u{t}:U: until u64, now u8. Messages with an id up to `until` are of who had the
 * id before. now 1: there is no such user now. The field outlives everything.
 */
enum { LAYOUT_GONE = 9 };
struct layout_gone {
    uint64_t until; /* message id; 0: nobody of that id was ever deleted */
    bool now;       /* there is no such user now */
};
MUST_CHECK int layout_gone(struct slice v, struct layout_gone *g);
/* The largest id of this millisecond, in whatever partition: what `until` is made of. */
static inline uint64_t layout_id_end(uint64_t ms)
{
    return (ms - LAYOUT_YEAR_2020) << 22 | ((UINT64_C(1) << 22) - 1);
}

/* An id's place: its milliseconds since 2020 * 4096 + its counter, without the partition. What one server stores has
 * ascending places, whatever the conversation. */
static inline uint64_t layout_place(uint64_t id)
{
    return id >> 22 << 12 | (id & 4095);
}

/* An inbox entry, field ID (u64) of I{t}:U: seq u48, birth u48, ttl u48, peer. Its place: the score of ID in i{t}:U. */
enum { LAYOUT_ENTRY = 18 };
struct layout_entry {
    uint64_t seq, birth_ms;
    uint64_t ttl_ms; /* the message's own; 0: its tier's */
    struct slice peer;
};
MUST_CHECK int layout_entry(struct slice v, struct layout_entry *e);

/*
 * What is past its time or beyond the count, as functions are told: now u48, for each tier born u48 (rows without a
 * time to live of their own are visible when born then or later), for each tier max u32 (0: all). Then, for each tier,
 * three counts of before: until u56, max u32 (0: there is none). They hide what they hid of conversations whose newest
 * message has a place up to `until`.
 */
enum {
    LAYOUT_COUNTS = 3,
    LAYOUT_PAST = TIER_COUNT * LAYOUT_COUNTS * 11,
    LAYOUT_RULE = 6 + 3 * 6 + 3 * 4 + LAYOUT_PAST
};
struct layout_rule {
    uint64_t now_ms;           /* the expiry clock */
    uint64_t born[TIER_COUNT]; /* by tier */
    uint32_t max[TIER_COUNT];  /* by tier: the count in force */
    struct {
        uint64_t until;
        uint32_t max;
    } past[TIER_COUNT][LAYOUT_COUNTS]; /* by tier: those of before */
};
/* The counts of before alone. Whether there are any. */
bool layout_past_put(char out[LAYOUT_PAST], const struct layout_rule *rule);
void layout_rule_put(char out[LAYOUT_RULE], const struct layout_rule *rule);

/* The same, written: for imports; else functions do it. They append to `b`. */
void layout_head_put(struct buf *b, const struct layout_head *h);
void layout_record_put(struct buf *b, const struct layout_record *m);
void layout_dedup_put(struct buf *b, uint64_t id, uint64_t seq, uint64_t created_ms);
void layout_sub_put(struct buf *b, const struct layout_sub *s); /* of a member */
void layout_gone_put(struct buf *b, const struct layout_gone *g);
void layout_entry_put(struct buf *b, const struct layout_entry *e);

/* u48; ms and seqs never need more. */
static inline uint64_t layout_u48(const char *p)
{
    return (uint64_t)load_be16(p) << 32 | load_be32(p + 2);
}
static inline void layout_put48(char *p, uint64_t v)
{
    store_be16(p, (uint16_t)(v >> 32));
    store_be32(p + 2, (uint32_t)v);
}

#endif
