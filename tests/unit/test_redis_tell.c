/* What other nodes are told, and when operations are answered: against fake masters (tell.c, publish.c). */
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
static const char *refuse; /* how SPUBLISH is answered instead */
static unsigned refusals;  /* so often */
static bool silent;        /* SPUBLISH is done, and not answered */
static bool ran_silent;    /* functions are run, and their first call is not answered */
static struct mailbox home;
static unsigned answered;

static struct buf *reply_of(const char *name)
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

static void put48(struct buf *b, uint64_t v)
{
    buf_u16(b, (uint16_t)(v >> 32));
    buf_u32(b, (uint32_t)v);
}

static void put64(struct buf *b, uint64_t v)
{
    buf_u32(b, (uint32_t)(v >> 32));
    buf_u32(b, (uint32_t)v);
}

/* As sessions_pack() of functions/head.lua. */
static void put_nodes(struct buf *b, uint64_t one, uint64_t two)
{
    buf_u16(b, (uint16_t)((one != NO_NODE) + (two != NO_NODE)));
    if (one)
        put48(b, one);
    if (two)
        put48(b, two);
}

static void hear(const struct reply *command)
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

static void forget_heard(void)
{
    for (unsigned i = 0; i < heard_n; i++)
        for (unsigned j = 0; j < heard[i].n; j++)
            free(heard[i].news[j]);
    heard_n = 0;
}

static bool answer(struct peer *p, const struct reply *command, struct buf *out)
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

static struct lane *news_lane(struct world *w)
{
    return &w->r->parts[0].master->lanes[LANE_NEWS];
}

static void wake_nobody(void *ctx)
{
    (void)ctx;
}

static int setup(void **state)
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

static int teardown(void **state)
{
    forget_heard();
    for (unsigned i = 0; i < REPLIES; i++)
        buf_free(&replies[i].text);
    int r = world_teardown(state);
    mailbox_run(&home, NULL);
    mailbox_fini(&home);
    return r;
}

static void done(void *owner, struct store_op *op)
{
    (void)owner, (void)op;
    answered++;
}

static void run(struct world *w, void *op, enum store_op_kind kind)
{
    struct store_op *o = op;
    o->home = &home;
    o->done = done;
    store_op_begin(o, (uint8_t)kind);
    o->status = STORE_FATAL;
    atomic_fetch_add(&w->r->stats.queue, 1);
    task_begin(w->r, o);
}

static unsigned answers(void)
{
    mailbox_run(&home, NULL);
    return answered;
}

static const struct bus_news *only(void)
{
    assert_int_equal(heard_n, 1);
    assert_int_equal(heard[0].n, 1);
    return heard[0].news[0];
}

#define ROOM              SLICE_LIT("croom")
#define TEXT(slice, text) assert_true(slice_eq(slice, SLICE_LIT(text)))

static void append_replies(char code, uint64_t seq, bool pending)
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

static struct store_append to_room(void)
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

/* --- When it is answered ------------------------------------------------------------------------------------------ */

static void a_channel_message_is_told_then_answered(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    redis_link_end(&news_lane(w)->link, "the test says so");
    run(w, &a, OP_APPEND);
    SOON(w, news_lane(w)->master->bytes > 0); /* what is told waits for the link */
    world_turn(w);
    assert_int_equal(answers(), 0);
    UNTIL(w, answers() == 1);
    assert_int_equal(a.op.status, STORE_OK);
    assert_int_equal(a.members, 7);
    SOON(w, heard_n == 1);
    const struct bus_news *n = only();
    assert_non_null(strstr(heard[0].channel, "}:croom"));
    assert_int_equal(strncmp(heard[0].channel, "mb{", 3), 0);
    assert_int_equal(n->kind, NEWS_MESSAGE);
    assert_int_equal(n->seq, 5);
    assert_int_equal(n->id, a.id);
    assert_int_equal(n->time, LAYOUT_YEAR_2020 + 1000);
    assert_int_equal(n->members, 7);
    assert_int_equal(n->tier, TIER_LARGE);
    TEXT(n->sender, "ann");
    TEXT(n->name, "Ann");
    TEXT(n->content, "{\"a\":1}");
    TEXT(n->advice, "advice");
}

