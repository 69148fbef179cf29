#include "core/hub/talk/walk.h"

#include "core/base/clock.h"
#include "core/base/frame.h"
#include "core/base/push.h"
#include "core/hub/people/chan.h"
#include "core/hub/people/user.h"
#include "core/hub/shard/why.h"
#include "core/hub/talk/encode.h"
#include "core/net/net.h"
#include "core/net/send.h"

#include <stdlib.h>

/* Members that are passed at most, and those of them that are sent something, in one turn of the loop. Short turns
 * gather better: what comes meanwhile gets on board the sooner. */
enum { WALK_VISITS = 16384, SENDS_MAX = 128 };

/* After so many sends what they have queued is written, and the clock is looked at: a turn ends when it has taken so
 * long. On a slow machine, where a send takes ten times as much, others should not wait for 128 of them. And once it
 * has done this much for MAIL_SENDS members, a turn ends when there is mail: what that brings is a store's answer or a
 * message, which gets on the sooner. */
enum { FLUSH_SENDS = 8, TURN_US = 1000, MAIL_SENDS = 32 };

/* A walk that begins does little at first, twice as much each turn: messages that were sent together come one after the
 * other by some ten microseconds, and whoever is passed before the last of them is there costs a system call more.
 * Beside another walk turns are long enough for that, and a small channel is done in its first. */
enum { PACE_SENDS = 8, PACE_BESIDE = 32, PACE_MAX = 8 };

/* So few of those who have left do not hinder a walk. */
enum { TOMBSTONES_MAX = 64 };

void pub_free(struct pub *p)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (p->items[i].frame)
            frame_unref(p->items[i].frame);
    if (p->frame)
        frame_unref(p->frame);
    free(p);
}

static void pubs_free(struct pub *p)
{
    while (p) {
        struct pub *next = p->next;
        pub_free(p);
        p = next;
    }
}

void walk_clear(struct shard *s, uint32_t chan)
{
    struct chan *ch = chan_at(s, chan);
    pubs_free(ch->board);
    pubs_free(ch->queue);
    ch->board = ch->queue = NULL;
    ch->board_tail = &ch->board;
    ch->queue_tail = &ch->queue;
    chan_compact(s, ch);
}

void walks_fini(struct shard *s)
{
    for (uint32_t i = pool_next(&s->chans, 0); i != POOL_NONE; i = pool_next(&s->chans, i + 1))
        walk_clear(s, i);
}

static void walks_push(struct shard *s, struct walks *list, uint32_t chan)
{
    if (list->last == NONE)
        list->first = chan;
    else
        chan_at(s, list->last)->next_walk = chan;
    list->last = chan;
}

static uint32_t walks_pop(struct shard *s, struct walks *list)
{
    uint32_t chan = list->first;
    list->first = chan_at(s, chan)->next_walk;
    chan_at(s, chan)->next_walk = NONE;
    if (list->first == NONE)
        list->last = NONE;
    return chan;
}

void pub_arrive(void *owner, struct mail *m)
{
    struct shard *s = owner;
    struct pub *p = (struct pub *)m;
    uint32_t chan = chan_find(s, slice_of(pub_data(p), p->name_len));
    if (chan == TABLE_NONE) {
        pub_free(p);
        return;
    }
    struct chan *ch = chan_at(s, chan);
    if (p->action == PUSH_CHANNEL_MESSAGE && p->to > ch->last_seq)
        ch->last_seq = p->to;
    if (ch->awaited) {
        pub_free(p);
        return;
    }
    if (p->action == PUSH_MEMBERSHIP)
        p->to = ++s->member_changes;
    p->next = NULL;
    *ch->queue_tail = p;
    ch->queue_tail = &p->next;
    if (!ch->in_walks) {
        ch->in_walks = true;
        walks_push(s, &s->begun, chan);
    }
}

static struct slice item_body(struct pub *p, uint32_t i)
{
    return slice_of(pub_data(p) + p->items[i].offset, p->items[i].len);
}

static struct frame *item_frame(struct pub *p, uint32_t i, uint32_t tag)
{
    if (!p->items[i].frame)
        p->items[i].frame = frame_borrow(p->action, 0, item_body(p, i), tag);
    return p->items[i].frame;
}

/* The 104 frame of a publication, its items from `first` on. */
static struct frame *merged_frame(struct shard *s, struct pub *p, uint32_t first, uint64_t from, uint32_t omitted,
                                  uint32_t tag)
{
    struct buf *b = &s->scratch;
    buf_reset(b);
    encode_merged(b, slice_of(pub_data(p), p->name_len), p, first, from, omitted);
    return buf_ok(b) ? frame_new(PUSH_MERGED_MESSAGES, 0, buf_slice(b), tag) : NULL;
}

