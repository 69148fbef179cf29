#include "core/net/outq.h"
#include "core/net/stream.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

struct bench {
    struct outq_pool pool;
    struct outq *q;
    struct gather gather;
    int fds[2];
};

static void bench_start(struct bench *b)
{
    memset(b, 0, sizeof *b);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b->fds), 0);
    b->q = outq_get(&b->pool);
    assert_non_null(b->q);
}

static void bench_stop(struct bench *b)
{
    gather_clear(&b->gather);
    outq_put(&b->pool, b->q);
    outq_pool_fini(&b->pool);
    close(b->fds[0]);
    close(b->fds[1]);
}

/* Pushes a wire of that text; the queue has the only reference. */
static void push(struct bench *b, const char *text, uint32_t tag)
{
    struct wire *w = wire_raw(slice_str(text), tag);
    assert_non_null(w);
    assert_int_equal(outq_push(&b->pool, b->q, w), 0);
    wire_unref(w);
}

/* Everything that has arrived. */
static void expect(struct bench *b, const char *text)
{
    char got[1 << 16];
    size_t n = 0;
    for (ssize_t r; (r = recv(b->fds[1], got + n, sizeof got - 1 - n, 0)) > 0;)
        n += (size_t)r;
    got[n] = 0;
    assert_string_equal(got, text);
}

static void in_order(void **state)
{
    (void)state;
    struct bench b;
    char all[4096] = "";
    bench_start(&b);
    /* Beyond the inline slots, round the ring, beyond what is gathered. */
    for (int round = 0; round < 4; round++) {
        static const int counts[] = {1, 5, 30, 200};
        all[0] = 0;
        for (int i = 0; i < counts[round]; i++) {
            char text[16];
            snprintf(text, sizeof text, "%d,", i);
            strcat(all, text);
            push(&b, text, WIRE_TAG_NONE);
        }
        assert_int_equal(b.q->bytes, strlen(all));
        assert_int_equal(outq_write(b.q, &b.gather, &stream_plain, b.fds[0]), 0);
        assert_int_equal(b.q->bytes, 0);
        expect(&b, all);
    }
    bench_stop(&b);
}

/* A socket that takes a part: the rest goes on where it stopped. */
static void in_parts(void **state)
{
    (void)state;
    struct bench b;
    int small = 4096, rc;
    char *big = malloc(100001), *got = malloc(300000);
    size_t n = 0;
    bench_start(&b);
    setsockopt(b.fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    memset(big, 'a', 100000);
    big[100000] = 0;
    push(&b, big, WIRE_TAG_NONE);
    push(&b, "middle", WIRE_TAG_NONE);
    big[0] = 'b';
    push(&b, big, WIRE_TAG_NONE);
    size_t total = b.q->bytes;
    do {
        rc = outq_write(b.q, &b.gather, &stream_plain, b.fds[0]);
        assert_true(rc == 0 || rc == ERR_AGAIN);
        for (ssize_t r; (r = recv(b.fds[1], got + n, 300000 - n, 0)) > 0;)
            n += (size_t)r;
        assert_int_equal(n + b.q->bytes, total);
    } while (rc == ERR_AGAIN);
    assert_int_equal(n, total);
    assert_memory_equal(got + 100000, "middleba", 8);
    assert_memory_equal(got + 100007, big + 1, 99999);
    free(got);
    free(big);
    bench_stop(&b);
}

static void a_closed_socket(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b);
    push(&b, "x", WIRE_TAG_NONE);
    shutdown(b.fds[1], SHUT_RDWR);
    assert_int_equal(outq_write(b.q, &b.gather, &stream_plain, b.fds[0]), ERR_CLOSED);
    bench_stop(&b);
}

