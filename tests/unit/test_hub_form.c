/* A connection that is sent another form than this server's: what is pushed reaches it by the same walk, in its own
 * words, with the same queues, limits and bans. */
#include "hub_kit.h"

#include "core/hub/people/ban.h"
#include "core/net/encoder.h"
#include "core/net/send.h"

enum { FOREIGN = WIRE_FORMS }; /* the first row behind this server's own */

/* "PUSH 102 {…}" in lines, and nothing where there are no words: for answers, and for 103. */
static struct wire *lines(const struct encoder *self, uint16_t action, uint16_t seq, struct slice body, uint32_t tag)
{
    char head[32];
    (void)self;
    int n = snprintf(head, sizeof head, "PUSH %u ", action);
    const struct slice parts[] = {slice_of(head, (size_t)n), body, SLICE_LIT("\n")};
    return wire_make(parts, action < 100 || action == 103 ? 0 : 3, action, seq, tag);
}

static const struct encoder foreign = {.name = "lines", .encode = lines};

/* A gateway's client: a connection of its own protocol, whose user has logged in. What it is sent comes as lines. */
struct guest {
    struct peer *peer;
    char text[65536];
    size_t n;
};

static struct guest *guest_login(struct kit *k, const char *id, unsigned shard)
{
    struct guest *g = calloc(1, sizeof *g);
    g->peer = peer_login(k, id, shard);
    struct shard *s = shard_of(k->hub, S(id));
    conn_set_form(s->net, kit_conn(k, id), FOREIGN);
    return g;
}

/* The next line. */
static const char *guest_line(struct guest *g)
{
    static char line[4096];
    uint64_t end = clock_mono_ms() + 20000;
    char *stop = NULL;
    while (!(stop = memchr(g->text, '\n', g->n)) && clock_mono_ms() < end) {
        kit_turn(g->peer->k);
        ssize_t r = recv(g->peer->fd, g->text + g->n, sizeof g->text - g->n, MSG_DONTWAIT);
        g->n += r > 0 ? (size_t)r : 0;
    }
    assert_non_null(stop);
    size_t size = (size_t)(stop - g->text) + 1;
    assert_true(size < sizeof line);
    memcpy(line, g->text, size - 1);
    line[size - 1] = '\0';
    memmove(g->text, g->text + size, g->n - size);
    g->n -= size;
    return line;
}

static void guest_close(struct guest *g)
{
    peer_close(g->peer);
    free(g);
}

static void begin(struct kit *k, unsigned shards)
{
    kit_begin(k, shards);
    for (unsigned i = 0; i < shards; i++)
        assert_int_equal(net_set_encoder(kit_shard(k, i)->net, FOREIGN, &foreign), 0);
}

