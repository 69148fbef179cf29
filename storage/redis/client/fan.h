/* Many calls of one operation at once: names of members, heads of conversations, all partitions. Engine's thread. */
#ifndef MAGPIE_STORAGE_REDIS_FAN_H
#define MAGPIE_STORAGE_REDIS_FAN_H

#include "core/base/err.h"
#include "storage/redis/client/call.h"

struct task;

struct fan {
    struct task *task;        /* whose they are */
    struct call *calls;       /* n of them; owned until `end` */
    uint32_t n, left;         /* not answered yet */
    enum store_status status; /* STORE_OK, or what the first that failed was answered */
    /* One was answered STORE_OK. The reply is borrowed for the call. */
    void (*each)(struct redis *r, struct fan *f, uint32_t i, const struct reply *reply);
    /* All were. Never inside fan_post(). May begin it anew, or end the task. */
    void (*end)(struct redis *r, struct fan *f);
};

/* Makes room for n > 0 calls, each of which is to be begun with call_begin() or call_raw(). ERR_NOMEM. */
MUST_CHECK int fan_begin(struct fan *f, struct task *t, uint32_t n);
/* Hands them over. */
void fan_post(struct redis *r, struct fan *f);
/* An `each` has found its reply wrong, or has no memory. */
static inline void fan_fail(struct fan *f, enum store_status status)
{
    f->status = f->status == STORE_OK ? status : f->status;
}

/* A number that Redis keeps as text; nothing counts as 0. False: it is none. */
static inline bool reply_decimal(const struct reply *reply, uint64_t *out)
{
    *out = 0;
    if (reply->type == REPLY_NIL)
        return true;
    if (reply->type != REPLY_STRING || reply->text.n < 1 || reply->text.n > 19)
        return false;
    for (size_t i = 0; i < reply->text.n; i++) {
        unsigned digit = (unsigned)(reply->text.p[i] - '0');
        if (digit > 9)
            return false;
        *out = *out * 10 + digit;
    }
    return true;
}

#endif
