#include "core/hub/talk/charges.h"

#include "core/hub/people/ban.h"
#include "core/hub/people/user.h"
#include "core/hub/registry/hook.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 4096 /* bytes of ids, a length before each */ };

struct batch {
    struct mail mail;
    uint32_t n;      /* bytes of ids */
    char ids[BATCH]; /* of each: its length, how many takes and whether its bucket, the id, the takes */
};

struct charges {
    unsigned shards;
    struct batch *batches[]; /* by the shard of the users; NULL: none; owned */
};

int charges_init(struct shard *s)
{
    s->charges = calloc(1, offsetof(struct charges, batches) + s->hub->shard_count * sizeof(struct batch *));
    if (!s->charges)
        return ERR_NOMEM;
    s->charges->shards = s->hub->shard_count;
    return 0;
}

void charges_free(struct shard *s)
{
    for (unsigned i = 0; s->charges && i < s->charges->shards; i++)
        free(s->charges->batches[i]);
    free(s->charges);
    s->charges = NULL;
}

void conv_charge(struct shard *s, struct conv *v)
{
    struct channel_rule r;
    uint32_t rate = s->opt->rate_channel;
    struct slice key = conv_slice(v);
    if (s->bans && conv_is_channel(key) && channel_rule_find(s, conv_channel_name(key), &r) && r.limited)
        rate = r.limit;
    bucket_charge(&v->rate, rate, (uint32_t)s->now_ms);
}

static void batch_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct batch *b = (struct batch *)m;
    for (uint32_t at = 0; at < b->n;) {
        uint8_t n = (uint8_t)b->ids[at], takes = (uint8_t)b->ids[at + 1] & 127;
        bool bucket = (uint8_t)b->ids[at + 1] & 128;
        uint32_t user = bucket ? user_find(s, slice_of(b->ids + at + 2, n)) : NONE;
        if (user != NONE)
            bucket_charge(&user_at(s, user)->rate, s->opt->rate_user, (uint32_t)s->now_ms);
        at += 2u + n;
        for (uint8_t i = 0; i < takes; i++, at += (uint32_t)sizeof(struct hook_take)) {
            struct hook_take t;
            memcpy(&t, b->ids + at, sizeof t);
            charge_takes(s, &t, 1);
        }
    }
    free(b);
}

static void batch_post(struct shard *s, unsigned to)
{
    struct batch *b = s->charges->batches[to];
    s->charges->batches[to] = NULL;
    if (b)
        shard_post(s, s->hub->shards[to], &b->mail);
}

void charge_takes(struct shard *s, const struct hook_take *takes, unsigned n)
{
    for (unsigned i = 0; s->hub->charge && i < n; i++)
        s->hub->charge(s, takes[i].bucket, (double)takes[i].n);
}

void charge_sender(struct shard *s, struct slice sender, bool bucket, const struct hook_take *takes, unsigned n)
{
    bucket = bucket && s->opt->rate_user;
    if ((!bucket && !n) || sender.n > UINT8_MAX)
        return;
    struct batch **at = &s->charges->batches[shard_of(s->hub, sender)->index];
    if (*at && (*at)->n + 2 + sender.n + n * sizeof *takes > BATCH)
        batch_post(s, shard_of(s->hub, sender)->index);
    if (!*at) {
        if (!(*at = malloc(sizeof **at)))
            return; /* it goes uncounted */
        (*at)->mail.run = batch_arrive;
        (*at)->n = 0;
    }
    struct batch *b = *at;
    b->ids[b->n] = (char)sender.n;
    b->ids[b->n + 1] = (char)(n | (bucket ? 128 : 0));
    memcpy(b->ids + b->n + 2, sender.p, sender.n);
    b->n += 2 + (uint32_t)sender.n;
    if (n)
        memcpy(b->ids + b->n, takes, n * sizeof *takes);
    b->n += (uint32_t)(n * sizeof *takes);
}

void charges_flush(struct shard *s)
{
    for (unsigned i = 0; i < s->charges->shards; i++)
        batch_post(s, i);
}
