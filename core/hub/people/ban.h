/*
 * Bans and mutes: who may not connect, log in, be in a channel, or speak. They are kept in the store.
 * Every shard has them all in a table of its own: a check is one look-up, and costs nothing while there are none.
 *
 *     ban of a user       its epoch rises, its connections are closed, its logins are `forbidden`
 *     ban of an address   connections from there are closed; an address or a network ("192.0.2.0/24", "2001:db8::/32")
 *     ban from a channel  the membership ends, what is queued of the channel goes nowhere, subscribing is `forbidden`
 *     mute of a user      sending is `forbidden`: everywhere, or in one channel
 *     rule of a channel what an operator has set for it: tier, push mode, messages a second, that it is closed. Kept
 *     and spread in the same way
 */
#ifndef MAGPIE_HUB_BAN_H
#define MAGPIE_HUB_BAN_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct ban_table;
struct hub;
struct shard;
struct store;

enum ban_kind {
    BAN_USER,
    BAN_IP,
    BAN_MEMBER,
    MUTE_USER,
    MUTE_MEMBER,
    CHANNEL_RULE,
    BAN_KINDS
}; /* the numbers are on disk */
/* "ban user" … "mute member"; static storage. */
const char *ban_kind_name(enum ban_kind kind);

#define BAN_FOREVER UINT64_MAX
enum { BAN_REASON_MAX = 256 }; /* bytes */

/* --- Checks, on a shard's own thread --- */

/* In force: *reason (may be NULL) borrows until the next change. */
bool ban_user(struct shard *s, struct slice user, struct slice *reason);
bool ban_ip(struct shard *s, const char *ip);
bool ban_member(struct shard *s, struct slice user, struct slice channel);
/* Muted in the channel, or everywhere (channel may be empty: private messages). */
bool ban_muted(struct shard *s, struct slice user, struct slice channel);

/* What an operator has set for a channel; all zero: nothing. */
struct channel_rule {
    uint8_t tier;   /* 0, or enum store_tier TIER_SMALL, TIER_LARGE */
    uint8_t push;   /* enum push_mode; MODE_DEFAULT: nothing */
    bool limited;   /* the next one counts */
    bool closed;    /* nobody may subscribe */
    uint32_t limit; /* messages a second; 0: none */
};
enum { CHANNEL_RULE_SIZE = 8 };
void channel_rule_pack(const struct channel_rule *r, char out[CHANNEL_RULE_SIZE]);
/* False (and all zero): there is none. */
bool channel_rule_find(struct shard *s, struct slice channel, struct channel_rule *out);

/* One ban, for people. */
struct ban_snapshot {
    enum ban_kind kind;
    struct slice user, channel, reason;
    char ip[64];
    uint64_t until_ms; /* wall clock, as it is now; BAN_FOREVER */
};
/* As the functions of snapshot.h. Every shard has all of them: ask one. */
uint32_t snapshot_bans(struct shard *s, uint32_t from, bool (*fn)(void *ctx, const struct ban_snapshot *b), void *ctx);

/* Housekeeping, every tick of a shard: drops some of what is over. */
void bans_tick(struct shard *s);
/* Which ban, as one run of bytes: the key of the tables and, behind "ban:", of the store's notes. */
enum { BAN_KEY_MAX = 132 };
struct ban_key {
    uint8_t n;
    char p[BAN_KEY_MAX];
};
/* From when to when, by the store's time (store_time_ms): a wall clock that jumps ends none and makes none longer. */
struct ban_span {
    uint64_t since_ms; /* 0: not known, as of a server that did not keep it */
    uint64_t until_ms; /* BAN_FOREVER */
};
/* The span that begins now; seconds 0: for ever. */
struct ban_span ban_span_of(struct store *store, uint64_t seconds);
/* A note's value in the store: the span and the reason, of BAN_REASON_MAX bytes at most. Returns its size. */
#define BAN_NOTE_MAX (8 + BAN_REASON_MAX + 1 + 8)
size_t ban_note(const struct ban_span *span, struct slice reason, char out[BAN_NOTE_MAX]);

/* A note of the store: which ban, and, with a value, from when to when and why. False: of a later version. *reason
 * borrows. */
bool ban_note_read(struct slice key, struct slice value, struct ban_key *k, struct ban_span *span,
                   struct slice *reason);
/* False: not an address, or a value that cannot be one. */
bool ban_key_make(struct ban_key *k, enum ban_kind kind, struct slice user, struct slice channel, struct slice ip);
/* Puts it into the shard's table, or takes it out; *existed: there was one. ERR_NOMEM. On its own thread, or before
 * hub_start(). */
MUST_CHECK int ban_apply(struct shard *s, const struct ban_key *k, const struct ban_span *span, struct slice reason,
                         bool lift, bool *existed);

/* All that are in force, read anew: bans_renew_end() takes out what was not put in since bans_renew_begin(). */
void bans_renew_begin(struct shard *s);
void bans_renew_end(struct shard *s);
/* Reads them from the store into all shards. Before hub_start(). ERR_IO, ERR_NOMEM. */
MUST_CHECK int bans_load(struct hub *hub);
void bans_free(struct shard *s);
/* Registers the hook that keeps the muted silent. */
MUST_CHECK int bans_register(struct hub *hub);

#endif
