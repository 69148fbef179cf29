/* Conversations in Redis, beyond what all stores do: second halves that are cut off, pages that take several calls,
 * what asks before it writes, marks that are sent later, rows that are broken. Against a real cluster. */
#define UTIL_MAIN
#include "tests/unit/test_store_util.h"

#include "storage/redis/layout.h"

#include <hiredis/hiredis.h>

static int setup(void **state)
{
    if (!redis_kit_addresses())
        return 0;
    struct world *w = calloc(1, sizeof *w);
    world_init(w, "redis");
    world_open(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    if (!*state)
        return 0;
    world_fini(*state);
    free(*state);
    return 0;
}

static struct world *need(void **state)
{
    (void)redis_kit_need();
    return *state;
}

/* --- Redis, past the engine -------------------------------------------------------------------------------------- */

/* A command to the master of its key, which the caller frees. `kind` and `rest` are the key's: argv[1]. */
static redisReply *raw(struct world *w, const char *command, char kind, unsigned part, struct slice rest,
                       struct slice a, struct slice b)
{
    char key[300], address[64];
    struct slice tag = partition_tag(&redis_of(w->s)->tags, (uint16_t)part);
    int n = snprintf(key, sizeof key, "%s%c{%.*s}%s", w->prefix, kind, (int)tag.n, tag.p, rest.p ? ":" : "");
    if (rest.n)
        memcpy(key + n, rest.p, rest.n);
    const char *argv[4] = {command, key, a.p, b.p};
    const size_t sizes[4] = {strlen(command), (size_t)n + rest.n, a.n, b.n};
    snprintf(address, sizeof address, "%s", w->addresses[0]);
    for (int hops = 0; hops < 5; hops++) {
        char *colon = strrchr(address, ':');
        *colon = '\0';
        redisContext *c = redisConnect(address, atoi(colon + 1));
        assert_true(c && !c->err);
        redisReply *reply = redisCommandArgv(c, b.p ? 4 : a.p ? 3 : 2, argv, sizes);
        redisFree(c);
        assert_non_null(reply);
        if (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "MOVED ", 6) != 0)
            return reply;
        snprintf(address, sizeof address, "%s", strrchr(reply->str, ' ') + 1);
        freeReplyObject(reply);
    }
    fail_msg("no master");
    return NULL;
}

static long long raw_number(redisReply *reply)
{
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    long long n = reply->integer;
    freeReplyObject(reply);
    return n;
}

static long long intents(struct world *w, const struct conv_key *c)
{
    return raw_number(raw(w, "HLEN", 'o', partition_of(conv_key_slice(c)), SLICE_NONE, SLICE_NONE, SLICE_NONE));
}

/* A user's record that no function can read: what is to be done at that user fails, and writes nothing. */
static void user_break(struct world *w, const char *user)
{
    freeReplyObject(raw(w, "SET", 'u', partition_of_user(S(user)), S(user), S("broken"), SLICE_NONE));
}

static void user_mend(struct world *w, const char *user)
{
    freeReplyObject(raw(w, "DEL", 'u', partition_of_user(S(user)), S(user), SLICE_NONE, SLICE_NONE));
}

/* --- Second halves ----------------------------------------------------------------------------------------------- */

/* In bob's inbox, as text. */
static void inbox_is(struct world *w, const char *want)
{
    char got[4096];
    bool more;
    inbox_text(w, "bob", 0, 1000, got, &more);
    assert_string_equal(got, want);
}

static void acknowledge(struct world *w)
{
    struct store_inbox_ack a = {.user = S("bob"), .up_to = UINT64_MAX};
    assert_int_equal(CALL(w, store_inbox_ack, &a), STORE_OK);
    assert_int_equal(a.remaining, 0);
}

static void no_intent_is_left(struct world *w, const struct conv_key *c)
{
    for (int i = 0; i < 1000 && intents(w, c); i++)
        usleep(10000);
    assert_int_equal(intents(w, c), 0);
}

/* A node dies between two replies of a private message. It is sent again, a hundred acknowledgements later: it enters
 * the inbox once, whatever had been done. */
