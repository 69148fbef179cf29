/*
 * Interest: which push modes each shard has members for, as the owner of a channel knows it. A shard tells it by mail;
 * the owner publishes to those that are interested. Private to core/hub.
 */
#ifndef MAGPIE_HUB_INTEREST_H
#define MAGPIE_HUB_INTEREST_H

#include "core/hub/shard/shard.h"

/* --- On the members' shard --- */

/* Tells the owner which push modes this shard has members for, when that has changed. While a subscription is under way
 * nothing is taken back, at neither end, because the owner may be noting the new member at this moment. False: out of
 * memory, and it has not been told. */
bool interest_changed(struct shard *s, uint32_t chan);
/* A subscription begins: the channel stays, and so does its interest. */
void interest_hold(struct shard *s, uint32_t chan);
/* It has ended. `mask`: what the owner has noted for this shard on its own account. */
void interest_release(struct shard *s, uint32_t chan, uint8_t mask);
/* Before a stored subscription is restored; not from inside of a walk. What the owner posted while it still knew of
 * members that have gone since is on its way or waits to be walked. What comes after that, until the owner hears of the
 * new member, is not posted: the first would show a gap. So, where there is no other member, nothing is delivered until
 * the owner has noted the interest, or has answered somebody's subscription. */
void interest_await(struct shard *s, uint32_t chan);

/* --- On the owner shard --- */

/* Makes room for interest_add(); false: out of memory. */
MUST_CHECK bool interest_reserve(struct shard *s, uint32_t conv);
/* Notes members on a shard, beside those that are known. */
void interest_add(struct shard *s, uint32_t conv, unsigned shard, uint8_t mask);

#endif
