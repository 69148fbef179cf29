#include "core/hub/talk/news.h"

#include "core/base/container.h"
#include "core/hub/shard/why.h"
#include "core/hub/talk/advice.h"
#include "core/hub/talk/channel_news.h"
#include "core/hub/talk/charges.h"
#include "core/hub/talk/news_gap.h"
#include "core/hub/talk/user_mail.h"

#include <stdlib.h>

/* --- What is held ------------------------------------------------------------------------------------------------- */

struct bus_news *news_copy(const struct bus_news *n)
{
    struct bus_news *out =
        malloc(sizeof *out + n->conv.n + n->user.n + n->sender.n + n->name.n + n->content.n + n->advice.n);
    if (!out)
        return NULL;
    *out = *n;
    struct slice *texts[] = {&out->conv, &out->user, &out->sender, &out->name, &out->content, &out->advice};
    char *at = out->data;
    for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i]->n)
            memcpy(at, texts[i]->p, texts[i]->n);
        texts[i]->p = at;
        at += texts[i]->n;
    }
    return out;
}

/* --- The life of it ----------------------------------------------------------------------------------------------- */

static struct heard *heard_get(struct shard *s, uint32_t conv)
{
    struct conv *v = conv_at(s, conv);
    if (v->heard || !(v->heard = calloc(1, sizeof *v->heard)))
        return v->heard;
    v->heard->shard = s;
    v->heard->conv = conv;
    ev_timer_init(&v->heard->messages.patience, gap_due, 0., 0.);
    ev_timer_init(&v->heard->changes.patience, channel_news_due, 0., 0.);
    v->heard->messages.patience.data = v->heard->changes.patience.data = v->heard;
    return v->heard;
}

bool news_follow(struct shard *s, uint32_t conv)
{
    struct heard *h = heard_get(s, conv);
    if (h)
        h->asking++;
    return h != NULL;
}

void news_from(struct shard *s, uint32_t conv, uint64_t seq)
{
    struct heard *h = heard_get(s, conv);
    if (h && !h->begun && (!h->from || seq < h->from))
        h->from = seq;
}

/* What members here are told of a channel begins behind this seq, where it would begin behind `seq` otherwise. */
static uint64_t channel_begin(const struct heard *h, uint64_t seq)
{
    return h->from && h->from <= seq ? h->from - 1 : seq;
}

void news_followed(struct shard *s, uint32_t conv, const struct bus_follow *head)
{
    struct heard *h = conv_at(s, conv)->heard;
    h->asking--;
    if (!h->begun && head) {
        h->messages.number = channel_begin(h, head->seq);
        h->target = head->seq;
        h->changes.number = head->member_version;
        h->begun = true;
    } else if (head && head->seq > h->target) {
        h->target = head->seq;
    }
    news_go_on(s, conv);
    channel_news_go_on(s, conv);
}

bool news_is_past(const struct conv *v, uint64_t version)
{
    return v->heard && v->heard->begun && version < v->heard->changes.number;
}

uint64_t news_told(const struct conv *v, uint64_t joined)
{
    return v->heard && v->heard->begun ? v->heard->messages.number : joined;
}

bool news_sends(struct shard *s, uint32_t conv)
{
    struct heard *h = heard_get(s, conv);
    if (h)
        h->sends++;
    return h != NULL;
}

void news_sent(struct shard *s, uint32_t conv)
{
    struct heard *h = conv_at(s, conv)->heard;
    if (h)
        h->sent++;
}

bool news_idle(const struct conv *v)
{
    const struct heard *h = v->heard;
    return !h || (!h->messages.first && !h->changes.first && !h->reading && h->sends == h->sent);
}

void news_drop(struct shard *s, struct conv *v)
{
    struct heard *h = v->heard;
    if (!h)
        return;
    ev_timer_stop(s->loop, &h->messages.patience);
    ev_timer_stop(s->loop, &h->changes.patience);
    held_free(&h->messages);
    held_free(&h->changes);
    free(h->edits);
    free(h);
    v->heard = NULL;
}