static void patience_ends_the_wait_and_not_the_news(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    ev_io_stop(w->r->loop, &w->peers[0].acceptable); /* nobody greets it any more */
    redis_link_end(&news_lane(w)->link, "the test says so");
    uint64_t begun = w->now;
    run(w, &a, OP_APPEND);
    UNTIL(w, answers() == 1);
    assert_int_equal(a.op.status, STORE_OK);
    assert_in_range(w->now - begun, 8000, 8000 + 1000);
    assert_int_equal(heard_n, 0);
    world_pass(w, 10000);
    ev_io_start(w->r->loop, &w->peers[0].acceptable);
    UNTIL(w, heard_n == 1);
    world_pass(w, 3000);
    assert_int_equal(heard_n, 1);
}

static void news_are_forgotten_after_a_minute(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    ev_io_stop(w->r->loop, &w->peers[0].acceptable);
    redis_link_end(&news_lane(w)->link, "the test says so");
    run(w, &a, OP_APPEND);
    UNTIL(w, answers() == 1);
    assert_true(news_lane(w)->master->bytes > 0);
    world_pass(w, NEWS_KEEP);
    assert_int_equal(news_lane(w)->master->bytes, 0);
    ev_io_start(w->r->loop, &w->peers[0].acceptable);
    UNTIL(w, news_lane(w)->link.state == LINK_READY);
    assert_int_equal(heard_n, 0);
}

static void what_is_not_answered_is_told_again(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    silent = true;
    run(w, &a, OP_APPEND);
    SOON(w, heard_n == 1);
    SOON(w, answers() == 1);
    silent = false;
    redis_link_end(&news_lane(w)->link, "the test says so");
    UNTIL(w, heard_n == 2);
    world_pass(w, 2000);
    assert_int_equal(heard_n, 2);
    assert_int_equal(answers(), 1);
    assert_string_equal(heard[0].channel, heard[1].channel);
}

static void a_slow_redis_ends_the_link_and_is_told_again(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    silent = true;
    run(w, &a, OP_APPEND);
    SOON(w, heard_n == 1);
    world_pass(w, 3 * LINK_SILENCE);
    assert_true(heard_n > 1);
    silent = false;
    UNTIL(w, !news_lane(w)->group.sent.first && !news_lane(w)->master->bytes);
    assert_int_equal(answers(), 1);
}

static void what_is_refused_is_told_again_in_order(void **state)
{
    struct world *w = *state;
    static const char *const errors[] = {"MOVED 80 127.0.0.1:1", "CLUSTERDOWN The cluster is down",
                                         "LOADING Redis is loading the dataset in memory", "OOM used memory is large"};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct store_append a = to_room(), b = to_room();
        forget_heard();
        answered = 0;
        refuse = errors[i];
        refusals = 2;
        append_replies('N', 5, false);
        run(w, &a, OP_APPEND);
        SOON(w, a.op.status == STORE_OK);
        append_replies('N', 6, false);
        run(w, &b, OP_APPEND);
        UNTIL(w, answers() == 2); /* the partition pauses for a moment */
        UNTIL(w, heard_n == 2);
        assert_int_equal(heard[0].news[0]->seq + heard[1].news[0]->seq, 11);
    }
    /* One that Redis does not know, or forbids: it is not tried for ever, and harms no other. */
    struct store_append c = to_room();
    forget_heard();
    refuse = "NOPERM this user has no permissions to access one of the channels";
    refusals = 1;
    run(w, &c, OP_APPEND);
    UNTIL(w, !refusals && !news_lane(w)->master->bytes && !news_lane(w)->group.sent.first);
    assert_int_equal(heard_n, 0);
    assert_int_equal(answers(), 3);
}

