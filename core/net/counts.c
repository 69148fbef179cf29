#include "core/net/counts.h"

#include "core/base/log.h"
#include "core/net/counts_private.h"
#include "core/net/net_private.h"

_Static_assert((int)NET_CLOSES == (int)CLOSE_PEER + 1, "each reason has its counter");

const char *net_limit_name(enum net_limit limit)
{
    static const char *const names[NET_LIMITS] = {[LIMIT_CONNECTIONS] = "connections",
                                                  [LIMIT_PER_IP] = "connections_per_ip",
                                                  [LIMIT_BEFORE_LOGIN] = "before_login",
                                                  [LIMIT_DESCRIPTORS] = "descriptors",
                                                  [LIMIT_MEMORY] = "memory"};
    return names[limit];
}

const char *net_stage_name(enum net_stage stage)
{
    static const char *const names[NET_STAGES] = {
        [STAGE_PROXY] = "proxy", [STAGE_TLS] = "tls", [STAGE_HTTP] = "http", [STAGE_LOGIN] = "login"};
    return names[stage];
}

void count_refused(struct net *net, enum net_limit limit)
{
    net->counts.refused[limit]++;
    log_event(LOG_DEBUG, "conn.refused", LOG_STR("limit", net_limit_name(limit)));
}

void count_unopened(struct net *net, const struct conn *c)
{
    if (c->inner & (CONN_I_OPENED | CONN_I_REFUSED))
        return;
    if (c->state == CONN_ST_PROXY)
        net->counts.lost[STAGE_PROXY]++;
    else if (c->state == CONN_ST_SHAKE)
        net->counts.lost[STAGE_TLS]++;
    else if (c->state == CONN_ST_HEAD && !(c->flags & CONN_F_METRICS))
        net->counts.lost[STAGE_HTTP]++;
}

void count_closed(struct net *net, const struct conn *c)
{
    net->counts.closed[c->reason]++;
    if (!(c->flags & (CONN_F_READY | CONN_F_RAW)))
        net->counts.lost[STAGE_LOGIN]++;
}

void net_get_counts(const struct net *net, struct net_counts *out)
{
    *out = net->counts;
}
