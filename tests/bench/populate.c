/*
 * Fills a data folder with users, a channel `all` of which every one is a member, and channels with one member each,
 * for the benchmarks over sizes:
 *
 *     populate FOLDER USERS CHANNELS
 *
 * It goes through the store's own interface, so that what it leaves is what a server would have left.
 */
#include "core/base/log.h"
#include "storage/conv_key.h"
#include "storage/store.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 1024 }; /* operations under way */

struct populate {
    struct store *store;
    struct mailbox mb;
    sem_t wake;
    struct slot *idle; /* free slots */
    unsigned long bad; /* operations that did not end well */
};

struct slot {
    union {
        struct store_op op; /* the first member of each */
        struct store_user_save save;
        struct store_member_put put;
    };
    struct slot *next; /* free ones */
    struct conv_key conv;
    char id[32], channel[32];
};

static void wake(void *ctx)
{
    sem_post(&((struct populate *)ctx)->wake);
}

static void done(void *owner, struct store_op *op)
{
    struct populate *p = owner;
    struct slot *s = (struct slot *)op;
    p->bad += op->status != STORE_OK;
    s->next = p->idle;
    p->idle = s;
}

/* A free slot, waiting for one if need be. */
static struct slot *take(struct populate *p)
{
    while (!p->idle) {
        while (sem_wait(&p->wake) && errno == EINTR) {
        }
        mailbox_run(&p->mb, p);
    }
    struct slot *s = p->idle;
    p->idle = s->next;
    return s;
}

static void user(struct populate *p, unsigned long n)
{
    struct slot *s = take(p);
    snprintf(s->id, sizeof s->id, "user%08lu", n);
    s->save = (struct store_user_save){
        .op = {.home = &p->mb, .done = done}, .id = slice_str(s->id), .name = slice_str(s->id + 4)};
    store_user_save(p->store, &s->save);
}

static void member(struct populate *p, unsigned long n, const char *channel)
{
    struct slot *s = take(p);
    snprintf(s->id, sizeof s->id, "user%08lu", n);
    snprintf(s->channel, sizeof s->channel, "%s", channel);
    s->conv = conv_key_channel(slice_str(s->channel));
    s->put = (struct store_member_put){.op = {.home = &p->mb, .done = done},
                                       .conv = conv_key_slice(&s->conv),
                                       .user = slice_str(s->id),
                                       .may_create = true};
    store_member_put(p->store, &s->put);
}

int main(int argc, char **argv)
{
    static struct slot slots[WIDTH];
    static struct populate p;
    char why[512], name[32];
    if (argc != 4) {
        fprintf(stderr, "usage: populate FOLDER USERS CHANNELS\n");
        return 2;
    }
    unsigned long users = strtoul(argv[2], NULL, 10), channels = strtoul(argv[3], NULL, 10);
    struct store_options o = {.engine = "rocksdb",
                              .path = argv[1],
                              .memory = 256u << 20,
                              .sync_every_ms = 1000,
                              .tiers = {{0, 0, DURABILITY_SYNC}, {0, 0, DURABILITY_COMMIT}, {0, 0, DURABILITY_COMMIT}},
                              .dedup_window_ms = 600000,
                              .inbox_max = 10000};
    sem_init(&p.wake, 0, 0);
    mailbox_init(&p.mb, wake, &p);
    for (unsigned i = 0; i < WIDTH; i++) {
        slots[i].next = p.idle;
        p.idle = &slots[i];
    }
    if (store_open(&p.store, &o, why, sizeof why) != 0) {
        fprintf(stderr, "populate: %s\n", why);
        return 1;
    }
    for (unsigned long i = 0; i < users; i++) {
        user(&p, i);
        member(&p, i, "all");
    }
    for (unsigned long i = 0; i < channels; i++) {
        snprintf(name, sizeof name, "channel%06lu", i);
        member(&p, users ? i % users : 0, name);
    }
    for (unsigned i = 0; i < WIDTH; i++)
        take(&p); /* all are back: nothing is under way */
    store_close(p.store);
    mailbox_run(&p.mb, &p);
    mailbox_fini(&p.mb);
    if (p.bad)
        fprintf(stderr, "populate: %lu operations failed\n", p.bad);
    return p.bad != 0;
}
