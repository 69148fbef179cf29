#include "core/hub/shard/shard.h"

#include <stdio.h>
#include <stdlib.h>

void shard_post(struct shard *from, struct shard *to, struct mail *m)
{
    if (from && from == to)
        m->run(to, m);
    else
        mailbox_post(&to->mailbox, m);
}

struct shard *shard_of(const struct hub *hub, struct slice key)
{
    /* Not the hash that the tables use, or every table would see a part of its values only. */
    return hub->shards[(hash_stable(key) >> 20) % hub->shard_count];
}

void options_drop(struct options_box *box)
{
    if (box && atomic_fetch_sub(&box->refs, 1) == 1)
        free(box);
}

static void *shard_main(void *arg)
{
    struct shard *s = arg;
    char name[16];
    snprintf(name, sizeof name, "shard-%u", s->index);
    pthread_setname_np(pthread_self(), name);
    ev_run(s->loop, 0);
    return NULL;
}

/* Of a shard's thread, as on most systems anyway: scripts and plugins get the same room whatever `ulimit -s` says. Only
 * what is touched takes memory. */
enum { STACK_BYTES = 8 << 20 };

int shard_start(struct shard *s)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return ERR_NOMEM;
    s->running =
        pthread_attr_setstacksize(&attr, STACK_BYTES) == 0 && pthread_create(&s->thread, &attr, shard_main, s) == 0;
    pthread_attr_destroy(&attr);
    return s->running ? 0 : ERR_IO;
}
