/* The table of commands, what was probably meant, the password, bans and rules, notes, names in wires. */
#include "core/base/spelling.h"
#include "core/console/console_private.h"
#include "core/hub/people/ban.h"
#include "core/hub/host/snapshot.h"
#include "core/hub/shard/options.h"
#include "core/hub/shard/shard.h"
#include "core/hub/people/trace.h"
#include "core/hub/shard/why.h"
#include "storage/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define S(x) slice_str(x)

static void run(struct command_call *c, void *ctx)
{
    (void)c, (void)ctx;
}

static int add(struct hub *hub, const char *name, const void *owner)
{
    const struct command c = {.name = name, .args = "", .help = "", .run = run, .owner = owner};
    return command_register(hub, &c);
}

static const char *found(struct hub *hub, const char *a, const char *b, unsigned used)
{
    const struct slice words[] = {S(a), S(b)};
    unsigned n;
    const struct command *c = command_find(hub, words, *b ? 2 : 1, &n);
    if (c)
        assert_int_equal(n, used);
    return c ? c->name : "";
}

static const char *nearest(struct hub *hub, const char *a, const char *b)
{
    const struct slice words[] = {S(a), S(b)};
    const char *near = command_nearest(hub, words, *b ? 2 : 1);
    return near ? near : "";
}

