#include "core/hub/hub.h"

#include "core/base/random.h"
#include "core/hub/act/acts.h"
#include "core/hub/act/guest.h"
#include "core/hub/ears.h"
#include "core/hub/host/ban_ear.h"
#include "core/hub/host/ban_ip.h"
#include "core/hub/host/host_announce.h"
#include "core/hub/host/host_delete.h"
#include "core/hub/parts.h"
#include "core/hub/people/ban.h"
#include "core/hub/registry/command.h"
#include "core/hub/registry/tables.h"
#include "core/hub/shard/shard.h"
#include "core/hub/shard/token.h"
#include "core/net/accept.h"
#include "core/net/listener.h"
#include "core/net/net.h"
#include "core/net/net_shared.h"
#include "storage/bus.h"

#include <stdlib.h>
#include <time.h>

/* A copy that owns its strings: one allocation, the lists of texts behind the options. */
static struct options_box *box_new(const struct hub_options *o)
{
    const char *const *const lists[] = {o->net.origins, o->net.protocols, o->net.proxies};
    enum { LISTS = sizeof lists / sizeof *lists };
    size_t n[LISTS] = {0}, pointers = 0, bytes = 0;
    for (size_t l = 0; l < LISTS; l++) {
        for (; lists[l] && lists[l][n[l]]; n[l]++)
            bytes += strlen(lists[l][n[l]]) + 1;
        pointers += n[l] + 1;
    }
    struct options_box *box = calloc(1, sizeof *box + pointers * sizeof(char *) + bytes);
    if (!box)
        return NULL;
    box->refs = 1;
    box->opt = *o;
    const char **list = (const char **)(box + 1);
    char *at = (char *)(list + pointers);
    const char *const **const copies[LISTS] = {&box->opt.net.origins, &box->opt.net.protocols, &box->opt.net.proxies};
    for (size_t l = 0; l < LISTS; l++) {
        *copies[l] = list;
        for (size_t i = 0; i < n[l]; i++) {
            *list++ = strcpy(at, lists[l][i]);
            at += strlen(at) + 1;
        }
        list++; /* NULL */
    }
    return box;
}

static void hub_destroy(struct hub *hub)
{
    for (unsigned i = 0; hub->shards && i < hub->shard_count; i++)
        shard_free(hub->shards[i]);
    free(hub->shards);
    tables_drop(hub->draft);
    tables_drop(hub->tables);
    free(hub->metrics);
    free(hub->left);
    commands_free(hub);
    hub_owners_free(hub);
    ban_ip_free(hub);
    net_shared_free(hub->shared);
    options_drop(hub->box);
    pthread_mutex_destroy(&hub->note_ears.lock);
    free(hub);
}

struct hub *hub_new(unsigned shards, struct store *store, const struct hub_options *options)
{
    struct hub *hub = calloc(1, sizeof *hub);
    if (!hub)
        return NULL;
    pthread_mutex_init(&hub->note_ears.lock, NULL);
    hub->shard_count = shards;
    hub->store = store;
    hub->box = box_new(options);
    hub->shared = net_shared_new();
    hub->shards = calloc(shards, sizeof *hub->shards);
    hub->left = store_bus(store) ? calloc(HUB_LEFT, sizeof *hub->left) : NULL;
    if (!hub->box || !hub->shared || !hub->shards || (store_bus(store) && !hub->left) || tables_begin(hub) != 0 ||
        acts_register(hub) != 0 || bans_register(hub) != 0)
        goto fail;
    hub->tables = hub->draft;
    hub->draft = NULL;
    for (unsigned i = 0; i < shards; i++)
        if (!(hub->shards[i] = shard_new(hub, i)))
            goto fail;
    if (figures_register(hub) != 0 || codes_register(hub) != 0)
        goto fail;
    if (ban_ear_begin(hub) != 0 || host_announce_begin(hub) != 0)
        goto fail;
    ban_ip_begin(hub);
    ears_begin(hub);
    return hub;
fail:
    hub_destroy(hub);
    return NULL;
}

int hub_set_stream(struct hub *hub, unsigned shard, unsigned number, const struct stream *row)
{
    return net_set_stream(hub->shards[shard]->net, number, row);
}

