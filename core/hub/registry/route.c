#include "core/hub/registry/route.h"

#include "core/base/frame.h"
#include "core/base/log.h"
#include "core/hub/registry/health.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shard.h"
#include "core/net/http.h"
#include "core/net/http_conn.h"
#include "core/net/send.h"

/* --- The tables --------------------------------------------------------------------------------------------------- */

/* The server's own, before all others. */
static const struct route own[] = {
    {.method = "GET", .path = "/health", .metrics = true, .any_host = true, .handle = health_serve},
    {.method = "GET", .path = "/ready", .metrics = true, .any_host = true, .handle = ready_serve},
};

/* What may stand in a path as a browser sends it. */
static bool path_good(const char *path, size_t max)
{
    size_t n = strnlen(path, max);
    for (size_t i = 0; i < n; i++)
        if (path[i] <= ' ' || path[i] >= 0x7f || strchr("?#*\"<>", path[i]))
            return false;
    return n > 0 && n < max && path[0] == '/';
}

int route_register(struct hub *hub, const struct route *r)
{
    struct tables *t = hub->draft;
    if (!t || !r->handle || !r->owner || r->body_max > ROUTE_BODY_MAX || !path_good(r->path, sizeof r->path) ||
        strnlen(r->method, sizeof r->method) == sizeof r->method)
        return ERR_INVALID;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!r->prefix && strcmp(own[i].path, r->path) == 0)
            return ERR_EXISTS;
    for (uint32_t i = 0; i < t->route_count; i++)
        if (t->routes[i].prefix == r->prefix && strcmp(t->routes[i].path, r->path) == 0 &&
            strcmp(t->routes[i].method, r->method) == 0)
            return ERR_EXISTS;
    if (t->route_count == ROUTES)
        return ERR_FULL;
    t->routes[t->route_count++] = *r;
    return 0;
}

int upgrade_register(struct hub *hub, const struct upgrade *u)
{
    struct tables *t = hub->draft;
    if (!t || !u->message || !u->owner || u->message_max > ROUTE_BODY_MAX || !path_good(u->path, sizeof u->path))
        return ERR_INVALID;
    for (uint32_t i = 0; i < t->upgrade_count; i++)
        if (strcmp(t->upgrades[i].path, u->path) == 0)
            return ERR_EXISTS;
    if (t->upgrade_count == UPGRADES)
        return ERR_FULL;
    t->upgrades[t->upgrade_count++] = *u;
    return 0;
}

static bool path_matches(const struct route *r, struct slice path)
{
    size_t n = strlen(r->path);
    return r->prefix ? path.n >= n && memcmp(path.p, r->path, n) == 0 : path.n == n && memcmp(path.p, r->path, n) == 0;
}

static bool method_matches(const struct route *r, struct slice method)
{
    if (!r->method[0] || slice_eq(slice_str(r->method), method))
        return true;
    return strcmp(r->method, "GET") == 0 && slice_eq(method, SLICE_LIT("HEAD"));
}

/* An exact path before a prefix, a longer prefix before a shorter one. */
static bool better(const struct route *a, const struct route *b)
{
    return !b || (a->prefix != b->prefix ? !a->prefix : strlen(a->path) > strlen(b->path));
}

/* Whether a route is served where the connection came in. */
static bool is_served(const struct shard *s, const struct route *r, uint32_t conn)
{
    bool metrics = conn_at(s->net, conn)->flags & CONN_F_METRICS;
    return metrics ? r->metrics : !(r->metrics && s->hub->metrics_apart);
}

static const struct route *find(const struct shard *s, uint32_t conn, const struct http_head *h, bool *path_known)
{
    const struct tables *t = s->tables;
    const struct route *best = NULL;
    *path_known = false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (!path_matches(&own[i], h->path))
            continue;
        *path_known = true;
        return method_matches(&own[i], h->method) ? &own[i] : NULL;
    }
    for (uint32_t i = 0; i < t->route_count; i++) {
        const struct route *r = &t->routes[i];
        if (!path_matches(r, h->path) || !is_served(s, r, conn))
            continue;
        *path_known = true;
        if (method_matches(r, h->method) && better(r, best))
            best = r;
    }
    return best;
}

/* --- Requests ----------------------------------------------------------------------------------------------------- */

int32_t routes_wanted(void *owner, uint32_t conn, const struct http_head *h)
{
    const struct shard *s = owner;
    bool known;
    const struct route *r = find(s, conn, h, &known);
    if (r)
        return (int32_t)r->body_max;
    return known ? -405 : conn_at(s->net, conn)->flags & CONN_F_METRICS ? -404 : -426;
}

/* A page's script may ask here as if it were at home, and read the answer, when the page's name has come to mean this
 * machine. */
static void refuse_host(struct shard *s, uint32_t conn, uint32_t generation, const struct http_head *h)
{
    log_event(LOG_DEBUG, "http.refused", LOG_INT("status", 403), LOG_STR("because", "the host is not known"));
    route_answer(
        s, conn, generation, 403,
        SLICE_LIT("Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"),
        SLICE_LIT("this name is not known here: on a loopback address ask by IP address or localhost, or name its "
                  "origin in the server's config (origins)\n"),
        slice_eq(h->method, SLICE_LIT("HEAD")));
}

