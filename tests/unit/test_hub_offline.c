/* The hook "offline": which receivers of which messages it is told, and that it costs nothing where nobody asks. */
#include "hub_kit.h"

#include "core/hub/host/host_send.h"
#include "core/hub/talk/offline.h"

static struct buf seen; /* a line a call */

static enum hook_verdict note(struct hook_call *h, void *ctx)
{
    (void)ctx;
    buf_printf(&seen, "%.*s>", (int)h->user.n, h->user.p);
    buf_slice_put(&seen, h->channel.n ? h->channel : h->peer);
    buf_printf(&seen, " %.*s seq=%u members=%u:", (int)h->content.n, h->content.p, (unsigned)h->seq, h->members);
    assert_true(h->id > 0 && h->created_ms > 0 && h->user_name.n > 0);
    for (uint32_t i = 0; i < h->receiver_count; i++)
        buf_printf(&seen, " %.*s", (int)h->receivers[i].n, h->receivers[i].p);
    buf_byte(&seen, '\n');
    return HOOK_REJECT; /* counts for nothing */
}

static void told(const char *lines)
{
    buf_byte(&seen, 0);
    assert_string_equal(seen.p, lines);
    buf_reset(&seen);
}

static struct peer *leave(struct kit *k, struct peer *p)
{
    peer_close(p);
    kit_settle(k);
    return NULL;
}

static void private_receivers(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 3);
    kit_hook(&k, HOOK_OFFLINE, 0, note, NULL);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 1), *c = peer_login(&k, "cat", 2);
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"you are here\"}"));
    works(peer_ask(a, 2, "{\"receiverId\":\"ann\",\"content\":\"a note to myself\"}"));
    kit_settle(&k);
    told("");
    b = leave(&k, b);
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"gone?\"}"));
    fails(peer_ask(a, 2, "{\"receiverId\":\"nobody\",\"content\":\"x\"}"), "not_found");
    kit_settle(&k);
    told("ann>bob gone? seq=2 members=0: bob\n");
    /* A repeat is no second message. */
    for (int i = 0; i < 2; i++)
        works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"once\",\"clientId\":\"1\"}"));
    struct host_send q = {.receiver = S("bob"), .content = S("news")};
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
    kit_settle(&k);
    told("ann>bob once seq=3 members=0: bob\nsystem>bob news seq=1 members=0: bob\n");
    /* With one of two devices he is there. */
    b = peer_login(&k, "bob", 0);
    struct peer *b2 = peer_login(&k, "bob", 2);
    leave(&k, b2);
    works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"back\"}"));
    kit_settle(&k);
    told("");
    peer_close(a);
    peer_close(b);
    peer_close(c);
    kit_end(&k);
}

static void members_of_small_channels(void **state)
{
    static const char *const ids[] = {"ann", "bob", "cat", "dan", "eve"};
    struct kit k;
    struct peer *p[5];
    (void)state;
    kit_open(&k, 4);
    k.opt.large_members = 5;
    kit_start(&k);
    kit_hook(&k, HOOK_OFFLINE, 0, note, NULL);
    for (int i = 0; i < 5; i++) {
        p[i] = peer_login(&k, ids[i], (unsigned)i % 4);
        if (i < 4)
            works(peer_ask(p[i], 3, "{\"name\":\"room\"}"));
    }
    works(peer_ask(p[0], 4, "{\"channel\":\"room\",\"content\":\"all\"}"));
    kit_settle(&k);
    told("");
    p[1] = leave(&k, p[1]);
    p[3] = leave(&k, p[3]);
    works(peer_ask(p[0], 4, "{\"channel\":\"room\",\"content\":\"two\"}"));
    kit_settle(&k);
    told("ann>room two seq=2 members=4: bob dan\n");
    /* Who sends without a connection is not told of its own message. */
    struct host_send q = {.sender = S("bob"), .channel = S("room"), .content = S("by the API")};
    assert_int_equal(KIT_HOST(&k, host_send, &q), CODE_OK);
    kit_settle(&k);
    told("bob>room by the API seq=3 members=4: dan\n");
    /* Large channels have no such event. */
    works(peer_ask(p[4], 3, "{\"name\":\"room\"}"));
    works(peer_ask(p[4], 4, "{\"channel\":\"room\",\"content\":\"large\"}"));
    kit_settle(&k);
    told("");
    for (int i = 0; i < 5; i++)
        if (p[i])
            peer_close(p[i]);
    kit_end(&k);
}