static void purging(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b);
    push(&b, "begun", 1);
    push(&b, "one", 1);
    push(&b, "two", 2);
    push(&b, "none", WIRE_TAG_NONE);
    push(&b, "one again", 1);
    b.q->sent = 2; /* a part of the first is out: it must be finished */
    b.q->bytes -= 2;
    outq_skip(&b.pool, b.q, 1);
    outq_skip(&b.pool, b.q, 2);
    outq_purge(b.q, 1);
    assert_int_equal(b.q->count, 3);
    assert_int_equal(b.q->bytes, 3 + 3 + 4);
    assert_int_equal(b.q->tag_count, 1);
    assert_int_equal(b.q->tags[0], 2);
    assert_int_equal(outq_write(b.q, &b.gather, &stream_plain, b.fds[0]), 0);
    expect(&b, "guntwonone");
    push(&b, "answer", WIRE_TAG_NONE);
    push(&b, "a", 1);
    push(&b, "private", WIRE_TAG_NONE);
    push(&b, "b", 2);
    outq_skip(&b.pool, b.q, 3);
    outq_purge_all(b.q);
    assert_int_equal(b.q->count, 2);
    assert_int_equal(b.q->bytes, 13);
    assert_int_equal(b.q->tag_count, 0);
    outq_drop(b.q);
    assert_int_equal(b.q->count, 0);
    assert_int_equal(b.q->bytes, 0);
    assert_int_equal(b.q->tag_count, 0);
    bench_stop(&b);
}

static void last_and_pop(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b);
    assert_null(outq_last(b.q));
    push(&b, "first", WIRE_TAG_NONE);
    assert_memory_equal(outq_last(b.q)->data, "first", 5);
    b.q->sent = 1;
    b.q->bytes--;
    assert_null(outq_last(b.q));
    push(&b, "second", WIRE_TAG_NONE);
    assert_memory_equal(outq_last(b.q)->data, "second", 6);
    outq_pop_last(b.q);
    assert_int_equal(b.q->bytes, 4);
    assert_null(outq_last(b.q));
    assert_int_equal(outq_write(b.q, &b.gather, &stream_plain, b.fds[0]), 0);
    expect(&b, "irst");
    bench_stop(&b);
}

static void skipped_tags(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b);
    for (uint32_t i = 0; i < 1000; i++)
        outq_skip(&b.pool, b.q, i * 7919 % 500);
    outq_skip(&b.pool, b.q, WIRE_TAG_NONE);
    assert_int_equal(b.q->tag_count, 500);
    for (uint32_t i = 0; i < 500; i++)
        assert_int_equal(b.q->tags[i], i);
    assert_false(b.q->lost);
    /* More than can be counted: the client cannot be told, so it must be sent away. */
    for (uint32_t i = 500; i < 70000; i++)
        outq_skip(&b.pool, b.q, i);
    assert_true(b.q->lost);
    bench_stop(&b);
}

/* A queue that comes back from the freelist is as new, and the account says what is held. */
static void freelist(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b);
    assert_int_equal(b.pool.memory, sizeof(struct outq));
    for (int i = 0; i < 100; i++)
        push(&b, "x", 3);
    outq_skip(&b.pool, b.q, 9);
    assert_int_equal(b.pool.memory, outq_memory(b.q));
    assert_true(b.pool.memory > sizeof(struct outq));
    struct outq *before = b.q;
    outq_put(&b.pool, b.q);
    assert_int_equal(b.pool.memory, sizeof(struct outq));
    b.q = outq_get(&b.pool);
    assert_ptr_equal(b.q, before);
    assert_int_equal(b.q->count, 0);
    assert_int_equal(b.q->tag_count, 0);
    assert_int_equal(b.q->cap, OUTQ_INLINE);
    assert_false(b.q->lost);
    /* What is not needed goes back to the system within some seconds. */
    outq_put(&b.pool, b.q);
    outq_trim(&b.pool);
    outq_trim(&b.pool);
    assert_int_equal(b.pool.memory, 0);
    b.q = outq_get(&b.pool);
    bench_stop(&b);
}

