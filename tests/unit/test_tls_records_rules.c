/* The record layer of TLS 1.3: what is in records. Messages, KeyUpdate, alerts, limits, and an OpenSSL that fails. */
#include "core/net/tls/records.c"
#include "tests/unit/tls_pair.h"

/* What a client says in one record, and what the server makes of it. */
struct said {
    const char *name;
    unsigned type;
    uint8_t bytes[16];
    size_t n;
    int rc;
    unsigned alert;
};

static int feed_said(struct pair *p, const struct said *s)
{
    return pair_feed(p, p->buffer, peer_seal(&p->out, s->type, s->bytes, s->n, 0, p->buffer));
}

static void check_said(const struct said *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct pair p = pair_of(suite_ids[i % SUITE_COUNT]);
        pair_hear(&p, "first");
        size_t plain = p.plain_n;
        int rc = feed_said(&p, &cases[i]);
        if (rc != cases[i].rc || tls_records_alert(p.r) != cases[i].alert)
            fail_msg("%s: %d, alert %u", cases[i].name, rc, tls_records_alert(p.r));
        assert_int_equal(p.plain_n, plain);
        if (rc == ERR_INVALID)
            pair_failed(&p, cases[i].alert);
        pair_end(&p);
    }
}

/* --- Content types and messages ----------------------------------------------------------------------------------- */

static void content_types(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        const struct said s = {"type", type, {24, 0, 0, 1, 1}, 5, 0, 0};
        struct pair p = pair_of(0x1301);
        int rc = feed_said(&p, &s);
        if (type == PEER_DATA || type == PEER_HANDSHAKE)
            assert_int_equal(rc, 0);
        else {
            assert_int_equal(rc, ERR_INVALID);
            pair_failed(&p, type == PEER_ALERT ? TLS_ALERT_DECODE_ERROR : TLS_ALERT_UNEXPECTED_MESSAGE);
        }
        pair_end(&p);
    }
}

/* No type at all: nothing but padding, of any length. */
static void no_content_type(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 16, 1000, TLS_PLAIN_MAX + 1};
    static const uint8_t zeros[TLS_PLAIN_MAX + 1];
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++)
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct pair p = pair_of(suite_ids[suite]);
            size_t n = peer_seal_inner(&p.out, zeros, sizes[i], p.buffer);
            assert_int_equal(pair_feed(&p, p.buffer, n), ERR_INVALID);
            pair_failed(&p, TLS_ALERT_UNEXPECTED_MESSAGE);
            pair_end(&p);
        }
}

static void padding(void **state)
{
    (void)state;
    static const struct {
        size_t content, padding;
        int rc;
    } cases[] = {{5, 0, 0},
                 {5, 1, 0},
                 {5, 16379, 0},
                 {16384, 0, 0},
                 {1, 16383, 0},
                 {0, 0, 0},
                 {0, 16384, 0},
                 {0, 300, 0},
                 {16384, 1, ERR_INVALID},
                 {16385, 0, ERR_INVALID},
                 {5, 16380, ERR_INVALID},
                 {0, 16385, ERR_INVALID},
                 {16384, 255, ERR_INVALID}};
    uint8_t *bytes = calloc(1, 16385); /* zeros: only what is behind the type is padding */
    assert_non_null(bytes);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair p = pair_of(suite_ids[i % SUITE_COUNT]);
        size_t n = peer_seal(&p.out, PEER_DATA, bytes, cases[i].content, cases[i].padding, p.buffer);
        assert_int_equal(pair_feed(&p, p.buffer, n), cases[i].rc);
        assert_int_equal(p.plain_n, cases[i].rc ? 0 : cases[i].content);
        if (cases[i].rc)
            pair_failed(&p, TLS_ALERT_RECORD_OVERFLOW);
        else
            pair_hear(&p, "more");
        pair_end(&p);
    }
    free(bytes);
}

