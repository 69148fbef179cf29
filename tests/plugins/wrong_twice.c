/* Wrong: answers everything twice, and asks about what it has answered. The first answer counts, the second is logged.
 * What it answered is kept for a while, to be answered once more when its memory is somebody else's. */
#include "plugins/magpie_plugin.h"

#include <stdlib.h>

static struct {
    mp_self *self;
    const struct mp_api *mp;
    mp_call *call; /* answered long ago; NULL: none */
} twice;

static void on_action(mp_call *call, const struct mp_request *r, void *ctx)
{
    (void)r, (void)ctx;
    if (twice.call)
        twice.mp->answer(twice.call, mp_str("{\"late\":true}"));
    twice.call = call;
    twice.mp->answer(call, mp_str("{\"first\":true}"));
    twice.mp->answer(call, mp_str("{\"second\":true}"));
    twice.mp->answer_error(call, MP_CODE_INTERNAL, "third", 0);
}

static void on_route(mp_http *http, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    char text[8];
    struct mp_http_answer first = {.size = sizeof first, .status = 200, .body = mp_str("first")},
                          second = {.size = sizeof second, .status = 200, .body = mp_str("second")};
    (void)q, (void)shard, (void)ctx;
    twice.mp->http_answer(http, &first);
    if (twice.mp->http_header(http, "Host").p || twice.mp->http_param(http, "q", text, sizeof text) != MP_ENOTFOUND)
        abort();
    twice.mp->http_answer(http, &second);
}

static void on_command(mp_command_call *call, const struct mp_str *argv, unsigned argc, void *ctx)
{
    (void)argv, (void)argc, (void)ctx;
    twice.mp->out_put(twice.mp->command_out(call), mp_str("\"first\""));
    twice.mp->command_done(call);
    twice.mp->out_put(twice.mp->command_out(call), mp_str("\"second\""));
    twice.mp->command_fail(call, "internal", "second");
}

static void run(void *ctx)
{
    (void)ctx;
}

struct waiting {
    struct mp_ticket ticket;
    struct mp_auth_answer answer;
};

static void done(mp_thread *here, void *ctx)
{
    struct waiting *w = ctx;
    (void)here;
    if (twice.mp->auth_finish(twice.self, w->ticket, &w->answer) != MP_OK)
        abort();
    w->answer.code = MP_CODE_FORBIDDEN;
    if (twice.mp->auth_finish(twice.self, w->ticket, &w->answer) != MP_ENOTFOUND)
        abort();
    free(w);
}

static enum mp_when ask(const struct mp_login *l, struct mp_auth_answer *a, void *ctx)
{
    struct waiting *w = calloc(1, sizeof *w);
    (void)ctx;
    if (!w)
        abort();
    a->code = MP_CODE_OK;
    snprintf(a->id, sizeof a->id, "%.*s", (int)l->token.n, l->token.p ? l->token.p : "");
    w->ticket = l->ticket;
    w->answer = *a;
    if (strcmp(a->id, "both") == 0) { /* says so, and that it will say it later */
        done(l->shard, w);
        return MP_NOW;
    }
    return twice.mp->work(twice.self, run, l->shard, done, w) == MP_OK ? MP_LATER : MP_NOW;
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    struct mp_action a = {.size = sizeof a, .number = 1501, .name = "twice", .handle = on_action};
    struct mp_route r = {.size = sizeof r, .method = "GET", .path = "/twice", .handle = on_route};
    struct mp_command c = {.size = sizeof c, .name = "twice", .help = "answers twice", .run = on_command};
    (void)o, (void)state;
    twice.self = self;
    twice.mp = mp;
    twice.call = NULL;
    int rc = mp->action(self, &a);
    rc = rc == MP_OK ? mp->route(self, &r) : rc;
    rc = rc == MP_OK ? mp->command(self, &c) : rc;
    return rc == MP_OK ? mp->auth(self, ask, NULL) : rc;
}

MP_PLUGIN = {MP_PLUGIN_HEAD,    .name = "wrong_twice", .version = "1",
             .summary = "test", .auth_mode = "twice",  .init = init};
