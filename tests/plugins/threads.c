/* ABI area: threads. A ticking timer on main and on each shard (they live when it is unloaded), a watched pipe, posts
 * round all threads, and works. `threads round` answers when a post has been on every thread and a work on a worker. */
#include "plugins/magpie_plugin.h"

#include <stdlib.h>
#include <unistd.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
    int ticks, bytes; /* metrics */
    int pipe[2];
    uint64_t io;
} threads;

/* What shard_init() makes. */
struct local {
    int index;
};

struct round {
    mp_command_call *call;
    unsigned next;  /* shard to visit */
    unsigned right; /* threads where everything was as it should be */
    bool worked;
};

static void tick(mp_thread *here, void *ctx)
{
    const struct mp_api *mp = threads.mp;
    (void)ctx;
    mp->count(threads.self, mp->thread_index(here) < 0 ? NULL : here, threads.ticks, 1);
}

static void once(mp_thread *here, void *ctx)
{
    (void)here;
    (void)!write(threads.pipe[1], ctx, 1);
}

static void readable(mp_thread *here, int fd, unsigned events, void *ctx)
{
    char c;
    (void)ctx;
    if (events & MP_READ && read(fd, &c, 1) == 1)
        threads.mp->count(threads.self, here, threads.bytes, 1);
}

static void finished(mp_thread *here, void *ctx)
{
    struct round *r = ctx;
    const struct mp_api *mp = threads.mp;
    (void)here;
    mp->out_printf(mp->command_out(r->call), "{\"threads\":%u,\"worked\":%s}", r->right, r->worked ? "true" : "false");
    mp->command_done(r->call);
    free(r);
}

static void on_worker(void *ctx)
{
    ((struct round *)ctx)->worked = true;
}

static void visit(mp_thread *here, void *ctx)
{
    struct round *r = ctx;
    const struct mp_api *mp = threads.mp;
    const struct local *l = mp->local(threads.self, here);
    int index = mp->thread_index(here);
    r->right += index < 0 ? l == NULL : l && l->index == index;
    mp_thread *to = mp->shard(threads.self, r->next++);
    if (to && mp->post(threads.self, to, visit, r) == MP_OK)
        return;
    if (mp->work(threads.self, on_worker, mp->main_thread(threads.self), finished, r) != MP_OK)
        abort();
}

static void round_run(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    struct round *r = calloc(1, sizeof *r);
    (void)argv, (void)argc, (void)ctx;
    if (r)
        r->call = call;
    if (!r || threads.mp->post(threads.self, threads.mp->main_thread(threads.self), visit, r) != MP_OK)
        threads.mp->command_fail(call, "internal", "no post");
}

static int shard_init(void *state, mp_thread *shard, void **shard_state)
{
    struct local *l = calloc(1, sizeof *l);
    (void)state;
    if (!l)
        return MP_ENOMEM;
    l->index = threads.mp->thread_index(shard);
    *shard_state = l;
    uint64_t stopped;
    if (threads.mp->timer(threads.self, shard, 1, 1, tick, NULL, &stopped) != MP_OK)
        return MP_ENOMEM;
    threads.mp->timer_stop(threads.self, shard, stopped);
    threads.mp->timer_stop(threads.self, shard, stopped);
    return threads.mp->timer(threads.self, shard, 5, 5, tick, NULL, NULL);
}

static void shard_fini(void *state, mp_thread *shard, void *shard_state)
{
    (void)state;
    if (((struct local *)shard_state)->index != threads.mp->thread_index(shard))
        abort();
    free(shard_state);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    static char byte = 'x';
    struct mp_metric ticks = {.size = sizeof ticks, .name = "test_ticks_total", .help = "Ticks.", .kind = MP_COUNTER};
    struct mp_metric bytes = {.size = sizeof bytes, .name = "test_bytes_total", .help = "Bytes.", .kind = MP_COUNTER};
    struct mp_command c = {.size = sizeof c, .name = "threads round", .help = "visits every thread", .run = round_run};
    mp_thread *here = mp->main_thread(self);
    (void)o, (void)state;
    threads.self = self;
    threads.mp = mp;
    threads.ticks = mp->metric(self, &ticks);
    threads.bytes = mp->metric(self, &bytes);
    if (threads.ticks < 0 || threads.bytes < 0 || mp->command(self, &c) != MP_OK || pipe(threads.pipe) != 0)
        return MP_EINVALID;
    if (mp->io(self, here, threads.pipe[0], MP_READ, readable, NULL, &threads.io) != MP_OK ||
        mp->io_change(self, here, threads.io, 0) != MP_OK || mp->io_change(self, here, threads.io, MP_READ) != MP_OK ||
        mp->io_change(self, here, threads.io + 100, MP_READ) != MP_ENOTFOUND)
        return MP_EINVALID;
    if (mp->timer(self, here, 5, 5, tick, NULL, NULL) != MP_OK)
        return MP_ENOMEM;
    return mp->timer(self, here, 1, 0, once, &byte, NULL);
}

static void fini(void *state)
{
    (void)state;
    close(threads.pipe[0]);
    close(threads.pipe[1]);
}

MP_PLUGIN = {
    MP_PLUGIN_HEAD, .name = "threads",        .version = "1",           .summary = "test: threads",
    .init = init,   .shard_init = shard_init, .shard_fini = shard_fini, .fini = fini,
};
