/* The walk that delivers to a channel's members: slices, gathering, leaving and joining meanwhile, fresh members, push
 * modes, users with several connections. */
#include "walk_kit.h"
#include "core/hub/people/user.h"
#include "core/net/net.h"

/* Members that have no connection, so that a walk is long: more than a turn visits. */
enum { VISITS = 16384 };

/* Absent users, each pinned: members without a connection. */
static void add_absent(struct shard *s, uint32_t chan, uint32_t n, const char *stem)
{
    char id[32];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(id, sizeof id, "%s%u", stem, i);
        uint32_t user = user_new(s, S(id));
        assert_int_not_equal(user, NONE);
        user_pin(s, user);
        user_ready(s, user);
        assert_int_not_equal(sub_add(s, user, chan, MODE_ALL, false, 0, false), NONE);
    }
}

static void remove_absent(struct shard *s, uint32_t n, const char *stem)
{
    char id[32];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(id, sizeof id, "%s%u", stem, i);
        user_unpin(s, user_find(s, S(id)));
    }
}

/* A long walk takes several turns; what comes meanwhile gets on where it stands, and every member hears all of it once,
 * in order. */
static void walks_are_cut_and_gather(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    struct peer *first = peer_login(&k, "first", 0);
    works(peer_ask(first, 3, "{\"name\":\"room\",\"push\":\"all\"}"));
    uint32_t chan = chan_find(s, S("room"));
    add_absent(s, chan, 3 * VISITS, "x");
    struct peer *last = peer_login(&k, "last", 0);
    works(peer_ask(last, 3, "{\"name\":\"room\",\"push\":\"all\"}"));
    kit_settle(&k);
    struct chan *ch = chan_at(s, chan);
    ch->walk_pos = 0;
    arrive(s, publication("room", 1, EVERY));
    assert_true(chans_walk(s));
    assert_int_equal(ch->walk_pos, VISITS);
    arrive(s, publication("room", 2, EVERY));
    arrive(s, publication("room", 3, EVERY));
    assert_true(chans_walk(s));
    assert_int_equal(ch->walk_pos, 2 * VISITS);
    assert_int_equal(ch->board->to, 1);
    assert_int_equal(ch->board->next->to, 2);
    assert_int_equal(ch->board->next->start, VISITS);
    assert_int_equal(ch->board->next->next->to, 3);
    assert_int_equal(ch->last_seq, 3);
    while (chans_walk(s))
        ;
    assert_null(ch->board);
    assert_false(ch->in_walks);
    kit_settle(&k);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(number(peer_push(first, 102), "seq"), i);
        assert_int_equal(number(peer_push(last, 102), "seq"), i);
    }
    assert_int_equal(peer_left(first) + peer_left(last), 0);
    remove_absent(s, 3 * VISITS, "x");
    assert_int_equal(ch->member_count, 2);
    assert_true(ch->member_cap < 1000); /* the memory is given back */
    peer_close(first);
    peer_close(last);
    kit_end(&k);
}

/* Leaving during a walk leaves a tombstone, joining appends, and nobody is passed over, served twice, or served what
 * came before it joined. */