/* The one frame of a whole publication. */
static struct frame *whole_frame(struct shard *s, struct pub *p, uint32_t tag)
{
    if (!p->frame)
        p->frame = merged_frame(s, p, 0, p->from, p->omitted, tag);
    return p->frame;
}

/* Queues one publication to one connection, from item `first` on. `from` is the first seq that concerns the
 * receiver: behind the publication's own when it joined within the range. What of the rest is no item was left out. */
static unsigned deliver_conn(struct shard *s, uint32_t conn, struct pub *p, uint32_t first, uint64_t from, uint32_t tag)
{
    if (p->merged && conn_at(s->net, conn)->flags & CONN_F_MERGE) {
        uint32_t omitted = (uint32_t)(p->to - from + 1) - (p->count - first);
        struct frame *f = from == p->from ? whole_frame(s, p, tag) : merged_frame(s, p, first, from, omitted, tag);
        int rc = f ? conn_send_frame(s->net, conn, f, CONN_MAY) : ERR_NOMEM;
        if (f && f != p->frame)
            frame_unref(f);
        return rc == 0;
    }
    if (p->count - first == 1) {
        struct frame *f = item_frame(p, first, tag);
        return f && conn_send_frame(s->net, conn, f, CONN_MAY) == 0;
    }
    enum { RUN = 32 };
    struct frame *run[RUN];
    unsigned sent = 0;
    for (uint32_t i = first; i < p->count;) {
        uint32_t n = 0;
        while (n < RUN && i < p->count && (run[n] = item_frame(p, i, tag)) != NULL)
            n++, i++;
        if (n == 0 || conn_send_frames(s->net, conn, run, n, CONN_MAY) != 0)
            break;
        sent += n;
    }
    return sent;
}

/* Nothing of a publication was queued to a connection of this user. */
static void skipped(struct shard *s, uint32_t user, const struct pub *p, uint64_t from, uint32_t chan)
{
    figure_add(&s->figures.skipped, p->count);
    if (p->action == PUSH_CHANNEL_MESSAGE && user != NONE)
        why_note(s, &(struct why_note){.kind = WHY_SKIPPED,
                                       .conv = why_channel(chan_name(chan_at(s, chan))),
                                       .user = hash_bytes(user_id(user_at(s, user))),
                                       .seq = from,
                                       .to = p->to});
}

/* To all connections of a member. Returns sends. */
static unsigned deliver_member(struct shard *s, struct member *m, struct pub *p, uint32_t tag)
{
    uint32_t first = 0;
    uint64_t from = p->from;
    if (m->conn & MEMBER_FRESH) {
        const struct sub *b = pool_at(&s->subs, m->sub);
        uint32_t since = b->since;
        if (p->action == PUSH_CHANNEL_MESSAGE) {
            if (b->held || (int32_t)((uint32_t)p->to - since) <= 0)
                return 0;
            if ((int32_t)((uint32_t)p->from - since) <= 0) {
                while (first < p->count && (int32_t)((uint32_t)p->items[first].seq - since) <= 0)
                    first++;
                from = p->to - ((uint32_t)p->to - since - 1);
            }
            m->conn &= ~MEMBER_FRESH;
        }
        if (first == p->count)
            return 0;
    }
    if (!(m->conn & MEMBER_MULTI)) {
        uint32_t c = m->conn & MEMBER_CONN, user = ((struct sub *)pool_at(&s->subs, m->sub))->user;
        unsigned sent = deliver_conn(s, c, p, first, from, tag);
        if (!sent)
            skipped(s, user, p, from, tag);
        return sent;
    }
    unsigned sent = 0;
    uint32_t next, user = ((struct sub *)pool_at(&s->subs, m->sub))->user;
    for (uint32_t c = m->conn & MEMBER_CONN; c != NONE; c = next) {
        next = conn_at(s->net, c)->user_next;
        unsigned n = deliver_conn(s, c, p, first, from, tag);
        if (!n)
            skipped(s, user, p, from, tag);
        sent += n;
    }
    return sent;
}

/* What is on board, joined for the members of each push mode: a walk passes many that get the same. */
struct joined {
    struct kind {
        struct bundle bundle;
        bool made;  /* since something got on or off */
        bool fits;  /* the bundle holds everything */
        bool whole; /* merged publications go as one frame */
    } kinds[4];     /* by enum push_mode */
    bool merged;    /* merged publications are on board */
    bool events;    /* 112s are, which are not for all of a push mode */
};

