/* ABI area: HTTP routes. /t/hello, POST /t/body (tells about the request), /t/later (a worker), /t/never, /t/bad (an
 * answer with a broken header). */
#include "plugins/magpie_plugin.h"

static struct {
    mp_self *self;
    const struct mp_api *mp;
} http;

static void text(mp_http *h, unsigned status, struct mp_str body)
{
    /* The last two are the server's to say too, but once. */
    static const struct mp_http_header extra[] = {
        {"X-Test", "yes"}, {"x-content-type-options", "nosniff"}, {"CONTENT-TYPE", "text/own"}};
    struct mp_http_answer a = {.size = sizeof a,
                               .status = status,
                               .content_type = "text/plain",
                               .headers = extra,
                               .header_count = sizeof extra / sizeof extra[0],
                               .body = body};
    http.mp->http_answer(h, &a);
}

static void hello(mp_http *h, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    (void)q, (void)shard, (void)ctx;
    text(h, 200, mp_str("hello"));
}

static void body(mp_http *h, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    const struct mp_api *mp = http.mp;
    mp_out *o = mp->out_new(http.self);
    char param[32], rest[32];
    (void)shard, (void)ctx;
    int n = mp->http_param(h, "q", param, sizeof param);
    int m = mp->url_decode(q->rest, rest, sizeof rest);
    struct mp_str header = mp->http_header(h, "x-HEADER");
    mp->out_printf(o, "%.*s %.*s rest=%s bearer=%.*s q=%s header=%.*s body=%zu:", (int)q->method.n, q->method.p,
                   (int)q->path.n, q->path.p, m < 0 ? "?" : rest, (int)q->bearer.n, q->bearer.p ? q->bearer.p : "",
                   n < 0 ? "?" : param, (int)header.n, header.p ? header.p : "", q->body.n);
    mp->out_put(o, q->body);
    text(h, 201, mp->out_str(o));
    mp->out_free(o);
}

static void on_worker(void *ctx)
{
    text(ctx, 200, mp_str("later"));
}

static void later(mp_http *h, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    (void)q, (void)ctx;
    if (http.mp->work(http.self, on_worker, shard, NULL, h) != MP_OK)
        text(h, 503, mp_str("no worker"));
}

static void never(mp_http *h, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    (void)h, (void)q, (void)shard, (void)ctx;
}

static void bad(mp_http *h, const struct mp_http_request *q, mp_thread *shard, void *ctx)
{
    struct mp_http_header extra = {"X-Split", "a\r\nSet-Cookie: b"};
    struct mp_http_answer a = {.size = sizeof a, .status = 200, .headers = &extra, .header_count = 1};
    (void)q, (void)shard, (void)ctx;
    http.mp->http_answer(h, &a);
}

static int init(mp_self *self, const struct mp_api *mp, const mp_options *o, void **state)
{
    const struct mp_route routes[] = {
        {.size = sizeof(struct mp_route), .method = "GET", .path = "/t/hello", .handle = hello},
        {.size = sizeof(struct mp_route), .method = "POST", .path = "/t/body*", .body_max = 2000000, .handle = body},
        {.size = sizeof(struct mp_route), .method = "GET", .path = "/t/later", .handle = later},
        {.size = sizeof(struct mp_route), .path = "/t/never", .handle = never},
        {.size = sizeof(struct mp_route), .method = "GET", .path = "/t/bad", .handle = bad},
    };
    int rc = MP_OK;
    (void)o, (void)state;
    http.self = self;
    http.mp = mp;
    for (unsigned i = 0; i < sizeof routes / sizeof *routes && rc == MP_OK; i++)
        rc = mp->route(self, &routes[i]);
    return rc == MP_OK && mp->route(self, &routes[0]) != MP_EEXISTS ? MP_EINVALID : rc;
}

MP_PLUGIN = {MP_PLUGIN_HEAD, .name = "http", .version = "1", .summary = "test: routes", .init = init};