static void leaving_and_joining_during_a_walk(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    struct peer *leaver = peer_login(&k, "leaver", 0), *stayer = peer_login(&k, "stayer", 0),
                *joiner = peer_login(&k, "joiner", 0);
    works(peer_ask(leaver, 3, "{\"name\":\"early\"}"));
    add_absent(s, chan_get(s, S("room")), VISITS + 10, "x");
    uint32_t chan = chan_find(s, S("room"));
    uint32_t gone = sub_add(s, kit_user(&k, "leaver"), chan, MODE_ALL, false, 0, false);
    assert_int_not_equal(sub_add(s, kit_user(&k, "stayer"), chan, MODE_ALL, false, 0, false), NONE);
    struct chan *ch = chan_at(s, chan);
    arrive(s, publication("room", 1, EVERY));
    assert_true(chans_walk(s));
    sub_remove(s, gone);
    user_unpin(s, user_find(s, S("x0"))); /* one that was visited, one that was not */
    user_unpin(s, user_find(s, S("x16390")));
    assert_int_equal(ch->tombstones, 3);
    assert_int_equal(ch->member_count, VISITS + 12);
    assert_int_not_equal(sub_add(s, kit_user(&k, "joiner"), chan, MODE_ALL, false, 1, true), NONE);
    assert_int_equal(ch->member_count, VISITS + 13);
    while (chans_walk(s))
        ;
    assert_int_equal(ch->tombstones, 0);
    assert_int_equal(ch->member_count, VISITS + 10);
    kit_settle(&k);
    assert_int_equal(number(peer_push(stayer, 102), "seq"), 1);
    assert_int_equal(peer_left(leaver) + peer_left(joiner) + peer_left(stayer), 0);
    arrive(s, publication("room", 2, EVERY));
    while (chans_walk(s))
        ;
    kit_settle(&k);
    assert_int_equal(number(peer_push(stayer, 102), "seq"), 2);
    assert_int_equal(number(peer_push(joiner, 102), "seq"), 2);
    assert_int_equal(peer_left(leaver), 0);
    for (uint32_t i = 0; i < ch->member_count; i++) { /* each knows its place */
        const struct sub *b = pool_at(&s->subs, ch->members[i].sub);
        assert_int_equal(b->pos, i);
    }
    /* All leave during a walk; the channel goes with the last. */
    arrive(s, publication("room", 3, EVERY));
    assert_true(chans_walk(s));
    for (uint32_t i = 1; i < VISITS + 10; i++) {
        char id[16];
        snprintf(id, sizeof id, "x%u", i);
        if (i != 16390)
            user_unpin(s, user_find(s, S(id)));
    }
    peer_close(leaver);
    peer_close(stayer);
    peer_close(joiner);
    kit_settle(&k);
    assert_int_equal(chan_find(s, S("room")), NONE);
    kit_end(&k);
}

/* Several channels take turns: who begins beside a walk under way is served before that goes on, and it does go on. */
static void channels_take_turns(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    add_absent(s, chan_get(s, S("large")), VISITS * 2, "x");
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"little\",\"push\":\"all\"}"));
    kit_settle(&k);
    const struct chan *large = chan_at(s, chan_find(s, S("large")));
    arrive(s, publication("large", 1, EVERY));
    assert_true(chans_walk(s)); /* a turn's worth of the large one */
    assert_int_equal(large->walk_pos, VISITS);
    arrive(s, publication("little", 1, EVERY));
    assert_true(chans_walk(s));
    assert_true(large->walk_pos > VISITS);
    net_flush(s->net);
    peer_pull(a);
    assert_int_equal(number(peer_push(a, 102), "seq"), 1);
    assert_false(chan_at(s, chan_find(s, S("little")))->in_walks);
    while (chans_walk(s))
        ;
    assert_int_equal(chan_at(s, chan_find(s, S("large")))->walk_pos, 0);
    remove_absent(s, VISITS * 2, "x");
    assert_int_equal(chan_find(s, S("large")), NONE);
    arrive(s, publication("large", 2, EVERY)); /* to nobody */
    peer_close(a);
    kit_end(&k);
}

/* A turn that has served 32 members ends when there is mail. */
static void mail_ends_a_turn(void **state)
{
    enum { N = 100 };
    struct kit k;
    struct peer *peers[N];
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    for (int i = 0; i < N; i++) {
        char name[8];
        snprintf(name, sizeof name, "u%d", i);
        peers[i] = peer_login(&k, name, 0);
        works(peer_ask(peers[i], 3, "{\"name\":\"room\",\"push\":\"all\"}"));
    }
    kit_settle(&k);
    const struct chan *room = chan_at(s, chan_find(s, S("room")));
    arrive(s, publication("room", 1, EVERY));
    ev_async_send(s->loop, &s->wake); /* it waits until the loop runs */
    uint32_t before = 0;
    for (int turn = 0; turn < 4; turn++) { /* paced to 8, 16, 32, 64, and shorter where that takes more than its time */
        assert_true(chans_walk(s));
        assert_in_range(room->walk_pos, before + 1, before + 32);
        before = room->walk_pos;
    }
    kit_settle(&k);
    for (int i = 0; i < N; i++) {
        assert_int_equal(number(peer_push(peers[i], 102), "seq"), 1);
        peer_close(peers[i]);
    }
    kit_end(&k);
}

