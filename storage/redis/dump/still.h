/*
 * A cluster that is looked at, or filled, without being a node of it: commands to Redis by the engine's own links, on
 * the caller's thread, which waits for the answers. For exports and imports.
 *
 *     struct still_ask a;
 *     still_begin(s, &a, "HGET", partition_of(conv), false);
 *     call_key(s->r, &a.call, 'm', conv);
 *     call_arg(&a.call, SLICE_LIT("h"));
 *     still_post(s, &a);
 *     if (still_wait(s) == 0 && still_next(&a.left, &value)) …
 *     still_free(&a);
 *
 * What was posted before still_wait() is on its way together. Changes of one partition are made in the order posted.
 */
#ifndef MAGPIE_STORAGE_REDIS_STILL_H
#define MAGPIE_STORAGE_REDIS_STILL_H

#include "storage/redis/client/call.h"
#include "storage/store.h"

struct still {
    struct redis *r;
    uint32_t under;           /* posted and not answered */
    enum store_status status; /* of the first that failed; STORE_OK: none has */
    char prefix[17];
};

/* Finds the cluster and waits until all its slots are known. ERR_IO, ERR_NOMEM; `why` gets a sentence. */
MUST_CHECK int still_open(struct still *s, const struct store_options *options, char *why, size_t why_size);
void still_close(struct still *s);
/* Waits until all that was posted is answered. 0, or ERR_IO: something was not done. */
MUST_CHECK int still_wait(struct still *s);
/* Waits until at most so many are not answered. As still_wait(). */
MUST_CHECK int still_wait_few(struct still *s, uint32_t most);
/* Waits likewise, whatever becomes of it. */
void still_drain(struct still *s);
/* Puts into words what still_wait() found. */
void still_tell(const struct still *s, char *why, size_t why_size);

struct still_ask {
    struct call call;
    struct still *s;
    struct buf out;    /* the answer, copied; owned */
    struct slice left; /* of it, for still_next() */
};
/* command: of Redis, in capitals; static. writes: it changes something, or is to see what was posted before it. */
void still_begin(struct still *s, struct still_ask *a, const char *command, unsigned part, bool writes);
void still_post(struct still *s, struct still_ask *a);
/* The next string of an answer; nil: its p is NULL. Lists are told element by element, whatever is in what. False: that
 * was all. */
bool still_next(struct slice *left, struct slice *item);
void still_free(struct still_ask *a);

/* Posts a command whose answer nobody reads: call_key() and call_arg() on what it returns, then still_send(). NULL: out
 * of memory, which still_wait() tells too. */
struct call *still_change(struct still *s, const char *command, unsigned part);
/* The same of a function. */
struct call *still_function(struct still *s, enum fn fn, unsigned part);
void still_send(struct still *s, struct call *c);

/* A key of ours: PREFIX kind {tag}:rest. */
struct still_key {
    uint16_t part;
    bool has_rest;
    struct slice rest; /* borrowed until the function returns */
};
/* What is done with the keys that are found, a page at a time; each key once. */
struct still_pages {
    int (*page)(void *ctx, const struct still_key *keys, uint32_t n); /* other than 0: that ends it */
    void *ctx;
};
/* All keys of a kind, whatever master they are on meanwhile. kind 0: of all kinds, and `rest` is the whole key. 0; what
 * page() returned; ERR_AGAIN: masters change again and again; or another enum err. */
MUST_CHECK int still_scan(struct still *s, char kind, const struct still_pages *to);

#endif
