/*
 * magpie.bucket(): token buckets by name, in a table of fixed size: eight places a name may stand in, and when all are
 * taken the one nearest to full gives way, which loses least. And the tokens to be given back, should a message turn
 * out to be a repeat. One thread.
 */
#ifndef MAGPIE_SCRIPT_BUCKETS_H
#define MAGPIE_SCRIPT_BUCKETS_H

#include <stdbool.h>
#include <stdint.h>

struct buckets;
struct refunds;
struct shard;

/* NULL: out of memory. */
struct buckets *buckets_new(void);
void buckets_free(struct buckets *b);
/* Takes n tokens from the bucket of this name (a hash with a secret seed: no two can be made to collide), which holds
 * `burst` and gets `rate` a second. 0, or the milliseconds until they are there (UINT32_MAX: never). *taken: what names
 * the bucket, for buckets_return(). */
uint32_t buckets_take(struct buckets *b, uint64_t name, double rate, double burst, double n, uint64_t now_ms,
                      uint64_t *taken);
void buckets_return(struct buckets *b, uint64_t taken, double n);
/* Another node has taken them: they are taken here too, below zero if need be, by one burst at most. Of a bucket that
 * nobody has used here: nothing, for it is full. */
void buckets_charge(struct buckets *b, uint64_t taken, double n, uint64_t now_ms);

/* The last so many sends that took tokens here. */
struct refunds *refunds_new(struct buckets *b);
void refunds_free(struct refunds *r);

typedef void (*refund_fn)(struct shard *s, uint64_t what);

/* A record for the tokens of one send, after those that another hook may have noted already. */
uint64_t refunds_begin(struct refunds *r, refund_fn before, uint64_t before_what);
void refunds_add(struct refunds *r, uint64_t record, uint64_t taken, double n);
/* Gives all of them back; calls the one before. */
void refunds_give(struct refunds *r, struct shard *s, uint64_t record);

#endif
