/* A client's connection by TLS 1.3 whose records are its own, on a socket: records in any pieces and numbers, ends, and
 * a socket that is full. The other side is the server's record layer. */
#include "core/client/client_tls_own.h"

#include "tests/unit/tls_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = CLIENT_RECORD_PLAIN };

struct end {
    struct client client;
    struct client_conn conn;
    struct pair server;
    int peer;                      /* the server's socket */
    uint8_t got[ROOM + 4096];      /* what a read gave */
    uint8_t wire[20 * BUFFER / 8]; /* what is to be written by the server */
    size_t wire_n;
};

static struct end *end_new(void)
{
    struct end *e = calloc(1, sizeof *e);
    struct tls_secrets s = some_secrets(CLIENT_RECORD_SUITE);
    int fds[2];
    assert_non_null(e);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    e->server = pair_of(CLIENT_RECORD_SUITE);
    e->peer = fds[1];
    e->client.own = calloc(1, sizeof *e->client.own);
    e->conn.tls.own = calloc(1, sizeof *e->conn.tls.own);
    assert_true(e->client.own && e->conn.tls.own);
    e->client.own->cipher = client_cipher_new();
    e->conn.client = &e->client;
    e->conn.own = true;
    e->conn.fd = fds[0];
    struct client_records *r = &e->conn.tls.own->records;
    memcpy(r->in.secret, s.server, 32);
    memcpy(r->out.secret, s.client, 32);
    r->heard_in = r->heard_out = true;
    assert_true(e->client.own->cipher && client_records_begin(e->client.own->cipher, r));
    r->in.seq = 1; /* as pair_of() begins */
    return e;
}

static void end_free(struct end *e)
{
    client_own_end(&e->conn);
    client_own_free(&e->client);
    pair_end(&e->server);
    close(e->conn.fd);
    if (e->peer >= 0)
        close(e->peer);
    free(e);
}

/* Adds a record of n bytes to what the server is to write. They go on from those of the record before. */
static void wire_add(struct end *e, size_t n, uint8_t *counter)
{
    static uint8_t bytes[CLIENT_RECORD_PLAIN];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (*counter)++;
    struct tls_sealed s = pair_seal(&e->server, bytes, n);
    assert_true(e->wire_n + s.n <= sizeof e->wire);
    memcpy(e->wire + e->wire_n, e->server.buffer, s.n);
    e->wire_n += s.n;
}

static void wire_end(struct end *e)
{
    tls_records_close(e->server.r);
    struct tls_sealed s = pair_seal(&e->server, NULL, 0);
    memcpy(e->wire + e->wire_n, e->server.buffer, s.n);
    e->wire_n += s.n;
}

static void peer_write(struct end *e, size_t from, size_t n)
{
    assert_int_equal(write(e->peer, e->wire + from, n), n);
}

/* Reads as a connection does after an edge: until it is told that there is no more, or nothing comes. How many bytes,
 * which must go on from *counter; *rc is the last call's, and errno its. */
static size_t read_all(struct end *e, size_t room, uint8_t *counter, ssize_t *rc)
{
    size_t sum = 0;
    bool more = true;
    while (more) {
        *rc = client_own_recv(&e->conn, e->got, room, &more);
        if (*rc <= 0)
            break;
        assert_true((size_t)*rc <= room);
        for (ssize_t i = 0; i < *rc; i++)
            assert_int_equal(e->got[i], (*counter)++);
        sum += (size_t)*rc;
    }
    return sum;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static void any_cut(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 120; piece++) {
        struct end *e = end_new();
        uint8_t out = 0, in = 0;
        size_t sum = 0;
        ssize_t rc = 0;
        wire_add(e, 10, &out);
        wire_add(e, 1, &out);
        wire_add(e, 60, &out);
        for (size_t at = 0; at < e->wire_n; at += piece) {
            peer_write(e, at, piece < e->wire_n - at ? piece : e->wire_n - at);
            sum += read_all(e, ROOM, &in, &rc);
            assert_true(rc > 0 || errno == EAGAIN);
        }
        assert_int_equal(sum, 71);
        assert_null(e->conn.tls.own->kept);
        end_free(e);
    }
}

