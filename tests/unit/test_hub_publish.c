/* Publishing: time slices, their caps and page limit, recalls inside a slice, what a change of mode does, slices over
 * the limit, user mails. */
#include "hub_kit.h"
#include "core/hub/talk/user_mail.h"
#include "core/hub/talk/publish.h"

/* A channel "room" whose slices end only when the test says so. */
struct stage {
    struct kit k;
    struct peer *say;  /* subscribed, mode none */
    struct peer *all;  /* mode all */
    struct peer *slow; /* mode merged, accepts 104 */
    struct peer *old;  /* mode merged, does not */
};

static void begin(struct stage *g, unsigned shards, void (*change)(struct hub_options *o))
{
    kit_open(&g->k, shards);
    g->k.opt.slice_ms = 3600000;
    g->k.opt.slice_max = 3;
    if (change)
        change(&g->k.opt);
    kit_start(&g->k);
    g->say = peer_login(&g->k, "say", 0);
    g->all = peer_login(&g->k, "all", 0);
    g->slow = peer_login_merge(&g->k, "slow", 0);
    g->old = peer_login(&g->k, "old", 0);
    works(peer_ask(g->say, 3, "{\"name\":\"room\",\"push\":\"none\"}"));
    works(peer_ask(g->all, 3, "{\"name\":\"room\",\"push\":\"all\"}"));
    works(peer_ask(g->slow, 3, "{\"name\":\"room\",\"push\":\"merged\"}"));
    works(peer_ask(g->old, 3, "{\"name\":\"room\",\"push\":\"merged\"}"));
}

static void end(struct stage *g)
{
    peer_close(g->say);
    peer_close(g->all);
    peer_close(g->slow);
    peer_close(g->old);
    kit_end(&g->k);
}

static void say(struct stage *g, const char *text)
{
    works(peer_ask(g->say, 4, "{\"channel\":\"room\",\"content\":\"%s\"}", text));
}

/* The slices' timers come due. */
static void slices_end(struct stage *g)
{
    struct conv_key key = conv_key_channel(S("room"));
    struct shard *s = shard_of(g->k.hub, conv_key_slice(&key));
    struct conv *v = kit_conv(&g->k, key);
    if (v->merged)
        ev_feed_event(s->loop, v->merged, EV_TIMER); /* the timer is its first member */
    if (v->plain)
        ev_feed_event(s->loop, v->plain, EV_TIMER);
    kit_settle(&g->k);
}

/* Of a slice the newest are pushed; the bodies' seqs, in order, as text. */
static void seqs(const char *body, char out[256])
{
    out[0] = 0;
    for (const char *at = body; (at = strstr(at, "\"seq\":")) != NULL; at++)
        sprintf(out + strlen(out), "%s%u", out[0] ? " " : "", (unsigned)strtoul(at + 6, NULL, 10));
}

static void slices_hold_the_newest(void **state)
{
    struct stage g;
    char text[256];
    (void)state;
    begin(&g, 2, NULL);
    for (int i = 1; i <= 5; i++)
        say(&g, "x");
    for (int i = 1; i <= 5; i++)
        assert_int_equal(number(peer_push(g.all, 102), "seq"), i); /* at once */
    kit_settle(&g.k);
    assert_int_equal(peer_left(g.slow) + peer_left(g.old), 0);
    slices_end(&g);
    const char *merged = peer_push(g.slow, 104);
    has(merged, "{\"channel\":\"room\",\"messages\":[{");
    has(merged, "\"from\":1,\"to\":5,\"omitted\":2");
    seqs(merged, text);
    assert_string_equal(text, "3 4 5");
    for (int i = 3; i <= 5; i++)
        assert_int_equal(number(peer_push(g.old, 102), "seq"), i);
    say(&g, "y"); /* the next slice */
    slices_end(&g);
    has(peer_push(g.slow, 104), "\"from\":6,\"to\":6,\"omitted\":0");
    kit_settle(&g.k);
    assert_int_equal(peer_left(g.slow) + peer_left(g.say), 0);
    end(&g);
}

static void small_pages(struct hub_options *o)
{
    o->page_max = 2000;
    o->slice_max = 0; /* no cap but the page */
}

