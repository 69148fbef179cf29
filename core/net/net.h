/* A net: the connections of one loop, made and ended together. On its thread, or before it runs. */
#ifndef MAGPIE_NET_NET_H
#define MAGPIE_NET_NET_H

#include "core/net/conn.h"

/* loop, shared and limits' strings are borrowed and must outlive the net. NULL: out of memory or of descriptors. */
struct net *net_new(struct ev_loop *loop, struct net_shared *shared, const struct net_limits *limits,
                    const struct net_ops *ops, void *owner);
/* Closes every connection without a word (`closed` is called), frees all. */
void net_free(struct net *net);
/* Makes a row of streams (stream.h) known, which is borrowed and outlives the net. Before it listens with it, and
 * before connections of it are attached. ERR_INVALID: no such number is free for use. */
MUST_CHECK int net_set_stream(struct net *net, unsigned number, const struct stream *row);
void net_configure(struct net *net, const struct net_limits *limits);
uint32_t net_count(const struct net *net);
/* Memory for connections, buffers and queues, bytes. */
uint64_t net_memory(const struct net *net);
/* Bytes read from and written to sockets since it was made. */
void net_traffic(const struct net *net, uint64_t *in, uint64_t *out);
/* What was compressed and inflated since it was made, each message once, whoever was sent it. */
struct net_packing {
    uint64_t deflate_in, deflate_out, inflate_in, inflate_out; /* bytes */
};
void net_packing(const struct net *net, struct net_packing *out);
/* Connections that wait for the next flush. */
uint32_t net_unsent(const struct net *net);
/* Writes out what is queued now, without waiting for the loop to go to sleep. */
void net_flush(struct net *net);

#endif