/* --- Pairs: whether they have been told of ------------------------------------------------------------------------ */

static _Atomic uint32_t *left_of(const struct hub *hub, struct slice user)
{
    return &hub->left[hash_bytes(user) % HUB_LEFT];
}

void news_left(struct shard *s, struct slice user)
{
    if (s->bus)
        atomic_fetch_add_explicit(left_of(s->hub, user), 1, memory_order_relaxed);
}

static uint32_t left_now(const struct shard *s, struct slice conv)
{
    struct slice lo, hi;
    conv_pair_users(conv, &lo, &hi);
    return atomic_load_explicit(left_of(s->hub, lo), memory_order_relaxed) +
           atomic_load_explicit(left_of(s->hub, hi), memory_order_relaxed);
}

/* Whether messages up to that seq may have come while nobody of the two was here: they have been told elsewhere, and
 * wait in an inbox, so they are no gap. */
static bool pair_was_left(const struct shard *s, const struct heard *h, struct slice conv, uint64_t seq)
{
    return h->begun && left_now(s, conv) != h->left && !h->messages.first && !h->reading && seq > h->messages.number;
}

/* Whether the pair begins with this message, or one that comes at the same time. */
static bool pair_is_new(const struct shard *s, const struct heard *h, struct slice conv, uint64_t seq)
{
    return !h->begun || pair_was_left(s, h, conv, seq - 1);
}

/* It begins with this message. What comes late of those before it is not given. */
static void pair_begin(struct heard *h, uint64_t seq)
{
    h->begun = true;
    h->messages.number = seq - 1;
    if (h->target < seq - 1)
        h->target = seq - 1;
    h->since = seq;
}

/* A message of a pair comes. True: it is new here. Unless it is the first one ever, others that two nodes have stored
 * at the same time may come in another order: it waits for them, where there are two. */
static bool pair_comes(struct shard *s, struct heard *h, struct slice conv, uint64_t seq)
{
    bool is_new = pair_is_new(s, h, conv, seq);
    h->left = left_now(s, conv);
    if (!is_new)
        return false;
    if (h->begun || !h->messages.first)
        h->target = 0;
    h->begun = false;
    if (seq == 1 || (!h->messages.first && bus_nodes(s->bus, NULL, 0) < 2))
        pair_begin(h, seq);
    return true;
}

void news_begin(struct heard *h)
{
    const struct bus_news *n = h->messages.first ? h->messages.first->news : NULL;
    if (!h->begun && n)
        pair_begin(h, held_rank(n) == 2 ? n->seq + 1 : channel_begin(h, n->seq - 1) + 1);
}

/* Whether a change of that message waits for its turn. */
static bool change_waits(const struct heard *h, uint64_t seq)
{
    if (h->begun)
        return seq > h->messages.number;
    return h->asking || (h->messages.first && seq >= h->messages.first->news->seq);
}

/* A message of a pair was changed. */
static void pair_changes(const struct shard *s, struct heard *h, struct slice conv, uint64_t seq)
{
    if (pair_was_left(s, h, conv, seq))
        h->begun = false;
}

/* --- Giving to members -------------------------------------------------------------------------------------------- */

/* Notes the change. False: a later one of that message was told already, or this one. */
static bool remember(struct heard *h, uint64_t seq, uint64_t at)
{
    if (!h->edits && !(h->edits = calloc(NEWS_EDITS, sizeof *h->edits)))
        return true;
    for (unsigned i = 0; i < NEWS_EDITS; i++) {
        if (h->edits[i].seq != seq)
            continue;
        if (h->edits[i].at >= at)
            return false;
        h->edits[i].at = at;
        return true;
    }
    h->edits[h->edit_next] = (struct edit){.seq = seq, .at = at};
    h->edit_next = (uint8_t)((h->edit_next + 1) % NEWS_EDITS);
    return true;
}

