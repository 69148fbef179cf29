/*
 * What scripts remember: magpie.kv (one a shard), magpie.shared (one for all), magpie.store (one a script, kept by
 * script_store.h). Striped locks, a bound on the bytes, a time to live for each value. Any thread. Outlives reloads.
 *
 * now_ms: of one clock, whichever the caller chose for these values.
 */
#ifndef MAGPIE_SCRIPT_VALUES_H
#define MAGPIE_SCRIPT_VALUES_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct values;

enum value_type { VALUE_NONE, VALUE_NUMBER, VALUE_BOOL, VALUE_TEXT };

struct script_value {
    enum value_type type;
    double number;     /* VALUE_NUMBER; VALUE_BOOL: 0 or 1 */
    struct slice text; /* VALUE_TEXT: what is put is borrowed; what is got is malloc'd, for the caller to free */
};

enum { VALUE_KEY_MAX = 256, VALUE_TEXT_MAX = 1 << 20 };

/* stripes: a power of two. NULL: out of memory. */
struct values *values_new(unsigned stripes, uint64_t bytes_max);
void values_free(struct values *k);
/* 0, or ERR_NOTFOUND, ERR_NOMEM. */
MUST_CHECK int values_get(struct values *k, struct slice key, uint64_t now_ms, struct script_value *out);
/* ttl_ms 0: for ever. ERR_FULL, ERR_NOMEM: what was there is still there. */
MUST_CHECK int values_set(struct values *k, struct slice key, const struct script_value *v, uint64_t ttl_ms,
                          uint64_t now_ms);
/* Adds to a number, 0 when there is none; ttl_ms counts for a new one only. ERR_INVALID: it is no number; ERR_FULL,
 * ERR_NOMEM. */
MUST_CHECK int values_incr(struct values *k, struct slice key, double n, uint64_t ttl_ms, uint64_t now_ms, double *out);
/* Whether there was one. */
bool values_del(struct values *k, struct slice key, uint64_t now_ms);
uint64_t values_bytes(const struct values *k);
/* Another bound; what is there stays. */
void values_limit(struct values *k, uint64_t bytes_max);

struct values_change {
    struct slice key;
    const struct script_value *v; /* as it will be; NULL: it goes */
    uint64_t until_ms;            /* when it ends, 0: never; of one that has expired: when it did */
    bool expired;                 /* it goes because its time is over */
    bool added;                   /* `by` was added to the number */
    double by;
};
/* Hears of each change before it is made, values that expire included, with the lock of the key's stripe held: changes
 * of a key are told in their order. False: the change is not made (ERR_NOMEM); one that expires goes all the same. */
typedef bool (*values_change_fn)(void *ctx, const struct values_change *c);
/* Before anybody else uses it. */
void values_watch(struct values *k, values_change_fn fn, void *ctx);
/* Replaces what stands, whatever it is and however much there is, and tells nobody. `fn` says by what, with the lock of
 * the key's stripe held: VALUE_NONE, nothing; its text is malloc'd, and taken. ERR_NOMEM: what was there is there. */
typedef void (*values_rewrite_fn)(void *ctx, struct script_value *v, uint64_t *until_ms);
MUST_CHECK int values_rewrite(struct values *k, struct slice key, values_rewrite_fn fn, void *ctx);
/* Takes away, and tells nobody, what `keep` returns false for, with the lock of the key's stripe held. */
void values_keep(struct values *k, bool (*keep)(void *ctx, struct slice key), void *ctx);
/* Tells the present state of the key once more. */
bool values_tell(struct values *k, struct slice key, uint64_t now_ms);

#endif