static void halves_are_cut(void **state)
{
    struct world *w = need(state);
    struct conv_key c = util_pair("ann", "bob");
    assert_int_equal(dm(w, "ann", "bob", "first", NULL).op.status, STORE_OK);
    inbox_is(w, "first");
    acknowledge(w);
    static const char *const cuts[][2] = {{"bob", NULL}, {"ann", NULL}, {"ann", "bob"}};
    for (unsigned cut = 0; cut < 3; cut++) {
        char client[8];
        snprintf(client, sizeof client, "c%u", cut);
        no_intent_is_left(w, &c);
        for (unsigned i = 0; i < 2 && cuts[cut][i]; i++)
            user_break(w, cuts[cut][i]);
        struct store_append a = dm(w, "ann", "bob", "lost?", client);
        assert_int_equal(a.op.status, STORE_FATAL);
        for (unsigned i = 0; i < 2 && cuts[cut][i]; i++)
            user_mend(w, cuts[cut][i]);
        assert_int_equal(intents(w, &c), 1);
        bool there = cut == 1; /* the receiver's half was done */
        for (int i = 0; i < 100; i++) {
            assert_int_equal(dm(w, "ann", "bob", "x", NULL).op.status, STORE_OK);
            inbox_is(w, there ? "lost? x" : "x");
            there = false;
            acknowledge(w);
        }
        struct store_append again = dm(w, "ann", "bob", "lost?", client);
        assert_int_equal(again.op.status, STORE_OK);
        assert_true(again.duplicate);
        assert_true(again.seq == a.seq && again.id == a.id);
        inbox_is(w, cut == 1 ? "" : "lost?");
        acknowledge(w);
        no_intent_is_left(w, &c);
        assert_int_equal(dm(w, "ann", "bob", "lost?", client).op.status, STORE_OK); /* nothing is to be done any more */
        inbox_is(w, "");
        struct store_mark_read m = {.conv = conv_key_slice(&c), .user = S("ann")};
        assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
        assert_int_equal(m.unread, 0); /* who sends has read */
    }
}

/* Both are done, and it dies before the intent is settled. */
static void settling_is_cut(void **state)
{
    struct world *w = need(state);
    struct conv_key c = util_pair("ann", "bob");
    struct store_append a = dm(w, "ann", "bob", "once", "c");
    assert_int_equal(a.op.status, STORE_OK);
    no_intent_is_left(w, &c);
    acknowledge(w);
    char field[9] = {'p'}, intent[25 + CONV_KEY_MAX] = {0};
    store_be64(field + 1, a.id);
    layout_put48(intent, a.created_ms);
    layout_put48(intent + 6, a.seq);
    layout_put48(intent + 12, 1); /* the first one that ann sent */
    memcpy(intent + 25, c.p, c.n);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(raw_number(raw(w, "HSET", 'o', partition_of(conv_key_slice(&c)), SLICE_NONE,
                                        slice_of(field, sizeof field), slice_of(intent, 25u + c.n))),
                         1);
        struct store_append again = dm(w, "ann", "bob", "once", "c");
        assert_true(again.op.status == STORE_OK && again.duplicate && again.id == a.id);
        inbox_is(w, "");
        no_intent_is_left(w, &c);
        dm(w, "ann", "bob", "x", NULL);
        acknowledge(w);
    }
}

/* --- Asking first ------------------------------------------------------------------------------------------------ */

/* What is behind a pair's first message, which must ask about both users before it is written, does not overtake it. */
static void first_messages(void **state)
{
    struct world *w = need(state);
    for (int round = 0; round < 20; round++) {
        char name[16];
        snprintf(name, sizeof name, "guest%d", round);
        struct store_user_save g = {
            .id = S(name), .name = S("G"), .user = {.guest = true}, .guest_ttl_ms = 1000, .create = true};
        assert_int_equal(CALL(w, store_user_save, &g), STORE_OK);
        struct conv_key c = util_pair("ann", name);
        struct store_append a[3];
        for (int i = 0; i < 3; i++) {
            a[i] = append_of(&c, TIER_DM, i == 1 ? name : "ann", "text");
            a[i].receiver = S(i == 1 ? "ann" : name);
            POST(w, store_append, &a[i]);
        }
        struct store_recall r = {.conv = conv_key_slice(&c), .sender = S(name), .seq = 2};
        struct store_edit e = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 3, .content = S("other")};
        struct store_mark_read m = {.conv = conv_key_slice(&c), .user = S(name), .seq = 3};
        POST(w, store_recall, &r);
        POST(w, store_edit, &e);
        POST(w, store_mark_read, &m);
        util_wait(w, &m.op);
        for (int i = 0; i < 3; i++)
            assert_true(a[i].op.status == STORE_OK && a[i].seq == (uint64_t)i + 1);
        assert_true(r.op.status == STORE_OK && r.id == a[1].id);
        assert_true(e.op.status == STORE_OK && e.id == a[2].id);
        assert_true(m.op.status == STORE_OK && m.read == 3 && m.unread == 0);
        struct store_user_load u = {.id = S(name)}; /* nobody forgets it now */
        assert_int_equal(CALL(w, store_user_load, &u), STORE_OK);
        assert_false(u.user.guest);
        store_user_load_free(&u);
    }
}

