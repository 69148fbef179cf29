/* Hooks: their order, their verdicts, what they may change; and the default policies (policy.c). */
#include "hub_kit.h"

#include "core/base/utf8.h"
#include "core/hub/people/user.h"
#include "core/hub/host/host_member.h"
#include "core/hub/host/host_send.h"

struct note {
    char order[64]; /* letters of the hooks that ran */
    enum hook_verdict say;
    char letter;
    struct note *shared;
};

static enum hook_verdict run(struct hook_call *h, void *ctx)
{
    struct note *n = ctx;
    (void)h;
    size_t len = strlen(n->shared->order);
    n->shared->order[len] = n->letter;
    n->shared->order[len + 1] = 0;
    return n->say;
}

static void higher_priorities_run_first(void **state)
{
    static const struct {
        char letter;
        int priority;
    } hooks[] = {{'a', 0}, {'b', 10}, {'c', 0}, {'d', -5}, {'e', 10}, {'f', 100}};
    struct kit k;
    struct note all = {.letter = 0}, n[6];
    (void)state;
    kit_begin(&k, 1);
    for (int i = 0; i < 6; i++) {
        n[i] = (struct note){.letter = hooks[i].letter, .shared = &all};
        kit_hook(&k, HOOK_DELIVERED, hooks[i].priority, run, &n[i]);
    }
    struct hook_call h = {.shard = kit_shard(&k, 0)};
    assert_int_equal(hooks_run(HOOK_DELIVERED, &h), HOOK_PASS);
    assert_string_equal(all.order, "fbeacd"); /* equal ones in the order of registration */
    assert_int_equal(h.event, HOOK_DELIVERED);
    all.order[0] = 0;
    n[4].say = HOOK_ACCEPT; /* the first verdict wins */
    assert_int_equal(hooks_run(HOOK_DELIVERED, &h), HOOK_ACCEPT);
    assert_string_equal(all.order, "fbe");
    /* A refusal without words gets some. */
    n[4].say = HOOK_REJECT;
    h = (struct hook_call){.shard = kit_shard(&k, 0)};
    assert_int_equal(hooks_run(HOOK_DELIVERED, &h), HOOK_REJECT);
    assert_int_equal(h.code, CODE_FORBIDDEN);
    assert_non_null(h.message);
    for (int e = 0; e < HOOK_EVENTS; e++)
        assert_non_null(hook_event_name((enum hook_event)e));
    assert_string_equal(hook_event_name(HOOK_CONNECT), "connect");
    assert_string_equal(hook_event_name(HOOK_CLOSE), "close");
    kit_end(&k);
}

/* --- Content ------------------------------------------------------------------------------------------------------ */

static enum hook_verdict shout(struct hook_call *h, void *ctx)
{
    char text[64];
    (void)ctx;
    snprintf(text, sizeof text, "%.*s!", (int)h->content.n, h->content.p);
    assert_true(hook_set_content(h, S(text)));
    return HOOK_PASS;
}

static enum hook_verdict twice(struct hook_call *h, void *ctx)
{
    (void)ctx;
    assert_true(hook_set_content(h, slice_of(h->content.p, h->content.n))); /* of the buffer itself */
    return HOOK_PASS;
}

static void content_may_be_replaced(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    kit_hook(&k, HOOK_MESSAGE, 3, shout, NULL);
    kit_hook(&k, HOOK_MESSAGE, 2, shout, NULL);
    kit_hook(&k, HOOK_MESSAGE, 1, twice, NULL);
    struct peer *a = peer_login(&k, "ann", 0);
    works(peer_ask(a, 2, "{\"receiverId\":\"ann\",\"content\":\"hi\"}"));
    has(peer_ask(a, 5, "{\"peerId\":\"ann\"}"), "\"content\":\"hi!!\"");
    struct host_send q = {.sender = S("ann"), .receiver = S("ann"), .content = S("ho")};
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
    has(peer_push(a, 101), "\"content\":\"ho!!\"");
    assert_string_equal(hook_text(kit_shard(&k, 0), S("one")), "one");
    assert_string_equal(hook_text(kit_shard(&k, 0), S("")), "");
    peer_close(a);
    kit_end(&k);
}

/* --- Verdicts, by event ------------------------------------------------------------------------------------------- */

struct rule {
    enum hook_verdict say;
    enum code code;
    const char *message;
    uint32_t ms;
    unsigned calls;
    char seen[256];
};

static enum hook_verdict judge(struct hook_call *h, void *ctx)
{
    struct rule *r = ctx;
    r->calls++;
    snprintf(r->seen, sizeof r->seen,
             "user=%.*s name=%.*s channel=%.*s peer=%.*s content=%.*s token=%.*s device=%.*s members=%u seq=%u %s",
             (int)h->user.n, h->user.p ? h->user.p : "", (int)h->user_name.n, h->user_name.p ? h->user_name.p : "",
             (int)h->channel.n, h->channel.p ? h->channel.p : "", (int)h->peer.n, h->peer.p ? h->peer.p : "",
             (int)h->content.n, h->content.p ? h->content.p : "", (int)h->token.n, h->token.p ? h->token.p : "",
             (int)h->device.n, h->device.p ? h->device.p : "", h->members, (unsigned)h->seq,
             h->message ? h->message : "");
    if (r->say == HOOK_REJECT) {
        h->code = r->code;
        h->message = r->message;
        h->retry_after_ms = r->ms;
    }
    return r->say;
}

