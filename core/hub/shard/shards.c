#include "core/hub/shard/shards.h"

#include "core/hub/shard/shard.h"

#include <stdlib.h>

struct each {
    struct mail mail;
    struct each_all *all;
};

struct each_all {
    struct mail mail; /* to main, at the end */
    struct hub *hub;
    _Atomic unsigned left;
    void (*fn)(struct shard *s, void *ctx);
    void (*done)(void *ctx);
    void *ctx;
    struct each each[]; /* one a shard */
};

static void each_done(void *owner, struct mail *m)
{
    (void)owner;
    struct each_all *a = (struct each_all *)m;
    if (a->done)
        a->done(a->ctx);
    free(a);
}

static void each_run(void *owner, struct mail *m)
{
    struct each_all *a = ((struct each *)m)->all;
    a->fn(owner, a->ctx);
    if (atomic_fetch_sub(&a->left, 1) != 1)
        return;
    a->mail.run = each_done;
    if (a->hub->main)
        mailbox_post(a->hub->main, &a->mail);
    else
        each_done(NULL, &a->mail);
}

int hub_each(struct hub *hub, void (*fn)(struct shard *s, void *ctx), void (*done)(void *ctx), void *ctx)
{
    if (!hub->started) {
        for (unsigned i = 0; i < hub->shard_count; i++)
            fn(hub->shards[i], ctx);
        if (done)
            done(ctx);
        return 0;
    }
    struct each_all *a = calloc(1, sizeof *a + hub->shard_count * sizeof a->each[0]);
    if (!a)
        return ERR_NOMEM;
    a->hub = hub;
    a->fn = fn;
    a->done = done;
    a->ctx = ctx;
    atomic_store(&a->left, hub->shard_count);
    for (unsigned i = 0; i < hub->shard_count; i++) {
        a->each[i] = (struct each){.mail.run = each_run, .all = a};
        mailbox_post(&hub->shards[i]->mailbox, &a->each[i].mail);
    }
    return 0;
}

void hub_set_main(struct hub *hub, struct mailbox *main)
{
    hub->main = main;
    atomic_store(&hub->answers_at, main);
}

struct mailbox *hub_main(const struct hub *hub)
{
    return hub->main;
}

unsigned hub_shard_count(const struct hub *hub)
{
    return hub->shard_count;
}

struct shard *hub_shard(const struct hub *hub, unsigned index)
{
    return hub->shards[index];
}

void hub_step_begin(struct hub *hub)
{
    atomic_fetch_add(&hub->steps, 1);
}

void hub_step_end(struct hub *hub)
{
    atomic_fetch_sub(&hub->steps, 1);
}

struct store *hub_store(const struct hub *hub)
{
    return hub->store;
}