static void receivers_share_a_gathering(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b);
    struct outq *other = outq_get(&b.pool);
    struct wire *w[3];
    for (int i = 0; i < 3; i++) {
        w[i] = wire_raw(slice_str(i == 0 ? "one" : i == 1 ? "two" : "three"), WIRE_TAG_NONE);
        assert_int_equal(outq_push(&b.pool, b.q, w[i]), 0);
        assert_int_equal(outq_push(&b.pool, other, w[i]), 0);
    }
    assert_false(outq_exclusive(b.q));
    assert_int_equal(outq_write(b.q, &b.gather, &stream_plain, b.fds[0]), 0);
    assert_int_equal(b.gather.count, 3);
    assert_int_equal(w[0]->refs, 3); /* ours, the other queue's, the gathering's */
    assert_int_equal(outq_write(other, &b.gather, &stream_plain, b.fds[0]), 0);
    expect(&b, "onetwothreeonetwothree");
    /* Another set of wires is another gathering. */
    assert_int_equal(outq_push(&b.pool, b.q, w[2]), 0);
    assert_int_equal(outq_push(&b.pool, b.q, w[0]), 0);
    assert_int_equal(outq_write(b.q, &b.gather, &stream_plain, b.fds[0]), 0);
    expect(&b, "threeone");
    gather_clear(&b.gather);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w[i]->refs, 1);
        wire_unref(w[i]);
    }
    push(&b, "mine", WIRE_TAG_NONE);
    assert_true(outq_exclusive(b.q));
    outq_put(&b.pool, other);
    bench_stop(&b);
}

/* A row that makes three bytes of each and sends no more than `most` of them at once. */
static struct {
    size_t most;
    unsigned sealed; /* bytes that were taken */
} seal;

static ssize_t seal_resend(const struct stream *self, int fd, const void *p, size_t n)
{
    (void)self;
    return send(fd, p, n < seal.most ? n : seal.most, MSG_NOSIGNAL);
}

static ssize_t seal_send(const struct stream *self, int fd, const void *p, size_t n, struct wire **rest)
{
    char out[3 * 10] = "";
    n = n < 10 ? n : 10;
    for (size_t i = 0; i < n; i++)
        memset(out + 3 * i, ((const char *)p)[i], 3);
    seal.sealed += (unsigned)n;
    ssize_t m = seal_resend(self, fd, out, 3 * n);
    if (m >= 0 && (size_t)m < 3 * n)
        *rest = wire_raw(slice_of(out + m, 3 * n - (size_t)m), WIRE_TAG_NONE);
    return (ssize_t)n;
}

static ssize_t seal_sendv(const struct stream *self, int fd, const struct iovec *v, int n, struct wire **rest)
{
    (void)n;
    return seal_send(self, fd, v[0].iov_base, v[0].iov_len, rest);
}

static const struct stream seal_row = {.send = seal_send, .sendv = seal_sendv, .resend = seal_resend};

/* What was sealed and did not leave goes first, as it is; and whatever is dropped meanwhile, it is not sealed again. */
static void rests(void **state)
{
    (void)state;
    struct bench b;
    bench_start(&b);
    push(&b, "ab", 1);
    push(&b, "cdefghijklmn", 2);
    seal.most = 4;
    seal.sealed = 0;
    assert_int_equal(outq_write(b.q, &b.gather, &seal_row, b.fds[0]), ERR_AGAIN);
    assert_int_equal(seal.sealed, 10);
    assert_int_equal(b.q->bytes, 4 + 26);
    assert_true(outq_exclusive(b.q) == false || b.gather.count == 0);
    gather_clear(&b.gather);
    assert_true(outq_exclusive(b.q));
    push(&b, "xy", 3);
    outq_purge(b.q, 3);
    outq_purge(b.q, 2); /* begun: it stays */
    assert_int_equal(b.q->bytes, 4 + 26);
    int rc, calls = 0;
    while ((rc = outq_write(b.q, &b.gather, &seal_row, b.fds[0])) == ERR_AGAIN && ++calls < 50)
        ;
    assert_int_equal(rc, 0);
    assert_int_equal(b.q->bytes, 0);
    assert_int_equal(seal.sealed, 14);
    expect(&b, "aaabbbcccdddeeefffggghhhiiijjjkkklllmmmnnn");
    /* A queue of nothing but a rest is dropped and freed. */
    push(&b, "ab", 1);
    assert_int_equal(outq_write(b.q, &b.gather, &seal_row, b.fds[0]), ERR_AGAIN);
    gather_clear(&b.gather);
    outq_drop(b.q);
    assert_int_equal(b.q->bytes, 2);
    bench_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rests),           cmocka_unit_test(in_order), cmocka_unit_test(in_parts),
        cmocka_unit_test(a_closed_socket), cmocka_unit_test(purging),  cmocka_unit_test(last_and_pop),
        cmocka_unit_test(skipped_tags),    cmocka_unit_test(freelist), cmocka_unit_test(receivers_share_a_gathering),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