static void each_event_may_refuse(void **state)
{
    static const struct {
        enum hook_event event;
        uint16_t action;
        const char *body, *seen;
    } cases[] = {
        {HOOK_SUBSCRIBE, 3, "{\"name\":\"hall\"}",
         "user=ann name=Ann channel=hall peer= content= token= device= members=0 seq=0 "},
        {HOOK_CREATE, 3, "{\"name\":\"new\"}", "user=ann name=Ann channel=new peer="},
        {HOOK_HISTORY, 5, "{\"channel\":\"room\"}", "user=ann name=Ann channel=room peer= "},
        {HOOK_HISTORY, 5, "{\"peerId\":\"bob\"}", "user=ann name=Ann channel= peer=bob "},
        {HOOK_PRESENCE, 12, "{\"ids\":[\"bob\"]}", "user=ann "},
        {HOOK_MESSAGE, 4, "{\"channel\":\"room\",\"content\":\"x\"}", "user=ann name=Ann channel=room peer= content=x"},
        {HOOK_MESSAGE, 2, "{\"receiverId\":\"bob\",\"content\":\"x\"}",
         "user=ann name=Ann channel= peer=bob content=x"},
        {HOOK_CONVERSATION, 4, "{\"channel\":\"room\",\"content\":\"x\"}",
         "user=ann name=Ann channel=room peer= content=x token= device= members=1"},
        {HOOK_CONVERSATION, 2, "{\"receiverId\":\"bob\",\"content\":\"x\"}",
         "user=ann name=Ann channel= peer=bob content=x"},
    };
    struct kit k;
    struct rule r[HOOK_EVENTS] = {{.say = HOOK_PASS}};
    (void)state;
    kit_begin(&k, 2);
    for (int e = 0; e < HOOK_EVENTS; e++)
        kit_hook(&k, (enum hook_event)e, 1, judge, &r[e]);
    struct peer *a = peer_open(&k, 0), *b = peer_login(&k, "bob", 0);
    works(peer_ask(a, 1, "{\"token\":\"ann\",\"name\":\"Ann\",\"device\":\"d\"}"));
    has(r[HOOK_LOGIN].seen,
        "user=ann name=Ann channel= peer= content= token=ann device=d"); /* who it is, the provider has said */
    has(r[HOOK_LOGGED_IN].seen, "user=ann name=Ann channel= peer= content= token= device=d");
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"x\"}"));
    kit_settle(&k);
    has(r[HOOK_DELIVERED].seen, "user=ann name=Ann channel= peer=bob content=x token= device= members=0 seq=1");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rule *rule = &r[cases[i].event];
        *rule = (struct rule){.say = HOOK_REJECT, .code = CODE_RATE_LIMITED, .message = "not \"now\"", .ms = 1234};
        const char *answer = peer_ask(a, cases[i].action, "%s", cases[i].body);
        fails(answer, "rate_limited");
        has(answer, "not \\\"now\\\"");
        has(answer, "\"retryAfter\":1234");
        has(rule->seen, cases[i].seen);
        rule->say = HOOK_PASS;
        works(peer_ask(a, cases[i].action, "%s", cases[i].body));
    }
    /* Those whose verdict counts for nothing. */
    r[HOOK_UNSUBSCRIBE].say = r[HOOK_DELIVERED].say = r[HOOK_LOGGED_IN].say = r[HOOK_CLOSE].say = HOOK_REJECT;
    works(peer_ask(a, 6, "{\"name\":\"room\"}"));
    has(r[HOOK_UNSUBSCRIBE].seen, "user=ann name=Ann channel=room");
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"x\"}"));
    struct peer *c = peer_login(&k, "cat", 1);
    peer_close(c);
    kit_settle(&k);
    has(r[HOOK_CLOSE].seen, "user=cat name=cat channel= peer= content= token= device= members=0 seq=0 peer");
    /* At the door. */
    r[HOOK_LOGIN] = (struct rule){.say = HOOK_REJECT, .code = CODE_FORBIDDEN, .message = "full"};
    c = peer_open(&k, 0);
    fails(peer_ask(c, 1, "{\"token\":\"cat\"}"), "forbidden");
    r[HOOK_LOGIN].say = HOOK_PASS;
    works(peer_ask(c, 1, "{\"token\":\"cat\"}"));
    r[HOOK_CONNECT] = (struct rule){.say = HOOK_REJECT, .code = CODE_FORBIDDEN, .message = "go away"};
    struct peer *d = peer_open(&k, 1);
    has(peer_push(d, 105), "{\"reason\":\"kicked\",\"message\":\"go away\"}");
    peer_end(d);
    peer_close(a);
    peer_close(b);
    peer_close(c);
    peer_close(d);
    kit_end(&k);
}