/* --- Pages ------------------------------------------------------------------------------------------------------- */

static void pages_of_many_calls(void **state)
{
    struct world *w = need(state);
    enum { N = 400, SIZE = 5000 };
    struct conv_key c = util_made(w, "p");
    static struct store_append ops[N];
    static char text[SIZE];
    memset(text, 'x', SIZE);
    for (int i = 0; i < N; i++) {
        ops[i] = append_of(&c, TIER_SMALL, "ann", "");
        ops[i].content = slice_of(text, SIZE - (unsigned)i);
        POST(w, store_append, &ops[i]);
    }
    for (int i = 0; i < N; i++)
        util_wait(w, &ops[i].op);
    for (int up = 0; up < 2; up++) {
        struct store_range r = page_of(w, &c, up ? 10 : -1, -1, 350);
        assert_true(r.page.n == 350 && r.more && r.first == 1 && r.last == N);
        for (unsigned i = 0; i < 350; i++) {
            uint64_t seq = up ? 11 + i : N - 349 + i;
            assert_int_equal(r.page.messages[i].seq, seq);
            assert_int_equal(r.page.messages[i].id, ops[seq - 1].id);
            assert_int_equal(r.page.messages[i].content.n, SIZE - (seq - 1));
        }
        store_page_free(&r.page);
        r = (struct store_range){.conv = conv_key_slice(&c), .limit = 400, .page_bytes = 1000000, .has_after = up};
        assert_int_equal(CALL(w, store_range, &r), STORE_OK);
        assert_true(r.page.n >= 200 && r.page.n < 230 && r.more);
        store_page_free(&r.page);
        r = page_of(w, &c, up ? 0 : -1, -1, 1000);
        assert_true(r.page.n == N && !r.more);
        store_page_free(&r.page);
    }
}

/* Rows that have ended lie in the middle, more than one call looks at. */
static void pages_over_gaps(void **state)
{
    struct world *w = need(state);
    enum { N = 1000, FROM = 200, TO = 900 };
    struct conv_key c = util_made(w, "g");
    static struct store_append ops[N];
    for (int i = 0; i < N; i++) {
        ops[i] = append_of(&c, TIER_SMALL, "ann", "x");
        ops[i].ttl_ms = i >= FROM && i < TO ? 1000 : 0;
        POST(w, store_append, &ops[i]);
    }
    for (int i = 0; i < N; i++)
        util_wait(w, &ops[i].op);
    world_pass(w, 1000);
    PAGE(w, &c, 198, -1, 4, "199 200 901 902", 1, N, true);
    PAGE(w, &c, 199, 903, 9, "200 901 902", 1, N, false);
    PAGE(w, &c, 500, 800, 9, "", 1, N, false);
    PAGE(w, &c, -1, 903, 4, "199 200 901 902", 1, N, true);
    PAGE(w, &c, 300, 903, 1, "902", 1, N, true);
    PAGE(w, &c, 300, 902, 1, "901", 1, N, false);
    PAGE(w, &c, 1000, -1, 4, "", 1, N, false);
    PAGE(w, &c, INT64_MAX, -1, 4, "", 1, N, false);
    PAGE(w, &c, -1, 0, 4, "", 1, N, false);
    PAGE(w, &c, -1, INT64_MAX, 2, "999 1000", 1, N, true);
}