static void news_of_one_turn_go_in_one_message(void **state)
{
    struct world *w = *state;
    struct bus_news n = {.kind = NEWS_NUDGE, .conv = ROOM};
    for (n.seq = 1; n.seq <= 3; n.seq++)
        tell_channel(w->r, NULL, &n);
    n.conv = SLICE_LIT("cother");
    tell_channel(w->r, NULL, &n);
    n.conv = ROOM;
    tell_channel(w->r, NULL, &n);
    SOON(w, heard_n == 2);
    unsigned room = strstr(heard[0].channel, "}:croom") ? 0 : 1;
    assert_non_null(strstr(heard[!room].channel, "}:cother"));
    assert_int_equal(heard[!room].n, 1);
    assert_int_equal(heard[room].n, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(heard[room].news[i]->seq, i + 1);
    tell_channel(w->r, NULL, &n); /* the next turn makes the next one */
    SOON(w, heard_n == 3);
}

static void a_message_is_not_endless(void **state)
{
    struct world *w = *state;
    char *big = calloc(1, 50000);
    memset(big, 'x', 50000);
    struct bus_news n = {.kind = NEWS_MESSAGE,
                         .conv = ROOM,
                         .sender = SLICE_LIT("ann"),
                         .name = SLICE_LIT("Ann"),
                         .content = slice_of(big, 50000)};
    for (n.seq = 1; n.seq <= 60; n.seq++)
        tell_channel(w->r, NULL, &n);
    SOON(w, heard_n == 30); /* 3 MB: more than the kernel takes at once */
    uint64_t seq = 0;
    for (unsigned i = 0; i < heard_n; i++)
        for (unsigned j = 0; j < heard[i].n; j++)
            assert_int_equal(heard[i].news[j]->seq, ++seq);
    assert_int_equal(seq, 60);
    free(big);
}

/* Reads of the engine's end: what was told is sent or given up, and nothing is left. */
static void the_engine_ends_with_news_that_wait(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('N', 5, false);
    redis_link_end(&news_lane(w)->link, "the test says so");
    run(w, &a, OP_APPEND);
    SOON(w, news_lane(w)->master->bytes > 0);
    struct bus_news n = {.kind = NEWS_NUDGE, .conv = ROOM, .seq = 1};
    tell_channel(w->r, NULL, &n);
    queue_stop(w->r);
    assert_int_equal(answers(), 1);
    assert_null(tell_open(w->r, NULL, 'b', 0, ROOM));
}

/* --- What is told ------------------------------------------------------------------------------------------------- */

static void what_was_done_before_is_a_nudge(void **state)
{
    struct world *w = *state;
    struct store_append a = to_room();
    append_replies('D', 5, false);
    run(w, &a, OP_APPEND);
    SOON(w, answers() == 1 && heard_n == 1);
    assert_true(a.duplicate);
    assert_int_equal(only()->kind, NEWS_NUDGE);
    assert_int_equal(only()->seq, 5);
}

static void refusals_say_why(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *code;
        enum store_check refused;
        enum store_status status;
    } cases[] = {{"F", CHECK_MEMBER, STORE_DENIED},
                 {"B", CHECK_BLOCK, STORE_DENIED},
                 {"X", CHECK_NONE, STORE_NOTFOUND},
                 {"W", CHECK_NONE, STORE_RETRY}};
    for (unsigned i = 0; i < 4; i++) {
        struct store_append a = to_room();
        a.check = CHECK_MEMBER;
        a.refused = CHECK_BLOCK;
        answered = 0;
        buf_str(reply_of("append"), cases[i].code);
        run(w, &a, OP_APPEND);
        SOON(w, answers() == 1);
        assert_int_equal(a.op.status, cases[i].status);
        assert_int_equal(a.refused, cases[i].refused);
    }
    assert_int_equal(heard_n, 0);
}

static struct store_append to_bob(void)
{
    struct store_append a = to_room();
    a.conv = SLICE_LIT("pann\0bob");
    a.tier = TIER_DM;
    a.receiver = SLICE_LIT("bob");
    return a;
}

static const struct bus_news *heard_by(const char *node, const char *user)
{
    for (unsigned i = 0; i < heard_n; i++) {
        const char *at = strstr(heard[i].channel, "}:");
        for (unsigned j = 0; j < heard[i].n; j++)
            if (strncmp(heard[i].channel, "mn{", 3) == 0 && strcmp(at + 2, node) == 0 &&
                slice_eq(heard[i].news[j]->user, slice_str(user)))
                return heard[i].news[j];
    }
    return NULL;
}

static void inbox_replies(char code, uint64_t place)
{
    struct buf *b = reply_of("inbox_put");
    buf_byte(b, (uint8_t)code);
    put48(b, place);
    put48(b, 44);
    put_nodes(b, 900, 901);
}