static void table(void **state)
{
    static const char owner;
    struct hub hub = {.shards = NULL};
    (void)state;
    assert_string_equal(found(&hub, "x", "", 1), "");
    assert_int_equal(add(&hub, "show user", NULL), 0);
    assert_int_equal(add(&hub, "status", NULL), 0);
    assert_int_equal(add(&hub, "list users", &owner), 0);
    assert_int_equal(add(&hub, "show", &owner), 0);
    assert_int_equal(add(&hub, "status", NULL), ERR_EXISTS);
    /* Nobody takes lines away from a command that is there: neither from a built-in one, nor from another's. */
    static const char other;
    assert_int_equal(add(&hub, "status now", &owner), ERR_EXISTS);
    assert_int_equal(add(&hub, "status now", NULL), 0);
    assert_int_equal(add(&hub, "show me", &owner), 0);
    assert_int_equal(add(&hub, "show you", &other), ERR_EXISTS);
    assert_int_equal(add(&hub, "list", &other), ERR_EXISTS);
    assert_int_equal(add(&hub, "statuses now", &other), 0);
    commands_remove(&hub, &other);
    assert_string_equal(found(&hub, "status", "now", 2), "status now");
    static const char *const wrong[] = {"", "Status", "a b c", " a", "a ", "a  b", "a\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(add(&hub, wrong[i], NULL), ERR_INVALID);
    assert_string_equal(command_at(&hub, 0)->name, "list users");
    assert_string_equal(command_at(&hub, 4)->name, "status");
    assert_null(command_at(&hub, 6));
    assert_string_equal(found(&hub, "show", "user", 2), "show user");
    assert_string_equal(found(&hub, "show", "them", 1), "show");
    assert_string_equal(found(&hub, "show", "me", 2), "show me");
    assert_string_equal(found(&hub, "status", "then", 1), "status");
    assert_string_equal(nearest(&hub, "statsu", ""), "status");
    assert_string_equal(nearest(&hub, "list", "usres"), "list users");
    assert_string_equal(nearest(&hub, "list", ""), "list users");
    assert_string_equal(nearest(&hub, "xyz", ""), "");
    commands_remove(&hub, &owner);
    assert_string_equal(command_at(&hub, 0)->name, "show user");
    assert_null(command_at(&hub, 3));
    commands_remove(&hub, NULL);
    assert_non_null(command_at(&hub, 1));
    commands_free(&hub);
}

static void distances(void **state)
{
    (void)state;
    assert_int_equal(spelling_distance("", ""), 0);
    assert_int_equal(spelling_distance("abc", "abc"), 0);
    assert_int_equal(spelling_distance("abc", "acb"), 1);
    assert_int_equal(spelling_distance("abc", "ab"), 1);
    assert_int_equal(spelling_distance("abc", "xbc"), 1);
    assert_int_equal(spelling_distance("", "abc"), 3);
    assert_int_equal(spelling_distance("kitten", "sitting"), 3);
    assert_int_equal(spelling_limit("ab"), 1);
    assert_int_equal(spelling_limit("abcdefghijkl"), 3);
}

/* There is no other node to be told. */
static struct store alone_store;
static struct hub alone = {.store = &alone_store};

static void passwords(void **state)
{
    struct console *c = calloc(1, sizeof *c);
    const char *text;
    (void)state;
    c->hub = &alone;
    console_set_password(c, "open sesame");
    assert_true(c->has_password);
    assert_null(auth_try(c, "10.0.0.1", S("open sesame"), &text));
    for (int i = 0; i < GUESSES; i++)
        assert_string_equal(auth_try(c, "10.0.0.1", S(i % 2 ? "" : "open sesame!"), &text), "unauthorized");
    assert_string_equal(auth_try(c, "10.0.0.1", S("open sesame"), &text), "rate_limited");
    /* Others are not locked out. */
    assert_null(auth_try(c, "10.0.0.2", S("open sesame"), &text));
    /* A minute later. */
    for (unsigned i = 0; i < GUESSERS; i++)
        c->guessers[i].began_ms -= 60000;
    assert_null(auth_try(c, "10.0.0.1", S("open sesame"), &text));
    /* Guesses from everywhere keep nobody else out, and those that were wrong lately are remembered. */
    char ip[32];
    for (unsigned i = 0; i < 2 * GUESSERS; i++) {
        snprintf(ip, sizeof ip, "10.1.%u.%u", i / 256, i % 256);
        for (int j = 0; j < (i == 2 * GUESSERS - 1 ? GUESSES : 1); j++)
            assert_string_equal(auth_try(c, ip, S("x"), &text), "unauthorized");
    }
    assert_null(auth_try(c, "10.2.0.1", S("open sesame"), &text));
    assert_string_equal(auth_try(c, ip, S("x"), &text), "rate_limited");
    /* A /64 is one host; IPv4 by way of IPv6 is not. */
    for (unsigned i = 0; i < GUESSES; i++) {
        snprintf(ip, sizeof ip, "2001:db8::%x:1", i + 1);
        assert_string_equal(auth_try(c, ip, S("x"), &text), "unauthorized");
        snprintf(ip, sizeof ip, "::ffff:10.3.0.%u", i);
        assert_string_equal(auth_try(c, ip, S("x"), &text), "unauthorized");
    }
    assert_string_equal(auth_try(c, "2001:db8::9", S("open sesame"), &text), "rate_limited");
    assert_null(auth_try(c, "2001:db8:0:1::9", S("open sesame"), &text));
    assert_null(auth_try(c, "::ffff:10.3.0.77", S("open sesame"), &text));
    free(c);
}

/* A store that is nothing but a clock: now, and how much time was accepted as passed since 1000. */
static uint64_t clock_now = 1000000, clock_more;

static uint64_t clock_time(struct store *s)
{
    (void)s;
    return clock_now;
}
static uint64_t clock_age(struct store *s, uint64_t stamp_ms)
{
    (void)s;
    return clock_now - stamp_ms + (stamp_ms < 2000000 ? clock_more : 0);
}
static const struct store_engine clock_engine = {.time = clock_time, .age = clock_age};
static struct store clock_store = {.engine = &clock_engine};

static bool apply(struct shard *s, enum ban_kind kind, const char *user, const char *channel, const char *ip,
                  uint64_t until, bool lift)
{
    struct ban_key k;
    bool existed;
    assert_true(ban_key_make(&k, kind, S(user), S(channel), S(ip)));
    assert_int_equal(ban_apply(s, &k, &(struct ban_span){.until_ms = until}, S("why"), lift, &existed), 0);
    return existed;
}

/* What is in the shard's table for timed ones goes by the store's clock. */
static void spans(void **state)
{
    struct shard *s = calloc(1, sizeof *s);
    struct ban_key k;
    bool existed;
    char note[BAN_NOTE_MAX];
    (void)state;
    s->store = &clock_store;
    s->hub = &alone;
    struct ban_span span = ban_span_of(&clock_store, 60);
    assert_true(span.since_ms == 1000000 && span.until_ms == 1060000);
    assert_int_equal(ban_note(&span, S("why"), note), 8 + 3 + 9);
    assert_true(ban_key_make(&k, MUTE_USER, S("ada"), SLICE_NONE, SLICE_NONE));
    assert_int_equal(ban_apply(s, &k, &span, S("why"), false, &existed), 0);
    assert_int_equal(ban_apply(s, &k, &span, S("why"), false, &existed), 0);
    assert_true(existed);
    assert_true(ban_muted(s, S("ada"), SLICE_NONE));
    clock_now += 59999;
    assert_true(ban_muted(s, S("ada"), SLICE_NONE));
    clock_more = 1; /* an operator said that this time has passed, too */
    assert_false(ban_muted(s, S("ada"), SLICE_NONE));
    clock_more = 0;
    clock_now += 1;
    assert_false(ban_muted(s, S("ada"), SLICE_NONE));
    assert_int_equal(ban_apply(s, &k, &span, S("why"), false, &existed), 0);
    assert_false(existed);
    /* One of a server that did not keep when it began. */
    span = (struct ban_span){.until_ms = clock_now + 10};
    assert_int_equal(ban_apply(s, &k, &span, S("why"), false, &existed), 0);
    assert_true(ban_muted(s, S("ada"), SLICE_NONE));
    clock_now += 10;
    assert_false(ban_muted(s, S("ada"), SLICE_NONE));
    bans_tick(s);
    assert_int_equal(ban_apply(s, &k, &span, SLICE_NONE, true, &existed), 0);
    assert_false(existed);
    span = ban_span_of(&clock_store, 0);
    assert_true(span.until_ms == BAN_FOREVER);
    assert_int_equal(ban_note(&span, S("why"), note), 8 + 3);
    bans_free(s);
    free(s);
}

static void bans(void **state)
{
    struct shard *s = calloc(1, sizeof *s);
    s->store = &clock_store;
    struct slice reason;
    (void)state;
    assert_false(ban_user(s, S("ada"), &reason) || ban_ip(s, "10.0.0.1") || ban_muted(s, S("ada"), S("tea")));
    assert_false(apply(s, BAN_USER, "ada", "", "", BAN_FOREVER, false));
    assert_true(apply(s, BAN_USER, "ada", "", "", BAN_FOREVER, false));
    assert_true(ban_user(s, S("ada"), &reason) && slice_eq(reason, S("why")));
    assert_false(ban_user(s, S("bob"), NULL) || ban_user(s, S("ad"), NULL) || ban_muted(s, S("ada"), S("tea")) ||
                 ban_member(s, S("ada"), S("tea")));
    assert_false(apply(s, MUTE_MEMBER, "ada", "tea", "", BAN_FOREVER, false));
    assert_true(ban_muted(s, S("ada"), S("tea")));
    assert_false(ban_muted(s, S("ada"), S("te")) || ban_muted(s, S("ada"), SLICE_NONE) ||
                 ban_member(s, S("ada"), S("tea")));
    assert_false(apply(s, MUTE_USER, "bob", "", "", BAN_FOREVER, false));
    assert_true(ban_muted(s, S("bob"), S("tea")) && ban_muted(s, S("bob"), SLICE_NONE));
    /* What is over counts for nothing. */
    assert_false(apply(s, BAN_MEMBER, "cyd", "tea", "", 1, false));
    assert_false(ban_member(s, S("cyd"), S("tea")));
    assert_false(apply(s, BAN_MEMBER, "cyd", "tea", "", BAN_FOREVER, false));
    assert_true(ban_member(s, S("cyd"), S("tea")));
    assert_true(apply(s, BAN_USER, "ada", "", "", 0, true));
    assert_false(apply(s, BAN_USER, "ada", "", "", 0, true));
    assert_false(ban_user(s, S("ada"), NULL));
    for (int i = 0; i < 100; i++)
        bans_tick(s);
    assert_true(ban_muted(s, S("bob"), S("tea")));
    bans_free(s);
    free(s);
}

static void networks(void **state)
{
    struct shard *s = calloc(1, sizeof *s);
    s->store = &clock_store;
    struct ban_key k;
    (void)state;
    static const char *const wrong[] = {"",           "x",      "1.2.3", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/x",
                                        "1.2.3.4/-1", "::/129", "/8",    "::1/1000", "1.2.3.4/8/8"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(ban_key_make(&k, BAN_IP, SLICE_NONE, SLICE_NONE, S(wrong[i])));
    apply(s, BAN_IP, "", "", "10.1.2.3", BAN_FOREVER, false);
    apply(s, BAN_IP, "", "", "192.168.77.9/20", BAN_FOREVER, false);
    apply(s, BAN_IP, "", "", "2001:db8::1/32", BAN_FOREVER, false);
    static const char *const in[] = {"10.1.2.3", "::ffff:10.1.2.3", "192.168.64.0", "192.168.79.255",
                                     "2001:db8:ffff::2"};
    static const char *const out[] = {"10.1.2.4", "192.168.80.0", "192.168.63.255", "2001:db9::1", "unix", "?", "::1"};
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
        assert_true(ban_ip(s, in[i]));
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++)
        assert_false(ban_ip(s, out[i]));
    assert_true(apply(s, BAN_IP, "", "", "192.168.64.0/20", 0, true));
    assert_false(ban_ip(s, "192.168.64.1"));
    apply(s, BAN_IP, "", "", "0.0.0.0/0", BAN_FOREVER, false);
    assert_true(ban_ip(s, "8.8.8.8"));
    assert_false(ban_ip(s, "2001:db9::1"));
    bans_free(s);
    free(s);
}

static void rules(void **state)
{
    struct shard *s = calloc(1, sizeof *s);
    struct channel_rule r = {.tier = TIER_LARGE, .push = MODE_NONE, .limited = true, .closed = true, .limit = 70000},
                        got;
    struct ban_key k;
    char packed[CHANNEL_RULE_SIZE];
    bool existed;
    (void)state;
    channel_rule_pack(&r, packed);
    assert_true(ban_key_make(&k, CHANNEL_RULE, SLICE_NONE, S("tea"), SLICE_NONE));
    assert_int_equal(
        ban_apply(s, &k, &(struct ban_span){.until_ms = BAN_FOREVER}, slice_of(packed, sizeof packed), false, &existed),
        0);
    assert_true(channel_rule_find(s, S("tea"), &got));
    assert_true(got.tier == TIER_LARGE && got.push == MODE_NONE && got.limited && got.closed && got.limit == 70000);
    assert_false(channel_rule_find(s, S("te"), &got));
    assert_int_equal(got.tier, 0);
    bans_free(s);
    free(s);
}

static void handles(void **state)
{
    unsigned shard;
    uint32_t conn, generation;
    char text[40];
    (void)state;
    snapshot_handle(text, 3, 17, 4000000000u);
    assert_string_equal(text, "3.17.4000000000");
    assert_true(snapshot_handle_parse(S(text), &shard, &conn, &generation));
    assert_true(shard == 3 && conn == 17 && generation == 4000000000u);
    static const char *const wrong[] = {"",        "1",     "1.2",    "1.2.",           ".1.2",      "1..2",
                                        "1.2.3.4", "1.2.x", "-1.2.3", "1.2.4294967296", "99999.1.1", "1.4294967295.1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(snapshot_handle_parse(S(wrong[i]), &shard, &conn, &generation));
}

static void notes(void **state)
{
    struct shard *s = calloc(1, sizeof *s);
    struct why_note got;
    (void)state;
    assert_false(why_find(s, &(struct why_note){.kind = WHY_STORED, .id = 1}, &got));
    assert_int_equal(why_since(s), 0);
    for (uint64_t i = 1; i <= WHY_NOTES + 10; i++)
        why_note(s, &(struct why_note){.kind = WHY_STORED, .id = i, .seq = i});
    for (uint64_t i = 1; i <= WHY_SKIPS + 10; i++)
        why_note(s, &(struct why_note){.kind = WHY_SKIPPED, .conv = 7, .user = 8, .seq = i, .to = i + 1});
    assert_false(why_find(s, &(struct why_note){.kind = WHY_STORED, .id = 10}, &got));
    assert_true(why_find(s, &(struct why_note){.kind = WHY_STORED, .id = 11}, &got) && got.seq == 11);
    assert_true(why_find(s, &(struct why_note){.kind = WHY_SKIPPED, .conv = 7, .user = 8, .seq = 500}, &got) &&
                got.seq == 500);
    assert_false(why_find(s, &(struct why_note){.kind = WHY_SKIPPED, .conv = 7, .user = 9, .seq = 500}, &got));
    assert_true(why_since(s) > 0);
    why_note(s, &(struct why_note){.kind = WHY_PUBLISHED, .conv = 7, .seq = 10, .to = 20, .mask = 2});
    assert_true(why_find(s, &(struct why_note){.kind = WHY_PUBLISHED, .conv = 7, .seq = 20, .mask = 3}, &got));
    assert_false(why_find(s, &(struct why_note){.kind = WHY_PUBLISHED, .conv = 7, .seq = 21, .mask = 3}, &got));
    assert_false(why_find(s, &(struct why_note){.kind = WHY_PUBLISHED, .conv = 7, .seq = 15, .mask = 4}, &got));
    why_note(s, &(struct why_note){.kind = WHY_ACKED, .user = 8, .id = 100, .bits = WHY_B_UP_TO});
    why_note(s, &(struct why_note){.kind = WHY_ACKED, .user = 8, .id = 200});
    assert_true(why_find(s, &(struct why_note){.kind = WHY_ACKED, .user = 8, .id = 99}, &got));
    assert_true(why_find(s, &(struct why_note){.kind = WHY_ACKED, .user = 8, .id = 200}, &got));
    assert_false(why_find(s, &(struct why_note){.kind = WHY_ACKED, .user = 8, .id = 150}, &got));
    why_free(s);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table), cmocka_unit_test(distances), cmocka_unit_test(passwords),
        cmocka_unit_test(bans),  cmocka_unit_test(spans),     cmocka_unit_test(networks),
        cmocka_unit_test(rules), cmocka_unit_test(handles),   cmocka_unit_test(notes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
