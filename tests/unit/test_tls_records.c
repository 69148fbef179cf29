/* The record layer of TLS 1.3: its secrets, records in any pieces, and records that are not right. */
#include "tests/unit/tls_pair.h"
#include "tests/unit/tls_trace.h"

#include <openssl/err.h>

/* --- Secrets ------------------------------------------------------------------------------------------------------ */

#define RANDOM "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF "
#define HEX32  "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
#define HEX48  HEX32 "00112233445566778899aabbccddeeff"

static void keylog_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int rc;
    } cases[] = {
        {"CLIENT_TRAFFIC_SECRET_0 " RANDOM HEX32, 0},
        {"CLIENT_TRAFFIC_SECRET_0 " RANDOM HEX48 "\n", 0},
        {"SERVER_TRAFFIC_SECRET_0 " RANDOM HEX48 "\r\n", 0},
        {"CLIENT_TRAFFIC_SECRET_1 " RANDOM HEX32, ERR_NOTFOUND},
        {"CLIENT_HANDSHAKE_TRAFFIC_SECRET " RANDOM HEX32, ERR_NOTFOUND},
        {"EXPORTER_SECRET " RANDOM HEX32, ERR_NOTFOUND},
        {"CLIENT_RANDOM " RANDOM HEX48, ERR_NOTFOUND},
        {"CLIENT_TRAFFIC_SECRET_0", ERR_NOTFOUND},
        {"", ERR_NOTFOUND},
        {"# CLIENT_TRAFFIC_SECRET_0 " RANDOM HEX32, ERR_NOTFOUND},
        {"CLIENT_TRAFFIC_SECRET_0 ", ERR_INVALID},
        {"CLIENT_TRAFFIC_SECRET_0 " RANDOM, ERR_INVALID},
        {"CLIENT_TRAFFIC_SECRET_0  " RANDOM HEX32, ERR_INVALID},
        {"CLIENT_TRAFFIC_SECRET_0 00 " HEX32, ERR_INVALID},
        {"CLIENT_TRAFFIC_SECRET_0 00" RANDOM HEX32, ERR_INVALID},
        {"CLIENT_TRAFFIC_SECRET_0 " RANDOM HEX48 "00", ERR_INVALID},
        {"CLIENT_TRAFFIC_SECRET_0 " RANDOM HEX32 "0", ERR_INVALID},
        {"CLIENT_TRAFFIC_SECRET_0 " RANDOM HEX32 " ", ERR_INVALID},
        {"CLIENT_TRAFFIC_SECRET_0 " RANDOM "x" HEX32, ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tls_secrets s = {.client_n = 0};
        static const struct tls_secrets none;
        if (tls_secrets_line(&s, cases[i].line) != cases[i].rc)
            fail_msg("%s", cases[i].line);
        if (cases[i].rc != 0)
            assert_memory_equal(&s, &none, sizeof s);
    }
    struct tls_secrets s = {.client_n = 0};
    assert_int_equal(tls_secrets_line(&s, cases[0].line), 0);
    assert_int_equal(s.client_n, 32);
    assert_int_equal(s.server_n, 0);
    assert_int_equal(s.client[0], 0x9e);
    assert_int_equal(s.client[31], 0xa5);
    assert_int_equal(tls_secrets_line(&s, cases[2].line), 0);
    assert_int_equal(s.server_n, 48);
    assert_int_equal(s.server[47], 0xff);
}

static void fits(void **state)
{
    (void)state;
    static const struct {
        unsigned suite;
        uint8_t client_n, server_n;
        size_t size; /* 0: refused */
    } cases[] = {{0x1301, 32, 32, 136}, {0x1302, 48, 48, 200}, {0x1303, 32, 32, 168}, {0x1304, 32, 32, 0},
                 {0x1305, 32, 32, 0},   {0xc02f, 32, 32, 0},   {0, 32, 32, 0},        {0x1301, 48, 48, 0},
                 {0x1302, 32, 32, 0},   {0x1302, 48, 32, 0},   {0x1303, 32, 0, 0},    {0x1303, 0, 32, 0}};
    struct tls_crypto *c = tls_crypto_new();
    assert_non_null(c);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tls_secrets s = some_secrets(0x1302);
        s.client_n = cases[i].client_n, s.server_n = cases[i].server_n;
        struct tls_records *r = tls_records_new(c, cases[i].suite, &s, 0);
        assert_int_equal(r ? tls_records_size(r) : 0, cases[i].size);
        assert_memory_equal(&s, &(struct tls_secrets){.client_n = 0}, sizeof s);
        tls_records_free(r);
    }
    tls_records_free(NULL);
    tls_crypto_free(c);
    tls_crypto_free(NULL);
}

