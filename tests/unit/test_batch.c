/* Sends that leave together: what each connection gets, whatever becomes of the others, and whatever is done to one
 * before they have left. */
#include "core/net/batch_private.h"
#include "core/net/conn_private.h"
#include "core/net/net.h"
#include "core/net/send.h"
#include "tests/unit/net_kit.h"

enum { SOME = 20, BODY = 100, SIZE = BODY + 8 };

static const struct net_limits limits = {
    .frame = 65536, .output_queue = 64 << 10, .login_timeout = 10, .idle_timeout = 300};

/* A net whose sends leave together, with logged-in clients. */
struct crowd {
    struct kit k;
    int fds[SOME];
    uint32_t conns[SOME];
};

static void gather_crowd(struct crowd *c, unsigned n)
{
    kit_start(&c->k, CONN_TCP, &limits);
    if (!c->k.net->batch)
        assert_int_equal(net_set_ring(c->k.net), 0);
    c->k.net->batch->few = 0;
    for (unsigned i = 0; i < n; i++) {
        c->fds[i] = kit_client(&c->k);
        c->conns[i] = c->k.last;
        conn_set(c->k.net, c->k.last, CONN_F_READY);
    }
}

static void disperse(struct crowd *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (c->fds[i] >= 0)
            close(c->fds[i]);
    kit_stop(&c->k);
}

static void bundle_of(struct bundle *b, uint16_t action)
{
    char body[BODY];
    memset(body, 'a' + action % 26, sizeof body);
    *b = (struct bundle){.n = 0};
    struct frame *f = frame_new(action, 0, slice_of(body, sizeof body), 5);
    assert_true(bundle_add(b, f));
    frame_unref(f);
}

/* The frame's bytes need not outlive this: the batch has what it needs. */
static bool put(struct crowd *c, unsigned i, uint16_t action)
{
    struct bundle b;
    bundle_of(&b, action);
    bool goes = conn_send_now(c->k.net, c->conns[i], &b);
    bundle_clear(&b);
    return goes;
}

static bool waits(const struct crowd *c, unsigned i)
{
    return conn_at(c->k.net, c->conns[i])->batched;
}

static void say(struct crowd *c, unsigned i, uint16_t action)
{
    struct wire *w = conn_wire(c->k.net, c->conns[i], action, 0, SLICE_LIT("{}"), 5);
    assert_int_equal(conn_send(c->k.net, c->conns[i], w, CONN_MUST), 0);
    wire_unref(w);
}

static void expect(struct crowd *c, unsigned i, uint16_t action)
{
    kit_expect_frame(&c->k, c->fds[i], action, NULL);
}

static void expect_nothing(struct crowd *c, unsigned i)
{
    char byte;
    kit_turn(&c->k, 3);
    assert_int_equal(recv(c->fds[i], &byte, 1, MSG_DONTWAIT), -1);
}

