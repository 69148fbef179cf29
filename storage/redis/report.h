/*
 * What is told of the cluster: once a second a snapshot of what the engine knows, for any thread, and every two seconds
 * what each master says of its replicas and its memory. Engine's thread, but for report_read().
 */
#ifndef MAGPIE_STORAGE_REDIS_REPORT_H
#define MAGPIE_STORAGE_REDIS_REPORT_H

#include "core/base/err.h"
#include "storage/cluster.h"

struct redis;

/* ERR_NOMEM. */
MUST_CHECK int report_init(struct redis *r);
void report_fini(struct redis *r);
/* Now and then. */
void report_tick(struct redis *r);
/* Any thread. */
void report_read(struct redis *r, struct cluster_figures *out);
/* Any thread: whether some master has been out of reach for cluster.isolated, or this node is cut off, or was taken for
 * dead and is not back yet. */
bool report_isolated(struct redis *r);

#endif
