#include "core/hub/ears.h"

#include "core/hub/act/heard.h"
#include "core/hub/host/ordered.h"
#include "core/hub/shard/nodes.h"
#include "core/hub/shard/note_ears.h"
#include "core/hub/shard/shard.h"
#include "core/hub/talk/news.h"
#include "storage/bus.h"

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

static void reset(void *ctx, const uint8_t parts[BUS_PARTS])
{
    news_reset(ctx, parts);
}

/* --- All of it ---------------------------------------------------------------------------------------------------- */

void ears_begin(struct hub *hub)
{
    struct bus *bus = store_bus(hub->store);
    if (bus)
        bus_listen(bus, &(struct bus_ears){.ctx = hub,
                                           .heard = heard,
                                           .reset = reset,
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