int hub_listen(struct hub *hub, const struct listener *l, enum conn_transport transport, unsigned stream)
{
    hub->metrics_apart |= transport == CONN_METRICS;
    for (unsigned i = 0; i < hub->shard_count && i < l->count; i++) {
        int rc = net_listen(hub->shards[i]->net, l->fds[i], transport, stream);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- Stopping ----------------------------------------------------------------------------------------------------- */

struct stop {
    struct mail mail;
};

static void stop_run(void *owner, struct mail *m)
{
    ev_break(((struct shard *)owner)->loop, EVBREAK_ALL);
    free(m);
}

static void join_all(struct hub *hub)
{
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct shard *s = hub->shards[i];
        struct stop *m;
        if (!s->running)
            continue;
        while (!(m = calloc(1, sizeof *m)))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        m->mail.run = stop_run;
        mailbox_post(&s->mailbox, &m->mail);
    }
    for (unsigned i = 0; i < hub->shard_count; i++) {
        if (hub->shards[i]->running)
            pthread_join(hub->shards[i]->thread, NULL);
        hub->shards[i]->running = false;
        hub->shards[i]->bunching = false; /* there are no turns any more */
    }
    store_kick(hub->store);
}

/* The threads are gone; what they left in the mailboxes, and what the store still answers, is dealt with here. */
void hub_pump(struct hub *hub)
{
    for (;;) {
        uint64_t left = 0;
        size_t ran = 0;
        for (unsigned i = 0; i < hub->shard_count; i++) {
            ran += mailbox_run(&hub->shards[i]->mailbox, hub->shards[i]);
            left += hub->shards[i]->ops;
        }
        if (ran == 0 && left == 0)
            return;
        if (ran == 0)
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
}

int hub_start(struct hub *hub)
{
    if (bans_load(hub) != 0)
        return ERR_IO;
    for (unsigned i = 0; i < hub->shard_count; i++) {
        if (shard_start(hub->shards[i]) != 0) {
            join_all(hub);
            return ERR_IO;
        }
    }
    hub->started = true;
    atomic_store_explicit(&hub->state, HUB_SERVING, memory_order_relaxed);
    return 0;
}

void hub_stop(struct hub *hub)
{
    if (!hub || hub->stopped)
        return;
    hub->stopped = true;
    hub->started = false;
    ears_end(hub);
    join_all(hub);
    hub_pump(hub);
    for (unsigned i = 0; i < hub->shard_count; i++) {
        hub->shards[i]->draining = true;
        guests_drop(hub->shards[i]);
        deletions_drop(hub->shards[i]);
    }
    hub_pump(hub);
    for (unsigned i = 0; i < hub->shard_count; i++) {
        net_free(hub->shards[i]->net);
        hub->shards[i]->net = NULL;
    }
    hub_pump(hub);
}

bool hub_busy(const struct hub *hub)
{
    return atomic_load(&hub->steps) > 0;
}

void hub_free(struct hub *hub)
{
    if (!hub)
        return;
    hub_stop(hub);
    hub_pump(hub);
    hub_destroy(hub);
}

/* --- Orders to all shards ----------------------------------------------------------------------------------------- */

struct reconfigure {
    struct mail mail;
    struct options_box *box;
    struct token_key key;
};

static void reconfigure_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct reconfigure *r = (struct reconfigure *)m;
    struct options_box *before = s->box;
    s->box = r->box;
    s->opt = &r->box->opt;
    token_key_fini(&s->token_key);
    s->token_key = r->key;
    net_configure(s->net, &s->opt->net);
    options_drop(before);
    free(r);
}

int hub_reconfigure(struct hub *hub, const struct hub_options *options)
{
    struct options_box *box = box_new(options);
    struct reconfigure **mails = calloc(hub->shard_count, sizeof *mails);
    bool ok = box && mails;
    for (unsigned i = 0; ok && i < hub->shard_count; i++)
        ok = (mails[i] = calloc(1, sizeof **mails)) != NULL && token_key_set(&mails[i]->key, options->secret) == 0;
    for (unsigned i = 0; mails && i < hub->shard_count; i++) {
        if (!ok) {
            if (mails[i])
                token_key_fini(&mails[i]->key);
            free(mails[i]);
            continue;
        }
        mails[i]->mail.run = reconfigure_run;
        mails[i]->box = box;
        atomic_fetch_add(&box->refs, 1);
        mailbox_post(&hub->shards[i]->mailbox, &mails[i]->mail);
    }
    free(mails);
    options_drop(ok ? hub->box : box);
    if (ok)
        hub->box = box;
    return ok ? 0 : ERR_NOMEM;
}

struct drain {
    struct mail mail;
    uint32_t spread_ms;
};

static void drain_run(void *owner, struct mail *m)
{
    struct shard *s = owner;
    s->draining = true;
    s->drain_spread_ms = ((struct drain *)m)->spread_ms;
    net_stop_listening(s->net);
    free(m);
    ev_feed_event(s->loop, &s->tick, EV_TIMER);
}

void hub_drain(struct hub *hub, uint32_t spread_ms, void (*done)(void *ctx), void *ctx)
{
    atomic_store_explicit(&hub->state, HUB_DRAINING, memory_order_relaxed);
    if (store_bus(hub->store))
        bus_drain(store_bus(hub->store));
    hub->drain_done = done;
    hub->drain_ctx = ctx;
    for (unsigned i = 0; i < hub->shard_count; i++) {
        struct drain *m;
        while (!(m = calloc(1, sizeof *m)))
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        m->mail.run = drain_run;
        m->spread_ms = spread_ms;
        mailbox_post(&hub->shards[i]->mailbox, &m->mail);
    }
}
