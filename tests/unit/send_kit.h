/* Connections that do not read, and messages with numbers for them. */
#ifndef MAGPIE_TEST_SEND_KIT_H
#define MAGPIE_TEST_SEND_KIT_H

#include "tests/unit/net_kit.h"
#include "core/net/net.h"
#include "core/net/send.h"
#include "core/net/conn_private.h"
#include "core/net/net_shared_private.h"

static const struct net_limits small_queue = {
    .frame = 65536, .output_queue = 64 << 10, .login_timeout = 10, .idle_timeout = 300};

/* A wire of n bytes. */
static inline struct wire *wire_of(uint32_t n, uint32_t tag)
{
    char *body = malloc(n);
    memset(body, 'x', n);
    struct wire *w = wire_new(WIRE_TCP, 102, 0, slice_of(body, n - 8), tag);
    assert_non_null(w);
    assert_int_equal(w->len, n);
    free(body);
    return w;
}

static inline int say(struct kit *k, uint32_t n, uint32_t tag, enum conn_class class)
{
    struct wire *w = wire_of(n, tag);
    int rc = conn_send(k->net, k->last, w, class);
    wire_unref(w);
    return rc;
}

/* A logged-in client that does not read, with sockets that hold little. */
static inline int silent(struct kit *k)
{
    uint32_t before = k->opened;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small); /* before connect(2): the window is made from it */
    assert_int_equal(connect(fd, (struct sockaddr *)&k->address, sizeof k->address), 0);
    KIT_UNTIL(k, k->opened > before);
    setsockopt(conn_at(k->net, k->last)->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    conn_set(k->net, k->last, CONN_F_READY);
    return fd;
}

/* Fills the socket; until then nothing counts as unsent. */
static inline void stuff(struct kit *k)
{
    for (int full = 0, tries = 0; !full && tries < 100; tries++) {
        for (int i = 0; i < 10000 && !(conn_at(k->net, k->last)->flags & CONN_F_WRITABLE); i++) {
            assert_int_equal(say(k, 8192, WIRE_TAG_NONE, CONN_MUST), 0);
            kit_turn(k, 1);
        }
        /* What the kernel still shoves about, which may make room for all there is. */
        for (uint32_t before = 0; before != conn_queued(k->net, k->last);) {
            before = conn_queued(k->net, k->last);
            for (int i = 0; i < 20; i++) {
                kit_turn(k, 1);
                usleep(500);
            }
        }
        full = conn_at(k->net, k->last)->flags & CONN_F_WRITABLE;
    }
    assert_true(conn_at(k->net, k->last)->flags & CONN_F_WRITABLE);
}

/* What may not be skipped closes a full one: its queue goes, 105 says why. */
static inline void full(void **state)
{
    (void)state;
    struct kit k;
    kit_start(&k, CONN_TCP, &small_queue);
    int fd = silent(&k), rc;
    stuff(&k);
    for (rc = 0; rc == 0;) {
        rc = say(&k, 1000, WIRE_TAG_NONE, CONN_MUST);
        assert_true(conn_queued(k.net, k.last) <= 64 << 10);
    }
    assert_int_equal(rc, ERR_CLOSED);
    assert_int_equal(k.closing, 1);
    assert_int_equal(k.closing_reason, CLOSE_SLOW);
    assert_true(conn_queued(k.net, k.last) < 8192 + 200); /* a begun wire is finished */
    assert_int_equal(say(&k, 1000, 5, CONN_MAY), ERR_CLOSED);
    char *got = malloc(8 << 20);
    ssize_t n = kit_drain(&k, fd, got, 8 << 20);
    static const char last[] = "{\"reason\":\"slow\"}";
    assert_true(n > (ssize_t)sizeof last);
    assert_memory_equal(got + n - (sizeof last - 1), last, sizeof last - 1);
    free(got);
    close(fd);
    KIT_UNTIL(&k, k.closed == 1);
    assert_int_equal(k.closed_reason, CLOSE_SLOW);
    kit_stop(&k);
}

/* Who is kicked gets nothing more of any channel, but what was owed otherwise; who is told to go for another reason
 * gets all. */
static inline void kicked(void **state)
{
    (void)state;
    static const enum close_reason reasons[] = {CLOSE_KICKED, CLOSE_SHUTDOWN};
    for (int i = 0; i < 2; i++) {
        struct kit k;
        kit_start(&k, CONN_TCP, &small_queue);
        int fd = kit_client(&k);
        conn_set(k.net, k.last, CONN_F_READY);
        assert_int_equal(say(&k, 108, WIRE_TAG_NONE, CONN_MUST), 0);
        assert_int_equal(say(&k, 208, 5, CONN_MAY), 0);
        conn_close(k.net, k.last, reasons[i], NULL, 0);
        char got[316];
        kit_take(&k, fd, got, i == 0 ? 108 : 316);
        kit_expect_frame(&k, fd, 105, i == 0 ? "{\"reason\":\"kicked\"}" : "{\"reason\":\"shutdown\"}");
        close(fd);
        kit_stop(&k);
    }
}

#endif