/* A refusal's text that is too long is cut between two characters. */
static void long_words_stay_text(void **state)
{
    struct kit k;
    char text[301] = "";
    struct rule r = {.say = HOOK_REJECT, .code = CODE_FORBIDDEN, .message = text};
    (void)state;
    kit_begin(&k, 1);
    struct peer *a = peer_login(&k, "ann", 0);
    kit_hook(&k, HOOK_MESSAGE, 1, judge, &r);
    kit_hook(&k, HOOK_SUBSCRIBE, 1, judge, &r);
    for (int shift = 0; shift < 2; shift++) {
        memset(text, 'x', (size_t)shift);
        for (size_t i = (size_t)shift; i + 2 < sizeof text; i += 2)
            memcpy(text + i, "\xC3\xBC", 3);
        const char *answers[] = {peer_ask(a, 2, "{\"receiverId\":\"ann\",\"content\":\"x\"}"),
                                 peer_ask(a, 3, "{\"name\":\"room\"}")};
        for (int i = 0; i < 2; i++) {
            fails(answers[i], "forbidden");
            assert_true(utf8_valid(S(answers[i])));
            assert_true(strlen(answers[i]) > 90);
        }
    }
    peer_close(a);
    kit_end(&k);
}

/* A dropped message is answered as if it had been sent, with seq 0 and an id that nothing bears. */
static void dropped_messages(void **state)
{
    struct kit k;
    struct rule r = {.say = HOOK_DROP};
    (void)state;
    for (int event = 0; event < 2; event++) {
        kit_begin(&k, 2);
        kit_hook(&k, event ? HOOK_MESSAGE : HOOK_CONVERSATION, 1, judge, &r);
        struct peer *a = peer_login(&k, "ann", 0);
        works(peer_ask(a, 3, "{\"name\":\"room\"}"));
        const char *answer = peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}");
        has(answer, "\"seq\":0,\"createdAt\":1");
        has(answer, "\"id\":\"");
        kit_settle(&k);
        assert_int_equal(peer_left(a), 0);
        has(peer_ask(a, 5, "{\"channel\":\"room\"}"), "\"messages\":[],\"first\":0,\"last\":0");
        peer_close(a);
        kit_end(&k);
    }
}

/* --- The default policies ----------------------------------------------------------------------------------------- */

static void limits_of_users_and_conversations(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 2);
    k.opt.rate_user = 3;
    k.opt.rate_channel = 2;
    kit_start(&k);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    struct shard *s = shard_of(k.hub, S("ann"));
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    uint64_t began = clock_mono_ms();
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\",\"clientId\":\"c\"}"));
    works(peer_ask(b, 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    const char *full = peer_ask(b, 4, "{\"channel\":\"room\",\"content\":\"x\"}");
    const char *repeat = peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\",\"clientId\":\"c\"}");
    if (clock_mono_ms() - began < 300) { /* else the buckets have filled again */
        fails(full, "rate_limited");
        has(full, "in this conversation");
        assert_in_range(number(full, "retryAfter"), 1, 500);
        assert_int_equal(number(repeat, "seq"), 1); /* a repeat costs nothing */
        assert_true(user_at(s, kit_user(&k, "ann"))->rate.spent <= 1.01f);
    }
    began = clock_mono_ms();
    for (int i = 0; i < 3; i++)
        peer_ask(b, 2, "{\"receiverId\":\"ann\",\"content\":\"x\"}");
    const char *over = peer_ask(b, 2, "{\"receiverId\":\"ann\",\"content\":\"x\"}");
    if (clock_mono_ms() - began < 200)
        fails(over, "rate_limited");
    peer_close(a);
    peer_close(b);
    kit_end(&k);
}

static void who_may_make_channels(void **state)
{
    static const enum channels_create modes[] = {CREATE_ANY, CREATE_SCRIPT, CREATE_NONE};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct kit k;
        struct rule r = {.say = HOOK_ACCEPT};
        kit_open(&k, 1);
        k.opt.create = modes[i];
        kit_start(&k);
        struct peer *a = peer_login(&k, "ann", 0);
        const char *answer = peer_ask(a, 3, "{\"name\":\"room\"}");
        if (i == 0)
            works(answer);
        else
            fails(answer, "forbidden");
        struct host_member q = {.user = S("ann"), .channel = S("by the server"), .may_create = true};
        assert_int_equal(KIT_HOST(&k, host_member, &q), CODE_OK);
        works(peer_ask(a, 3, "{\"name\":\"by the server\"}")); /* it exists */
        kit_hook(&k, HOOK_CREATE, 0, judge, &r);
        works(peer_ask(a, 3, "{\"name\":\"by a script\"}")); /* who accepts beats the config */
        peer_close(a);
        kit_end(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(higher_priorities_run_first),
        cmocka_unit_test(content_may_be_replaced),
        cmocka_unit_test(each_event_may_refuse),
        cmocka_unit_test(long_words_stay_text),
        cmocka_unit_test(dropped_messages),
        cmocka_unit_test(limits_of_users_and_conversations),
        cmocka_unit_test(who_may_make_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