/* --- RFC 8448, section 3 ------------------------------------------------------------------------------------------ */

static void trace_of_rfc_8448(void **state)
{
    (void)state;
    struct pair p = pair_of(0x1301);
    struct tls_secrets s = {.client_n = 32, .server_n = 32};
    uint8_t plain[50];
    memcpy(s.client, trace_client_secret, 32);
    memcpy(s.server, trace_server_secret, 32);
    tls_records_free(p.r);
    p.r = tls_records_new(p.c, 0x1301, &s, 1);
    assert_non_null(p.r);
    assert_memory_equal(p.r->keys, trace_client_key, sizeof trace_client_key);
    assert_memory_equal(p.r->way[0].iv, trace_client_iv, sizeof trace_client_iv);
    for (unsigned i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)i;
    assert_int_equal(pair_feed(&p, trace_client_data, sizeof trace_client_data), 0);
    assert_int_equal(p.plain_n, sizeof plain);
    assert_memory_equal(p.plain, plain, sizeof plain);
    assert_int_equal(pair_seal(&p, plain, sizeof plain).n, sizeof trace_server_data);
    assert_memory_equal(p.buffer, trace_server_data, sizeof trace_server_data);
    assert_int_equal(pair_feed(&p, trace_client_close, sizeof trace_client_close), ERR_CLOSED);
    assert_false(tls_records_owes(p.r));
    tls_records_close(p.r);
    assert_int_equal(pair_seal(&p, NULL, 0).n, sizeof trace_server_close);
    assert_memory_equal(p.buffer, trace_server_close, sizeof trace_server_close);
    pair_end(&p);
}

/* --- Records in any pieces ---------------------------------------------------------------------------------------- */

static void both_ways(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SUITE_COUNT; i++) {
        struct pair p = pair_of(suite_ids[i]);
        for (unsigned n = 0; n < 300; n++) { /* so that the sequence number has a second byte */
            pair_say(&p, "hello");
            pair_hear(&p, "hello yourself");
        }
        assert_int_equal(p.r->way[0].seq, 300);
        assert_int_equal(p.r->way[1].seq, 301);
        pair_end(&p);
    }
}

static uint8_t *some_bytes(size_t n)
{
    uint8_t *bytes = malloc(n + !n);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    return bytes;
}

/* What the server seals comes out the same, in records of the right sizes, whatever the room. */
static void seal_all(struct pair *p, const struct iovec *v, int count, const uint8_t *bytes, size_t n, size_t room)
{
    size_t at = 0;
    while (at < n) {
        struct tls_sealed s;
        uint8_t *out = malloc(room);
        assert_non_null(out);
        assert_int_equal(tls_records_seal(p->c, p->r, v, count, at, out, room, &s), 0);
        memcpy(p->buffer, out, s.n);
        free(out);
        assert_true(s.taken > 0 && s.n <= room);
        size_t sealed = 0, first = 0;
        for (size_t record = 0; record < s.n;) {
            unsigned type = 0;
            size_t used = 0;
            long content = peer_open(&p->in, p->buffer + record, s.n - record, &type, &used);
            assert_true(content > 0 && content <= TLS_PLAIN_MAX && type == PEER_DATA);
            assert_memory_equal(p->buffer + record + 5, bytes + at + sealed, content);
            first = first ? first : (size_t)content;
            sealed += (size_t)content;
            record += used;
            if (record < s.n || sealed > first) /* one of several: as large as can be, or the last */
                assert_true(content == TLS_PLAIN_MAX || at + sealed == n);
        }
        assert_int_equal(sealed, s.taken);
        assert_true(s.taken == n - at || s.n + 2 * TLS_RECORD_OVERHEAD + TLS_PLAIN_MAX > room);
        at += s.taken;
    }
}

static void sealed_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 15, 16, 17, 240, 4800, 16383, 16384, 16385, 50000};
    static const size_t rooms[] = {TLS_SEAL_MIN, 100, 4096, TLS_RECORD_MAX - 1, TLS_RECORD_MAX, TLS_SEAL_ROOM, 65536};
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++) {
        struct pair p = pair_of(suite_ids[suite]);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (size_t j = 0; j < sizeof rooms / sizeof *rooms; j++) {
                uint8_t *bytes = some_bytes(sizes[i]);
                struct iovec v = {bytes, sizes[i]};
                if (sizes[i] / rooms[j] < 100)
                    seal_all(&p, &v, 1, bytes, sizes[i], rooms[j]);
                free(bytes);
            }
        pair_end(&p);
    }
}

