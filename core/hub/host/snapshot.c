#include "core/hub/host/snapshot.h"

#include "core/hub/people/chan.h"
#include "core/hub/people/session.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/why.h"
#include "core/hub/talk/conv.h"
#include "core/net/send.h"

#include <math.h>
#include <stdio.h>

static void fill_conn(struct shard *s, uint32_t i, struct snapshot_conn *out, char ip[64])
{
    const struct conn *k = conn_at(s->net, i);
    const struct session *x = k->session;
    conn_peer(s->net, i, ip, 64);
    *out = (struct snapshot_conn){.shard = s->index,
                                  .conn = i,
                                  .generation = k->generation,
                                  .ip = ip,
                                  .transport = conn_transport_name(k->transport == CONN_WEBSOCKET, conn_is_secure(k)),
                                  .form = conn_form(s->net, i),
                                  .compression = conn_compression(s->net, i),
                                  .device = x ? x->device : NULL,
                                  .queued = conn_queued(s->net, i),
                                  .silent = conn_silent(s->net, i),
                                  .inflight = x ? x->inflight : 0,
                                  .slow = k->flags & CONN_F_SOFT,
                                  .closing = k->flags & CONN_F_CLOSING,
                                  .merge = k->flags & CONN_F_MERGE};
    if (k->user != NONE) {
        out->user = user_id(user_at(s, k->user));
        out->name = user_name(user_at(s, k->user));
    }
}

uint32_t snapshot_conns(struct shard *s, uint32_t from, bool (*fn)(void *ctx, const struct snapshot_conn *c), void *ctx)
{
    char ip[64];
    struct snapshot_conn c;
    uint32_t i = s->net ? net_next(s->net, from) : CONN_NONE;
    for (unsigned n = 0; i != CONN_NONE && n < SNAPSHOT_STEP; n++) {
        fill_conn(s, i, &c, ip);
        if (!fn(ctx, &c))
            break;
        i = net_next(s->net, i + 1);
    }
    return i;
}

uint32_t snapshot_slow(struct shard *s, uint32_t from, void (*fn)(void *ctx, const struct snapshot_conn *c), void *ctx)
{
    enum { STEP = 16 * SNAPSHOT_STEP }; /* most cost a glance */
    char ip[64];
    struct snapshot_conn c;
    uint32_t i = s->net ? net_next(s->net, from) : CONN_NONE;
    for (unsigned n = 0; i != CONN_NONE && n < STEP; n++, i = net_next(s->net, i + 1)) {
        if (!conn_queued(s->net, i) && !(conn_at(s->net, i)->flags & CONN_F_SOFT))
            continue;
        fill_conn(s, i, &c, ip);
        fn(ctx, &c);
    }
    return i;
}

uint32_t snapshot_users(struct shard *s, uint32_t from, bool (*fn)(void *ctx, const struct snapshot_user *u), void *ctx)
{
    uint32_t i = pool_next(&s->users, from);
    for (unsigned n = 0; i != POOL_NONE && n < SNAPSHOT_STEP; n++) {
        const struct user *u = user_at(s, i);
        struct snapshot_user out = {
            .user = user_id(u), .name = user_name(u), .channels = u->sub_count, .guest = u->guest};
        for (uint32_t c = u->first_conn; c != NONE; c = conn_at(s->net, c)->user_next)
            out.connections++;
        /* One that is only loaded for a moment is not online. */
        if (out.connections && !fn(ctx, &out))
            break;
        i = pool_next(&s->users, i + 1);
    }
    return i;
}

static void fill_channel(const struct shard *s, const struct conv *v, struct snapshot_channel *out)
{
    static const char *const pushes[] = {
        [MODE_DEFAULT] = "all", [MODE_ALL] = "all", [MODE_MERGED] = "merged", [MODE_NONE] = "none"};
    *out = (struct snapshot_channel){.channel = conv_channel_name(conv_slice(v)),
                                     .loaded = v->state == CONV_READY,
                                     .members = v->members,
                                     .tier = v->tier == TIER_LARGE ? "large" : "small",
                                     .push = pushes[conv_default_push(v)],
                                     .rate = conv_rate_now(s, v)};
}