static void messages(void **state)
{
    (void)state;
    enum { UNEXPECTED = TLS_ALERT_UNEXPECTED_MESSAGE, H = PEER_HANDSHAKE };
    static const struct said cases[] = {
        {"KeyUpdate", H, {24, 0, 0, 1, 0}, 5, 0, 0},
        {"KeyUpdate, update_requested", H, {24, 0, 0, 1, 1}, 5, 0, 0},
        {"KeyUpdate, 2", H, {24, 0, 0, 1, 2}, 5, ERR_INVALID, TLS_ALERT_ILLEGAL_PARAMETER},
        {"KeyUpdate, 255", H, {24, 0, 0, 1, 255}, 5, ERR_INVALID, TLS_ALERT_ILLEGAL_PARAMETER},
        {"KeyUpdate of no bytes", H, {24, 0, 0, 0}, 4, ERR_INVALID, TLS_ALERT_DECODE_ERROR},
        {"KeyUpdate of two", H, {24, 0, 0, 2, 0, 0}, 6, ERR_INVALID, TLS_ALERT_DECODE_ERROR},
        {"KeyUpdate of 257", H, {24, 0, 1, 1}, 4, ERR_INVALID, TLS_ALERT_DECODE_ERROR},
        {"KeyUpdate of 16 MiB", H, {24, 1}, 2, ERR_INVALID, TLS_ALERT_DECODE_ERROR},
        {"two of them", H, {24, 0, 0, 1, 0, 24, 0, 0, 1, 0}, 10, ERR_INVALID, UNEXPECTED},
        {"one and a byte", H, {24, 0, 0, 1, 0, 24}, 6, ERR_INVALID, UNEXPECTED},
        {"one that is wrong, and a byte", H, {24, 0, 0, 1, 9, 0}, 6, ERR_INVALID, UNEXPECTED},
        {"nothing", H, {0}, 0, ERR_INVALID, UNEXPECTED},
        {"HelloRequest", H, {0, 0, 0, 0}, 4, ERR_INVALID, UNEXPECTED},
        {"ClientHello", H, {1, 0, 1, 0, 3, 3}, 6, ERR_INVALID, UNEXPECTED},
        {"NewSessionTicket", H, {4, 0, 0, 9}, 4, ERR_INVALID, UNEXPECTED},
        {"EndOfEarlyData", H, {5, 0, 0, 0}, 4, ERR_INVALID, UNEXPECTED},
        {"Certificate", H, {11, 0, 0, 4, 0, 0, 0, 0}, 8, ERR_INVALID, UNEXPECTED},
        {"CertificateRequest", H, {13, 0, 0, 3, 0, 0, 0}, 7, ERR_INVALID, UNEXPECTED},
        {"Finished", H, {20, 0, 0, 32}, 4, ERR_INVALID, UNEXPECTED},
        {"message_hash", H, {254}, 1, ERR_INVALID, UNEXPECTED},
    };
    check_said(cases, sizeof cases / sizeof *cases);
}

/* A KeyUpdate cut anywhere, and what may not come between its parts. */
static void messages_in_parts(void **state)
{
    (void)state;
    static const uint8_t update[] = {24, 0, 0, 1, 1};
    for (unsigned cut = 1; cut < 5; cut++) {
        struct pair p = pair_of(suite_ids[cut % SUITE_COUNT]);
        size_t n = peer_seal(&p.out, PEER_HANDSHAKE, update, cut, 0, p.buffer);
        assert_int_equal(pair_feed(&p, p.buffer, n), 0);
        assert_false(tls_records_owes(p.r));
        n = peer_seal(&p.out, PEER_HANDSHAKE, update + cut, 5 - cut, 0, p.buffer);
        assert_int_equal(pair_feed(&p, p.buffer, n), 0);
        peer_update(&p.out);
        assert_true(tls_records_owes(p.r));
        pair_hear(&p, "by the next key");
        pair_end(&p);

        static const struct said between[] = {
            {"data", PEER_DATA, {'x'}, 1, 0, 0},       {"empty data", PEER_DATA, {0}, 0, 0, 0},
            {"warning", PEER_ALERT, {1, 90}, 2, 0, 0}, {"close_notify", PEER_ALERT, {1, 0}, 2, 0, 0},
            {"nothing", PEER_HANDSHAKE, {0}, 0, 0, 0},
        };
        for (unsigned i = 0; i < sizeof between / sizeof *between; i++) {
            p = pair_of(suite_ids[i % SUITE_COUNT]);
            n = peer_seal(&p.out, PEER_HANDSHAKE, update, cut, 0, p.buffer);
            assert_int_equal(pair_feed(&p, p.buffer, n), 0);
            if (feed_said(&p, &between[i]) != ERR_INVALID)
                fail_msg("%s after %u bytes", between[i].name, cut);
            assert_int_equal(p.plain_n, 0);
            pair_failed(&p, TLS_ALERT_UNEXPECTED_MESSAGE);
            pair_end(&p);
        }
    }
}