static void sealed_from_pieces(void **state)
{
    (void)state;
    struct pair p = pair_of(0x1301);
    uint8_t *bytes = some_bytes(20000);
    static const size_t pieces[] = {0, 1, 0, 7, 240, 0, 0, 16384, 3000, 0, 368, 0};
    enum { COUNT = sizeof pieces / sizeof *pieces };
    struct iovec v[COUNT];
    size_t n = 0;
    for (int i = 0; i < COUNT; i++) {
        v[i] = (struct iovec){pieces[i] ? bytes + n : NULL, pieces[i]};
        n += pieces[i];
    }
    assert_int_equal(n, 20000);
    seal_all(&p, v, COUNT, bytes, n, TLS_SEAL_ROOM);
    seal_all(&p, v, COUNT, bytes, n, 1000);
    seal_all(&p, v, COUNT, bytes, n, 70000);
    struct tls_sealed s;
    static const size_t behind[] = {20000, 20001, SIZE_MAX};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(tls_records_seal(p.c, p.r, v, COUNT, behind[i], p.buffer, TLS_SEAL_ROOM, &s), 0);
        assert_int_equal(s.n + s.taken, 0); /* nothing to say is no record */
    }
    free(bytes);
    pair_end(&p);
}

/* Everything that a client may say, in one stream; its plaintext goes to *plain. */
static size_t make_stream(struct pair *p, uint8_t *out, uint8_t *plain, size_t *plain_n)
{
    static const uint8_t update[] = {24, 0, 0, 1, 1}, warning[] = {1, 90};
    static const size_t sizes[] = {1, 5, 240, 17, 16384, 2}, paddings[] = {0, 0, 1, 300, 0, 16382};
    size_t n = 0, said = 0;
    for (unsigned i = 0; i < 6; i++) {
        uint8_t *bytes = some_bytes(sizes[i]);
        memcpy(plain + said, bytes, sizes[i]);
        n += peer_seal(&p->out, PEER_DATA, bytes, sizes[i], paddings[i], out + n);
        said += sizes[i];
        free(bytes);
        if (i == 0)
            n += peer_seal(&p->out, PEER_ALERT, warning, 2, 3, out + n);
        if (i == 1)
            n += peer_seal(&p->out, PEER_DATA, "", 0, 0, out + n);
        if (i == 2)
            n += peer_seal_update(&p->out, 0, out + n);
        if (i == 3) { /* a KeyUpdate in three parts */
            n += peer_seal(&p->out, PEER_HANDSHAKE, update, 1, 0, out + n);
            n += peer_seal(&p->out, PEER_HANDSHAKE, update + 1, 3, 9, out + n);
            n += peer_seal(&p->out, PEER_HANDSHAKE, update + 4, 1, 0, out + n);
            peer_update(&p->out);
        }
    }
    *plain_n = said;
    return n;
}

static void any_cut(void **state)
{
    (void)state;
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++) {
        struct pair made = pair_of(suite_ids[suite]);
        uint8_t *plain = malloc(BUFFER);
        size_t plain_n = 0, n = make_stream(&made, made.buffer, plain, &plain_n);
        /* In two at each place (within the long records at some), in pieces of one size, all at once. */
        for (size_t cut = 0; cut < n; cut += cut < 1200 || cut > n - 50 ? 1 : 101) {
            struct pair p = pair_of(suite_ids[suite]);
            assert_int_equal(pair_feed(&p, made.buffer, cut), 0);
            assert_int_equal(pair_feed(&p, made.buffer + cut, n - cut), 0);
            assert_int_equal(p.plain_n, plain_n);
            assert_memory_equal(p.plain, plain, plain_n);
            assert_int_equal(p.kept_n, 0);
            assert_true(tls_records_owes(p.r));
            pair_end(&p);
        }
        static const size_t pieces[] = {1, 2, 3, 5, 7, 1460, 4096, 16405, 16406, 16407};
        for (unsigned i = 0; i < sizeof pieces / sizeof *pieces; i++) {
            struct pair p = pair_of(suite_ids[suite]);
            for (size_t at = 0; at < n; at += pieces[i])
                assert_int_equal(pair_feed(&p, made.buffer + at, n - at < pieces[i] ? n - at : pieces[i]), 0);
            assert_int_equal(p.plain_n, plain_n);
            assert_memory_equal(p.plain, plain, plain_n);
            pair_end(&p);
        }
        free(plain);
        pair_end(&made);
    }
}

