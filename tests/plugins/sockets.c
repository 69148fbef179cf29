/* ABI area: claimed WebSocket paths. /sockets says hello, answers "time" from another thread, "bye" by closing with
 * 4001, "burst" with many messages; anything else is told its length. `sockets open` counts those that are open. */
#include "plugins/magpie_plugin.h"

#include <stdatomic.h>
#include <stdlib.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
    _Atomic int open;
} sockets;

struct later {
    struct mp_conn conn;
};

static void on_main(mp_thread *here, void *ctx)
{
    struct later *l = ctx;
    (void)here;
    sockets.mp->ws_send(sockets.self, l->conn, true, mp_str("from main"));
    free(l);
}

static void opened(struct mp_conn conn, mp_thread *shard, void *ctx)
{
    (void)shard, (void)ctx;
    atomic_fetch_add(&sockets.open, 1);
    sockets.mp->ws_send(sockets.self, conn, true, mp_str("hello"));
}

static void message(struct mp_conn conn, bool text, struct mp_str data, mp_thread *shard, void *ctx)
{
    const struct mp_api *mp = sockets.mp;
    (void)shard, (void)ctx;
    if (text && mp_eq(data, mp_str("time"))) {
        struct later *l = calloc(1, sizeof *l);
        if (l)
            l->conn = conn;
        if (!l || mp->post(sockets.self, mp->main_thread(sockets.self), on_main, l) != MP_OK)
            free(l);
    } else if (text && mp_eq(data, mp_str("bye"))) {
        mp->ws_close(sockets.self, conn, 4001, mp_str("as you wish"));
        if (mp->ws_send(sockets.self, conn, true, data) != MP_ECLOSED)
            abort();
    } else if (text && mp_eq(data, mp_str("burst"))) {
        for (int i = 0; i < 100; i++)
            mp->ws_send(sockets.self, conn, false, mp_str("0123456789"));
    } else {
        char out[40];
        snprintf(out, sizeof out, "%s %zu", text ? "text" : "binary", data.n);
        mp->ws_send(sockets.self, conn, true, mp_str(out));
    }
}

static void closed(struct mp_conn conn, mp_thread *shard, void *ctx)
{
    (void)conn, (void)shard, (void)ctx;
    atomic_fetch_sub(&sockets.open, 1);
}

static void count(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)argv, (void)argc, (void)ctx;
    sockets.mp->out_printf(sockets.mp->command_out(call), "%d", atomic_load(&sockets.open));
    sockets.mp->command_done(call);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct mp_upgrade u = {.size = sizeof u,
                           .path = "/sockets",
                           .message_max = 1000,
                           .opened = opened,
                           .message = message,
                           .closed = closed};
    struct mp_command c = {.size = sizeof c, .name = "sockets open", .help = "how many are open", .run = count};
    (void)o, (void)state;
    sockets.self = self;
    sockets.mp = mp;
    int rc = mp->upgrade(self, &u);
    if (rc == MP_OK && mp->upgrade(self, &u) != MP_EEXISTS)
        rc = MP_EINVALID;
    return rc == MP_OK ? mp->command(self, &c) : rc;
}

/* Every `closed` has come by then. */
static void fini(void *state)
{
    (void)state;
    if (atomic_load(&sockets.open) != 0)
        abort();
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "sockets", .version = "1", .summary = "test: WebSocket paths",
             .init = init,   .fini = fini};
