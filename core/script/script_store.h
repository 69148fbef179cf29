/*
 * magpie.store: what scripts keep over restarts. All of it is in memory; each change is written behind as a note of
 * the store (key "s/SCRIPT/KEY", durability `commit`), in the order in which the changes were made.
 *
 * A disk that refuses loses nothing: what could not be written is written again every second, as it is by then. Where
 * the server is a node of a cluster, what other nodes change comes here too: script_store_nodes.c.
 */
#ifndef MAGPIE_SCRIPT_SCRIPT_STORE_H
#define MAGPIE_SCRIPT_SCRIPT_STORE_H

#include "core/base/err.h"
#include "core/script/values.h"

struct hub;
struct script_store;

/* Bytes of a key, enough for a channel, a user and some letters, and of a text: a note has 200 and 4096. */
enum { STORE_KEY_MAX = 134, STORE_TEXT_MAX = 4000 };

/* Loads what the hub's store has; waits for it. hub NULL: nothing is there, and nothing is kept. NULL: out of memory,
 * or the store cannot be read. Main thread. */
struct script_store *script_store_new(struct hub *hub);
/* After the hub's store is closed. NULL is allowed. */
void script_store_free(struct script_store *s);
/* Bytes that all scripts may have together; one of them three quarters. What is there stays. Main thread. */
void script_store_limit(struct script_store *s, uint64_t bytes);
/* The values of one script, made when there are none yet; they live as long as the store. NULL: out of memory. Any
 * thread. */
struct script_space;
struct script_space *script_store_space(struct script_store *s, const char *script);

/* --- Any thread. Keys and texts are no longer than said above. --- */

/* As values_get(), values_set(), values_incr(), values_del(). ERR_AGAIN: too many changes wait to be written. */
MUST_CHECK int script_space_get(struct script_space *p, struct slice key, struct script_value *out);
MUST_CHECK int script_space_set(struct script_space *p, struct slice key, const struct script_value *v,
                                uint64_t ttl_ms);
MUST_CHECK int script_space_incr(struct script_space *p, struct slice key, double n, uint64_t ttl_ms, double *out);
/* 1: it was there; 0; or ERR_AGAIN. */
MUST_CHECK int script_space_del(struct script_space *p, struct slice key);
/* Bytes of all scripts. */
uint64_t script_store_bytes(const struct script_store *s);

/* For tests of scripts: the clock, ms; 0: the store's own. */
void script_store_clock(struct script_store *s, const uint64_t *now_ms);

#endif
