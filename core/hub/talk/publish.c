#include "core/hub/talk/publish.h"

#include "core/base/frame.h"
#include "core/base/push.h"
#include "core/hub/people/chan.h"
#include "core/hub/shard/why.h"
#include "core/hub/talk/walk.h"

#include <stddef.h>
#include <stdlib.h>

/* Messages of a window where push.max sets no limit. */
enum { WINDOW_MAX = 1000 };

struct window_item {
    uint64_t seq;
    uint32_t len;
    char *body; /* of 102; owned */
};

/* A window of time: the newest `max` messages of it. */
struct window {
    ev_timer timer; /* its end */
    double due;     /* the same by ev_now() */
    struct shard *shard;
    uint32_t conv;
    bool merged;               /* that of push mode merged; else of the others, over the limit */
    uint64_t from, to;         /* seqs of the window */
    uint32_t omitted;          /* messages of it that are left out */
    uint32_t head, count, max; /* ring */
    uint64_t bytes;            /* of the bodies held, and a comma each */
    struct window_item items[];
};

static void window_drop_oldest(struct window *b)
{
    struct window_item *t = &b->items[b->head];
    b->bytes -= t->len + 1;
    free(t->body);
    t->body = NULL;
    b->head = (b->head + 1) % b->max;
    b->count--;
    b->omitted++;
}

void window_free(struct shard *s, struct window *b)
{
    if (!b)
        return;
    while (b->count)
        window_drop_oldest(b);
    ev_timer_stop(s->loop, &b->timer);
    free(b);
}

/* --- To the shards ------------------------------------------------------------------------------------------------ */

struct publication {
    uint64_t from, to;
    uint32_t omitted, count;
    uint16_t action;
    uint8_t mask;
    bool merged;
};

/* item_at yields the i-th body. A shard that there is no memory for hears nothing; its members see the jump in seq. */
static void publish(struct shard *s, uint32_t conv, const struct publication *n,
                    struct window_item *(*item_at)(void *, uint32_t), void *ctx)
{
    struct conv *v = conv_at(s, conv);
    struct slice name = conv_channel_name(conv_slice(v));
    size_t size = name.n;
    if (n->action == PUSH_CHANNEL_MESSAGE)
        why_note(s, &(struct why_note){.kind = WHY_PUBLISHED,
                                       .conv = hash_bytes(conv_slice(v)),
                                       .seq = n->from,
                                       .to = n->to,
                                       .first = n->count ? item_at(ctx, 0)->seq : n->to + 1,
                                       .a = n->count,
                                       .b = n->omitted,
                                       .mask = n->mask,
                                       .bits = n->merged ? WHY_B_MERGED : 0});
    for (uint32_t i = 0; i < n->count; i++)
        size += item_at(ctx, i)->len;
    uint64_t began = figures_delivery_begin(s);
    for (unsigned k = 0; v->interest && k < s->hub->shard_count; k++) {
        if (!(v->interest[k] & n->mask))
            continue;
        struct pub *p = malloc(offsetof(struct pub, items) + n->count * sizeof(struct pub_item) + size);
        if (!p)
            continue;
        *p = (struct pub){.mail.run = pub_arrive,
                          .from = n->from,
                          .to = n->to,
                          .omitted = n->omitted,
                          .count = n->count,
                          .began_us = began,
                          .action = n->action,
                          .mask = n->mask,
                          .merged = n->merged,
                          .name_len = (uint8_t)name.n};
        uint32_t offset = (uint32_t)name.n;
        memcpy(pub_data(p), name.p, name.n);
        for (uint32_t i = 0; i < n->count; i++) {
            struct window_item *t = item_at(ctx, i);
            p->items[i] = (struct pub_item){.seq = t->seq, .offset = offset, .len = t->len};
            memcpy(pub_data(p) + offset, t->body, t->len);
            offset += t->len;
        }
        shard_post(s, s->hub->shards[k], &p->mail);
    }
}

static struct window_item *only_item(void *ctx, uint32_t i)
{
    (void)i;
    return ctx;
}

static struct window_item *ring_item(void *ctx, uint32_t i)
{
    struct window *b = ctx;
    return &b->items[(b->head + i) % b->max];
}