/* --- KeyUpdate ---------------------------------------------------------------------------------------------------- */

static void client_updates(void **state)
{
    (void)state;
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++) {
        struct pair p = pair_of(suite_ids[suite]);
        for (unsigned i = 0; i < 5; i++) {
            pair_hear(&p, "before");
            assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 0, p.buffer)), 0);
            assert_false(tls_records_owes(p.r)); /* and ours is as it was */
            pair_hear(&p, "after");
            pair_say(&p, "still");
        }
        pair_end(&p);
    }
}

/* The server's KeyUpdate is the record before, asking or not; the next is under the key after it. */
static size_t expect_update(struct pair *p, size_t n, unsigned request)
{
    const uint8_t message[] = {24, 0, 0, 1, (uint8_t)request};
    size_t at = pair_expect(p, 0, n, PEER_HANDSHAKE, sizeof message);
    assert_memory_equal(p->buffer + 5, message, sizeof message);
    peer_update(&p->in);
    return at;
}

static void answered_updates(void **state)
{
    (void)state;
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++) {
        struct pair p = pair_of(suite_ids[suite]);
        /* On its own. */
        assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 1, p.buffer)), 0);
        assert_true(tls_records_owes(p.r));
        struct tls_sealed s = pair_seal(&p, NULL, 0);
        assert_int_equal(expect_update(&p, s.n, 0), s.n);
        assert_int_equal(s.n, TLS_OWED_MAX);
        assert_false(tls_records_owes(p.r));
        assert_int_equal(pair_seal(&p, NULL, 0).n, 0);
        pair_say(&p, "by the next key");
        /* Before plaintext, in one call; several that ask are answered once. */
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 1, p.buffer)), 0);
        s = pair_seal(&p, "hello", 5);
        assert_int_equal(s.taken, 5);
        size_t at = expect_update(&p, s.n, 0);
        assert_int_equal(pair_expect(&p, at, s.n, PEER_DATA, 5), s.n);
        assert_memory_equal(p.buffer + at + 5, "hello", 5);
        assert_false(tls_records_owes(p.r));
        pair_say(&p, "more");
        pair_hear(&p, "more");
        /* In the least room that there may be. */
        assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 1, p.buffer)), 0);
        struct iovec v = {(void *)(uintptr_t) "hello", 5};
        assert_int_equal(tls_records_seal(p.c, p.r, &v, 1, 0, p.buffer, TLS_SEAL_MIN, &s), 0);
        assert_int_equal(s.taken, 1);
        at = expect_update(&p, s.n, 0);
        assert_int_equal(pair_expect(&p, at, s.n, PEER_DATA, 1), s.n);
        pair_end(&p);
    }
}

/* --- Alerts ------------------------------------------------------------------------------------------------------- */

static void alerts(void **state)
{
    (void)state;
    enum { A = PEER_ALERT };
    static const struct said cases[] = {
        {"close_notify", A, {1, 0}, 2, ERR_CLOSED, 0},
        {"close_notify, fatal", A, {2, 0}, 2, ERR_CLOSED, 0},
        {"user_canceled", A, {1, 90}, 2, 0, 0},
        {"user_canceled, fatal", A, {2, 90}, 2, 0, 0},
        {"nothing", A, {0}, 0, ERR_INVALID, TLS_ALERT_UNEXPECTED_MESSAGE},
        {"half", A, {1}, 1, ERR_INVALID, TLS_ALERT_DECODE_ERROR},
        {"and a byte", A, {1, 0, 0}, 3, ERR_INVALID, TLS_ALERT_DECODE_ERROR},
        {"two", A, {1, 90, 1, 0}, 4, ERR_INVALID, TLS_ALERT_DECODE_ERROR},
    };
    check_said(cases, sizeof cases / sizeof *cases);
}