/* Makes the sockets of a client hold little. */
static void little(struct crowd *c, unsigned i)
{
    int small = 4096;
    setsockopt(c->fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(conn_at(c->k.net, c->conns[i])->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
}

/* Nothing leaves before the end, and then all does, once, and is counted. */
static void together(void **state)
{
    struct crowd c;
    char byte;
    uint64_t in, before, after;
    (void)state;
    gather_crowd(&c, SOME);
    net_traffic(c.k.net, &in, &before);
    for (unsigned i = 0; i < SOME; i++)
        assert_true(put(&c, i, 102));
    assert_int_equal(c.k.net->batch->n, SOME);
    for (unsigned i = 0; i < SOME; i++) {
        assert_true(waits(&c, i));
        assert_int_equal(recv(c.fds[i], &byte, 1, MSG_DONTWAIT), -1);
    }
    assert_true(net_fan_out(c.k.net) > 0);
    net_fan_out_end(c.k.net);
    assert_int_equal(c.k.net->batch->n, 0);
    assert_int_equal(net_fan_out(c.k.net), 0);
    for (unsigned i = 0; i < SOME; i++) {
        expect(&c, i, 102);
        expect_nothing(&c, i);
        assert_false(waits(&c, i));
        assert_null(conn_at(c.k.net, c.conns[i])->out);
    }
    net_traffic(c.k.net, &in, &after);
    assert_int_equal(after - before, SOME * SIZE);
    disperse(&c, SOME);
}

/* It leaves by itself when it is full: of sends, or of what was made for it. */
static void full_ones(void **state)
{
    struct crowd c;
    (void)state;
    gather_crowd(&c, SOME);
    c.k.net->batch->most = SOME / 2;
    for (unsigned i = 0; i < SOME / 2; i++)
        assert_true(put(&c, i, 102));
    assert_int_equal(c.k.net->batch->n, 0);
    for (unsigned i = 0; i < SOME / 2; i++)
        expect(&c, i, 102);
    /* Joined messages are copied. */
    for (unsigned i = 0; i < SOME; i++)
        for (uint16_t j = 0; j < 2; j++) {
            char *body = calloc(1, 7000);
            struct wire *w = conn_wire(c.k.net, c.conns[i], (uint16_t)(110 + j), 0, slice_of(body, 7000), 5);
            assert_int_equal(conn_send(c.k.net, c.conns[i], w, CONN_MUST), 0);
            wire_unref(w);
            free(body);
        }
    c.k.net->batch->most = RING_MAX;
    net_flush(c.k.net);
    assert_int_equal(c.k.net->batch->n, 0);
    for (unsigned i = 0; i < SOME; i++) {
        expect(&c, i, 110);
        expect(&c, i, 111);
        expect_nothing(&c, i);
    }
    disperse(&c, SOME);
}

/* A batch is as long as a turn may take, by the processor time of those before; eight at least. */
static void as_long_as_a_turn(void **state)
{
    struct batch *b = batch_new();
    (void)state;
    assert_int_equal(b->most, RING_MAX);
    for (int i = 0; i < 50; i++)
        batch_learn(b, 20 * 50, 20 * 50, 20);
    assert_in_range(b->send_ns, 49000, 51000);
    assert_in_range(b->most, 19, 20);
    for (int i = 0; i < 50; i++)
        batch_learn(b, 20 * 1000, 20 * 1000, 20);
    assert_int_equal(b->most, BATCH_LEAST);
    for (int i = 0; i < 100; i++)
        batch_learn(b, 20 * 3000, 20 * 3, 20); /* others had the rest */
    assert_in_range(b->send_ns, 2900, 3100);
    assert_int_equal(b->most, RING_MAX);
    batch_free(b);
    batch_free(NULL);
}

/* Where others have the processor, each send is a call, until they have it no more; one that had it for long once is no
 * reason. */
static void crowded_machines(void **state)
{
    struct crowd c;
    (void)state;
    gather_crowd(&c, SOME);
    struct batch *b = c.k.net->batch;
    b->lost = 0;
    for (int i = 0; i < 3; i++)
        batch_learn(b, 1000000, 500, 100);
    assert_false(b->crowded);
    for (int i = 0; i < 40; i++)
        batch_learn(b, 1000, 500, 100);
    assert_true(b->crowded);
    b->lost = 100 * 100; /* whatever this machine does, it stays so for one */
    for (unsigned i = 0; i < SOME; i++)
        assert_true(put(&c, i, 102));
    net_fan_out_end(c.k.net);
    assert_true(b->crowded);
    for (unsigned i = 0; i < SOME; i++)
        expect(&c, i, 102);
    for (int i = 0; i < 200; i++)
        batch_learn(b, 1000, 790, 100);
    assert_true(b->crowded); /* not yet */
    for (int i = 0; i < 40; i++)
        batch_learn(b, 1000, 850, 100);
    assert_false(b->crowded);
    disperse(&c, SOME);
}

/* Some sockets are full in the middle of it, some have failed: the others get theirs, and those get all in order, or
 * are closed. */
static void each_its_own(void **state)
{
    enum { SLOW = 3, GONE = 7, ROUNDS = 40, LARGE = 8000 };
    struct crowd c;
    char *body = calloc(1, LARGE);
    (void)state;
    gather_crowd(&c, SOME);
    little(&c, SLOW);
    assert_int_equal(shutdown(conn_at(c.k.net, c.conns[GONE])->fd, SHUT_WR), 0);
    unsigned sent = 0;
    for (bool full = false; sent < 1000 && !full; sent++) {
        struct bundle b = {.n = 0};
        store_be32((uint8_t *)body, sent);
        struct frame *f = frame_new(102, 0, slice_of(body, LARGE), 5);
        assert_true(bundle_add(&b, f));
        for (unsigned i = 0; i < SOME; i++)
            if (i != GONE || sent == 0)
                assert_true(conn_send_now(c.k.net, c.conns[i], &b));
        assert_int_equal(c.k.closing, sent ? 1 : 0);
        net_fan_out_end(c.k.net);
        full = conn_at(c.k.net, c.conns[SLOW])->out != NULL;
        bundle_clear(&b);
        frame_unref(f);
        for (unsigned i = 0; i < SOME; i++)
            if (i != GONE && i != SLOW) {
                char head[8];
                kit_take(&c.k, c.fds[i], head, 8);
                kit_take(&c.k, c.fds[i], body, LARGE);
                assert_int_equal(load_be32(body), sent);
            }
        kit_turn(&c.k, 2);
        assert_int_equal(c.k.closed, 1);
    }
    assert_true(conn_at(c.k.net, c.conns[SLOW])->flags & CONN_F_WRITABLE);
    assert_int_equal(c.k.net->blocked, 1);
    assert_in_range(conn_queued(c.k.net, c.conns[SLOW]), 1, LARGE + 8);
    assert_int_equal(net_shared_queued(c.k.shared), conn_queued(c.k.net, c.conns[SLOW]));
    for (unsigned i = 0; i < sent; i++) {
        char head[8];
        kit_take(&c.k, c.fds[SLOW], head, 8);
        kit_take(&c.k, c.fds[SLOW], body, LARGE);
        assert_int_equal(load_be32(body), i);
    }
    KIT_UNTIL(&c.k, !conn_at(c.k.net, c.conns[SLOW])->out);
    free(body);
    disperse(&c, SOME);
}

/* What comes after it goes after it, however it is sent; and a second message past the queue lets the first one go. */
static void order(void **state)
{
    struct crowd c;
    (void)state;
    gather_crowd(&c, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_true(put(&c, i, 102));
    say(&c, 0, 107);
    assert_int_equal(c.k.net->batch->n, 0); /* all have left */
    assert_true(put(&c, 1, 103));
    assert_true(put(&c, 1, 104));
    assert_true(waits(&c, 1));
    struct frame *f[2] = {frame_new(108, 0, SLICE_LIT("{}"), 5), frame_new(109, 0, SLICE_LIT("{}"), 5)};
    assert_true(put(&c, 2, 103));
    assert_int_equal(conn_send_frames(c.k.net, c.conns[2], f, 2, CONN_MAY), 0);
    frame_unref(f[0]);
    frame_unref(f[1]);
    net_fan_out_end(c.k.net);
    static const uint16_t due[3][4] = {{102, 107}, {102, 103, 104}, {102, 103, 108, 109}};
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < 4 && due[i][j]; j++)
            expect(&c, i, due[i][j]);
        expect_nothing(&c, i);
    }
    disperse(&c, 3);
}

/* The same when it was not taken whole: what comes after waits behind the rest. */
static void order_behind_a_rest(void **state)
{
    enum { LARGE = 16000 };
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct crowd c;
        char head[8], *body = calloc(1, LARGE);
        gather_crowd(&c, 1);
        little(&c, 0);
        struct frame *large = frame_new(102, 0, slice_of(body, LARGE), 5),
                     *next = frame_new(103, 0, SLICE_LIT("{}"), 5);
        struct frame *two[2] = {next, next};
        struct bundle b = {.n = 0};
        unsigned sent = 0;
        assert_true(bundle_add(&b, large));
        while (conn_send_now(c.k.net, c.conns[0], &b)) {
            sent++;
            if (way == 0)
                assert_int_equal(conn_send_frame(c.k.net, c.conns[0], next, CONN_MAY), 0);
            else if (way == 1)
                assert_int_equal(conn_send_frames(c.k.net, c.conns[0], two, 2, CONN_MAY), 0);
            else if (way == 2)
                conn_close(c.k.net, c.conns[0], CLOSE_SHUTDOWN, NULL, 0);
            net_fan_out_end(c.k.net);
            kit_turn(&c.k, 2);
        }
        assert_true(way == 2 || conn_at(c.k.net, c.conns[0])->flags & CONN_F_WRITABLE);
        for (unsigned i = 0; i < sent; i++) {
            kit_take(&c.k, c.fds[0], head, 8);
            assert_int_equal(load_be16(head + 4), 102);
            kit_take(&c.k, c.fds[0], body, LARGE);
            for (int j = 0; j < (way == 0 ? 1 : way == 1 ? 2 : 0); j++)
                expect(&c, 0, 103);
            if (way == 2)
                expect(&c, 0, 105);
        }
        bundle_clear(&b);
        frame_unref(large);
        frame_unref(next);
        free(body);
        disperse(&c, 1);
    }
}

