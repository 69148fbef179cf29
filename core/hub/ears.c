#include "core/hub/ears.h"

#include "core/hub/act/heard.h"
#include "core/hub/act/recover.h"
#include "core/hub/host/ordered.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/note_ears.h"
#include "core/hub/shard/shard.h"
#include "core/hub/talk/news.h"
#include "storage/bus.h"

#include <stdlib.h>
#include <time.h>

/* --- News --------------------------------------------------------------------------------------------------------- */

static void user_news(void *owner, struct mail *m)
{
    user_heard(owner, (struct bus_news *)m);
}

/* On the bus's thread. Mails of one poster arrive in order, so news of one conversation, or user, do. */
static void heard(void *ctx, struct bus_news *n)
{
    struct hub *hub = ctx;
    bool of_user = n->kind >= NEWS_MEMBER;
    n->mail.run = of_user ? user_news : news_heard;
    mailbox_post(&shard_of(hub, of_user ? n->user : n->conv)->mailbox, &n->mail);
}

/* --- For every shard ---------------------------------------------------------------------------------------------- */

struct shard_mail {
    struct mail mail;
    enum bus_event what; /* of an event */
    uint8_t parts[BUS_PARTS];
};

/* None may be lost, or a shard would stay as it is for ever: memory is waited for. */
static void to_shards(struct hub *hub, const struct shard_mail *m)
{
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct shard_mail *copy;
        while (!(copy = malloc(sizeof *copy)))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        *copy = *m;
        mailbox_post(&hub->shards[i]->mailbox, &copy->mail);
    }
}

static void shard_reset(void *owner, struct mail *m)
{
    recover_users(owner, ((struct shard_mail *)m)->parts);
    free(m);
}

static void reset(void *ctx, const uint8_t parts[BUS_PARTS])
{
    struct shard_mail m = {.mail.run = shard_reset};
    memcpy(m.parts, parts, sizeof m.parts);
    to_shards(ctx, &m);
    news_reset(ctx, parts);
}

static void shard_event(void *owner, struct mail *m)
{
    recover_event(owner, ((struct shard_mail *)m)->what);
    free(m);
}

static void event(void *ctx, enum bus_event what, uint64_t node)
{
    struct hub *hub = ctx;
    (void)node;
    if (what == BUS_ISOLATED || what == BUS_REJOINED)
        atomic_store_explicit(&hub->isolated, what == BUS_ISOLATED, memory_order_relaxed);
    to_shards(hub, &(struct shard_mail){.mail.run = shard_event, .what = what});
}

/* --- All of it ---------------------------------------------------------------------------------------------------- */

void ears_begin(struct hub *hub)
{
    struct bus *bus = store_bus(hub->store);
    if (bus)
        bus_listen(bus, &(struct bus_ears){.ctx = hub,
                                           .heard = heard,
                                           .reset = reset,
                                           .event = event,
                                           .ordered = ordered_arrive,
                                           .called = nodes_called,
                                           .noted = notes_noted});
}

void ears_end(struct hub *hub)
{
    struct bus *bus = store_bus(hub->store);
    if (bus)
        bus_listen(bus, NULL);
}
