/* How an operation that a plugin asks for begins, and how it tells that it ended. Private to core/plugin. */
#ifndef MAGPIE_PLUGIN_ASKER_H
#define MAGPIE_PLUGIN_ASKER_H

#include "core/hub/host/host.h"
#include "core/plugin/plugin_private.h"
#include "core/plugin/threads.h"
#include "core/plugin/register.h"

#include <stdlib.h>

/* Who waits for an operation, and where. */
struct asker {
    struct mp_self *plugin;
    struct mp_thread *home;
    void *ctx;
};

static inline struct mp_result result_of(const struct host_op *op, size_t size)
{
    return (struct mp_result){.size = (uint32_t)size,
                              .code = (enum mp_code)op->code,
                              .retry_after_ms = op->retry_after_ms,
                              .message = op->code == CODE_OK ? "" : op->message};
}

/* The bytes of `s` behind *at, which moves on. */
static inline struct slice copy_in(char **at, struct mp_str s)
{
    struct slice out = slice_of(*at, s.n);
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return out;
}

/* Memory for an operation of `size` bytes and `extra` of texts; counted. */
static inline void *op_new(mp_self *p, size_t size, size_t extra, int *rc)
{
    *rc = MP_EAGAIN;
    if (!plugin_running(p))
        return NULL;
    void *q = calloc(1, size + extra);
    *rc = q ? 0 : MP_ENOMEM;
    if (q && !plugin_begin(p, PENDING_OPERATIONS)) {
        free(q);
        *rc = MP_ECLOSED;
        return NULL;
    }
    return q;
}

static inline struct asker asker_of(mp_self *p, mp_thread *home, void *ctx)
{
    return (struct asker){p, home ? home : &p->plugins->threads[0], ctx};
}

#endif
