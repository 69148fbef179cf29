/*
 * Users of whom one was deleted: an id that is made again is another user. What is kept of each stands in its record
 * (layout_gone). Few servers ever delete many, so a field of bits tells nearly always that there is none, without
 * asking. It is read from D{z} at the start, and every two seconds what others have added. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_GONE_H
#define MAGPIE_STORAGE_REDIS_GONE_H

#include "storage/redis/client/call.h"
#include "storage/store.h"

/* ERR_NOMEM. */
MUST_CHECK int gone_init(struct redis *r);
void gone_fini(struct redis *r);
/* Begins to read. */
void gone_start(struct redis *r);

/* A user's deletion has begun: notes it, here and in D{z}. Again does no harm. */
void gone_add(struct redis *r, struct slice user);
/* Another node tells that the user's deletion has begun. */
void gone_heard(struct redis *r, struct slice user);
/* Whether a user of that id may ever have been deleted; true also until that is known. */
bool gone_maybe(const struct redis *r, struct slice user);

/* What `there` said of a user. */
struct gone_user {
    bool gone;      /* it was deleted, and there is no other one now; or is being deleted */
    bool exists;    /* there is such a user */
    uint64_t until; /* messages with an id up to this are of who had the id before; 0: nobody */
};
void gone_ask(struct redis *r, struct call *c, struct slice user,
              void (*done)(struct redis *r, struct call *c, enum store_status status, const struct reply *reply),
              void *ctx);
/* Reads its answer. False: it is none. */
bool gone_read(const struct reply *reply, struct gone_user *out);

/* Takes the names of deleted senders from pages. */
struct gone_names {
    struct store_page *page; /* in; borrowed until done */
    void (*done)(struct redis *r, struct gone_names *n, enum store_status status);
    void *ctx;
    uint32_t at; /* gone.c's: the message that is looked at */
    struct call call;
};
/* False: nobody is to be asked, and done is not called. Else it is, later. */
bool gone_names(struct redis *r, struct gone_names *n);

#endif