/* Every other one ends it, whatever it says of itself, and nothing is answered. */
static void fatal_alerts(void **state)
{
    (void)state;
    for (unsigned alert = 1; alert < 256; alert++) {
        if (alert == 90)
            continue;
        struct pair p = pair_of(0x1301);
        struct tls_sealed s;
        struct iovec v = {(void *)(uintptr_t) "late", 4};
        const struct said said = {"alert", PEER_ALERT, {(uint8_t)(alert % 4), (uint8_t)alert}, 2, ERR_IO, alert};
        assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 1, p.buffer)), 0);
        assert_int_equal(feed_said(&p, &said), ERR_IO);
        assert_int_equal(tls_records_alert(p.r), alert);
        assert_false(tls_records_owes(p.r));
        for (size_t i = 0; i < tls_records_size(p.r) - sizeof *p.r; i++)
            assert_int_equal(p.r->keys[i], 0);
        assert_int_equal(tls_records_seal(p.c, p.r, &v, 1, 0, p.buffer, TLS_SEAL_ROOM, &s), ERR_CLOSED);
        assert_int_equal(s.n + s.taken, 0);
        tls_records_close(p.r);
        assert_false(tls_records_owes(p.r));
        size_t n = peer_seal(&p.out, PEER_DATA, "late", 4, 0, p.buffer);
        assert_int_equal(pair_feed(&p, p.buffer, n), ERR_IO);
        assert_int_equal(p.plain_n, 0);
        assert_int_equal(tls_records_alert(p.r), alert);
        pair_end(&p);
    }
}

/* After close_notify nothing is read, right or wrong, and all may still be said. */
static void client_closes(void **state)
{
    (void)state;
    struct pair p = pair_of(0x1302);
    uint8_t bytes[200];
    size_t n = peer_seal(&p.out, PEER_DATA, "last", 4, 0, bytes);
    n += peer_seal(&p.out, PEER_ALERT, "\1\0", 2, 0, bytes + n);
    n += peer_seal(&p.out, PEER_DATA, "late", 4, 0, bytes + n);
    assert_int_equal(pair_feed(&p, bytes, n), ERR_CLOSED);
    assert_int_equal(p.plain_n, 4);
    assert_int_equal(pair_feed(&p, bytes, n), ERR_CLOSED);
    assert_int_equal(pair_feed(&p, "rubbish", 7), ERR_CLOSED);
    assert_int_equal(p.plain_n, 4);
    assert_false(tls_records_owes(p.r));
    pair_say(&p, "goodbye");
    tls_records_close(p.r);
    struct tls_sealed s = pair_seal(&p, NULL, 0);
    assert_int_equal(pair_expect(&p, 0, s.n, PEER_ALERT, 2), s.n);
    assert_memory_equal(p.buffer + 5, "\1\0", 2);
    assert_int_equal(pair_feed(&p, bytes, n), ERR_CLOSED);
    pair_end(&p);
}

/* close_notify of ours is the last that is said; what comes is still read, and not answered. */
static void server_closes(void **state)
{
    (void)state;
    struct pair p = pair_of(0x1303);
    struct tls_sealed s;
    struct iovec v = {(void *)(uintptr_t) "late", 4};
    pair_say(&p, "hello");
    assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 1, p.buffer)), 0);
    tls_records_close(p.r);
    tls_records_close(p.r);
    assert_true(tls_records_owes(p.r));
    assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 1, p.buffer)), 0);
    assert_int_equal(tls_records_seal(p.c, p.r, &v, 1, 0, p.buffer, TLS_SEAL_MIN, &s), 0);
    assert_int_equal(s.taken, 0);
    assert_int_equal(pair_expect(&p, 0, s.n, PEER_ALERT, 2), s.n);
    assert_memory_equal(p.buffer + 5, "\1\0", 2);
    assert_int_equal(tls_records_seal(p.c, p.r, &v, 1, 0, p.buffer, TLS_SEAL_MIN, &s), ERR_CLOSED);
    assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 1, p.buffer)), 0);
    assert_false(tls_records_owes(p.r));
    tls_records_close(p.r);
    assert_false(tls_records_owes(p.r));
    pair_hear(&p, "still read");
    /* What is wrong now has no alert: after close_notify there is none. */
    assert_int_equal(pair_feed(&p, "rubbish", 7), ERR_INVALID);
    assert_int_equal(tls_records_alert(p.r), TLS_ALERT_UNEXPECTED_MESSAGE);
    assert_false(tls_records_owes(p.r));
    assert_int_equal(tls_records_seal(p.c, p.r, NULL, 0, 0, p.buffer, TLS_SEAL_MIN, &s), ERR_CLOSED);
    pair_end(&p);
}