static uint8_t merged_mask(const struct conv *v)
{
    return (uint8_t)(1u << MODE_MERGED | (conv_default_push(v) == MODE_MERGED ? 1u << MODE_DEFAULT : 0));
}

static uint8_t plain_mask(const struct conv *v)
{
    return (uint8_t)(1u << MODE_ALL | (conv_default_push(v) == MODE_ALL ? 1u << MODE_DEFAULT : 0));
}

static void window_out(struct shard *s, uint32_t conv, struct window **at)
{
    struct window *b = *at;
    if (!b)
        return;
    struct conv *v = conv_at(s, conv);
    if (b->count) {
        struct publication n = {.from = b->from,
                                .to = b->to,
                                .omitted = b->omitted,
                                .count = b->count,
                                .action = PUSH_CHANNEL_MESSAGE,
                                .mask = b->merged ? merged_mask(v) : plain_mask(v),
                                .merged = b->merged};
        publish(s, conv, &n, ring_item, b);
    }
    window_free(s, b);
    *at = NULL;
}

void windows_flush(struct shard *s, uint32_t conv)
{
    struct conv *v = conv_at(s, conv);
    window_out(s, conv, &v->plain);
    window_out(s, conv, &v->merged);
}

static void window_due(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    struct window *b = (struct window *)w;
    struct shard *s = b->shard;
    uint32_t conv = b->conv;
    struct conv *v = conv_at(s, conv);
    if (b->merged)
        v->window_due = b->due;
    window_out(s, conv, b->merged ? &v->merged : &v->plain);
}

static uint32_t window_length(const struct shard *s, const struct conv *v)
{
    return v->window_ms ? v->window_ms : s->opt->slice_ms;
}

/*
 * How long a window that begins now is, in seconds. Where messages come one after the other it begins when the last one
 * was due, not with its first message: a busy channel then has a steady beat, and nobody waits for longer than a
 * window. (A beat just above 200 ms is the worst there could be: Linux takes a gap of its smallest retransmission
 * timeout for a restart and acknowledges the next segments one by one.)
 */
static double window_seconds(const struct shard *s, const struct conv *v, bool merged)
{
    double whole = window_length(s, v) / 1000.0, late = ev_now(s->loop) - v->window_due;
    return merged && late >= 0 && late < whole / 8 ? whole - late : whole;
}

static struct window *window_open(struct shard *s, uint32_t conv, bool merged, uint64_t seq)
{
    const struct conv *v = conv_at(s, conv);
    uint32_t max = v->window_max ? v->window_max : s->opt->slice_max;
    if (max == 0 || max > WINDOW_MAX)
        max = WINDOW_MAX;
    struct window *b = calloc(1, sizeof *b + max * sizeof b->items[0]);
    if (!b)
        return NULL;
    b->shard = s;
    b->conv = conv;
    b->merged = merged;
    b->from = seq;
    b->max = max;
    double seconds = window_seconds(s, v, merged);
    b->due = ev_now(s->loop) + seconds;
    ev_timer_init(&b->timer, window_due, seconds, 0.);
    ev_timer_start(s->loop, &b->timer);
    return b;
}

/* A window goes as one frame, and what the server sends is cut at limits.page. */
static void window_cut(const struct shard *s, struct window *b)
{
    while (b->count > 1 && s->opt->page_max && b->bytes + 256 > s->opt->page_max)
        window_drop_oldest(b);
}

/* Adds to a window, opening it; without memory the message is left out, and the receivers see the jump. */
static void window_add(struct shard *s, uint32_t conv, bool merged, uint64_t seq, struct slice body)
{
    struct conv *v = conv_at(s, conv);
    struct window **at = merged ? &v->merged : &v->plain;
    if (!*at && !(*at = window_open(s, conv, merged, seq)))
        return;
    struct window *b = *at;
    b->to = seq;
    char *copy = malloc(body.n);
    if (!copy) {
        b->omitted++;
        return;
    }
    memcpy(copy, body.p, body.n);
    if (b->count == b->max)
        window_drop_oldest(b);
    b->items[(b->head + b->count++) % b->max] = (struct window_item){.seq = seq, .len = (uint32_t)body.n, .body = copy};
    b->bytes += body.n + 1;
    window_cut(s, b);
}

