/* The client's records of TLS 1.3: against the trace of RFC 8448, the server's record layer, and a third one, which was
 * written for the tests (tls_kit.h), which also says what is wrong. */
#include "core/client/client_records.h"
#include "tests/unit/tls_pair.h"
#include "tests/unit/tls_trace.h"

#define RANDOM "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff "
#define HEX32  "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"

struct client_side {
    struct client_cipher *cipher;
    struct client_records r;
    struct peer_way server, reads; /* what the server says, and what it opens ours with */
    uint8_t *buffer;               /* BUFFER bytes */
};

static struct client_side side_of(const uint8_t client[32], const uint8_t server[32])
{
    struct client_side s = {.cipher = client_cipher_new(), .buffer = malloc(BUFFER)};
    s.server = peer_way(CLIENT_RECORD_SUITE, server);
    s.reads = peer_way(CLIENT_RECORD_SUITE, client);
    memcpy(s.r.out.secret, client, 32);
    memcpy(s.r.in.secret, server, 32);
    s.r.heard_in = s.r.heard_out = true;
    assert_true(s.cipher && s.buffer && client_records_begin(s.cipher, &s.r));
    return s;
}

static struct client_side some_side(void)
{
    return side_of(trace_client_secret, trace_server_secret);
}

static void side_end(struct client_side *s)
{
    client_cipher_free(s->cipher);
    free(s->buffer);
}

/* Opens these bytes in a block of just their size, so that a sanitizer sees a byte too far. What they bring is in
 * s->buffer. */
static int side_open(struct client_side *s, const uint8_t *record, size_t size, size_t *n)
{
    uint8_t *exact = malloc(size);
    struct slice plain;
    assert_non_null(exact);
    memcpy(exact, record, size);
    int rc = client_records_open(s->cipher, &s->r, exact, size, &plain);
    assert_true(rc == 0 || plain.n == 0);
    if (plain.n)
        memmove(s->buffer, plain.p, plain.n);
    *n = plain.n;
    free(exact);
    return rc;
}

/* What the other record layer seals of that type comes to this. */
static int side_take(struct client_side *s, unsigned type, const void *p, size_t n, size_t *got)
{
    size_t size = peer_seal(&s->server, type, p, n, 0, s->buffer);
    return side_open(s, s->buffer, size, got);
}

static void side_hears(struct client_side *s, const char *text)
{
    size_t n;
    assert_int_equal(side_take(s, PEER_DATA, text, strlen(text), &n), 0);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(s->buffer, text, n);
}

static void side_says(struct client_side *s, const char *text)
{
    unsigned type = 0;
    size_t used = 0, size = client_records_seal(s->cipher, &s->r, text, strlen(text), s->buffer);
    assert_int_equal(peer_open(&s->reads, s->buffer, size, &type, &used), strlen(text));
    assert_int_equal(used, size);
    assert_int_equal(type, PEER_DATA);
    assert_memory_equal(s->buffer + 5, text, strlen(text));
}

/* --- Secrets ------------------------------------------------------------------------------------------------------ */