/* More than one call has room for: the rest is not left to an edge that does not come. */
static void more_than_room(void **state)
{
    (void)state;
    for (size_t room = ROOM; room <= ROOM + 4096; room += 1024) {
        struct end *e = end_new();
        uint8_t out = 0, in = 0;
        ssize_t rc = 0;
        int size = 1 << 20;
        assert_int_equal(setsockopt(e->peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
        size_t sizes[] = {16384, 16384, 1, 9000, 9000, 300, 16384, 16383, 5, 16384, 240}, sum = 0;
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            wire_add(e, sizes[i], &out);
            sum += sizes[i];
        }
        peer_write(e, 0, e->wire_n);
        assert_int_equal(read_all(e, room, &in, &rc), sum);
        assert_true(rc > 0 || errno == EAGAIN);
        end_free(e);
    }
}

static void ends(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        struct end *e = end_new();
        uint8_t out = 0, in = 0;
        ssize_t rc = 0;
        wire_add(e, 100, &out);
        if (way == 0)
            wire_end(e); /* with the last bytes */
        if (way == 1)
            e->wire_n += 3; /* no record's beginning follows */
        if (way == 2)
            e->wire[e->wire_n - 1] ^= 1;
        peer_write(e, 0, e->wire_n);
        close(e->peer);
        e->peer = -1;
        bool more = true;
        for (in = 0; more && (rc = client_own_recv(&e->conn, e->got, ROOM, &more)) > 0;)
            in = (uint8_t)(in + rc);
        assert_int_equal(in, way == 2 ? 0 : 100);
        if (rc > 0) /* then the edge of the end is to come */
            rc = client_own_recv(&e->conn, e->got, ROOM, &more);
        assert_int_equal(rc, way == 0 ? 0 : -1);
        if (way)
            assert_int_equal(errno, way == 2 ? EPROTO : ECONNRESET);
        assert_int_equal(client_own_recv(&e->conn, e->got, ROOM, &more), rc);
        end_free(e);
    }
}

static void alert_of_the_server(void **state)
{
    (void)state;
    struct end *e = end_new();
    static const uint8_t garbage[] = "23456789012345678901234567890";
    bool more;
    assert_int_equal(pair_feed(&e->server, garbage, sizeof garbage), ERR_INVALID);
    struct tls_sealed s = pair_seal(&e->server, NULL, 0);
    assert_int_equal(write(e->peer, e->server.buffer, s.n), s.n);
    assert_int_equal(client_own_recv(&e->conn, e->got, ROOM, &more), -1);
    assert_int_equal(errno, ECONNRESET);
    end_free(e);
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

/* The server reads what is there, at most so much. */
static void server_drain(struct end *e, size_t most)
{
    uint8_t bytes[4096];
    ssize_t n;
    while (most && (n = read(e->peer, bytes, most < sizeof bytes ? most : sizeof bytes)) > 0) {
        assert_int_equal(pair_feed(&e->server, bytes, (size_t)n), 0);
        most -= (size_t)n;
    }
}

/* What a socket takes only in parts arrives as it is, whatever else is added meanwhile behind it. */
static void full_socket(void **state)
{
    (void)state;
    struct end *e = end_new();
    int size = 4608;
    size_t total = 100000, at = 0, waits = 0;
    uint8_t *bytes = malloc(total);
    assert_non_null(bytes);
    assert_int_equal(setsockopt(e->conn.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    for (size_t i = 0; i < total; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    while (at < total) {
        /* As a connection's output: the same bytes again, perhaps at another place, perhaps with more behind them. */
        size_t n = total - at < 20000 + waits ? total - at : 20000 + waits;
        uint8_t *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, bytes + at, n);
        ssize_t sent = client_own_send(&e->conn, copy, n);
        free(copy);
        if (sent > 0) {
            at += (size_t)sent;
            continue;
        }
        assert_int_equal(errno, EAGAIN);
        waits++;
        server_drain(e, 1500);
    }
    server_drain(e, SIZE_MAX);
    assert_true(waits > 10);
    assert_null(e->conn.tls.own->rest);
    assert_int_equal(e->server.plain_n, total);
    assert_memory_equal(e->server.plain, bytes, total);
    free(bytes);
    end_free(e);
}

static void nobody_reads_any_more(void **state)
{
    (void)state;
    struct end *e = end_new();
    close(e->peer);
    e->peer = -1;
    assert_int_equal(client_own_send(&e->conn, "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    end_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut),     cmocka_unit_test(more_than_room),
        cmocka_unit_test(ends),        cmocka_unit_test(alert_of_the_server),
        cmocka_unit_test(full_socket), cmocka_unit_test(nobody_reads_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