static void joined_clear(struct joined *j)
{
    for (unsigned i = 0; i < 4; i++) {
        bundle_clear(&j->kinds[i].bundle);
        j->kinds[i].made = false;
    }
}

/* Something got on board or off. */
static void joined_reset(struct joined *j, const struct chan *ch)
{
    joined_clear(j);
    j->merged = j->events = false;
    for (const struct pub *p = ch->board; p; p = p->next) {
        j->merged |= p->merged;
        j->events |= p->action == PUSH_MEMBERSHIP;
    }
}

static void kind_make(struct shard *s, const struct chan *ch, struct kind *k, unsigned push, uint32_t tag)
{
    bundle_clear(&k->bundle);
    k->made = k->fits = true;
    for (struct pub *p = ch->board; p; p = p->next) {
        bool whole = p->merged && k->whole;
        uint32_t frames = !(p->mask & 1u << push) ? 0 : whole ? 1 : p->count;
        for (uint32_t i = 0; k->fits && i < frames; i++) {
            struct frame *f = whole ? whole_frame(s, p, tag) : item_frame(p, i, tag);
            k->fits = f && bundle_add(&k->bundle, f);
        }
    }
}

/* All that is on board in one go, to a member who gets everything and has one connection with nothing unsent. Returns
 * sends; -1: it has to go one by one. */
static int deliver_joined(struct shard *s, const struct chan *ch, const struct member *m, struct joined *j,
                          uint32_t tag)
{
    uint32_t conn = m->conn & MEMBER_CONN;
    struct kind *k = &j->kinds[m->push];
    if (m->conn & (MEMBER_MULTI | MEMBER_FRESH) || j->events)
        return -1;
    bool whole = j->merged && conn_at(s->net, conn)->flags & CONN_F_MERGE;
    if (!k->made || k->whole != whole) {
        k->whole = whole;
        kind_make(s, ch, k, m->push, tag);
    }
    return k->fits && (k->bundle.n == 0 || conn_send_now(s->net, conn, &k->bundle)) ? (int)k->bundle.n : -1;
}

/* Whether a publication is for this member. A 112 is not for the user whom it is about, who hears it otherwise, and not
 * for those who came after it. */
static bool is_for(const struct shard *s, const struct member *m, const struct pub *p)
{
    if (p->action != PUSH_MEMBERSHIP)
        return p->mask & 1u << m->push;
    const struct sub *b = pool_at(&s->subs, m->sub);
    return b->events && (int32_t)((uint32_t)p->to - b->heard) > 0 &&
           hash_bytes(user_id(user_at(s, b->user))) != p->from;
}

/* All that is on board, to the member that the walk passes. Returns sends. */
static unsigned deliver_board(struct shard *s, const struct chan *ch, struct member *m, struct joined *j, uint32_t tag)
{
    /* In a small channel what others bring in this turn may join it before it is written. */
    int joined = m->conn != NONE && ch->member_count > FLUSH_SENDS ? deliver_joined(s, ch, m, j, tag) : -1;
    if (joined >= 0)
        return (unsigned)joined;
    unsigned sent = 0;
    for (struct pub *p = ch->board; p && m->conn != NONE; p = p->next)
        if (is_for(s, m, p))
            sent += deliver_member(s, m, p, tag);
    return sent;
}

/* The connection of the member that comes `steps` later; NONE: there is none, or nobody online. */
static uint32_t later(const struct chan *ch, uint32_t steps)
{
    uint32_t conn = ch->walk_pos + steps < ch->member_count ? ch->members[ch->walk_pos + steps].conn : NONE;
    return conn == NONE ? NONE : conn & MEMBER_CONN;
}

/* While the kernel sends to one, the connection of the one after the next comes into the cache; and of the next, whose
 * connection has come, what its stream wants. */
static void fetch_next(const struct shard *s, const struct chan *ch)
{
    uint32_t after = later(ch, 2), next = later(ch, 1);
    if (after != NONE)
        conn_prefetch(s->net, after);
    if (next != NONE)
        conn_prefetch_stream(s->net, next);
}

/* --- The walk ---------------------------------------------------------------------------------------------------- */

/* What is queued gets on, unless so many have left that the walk must end once, so that they can be taken out. */
static void get_on(struct chan *ch)
{
    if (!ch->queue || (ch->tombstones > TOMBSTONES_MAX && ch->tombstones > ch->member_count / 4))
        return;
    if (ch->walk_pos >= ch->member_count)
        ch->walk_pos = 0;
    for (struct pub *p = ch->queue; p; p = p->next)
        p->start = ch->walk_pos;
    *ch->board_tail = ch->queue;
    ch->board_tail = ch->queue_tail;
    ch->queue = NULL;
    ch->queue_tail = &ch->queue;
}