/* Who is kicked gets what was sent before, the reason, and nothing more; the others all of theirs. */
static void kicked(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct crowd c;
        char got[200];
        gather_crowd(&c, SOME);
        for (unsigned i = 0; i < SOME; i++)
            assert_true(put(&c, i, 102));
        conn_close(c.k.net, c.conns[4], how == 0 ? CLOSE_KICKED : how == 1 ? CLOSE_SLOW : CLOSE_PEER, NULL, 0);
        assert_int_equal(c.k.closing, 1);
        assert_false(put(&c, 4, 103));
        for (unsigned i = 0; i < SOME; i++)
            if (i != 4)
                assert_true(put(&c, i, 103));
        net_fan_out_end(c.k.net);
        ssize_t n = kit_drain(&c.k, c.fds[4], got, sizeof got);
        static const char *const last[] = {"{\"reason\":\"kicked\"}", "{\"reason\":\"slow\"}", ""};
        assert_int_equal(n, SIZE + (how < 2 ? 8 + strlen(last[how]) : 0));
        assert_int_equal(load_be16(got + 4), 102);
        assert_memory_equal(got + n - strlen(last[how]), last[how], strlen(last[how]));
        for (unsigned i = 0; i < SOME; i++)
            if (i != 4) {
                expect(&c, i, 102);
                expect(&c, i, 103);
            }
        close(c.fds[4]);
        c.fds[4] = -1;
        KIT_UNTIL(&c.k, c.k.closed == 1);
        disperse(&c, SOME);
    }
}