static void why_given(struct shard *s, uint32_t conv, enum why_kind kind, uint64_t id, uint64_t seq,
                      struct slice sender, size_t body, bool over_limit)
{
    const struct conv *v = conv_at(s, conv);
    bool channel = conv_is_channel(conv_slice(v));
    why_note(
        s, &(struct why_note){.kind = (uint8_t)kind,
                              .id = id,
                              .seq = seq,
                              .conv = hash_bytes(conv_slice(v)),
                              .user = hash_bytes(sender),
                              .first = channel ? 0 : hash_bytes(conv_pair_peer(conv_slice(v), sender)),
                              .a = (uint32_t)body,
                              .b = v->members,
                              .tier = v->tier,
                              .push = (uint8_t)conv_default_push(v),
                              .bits = (uint8_t)((channel ? WHY_B_CHANNEL : 0) | (over_limit ? WHY_B_OVER_LIMIT : 0))});
}

/* The arrival was heard of after the message itself; or after later ones with which the pair began here, so that its
 * receiver is told that something waits. */
static void give_arrival(struct shard *s, const struct heard *h, const struct bus_news *n)
{
    if (!n->arrival || !n->user.n)
        return;
    struct user_mail *m = user_mail_new(n->user, PUSH_USER_MESSAGE, SLICE_NONE, NONE, 0);
    user_mail_arrival(m, n->arrival);
    if (n->seq < h->since)
        user_mail_missed(m);
    user_mail_post(s->hub, s, m);
}

static void give_message(struct shard *s, uint32_t conv, const struct held *x)
{
    const struct bus_news *n = x->news;
    struct conv *v = conv_at(s, conv);
    struct slice key = conv_slice(v);
    bool channel = conv_is_channel(key);
    struct advice a = advice_decode(n->advice);
    v->exists = true;
    if (channel && n->origin && n->members && v->heard->changed_ms + 1000 < s->now_ms)
        v->members = n->members;
    if (channel && n->advice.n)
        conv_take_advice(s, conv, &a.said, false);
    const struct store_message m = {.seq = n->seq,
                                    .id = n->id,
                                    .created_ms = n->time,
                                    .sender = n->sender,
                                    .sender_name = n->name,
                                    .content = n->content};
    const struct tell_except except = {.user = n->sender, .conn = x->except, .generation = x->generation};
    struct tell t;
    /* The copy for the sender's nodes may be the first to come; then the arrival follows with the receiver's. */
    bool receivers = n->arrival && slice_eq(n->user, channel ? SLICE_NONE : conv_pair_peer(key, n->sender));
    tell_message(&t, key, &m, receivers ? n->arrival : 0, &except);
    if (n->origin)
        why_given(s, conv, WHY_STORED, n->id, n->seq, n->sender, t.body.n, a.said.over_limit);
    tell_go(s, conv, &t, a.said.over_limit);
}

static void give_change(struct shard *s, uint32_t conv, const struct held *x)
{
    const struct bus_news *n = x->news;
    struct conv *v = conv_at(s, conv);
    struct tell t;
    if (!remember(v->heard, n->seq, n->kind == NEWS_EDITED ? n->time : UINT64_MAX))
        return;
    const struct tell_except except = {.user = n->user, .conn = x->except, .generation = x->generation};
    tell_change(&t, conv_slice(v), n, &except);
    why_given(s, conv, n->kind == NEWS_EDITED ? WHY_EDITED : WHY_RECALLED, n->id, n->seq, n->sender, t.body.n, false);
    tell_go(s, conv, &t, false);
}

/* What is not above the last seq given. */
static void give_past(struct shard *s, uint32_t conv, const struct held *x)
{
    if (held_rank(x->news) == 2)
        give_change(s, conv, x);
    else
        give_arrival(s, conv_at(s, conv)->heard, x->news);
}