/* A slice is one frame, within limits.page; and its account of bytes is right after many have come and gone. */
static void slices_fit_a_page(void **state)
{
    struct stage g;
    (void)state;
    begin(&g, 1, small_pages);
    for (int round = 0; round < 2; round++) {
        unsigned got = 0;
        for (int i = 0; i < 500; i++)
            say(&g, "0123456789");
        slices_end(&g);
        const char *merged = peer_push(g.slow, 104);
        assert_true(strlen(merged) <= 2000);
        for (const char *at = merged; (at = strstr(at, "\"id\":\"0")) != NULL; at++)
            got++;
        assert_true(got >= 10); /* it is well used */
        assert_int_equal(number(merged, "omitted") + got, 500);
        assert_int_equal(number(merged, "to"), 500 * (round + 1));
    }
    /* One that is larger than a page goes alone. */
    char *large = calloc(1, 3001);
    memset(large, 'x', 3000);
    say(&g, "small");
    say(&g, large);
    slices_end(&g);
    has(peer_push(g.slow, 104), "\"omitted\":1");
    free(large);
    end(&g);
}

static void recalls_inside_a_slice(void **state)
{
    struct stage g;
    char text[256];
    (void)state;
    begin(&g, 2, NULL);
    say(&g, "1");
    say(&g, "2");
    say(&g, "3");
    works(peer_ask(g.say, 14, "{\"channel\":\"room\",\"seq\":2}"));
    kit_settle(&g.k);
    assert_int_equal(number(peer_push(g.slow, 109), "seq"), 2);
    assert_int_equal(number(peer_push(g.all, 109), "seq"), 2);
    assert_null(peer_look(g.say, 109, -1)); /* mode none */
    slices_end(&g);
    const char *merged = peer_push(g.slow, 104);
    has(merged, "\"from\":1,\"to\":3,\"omitted\":1");
    seqs(merged, text);
    assert_string_equal(text, "1 3");
    /* A slice of which nothing is left is not said. */
    say(&g, "4");
    works(peer_ask(g.say, 14, "{\"channel\":\"room\",\"seq\":4}"));
    slices_end(&g);
    peer_push(g.slow, 109);
    assert_int_equal(peer_left(g.slow), 0);
    /* Recalled twice: said once. */
    works(peer_ask(g.say, 14, "{\"channel\":\"room\",\"seq\":4}"));
    kit_settle(&g.k);
    assert_int_equal(peer_left(g.slow), 0);
    end(&g);
}

/* A ring that has wrapped is emptied in order, with one taken out of its middle. */
static void recalls_in_a_wrapped_slice(void **state)
{
    struct stage g;
    char text[256];
    (void)state;
    begin(&g, 1, NULL);
    for (int i = 1; i <= 4; i++)
        say(&g, "x"); /* holds 2 3 4, wrapped */
    works(peer_ask(g.say, 14, "{\"channel\":\"room\",\"seq\":3}"));
    slices_end(&g);
    const char *merged = peer_push(g.slow, 104);
    has(merged, "\"from\":1,\"to\":4,\"omitted\":2");
    seqs(merged, text);
    assert_string_equal(text, "2 4");
    end(&g);
}

static void at_once(struct hub_options *o)
{
    o->slice_ms = 0;
}

static void slices_of_no_length(void **state)
{
    struct stage g;
    (void)state;
    begin(&g, 2, at_once);
    for (int i = 1; i <= 3; i++) {
        say(&g, "x");
        assert_int_equal(number(peer_push(g.slow, 104), "to"), i);
    }
    end(&g);
}

static void complete(struct hub_options *o)
{
    o->rate_channel = 2;
    o->rate_policy = RATE_COMPLETE;
}

/* Policy complete: over the limit everything is stored, and of each slice only the newest are pushed, as 102, in
 * order. */
