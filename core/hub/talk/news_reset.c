/* News may have been missed: the heads of followed channels are compared with what was heard. */
#include "core/base/fault.h"
#include "core/base/log.h"
#include "core/hub/shard/op.h"
#include "core/hub/talk/channel_news.h"
#include "core/hub/talk/charges.h"
#include "core/hub/talk/follow.h"
#include "core/hub/talk/news_lane.h"

#include <stdlib.h>

enum {
    COMPARED = 64,   /* heads that are asked for at the same time, a shard */
    LOOKED = 1 << 14 /* conversations that are looked at in a row */
};

enum { WORDS = BUS_PARTS / 8 };

/* Of one shard. */
struct comparing {
    struct mail mail;    /* the bus's thread posts it */
    _Atomic bool posted; /* it is on its way */
    bool walking;        /* conversations from `at` on are still to be looked at */
    uint32_t at, under_way;
    _Atomic uint64_t asked[WORDS]; /* partitions that have come since the walk began */
    uint64_t parts[WORDS];         /* of the walk */
};

struct compared {
    struct store_conv_load op;
    uint32_t conv;   /* pinned */
    uint64_t number; /* heard when it was asked */
};

static void walk(struct shard *s);

/* Acknowledged messages are gone, which a cluster loses when more of it fails at once than it has copies for. */
static void lost(struct conv *v, uint64_t head)
{
    struct heard *h = v->heard;
    log_event(LOG_ERROR, "cluster.lost", LOG_SLICE("channel", conv_channel_name(conv_slice(v))),
              LOG_INT("heard", h->messages.number), LOG_INT("head", head));
    h->messages.number = h->target = head;
    h->life++;
    free(h->edits);
    h->edits = NULL;
}

static void compared(void *owner, struct store_op *op)
{
    struct shard *s = owner;
    struct compared *c = OP_END(owner, op, struct compared, op.op);
    struct conv *v = conv_at(s, c->conv);
    struct heard *h = v->heard;
    if (op->status == STORE_OK) {
        channel_news_head(s, c->conv, &c->op);
        if (c->op.seq > h->target)
            h->target = c->op.seq;
        /* Of a channel that is gone the number may be forgotten; who makes it again begins above it. */
        bool there = c->op.exists || c->op.seq;
        if (there && c->op.seq < c->number && h->messages.number == c->number)
            lost(v, c->op.seq);
        news_go_on(s, c->conv);
    }
    conv_at(s, c->conv)->pins--;
    s->comparing->under_way--;
    free(c);
    walk(s);
}

/* False: out of memory. */
static bool compare(struct shard *s, uint32_t conv)
{
    struct conv *v = conv_at(s, conv);
    struct compared *c = calloc(1, sizeof *c);
    if (!c)
        return false;
    c->conv = conv;
    c->number = v->heard->messages.number;
    c->op.conv = conv_slice(v);
    v->pins++;
    s->comparing->under_way++;
    op_begin(s, &c->op.op, compared);
    store_conv_load(s->store, &c->op);
    return true;
}

static void followed_late(struct shard *s, void *ctx, enum store_status status)
{
    (void)s, (void)ctx, (void)status;
}

/* One that could not be followed yet is asked for once more. False: out of memory. */
static bool look(struct shard *s, uint32_t conv)
{
    const struct conv *v = conv_at(s, conv);
    const struct heard *h = v->heard;
    if (!h || !v->following || !conv_is_channel(conv_slice(v)))
        return true;
    unsigned part = bus_part_conv(s->bus, conv_slice(v));
    if (!(s->comparing->parts[part / 64] >> part % 64 & 1))
        return true;
    if (!v->followed && !h->asking)
        follow_begin(s, conv, followed_late, NULL);
    else
        return !h->begun || compare(s, conv);
    return true;
}

/* Goes on until enough is under way, or all have been looked at. */
static void walk(struct shard *s)
{
    struct comparing *c = s->comparing;
    for (unsigned n = 0; c->walking && c->under_way < COMPARED && s->net; n++) {
        if (n == LOOKED) {
            if (!atomic_exchange(&c->posted, true))
                mailbox_post(&s->mailbox, &c->mail);
            return;
        }
        c->at = pool_next(&s->convs, c->at);
        c->walking = c->at != POOL_NONE;
        if (c->walking && !look(s, c->at))
            return; /* at the next tick again */
        c->at++;
    }
}

/* More may have been asked for: the walk begins anew with those added, unless nothing was. */
static void posted(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct comparing *c = s->comparing;
    bool more = false;
    (void)m;
    atomic_store(&c->posted, false);
    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t asked = atomic_exchange(&c->asked[i], 0);
        c->parts[i] = (c->walking ? c->parts[i] : 0) | asked;
        more |= asked != 0;
    }
    if (more) {
        c->at = 0;
        c->walking = true;
    }
    walk(s);
}

void news_reset(struct hub *hub, const uint8_t parts[BUS_PARTS])
{
    for (unsigned i = 0; i < hub->shard_count && !fault("repair"); i++) {
        struct shard *s = hub->shards[i];
        struct comparing *c = s->comparing;
        for (unsigned p = 0; p < BUS_PARTS; p++)
            atomic_fetch_or(&c->asked[p / 8], (uint64_t)parts[p] << p % 8 * 8);
        if (!atomic_exchange(&c->posted, true))
            mailbox_post(&s->mailbox, &c->mail);
    }
}

int news_init(struct shard *s)
{
    if (!s->bus)
        return 0;
    s->comparing = calloc(1, sizeof *s->comparing);
    if (!s->comparing)
        return ERR_NOMEM;
    s->comparing->mail.run = posted;
    return charges_init(s);
}

void news_fini(struct shard *s)
{
    charges_free(s);
    free(s->comparing);
    s->comparing = NULL;
}

void news_tick(struct shard *s)
{
    if (!s->bus)
        return;
    charges_flush(s);
    walk(s);
}