/* How much is still to come is said as soon as it is known. */
static void wanted(void **state)
{
    (void)state;
    struct pair p = pair_of(0x1301);
    uint8_t record[100], copy[100];
    size_t n = peer_seal(&p.out, PEER_DATA, "hello", 5, 0, record);
    struct tls_opened o;
    for (size_t i = 0; i < n; i++) {
        memcpy(copy, record, n);
        assert_int_equal(tls_records_open(p.c, p.r, copy, i, &o), 0);
        assert_int_equal(o.want, i < 5 ? 5 : n);
        assert_int_equal(o.used + o.plain, 0);
        assert_memory_equal(copy, record, n);
    }
    assert_int_equal(tls_records_open(p.c, p.r, record, n, &o), 0);
    assert_int_equal(o.want, 5);
    assert_int_equal(o.plain, 5);
    pair_end(&p);
}

/* --- Records that are not right ----------------------------------------------------------------------------------- */

/* Each bit of a record, turned: it is never taken, and what is said of it is the same wherever it is wrong. */
static void turned_bits(void **state)
{
    (void)state;
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++)
        for (size_t bit = 0;; bit++) {
            struct pair p = pair_of(suite_ids[suite]);
            uint8_t record[100];
            pair_hear(&p, "first");
            size_t n = peer_seal(&p.out, PEER_DATA, "hello", 5, 2, record), plain = p.plain_n;
            if (bit == 8 * n) {
                pair_end(&p);
                break;
            }
            record[bit / 8] ^= (uint8_t)(1 << bit % 8);
            n += peer_seal(&p.out, PEER_DATA, "more", 4, 0, record + n);
            int rc = pair_feed(&p, record, n);
            size_t length = (size_t)record[3] << 8 | record[4];
            if (rc == 0) { /* a larger length: more is awaited, and with it it is found out */
                assert_true(bit / 8 == 3 || bit / 8 == 4);
                assert_true(length > n - 5 && length <= 16401);
                memset(p.buffer, 0, length);
                rc = pair_feed(&p, p.buffer, length);
            }
            assert_int_equal(rc, ERR_INVALID);
            assert_int_equal(p.plain_n, plain);
            assert_int_equal(ERR_peek_error(), 0);
            pair_failed(&p, bit < 8          ? TLS_ALERT_UNEXPECTED_MESSAGE
                            : length > 16401 ? TLS_ALERT_RECORD_OVERFLOW
                                             : TLS_ALERT_BAD_RECORD_MAC);
            pair_end(&p);
        }
}

/* What is not authentic is not left in the buffer, either. */
static void nothing_is_left_of_it(void **state)
{
    (void)state;
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++) {
        struct pair p = pair_of(suite_ids[suite]);
        struct tls_opened o;
        uint8_t record[200], zeros[100] = {0};
        memset(p.buffer, 'x', 100);
        size_t n = peer_seal(&p.out, PEER_DATA, p.buffer, 100, 0, record);
        record[n - 1] ^= 1;
        assert_int_equal(tls_records_open(p.c, p.r, record, n, &o), ERR_INVALID);
        assert_int_equal(o.plain, 0);
        assert_memory_equal(record + 5, zeros, 100);
        pair_end(&p);
    }
}

/* Whole records in the wrong order, twice, left out, by another key, from the other direction. */
static void wrong_sequence(void **state)
{
    (void)state;
    enum { TWICE, SWAPPED, LEFT_OUT, FROM_ZERO, OLD_KEY, NEW_KEY, MIRRORED, OTHER_SUITE, CASES };
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++)
        for (unsigned i = 0; i < CASES; i++) {
            struct pair p = pair_of(suite_ids[suite]);
            struct peer_way other = p.out;
            uint8_t one[100], two[100];
            pair_hear(&p, "first");
            size_t one_n = peer_seal(&p.out, PEER_DATA, "one", 3, 0, one);
            size_t two_n = peer_seal(&p.out, PEER_DATA, "two", 3, 0, two), plain = p.plain_n;
            if (i == TWICE) {
                assert_int_equal(pair_feed(&p, one, one_n), 0);
                plain = p.plain_n;
                two_n = one_n;
                memcpy(two, one, one_n);
            } else if (i == FROM_ZERO)
                two_n = peer_seal(&other, PEER_DATA, "two", 3, 0, two);
            else if (i == OLD_KEY) {
                p.out.seq = 1;
                assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 0, p.buffer)), 0);
                two_n = peer_seal(&other, PEER_DATA, "two", 3, 0, two);
            } else if (i == NEW_KEY) {
                peer_update(&other);
                two_n = peer_seal(&other, PEER_DATA, "two", 3, 0, two);
            } else if (i == MIRRORED) {
                two_n = pair_seal(&p, "two", 3).n;
                memcpy(two, p.buffer, two_n);
            } else if (i == OTHER_SUITE) {
                other = peer_way(suite_ids[(suite + 1) % SUITE_COUNT], some_secrets(0x1302).client);
                two_n = peer_seal(&other, PEER_DATA, "two", 3, 0, two);
            }
            if (i == MIRRORED)
                p.in.seq++;
            assert_int_equal(pair_feed(&p, two, two_n), ERR_INVALID);
            assert_int_equal(p.plain_n, plain);
            pair_failed(&p, TLS_ALERT_BAD_RECORD_MAC);
            pair_end(&p);
        }
}

