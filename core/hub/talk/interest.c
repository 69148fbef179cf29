#include "core/hub/talk/interest.h"

#include "core/hub/people/chan.h"
#include "core/hub/talk/conv.h"
#include "core/hub/talk/follow.h"
#include "core/hub/talk/walk.h"

#include <stdlib.h>

/* --- On the owner shard ------------------------------------------------------------------------------------------- */

struct interest {
    struct mail mail;
    unsigned shard;
    uint8_t mask;
    bool add;         /* the mask comes beside what is known, else in its place */
    uint32_t receipt; /* chan.awaited of the shard that posts it; 0: wants no receipt */
    struct conv_key key;
};

bool interest_reserve(struct shard *s, uint32_t conv)
{
    struct conv *v = conv_at(s, conv);
    if (!v->interest)
        v->interest = calloc(s->hub->shard_count, 1);
    return v->interest != NULL;
}

void interest_add(struct shard *s, uint32_t conv, unsigned shard, uint8_t mask)
{
    conv_at(s, conv)->interest[shard] |= mask;
}

/* Back on the shard that posted it. */
static void interest_noted(void *home, struct mail *m)
{
    struct shard *s = home;
    struct interest *t = (struct interest *)m;
    uint32_t chan = chan_find(s, conv_channel_name(conv_key_slice(&t->key)));
    if (chan != NONE && chan_at(s, chan)->awaited == t->receipt)
        chan_at(s, chan)->awaited = 0;
    if (s->bus)
        s->events->members_noted(s, conv_channel_name(conv_key_slice(&t->key)));
    free(t);
}

/* The receipt, if one is wanted. Takes the mail. */
static void interest_sign(struct shard *s, struct interest *t)
{
    if (!t->receipt) {
        free(t);
        return;
    }
    t->mail.run = interest_noted;
    shard_post(s, s->hub->shards[t->shard], &t->mail);
}

/* Where it could not be followed, the bus goes on trying, and what was missed is found out by number. */
static void interest_followed(struct shard *s, void *ctx, enum store_status status)
{
    (void)status;
    interest_sign(s, ctx);
}

static void interest_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct interest *t = (struct interest *)m;
    uint32_t conv = conv_get(s, conv_key_slice(&t->key));
    if (conv == NONE || (t->mask && !interest_reserve(s, conv))) {
        /* Its members would hear nothing: again, until there is memory. Newer ones may have come by then. */
        t->add = true;
        mailbox_post(&s->mailbox, m);
        return;
    }
    struct conv *v = conv_at(s, conv);
    if (v->interest)
        v->interest[t->shard] = (uint8_t)((t->add ? v->interest[t->shard] : 0) | t->mask);
    v->used_ms = s->now_ms;
    if (!t->mask)
        conv_release(s, conv);
    if (!t->mask || !follow_waits(s, conv, interest_followed, t))
        interest_sign(s, t);
}

/* --- On the members' shard ---------------------------------------------------------------------------------------- */

static bool post(struct shard *s, const struct chan *ch, uint8_t mask)
{
    struct interest *t = malloc(sizeof *t);
    if (!t)
        return false;
    *t = (struct interest){.mail.run = interest_arrive,
                           .shard = s->index,
                           .mask = mask,
                           .add = ch->pending > 0,
                           .receipt = ch->awaited,
                           .key = conv_key_channel(chan_name(ch))};
    shard_post(s, ch->owner, &t->mail);
    return true;
}

bool interest_changed(struct shard *s, uint32_t chan)
{
    struct chan *ch = chan_at(s, chan);
    uint8_t mask = ch->pending ? ch->posted : 0;
    for (unsigned i = 0; i < 4; i++)
        if (ch->by_push[i])
            mask |= (uint8_t)(1u << i);
    if (ch->by_events)
        mask |= (uint8_t)INTEREST_EVENTS;
    if (mask == ch->posted)
        return true;
    if (!post(s, ch, mask))
        return false;
    ch->posted = mask;
    return true;
}

void interest_hold(struct shard *s, uint32_t chan)
{
    chan_at(s, chan)->pending++;
}

void interest_release(struct shard *s, uint32_t chan, uint8_t mask)
{
    struct chan *ch = chan_at(s, chan);
    ASSERT(ch->pending > 0);
    ch->pending--;
    ch->posted |= mask;
    interest_changed(s, chan);
    chan_release(s, chan);
}

void interest_await(struct shard *s, uint32_t chan)
{
    struct chan *ch = chan_at(s, chan);
    if (ch->posted)
        return;
    walk_clear(s, chan);
    s->receipts += s->receipts == UINT32_MAX ? 2 : 1;
    ch->awaited = s->receipts;
}