/* A member that joined within a range gets what came after that. */
static void fresh_members_hear_from_their_place_on(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    struct peer *a = peer_login(&k, "ann", 0);
    uint32_t chan = chan_get(s, S("room"));
    uint32_t sub = sub_add(s, kit_user(&k, "ann"), chan, MODE_ALL, false, 5, true);
    for (uint64_t seq = 4; seq <= 7; seq++)
        arrive(s, publication("room", seq, EVERY));
    kit_settle(&k);
    assert_int_equal(number(peer_push(a, 102), "seq"), 6);
    assert_int_equal(number(peer_push(a, 102), "seq"), 7);
    assert_int_equal(peer_left(a), 0);
    /* The seq's low half wraps. */
    sub_set_push(s, sub, MODE_MERGED, 0xFFFFFFFFull);
    for (uint64_t seq = 0xFFFFFFFEull; seq <= 0x100000001ull; seq++)
        arrive(s, publication("room", seq, EVERY));
    kit_settle(&k);
    assert_int_equal(number(peer_push(a, 102), "seq"), 0x100000000ull);
    assert_int_equal(number(peer_push(a, 102), "seq"), 0x100000001ull);
    assert_int_equal(peer_left(a), 0);
    peer_close(a);
    kit_end(&k);
}

/* Who joined within a slice's range is told how many seqs of its own part were left out, not none and not the
 * slice's. */
static void omitted_counts_from_the_receivers_place_on(void **state)
{
    static const struct {
        uint64_t since, from, omitted;
    } joined[] = {{0, 1, 5}, {1, 2, 4}, {4, 5, 1}, {5, 6, 0}, {7, 8, 0}};
    enum { N = sizeof joined / sizeof *joined };
    struct kit k;
    struct peer *p[N];
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    uint32_t chan = chan_get(s, S("room"));
    for (int i = 0; i < N; i++) {
        char id[16];
        snprintf(id, sizeof id, "user%d", i);
        p[i] = peer_login_merge(&k, id, 0);
        assert_int_not_equal(sub_add(s, kit_user(&k, id), chan, MODE_MERGED, false, joined[i].since, true), NONE);
    }
    struct pub *slice = publications("room", 6, 3, 1 << MODE_MERGED);
    slice->from = 1; /* of 1 to 8 the newest three are there */
    slice->omitted = 5;
    slice->merged = true;
    arrive(s, slice);
    kit_settle(&k);
    for (int i = 0; i < N; i++) {
        const char *merged = peer_push(p[i], 104);
        assert_int_equal(number(merged, "from"), joined[i].from);
        assert_int_equal(number(merged, "to"), 8);
        assert_int_equal(number(merged, "omitted"), joined[i].omitted);
        assert_int_equal(peer_left(p[i]), 0);
        peer_close(p[i]);
    }
    kit_end(&k);
}

static void modes_are_masks(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    struct peer *a = peer_login(&k, "ann", 0);
    uint32_t sub = sub_add(s, kit_user(&k, "ann"), chan_get(s, S("room")), MODE_ALL, false, 0, false);
    arrive(s, publication("room", 1, 1 << MODE_MERGED | 1 << MODE_DEFAULT));
    arrive(s, publication("room", 2, 1 << MODE_ALL));
    sub_set_push(s, sub, MODE_MERGED, 2);
    arrive(s, publication("room", 3, 1 << MODE_MERGED));
    sub_set_push(s, sub, MODE_MERGED, 99); /* no change: nothing of it counts */
    kit_settle(&k);
    assert_int_equal(number(peer_push(a, 102), "seq"), 3);
    assert_int_equal(peer_left(a), 0);
    const struct chan *ch = chan_at(s, chan_find(s, S("room")));
    assert_int_equal(ch->by_push[MODE_MERGED], 1);
    assert_int_equal(ch->by_push[MODE_ALL], 0);
    peer_close(a);
    kit_settle(&k);
    assert_int_equal(s->chans.live, 0);
    kit_end(&k);
}

