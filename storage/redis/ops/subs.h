/* What Redis says of a user: its record, and its channels with how far it has read each. Engine's thread. */
#ifndef MAGPIE_STORAGE_REDIS_SUBS_H
#define MAGPIE_STORAGE_REDIS_SUBS_H

#include "core/base/buf.h"
#include "storage/redis/client/call.h"

/* What `user_get` replies. */
struct user_reply {
    uint8_t code;   /* N: it is there; W: its deletion is under way; X: there is none */
    bool was_guest; /* until its first private conversation, and nobody has loaded it since */
    uint64_t next;  /* where the next page begins; 0: this was the last one */
    uint32_t epoch;
    uint64_t due_ms; /* of a guest; 0: it is none */
    uint64_t revoked_ms, version, arrivals;
    uint32_t inbox;
    uint64_t until_ms;      /* ids of before are those of who had the user's id before; 0: nobody */
    struct slice name;      /* borrowed from the reply */
    struct reply_in fields; /* n u8, K, n u8, what layout_sub() reads; of each channel */
};

/* Begins a call of `user_get`: from the beginning (0), or from `next`. */
void user_ask(struct redis *r, struct call *c, struct slice user, uint64_t at);
/* STORE_FATAL: it cannot be read. */
MUST_CHECK enum store_status user_reply_read(const struct reply *reply, struct user_reply *u);

struct subs {
    struct call call;
    struct slice user;
    struct sub {
        uint32_t at;   /* where its key is in arena */
        uint8_t n;     /* bytes of the key */
        uint64_t read; /* read mark */
    } * list;          /* ascending by key; owned */
    uint32_t n, cap;
    struct buf arena; /* owned */
    void (*done)(struct redis *r, struct subs *s, enum store_status status);
    void *ctx; /* the caller's */
};

static inline struct slice sub_key(const struct subs *s, uint32_t i)
{
    return slice_of(s->arena.p + s->list[i].at, s->list[i].n);
}

/* Reads them; all but user, done and ctx is 0 in the beginning. A user that there is not has none. */
void subs_ask(struct redis *r, struct subs *s);
void subs_fini(struct subs *s);

#endif