/* What is said of a header, as soon as there is enough of it. */
static void headers(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[5];
        unsigned n;
        int alert; /* -1: none yet */
    } cases[] = {
        {{23}, 1, -1},
        {{23, 3, 3, 0x40}, 4, -1},
        {{23, 3, 3, 0x40, 0x11}, 5, -1}, /* 16384 + 1 + 16 */
        {{23, 3, 3, 0x40, 0x12}, 5, TLS_ALERT_RECORD_OVERFLOW},
        {{23, 3, 3, 0x41, 0x00}, 5, TLS_ALERT_RECORD_OVERFLOW},
        {{23, 3, 3, 0x41, 0x01}, 5, TLS_ALERT_RECORD_OVERFLOW},
        {{23, 3, 3, 0xff, 0xff}, 5, TLS_ALERT_RECORD_OVERFLOW},
        {{23, 3, 3, 0, 16}, 5, -1},
        {{23, 3, 3, 0, 15}, 5, TLS_ALERT_BAD_RECORD_MAC},
        {{23, 3, 3, 0, 0}, 5, TLS_ALERT_BAD_RECORD_MAC},
        {{20}, 1, TLS_ALERT_UNEXPECTED_MESSAGE},              /* change_cipher_spec */
        {{21, 3, 3, 0, 2}, 5, TLS_ALERT_UNEXPECTED_MESSAGE},  /* an alert in the clear */
        {{22, 3, 1, 2, 0}, 5, TLS_ALERT_UNEXPECTED_MESSAGE},  /* a ClientHello: renegotiation */
        {{24, 3, 3, 0, 20}, 5, TLS_ALERT_UNEXPECTED_MESSAGE}, /* heartbeat */
        {{0}, 1, TLS_ALERT_UNEXPECTED_MESSAGE},
        {{0x80, 0x2e, 1, 3, 1}, 5, TLS_ALERT_UNEXPECTED_MESSAGE}, /* SSL 2.0 */
        {{'G', 'E', 'T', ' ', '/'}, 5, TLS_ALERT_UNEXPECTED_MESSAGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair p = pair_of(0x1301);
        pair_hear(&p, "first");
        int rc = pair_feed(&p, cases[i].bytes, cases[i].n);
        if (rc != (cases[i].alert < 0 ? 0 : ERR_INVALID))
            fail_msg("header %zu", i);
        if (rc != 0)
            pair_failed(&p, (unsigned)cases[i].alert);
        pair_end(&p);
    }
}

/* What is authentic before a wrong record is given, and told apart from what is wrong. */
static void plaintext_before_an_error(void **state)
{
    (void)state;
    struct pair p = pair_of(0x1303);
    uint8_t bytes[300];
    size_t n = peer_seal(&p.out, PEER_DATA, "one", 3, 0, bytes);
    n += peer_seal(&p.out, PEER_DATA, "two", 3, 0, bytes + n);
    size_t right = n;
    n += peer_seal(&p.out, PEER_DATA, "three", 5, 0, bytes + n);
    bytes[right + 9] ^= 1;
    n += peer_seal(&p.out, PEER_DATA, "four", 4, 0, bytes + n);
    assert_int_equal(pair_feed(&p, bytes, n), ERR_INVALID);
    assert_int_equal(p.plain_n, 6);
    assert_memory_equal(p.plain, "onetwo", 6);
    pair_failed(&p, TLS_ALERT_BAD_RECORD_MAC);
    pair_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keylog_lines),
        cmocka_unit_test(fits),
        cmocka_unit_test(both_ways),
        cmocka_unit_test(trace_of_rfc_8448),
        cmocka_unit_test(sealed_sizes),
        cmocka_unit_test(sealed_from_pieces),
        cmocka_unit_test(any_cut),
        cmocka_unit_test(wanted),
        cmocka_unit_test(turned_bits),
        cmocka_unit_test(nothing_is_left_of_it),
        cmocka_unit_test(wrong_sequence),
        cmocka_unit_test(headers),
        cmocka_unit_test(plaintext_before_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