/* What another server has stored since is seen, however little or much it is, and what has gone since is not. */
static void pages_of_another_server(void **state)
{
    struct world *w = need(state);
    struct world *other = calloc(1, sizeof *other);
    struct conv_key c = util_made(w, "o");
    world_init(other, "redis");
    memcpy(other->prefix, w->prefix, sizeof w->prefix);
    other->o.node = 6;
    world_open(other);
    say(w, &c, TIER_SMALL, "ann", "x");
    PAGE(w, &c, -1, -1, 3, "1", 1, 1, false);
    uint64_t last = 1;
    static const unsigned more[] = {1, 2, 4, 5, 1, 30, 70};
    for (unsigned i = 0; i < sizeof more / sizeof *more; i++) {
        for (unsigned n = 0; n < more[i]; n++)
            last = say(other, &c, TIER_SMALL, "bob", "x");
        struct store_range r = page_of(w, &c, -1, -1, 3);
        assert_true(r.last == last && r.first == 1 && r.page.n == (last < 3 ? last : 3) && r.more == (last > 3));
        assert_int_equal(r.page.messages[r.page.n - 1].seq, last);
        store_page_free(&r.page);
        r = page_of(w, &c, (int64_t)last - 1, -1, 3);
        assert_true(r.page.n == 1 && r.page.messages[0].seq == last && !r.more);
        store_page_free(&r.page);
        r = page_of(other, &c, 0, -1, 2);
        assert_true(r.page.n == 2 && r.page.messages[1].seq == 2 && r.more == (last > 2));
        store_page_free(&r.page);
    }
    struct store_append a = append_of(&c, TIER_SMALL, "bob", "x");
    a.max = 5; /* the other one hides all but five */
    assert_int_equal(CALL(other, store_append, &a), STORE_OK);
    PAGE(w, &c, 0, -1, 3, "111 112 113", 111, 115, true);
    PAGE(w, &c, -1, -1, 9, "111 112 113 114 115", 111, 115, false);
    a = append_of(&c, TIER_SMALL, "bob", "x");
    a.max = 5;
    assert_int_equal(CALL(other, store_append, &a), STORE_OK);
    PAGE(w, &c, -1, -1, 9, "112 113 114 115 116", 112, 116, false);
    PAGE(w, &c, 113, 116, 9, "114 115", 112, 116, false);
    world_fini(other);
    free(other);
}

/* --- Losses ------------------------------------------------------------------------------------------------------ */

static uint64_t losses(struct world *w)
{
    return atomic_load(&redis_of(w->s)->stats.lost);
}

/* Acknowledged messages are gone from Redis: that is told of once, and no number is given twice. */
static void what_is_lost_is_told(void **state)
{
    struct world *w = need(state);
    struct conv_key c = util_made(w, "lost"), other = util_made(w, "whole");
    struct slice k = conv_key_slice(&c);
    unsigned part = partition_of(k);
    say(w, &c, TIER_SMALL, "ann", "1");
    redisReply *head = raw(w, "HGET", 'm', part, k, S("h"), SLICE_NONE);
    assert_int_equal(head->type, REDIS_REPLY_STRING);
    for (int i = 0; i < 4; i++)
        say(w, &c, TIER_SMALL, "ann", "x");
    PAGE(w, &c, -1, -1, 1, "5", 1, 5, true);
    assert_int_equal(losses(w), 0);
    freeReplyObject(raw(w, "HSET", 'm', part, k, S("h"), slice_of(head->str, head->len)));
    freeReplyObject(head);
    static const char *const seqs[] = {"2", "3", "4", "5"};
    for (int i = 0; i < 4; i++)
        freeReplyObject(raw(w, "HDEL", 'm', part, k, S(seqs[i]), SLICE_NONE));
    for (int i = 0; i < 3; i++)
        PAGE(w, &c, -1, -1, 9, "1", 1, 1, false);
    assert_int_equal(losses(w), 1);
    assert_int_equal(say(w, &c, TIER_SMALL, "ann", "6"), 6);
    PAGE(w, &c, -1, -1, 9, "1 6", 1, 6, false);
    say(w, &other, TIER_SMALL, "ann", "1");
    PAGE(w, &other, -1, -1, 9, "1", 1, 1, false);
    assert_int_equal(losses(w), 1);
}

/* --- Marks ------------------------------------------------------------------------------------------------------- */

static void unread_is(struct world *w, const char *user, uint64_t read, uint64_t unread)
{
    struct store_conversations l = {.user = S(user), .limit = 5};
    assert_int_equal(CALL(w, store_conversations, &l), STORE_OK);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.list[0].read, read);
    assert_int_equal(l.list[0].unread, unread);
    store_conversations_free(&l);
}

/* Who sends to a channel has read it, whenever that is asked, and although the mark is sent later. */
static void marks_of_senders(void **state)
{
    struct world *w = need(state);
    struct conv_key c = util_channel("room");
    join(w, &c, "ann");
    join(w, &c, "bob");
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), i);
        unread_is(w, "ann", i, 0);
    }
    unread_is(w, "bob", 0, 20);
    assert_int_equal(say(w, &c, TIER_SMALL, "bob", "x"), 21);
    struct store_mark_read m = {.conv = conv_key_slice(&c), .user = S("bob"), .seq = 3};
    assert_int_equal(CALL(w, store_mark_read, &m), STORE_OK);
    assert_true(m.read == 21 && m.unread == 0 && !m.moved);
    assert_int_equal(say(w, &c, TIER_SMALL, "ann", "x"), 22);
    world_restart(w); /* which sends what waits */
    unread_is(w, "ann", 22, 0);
    /* Who is no member gets none that outlives the message. */
    struct store_append a = append_of(&c, TIER_SMALL, "zoe", "x");
    a.stranger = true;
    assert_int_equal(CALL(w, store_append, &a), STORE_OK);
    struct store_conversations l = {.user = S("zoe"), .limit = 5};
    assert_int_equal(CALL(w, store_conversations, &l), STORE_OK);
    assert_int_equal(l.n, 0);
    store_conversations_free(&l);
}

