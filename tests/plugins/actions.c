/* ABI area: actions and pushes. 1000 answers at once, 1001 from a worker, 1002 before login, 1003 never, 1004 pushes,
 * 1005 answers what is no object. */
#include "plugins/magpie_plugin.h"

static struct {
    mp_self *self;
    const struct mp_api *mp;
} actions;

static void at_once(mp_call *call, const struct mp_request *r, void *ctx)
{
    const struct mp_api *mp = actions.mp;
    struct mp_str text = {NULL, 0};
    (void)ctx;
    if (mp->json_text(r->body, "text", &text) < 0) {
        mp->answer_error(call, MP_CODE_BAD_REQUEST, "text: expected a text", 0);
        return;
    }
    mp_out *o = mp->out_new(actions.self);
    mp->out_put(o, mp_str("{\"user\":"));
    mp->out_json(o, r->user);
    mp->out_put(o, mp_str(",\"name\":"));
    mp->out_json(o, r->user_name);
    mp->out_put(o, mp_str(",\"text\":"));
    mp->out_json(o, text);
    mp->out_printf(o, ",\"action\":%u}", r->action);
    mp->answer(call, mp->out_str(o));
    mp->out_free(o);
}

static void on_worker(void *ctx)
{
    actions.mp->answer(ctx, mp_str("{\"from\":\"worker\"}"));
}

static void later(mp_call *call, const struct mp_request *r, void *ctx)
{
    (void)ctx;
    if (actions.mp->work(actions.self, on_worker, r->shard, NULL, call) != MP_OK)
        actions.mp->answer_error(call, MP_CODE_UNAVAILABLE, "no worker", 0);
}

static void before_login(mp_call *call, const struct mp_request *r, void *ctx)
{
    (void)ctx;
    actions.mp->answer(call, mp_str(r->user.n ? "{\"known\":true}" : "{\"known\":false}"));
}

static void never(mp_call *call, const struct mp_request *r, void *ctx)
{
    (void)call, (void)r, (void)ctx;
}

static void pushes(mp_call *call, const struct mp_request *r, void *ctx)
{
    const struct mp_api *mp = actions.mp;
    (void)ctx;
    if (mp->push_user(actions.self, r->user, 1500, mp_str("{\"to\":\"user\"}")) != MP_OK ||
        mp->push_conn(actions.self, r->conn, 1501, mp_str("{\"to\":\"connection\"}")) != MP_OK ||
        mp->push_conn(actions.self, r->conn, 102, mp_str("{}")) != MP_EINVALID ||
        mp->push_user(actions.self, r->user, 1500, mp_str("[]")) != MP_EINVALID)
        mp->answer_error(call, MP_CODE_INTERNAL, "a push went wrong", 0);
    else
        mp->answer(call, mp_str(""));
}

static void no_object(mp_call *call, const struct mp_request *r, void *ctx)
{
    (void)r, (void)ctx;
    actions.mp->answer(call, mp_str("[1]"));
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    void (*const handlers[])(mp_call *, const struct mp_request *, void *) = {at_once, later,  before_login,
                                                                              never,   pushes, no_object};
    int rc = MP_OK;
    (void)o, (void)state;
    actions.self = self;
    actions.mp = mp;
    for (unsigned i = 0; i < sizeof handlers / sizeof *handlers && rc == MP_OK; i++) {
        struct mp_action a = {
            .size = sizeof a, .number = (uint16_t)(1000 + i), .before_login = i == 2, .handle = handlers[i]};
        rc = mp->action(self, &a);
    }
    struct mp_action wrong = {.size = sizeof wrong, .number = 999, .handle = never};
    if (rc == MP_OK && mp->action(self, &wrong) != MP_EINVALID)
        return MP_EINVALID;
    wrong.number = 1000;
    return rc == MP_OK && mp->action(self, &wrong) != MP_EEXISTS ? MP_EINVALID : rc;
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "actions", .version = "1", .summary = "test: actions", .init = init};