void conv_publish(struct shard *s, uint32_t conv, uint64_t seq, struct slice body, bool over_limit)
{
    struct conv *v = conv_at(s, conv);
    if (conv_has(s, conv, plain_mask(v))) {
        /* Once a window is open everything goes through it: order first. */
        if (over_limit || v->plain) {
            window_add(s, conv, false, seq, body);
        } else {
            struct window_item one = {.seq = seq, .len = (uint32_t)body.n, .body = (char *)(uintptr_t)body.p};
            struct publication n = {
                .from = seq, .to = seq, .count = 1, .action = PUSH_CHANNEL_MESSAGE, .mask = plain_mask(v)};
            publish(s, conv, &n, only_item, &one);
        }
    }
    if (conv_has(s, conv, merged_mask(v))) {
        bool at_once = window_length(s, v) == 0;
        if (at_once)
            windows_flush(s, conv);
        window_add(s, conv, true, seq, body);
        if (at_once)
            windows_flush(s, conv);
    }
}

static void window_take_out(struct window *b, uint64_t seq)
{
    for (uint32_t i = 0; b && i < b->count; i++) {
        struct window_item *t = ring_item(b, i);
        if (t->seq != seq)
            continue;
        b->bytes -= t->len + 1;
        free(t->body);
        for (uint32_t j = i; j + 1 < b->count; j++)
            *ring_item(b, j) = *ring_item(b, j + 1);
        b->count--;
        b->omitted++;
        return;
    }
}

/* To everybody but those of the modes in `spared`. */
static void publish_change(struct shard *s, uint32_t conv, enum push_action action, uint64_t seq, struct slice body,
                           uint8_t spared)
{
    struct window_item one = {.seq = seq, .len = (uint32_t)body.n, .body = (char *)(uintptr_t)body.p};
    struct publication n = {
        .from = seq,
        .to = seq,
        .count = 1,
        .action = (uint16_t)action,
        .mask = (uint8_t)((1u << MODE_DEFAULT | 1u << MODE_ALL | 1u << MODE_MERGED) & ~(unsigned)spared)};
    publish(s, conv, &n, only_item, &one);
}

void conv_publish_recall(struct shard *s, uint32_t conv, uint64_t seq, struct slice body)
{
    struct conv *v = conv_at(s, conv);
    window_take_out(v->merged, seq);
    window_take_out(v->plain, seq);
    publish_change(s, conv, PUSH_RECALLED, seq, body, 0);
}

/* Puts the message in the place of the one that the window holds. False: its receivers have it already; else they have
 * not heard of it, and the window, or history, brings them the new one. */
static bool window_replace(const struct shard *s, struct window *b, uint64_t seq, struct slice message)
{
    if (!b || seq < b->from || seq > b->to)
        return false;
    for (uint32_t i = 0; i < b->count; i++) {
        struct window_item *t = ring_item(b, i);
        if (t->seq != seq)
            continue;
        char *copy = malloc(message.n);
        if (!copy) {
            window_take_out(b, seq);
            break;
        }
        memcpy(copy, message.p, message.n);
        free(t->body);
        b->bytes += message.n - t->len;
        t->body = copy;
        t->len = (uint32_t)message.n;
        window_cut(s, b);
        break;
    }
    return true;
}

void conv_publish_edit(struct shard *s, uint32_t conv, uint64_t seq, struct slice body, struct slice message)
{
    struct conv *v = conv_at(s, conv);
    uint8_t spared = 0;
    if (window_replace(s, v->merged, seq, message))
        spared |= merged_mask(v);
    if (window_replace(s, v->plain, seq, message))
        spared |= plain_mask(v);
    publish_change(s, conv, PUSH_EDITED, seq, body, spared);
}

void conv_publish_members(struct shard *s, uint32_t conv, uint64_t user, struct slice body)
{
    struct window_item one = {.seq = 0, .len = (uint32_t)body.n, .body = (char *)(uintptr_t)body.p};
    struct publication n = {
        .from = user, .to = user, .count = 1, .action = PUSH_MEMBERSHIP, .mask = (uint8_t)INTEREST_EVENTS};
    publish(s, conv, &n, only_item, &one);
}