/* What is wrong before close_notify is sealed takes its place. */
static void fails_while_closing(void **state)
{
    (void)state;
    struct pair p = pair_of(0x1301);
    tls_records_close(p.r);
    assert_int_equal(pair_feed(&p, "rubbish", 7), ERR_INVALID);
    pair_failed(&p, TLS_ALERT_UNEXPECTED_MESSAGE);
    tls_records_close(p.r);
    assert_false(tls_records_owes(p.r));
    pair_end(&p);

    p = pair_of(0x1301);
    assert_int_equal(pair_feed(&p, "rubbish", 7), ERR_INVALID);
    tls_records_close(p.r); /* the alert stays */
    pair_failed(&p, TLS_ALERT_UNEXPECTED_MESSAGE);
    pair_end(&p);
}

/* --- Limits ------------------------------------------------------------------------------------------------------- */

/* A record that brings nothing: no data, KeyUpdates whole and byte by byte, warnings, and all of these in turns. */
static int feed_useless(struct pair *p, unsigned kind, unsigned turn)
{
    static const uint8_t warning[] = {1, 90}, update[] = {24, 0, 0, 1, 0};
    unsigned part = p->r->part;
    size_t n = 0;
    if (kind == 4)
        kind = turn % 3;
    if (kind == 0)
        n = peer_seal(&p->out, PEER_DATA, "", 0, 100, p->buffer);
    else if (kind == 1)
        n = peer_seal_update(&p->out, 1, p->buffer);
    else if (kind == 2)
        n = peer_seal(&p->out, PEER_ALERT, warning, 2, 0, p->buffer);
    else
        n = peer_seal(&p->out, PEER_HANDSHAKE, update + part, 1, 0, p->buffer);
    if (kind == 3 && part == 4)
        peer_update(&p->out);
    return pair_feed(p, p->buffer, n);
}

static void floods(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 5; kind++) {
        struct pair p = pair_of(suite_ids[kind % SUITE_COUNT]);
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned i = 0; i < 30; i++) /* six KeyUpdates in parts */
                assert_int_equal(feed_useless(&p, kind, i), 0);
            pair_hear(&p, "something"); /* which makes up for them */
        }
        for (unsigned i = 0; i < TLS_USELESS_MAX; i++)
            assert_int_equal(feed_useless(&p, kind, i), 0);
        assert_int_equal(feed_useless(&p, kind, TLS_USELESS_MAX), ERR_INVALID);
        pair_failed(&p, TLS_ALERT_UNEXPECTED_MESSAGE);
        pair_end(&p);
    }
}