static void hears(struct peer *p, uint16_t action, uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq <= to; seq++)
        assert_int_equal(number(peer_push(p, action), "seq"), seq);
}

/* What is on board is joined for the members of a kind, and kinds come in any order: each hears what is meant for it,
 * in order. */
static void kinds_of_members_in_one_walk(void **state)
{
    enum { ROUNDS = 3, KINDS = 5 };
    static const unsigned push[KINDS] = {MODE_ALL, MODE_MERGED, MODE_MERGED, MODE_NONE, MODE_ALL};
    struct kit k;
    struct peer *p[ROUNDS][KINDS];
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    uint32_t chan = chan_get(s, S("room"));
    for (int r = 0; r < ROUNDS; r++) {
        for (int i = 0; i < KINDS; i++) {
            char id[16];
            snprintf(id, sizeof id, "user%d%d", r, i);
            p[r][i] = i == 2 ? peer_login_merge(&k, id, 0) : peer_login(&k, id, 0);
            bool fresh = i == 4; /* those have heard the first two */
            assert_int_not_equal(sub_add(s, kit_user(&k, id), chan, push[i], false, 2, fresh), NONE);
        }
    }
    for (uint64_t first = 1; first <= 6; first += 5) { /* the second time nobody is fresh */
        struct pub *slice = publications("room", first + 1, 2, 1 << MODE_MERGED);
        slice->merged = true;
        arrive(s, publication("room", first, 1 << MODE_ALL));
        arrive(s, slice);
        arrive(s, publication("room", first + 1, 1 << MODE_ALL));
        arrive(s, publication("room", first + 2, 1 << MODE_ALL));
        arrive(s, publications("room", first + 3, 2, EVERY));
        kit_settle(&k);
        for (int r = 0; r < ROUNDS; r++) {
            hears(p[r][0], 102, first, first + 4);
            hears(p[r][1], 102, first + 1, first + 4);
            const char *merged = peer_push(p[r][2], 104);
            assert_int_equal(number(merged, "from"), first + 1);
            assert_int_equal(number(merged, "to"), first + 2);
            hears(p[r][2], 102, first + 3, first + 4);
            hears(p[r][4], 102, first < 3 ? 3 : first, first + 4);
            for (int i = 0; i < KINDS; i++)
                assert_int_equal(peer_left(p[r][i]), 0);
        }
    }
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < KINDS; i++)
            peer_close(p[r][i]);
    kit_end(&k);
}

/* Each of a user's connections is a receiver; one that goes takes no other along. */
static void several_connections(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *p[4];
    p[0] = peer_login(&k, ann, 0);
    works(peer_ask(p[0], 3, "{\"name\":\"room\",\"push\":\"all\"}"));
    for (int i = 1; i < 4; i++)
        p[i] = peer_login(&k, ann, (unsigned)i % 2);
    for (int gone = 0; gone < 4; gone++) {
        works(peer_ask(p[3], 4, "{\"channel\":\"room\",\"content\":\"%d\"}", gone));
        for (int i = gone; i < 4; i++)
            assert_int_equal(number(peer_push(p[i], 102), "seq"), gone + 1);
        kit_settle(&k);
        for (int i = gone; i < 4; i++)
            assert_int_equal(peer_left(p[i]), 0);
        const struct shard *s = kit_shard(&k, 1);
        const struct chan *ch = chan_at(s, chan_find(s, S("room")));
        assert_int_equal(ch->member_count, 1);
        assert_int_equal((ch->members[0].conn & MEMBER_MULTI) != 0, gone < 3);
        peer_close(p[gone]);
        kit_settle(&k);
    }
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_are_cut_and_gather),
        cmocka_unit_test(leaving_and_joining_during_a_walk),
        cmocka_unit_test(channels_take_turns),
        cmocka_unit_test(mail_ends_a_turn),
        cmocka_unit_test(fresh_members_hear_from_their_place_on),
        cmocka_unit_test(omitted_counts_from_the_receivers_place_on),
        cmocka_unit_test(modes_are_masks),
        cmocka_unit_test(kinds_of_members_in_one_walk),
        cmocka_unit_test(several_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
