/* Wrong: shard_init() fails on shard 0; shard_fini() may be called on the others alone, and fini() after them. */
#include "plugins/magpie_plugin.h"

#include <stdatomic.h>
#include <stdlib.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
    _Atomic int open;
} shards;

static enum mp_verdict on_message(struct mp_event *e, void *ctx)
{
    (void)e, (void)ctx;
    return MP_DROP; /* it never comes into force */
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct mp_hook h = {.size = sizeof h, .event = MP_ON_MESSAGE, .fn = on_message};
    (void)o, (void)state;
    shards.self = self;
    shards.mp = mp;
    atomic_store(&shards.open, 0);
    return mp->hook(self, &h);
}

static int shard_init(void *state, mp_thread *shard, void **shard_state)
{
    (void)state, (void)shard_state;
    if (shards.mp->thread_index(shard) == 0)
        return MP_ENOMEM;
    atomic_fetch_add(&shards.open, 1);
    return MP_OK;
}

static void shard_fini(void *state, mp_thread *shard, void *shard_state)
{
    (void)state, (void)shard_state;
    if (shards.mp->thread_index(shard) == 0)
        abort();
    atomic_fetch_sub(&shards.open, 1);
}

static void fini(void *state)
{
    (void)state;
    if (atomic_load(&shards.open) != 0)
        abort();
}

MP_PLUGIN = {
    MP_PLUGIN_HEAD, .name = "wrong_shard",    .version = "1",           .summary = "test",
    .init = init,   .shard_init = shard_init, .shard_fini = shard_fini, .fini = fini,
};