/* Our key is replaced before its limit, in the middle of what is to be said, too. */
static void own_limit(void **state)
{
    (void)state;
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++) {
        struct pair p = pair_of(suite_ids[suite]);
        static uint8_t bytes[3 * TLS_PLAIN_MAX];
        struct iovec v = {bytes, sizeof bytes};
        struct tls_sealed s;
        p.r->way[WRITE].seq = TLS_UPDATE_AFTER - 2;
        p.in.seq = TLS_UPDATE_AFTER - 2;
        assert_int_equal(tls_records_seal(p.c, p.r, &v, 1, 0, p.buffer, BUFFER, &s), 0);
        assert_int_equal(s.taken, 2 * TLS_PLAIN_MAX); /* as many as the key has left */
        size_t at = pair_expect(&p, 0, s.n, PEER_DATA, TLS_PLAIN_MAX);
        assert_int_equal(pair_expect(&p, at, s.n, PEER_DATA, TLS_PLAIN_MAX), s.n);
        assert_int_equal(tls_records_seal(p.c, p.r, &v, 1, s.taken, p.buffer, BUFFER, &s), 0);
        assert_int_equal(s.taken, TLS_PLAIN_MAX);
        at = expect_update(&p, s.n, 0);
        assert_int_equal(pair_expect(&p, at, s.n, PEER_DATA, TLS_PLAIN_MAX), s.n);
        assert_int_equal(p.r->way[WRITE].seq, 1);
        pair_say(&p, "on");
        pair_end(&p);
    }
}

/* A worn-out key still says goodbye. */
static void own_limit_at_the_end(void **state)
{
    (void)state;
    for (unsigned fails = 0; fails < 2; fails++) {
        struct pair p = pair_of(0x1301);
        p.r->way[WRITE].seq = TLS_UPDATE_AFTER;
        p.in.seq = TLS_UPDATE_AFTER;
        if (fails) {
            assert_int_equal(pair_feed(&p, "rubbish", 7), ERR_INVALID);
            pair_failed(&p, TLS_ALERT_UNEXPECTED_MESSAGE);
        } else {
            tls_records_close(p.r);
            struct tls_sealed s = pair_seal(&p, NULL, 0);
            assert_int_equal(pair_expect(&p, 0, s.n, PEER_ALERT, 2), s.n);
        }
        pair_end(&p);
    }
}

static void client_seq(struct pair *p, uint32_t seq)
{
    p->r->way[READ].seq = seq;
    p->out.seq = seq;
}

/* The client is asked for another key in time, once for each; who goes on with the old one is refused. */
static void client_limit(void **state)
{
    (void)state;
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++) {
        struct pair p = pair_of(suite_ids[suite]);
        for (unsigned i = 0; i < 2; i++) {
            client_seq(&p, TLS_UPDATE_AFTER - 1);
            pair_hear(&p, "the last that is in order");
            assert_false(tls_records_owes(p.r));
            pair_hear(&p, "one too many");
            assert_true(tls_records_owes(p.r));
            struct tls_sealed s = pair_seal(&p, NULL, 0);
            assert_int_equal(expect_update(&p, s.n, 1), s.n);
            pair_say(&p, "by the next key");
            pair_hear(&p, "not yet");
            assert_false(tls_records_owes(p.r));
            assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 0, p.buffer)), 0);
            assert_false(tls_records_owes(p.r));
            pair_hear(&p, "by the next key");
        }
        client_seq(&p, TLS_REFUSE_AFTER - 1);
        pair_hear(&p, "the very last");
        size_t n = peer_seal(&p.out, PEER_DATA, "over", 4, 0, p.buffer), plain = p.plain_n;
        assert_int_equal(pair_feed(&p, p.buffer, n), ERR_INVALID);
        assert_int_equal(p.plain_n, plain);
        pair_failed(&p, TLS_ALERT_UNEXPECTED_MESSAGE);
        pair_end(&p);
    }
}

/* While closing nobody is asked any more, but the limit stays. */
static void client_limit_while_closing(void **state)
{
    (void)state;
    struct pair p = pair_of(0x1301);
    tls_records_close(p.r);
    struct tls_sealed s = pair_seal(&p, NULL, 0);
    assert_int_equal(pair_expect(&p, 0, s.n, PEER_ALERT, 2), s.n);
    client_seq(&p, TLS_UPDATE_AFTER);
    pair_hear(&p, "a lot");
    assert_false(tls_records_owes(p.r));
    client_seq(&p, TLS_REFUSE_AFTER);
    size_t n = peer_seal(&p.out, PEER_DATA, "over", 4, 0, p.buffer);
    assert_int_equal(pair_feed(&p, p.buffer, n), ERR_INVALID);
    pair_end(&p);
}

/* --- An OpenSSL that fails ---------------------------------------------------------------------------------------- */