uint32_t snapshot_channels(struct shard *s, uint32_t from, bool (*fn)(void *ctx, const struct snapshot_channel *c),
                           void *ctx)
{
    uint32_t i = pool_next(&s->convs, from);
    for (unsigned n = 0; i != POOL_NONE && n < SNAPSHOT_STEP; n++) {
        const struct conv *v = conv_at(s, i);
        if (conv_is_channel(conv_slice(v)) && (v->state != CONV_READY || v->exists)) {
            struct snapshot_channel out;
            fill_channel(s, v, &out);
            if (!fn(ctx, &out))
                break;
        }
        i = pool_next(&s->convs, i + 1);
    }
    return i;
}

bool snapshot_channel(struct shard *s, struct slice channel, struct snapshot_channel *out)
{
    struct conv_key key = conv_key_channel(channel);
    struct slice k = conv_key_slice(&key);
    uint32_t i = table_find(&s->conv_keys, hash_bytes(k), &k);
    if (i == TABLE_NONE)
        return false;
    fill_channel(s, conv_at(s, i), out);
    out->channel = channel;
    return true;
}

uint32_t snapshot_channel_online(const struct shard *s, struct slice channel)
{
    uint32_t i = chan_find(s, channel), n = 0;
    const struct chan *ch = i != TABLE_NONE ? chan_at(s, i) : NULL;
    for (uint32_t m = 0; ch && m < ch->member_count; m++)
        n += ch->members[m].conn != NONE;
    return n;
}

void snapshot_membership(struct shard *s, struct slice user, uint64_t conv_hash, struct snapshot_membership *out)
{
    *out = (struct snapshot_membership){.found = false};
    uint32_t u = user_find(s, user);
    for (uint32_t i = u != NONE ? user_at(s, u)->first_sub : NONE; i != NONE;) {
        const struct sub *b = pool_at(&s->subs, i);
        const struct chan *ch = chan_at(s, b->chan);
        if (why_channel(chan_name(ch)) == conv_hash) {
            bool fresh = ch->members[b->pos].conn != NONE && ch->members[b->pos].conn & MEMBER_FRESH;
            out->found = true;
            out->push = b->push;
            out->since = fresh ? b->since : 0;
            memcpy(out->channel, ch->name, ch->name_len);
            return;
        }
        i = b->next;
    }
}

bool snapshot_conn(struct shard *s, uint32_t conn, uint32_t generation,
                   void (*fn)(void *ctx, const struct snapshot_conn *c), void *ctx)
{
    char ip[64];
    struct snapshot_conn c;
    if (!s->net || !conn_find(s->net, conn, generation))
        return false;
    fill_conn(s, conn, &c, ip);
    fn(ctx, &c);
    return true;
}

void snapshot_user_conns(struct shard *s, struct slice user, void (*fn)(void *ctx, const struct snapshot_conn *c),
                         void *ctx)
{
    char ip[64];
    struct snapshot_conn c;
    uint32_t u = s->net ? user_find(s, user) : NONE;
    for (uint32_t i = u != NONE ? user_at(s, u)->first_conn : NONE; i != NONE; i = conn_at(s->net, i)->user_next) {
        fill_conn(s, i, &c, ip);
        fn(ctx, &c);
    }
}

void snapshot_handle(char out[40], unsigned shard, uint32_t conn, uint32_t generation)
{
    snprintf(out, 40, "%u.%u.%u", shard, conn, generation);
}

bool snapshot_handle_parse(struct slice text, unsigned *shard, uint32_t *conn, uint32_t *generation)
{
    uint64_t part[3] = {0};
    unsigned n = 0;
    bool digit = false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '.' && digit && n < 2) {
            n++;
            digit = false;
        } else if (text.p[i] >= '0' && text.p[i] <= '9' && part[n] <= UINT32_MAX) {
            part[n] = part[n] * 10 + (uint64_t)(text.p[i] - '0');
            digit = true;
        } else {
            return false;
        }
    }
    *shard = (unsigned)part[0];
    *conn = (uint32_t)part[1];
    *generation = (uint32_t)part[2];
    return n == 2 && digit && part[0] <= UINT16_MAX && part[1] < UINT32_MAX && part[2] <= UINT32_MAX;
}