static void keylog_lines(void **state)
{
    (void)state;
    static const char *const others[] = {"",
                                         "CLIENT_TRAFFIC_SECRET_0",
                                         "CLIENT_TRAFFIC_SECRET_0 ",
                                         "CLIENT_TRAFFIC_SECRET_0 " RANDOM,
                                         "CLIENT_TRAFFIC_SECRET_0 " HEX32,
                                         "CLIENT_TRAFFIC_SECRET_0 " RANDOM HEX32 "00",
                                         "CLIENT_TRAFFIC_SECRET_0 " RANDOM HEX32 " ",
                                         "CLIENT_TRAFFIC_SECRET_0 " RANDOM "x" HEX32,
                                         "CLIENT_TRAFFIC_SECRET_0 " RANDOM HEX32 "00112233445566778899aabbccddeeff",
                                         "CLIENT_TRAFFIC_SECRET_1 " RANDOM HEX32,
                                         "CLIENT_HANDSHAKE_TRAFFIC_SECRET " RANDOM HEX32,
                                         "CLIENT_RANDOM " RANDOM HEX32};
    struct client_cipher *cipher = client_cipher_new();
    struct client_records r = {.owes = false};
    assert_non_null(cipher);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        client_records_secret(&r, others[i]);
        if (r.heard_in || r.heard_out)
            fail_msg("%s", others[i]);
    }
    client_records_secret(&r, "CLIENT_TRAFFIC_SECRET_0 " RANDOM HEX32);
    assert_true(r.heard_out && !r.heard_in);
    assert_memory_equal(r.out.secret, trace_client_secret, 32);
    assert_false(client_records_begin(cipher, &r));
    client_records_secret(&r, "SERVER_TRAFFIC_SECRET_0 " RANDOM HEX32 "\n");
    assert_true(r.heard_in);
    assert_memory_equal(r.in.secret, trace_client_secret, 32);
    assert_true(client_records_begin(cipher, &r));
    assert_memory_equal(r.out.key, trace_client_key, sizeof trace_client_key);
    assert_memory_equal(r.out.iv, trace_client_iv, sizeof trace_client_iv);
    client_records_wipe(&r);
    assert_memory_equal(&r, &(struct client_records){.owes = false}, sizeof r);
    client_cipher_free(cipher);
    client_cipher_free(NULL);
}

/* --- Right ones --------------------------------------------------------------------------------------------------- */

static void trace_of_rfc_8448(void **state)
{
    (void)state;
    struct client_side s = some_side();
    uint8_t plain[50];
    size_t n;
    for (unsigned i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)i;
    s.r.in.seq = 1; /* the ticket */
    assert_int_equal(client_records_seal(s.cipher, &s.r, plain, sizeof plain, s.buffer), sizeof trace_client_data);
    assert_memory_equal(s.buffer, trace_client_data, sizeof trace_client_data);
    assert_int_equal(side_open(&s, trace_server_data, sizeof trace_server_data, &n), 0);
    assert_int_equal(n, sizeof plain);
    assert_memory_equal(s.buffer, plain, n);
    assert_int_equal(side_open(&s, trace_server_close, sizeof trace_server_close, &n), ERR_CLOSED);
    assert_int_equal(side_open(&s, trace_server_data, sizeof trace_server_data, &n), ERR_CLOSED);
    side_end(&s);
}

/* All that both record layers of ours say to each other, in any size, past KeyUpdates of either side. */
static void with_the_server(void **state)
{
    (void)state;
    struct pair p = pair_of(CLIENT_RECORD_SUITE);
    struct tls_secrets secrets = some_secrets(CLIENT_RECORD_SUITE);
    struct client_side s = side_of(secrets.client, secrets.server);
    uint8_t *bytes = malloc(CLIENT_RECORD_PLAIN), *out = malloc(CLIENT_RECORD_ROOM);
    static const size_t sizes[] = {1, 2, 15, 16, 17, 240, 4800, CLIENT_RECORD_PLAIN - 1, CLIENT_RECORD_PLAIN};
    assert_true(bytes && out);
    for (size_t i = 0; i < CLIENT_RECORD_PLAIN; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    s.r.in.seq = 1;
    for (unsigned turn = 0; turn < 6; turn++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t n = sizes[i], got;
            struct tls_sealed sealed = pair_seal(&p, bytes, n);
            for (size_t at = 0; at < sealed.n;) { /* a KeyUpdate may be first */
                size_t size = client_record_size(p.buffer + at, sealed.n - at);
                assert_int_equal(side_open(&s, p.buffer + at, size, &got), 0);
                at += size;
            }
            assert_int_equal(got, n);
            assert_memory_equal(s.buffer, bytes, n);
            size_t size = client_records_seal(s.cipher, &s.r, bytes, n, out);
            assert_true(size > n && size <= CLIENT_RECORD_ROOM);
            p.plain_n = 0;
            assert_int_equal(pair_feed(&p, out, size), 0);
            assert_int_equal(p.plain_n, n);
            assert_memory_equal(p.plain, bytes, n);
        }
        assert_false(s.r.owes);
        if (turn == 1) /* each side's key has served long enough; the server also asks for ours */
            p.r->way[1].seq = s.r.in.seq = TLS_UPDATE_AFTER;
        else if (turn == 2)
            p.r->way[0].seq = s.r.out.seq = TLS_UPDATE_AFTER - 1;
        else if (turn == 3)
            p.r->way[0].seq = s.r.out.seq = (1 << 23) - 4;
    }
    assert_true(s.r.in.seq < 1000 && s.r.out.seq < 1000);
    tls_records_close(p.r);
    size_t n = pair_seal(&p, NULL, 0).n, got;
    assert_int_equal(side_open(&s, p.buffer, n, &got), ERR_CLOSED);
    free(bytes);
    free(out);
    pair_end(&p);
    side_end(&s);
}

