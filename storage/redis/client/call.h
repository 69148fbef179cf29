/*
 * One call of a function inside Redis, or one command: what an operation is made of. All on the engine's thread.
 *
 *     struct call *c = &task->call;                    (the caller's memory, until done)
 *     call_begin(r, c, FN_HEAD, partition_of(conv));
 *     call_key(r, c, 'm', conv);                       (all keys first, then the arguments)
 *     call_arg_u64(c, now);
 *     c->done = head_done;
 *     call_post(r, c);
 *
 * done is called once, later and never inside call_post(), in the order of posting for calls of one partition that
 * change something and are answered STORE_OK. README.md says which status means what.
 */
#ifndef MAGPIE_STORAGE_REDIS_CALL_H
#define MAGPIE_STORAGE_REDIS_CALL_H

#include "core/base/buf.h"
#include "storage/redis/client/library.h"
#include "storage/redis/client/resp.h"
#include "storage/store.h"

struct redis;

/* What is known of a call that was sent. */
enum call_state {
    CALL_WAITS,   /* in its partition's queue, or sent and not replied to */
    CALL_REPLIED, /* the function ran, and `reply` has what it returned */
    CALL_REFUSED, /* surely not run this time; may be sent again */
    CALL_DENIED,  /* surely not run this time, and there is no use in sending it again now */
    CALL_BROKEN   /* the function, or its reply, is wrong */
};

struct call {
    struct call *next; /* the queue's it is in */
    uint16_t part;     /* the partition whose master runs it */
    uint8_t fn;        /* enum fn */
    uint8_t state;     /* enum call_state; the transport's */
    bool once;         /* the caller's: it must not run twice: an append without clientId */
    bool relaxed;      /* the caller's: its answer need not wait for copies (DURABILITY_ASYNC, beats) */
    bool tried;        /* it may have run: it was sent, and what became of it is not known */
    bool passed;       /* refused, and a later call about the same was not: it must not be sent any more */
    uint8_t verdict;   /* enum store_status that it will be answered with at the turn's end */
    uint16_t keys;     /* how many it has */
    uint32_t args;     /* how many arguments stand in body, keys included */
    uint32_t about;    /* the caller's: hash of the conversation or user; 0: nothing. A call that was not run while a
                        * later one about the same was, is not sent again */
    uint64_t end;      /* where its bytes end in what its link sends */
    uint64_t since;  /* when it was handed over, by redis.turn_ms, which is when patience begins; the caller may set it.
                        * 0: call_post() sets it, to that of the operation that is being begun, or else to now */
    struct buf body; /* keys and arguments in RESP. The transport has it after call_post(), and gives it back itself */
    const struct reply *reply; /* CALL_REPLIED */
    /* STORE_OK: *reply, borrowed until it returns. STORE_RETRY, STORE_UNKNOWN, STORE_FATAL: reply is NULL. The call is
     * the caller's again, who frees it here. May post other calls, and this one anew after call_begin(). */
    void (*done)(struct redis *r, struct call *c, enum store_status status, const struct reply *reply);
    void *ctx; /* the caller's */
};

/* Begins a call; everything in *c is overwritten. */
void call_begin(struct redis *r, struct call *c, enum fn fn, unsigned part);
/* Adds a key of the call's partition: PREFIX kind {tag}, and ":" and rest unless that is SLICE_NONE (p NULL). */
void call_key(struct redis *r, struct call *c, char kind, struct slice rest);
void call_arg(struct call *c, struct slice arg);
/* As decimal digits. */
void call_arg_u64(struct call *c, uint64_t v);
/* An argument of several pieces: call_arg_open() with the sum of their sizes, then exactly those bytes into c->body,
 * then call_arg_close(). */
void call_arg_open(struct call *c, size_t size);
void call_arg_close(struct call *c);

/* Begins a command of Redis instead of a function: argv[0] is its name. writes: it may change something, and goes over
 * the write link. call_arg() adds to it. The part's master gets it: slots_part() has one of each master. */
void call_raw(struct redis *r, struct call *c, unsigned part, bool writes, const struct slice *argv, unsigned n);

/* Hands it over: what changes something goes to the end of its partition's queue, what only reads to that of the reads,
 * which another link takes. */
void call_post(struct redis *r, struct call *c);
/* Gives up a call that was begun and not posted. */
void call_drop(struct redis *r, struct call *c);

/* For the transport: appends the whole command to a link's output. */
void call_write(const struct redis *r, const struct call *c, struct buf *out);
/* For the transport: takes back the body, and calls done. */
void call_end(struct redis *r, struct call *c, enum store_status status);

#endif