static void failing_seal(void **state)
{
    (void)state;
    struct pair p = pair_of(0x1301);
    struct iovec v = {(void *)(uintptr_t) "hello", 5};
    struct tls_sealed s;
    static const uint8_t zeros[TLS_SEAL_ROOM];
    assert_int_equal(EVP_CIPHER_CTX_reset(p.c->seal[0]), 1);
    assert_int_equal(tls_records_seal(p.c, p.r, &v, 1, 0, p.buffer, TLS_SEAL_ROOM, &s), ERR_IO);
    assert_int_equal(s.n + s.taken, 0);
    assert_memory_equal(p.buffer, zeros, TLS_SEAL_ROOM); /* no plaintext that somebody might send */
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(tls_records_alert(p.r), TLS_ALERT_INTERNAL_ERROR);
    assert_false(tls_records_owes(p.r));
    assert_int_equal(tls_records_seal(p.c, p.r, &v, 1, 0, p.buffer, TLS_SEAL_ROOM, &s), ERR_CLOSED);
    assert_int_equal(pair_feed(&p, p.buffer, 0), ERR_INVALID);
    pair_end(&p);
}

static EVP_MAC_CTX *broken_hmac(void)
{
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *x = EVP_MAC_CTX_new(hmac); /* without a hash */
    EVP_MAC_free(hmac);
    assert_non_null(x);
    return x;
}

static void failing_keys(void **state)
{
    (void)state;
    struct pair p = pair_of(0x1301);
    struct tls_sealed s;
    assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 1, p.buffer)), 0);
    EVP_MAC_CTX_free(p.c->hmac[0]);
    p.c->hmac[0] = broken_hmac();
    assert_int_equal(tls_records_seal(p.c, p.r, NULL, 0, 0, p.buffer, TLS_SEAL_ROOM, &s), ERR_IO);
    assert_int_equal(s.n, 0);
    assert_int_equal(tls_records_alert(p.r), TLS_ALERT_INTERNAL_ERROR);
    pair_end(&p);

    p = pair_of(0x1301);
    EVP_MAC_CTX_free(p.c->hmac[0]);
    p.c->hmac[0] = broken_hmac();
    assert_int_equal(pair_feed(&p, p.buffer, peer_seal_update(&p.out, 1, p.buffer)), ERR_INVALID);
    assert_int_equal(ERR_peek_error(), 0);
    pair_failed(&p, TLS_ALERT_INTERNAL_ERROR);
    struct tls_secrets secrets = some_secrets(0x1301);
    assert_null(tls_records_new(p.c, 0x1301, &secrets, 0));
    assert_int_equal(ERR_peek_error(), 0);
    pair_end(&p);
}

/* A suite that OpenSSL does not provide is none of ours; the others are. */
static void missing_suite(void **state)
{
    (void)state;
    struct tls_crypto *c = tls_crypto_new();
    assert_non_null(c);
    EVP_CIPHER_CTX_free(c->open[2]);
    c->open[2] = NULL;
    struct tls_secrets s = some_secrets(0x1303);
    assert_null(tls_records_new(c, 0x1303, &s, 0));
    s = some_secrets(0x1301);
    struct tls_records *r = tls_records_new(c, 0x1301, &s, 0);
    assert_non_null(r);
    tls_records_free(r);
    tls_crypto_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_types),
        cmocka_unit_test(no_content_type),
        cmocka_unit_test(padding),
        cmocka_unit_test(messages),
        cmocka_unit_test(messages_in_parts),
        cmocka_unit_test(client_updates),
        cmocka_unit_test(answered_updates),
        cmocka_unit_test(alerts),
        cmocka_unit_test(fatal_alerts),
        cmocka_unit_test(client_closes),
        cmocka_unit_test(server_closes),
        cmocka_unit_test(fails_while_closing),
        cmocka_unit_test(floods),
        cmocka_unit_test(own_limit),
        cmocka_unit_test(own_limit_at_the_end),
        cmocka_unit_test(client_limit),
        cmocka_unit_test(client_limit_while_closing),
        cmocka_unit_test(failing_seal),
        cmocka_unit_test(failing_keys),
        cmocka_unit_test(missing_suite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
