/* Users: loading and pins, connections, subscriptions, and what is kept in step with them. */
#include "hub_kit.h"
#include "core/hub/talk/interest.h"
#include "core/hub/people/user.h"
#include "core/net/net.h"

static uint32_t make(struct shard *s, const char *id)
{
    uint32_t user = user_new(s, S(id));
    assert_int_not_equal(user, NONE);
    user_pin(s, user);
    return user;
}

static void ids_and_names(void **state)
{
    struct kit k;
    char longest[65];
    (void)state;
    memset(longest, 'x', 64);
    longest[64] = 0;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    assert_int_equal(user_find(s, S("ann")), NONE);
    uint32_t ann = make(s, "ann"), other = make(s, longest);
    assert_int_equal(user_find(s, S("ann")), ann);
    assert_int_equal(user_find(s, S(longest)), other);
    assert_int_equal(user_find(s, S("an")), NONE);
    assert_int_equal(user_at(s, ann)->state, USER_LOADING);
    assert_int_equal(user_name(user_at(s, ann)).n, 0);
    assert_int_equal(user_set_name(s, ann, S("Ann the First")), 0);
    assert_int_equal(user_set_name(s, ann, S(longest)), 0);
    assert_true(slice_eq(user_name(user_at(s, ann)), S(longest)));
    assert_true(slice_eq(user_id(user_at(s, ann)), S("ann")));
    assert_int_equal(atomic_load(&s->user_count), 2);
    user_ready(s, ann);
    user_unpin(s, ann);
    user_unpin(s, other);
    assert_int_equal(user_find(s, S("ann")), NONE);
    assert_int_equal(atomic_load(&s->user_count), 0);
    kit_end(&k);
}

/* A user lives as long as it has a connection or a pin, and takes its subscriptions along. */
static void pins_and_connections_keep_it(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    struct peer *a = peer_login(&k, "ann", 0);
    uint32_t user = kit_user(&k, "ann");
    assert_int_equal(user_at(s, user)->pins, 0);
    user_pin(s, user);
    user_pin(s, user);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    peer_close(a);
    kit_settle(&k);
    assert_int_equal(user_at(s, user)->first_conn, NONE);
    assert_int_equal(s->subs.live, 1); /* a pinned one keeps them, without a connection */
    assert_int_equal(chan_at(s, chan_find(s, S("room")))->members[0].conn, NONE);
    user_unpin(s, user);
    assert_int_equal(kit_user(&k, "ann"), user);
    user_unpin(s, user);
    assert_int_equal(kit_user(&k, "ann"), NONE);
    assert_int_equal(s->subs.live + s->chans.live, 0);
    assert_int_equal(atomic_load(&s->chan_count), 0);
    kit_end(&k);
}

