/*
 * What a net counts of connections' beginnings and ends, since it was made: who was refused, who never became a client,
 * and why the others have gone. Every way in and out goes through one of these counters.
 */
#ifndef MAGPIE_NET_COUNTS_H
#define MAGPIE_NET_COUNTS_H

#include <stdint.h>

struct net;

/* The limit for which a connection was not taken, or not kept before its login. */
enum net_limit {
    LIMIT_CONNECTIONS,
    LIMIT_PER_IP,
    LIMIT_BEFORE_LOGIN, /* memory of unfinished messages and requests */
    LIMIT_DESCRIPTORS,
    LIMIT_MEMORY,
    NET_LIMITS
};

/* Where a connection ended that did not become a client: it never logged in, asked for no page and was no plugin's. */
enum net_stage {
    STAGE_PROXY, /* before the PROXY header of a trusted peer was there */
    STAGE_TLS,   /* in the TLS handshake */
    STAGE_HTTP,  /* its request was incomplete, or refused */
    STAGE_LOGIN, /* open, and not logged in */
    NET_STAGES
};

enum { NET_CLOSES = 8 /* one for each enum close_reason */ };

struct net_counts {
    uint64_t refused[NET_LIMITS];
    uint64_t lost[NET_STAGES];
    uint64_t closed[NET_CLOSES]; /* connections that were `opened`, by enum close_reason */
    uint64_t unframed;           /* protocol errors of framing, answered with bad_request … */
    uint64_t oversized;          /* … and too_large */
};

/* "connections", "connections_per_ip" …; "proxy", "tls" … Static storage. */
const char *net_limit_name(enum net_limit limit);
const char *net_stage_name(enum net_stage stage);
/* The net's thread. */
void net_get_counts(const struct net *net, struct net_counts *out);

#endif