/* Messages that come while the members are read share the answer, in their order; too many are left out. */
static void searches_are_shared_and_bounded(void **state)
{
    struct kit k;
    (void)state;
    kit_begin(&k, 2);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    leave(&k, b);
    gate_hold(OP_MEMBERS);
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"nobody asks\"}"));
    kit_settle(&k);
    assert_int_equal(gate_store_held(&kit_gate), 0); /* without a hook nothing is read */
    kit_hook(&k, HOOK_OFFLINE, 0, note, NULL);
    for (int i = 1; i <= 3; i++)
        works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"%d\"}", i));
    kit_settle(&k);
    assert_int_equal(gate_store_held(&kit_gate), 1);
    gate_next(STORE_OK);
    kit_settle(&k);
    told("ann>room 1 seq=2 members=2: bob\nann>room 2 seq=3 members=2: bob\nann>room 3 seq=4 members=2: bob\n");
    /* What cannot be read is told to nobody. */
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    gate_next(STORE_RETRY);
    kit_settle(&k);
    told("");
    for (int i = 0; i < 1010; i++)
        works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    gate_next(STORE_OK);
    kit_settle(&k);
    size_t lines = 0;
    for (size_t i = 0; i < seen.n; i++)
        lines += seen.p[i] == '\n';
    assert_int_equal(lines, 1000);
    buf_reset(&seen);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(kit_shard(&k, i)->missed, 0);
        assert_null(kit_shard(&k, i)->searches);
    }
    gate_open(OP_MEMBERS);
    peer_close(a);
    kit_end(&k);
}

/* So much time passes for what is remembered, and for messages that wait. */
static void pass(struct kit *k, uint32_t ms)
{
    for (unsigned i = 0; i < k->shards; i++) {
        kit_shard(k, i)->now_ms += ms;
        missed_tick(kit_shard(k, i));
        kit_shard(k, i)->now_ms -= ms;
    }
    kit_settle(k); /* what was asked by then stands there with that time */
    for (unsigned i = 0; i < k->shards; i++)
        for (unsigned n = 0; kit_shard(k, i)->far_seen && n < FAR_SEEN; n++)
            kit_shard(k, i)->far_seen[n].at_ms -= ms;
}

