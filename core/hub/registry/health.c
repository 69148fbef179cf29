#include "core/hub/registry/health.h"

#include "core/hub/registry/route.h"
#include "core/hub/shard/shard.h"
#include "core/net/http.h"
#include "storage/store.h"

static void answer(const struct route_call *q, unsigned status, const char *text)
{
    route_answer(q->shard, q->conn, q->generation, status,
                 SLICE_LIT("Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
                           "Cache-Control: no-store\r\n"),
                 slice_str(text), slice_eq(q->head->method, SLICE_LIT("HEAD")));
}

void health_serve(const struct route_call *q, void *ctx)
{
    (void)ctx;
    answer(q, 200, "ok\n");
}

void ready_serve(const struct route_call *q, void *ctx)
{
    (void)ctx;
    struct store_stats store;
    struct hub *hub = q->shard->hub;
    unsigned state = atomic_load_explicit(&hub->state, memory_order_relaxed);
    store_get_stats(hub->store, &store);
    if (state != HUB_SERVING)
        answer(q, 503, state == HUB_STARTING ? "starting\n" : "draining\n");
    else if (atomic_load_explicit(&hub->isolated, memory_order_relaxed))
        answer(q, 503, "isolated\n");
    else if (store.failing)
        answer(q, 503, "the store refuses writes\n");
    else
        answer(q, 200, "ok\n");
}
