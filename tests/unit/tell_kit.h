/* For tests of what the Redis engine tells other nodes: fake masters (redis_peer.h) that hear what is published, and
 * reply to functions as the test says. */
#ifndef MAGPIE_TESTS_TELL_KIT_H
#define MAGPIE_TESTS_TELL_KIT_H

#include "redis_peer.h"

#include "core/base/mailbox.h"
#include "storage/conv_key.h"
#include "storage/redis/bus/news.h"
#include "storage/redis/bus/tell.h"
#include "storage/redis/client/publish.h"
#include "storage/redis/layout.h"
#include "storage/redis/nodes/node.h"
#include "storage/redis/task.h"

enum { HEARD = 64, REPLIES = 16, NO_NODE = 0 };

/* What was published. */
static struct {
    char channel[160];
    struct bus_news *news[8];
    unsigned n;
} heard[HEARD];
static unsigned heard_n;

/* What functions reply; those that are not here say N. */
static struct {
    const char *name;
    struct buf text;
} replies[REPLIES];
static unsigned replies_n;
static const char *refuse = "CLUSTERDOWN The cluster is down"; /* how SPUBLISH is answered instead … */
static unsigned refusals;                                      /* … so often */
static bool silent;                                            /* SPUBLISH is done, and not answered */
static bool ran_silent; /* functions are run, and their first call is not answered */
static struct mailbox home;
static unsigned answered;

static inline struct buf *reply_of(const char *name)
{
    unsigned i = 0;
    while (i < replies_n && strcmp(replies[i].name, name) != 0)
        i++;
    assert_true(i < REPLIES);
    replies_n = i == replies_n ? i + 1 : replies_n;
    replies[i].name = name;
    buf_reset(&replies[i].text);
    return &replies[i].text;
}

static inline void put48(struct buf *b, uint64_t v)
{
    buf_u16(b, (uint16_t)(v >> 32));
    buf_u32(b, (uint32_t)v);
}

static inline void put64(struct buf *b, uint64_t v)
{
    buf_u32(b, (uint32_t)(v >> 32));
    buf_u32(b, (uint32_t)v);
}

/* As sessions_pack() of functions/head.lua. */
static inline void put_nodes(struct buf *b, uint64_t one, uint64_t two)
{
    buf_u16(b, (uint16_t)((one != NO_NODE) + (two != NO_NODE)));
    if (one)
        put48(b, one);
    if (two)
        put48(b, two);
}

static inline void hear(const struct reply *command)
{
    struct slice message = command->list[2].text, channel = command->list[1].text;
    struct news_in in;
    assert_true(heard_n < HEARD && channel.n < sizeof heard->channel);
    snprintf(heard[heard_n].channel, sizeof heard->channel, "%.*s", (int)channel.n, channel.p);
    heard[heard_n].n = 0;
    while (news_next(&message, &in) == 1) {
        assert_true(heard[heard_n].n < 8);
        assert_int_equal(news_read(&in, &heard[heard_n].news[heard[heard_n].n++]), 0);
    }
    assert_int_equal(message.n, 0);
    heard_n++;
}

static inline void forget_heard(void)
{
    for (unsigned i = 0; i < heard_n; i++)
        for (unsigned j = 0; j < heard[i].n; j++)
            free(heard[i].news[j]);
    heard_n = 0;
}

static inline bool answer(struct peer *p, const struct reply *command, struct buf *out)
{
    struct slice name = command->list[0].text;
    (void)p;
    if (peer_is(name, "SPUBLISH")) {
        if (refusals) {
            refusals--;
            buf_printf(out, "-%s\r\n", refuse);
            return true;
        }
        hear(command);
        if (!silent)
            buf_lit(out, ":1\r\n");
        return true;
    }
    if (!peer_is(name, "FCALL") && !peer_is(name, "FCALL_RO"))
        return false;
    if (ran_silent) {
        ran_silent = false;
        peer_hang_up(&p->conns[0]); /* of the changes: it was opened first */
        return true;
    }
    for (unsigned i = 0; i < replies_n; i++) {
        struct slice fn = command->list[1].text, text = buf_slice(&replies[i].text);
        size_t n = strlen(replies[i].name);
        if (fn.n > n && fn.p[fn.n - n - 1] == '_' && memcmp(fn.p + fn.n - n, replies[i].name, n) == 0) {
            buf_printf(out, "$%zu\r\n", text.n);
            buf_slice_put(out, text);
            buf_lit(out, "\r\n");
            return true;
        }
    }
    buf_lit(out, "$1\r\nN\r\n");
    return true;
}

static inline struct lane *news_lane(struct world *w)
{
    return &w->r->parts[0].master->lanes[LANE_NEWS];
}

static inline void wake_nobody(void *ctx)
{
    (void)ctx;
}

static inline int setup(void **state)
{
    world_setup(state);
    struct world *w = *state;
    for (int i = 0; i < PEERS; i++)
        w->peers[i].answer = answer;
    tell_start(w->r);
    UNTIL(w, news_lane(w)->link.state == LINK_READY);
    mailbox_init(&home, wake_nobody, NULL);
    heard_n = replies_n = refusals = answered = 0;
    silent = ran_silent = false;
    struct buf *there = reply_of("there"); /* nobody has asked yet who was deleted: each user is there */
    buf_lit(there, "N\1");
    put48(there, 0);
    return 0;
}

static inline int teardown(void **state)
{
    forget_heard();
    for (unsigned i = 0; i < REPLIES; i++)
        buf_free(&replies[i].text);
    int r = world_teardown(state);
    mailbox_run(&home, NULL);
    mailbox_fini(&home);
    return r;
}

static inline void done(void *owner, struct store_op *op)
{
    (void)owner, (void)op;
    answered++;
}

static inline void run(struct world *w, void *op, enum store_op_kind kind)
{
    struct store_op *o = op;
    o->home = &home;
    o->done = done;
    store_op_begin(o, (uint8_t)kind);
    o->status = STORE_FATAL;
    atomic_fetch_add(&w->r->stats.queue, 1);
    task_begin(w->r, o);
}

static inline unsigned answers(void)
{
    mailbox_run(&home, NULL);
    return answered;
}

static inline const struct bus_news *only(void)
{
    assert_int_equal(heard_n, 1);
    assert_int_equal(heard[0].n, 1);
    return heard[0].news[0];
}

#define ROOM              SLICE_LIT("croom")
#define TEXT(slice, text) assert_true(slice_eq(slice, SLICE_LIT(text)))

static inline void append_replies(char code, uint64_t seq, bool pending)
{
    struct buf *b = reply_of("append");
    buf_byte(b, (uint8_t)code);
    put64(b, (seq + 1000) << 22);
    put48(b, seq);
    put48(b, LAYOUT_YEAR_2020 + 1000);
    put48(b, 1);
    buf_u32(b, 7);
    buf_byte(b, TIER_LARGE);
    put48(b, 33);
    buf_byte(b, pending);
}

static inline struct store_append to_room(void)
{
    return (struct store_append){.conv = ROOM,
                                 .tier = TIER_SMALL,
                                 .sender = SLICE_LIT("ann"),
                                 .sender_name = SLICE_LIT("Ann"),
                                 .content = SLICE_LIT("{\"a\":1}"),
                                 .client_id = SLICE_LIT("id"),
                                 .stranger = true,
                                 .advice = SLICE_LIT("advice")};
}

#endif
