#include "core/hub/talk/channel_news.h"

#include "core/base/container.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/req.h"
#include "core/hub/people/user.h"
#include "core/hub/talk/news_lane.h"
#include "core/hub/talk/member_news.h"

#include <stdlib.h>

/* --- The end of a channel ----------------------------------------------------------------------------------------- */

struct closing {
    struct mail mail;
    uint8_t name_len;
    char name[64];
};

/* On a shard with members: they are none any more. Each look anew, because a push may close connections. */
static void closing_arrive(void *owner, struct mail *m)
{
    static const struct req nobody = {.conn = NONE};
    struct shard *s = owner;
    struct closing *c = CONTAINER_OF(m, struct closing, mail);
    struct slice name = slice_of(c->name, c->name_len);
    uint32_t chan = chan_find(s, name);
    for (uint32_t i = chan == NONE ? 0 : chan_at(s, chan)->member_count; i-- > 0;) {
        chan = chan_find(s, name);
        if (chan == NONE)
            break;
        if (i >= chan_at(s, chan)->member_count || chan_at(s, chan)->members[i].sub == MEMBER_TOMBSTONE)
            continue;
        uint32_t sub = chan_at(s, chan)->members[i].sub;
        uint32_t user = ((struct sub *)pool_at(&s->subs, sub))->user;
        user_pin(s, user);
        sub_remove(s, sub);
        member_news_own(s, user, name, MEMBER_CLOSED, 0, &nobody);
        user_unpin(s, user);
    }
    free(c);
}

static void close_here(struct shard *s, uint32_t conv)
{
    const struct conv *v = conv_at(s, conv);
    struct slice name = conv_channel_name(conv_slice(v));
    for (unsigned i = 0; v->interest && i < s->hub->shard_count; i++) {
        struct closing *c = v->interest[i] ? malloc(sizeof *c) : NULL;
        if (!c)
            continue; /* nobody of it here; or each member hears of its own membership's end */
        c->mail.run = closing_arrive;
        c->name_len = (uint8_t)name.n;
        memcpy(c->name, name.p, name.n);
        shard_post(s, s->hub->shards[i], &c->mail);
    }
}

/* --- One after the other ------------------------------------------------------------------------------------------ */

/* News of another server, or one's own that had to wait (origin 0), whose numbers are known already. */
static void apply(struct shard *s, uint32_t conv, const struct bus_news *n)
{
    struct heard *h = conv_at(s, conv)->heard;
    bool newer = n->version > h->changes.number;
    if (newer)
        h->changes.number = n->version;
    if (n->gone) {
        conv_gone(s, conv);
        if (n->members) /* else its last member has left, who hears of that otherwise */
            close_here(s, conv);
        return;
    }
    if (n->origin) {
        h->changed_ms = s->now_ms;
        conv_hear_members(s, conv, n->members);
        if (!newer)
            conv_hear_tier(s, conv, (enum store_tier)n->tier);
    }
    if (newer && n->change && n->change <= channel_news_code(MEMBER_JOINED))
        member_news_tell(s, conv, (enum member_change)(n->change - 1), n->sender, n->name);
}

void channel_news_go_on(struct shard *s, uint32_t conv)
{
    struct heard *h = conv_at(s, conv)->heard;
    struct lane *l = &h->changes;
    while (h->begun && l->first && l->first->news->version <= l->number + 1) {
        struct held x = held_take(l);
        /* The same version without a change of members says what else is new; an older one nothing. */
        if (x.news->version > l->number || (x.news->version == l->number && (!x.news->change || x.news->gone)))
            apply(s, conv, x.news);
        free(x.news);
    }
    if (!h->begun || !l->first)
        ev_timer_stop(s->loop, &l->patience);
    else if (!ev_is_active(&l->patience)) {
        ev_timer_set(&l->patience, NEWS_WAIT_MS / 1000., 0.);
        ev_timer_start(s->loop, &l->patience);
    }
}

/* What is missing is passed over: the number of members comes whole with each. */
static void pass(struct shard *s, struct heard *h)
{
    uint32_t conv = h->conv;
    if (h->begun && h->changes.first && h->changes.first->news->version > h->changes.number)
        h->changes.number = h->changes.first->news->version - 1;
    conv_at(s, conv)->pins++;
    channel_news_go_on(s, conv);
    conv_at(s, conv)->pins--;
}

void channel_news_due(struct ev_loop *loop, ev_timer *w, int events)
{
    struct heard *h = w->data;
    (void)loop, (void)events;
    pass(h->shard, h);
}

void channel_news_heard(struct shard *s, uint32_t conv, struct bus_news *n)
{
    struct heard *h = conv_at(s, conv)->heard;
    if (!h->begun && !h->asking && h->changes.number < n->version)
        h->changes.number = n->version - 1;
    if (!h->begun && !h->asking) { /* it could not be followed from a known state, and is heard nevertheless */
        apply(s, conv, n);
        free(n);
        return;
    }
    if (held_put(&h->changes, (struct held){.news = n, .except = NONE}) && h->changes.count > NEWS_HELD)
        pass(s, h);
    channel_news_go_on(s, conv);
}

/* --- This server's own -------------------------------------------------------------------------------------------- */

void channel_news_own(struct shard *s, uint32_t conv, const struct channel_change *c)
{
    struct conv *v = conv_at(s, conv);
    struct heard *h = v->heard;
    if (!h || !c->version || !h->begun || c->version == h->changes.number + 1) {
        conv_set_members(s, conv, c->members);
        if (c->changed)
            member_news_tell(s, conv, c->change, c->id, c->name);
        if (h && h->begun && c->version > h->changes.number) {
            h->changes.number = c->version;
            h->changed_ms = s->now_ms;
            channel_news_go_on(s, conv);
        }
        return;
    }
    if (c->version >= h->changes.number) { /* the same: the thresholds may have changed since */
        conv_set_members(s, conv, c->members);
        h->changed_ms = s->now_ms;
    }
    if (!c->changed)
        return;
    if (c->version <= h->changes.number) { /* its turn was passed over */
        member_news_tell(s, conv, c->change, c->id, c->name);
        return;
    }
    const struct bus_news own = {.kind = NEWS_CHANNEL,
                                 .change = channel_news_code(c->change),
                                 .version = c->version,
                                 .sender = c->id,
                                 .name = c->name};
    struct bus_news *n = news_copy(&own);
    if (n)
        channel_news_heard(s, conv, n);
}

void channel_news_head(struct shard *s, uint32_t conv, const struct store_conv_load *head)
{
    struct heard *h = conv_at(s, conv)->heard;
    if (head->version < h->changes.number)
        return;
    h->changes.number = head->version;
    h->changed_ms = s->now_ms;
    if (head->exists) {
        conv_hear_members(s, conv, head->members);
        conv_read_tier(s, conv, head->tier);
    } else if (conv_at(s, conv)->exists) {
        conv_gone(s, conv);
    }
    channel_news_go_on(s, conv);
}
