/* Who joins and leaves: how often a channel tells of it. */
#include "hub_kit.h"
#include "core/hub/talk/member_news.h"

/* Tells of `n` users, whose ids begin with `stem`. */
static void tell(struct shard *s, uint32_t conv, enum member_change change, const char *stem, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char id[32];
        snprintf(id, sizeof id, "%s%u", stem, i);
        member_news_tell(s, conv, change, S(id), S("Name"));
    }
}

static uint32_t conv_of(struct shard *s, const char *channel)
{
    struct conv_key key = conv_key_channel(S(channel));
    return conv_get(s, conv_key_slice(&key));
}

/* Some time passes on the shard, as a tick sees it. */
static void pass(struct shard *s, uint64_t ms)
{
    s->now_ms += ms;
    member_news_tick(s);
}

static void a_storm_is_bounded(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\",\"events\":true}"));
    uint32_t conv = conv_of(s, "room");
    tell(s, conv, MEMBER_JOINED, "u", 10000);
    kit_settle(&k);
    assert_in_range(peer_left(a), MEMBER_NEWS_BURST, MEMBER_NEWS_BURST + MEMBER_NEWS_RATE);
    peer_close(a);
    kit_settle(&k);
    kit_end(&k);
}

static void a_user_who_flaps(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\",\"events\":true}"));
    uint32_t conv = conv_of(s, "room");
    for (int i = 0; i < 5; i++) {
        tell(s, conv, MEMBER_JOINED, "x", 1);
        tell(s, conv, MEMBER_KICKED, "x", 1);
    }
    pass(s, MEMBER_NEWS_QUIET_MS - 1);
    kit_settle(&k);
    has(peer_push(a, 112), "\"id\":\"x0\",\"name\":\"Name\",\"change\":\"joined\"");
    assert_int_equal(peer_left(a), 0);
    pass(s, MEMBER_NEWS_QUIET_MS);
    kit_settle(&k);
    has(peer_push(a, 112), "\"change\":\"kicked\"");
    /* In and out again: as it was told. */
    tell(s, conv, MEMBER_JOINED, "x", 1);
    tell(s, conv, MEMBER_LEFT, "x", 1);
    pass(s, 2 * MEMBER_NEWS_QUIET_MS);
    kit_settle(&k);
    assert_int_equal(peer_left(a), 0);
    /* Nothing is kept of it. */
    pass(s, 2 * MEMBER_NEWS_QUIET_MS);
    assert_null(s->member_news);
    assert_null(conv_at(s, conv)->news);
    peer_close(a);
    kit_settle(&k);
    kit_end(&k);
}

/* Nothing is done where nobody listens, the tier is large, or the channel is closed. */
static void who_is_not_told(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *room = kit_channel(&k, "room", 1);
    struct shard *s = kit_shard(&k, 1);
    struct peer *a = peer_login(&k, kit_id(&k, "ann", 0), 0);
    works(peer_ask(a, 3, "{\"name\":\"%s\"}", room));
    kit_settle(&k);
    uint32_t conv = conv_of(s, room);
    tell(s, conv, MEMBER_JOINED, "x", 1);
    assert_null(conv_at(s, conv)->news);
    works(peer_ask(a, 3, "{\"name\":\"%s\",\"events\":true}", room));
    kit_settle(&k);
    tell(s, conv, MEMBER_CLOSED, "x", 1);
    conv_at(s, conv)->tier = TIER_LARGE;
    tell(s, conv, MEMBER_JOINED, "x", 1);
    assert_null(conv_at(s, conv)->news);
    conv_at(s, conv)->tier = TIER_SMALL;
    tell(s, conv, MEMBER_JOINED, "y", 1);
    kit_settle(&k);
    has(peer_push(a, 112), "\"id\":\"y0\"");
    assert_int_equal(peer_left(a), 0);
    /* Without a connection, and with `events` taken back, it listens no more. */
    works(peer_ask(a, 3, "{\"name\":\"%s\",\"events\":false}", room));
    kit_settle(&k);
    assert_false(conv_has(s, conv, INTEREST_EVENTS));
    peer_close(a);
    kit_settle(&k);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm_is_bounded),
        cmocka_unit_test(a_user_who_flaps),
        cmocka_unit_test(who_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