static void a_private_message_is_told_to_both(void **state)
{
    struct world *w = *state;
    struct store_append a = to_bob();
    append_replies('N', 5, true);
    inbox_replies('N', 44);
    struct buf *sent = reply_of("sent");
    buf_byte(sent, 'N');
    put_nodes(sent, 902, NO_NODE);
    run(w, &a, OP_APPEND);
    SOON(w, answers() == 1);
    assert_int_equal(a.op.status, STORE_OK);
    assert_int_equal(a.arrival, 44);
    SOON(w, heard_n == 3);
    for (int i = 0; i < 3; i++) {
        const struct bus_news *n = heard_by(i == 0 ? "900" : i == 1 ? "901" : "902", i < 2 ? "bob" : "ann");
        assert_non_null(n);
        assert_int_equal(n->kind, NEWS_MESSAGE);
        assert_int_equal(n->arrival, i < 2 ? 44 : 0);
        assert_int_equal(n->seq, 5);
        assert_int_equal(n->id, a.id);
        TEXT(n->conv, "pann\0bob");
        TEXT(n->sender, "ann");
        TEXT(n->content, "{\"a\":1}");
    }
    /* From the higher id to the lower one it is the other way round. */
    forget_heard();
    struct store_append back = to_bob();
    back.sender = SLICE_LIT("bob");
    back.receiver = SLICE_LIT("ann");
    run(w, &back, OP_APPEND);
    SOON(w, answers() == 2 && heard_n == 3);
    assert_int_equal(heard_by("900", "ann")->arrival, 44);
    assert_int_equal(heard_by("902", "bob")->arrival, 0);
}

static void halves_that_were_done_before(void **state)
{
    struct world *w = *state;
    struct store_append a = to_bob();
    append_replies('D', 5, true); /* its intent stands still */
    inbox_replies('D', 41);
    run(w, &a, OP_APPEND);
    SOON(w, answers() == 1 && heard_n == 2);
    assert_int_equal(heard_by("900", "bob")->kind, NEWS_NUDGE);
    assert_int_equal(heard_by("901", "bob")->arrival, 41);
    forget_heard();
    inbox_replies('D', 0); /* it was acknowledged meanwhile */
    struct store_append b = to_bob();
    run(w, &b, OP_APPEND);
    SOON(w, answers() == 2);
    world_pass(w, 100);
    assert_int_equal(heard_n, 0);
    append_replies('D', 5, false); /* nothing is left to be done */
    struct store_append c = to_bob();
    run(w, &c, OP_APPEND);
    SOON(w, answers() == 3);
    world_pass(w, 100);
    assert_int_equal(heard_n, 0);
}

static void change_replies(char code, uint64_t edited)
{
    struct buf *b = reply_of("change");
    buf_byte(b, (uint8_t)code);
    put64(b, 77);
    put48(b, 1600000000000);
    put48(b, edited);
    buf_u16(b, 2);
    buf_lit(b, "Ann");
}

static void recalls_and_edits(void **state)
{
    struct world *w = *state;
    struct store_recall q = {.conv = ROOM, .sender = SLICE_LIT("ann"), .seq = 3};
    change_replies('N', 0);
    run(w, &q, OP_RECALL);
    SOON(w, answers() == 1 && heard_n == 1);
    assert_int_equal(only()->kind, NEWS_RECALLED);
    assert_int_equal(only()->seq, 3);
    assert_int_equal(only()->id, 77);
    TEXT(only()->conv, "croom");
    forget_heard();
    change_replies('D', 0); /* whoever did it has told */
    struct store_recall again = {.conv = ROOM, .seq = 3};
    run(w, &again, OP_RECALL);
    SOON(w, answers() == 2);
    assert_true(again.again);
    world_pass(w, 100);
    assert_int_equal(heard_n, 0);
    struct buf *b = reply_of("presence");
    buf_lit(b, "N\0");
    put_nodes(b, 900, NO_NODE);
    change_replies('N', 1600000000500);
    struct store_edit e = {
        .conv = SLICE_LIT("pann\0bob"), .sender = SLICE_LIT("ann"), .seq = 3, .content = SLICE_LIT("new")};
    run(w, &e, OP_EDIT);
    SOON(w, answers() == 3 && heard_n == 2);
    for (int i = 0; i < 2; i++) {
        const struct bus_news *n = heard_by("900", i ? "ann" : "bob");
        assert_int_equal(n->kind, NEWS_EDITED);
        assert_int_equal(n->time, 1600000000500);
        assert_int_equal(n->created, 1600000000000);
        TEXT(n->content, "new");
        TEXT(n->name, "Ann");
        TEXT(n->sender, "ann");
    }
}

static void join_replies(bool existed, enum store_tier tier)
{
    struct buf *b = reply_of("join");
    buf_byte(b, 'N');
    buf_byte(b, 0);
    buf_byte(b, existed);
    buf_u32(b, 12);
    put48(b, 0);
    put48(b, 0);
    buf_byte(b, (uint8_t)tier);
    put48(b, 55);
    buf_u32(b, 1);
    b = reply_of("sub_put");
    buf_byte(b, 'N');
    buf_byte(b, 1);
    buf_byte(b, MODE_MERGED);
    buf_byte(b, 1);
    buf_byte(b, !existed);
    put48(b, 66);
    put_nodes(b, 900, NO_NODE);
}

