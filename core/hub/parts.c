#include "core/hub/parts.h"

#include "core/base/clock.h"
#include "core/hub/act/guest.h"
#include "core/hub/act/login.h"
#include "core/hub/act/recover.h"
#include "core/hub/act/resync.h"
#include "core/hub/act/roam.h"
#include "core/hub/door.h"
#include "core/hub/host/host_delete.h"
#include "core/hub/host/host_op.h"
#include "core/hub/people/ban.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/copy.h"
#include "core/hub/people/grant.h"
#include "core/hub/people/trace.h"
#include "core/hub/people/user.h"
#include "core/hub/people/watch.h"
#include "core/hub/registry/route.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shard.h"
#include "core/hub/shard/token.h"
#include "core/hub/shard/why.h"
#include "core/hub/talk/conv.h"
#include "core/hub/talk/interest.h"
#include "core/hub/talk/news.h"
#include "core/hub/talk/offline.h"
#include "core/hub/talk/walk.h"
#include "core/hub/turn.h"
#include "core/net/net.h"
#include "storage/bus.h"

#include <stdlib.h>

static void user_left(struct shard *s, uint32_t user)
{
    const struct user *u = user_at(s, user);
    if (u->guest && u->state == USER_READY) /* else it is being deleted */
        guest_left(s, user);
    news_left(s, user_id(u));
    roam_left(s, user);
}

/* What each room hears of the rooms below it. */
static const struct shard_events events = {.modes_changed = interest_changed,
                                           .user_settled = host_unpark,
                                           .user_left = user_left,
                                           .message_arrived = login_missed,
                                           .arrived = arrival_heard,
                                           .membership_ended = login_stale,
                                           .user_overtaken = resync_overtaken,
                                           .members_noted = roam_noted};

struct shard *shard_new(struct hub *hub, unsigned index)
{
    struct shard *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->hub = hub;
    s->index = index;
    s->store = hub->store;
    s->bus = store_bus(hub->store);
    s->events = &events;
    s->box = hub->box;
    atomic_fetch_add(&hub->box->refs, 1);
    s->opt = &hub->box->opt;
    s->tables = hub->tables;
    atomic_fetch_add(&hub->tables->refs, 1);
    s->now_ms = clock_mono_ms();
    mailbox_init(&s->mailbox, turn_wake, s);
    s->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOSIGMASK);
    claims_init(s);
    if (users_init(s) || chans_init(s) || convs_init(s) || token_key_set(&s->token_key, s->opt->secret) || !s->loop ||
        news_init(s))
        goto fail;
    s->net = net_new(s->loop, hub->shared, &s->opt->net, &hub_door, s);
    if (!s->net)
        goto fail;
    turn_start(s);
    return s;
fail:
    shard_free(s);
    return NULL;
}

void shard_free(struct shard *s)
{
    if (!s)
        return;
    if (s->net)
        net_free(s->net);
    grants_fini(s);
    pool_fini(&s->claims);
    deletions_free(s);
    bans_free(s);
    traces_free(s);
    why_free(s);
    missed_free(s);
    walks_fini(s);
    chans_fini(s);
    convs_fini(s);
    news_fini(s);
    free(s->far_seen);
    users_fini(s);
    watches_free(s);
    copies_free(s);
    recover_free(s);
    free(s->roaming);
    if (s->loop)
        ev_loop_destroy(s->loop);
    mailbox_fini(&s->mailbox);
    buf_free(&s->scratch);
    buf_free(&s->hook_content);
    buf_free(&s->hook_message);
    token_key_fini(&s->token_key);
    options_drop(s->box);
    tables_drop(s->tables);
    free(s);
}