/* One step of the walk is done: who has been all around gets off. True: somebody did. */
static bool step(struct shard *s, struct chan *ch)
{
    bool off = false;
    if (++ch->walk_pos >= ch->member_count)
        ch->walk_pos = 0;
    while (ch->board && ch->board->start == ch->walk_pos) {
        struct pub *p = ch->board;
        ch->board = p->next;
        off = true;
        figures_delivery_end(s, p->began_us);
        if (p->action == PUSH_CHANNEL_MESSAGE)
            why_note(s, &(struct why_note){.kind = WHY_WALKED,
                                           .conv = why_channel(chan_name(ch)),
                                           .seq = p->from,
                                           .to = p->to,
                                           .mask = p->mask});
        pub_free(p);
    }
    if (!ch->board)
        ch->board_tail = &ch->board;
    return off;
}

/* What a turn of the walk may still do. */
struct budget {
    uint32_t visits, sends; /* members to pass, members to send something */
    uint32_t sent;          /* sends so far */
    uint64_t end_us;        /* monotonic */
};

/* A member was sent something. Now and then that is written; the turn may be over by it. */
static void spend(struct shard *s, struct budget *left)
{
    left->sends--;
    if (++left->sent % FLUSH_SENDS)
        return;
    net_flush(s->net);
    if (clock_mono_us() >= left->end_us || (left->sent >= MAIL_SENDS && ev_async_pending(&s->wake)))
        left->sends = 0;
}

/* Goes on with a channel's walk; `first` is how many it sends to in its first turn. Returns true when there is nothing
 * left to deliver. A send or a flush may close connections, which may leave tombstones but never moves entries while
 * something is on board. */
static bool walk_some(struct shard *s, uint32_t chan, uint32_t first, struct budget *left)
{
    struct chan *ch = chan_at(s, chan);
    uint64_t delivered = 0;
    uint32_t pace = first << ch->pace, sent = 0;
    struct joined joined = {.merged = false};
    if (ch->pace < PACE_MAX)
        ch->pace++;
    get_on(ch);
    joined_reset(&joined, ch);
    while (ch->board && left->visits > 0 && left->sends > 0 && sent < pace) {
        struct member *m = ch->walk_pos < ch->member_count ? &ch->members[ch->walk_pos] : NULL;
        left->visits--;
        fetch_next(s, ch);
        unsigned n = m ? deliver_board(s, ch, m, &joined, chan) : 0;
        if (step(s, ch))
            joined_reset(&joined, ch);
        if (!n)
            continue;
        delivered += n;
        sent++;
        spend(s, left);
    }
    joined_clear(&joined);
    atomic_fetch_add_explicit(&s->deliveries, delivered, memory_order_relaxed);
    if (ch->board)
        return false;
    ch->pace = 0;
    chan_compact(s, ch);
    return ch->queue == NULL;
}

/* Once through a list as it is now, up to `last`: who is not finished has had its part of this turn, and waits behind
 * those that are under way. */
static void walk_list(struct shard *s, struct walks *list, uint32_t last, uint32_t first, struct budget *left)
{
    uint32_t chan = NONE;
    while (list->first != NONE && chan != last && left->visits > 0 && left->sends > 0) {
        chan = walks_pop(s, list);
        if (walk_some(s, chan, first, left)) {
            chan_at(s, chan)->in_walks = false;
            chan_release(s, chan);
        } else {
            walks_push(s, &s->walks, chan);
        }
    }
}

/* Who has just begun goes first, beside others with half of the turn at most: a small channel is done by that and need
 * not wait for a large one's step, and however many small ones there are, the large one goes on. */
bool chans_walk(struct shard *s)
{
    uint32_t last = s->walks.last;
    if (s->begun.first == NONE && last == NONE)
        return false;
    bool alone = last == NONE ? s->begun.first == s->begun.last : s->begun.first == NONE && s->walks.first == last;
    uint32_t first = alone ? PACE_SENDS : PACE_BESIDE, part = last == NONE ? 1 : 2;
    uint64_t now = clock_mono_us();
    struct budget left = {.visits = WALK_VISITS / part, .sends = SENDS_MAX / part, .end_us = now + TURN_US / part};
    walk_list(s, &s->begun, s->begun.last, first, &left);
    if (last != NONE) {
        left.visits += WALK_VISITS / 2;
        left.sends += SENDS_MAX / 2;
        left.end_us = now + TURN_US;
        walk_list(s, &s->walks, last, first, &left);
    }
    return s->begun.first != NONE || s->walks.first != NONE;
}