static void tickets_pass(void **state)
{
    (void)state;
    struct client_side s = some_side();
    static const uint8_t two[] = {4, 0, 0, 3, 1, 2, 3, 4, 0, 0, 0};
    size_t n;
    assert_int_equal(side_take(&s, PEER_HANDSHAKE, two, sizeof two, &n), 0);
    assert_int_equal(n, 0);
    side_hears(&s, "hello");
    assert_int_equal(side_take(&s, PEER_DATA, "", 0, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(side_open(&s, s.buffer, peer_seal(&s.server, PEER_DATA, "pad", 3, 300, s.buffer), &n), 0);
    assert_int_equal(n, 3);
    static const uint8_t canceled[] = {1, 90};
    assert_int_equal(side_take(&s, PEER_ALERT, canceled, sizeof canceled, &n), 0);
    side_hears(&s, "still there");
    side_says(&s, "so am I");
    side_end(&s);
}

static void key_updates(void **state)
{
    (void)state;
    struct client_side s = some_side();
    size_t n;
    for (unsigned request = 0; request < 2; request++)
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(side_open(&s, s.buffer, peer_seal_update(&s.server, request, s.buffer), &n), 0);
            side_hears(&s, "with another key");
        }
    assert_true(s.r.owes); /* once, however many asked */
    unsigned type = 0;
    size_t used = 0, size = client_records_seal(s.cipher, &s.r, "x", 1, s.buffer);
    static const uint8_t update[] = {24, 0, 0, 1, 0};
    assert_int_equal(peer_open(&s.reads, s.buffer, size, &type, &used), sizeof update);
    assert_int_equal(type, PEER_HANDSHAKE);
    assert_memory_equal(s.buffer + 5, update, sizeof update);
    peer_update(&s.reads);
    assert_int_equal(peer_open(&s.reads, s.buffer + used, size - used, &type, &used), 1);
    assert_false(s.r.owes);
    side_says(&s, "with another key");
    side_end(&s);
}

/* --- Wrong ones --------------------------------------------------------------------------------------------------- */

static void turned_bits(void **state)
{
    (void)state;
    uint8_t record[sizeof trace_server_data];
    for (size_t bit = 0; bit < 8 * sizeof record; bit++) {
        struct client_side s = some_side();
        size_t n;
        s.r.in.seq = 1;
        memcpy(record, trace_server_data, sizeof record);
        record[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(side_open(&s, record, sizeof record, &n), ERR_INVALID);
        assert_int_equal(side_open(&s, trace_server_data, sizeof trace_server_data, &n), ERR_INVALID);
        side_end(&s);
    }
}

static void wrong_sequence(void **state)
{
    (void)state;
    struct client_side s = some_side();
    size_t n;
    assert_int_equal(side_open(&s, trace_server_data, sizeof trace_server_data, &n), ERR_INVALID);
    side_end(&s);
}

static void sizes(void **state)
{
    (void)state;
    static const uint8_t plain_alert[] = {21, 3, 3, 0, 2, 2, 40};
    assert_int_equal(client_record_size(plain_alert, 4), 0);
    assert_int_equal(client_record_size(plain_alert, 5), 7);
    for (size_t length = 0; length <= 17; length++) {
        struct client_side s = some_side();
        uint8_t record[22] = {23, 3, 3, 0, (uint8_t)length};
        size_t n;
        assert_int_equal(side_open(&s, record, 5 + length, &n), ERR_INVALID);
        side_end(&s);
    }
    struct client_side s = some_side();
    size_t n;
    assert_int_equal(side_open(&s, plain_alert, sizeof plain_alert, &n), ERR_INVALID);
    side_end(&s);
    for (size_t more = 0; more < 2; more++) { /* with padding it is not longer either */
        s = some_side();
        uint8_t *whole = calloc(1, CLIENT_RECORD_PLAIN + 1 + more), *record = malloc(CLIENT_RECORD_MAX + more);
        assert_true(whole && record);
        whole[0] = 'x', whole[1] = PEER_DATA;
        size_t size = peer_seal_inner(&s.server, whole, CLIENT_RECORD_PLAIN + 1 + more, record);
        assert_int_equal(side_open(&s, record, size, &n), more ? ERR_INVALID : 0);
        assert_int_equal(n, !more);
        free(whole);
        free(record);
        side_end(&s);
    }
}

static void wrong_contents(void **state)
{
    (void)state;
    static const struct {
        unsigned type;
        uint8_t n, bytes[12];
        int rc;
    } cases[] = {
        {PEER_ALERT, 2, {2, 40}, ERR_IO},
        {PEER_ALERT, 2, {1, 0}, ERR_CLOSED},
        {PEER_ALERT, 0, {0}, ERR_INVALID},
        {PEER_ALERT, 1, {1}, ERR_INVALID},
        {PEER_ALERT, 4, {1, 0, 1, 0}, ERR_INVALID},
        {PEER_HANDSHAKE, 0, {0}, ERR_INVALID},
        {PEER_HANDSHAKE, 3, {4, 0, 0}, ERR_INVALID},
        {PEER_HANDSHAKE, 5, {4, 0, 0, 2, 1}, ERR_INVALID},
        {PEER_HANDSHAKE, 8, {4, 0, 0, 0, 4, 0, 1, 0}, ERR_INVALID},
        {PEER_HANDSHAKE, 4, {13, 0, 0, 0}, ERR_INVALID},
        {PEER_HANDSHAKE, 5, {24, 0, 0, 1, 2}, ERR_INVALID},
        {PEER_HANDSHAKE, 4, {24, 0, 0, 0}, ERR_INVALID},
        {PEER_HANDSHAKE, 6, {24, 0, 0, 2, 0, 0}, ERR_INVALID},
        {PEER_HANDSHAKE, 10, {24, 0, 0, 1, 0, 24, 0, 0, 1, 0}, ERR_INVALID},
        {PEER_HANDSHAKE, 9, {24, 0, 0, 1, 0, 4, 0, 0, 0}, ERR_INVALID},
        {20, 1, {1}, ERR_INVALID},
        {0, 4, {0}, ERR_INVALID}, /* all padding */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client_side s = some_side();
        size_t n;
        int rc = side_take(&s, cases[i].type, cases[i].bytes, cases[i].n, &n);
        if (rc != cases[i].rc)
            fail_msg("case %zu: %d", i, rc);
        assert_int_equal(side_take(&s, PEER_DATA, "late", 4, &n), rc);
        assert_int_equal(n, 0);
        side_end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keylog_lines),    cmocka_unit_test(trace_of_rfc_8448),
        cmocka_unit_test(with_the_server), cmocka_unit_test(tickets_pass),
        cmocka_unit_test(key_updates),     cmocka_unit_test(turned_bits),
        cmocka_unit_test(wrong_sequence),  cmocka_unit_test(sizes),
        cmocka_unit_test(wrong_contents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