void news_give_read(struct shard *s, uint32_t conv, const struct store_message *m)
{
    struct conv *v = conv_at(s, conv);
    struct heard *h = v->heard;
    struct slice key = conv_slice(v);
    const struct held *x = held_find(&h->messages, m->seq, NEWS_MESSAGE),
                      *nudge = held_find(&h->messages, m->seq, NEWS_NUDGE);
    if (x) { /* it has come meanwhile, and knows more */
        h->messages.number = m->seq - 1;
        news_give(s, conv);
        return;
    }
    h->messages.number = m->seq;
    if (m->recalled)
        return;
    struct tell t;
    tell_message(&t, key, m, nudge ? nudge->news->arrival : 0, NULL);
    if (nudge)
        nudge->news->arrival = 0;
    if (nudge && nudge->alone && t.mails[0]) {
        user_mail_free(t.mails[1]);
        t.mails[1] = NULL;
    }
    why_given(s, conv, WHY_STORED, m->id, m->seq, m->sender, t.body.n, false);
    tell_go(s, conv, &t, false);
    figure_add(&s->figures.gaps_filled, 1);
}

void news_give(struct shard *s, uint32_t conv)
{
    struct heard *h = conv_at(s, conv)->heard;
    struct lane *l = &h->messages;
    while (h->begun && l->first) {
        const struct bus_news *n = l->first->news;
        bool next = n->kind == NEWS_MESSAGE && n->seq == l->number + 1;
        if (n->seq > l->number && !next)
            break;
        struct held x = held_take(l);
        if (next) {
            l->number++;
            give_message(s, conv, &x);
        } else {
            give_past(s, conv, &x);
        }
        free(x.news);
    }
}

void news_go_on(struct shard *s, uint32_t conv)
{
    struct heard *h = conv_at(s, conv)->heard;
    news_give(s, conv);
    bool begins = !h->begun && !h->asking && h->messages.first;
    if (begins || (h->begun && (h->messages.first || h->target > h->messages.number)))
        gap_wait(s, conv);
    else
        gap_over(s, h);
}

/* --- Heard -------------------------------------------------------------------------------------------------------- */

/* Keeps it until its turn. More of others than may wait is read when the gap is filled; of one's own that would not say
 * which connection has its answer. */
static void keep(struct shard *s, uint32_t conv, struct held x)
{
    struct heard *h = conv_at(s, conv)->heard;
    uint64_t seq = x.news->seq;
    struct held *twin = x.news->kind == NEWS_MESSAGE ? held_find(&h->messages, seq, NEWS_MESSAGE) : NULL;
    if (seq > h->target)
        h->target = seq;
    if (twin && x.news->arrival && !twin->news->arrival && slice_eq(twin->news->sender, x.news->sender)) {
        /* The receiver's copy takes the place of the sender's. */
        x.except = twin->except;
        x.generation = twin->generation;
        free(twin->news);
        x.next = twin->next;
        *twin = x;
    } else if (twin || (x.news->origin && h->messages.count >= NEWS_HELD)) {
        free(x.news);
    } else {
        (void)held_put(&h->messages, x);
    }
}

/* Another server's message counts as one's own would. */
static void count(struct shard *s, uint32_t conv, const struct bus_news *n)
{
    struct conv *v = conv_at(s, conv);
    struct advice a = advice_decode(n->advice);
    (void)conv_rate(s, v);
    if (a.charged_conv)
        conv_charge(s, v);
    charge_takes(s, a.takes, a.conv_takes);
    charge_sender(s, n->sender, a.charged_user, a.takes + a.conv_takes, a.user_takes);
}

