/*
 * To which nodes a user is connected, as the functions' replies have it: who is to be told of what concerns the user.
 * An incarnation that lives no more counts for nothing, and is taken away when it is met. Engine's thread.
 */
#ifndef MAGPIE_STORAGE_REDIS_SESSIONS_H
#define MAGPIE_STORAGE_REDIS_SESSIONS_H

#include "core/base/err.h"
#include "storage/redis/client/call.h"
#include "storage/redis/client/resp.h"

struct redis;

/* What sessions_pack() of head.lua makes, or a list of watchers: n u16, and the incarnation u48 of each. */
struct sessions {
    const char *p; /* borrowed from the reply */
    uint16_t n;
};

static inline struct sessions sessions_read(struct reply_in *in)
{
    uint16_t n = reply_u16(in);
    struct slice list = reply_slice(in, (size_t)n * 6);
    return (struct sessions){list.p, reply_ok(in) ? n : 0};
}

/* ERR_NOMEM. */
MUST_CHECK int sessions_init(struct redis *r);
void sessions_fini(struct redis *r);

/* The i-th of them, whoever it is. */
uint64_t sessions_at(struct sessions list, uint16_t i);
/* The i-th of them that is to be told: another node that lives, or may. 0: none of that kind; a dead one is about to be
 * taken away from the user. For i from 0 to n - 1. */
uint64_t sessions_other(struct redis *r, struct sessions list, uint16_t i, struct slice user);
/* Whether the user is connected to another node. */
bool sessions_elsewhere(struct redis *r, struct sessions list, struct slice user);
/* Adds the arguments by which a function knows who lives: the newest incarnation, and u48 of each. */
void sessions_arg_living(struct redis *r, struct call *c);
/* Begins a call of session_del; dead: it lives no more, and watches nobody either. */
void sessions_call_del(struct redis *r, struct call *c, struct slice user, uint64_t inc, bool dead);

#endif
