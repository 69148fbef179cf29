/*
 * Routes: HTTP requests and WebSocket paths on the WebSocket port that layers above serve. Registered like actions,
 * through a draft of the tables (tables.h); called on shard threads.
 */
#ifndef MAGPIE_HUB_ROUTE_H
#define MAGPIE_HUB_ROUTE_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct http_head;
struct hub;
struct shard;

enum {
    ROUTES = 64,
    UPGRADES = 32,
    ROUTE_PATH_MAX = 128,
    ROUTE_METHOD_MAX = 16,
    ROUTE_BODY_MAX = 16 << 20 /* bytes of a request's body or of a claimed path's message, at most */
};

/* A request as a route gets it; all slices are borrowed for the call. */
struct route_call {
    struct shard *shard;
    uint32_t conn, generation;    /* for route_answer() */
    const struct http_head *head; /* core/net/http.h */
    struct slice rest;            /* of a route with a star: what the star stands for */
    struct slice body;
    bool foreign; /* under a name that may be a web page's; only with any_host */
    bool local;   /* from this machine, and no proxy speaks, as far as anything tells (conn_is_local) */
    bool metrics; /* it came by listen.metrics */
    bool secure;  /* the client spoke TLS, with us or with a trusted proxy (conn_by_tls) */
};

struct route {
    char method[ROUTE_METHOD_MAX]; /* "GET" (HEAD comes too); empty: all */
    char path[ROUTE_PATH_MAX];     /* "/metrics"; of a prefix: without the star */
    bool prefix;                   /* all paths that begin so; the longest match is taken, an exact one before all */
    bool metrics;                  /* served on listen.metrics where that is set, and then nowhere else */
    bool any_host;                 /* it asks for credentials: gets requests under any name (conn_knows_host) */
    uint32_t body_max;             /* bytes */
    /* Must be answered with route_answer(), now or later; after a minute the net answers 504 by itself. */
    void (*handle)(const struct route_call *q, void *ctx);
    void *ctx;
    const void *owner; /* who registered it; not NULL */
};

/* A path whose WebSockets are the registrar's own. */
struct upgrade {
    char path[ROUTE_PATH_MAX];
    uint32_t message_max; /* bytes */
    void (*opened)(struct shard *s, uint32_t conn, uint32_t generation, void *ctx);
    void (*message)(struct shard *s, uint32_t conn, uint32_t generation, bool text, struct slice data, void *ctx);
    void (*closed)(struct shard *s, uint32_t conn, uint32_t generation, void *ctx); /* once for each that was opened */
    void *ctx;
    const void *owner;
};

/* Into the draft. ERR_EXISTS: the same method and path, or the path, is taken; ERR_FULL; ERR_INVALID: no draft, or no
 * such path. */
MUST_CHECK int route_register(struct hub *hub, const struct route *r);
MUST_CHECK int upgrade_register(struct hub *hub, const struct upgrade *u);

/* The connection's shard. Answers a request; one that is gone is passed over. `fields`: whole header lines. */
void route_answer(struct shard *s, uint32_t conn, uint32_t generation, unsigned status, struct slice fields,
                  struct slice body, bool no_body);
/* The shard's own thread. To a connection of a claimed path. ERR_CLOSED: it is gone; ERR_NOMEM. */
int upgrade_send(struct shard *s, uint32_t conn, uint32_t generation, bool text, struct slice data);
void upgrade_close(struct shard *s, uint32_t conn, uint32_t generation, uint16_t code, struct slice reason);
/* The shard's own thread: closes all connections of the owner's paths (1001); `closed` is called inside. */
void upgrades_close(struct shard *s, const void *owner);

/* --- For shard.c: what the net asks. --- */
int32_t routes_wanted(void *owner, uint32_t conn, const struct http_head *h);
void routes_serve(void *owner, uint32_t conn, const struct http_head *h, struct slice body);
bool upgrades_claim(void *owner, uint32_t conn, struct slice path);
uint32_t upgrades_limit(void *owner, const struct conn *c);
void upgrades_opened(struct shard *s, uint32_t conn);
void upgrades_message(struct shard *s, uint32_t conn, bool text, struct slice data);
void upgrades_closing(struct shard *s, uint32_t conn);

/* Makes the pool of claims. */
void claims_init(struct shard *s);

#endif