/* Takes it. */
static void hear(struct shard *s, uint32_t conv, struct bus_news *n)
{
    struct conv *v = conv_at(s, conv);
    struct heard *h = v->heard;
    struct held x = {.news = n, .except = NONE};
    if (!conv_is_channel(conv_slice(v))) {
        v->used_ms = s->now_ms;
        if (held_rank(n) == 2) {
            pair_changes(s, h, conv_slice(v), n->seq);
        } else if (n->kind == NEWS_NUDGE && !n->arrival && pair_is_new(s, h, conv_slice(v), n->seq)) {
            free(n); /* whether its sender's connections have heard it nobody knows */
            return;
        } else {
            x.alone = pair_comes(s, h, conv_slice(v), n->seq) && n->kind == NEWS_NUDGE;
        }
    } else if (!h->begun && !h->asking && held_rank(n) < 2) {
        h->begun = true;
        h->messages.number = channel_begin(h, n->seq - 1);
    }
    if (held_rank(n) == 2 && !h->begun && !change_waits(h, n->seq)) { /* of a message told before, or never here */
        give_past(s, conv, &x);
        free(n);
        return;
    }
    if (n->kind == NEWS_MESSAGE && !(h->begun && n->seq <= h->messages.number) &&
        !held_find(&h->messages, n->seq, NEWS_MESSAGE))
        count(s, conv, n);
    if (h->begun && n->seq <= h->messages.number) {
        give_past(s, conv, &x);
        free(n);
    } else if (h->begun && n->kind == NEWS_MESSAGE && n->seq == h->messages.number + 1) {
        h->messages.number++;
        give_message(s, conv, &x);
        free(n);
    } else {
        keep(s, conv, x);
    }
    news_go_on(s, conv);
}

void news_heard(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct bus_news *n = CONTAINER_OF(m, struct bus_news, mail);
    bool channel = conv_is_channel(n->conv);
    /* A channel that nobody here is in was followed a moment ago. */
    uint32_t conv = channel ? table_find(&s->conv_keys, hash_bytes(n->conv), &n->conv) : conv_get(s, n->conv);
    if (conv == NONE || !(channel ? conv_at(s, conv)->heard : heard_get(s, conv))) {
        free(n);
        return;
    }
    conv_at(s, conv)->pins++;
    if (n->kind == NEWS_CHANNEL)
        channel_news_heard(s, conv, n);
    else
        hear(s, conv, n);
    conv_at(s, conv)->pins--;
}

/* --- This server's own -------------------------------------------------------------------------------------------- */

enum news_turn news_turn_message(struct shard *s, uint32_t conv, uint64_t seq)
{
    const struct conv *v = conv_at(s, conv);
    struct heard *h = v->heard;
    if (!conv_is_channel(conv_slice(v))) {
        h = heard_get(s, conv);
        if (h && pair_comes(s, h, conv_slice(v), seq) && !h->begun)
            return NEWS_WAITS;
    }
    if (!h)
        return NEWS_NOW; /* nobody here hears it */
    if (!h->begun && h->asking)
        return NEWS_WAITS;
    if (!h->begun) {
        h->begun = true;
        h->messages.number = seq - 1;
    }
    return seq <= h->messages.number ? NEWS_PAST : seq == h->messages.number + 1 ? NEWS_NOW : NEWS_WAITS;
}

enum news_turn news_turn_change(struct shard *s, uint32_t conv, uint64_t seq, uint64_t edited_ms)
{
    const struct conv *v = conv_at(s, conv);
    bool channel = conv_is_channel(conv_slice(v));
    struct heard *h = channel ? v->heard : heard_get(s, conv);
    if (!h)
        return NEWS_NOW;
    if (!channel)
        pair_changes(s, h, conv_slice(v), seq);
    if (change_waits(h, seq))
        return NEWS_WAITS;
    return remember(h, seq, edited_ms) ? NEWS_NOW : NEWS_PAST;
}

void news_hold(struct shard *s, uint32_t conv, struct bus_news *n, const struct tell_except *except)
{
    if (!n)
        return;
    conv_at(s, conv)->pins++;
    keep(s, conv, (struct held){.news = n, .except = except->conn, .generation = except->generation});
    news_go_on(s, conv);
    conv_at(s, conv)->pins--;
}

void news_given(struct shard *s, uint32_t conv, uint64_t seq)
{
    struct heard *h = conv_at(s, conv)->heard;
    if (!h)
        return;
    if (h->begun && seq == h->messages.number + 1)
        h->messages.number = seq;
    conv_at(s, conv)->pins++;
    news_go_on(s, conv);
    conv_at(s, conv)->pins--;
}