static void over_the_limit_in_slices(void **state)
{
    struct stage g;
    (void)state;
    begin(&g, 2, complete);
    uint64_t began = clock_mono_ms();
    for (int i = 1; i <= 9; i++)
        say(&g, "x");
    if (clock_mono_ms() - began > 400) { /* on a machine this slow the bucket fills meanwhile */
        end(&g);
        skip();
    }
    kit_settle(&g.k);
    assert_int_equal(peer_left(g.all), 2);
    assert_int_equal(number(peer_push(g.all, 102), "seq"), 1);
    assert_int_equal(number(peer_push(g.all, 102), "seq"), 2);
    slices_end(&g);
    for (int i = 7; i <= 9; i++)
        assert_int_equal(number(peer_push(g.all, 102), "seq"), i);
    has(peer_push(g.slow, 104), "\"from\":1,\"to\":9,\"omitted\":6");
    has(peer_ask(g.all, 5, "{\"channel\":\"room\"}"), "\"first\":1,\"last\":9");
    assert_int_equal(peer_left(g.all), 0);
    end(&g);
}

/* An open slice is gone through even by a message within the limit: order first. */
static void an_open_slice_keeps_the_order(void **state)
{
    struct stage g;
    (void)state;
    begin(&g, 1, NULL);
    struct conv_key key = conv_key_channel(S("room"));
    struct slice name = conv_key_slice(&key);
    struct shard *s = kit_shard(&g.k, 0);
    uint32_t conv = table_find(&s->conv_keys, hash_bytes(name), &name);
    conv_publish(s, conv, 1, S("{\"seq\":1}"), true);
    conv_publish(s, conv, 2, S("{\"seq\":2}"), false);
    kit_settle(&g.k);
    assert_int_equal(peer_left(g.all), 0);
    slices_end(&g);
    assert_int_equal(number(peer_push(g.all, 102), "seq"), 1);
    assert_int_equal(number(peer_push(g.all, 102), "seq"), 2);
    conv_publish(s, conv, 3, S("{\"seq\":3}"), false);
    kit_settle(&g.k);
    assert_int_equal(number(peer_push(g.all, 102), "seq"), 3);
    end(&g);
}

/* Nothing is collected for nobody. */
static void without_receivers_nothing_is_kept(void **state)
{
    struct stage g;
    (void)state;
    begin(&g, 2, NULL);
    works(peer_ask(g.slow, 6, "{\"name\":\"room\"}"));
    works(peer_ask(g.old, 3, "{\"name\":\"room\",\"push\":\"none\"}"));
    kit_settle(&g.k);
    say(&g, "x");
    kit_settle(&g.k);
    assert_null(kit_conv(&g.k, conv_key_channel(S("room")))->merged);
    has(peer_push(g.all, 102), "\"x\"");
    end(&g);
}

/* A hub that stops with slices under way loses no memory (the messages are in history). */
static void stopping_with_slices(void **state)
{
    struct stage g;
    (void)state;
    begin(&g, 2, complete);
    for (int i = 0; i < 5; i++)
        say(&g, "x");
    end(&g);
}

static void mails_to_users(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct peer *a = peer_login(&k, ann, 0), *b = peer_login(&k, ann, 1);
    uint32_t newest = kit_conn(&k, ann), generation = conn_at(kit_shard(&k, 1)->net, newest)->generation;
    user_mail_post(k.hub, NULL, user_mail_new(S(ann), 300, S("{}"), newest, generation)); /* all but b */
    user_mail_post(k.hub, NULL,
                   user_mail_new(S(ann), 301, S("{}"), newest, generation + 1)); /* that one is gone: to all */
    user_mail_post(k.hub, kit_shard(&k, 1), user_mail_new(S(ann), 302, S("{}"), NONE, 0));
    user_mail_post(k.hub, NULL, user_mail_new(S("nobody"), 302, S("{}"), NONE, 0));
    user_mail_post(k.hub, NULL, NULL);
    peer_push(a, 300);
    peer_push(a, 301);
    peer_push(b, 301);
    peer_push(a, 302);
    peer_push(b, 302);
    kit_settle(&k);
    assert_int_equal(peer_left(a) + peer_left(b), 0);
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_hold_the_newest),        cmocka_unit_test(slices_fit_a_page),
        cmocka_unit_test(recalls_inside_a_slice),        cmocka_unit_test(recalls_in_a_wrapped_slice),
        cmocka_unit_test(slices_of_no_length),           cmocka_unit_test(over_the_limit_in_slices),
        cmocka_unit_test(an_open_slice_keeps_the_order), cmocka_unit_test(without_receivers_nothing_is_kept),
        cmocka_unit_test(stopping_with_slices),          cmocka_unit_test(mails_to_users),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