void routes_serve(void *owner, uint32_t conn, const struct http_head *h, struct slice body)
{
    struct shard *s = owner;
    bool known;
    uint32_t generation = conn_at(s->net, conn)->generation;
    /* Looked for anew: while the body came, the table may have been changed. */
    const struct route *r = find(s, conn, h, &known);
    if (!r || body.n > r->body_max) {
        route_answer(s, conn, generation, r ? 413 : 404, SLICE_NONE, SLICE_NONE, false);
        return;
    }
    bool foreign = !conn_knows_host(s->net, conn, h);
    if (foreign && !r->any_host) {
        refuse_host(s, conn, generation, h);
        return;
    }
    struct route_call q = {.shard = s,
                           .conn = conn,
                           .generation = generation,
                           .head = h,
                           .body = body,
                           .foreign = foreign,
                           .local = conn_is_local(s->net, conn, h),
                           .metrics = conn_at(s->net, conn)->flags & CONN_F_METRICS,
                           .secure = conn_by_tls(s->net, conn, h)};
    if (r->prefix)
        q.rest = slice_of(h->path.p + strlen(r->path), h->path.n - strlen(r->path));
    r->handle(&q, r->ctx);
}

void route_answer(struct shard *s, uint32_t conn, uint32_t generation, unsigned status, struct slice fields,
                  struct slice body, bool no_body)
{
    if (s->net)
        (void)conn_http_answer(s->net, conn, generation, status, fields, body, no_body);
}

/* --- Claimed paths ------------------------------------------------------------------------------------------------ */

/* A connection of one; conn.user_next is its index in shard.claims. It has a copy of the registration, which may be
 * taken back before it is closed. */
struct claim {
    struct upgrade upgrade;
    uint32_t conn, generation;
    bool opened; /* was called: `closed` is owed */
};

static struct claim *claim_at(const struct shard *s, uint32_t conn)
{
    uint32_t i = conn_at(s->net, conn)->user_next;
    return i == CONN_NONE ? NULL : pool_at(&s->claims, i);
}

void claims_init(struct shard *s)
{
    pool_init(&s->claims, sizeof(struct claim), 64);
}

bool upgrades_claim(void *owner, uint32_t conn, struct slice path)
{
    struct shard *s = owner;
    const struct tables *t = s->tables;
    for (uint32_t i = 0; i < t->upgrade_count; i++) {
        if (!slice_eq(slice_str(t->upgrades[i].path), path))
            continue;
        struct conn *k = conn_at(s->net, conn);
        uint32_t at = pool_alloc(&s->claims);
        if (at != POOL_NONE)
            *(struct claim *)pool_at(&s->claims, at) =
                (struct claim){.upgrade = t->upgrades[i], .conn = conn, .generation = k->generation};
        k->user_next = at; /* without memory it is closed in upgrades_opened() */
        return true;
    }
    return false;
}

uint32_t upgrades_limit(void *owner, const struct conn *c)
{
    const struct shard *s = owner;
    return c->user_next == CONN_NONE ? 125 : ((struct claim *)pool_at(&s->claims, c->user_next))->upgrade.message_max;
}

void upgrades_opened(struct shard *s, uint32_t conn)
{
    struct claim *c = claim_at(s, conn);
    if (!c || s->draining) {
        conn_close_raw(s->net, conn, c ? 1001 : 1011,
                       c ? SLICE_LIT("the server shuts down") : SLICE_LIT("the server is out of memory"));
        return;
    }
    c->opened = true;
    if (c->upgrade.opened)
        c->upgrade.opened(s, conn, c->generation, c->upgrade.ctx);
}

void upgrades_message(struct shard *s, uint32_t conn, bool text, struct slice data)
{
    const struct claim *c = claim_at(s, conn);
    if (c)
        c->upgrade.message(s, conn, c->generation, text, data, c->upgrade.ctx);
}

void upgrades_closing(struct shard *s, uint32_t conn)
{
    struct claim *c = claim_at(s, conn);
    if (!c)
        return;
    struct claim copy = *c;
    pool_free(&s->claims, conn_at(s->net, conn)->user_next);
    conn_at(s->net, conn)->user_next = CONN_NONE;
    if (copy.opened && copy.upgrade.closed)
        copy.upgrade.closed(s, conn, copy.generation, copy.upgrade.ctx);
}

/* The connection of a handle, when it is of a claimed path. */
static struct conn *find_raw(const struct shard *s, uint32_t conn, uint32_t generation)
{
    struct conn *k = s->net ? conn_find(s->net, conn, generation) : NULL;
    return k && k->flags & CONN_F_RAW && !(k->flags & CONN_F_CLOSING) ? k : NULL;
}

int upgrade_send(struct shard *s, uint32_t conn, uint32_t generation, bool text, struct slice data)
{
    if (!find_raw(s, conn, generation))
        return ERR_CLOSED;
    return conn_send_claimed(s->net, conn, text, data);
}

void upgrade_close(struct shard *s, uint32_t conn, uint32_t generation, uint16_t code, struct slice reason)
{
    if (find_raw(s, conn, generation))
        conn_close_raw(s->net, conn, code, reason);
}

void upgrades_close(struct shard *s, const void *owner)
{
    for (uint32_t i = pool_next(&s->claims, 0); i != POOL_NONE; i = pool_next(&s->claims, i + 1)) {
        const struct claim *c = pool_at(&s->claims, i);
        if (c->upgrade.owner == owner)
            upgrade_close(s, c->conn, c->generation, 1001, SLICE_LIT("this path is no longer served"));
    }
}
