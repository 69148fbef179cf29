/* Many calls at once: see fan.h. */
#include "storage/redis/client/fan.h"

#include <stdlib.h>

int fan_begin(struct fan *f, struct task *t, uint32_t n)
{
    f->task = t;
    f->calls = calloc(n, sizeof *f->calls);
    f->n = f->left = n;
    f->status = STORE_OK;
    return f->calls ? 0 : ERR_NOMEM;
}

static void fan_done(struct redis *r, struct call *c, enum store_status status, const struct reply *reply)
{
    struct fan *f = c->ctx;
    if (status == STORE_OK)
        f->each(r, f, (uint32_t)(c - f->calls), reply);
    else
        fan_fail(f, status);
    if (--f->left)
        return;
    free(f->calls);
    f->calls = NULL;
    f->end(r, f);
}

void fan_post(struct redis *r, struct fan *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        f->calls[i].done = fan_done;
        f->calls[i].ctx = f;
        call_post(r, &f->calls[i]);
    }
}
