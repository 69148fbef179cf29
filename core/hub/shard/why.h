/*
 * What happened to messages lately, for `why`: a ring of notes a shard, of fixed size, in memory alone. There is a note
 * when a message is stored, for each publication, when a shard has walked its members, for each private push and for
 * each acknowledgement. What was skipped for a slow receiver goes to a ring of its own, so that slow receivers do not
 * push all else out. A shard's own thread.
 */
#ifndef MAGPIE_HUB_WHY_H
#define MAGPIE_HUB_WHY_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct shard;

enum { WHY_NOTES = 8192, WHY_SKIPS = 1024 }; /* remembered, a shard */

enum why_kind {
    WHY_NOTHING,
    /* id, seq, conv, user (sender), first (private: hash of the receiver), a: bytes of the body, b: members, bits:
     * WHY_B_*, tier, push. On the owner shard */
    WHY_STORED,
    /* conv, seq..to, first: oldest seq that went out, a: messages, b: left out, mask, bits. On the owner shard */
    WHY_PUBLISHED,
    WHY_WALKED,  /* conv, seq..to, mask: every member of this shard with that mode was visited */
    WHY_SKIPPED, /* conv, seq..to, user: nothing of it was queued, because the receiver was slow */
    WHY_PUSHED,  /* id, user (receiver), a: connections, b: of them, refused. On the user's shard */
    WHY_ACKED,   /* id, user; bits WHY_B_UP_TO: all up to it. On the user's shard */
    WHY_EDITED,  /* id, seq, conv, user (who did it). On the owner shard */
    WHY_RECALLED /* the same */
};

enum { WHY_B_CHANNEL = 1, WHY_B_OVER_LIMIT = 2, WHY_B_MERGED = 4, WHY_B_UP_TO = 8 };

struct why_note {
    uint64_t id, seq, to, first;
    uint64_t conv, user; /* hash_bytes() of the conversation's key, of the user's id */
    uint64_t at_ms;      /* wall clock */
    uint32_t a, b;
    uint8_t kind, bits, tier, push, mask;
};

/* Copies the note into its ring. Out of memory: nothing is remembered. */
void why_note(struct shard *s, const struct why_note *n);
uint64_t why_channel(struct slice name); /* the hash of its conversation */

/* The newest note of the kind that fits; fields of `like` that are 0 fit everything; like->seq: lies in seq..to;
 * like->mask: has one of the bits. WHY_ACKED: id itself, or one that reaches up to it. */
bool why_find(const struct shard *s, const struct why_note *like, struct why_note *out);
/* When the oldest note was made, wall clock; 0: there is none. */
uint64_t why_since(const struct shard *s);
void why_free(struct shard *s);

#endif