/* Who is connected to another node is not offline. */
static void other_nodes_are_asked(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 2);
    k.clustered = true;
    kit_start(&k);
    kit_hook(&k, HOOK_OFFLINE, 0, note, NULL);
    struct peer *a = peer_login(&k, "ann", 0), *b = peer_login(&k, "bob", 0), *c = peer_login(&k, "cat", 0);
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    works(peer_ask(b, 3, "{\"name\":\"room\"}"));
    works(peer_ask(c, 3, "{\"name\":\"room\"}"));
    b = leave(&k, b);
    c = leave(&k, c);
    kit_bus.online = " bob ";
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    kit_settle(&k);
    told("ann>room x seq=1 members=3: cat\n");
    kit_bus.online = " bob  cat ";
    pass(&k, OFFLINE_FAR_MS);
    works(peer_ask(a, 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    kit_settle(&k);
    told("");
    peer_close(a);
    kit_end(&k);
}

/* How many ids other nodes were asked for since the last call. */
static unsigned asked_for(void)
{
    unsigned n = 0;
    for (const char *line = test_bus_line(&kit_bus); line[0]; line = test_bus_line(&kit_bus))
        if (strncmp(line, "presence ", 9) == 0)
            for (const char *p = line + 9; *p; p++)
                n += *p == ' ';
    return n;
}

static void says(struct kit *k, struct peer *p)
{
    works(peer_ask(p, 4, "{\"channel\":\"room\",\"content\":\"x\"}"));
    kit_settle(k);
}

/* As told(), of messages "x" of ann's to the room, each "seq=N: IDS". */
static void told_seqs(const char *list)
{
    struct buf lines = BUF_INIT;
    for (const char *at = list, *end; *at; at = *end ? end + 1 : end) {
        end = strstr(at + 1, " seq=");
        end = end ? end : at + strlen(at);
        const char *colon = strchr(at, ':');
        buf_printf(&lines, "ann>room x %.*s members=3%.*s\n", (int)(colon - at), at, (int)(end - colon), colon);
    }
    buf_byte(&lines, 0);
    told(lines.p);
    buf_free(&lines);
}

/* Of members of channels it is remembered for a moment what was said. Whoever was connected may have gone since: a
 * message waits until they are asked again. */
static void others_are_not_asked_each_time(void **state)
{
    struct kit k;
    (void)state;
    kit_open(&k, 1);
    k.clustered = true;
    kit_start(&k);
    kit_hook(&k, HOOK_OFFLINE, 0, note, NULL);
    struct peer *a = peer_login(&k, "ann", 0);
    static const char *const ids[] = {"bob", "cat"};
    works(peer_ask(a, 3, "{\"name\":\"room\"}"));
    for (int i = 0; i < 2; i++) {
        struct peer *p = peer_login(&k, ids[i], 0);
        works(peer_ask(p, 3, "{\"name\":\"room\"}"));
        leave(&k, p);
    }
    static const struct {
        uint32_t ms; /* that pass before */
        const char *online, *told;
        unsigned asked;
    } steps[] = {
        {0, " cat ", "seq=1: bob", 2},
        {1, " cat ", "", 0}, /* she may have gone since */
        {1, " cat ", "", 0},
        {ONLINE_FAR_MS, NULL, "seq=2: bob seq=3: bob", 1},
        {1, "", "", 0},
        {ONLINE_FAR_MS, NULL, "seq=4: bob cat", 1}, /* as she has */
        {ONLINE_FAR_MS, " bob ", "seq=5: bob cat", 0},
        {OFFLINE_FAR_MS, " bob ", "seq=6: cat", 2},
    };
    asked_for();
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        pass(&k, steps[i].ms);
        if (steps[i].online) {
            kit_bus.online = steps[i].online;
            says(&k, a);
        }
        told_seqs(steps[i].told);
        assert_int_equal(asked_for(), steps[i].asked);
    }
    /* Where many messages wait already, no more do. */
    kit_shard(&k, 0)->missed += 501;
    pass(&k, 1);
    says(&k, a);
    told_seqs("seq=7: cat");
    kit_shard(&k, 0)->missed -= 501;
    /* One that waits when the server ends is told at once. */
    pass(&k, 1);
    says(&k, a);
    told_seqs("");
    kit_shard(&k, 0)->draining = true;
    pass(&k, 0);
    told_seqs("seq=8: cat");
    kit_shard(&k, 0)->draining = false;
    /* A private message is for one, who is asked for each time. */
    kit_bus.online = "";
    asked_for();
    for (unsigned i = 1; i <= 2; i++) {
        works(peer_ask(a, 2, "{\"receiverId\":\"bob\",\"content\":\"x\"}"));
        kit_settle(&k);
        assert_int_equal(asked_for(), 1);
    }
    told("ann>bob x seq=1 members=0: bob\nann>bob x seq=2 members=0: bob\n");
    peer_close(a);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(private_receivers),
        cmocka_unit_test(members_of_small_channels),
        cmocka_unit_test(searches_are_shared_and_bounded),
        cmocka_unit_test(other_nodes_are_asked),
        cmocka_unit_test(others_are_not_asked_each_time),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_free(&seen);
    return failed;
}