/* Subscriptions come and go in any order; every index stays right. */
static void subscriptions(void **state)
{
    enum { USERS = 20, CHANNELS = 12 };
    struct kit k;
    char id[16];
    uint32_t users[USERS], chans[CHANNELS], count = 0, seed = 1;
    bool member[USERS][CHANNELS] = {{false}};
    (void)state;
    kit_begin(&k, 2);
    struct shard *s = kit_shard(&k, 0);
    for (int i = 0; i < USERS; i++) {
        snprintf(id, sizeof id, "u%d", i);
        users[i] = make(s, id);
    }
    for (int step = 0; step < 4000; step++) {
        seed = seed * 1664525 + 1013904223;
        unsigned u = seed >> 8 & 31, c = (seed >> 16 & 15) % CHANNELS, push = seed >> 24 & 3;
        if (u >= USERS)
            continue;
        snprintf(id, sizeof id, "c%u", c);
        chans[c] = chan_get(s, S(id));
        interest_hold(s, chans[c]);
        uint32_t sub = sub_find(s, users[u], chans[c]);
        assert_int_equal(sub != NONE, member[u][c]);
        if (sub == NONE) {
            assert_int_not_equal(sub_add(s, users[u], chans[c], (enum push_mode)push, false, 0, false), NONE);
            count++;
        } else if (seed & 1) {
            sub_set_push(s, sub, (enum push_mode)push, 0);
        } else {
            sub_remove(s, sub);
            count--;
        }
        member[u][c] = sub_find(s, users[u], chans[c]) != NONE;
        interest_release(s, chans[c], 0);
        assert_int_equal(s->subs.live, count);
        if (step % 50 == 0)
            kit_turn(&k);
    }
    for (unsigned u = 0; u < USERS; u++) {
        unsigned n = 0;
        for (unsigned c = 0; c < CHANNELS; c++)
            n += member[u][c];
        assert_int_equal(user_at(s, users[u])->sub_count, n);
    }
    for (uint32_t c = pool_next(&s->chans, 0); c != POOL_NONE; c = pool_next(&s->chans, c + 1)) {
        const struct chan *ch = chan_at(s, c);
        uint32_t by[4] = {0};
        for (uint32_t i = 0; i < ch->member_count; i++) {
            const struct sub *b = pool_at(&s->subs, ch->members[i].sub);
            assert_int_equal(b->pos, i);
            assert_int_equal(b->chan, c);
            assert_int_equal(b->push, ch->members[i].push);
            by[b->push]++;
        }
        assert_memory_equal(by, ch->by_push, sizeof by);
    }
    kit_settle(&k);
    for (uint32_t c = pool_next(&s->chans, 0); c != POOL_NONE; c = pool_next(&s->chans, c + 1)) { /* the owners know */
        const struct chan *ch = chan_at(s, c);
        uint8_t mask = 0;
        for (int i = 0; i < 4; i++)
            mask |= (uint8_t)(ch->by_push[i] ? 1 << i : 0);
        assert_int_equal(kit_conv(&k, conv_key_channel(chan_name(ch)))->interest[0], mask);
    }
    for (int i = 0; i < USERS; i++)
        user_unpin(s, users[i]);
    assert_int_equal(s->subs.live + s->chans.live, 0);
    kit_end(&k);
}

/* A push reaches every connection but the one left out, and one whose queue is full is closed without harm to the
 * others. */
static void pushes_to_all_connections(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.opt.net.output_queue = 65536;
    kit_start(&k);
    struct shard *s = kit_shard(&k, 0);
    struct peer *p[4];
    for (int i = 0; i < 4; i++)
        p[i] = peer_login(&k, "ann", 0);
    char *large = calloc(1, 30001);
    memset(large, 'x', 30000);
    struct frame *f = frame_new(300, 0, S(large), WIRE_TAG_NONE);
    uint32_t newest = kit_conn(&k, "ann");
    user_push(s, kit_user(&k, "ann"), f, newest);
    kit_settle(&k);
    for (int i = 0; i < 3; i++)
        peer_push(p[i], 300);
    assert_int_equal(peer_left(p[3]), 0);
    /* p[0] does not read until it is closed as slow; the others read. */
    for (int i = 0; i < 2000 && net_count(s->net) == 4; i++) {
        user_push(s, kit_user(&k, "ann"), f, NONE);
        kit_turn(&k);
        for (int j = 1; j < 4; j++) {
            peer_pull(p[j]);
            for (uint32_t n = 0; n < p[j]->count; n++) /* the bodies are not needed */
                free(p[j]->frames[n].body);
            p[j]->count = 0;
        }
        unsigned n = 0;
        for (uint32_t c = kit_conn(&k, "ann"); c != NONE; c = conn_at(s->net, c)->user_next)
            n++;
        if (n == 3)
            break;
    }
    unsigned left = 0;
    for (uint32_t c = kit_conn(&k, "ann"); c != NONE; c = conn_at(s->net, c)->user_next)
        left++;
    assert_int_equal(left, 3);
    for (int j = 1; j < 4; j++)
        works(peer_ask(p[j], 9, "{}"));
    frame_unref(f);
    free(large);
    for (int i = 0; i < 4; i++)
        peer_close(p[i]);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_names),
        cmocka_unit_test(pins_and_connections_keep_it),
        cmocka_unit_test(subscriptions),
        cmocka_unit_test(pushes_to_all_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