static const struct bus_news *of_channel(void)
{
    for (unsigned i = 0; i < heard_n; i++)
        if (strncmp(heard[i].channel, "mb{", 3) == 0)
            return heard[i].news[0];
    return NULL;
}

static void joins(void **state)
{
    struct world *w = *state;
    struct store_member_put m = {.conv = ROOM, .user = SLICE_LIT("bob"), .name = SLICE_LIT("Bob"), .change = 9};
    join_replies(false, TIER_SMALL);
    run(w, &m, OP_MEMBER_PUT);
    SOON(w, answers() == 1 && heard_n == 2);
    assert_int_equal(m.version, 55);
    const struct bus_news *n = of_channel();
    assert_int_equal(n->kind, NEWS_CHANNEL);
    assert_int_equal(n->members, 12);
    assert_int_equal(n->version, 55);
    assert_int_equal(n->change, 9);
    TEXT(n->sender, "bob");
    TEXT(n->name, "Bob");
    n = heard_by("900", "bob");
    assert_int_equal(n->kind, NEWS_MEMBER);
    assert_int_equal(n->version, 66);
    assert_int_equal(n->push, MODE_MERGED);
    assert_int_equal(n->members, 12);
    assert_int_equal(n->change, 9);
    assert_true(n->events && !n->gone);
    TEXT(n->conv, "croom");
    /* Of a large one it is told, too: it may be small by now. */
    forget_heard();
    struct store_member_put large = m;
    join_replies(false, TIER_LARGE);
    run(w, &large, OP_MEMBER_PUT);
    SOON(w, answers() == 2 && heard_n == 2);
    TEXT(of_channel()->sender, "bob");
    assert_int_equal(of_channel()->tier, TIER_LARGE);
    assert_int_equal(of_channel()->members, 12);
    /* Who was a member and changes nothing is no news. */
    forget_heard();
    struct store_member_put again = m;
    join_replies(true, TIER_SMALL);
    run(w, &again, OP_MEMBER_PUT);
    SOON(w, answers() == 3);
    world_pass(w, 100);
    assert_int_equal(heard_n, 0);
}

static void a_join_whose_reply_was_lost(void **state)
{
    struct world *w = *state;
    struct store_member_put m = {.conv = ROOM, .user = SLICE_LIT("bob"), .name = SLICE_LIT("Bob"), .change = 9};
    join_replies(true, TIER_SMALL); /* as the second call has it */
    ran_silent = true;
    run(w, &m, OP_MEMBER_PUT);
    UNTIL(w, answers() == 1 && heard_n == 1);
    assert_int_equal(of_channel()->members, 12);
}

static void leaves(void **state)
{
    struct world *w = *state;
    struct store_member_del m = {.conv = ROOM, .user = SLICE_LIT("bob"), .name = SLICE_LIT("Bob"), .change = 4};
    struct buf *b = reply_of("leave");
    buf_lit(b, "N\1\0");
    buf_u32(b, 11);
    buf_byte(b, TIER_SMALL);
    put48(b, 56);
    buf_u32(b, 0);
    b = reply_of("sub_del");
    buf_lit(b, "N\1");
    put48(b, 67);
    put_nodes(b, 900, NO_NODE);
    run(w, &m, OP_MEMBER_DEL);
    SOON(w, answers() == 1 && heard_n == 2);
    assert_int_equal(m.version, 56);
    assert_int_equal(of_channel()->members, 11);
    TEXT(of_channel()->sender, "bob");
    assert_int_equal(of_channel()->change, 4);
    const struct bus_news *n = heard_by("900", "bob");
    assert_int_equal(n->version, 67);
    assert_true(n->gone);
}

