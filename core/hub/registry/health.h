/*
 * GET /health and GET /ready, for those who watch over the server or spread clients over several: built in, on every
 * HTTP port, without credentials. Shard threads.
 */
#ifndef MAGPIE_HUB_HEALTH_H
#define MAGPIE_HUB_HEALTH_H

struct route_call;

/* 200 as long as the process serves. */
void health_serve(const struct route_call *q, void *ctx);
/* 200 when clients may be sent here; 503 while it starts or drains, or the store refuses writes, and says which. */
void ready_serve(const struct route_call *q, void *ctx);

#endif
