/* For tests of what a node makes of news: the other nodes, which share its store, and what members here get. */
#ifndef MAGPIE_TESTS_NEWS_KIT_H
#define MAGPIE_TESTS_NEWS_KIT_H

#include "cluster_kit.h"

#include "core/hub/talk/news.h"
#include "core/hub/talk/news_lane.h"

enum { FAR = TEST_BUS_SELF + 2 };

/* --- The other nodes: they share the store, and are heard of by news ---------------------------------------------- */

static inline void other_done(void *owner, struct store_op *op)
{
    (void)owner;
    op->home = NULL;
}

/* Where their answers come; the store's threads may look at it after they have posted. */
static inline struct mailbox *other_home(void)
{
    static struct mailbox home;
    static bool made;
    if (!made)
        mailbox_init(&home, NULL, NULL);
    made = true;
    return &home;
}

/* Hands an operation to the store, past the hub and its gate, and waits for it. One thread at a time. */
#define OTHER(fn, q)                                                                                                   \
    do {                                                                                                               \
        (q)->op.home = other_home();                                                                                   \
        (q)->op.done = other_done;                                                                                     \
        fn(kit_gate.behind, (q));                                                                                      \
        while ((q)->op.home) {                                                                                         \
            mailbox_run(other_home(), NULL);                                                                           \
            sched_yield();                                                                                             \
        }                                                                                                              \
    } while (0)

/* A message that another node has stored, and the news of it. */
struct said {
    struct conv_key key;
    char content[32];
    struct bus_news n;
};

static inline void say_in(struct said *x, struct conv_key key, const char *sender, const char *receiver,
                          const char *fmt, va_list ap)
{
    memset(x, 0, sizeof *x);
    x->key = key;
    vsnprintf(x->content, sizeof x->content, fmt, ap);
    bool channel = conv_is_channel(conv_key_slice(&x->key));
    struct store_append a = {.conv = conv_key_slice(&x->key),
                             .tier = channel ? TIER_SMALL : TIER_DM,
                             .sender = S(sender),
                             .sender_name = S(sender),
                             .content = S(x->content),
                             .receiver = S(receiver)};
    OTHER(store_append, &a);
    assert_int_equal(a.op.status, STORE_OK);
    x->n = (struct bus_news){.kind = NEWS_MESSAGE,
                             .tier = (uint8_t)a.tier,
                             .origin = FAR,
                             .seq = a.seq,
                             .id = a.id,
                             .time = a.created_ms,
                             .conv = conv_key_slice(&x->key),
                             .user = S(receiver),
                             .sender = S(sender),
                             .name = S(sender),
                             .content = S(x->content)};
}

__attribute__((format(printf, 3, 4))) static inline struct said *say(const char *channel, const char *sender,
                                                                     const char *fmt, ...)
{
    static struct said ring[512];
    static unsigned at;
    struct said *x = &ring[at++ % 512];
    va_list ap;
    va_start(ap, fmt);
    say_in(x, conv_key_channel(S(channel)), sender, "", fmt, ap);
    va_end(ap);
    return x;
}

__attribute__((format(printf, 3, 4))) static inline struct said *say_to(const char *receiver, const char *sender,
                                                                        const char *fmt, ...)
{
    static struct said ring[64];
    static unsigned at;
    struct said *x = &ring[at++ % 64];
    va_list ap;
    va_start(ap, fmt);
    say_in(x, conv_key_pair(S(sender), S(receiver)), sender, receiver, fmt, ap);
    va_end(ap);
    return x;
}

static inline void hear(const struct said *x)
{
    test_bus_hear(&kit_bus, &x->n);
}

static inline void hear_edit(const struct said *x, uint64_t at, const char *content)
{
    struct bus_news n = x->n;
    n.kind = NEWS_EDITED;
    n.created = n.time;
    n.time = at;
    n.content = S(content);
    test_bus_hear(&kit_bus, &n);
}

static inline void hear_recall(const struct said *x)
{
    struct bus_news n = {.kind = NEWS_RECALLED,
                         .seq = x->n.seq,
                         .id = x->n.id,
                         .conv = x->n.conv,
                         .user = x->n.user,
                         .sender = x->n.sender};
    test_bus_hear(&kit_bus, &n);
}

static inline void hear_nudge(const struct said *x, uint64_t arrival)
{
    struct bus_news n = {.kind = NEWS_NUDGE, .seq = x->n.seq, .conv = x->n.conv, .user = x->n.user, .arrival = arrival};
    test_bus_hear(&kit_bus, &n);
}

/* Somebody comes into or leaves a channel at another node. */
static inline void hear_member(const char *channel, uint64_t version, uint32_t members, int change, const char *id)
{
    struct conv_key key = conv_key_channel(S(channel));
    struct bus_news n = {.kind = NEWS_CHANNEL,
                         .tier = TIER_SMALL,
                         .change = (uint8_t)(change + 1),
                         .members = members,
                         .version = version,
                         .conv = conv_key_slice(&key),
                         .sender = S(id),
                         .name = S(id)};
    test_bus_hear(&kit_bus, &n);
}

/* A node of one shard, and ann, who is in the room. */
static inline struct peer *begin_in_room(struct kit *k)
{
    open_cluster(k, 1);
    struct peer *a = peer_login(k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    return a;
}

static inline void end_with(struct kit *k, struct peer *a)
{
    peer_close(a);
    kit_end(k);
}

/* --- What members get --------------------------------------------------------------------------------------------- */

/* The next push 102 is this one. */
static inline void gets(struct peer *p, uint64_t seq, const char *content)
{
    char part[80];
    const char *body = peer_push(p, 102);
    assert_int_equal(number(body, "seq"), seq);
    snprintf(part, sizeof part, "\"content\":\"%s\"", content);
    has(body, part);
}

/* What is missing comes by news alone: however slow this machine is, none of it is read. Until gate_open(OP_RANGE). */
static inline void no_reading(void)
{
    gate_hold(OP_RANGE);
}

static inline void gets_nothing(struct kit *k, struct peer *p)
{
    kit_settle(k);
    assert_int_equal(peer_left(p), 0);
}

static inline struct heard *heard_of(const struct kit *k, const char *channel)
{
    struct conv *v = kit_conv(k, conv_key_channel(S(channel)));
    return v ? v->heard : NULL;
}

#endif