/* What is in it is out before the connection is taken away, or dropped from its queue. */
static void taken_away(void **state)
{
    struct crowd c;
    struct conn_record r;
    (void)state;
    gather_crowd(&c, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_true(put(&c, i, 102));
    conn_purge(c.k.net, c.conns[1], 5);
    assert_true(put(&c, 0, 103));
    assert_int_equal(conn_detach(c.k.net, c.conns[0], &r), 0);
    expect(&c, 0, 102);
    expect(&c, 0, 103);
    for (unsigned i = 1; i < 3; i++)
        expect(&c, i, 102);
    conn_record_discard(c.k.shared, &r);
    c.k.closed = c.k.closing = 0;
    disperse(&c, 3);
}

/* --- What the owner does when it is told of one, while others wait to be looked at -------------------------------- */

static struct crowd *told;
static unsigned told_of;

static void answer(struct kit *k, uint32_t conn)
{
    (void)k, (void)conn;
    told_of++;
    if (told_of == 1)
        assert_true(put(told, 0, 103)); /* to itself: others still wait to be looked at */
    unsigned before = told_of;
    say(told, 1, 108);        /* not looked at yet, but when it is told itself */
    say(told, SOME - 1, 108); /* not yet */
    if (before == 1)
        assert_true(put(told, 3, 104));                                    /* with others, if there are any */
    conn_close(told->k.net, told->conns[SOME - 2], CLOSE_KICKED, NULL, 0); /* not yet */
    conn_close(told->k.net, told->conns[0], CLOSE_KICKED, NULL, 0);        /* itself, or another */
}

/* A queue that was skipped is written by a batch and its owner told, who then does things to others in it. */
static void within(void **state)
{
    struct crowd c;
    (void)state;
    gather_crowd(&c, SOME);
    told = &c;
    told_of = 0;
    c.k.on_drained = answer;
    for (unsigned i = 0; i < SOME; i++) {
        say(&c, i, 106);
        if (i < 2)
            outq_skip(&c.k.net->outqs, conn_at(c.k.net, c.conns[i])->out, 5);
    }
    net_flush(c.k.net);
    assert_int_equal(told_of, 2);
    assert_int_equal(c.k.net->batch->n, 0);
    for (unsigned i = 0; i < SOME; i++)
        expect(&c, i, 106);
    expect(&c, 0, 103);
    expect(&c, 0, 105);
    expect(&c, 1, 108);
    expect(&c, 1, 108);
    expect(&c, 3, 104);
    expect(&c, SOME - 2, 105);
    expect(&c, SOME - 1, 108);
    expect(&c, SOME - 1, 108);
    for (unsigned i = 2; i < SOME - 2; i++)
        expect_nothing(&c, i);
    disperse(&c, SOME);
}

/* Queues of several messages, of which some are the same: each connection gets its own. */
static void queues(void **state)
{
    struct crowd c;
    (void)state;
    gather_crowd(&c, SOME);
    struct frame *same[3];
    for (uint16_t j = 0; j < 3; j++)
        same[j] = frame_new((uint16_t)(110 + j), 0, SLICE_LIT("{}"), 5);
    for (unsigned i = 0; i < SOME; i++) {
        if (i % 3 == 1)
            say(&c, i, (uint16_t)(200 + i));
        for (uint16_t j = 0; j < 3; j++)
            assert_int_equal(conn_send_frame(c.k.net, c.conns[i], same[j], CONN_MAY), 0);
        if (i % 3 == 2)
            say(&c, i, (uint16_t)(200 + i));
    }
    net_flush(c.k.net);
    assert_int_equal(net_shared_queued(c.k.shared), 0);
    for (unsigned i = 0; i < SOME; i++) {
        if (i % 3 == 1)
            expect(&c, i, (uint16_t)(200 + i));
        for (uint16_t j = 0; j < 3; j++)
            expect(&c, i, (uint16_t)(110 + j));
        if (i % 3 == 2)
            expect(&c, i, (uint16_t)(200 + i));
        expect_nothing(&c, i);
        assert_null(conn_at(c.k.net, c.conns[i])->out);
    }
    for (uint16_t j = 0; j < 3; j++)
        frame_unref(same[j]);
    disperse(&c, SOME);
}

/* --- A row that makes other bytes of them ------------------------------------------------------------------------- */

enum { ROW = 1 };
static unsigned refused; /* of so many offers one is refused; 0: none */
static unsigned offers;

/* As plain, and how much it was before it. */
static void seal(uint8_t *out, const void *p, size_t n)
{
    store_be32(out, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        out[4 + i] = ((const uint8_t *)p)[i] ^ 0x5a;
}

static ssize_t outcome(const uint8_t *p, size_t n, size_t taken, ssize_t sent, struct wire **rest)
{
    if (sent < 0 && errno != EAGAIN)
        return -1;
    sent = sent < 0 ? 0 : sent;
    if ((size_t)sent < n)
        *rest = wire_raw(slice_of(p + sent, n - (size_t)sent), WIRE_TAG_NONE);
    return (ssize_t)taken;
}

static ssize_t sealed_send(const struct stream *self, int fd, const void *p, size_t n, struct wire **rest)
{
    static uint8_t out[1 << 20];
    (void)self;
    seal(out, p, n);
    return outcome(out, n + 4, n, send(fd, out, n + 4, MSG_NOSIGNAL), rest);
}

static ssize_t sealed_sendv(const struct stream *self, int fd, const struct iovec *v, int n, struct wire **rest)
{
    assert_true(n > 0);
    return sealed_send(self, fd, v->iov_base, v->iov_len, rest);
}

static ssize_t sealed_resend(const struct stream *self, int fd, const void *p, size_t n)
{
    (void)self;
    return send(fd, p, n, MSG_NOSIGNAL);
}

static bool sealed_offer(const struct stream *self, int fd, const void *p, size_t n, uint8_t *room,
                         struct stream_offer *o)
{
    (void)self, (void)fd;
    if (refused && ++offers % refused == 0)
        return false;
    seal(room, p, n);
    *o = (struct stream_offer){room, n + 4, n};
    return true;
}

static ssize_t sealed_offered(const struct stream *self, int fd, const struct stream_offer *o, ssize_t sent,
                              struct wire **rest)
{
    (void)self, (void)fd;
    errno = sent < 0 ? (int)-sent : 0;
    return outcome(o->p, o->n, o->taken, sent, rest);
}

/* The next sealed piece, which is the n bytes at `p`. */
static void expect_sealed(struct crowd *c, unsigned i, const uint8_t *p, size_t n)
{
    uint8_t *got = malloc(n + 4), *due = malloc(n + 4);
    seal(due, p, n);
    kit_take(&c->k, c->fds[i], got, n + 4);
    assert_memory_equal(got, due, n + 4);
    free(got);
    free(due);
}

/* What was made of them leaves as it is, whole or in two parts, and each connection has its own. */
static void sealed(void **state)
{
    enum { SLOW = 2, LARGE = 4000 };
    struct stream row = stream_plain;
    row.send = sealed_send;
    row.sendv = sealed_sendv;
    row.resend = sealed_resend;
    row.offer = sealed_offer;
    row.offered = sealed_offered;
    (void)state;
    for (refused = 0; refused < 4; refused += 3) {
        struct crowd c;
        uint8_t *frame = calloc(1, LARGE + 8);
        gather_crowd(&c, SOME);
        c.k.net->streams[ROW] = &row;
        for (unsigned i = 0; i < SOME; i++)
            conn_at(c.k.net, c.conns[i])->stream = ROW;
        little(&c, SLOW);
        unsigned sent = 0;
        for (bool full = false; sent < 1000 && !full; sent++) {
            struct bundle b = {.n = 0};
            store_be32(frame + 8, sent);
            struct frame *f = frame_new(102, 0, slice_of((char *)frame + 8, LARGE), 5);
            assert_true(bundle_add(&b, f));
            for (unsigned i = 0; i < SOME; i++)
                assert_true(conn_send_now(c.k.net, c.conns[i], &b));
            net_fan_out_end(c.k.net);
            full = conn_at(c.k.net, c.conns[SLOW])->out != NULL;
            store_be32(frame, LARGE + 8);
            store_be16(frame + 4, 102);
            for (unsigned i = 0; i < SOME; i++)
                if (i != SLOW)
                    expect_sealed(&c, i, frame, LARGE + 8);
            bundle_clear(&b);
            frame_unref(f);
        }
        assert_true(conn_at(c.k.net, c.conns[SLOW])->out->rest != NULL);
        for (unsigned i = 0; i < sent; i++) {
            store_be32(frame + 8, i);
            expect_sealed(&c, SLOW, frame, LARGE + 8);
        }
        KIT_UNTIL(&c.k, !conn_at(c.k.net, c.conns[SLOW])->out);
        assert_int_equal(net_shared_queued(c.k.shared), 0);
        free(frame);
        disperse(&c, SOME);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(together),
        cmocka_unit_test(full_ones),
        cmocka_unit_test(as_long_as_a_turn),
        cmocka_unit_test(crowded_machines),
        cmocka_unit_test(each_its_own),
        cmocka_unit_test(order),
        cmocka_unit_test(order_behind_a_rest),
        cmocka_unit_test(kicked),
        cmocka_unit_test(taken_away),
        cmocka_unit_test(within),
        cmocka_unit_test(queues),
        cmocka_unit_test(sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
