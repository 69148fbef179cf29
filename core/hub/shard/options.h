/*
 * What the hub is told by the config. Immutable once handed over: a reload makes a new one (hub_reconfigure) and every
 * shard swaps its pointer between two turns of its loop.
 */
#ifndef MAGPIE_HUB_OPTIONS_H
#define MAGPIE_HUB_OPTIONS_H

#include "core/net/conn.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stdint.h>

enum rate_policy { RATE_DROP, RATE_COMPLETE };
enum channels_create { CREATE_ANY, CREATE_SCRIPT, CREATE_NONE };
enum channels_send { SEND_MEMBERS, SEND_ANY };

struct hub_options {
    /* limits.frame, output_queue, output_total, connections, connections_per_ip; timeouts.login, ping, idle; origins;
     * listen.protocols */
    struct net_limits net;
    char auth_mode[32];               /* "open", "script", or a provider's name */
    uint8_t secret[32];               /* key of resume tokens */
    uint32_t output_per_user;         /* limits.output_per_user, bytes; 0: no limit */
    uint32_t content_max;             /* limits.content, bytes */
    uint32_t page_max;                /* limits.page, bytes of a history or inbox page, a merged slice */
    uint32_t subscriptions_max;       /* limits.subscriptions, per user; 0: no limit */
    uint32_t channels_max;            /* limits.channels; 0: no limit */
    uint64_t guest_ms;                /* limits.guest; 0: guests are never forgotten */
    uint64_t recall_ms, edit_ms;      /* limits.recall, limits.edit; 0: no limit */
    enum channels_create create;      /* channels.create */
    enum channels_send send;          /* channels.send */
    uint32_t large_members;           /* tiers.large.members */
    uint32_t slice_ms;                /* push.slice_ms */
    uint32_t slice_max;               /* push.max */
    uint32_t rate_user, rate_channel; /* messages/s, 0: no limit */
    enum rate_policy rate_policy;
};

#endif
