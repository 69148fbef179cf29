/* What other nodes are told of, operation by operation: against fake masters (tell.c). */
#include "tell_kit.h"

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