static void people(void **state)
{
    struct world *w = *state;
    struct store_user_save u = {.id = SLICE_LIT("bob"), .name = SLICE_LIT("Bob")};
    struct buf *b = reply_of("user_set");
    buf_byte(b, 'N');
    buf_u32(b, 4);
    put48(b, 0);
    put48(b, 0);
    put48(b, 88);
    buf_byte(b, 0);
    put_nodes(b, 900, NO_NODE);
    run(w, &u, OP_USER_SAVE);
    SOON(w, answers() == 1 && heard_n == 1);
    assert_int_equal(only()->kind, NEWS_USER);
    assert_int_equal(only()->version, 88);
    assert_int_equal(only()->epoch, 4);
    TEXT(only()->name, "Bob");
    assert_non_null(heard_by("900", "bob"));
    assert_false(only()->gone);
    forget_heard();
    struct nodes *ns = (struct nodes *)(uintptr_t)node_others(w->r);
    ns->list = calloc(2, sizeof *ns->list); /* the node's own, which frees it */
    ns->n = ns->room = 2;
    ns->list[0].inc = ns->inc;
    ns->list[1].inc = 900;
    struct store_user_forget f = {.id = SLICE_LIT("bob"), .force = true, .step = FORGET_BEGIN};
    b = reply_of("forget");
    buf_lit(b, "N\0");
    buf_u32(b, 5);
    put48(b, 89);
    put_nodes(b, 900, NO_NODE);
    run(w, &f, OP_USER_FORGET);
    SOON(w, answers() == 2 && heard_n == 1);
    assert_int_equal(only()->kind, NEWS_USER);
    assert_int_equal(only()->version, 89);
    assert_int_equal(only()->epoch, 5);
    assert_true(only()->gone);
}

static void acknowledgements(void **state)
{
    struct world *w = *state;
    uint64_t id = 5;
    struct store_inbox_ack a = {.user = SLICE_LIT("bob"), .ids = &id, .id_count = 1};
    for (uint32_t removed = 0; removed < 2; removed++) {
        struct buf *b = reply_of("inbox_ack");
        buf_lit(b, "N\0");
        buf_u32(b, removed);
        buf_u32(b, 17);
        put_nodes(b, 900, NO_NODE);
        struct store_inbox_ack one = a;
        run(w, &one, OP_INBOX_ACK);
        SOON(w, answers() == removed + 1);
        if (!removed)
            world_pass(w, 100);
        SOON(w, heard_n == removed); /* what removes nothing is no news */
    }
    assert_int_equal(only()->kind, NEWS_INBOX);
    assert_int_equal(only()->count, 17);
    assert_non_null(heard_by("900", "bob"));
}

static void channels(void **state)
{
    struct world *w = *state;
    struct store_channel_save s = {.conv = ROOM, .tier = TIER_LARGE};
    struct buf *b = reply_of("tier");
    buf_byte(b, 'N');
    buf_u32(b, 12);
    put48(b, 57);
    run(w, &s, OP_CHANNEL_SAVE);
    SOON(w, answers() == 1 && heard_n == 1);
    assert_int_equal(only()->kind, NEWS_CHANNEL);
    assert_int_equal(only()->tier, TIER_LARGE);
    assert_int_equal(only()->members, 12);
    assert_int_equal(only()->version, 57);
    assert_false(only()->gone);
    forget_heard();
    struct store_channel_close c = {.conv = ROOM};
    b = reply_of("close");
    buf_byte(b, 'N');
    buf_u32(b, 2);
    put48(b, 58);
    run(w, &c, OP_CHANNEL_CLOSE);
    SOON(w, answers() == 2 && heard_n == 1);
    assert_true(only()->gone);
    assert_int_equal(only()->version, 58);
    forget_heard();
    struct store_channel_wipe wipe = {.conv = ROOM};
    b = reply_of("wipe");
    buf_byte(b, 'N');
    buf_u32(b, 0);
    put48(b, 59);
    run(w, &wipe, OP_CHANNEL_WIPE);
    SOON(w, answers() == 3 && heard_n == 1);
    assert_true(only()->gone);
    assert_int_equal(only()->version, 59);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_channel_message_is_told_then_answered),

        T(patience_ends_the_wait_and_not_the_news),
        T(news_are_forgotten_after_a_minute),
        T(what_is_not_answered_is_told_again),
        T(a_slow_redis_ends_the_link_and_is_told_again),
        T(what_is_refused_is_told_again_in_order),
        T(news_of_one_turn_go_in_one_message),
        T(a_message_is_not_endless),
        T(the_engine_ends_with_news_that_wait),
        T(what_was_done_before_is_a_nudge),
        T(refusals_say_why),
        T(a_private_message_is_told_to_both),
        T(halves_that_were_done_before),
        T(recalls_and_edits),
        T(joins),
        T(a_join_whose_reply_was_lost),
        T(leaves),
        T(people),
        T(acknowledgements),
        T(channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