static void pushes_of_every_kind(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 2);
    const char *ann = kit_id(&k, "ann", 1);
    struct guest *a = guest_login(&k, ann, 0);
    struct peer *b = peer_login(&k, "bob", 0), *many[20];
    /* Requests are the gateway's own business: here they come as before, and are answered with nothing. */
    peer_put(a->peer, 3, "{\"name\":\"room\",\"push\":\"all\"}");
    peer_put(a->peer, 3, "{\"name\":\"slow\",\"push\":\"merged\"}");
    kit_settle(&k);
    works(peer_ask(b, 3, "{\"name\":\"room\",\"push\":\"all\"}"));
    works(peer_ask(b, 3, "{\"name\":\"slow\",\"push\":\"merged\"}"));
    for (int i = 0; i < 20; i++) { /* so that the walk joins what is on board */
        char id[16];
        snprintf(id, sizeof id, "m%d", i);
        many[i] = peer_login(&k, id, (unsigned)i % 2);
        works(peer_ask(many[i], 3, "{\"name\":\"room\",\"push\":\"all\"}"));
    }
    for (int i = 1; i <= 3; i++)
        works(peer_ask(b, 4, "{\"channel\":\"room\",\"content\":\"c%d\"}", i));
    for (int i = 1; i <= 3; i++) {
        char content[32];
        const char *line = guest_line(a);
        snprintf(content, sizeof content, "\"content\":\"c%d\"", i);
        has(line, content);
        assert_memory_equal(line, "PUSH 102 {", 10);
        for (int m = 0; m < 20; m++)
            has(peer_push(many[m], 102), content);
    }
    works(peer_ask(b, 4, "{\"channel\":\"slow\",\"content\":\"merged\"}"));
    has(guest_line(a), "\"content\":\"merged\"");
    works(peer_ask(b, 2, "{\"receiverId\":\"%s\",\"content\":\"private\"}", ann));
    const char *line = guest_line(a);
    assert_memory_equal(line, "PUSH 101 {", 10);
    has(line, "private");
    works(peer_ask(b, 14, "{\"channel\":\"room\",\"seq\":3}"));
    assert_memory_equal(guest_line(a), "PUSH 109 {", 10);
    assert_int_equal(host_announce(k.hub, kit_shard(&k, 0), S("to all")), 0);
    has(guest_line(a), "to all");
    /* A kick has the last word, in the guest's own. */
    struct host_kick q = {.user = S(ann), .message = S("out")};
    assert_int_equal(KIT_HOST(&k, host_kick, &q), CODE_OK);
    assert_string_equal(guest_line(a), "PUSH 105 {\"reason\":\"kicked\",\"message\":\"out\"}");
    assert_int_equal(a->n, 0);
    for (int i = 0; i < 20; i++)
        peer_close(many[i]);
    guest_close(a);
    peer_close(b);
    kit_end(&k);
}

/* Who does not read is passed over, and told so by 107 in its own words; what is queued of a channel goes with the
 * membership. */
static void the_same_queues(void **state)
{
    struct kit k;
    (void)state;
    begin(&k, 1);
    struct shard *s = kit_shard(&k, 0);
    struct guest *a = guest_login(&k, "ann", 0);
    struct peer *b = peer_login(&k, "bob", 0);
    peer_put(a->peer, 3, "{\"name\":\"room\",\"push\":\"all\"}");
    kit_settle(&k);
    works(peer_ask(b, 3, "{\"name\":\"room\",\"push\":\"none\"}"));
    uint32_t conn = kit_conn(&k, "ann");
    int small = 4096;
    setsockopt(conn_at(s->net, conn)->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    static char content[12001];
    memset(content, 'x', sizeof content - 1);
    unsigned sent = 0;
    while (!(conn_at(s->net, conn)->flags & CONN_F_SOFT) && sent < 2000) {
        works(peer_ask(b, 4, "{\"channel\":\"room\",\"content\":\"%s\"}", content));
        sent++;
    }
    assert_true(conn_at(s->net, conn)->flags & CONN_F_SOFT);
    works(peer_ask(b, 4, "{\"channel\":\"room\",\"content\":\"skipped\"}"));
    /* It reads: what was queued, without a gap, then where it stands. */
    char *all = NULL;
    size_t n = 0, room = 0;
    uint64_t end = clock_mono_ms() + 20000;
    while (clock_mono_ms() < end && !(all && memmem(all, n, "PUSH 107 ", 9))) {
        kit_turn(&k);
        if (room - n < 65536)
            all = realloc(all, room = room * 2 + 131072);
        ssize_t r = recv(a->peer->fd, all + n, 65536, MSG_DONTWAIT);
        n += r > 0 ? (size_t)r : 0;
    }
    assert_null(memmem(all, n, "\"content\":\"skipped\"", 19));
    unsigned lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += all[i] == '\n';
    assert_int_equal(lines, sent + 1);
    char *behind = memmem(all, n, "PUSH 107 ", 9), want[80];
    snprintf(want, sizeof want, "PUSH 107 {\"channel\":\"room\",\"seq\":%u}\n", sent + 1);
    assert_memory_equal(behind, want, strlen(want));
    free(all);
    guest_close(a);
    peer_close(b);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pushes_of_every_kind),
        cmocka_unit_test(the_same_queues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