/* --- What cannot be read ----------------------------------------------------------------------------------------- */

/* Of a private conversation, and what stands of it at the user: the rest of the inbox, and of the user, is served. */
static void broken_inboxes(void **state)
{
    struct world *w = need(state);
    struct conv_key pair = util_pair("eve", "fay"), c = util_made(w, "broken");
    unsigned part = partition_of(conv_key_slice(&pair)), user = partition_of_user(S("fay"));
    assert_int_equal(user_make(w, "eve", "Eve"), STORE_OK);
    assert_int_equal(user_make(w, "fay", "Fay"), STORE_OK);
    assert_int_equal(join(w, &c, "fay").op.status, STORE_OK);
    struct store_append a[4];
    static const char *const texts[] = {"one", "two", "three", "four"};
    for (int i = 0; i < 4; i++)
        a[i] = dm(w, "eve", "fay", texts[i], "");
    char id[8];
    store_be64(id, a[2].id);
    assert_int_equal(raw_number(raw(w, "HSET", 'm', part, conv_key_slice(&pair), S("2"), S("\1nonsense"))), 0);
    assert_int_equal(raw_number(raw(w, "HSET", 'I', user, S("fay"), slice_of(id, 8), S("?"))), 0);
    assert_int_equal(raw_number(raw(w, "HSET", 'u', user, S("fay"), S("cbad"), S("?"))), 1);
    for (int i = 0; i < 2; i++) /* nothing of it is taken away */
        INBOX(w, "fay", 0, 10, "one four", false);
    struct store_user_load u = {.id = S("fay")};
    assert_int_equal(CALL(w, store_user_load, &u), STORE_OK);
    assert_int_equal(u.inbox, 4);
    assert_int_equal(u.subscription_count, 1);
    store_user_load_free(&u);
    struct store_conversations list = {.user = S("fay"), .limit = 10};
    assert_int_equal(CALL(w, store_conversations, &list), STORE_OK);
    assert_int_equal(list.n, 2);
    store_conversations_free(&list);
    struct store_inbox_ack ack = {.user = S("fay"), .up_to = a[3].id};
    assert_int_equal(CALL(w, store_inbox_ack, &ack), STORE_OK);
    assert_int_equal(ack.removed, 4);
    assert_int_equal(ack.remaining, 0);
}

static void broken_rows(void **state)
{
    struct world *w = need(state);
    struct conv_key c = util_made(w, "b");
    for (int i = 0; i < 3; i++)
        say(w, &c, TIER_SMALL, "ann", "x");
    unsigned part = partition_of(conv_key_slice(&c));
    assert_int_equal(raw_number(raw(w, "HSET", 'm', part, conv_key_slice(&c), S("2"), S("\1nonsense"))), 0);
    struct store_range r = {.conv = conv_key_slice(&c), .limit = 10};
    PAGE(w, &c, -1, -1, 10, "1 3", 1, 3, false); /* a gap says that there was one */
    PAGE(w, &c, 0, -1, 10, "1 3", 1, 3, false);
    struct store_recall q = {.conv = conv_key_slice(&c), .sender = S("ann"), .seq = 2};
    assert_int_equal(CALL(w, store_recall, &q), STORE_FATAL);
    q.seq = 3; /* what stands beside it is served */
    assert_int_equal(CALL(w, store_recall, &q), STORE_OK);
    r.has_after = true;
    r.after = 2;
    assert_int_equal(CALL(w, store_range, &r), STORE_OK);
    assert_int_equal(r.page.n, 1);
    store_page_free(&r.page);
    assert_int_equal(raw_number(raw(w, "HSET", 'm', part, conv_key_slice(&c), S("h"), S("nonsense"))), 0);
    struct store_append a = append_of(&c, TIER_SMALL, "ann", "x");
    assert_int_equal(CALL(w, store_append, &a), STORE_FATAL);
    struct store_conv_load l = {.conv = conv_key_slice(&c)};
    assert_int_equal(CALL(w, store_conv_load, &l), STORE_FATAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(halves_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(settling_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(first_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_of_many_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_over_gaps, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_of_another_server, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_lost_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(marks_of_senders, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_inboxes, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_rows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
