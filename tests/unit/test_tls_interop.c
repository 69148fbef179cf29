/* The record layer of TLS 1.3 behind a handshake of OpenSSL's, with OpenSSL's client on the other side, in memory. */
#include "tests/unit/tls_pair.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

/* A client, and the server's side of it: a handshake first, then records. */
struct link {
    SSL_CTX *server_context, *client_context;
    SSL *client;
    struct tls_secrets secrets;
    struct pair p; /* its buffers and what the server reads; the client's ways are OpenSSL's */
    bool resumed;
};

static int link_index;

static void keylog(const SSL *ssl, const char *line)
{
    int rc = tls_secrets_line(SSL_get_ex_data(ssl, link_index), line);
    assert_true(rc == 0 || rc == ERR_NOTFOUND);
}

static SSL_CTX *server_context(unsigned tickets)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_true(context && key && x);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(context, x), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    assert_int_equal(SSL_CTX_set_num_tickets(context, tickets), 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_keylog_callback(context, keylog);
    X509_free(x);
    EVP_PKEY_free(key);
    return context;
}

static const char *const suite_names[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                          "TLS_CHACHA20_POLY1305_SHA256"};

/* What OpenSSL wants to send, to `to`. */
static size_t drain(SSL *ssl, uint8_t *to, size_t room)
{
    int n = BIO_read(SSL_get_wbio(ssl), to, (int)room);
    return n > 0 ? (size_t)n : 0;
}

static void move(struct link *l, SSL *from, SSL *to)
{
    size_t n = drain(from, l->p.buffer, BUFFER);
    assert_int_equal(n ? BIO_write(SSL_get_rbio(to), l->p.buffer, (int)n) : 0, n);
}

static SSL *new_end(SSL_CTX *context)
{
    SSL *ssl = SSL_new(context);
    assert_non_null(ssl);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    return ssl;
}

/* Handshake, and from then on records of ours. early: what the client sends in the same flight as its Finished. */
static void link_connect(struct link *l, unsigned suite, unsigned tickets, SSL_SESSION *session, const char *early)
{
    SSL *server = new_end(l->server_context);
    l->client = new_end(l->client_context);
    l->p = pair_of(suite_ids[suite]);
    SSL_set_ex_data(server, link_index, &l->secrets);
    SSL_set_accept_state(server);
    SSL_set_connect_state(l->client);
    assert_int_equal(SSL_set_ciphersuites(l->client, suite_names[suite]), 1);
    if (session)
        SSL_set_session(l->client, session);
    assert_int_equal(SSL_do_handshake(l->client), -1);
    move(l, l->client, server);
    assert_int_equal(SSL_do_handshake(server), -1);
    move(l, server, l->client);
    assert_int_equal(SSL_do_handshake(l->client), 1);
    if (early)
        assert_int_equal(SSL_write(l->client, early, (int)strlen(early)), (int)strlen(early));
    move(l, l->client, server);
    assert_int_equal(SSL_do_handshake(server), 1);
    l->resumed = SSL_session_reused(server);
    unsigned id = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(server));
    assert_int_equal(id, suite_ids[suite]);
    tls_records_free(l->p.r);
    l->p.r = tls_records_new(l->p.c, id, &l->secrets, tickets);
    assert_non_null(l->p.r);
    move(l, server, l->client); /* the tickets */
    size_t left = (size_t)BIO_read(SSL_get_rbio(server), l->p.buffer, BUFFER);
    SSL_free(server);
    if (early) {
        assert_int_equal(pair_feed(&l->p, l->p.buffer, left), 0);
        assert_int_equal(l->p.plain_n, strlen(early));
        assert_memory_equal(l->p.plain, early, l->p.plain_n);
        l->p.plain_n = 0;
    }
}

static struct link link_of(unsigned suite, unsigned tickets)
{
    struct link l = {.server_context = server_context(tickets), .client_context = SSL_CTX_new(TLS_client_method())};
    assert_non_null(l.client_context);
    SSL_CTX_set_min_proto_version(l.client_context, TLS1_3_VERSION);
    link_connect(&l, suite, tickets, NULL, NULL);
    return l;
}

static void disconnect(struct link *l)
{
    pair_end(&l->p);
    SSL_set_shutdown(l->client, SSL_SENT_SHUTDOWN); /* or its session is not to be resumed */
    SSL_free(l->client);
}

static void link_end(struct link *l)
{
    disconnect(l);
    SSL_CTX_free(l->server_context);
    SSL_CTX_free(l->client_context);
    ERR_clear_error();
}

/* What the client has to send goes to the server's records, in pieces of so many bytes. */
static int client_flush(struct link *l, size_t piece)
{
    int rc = 0;
    for (size_t n; (n = drain(l->client, l->p.buffer, piece)) > 0;) {
        uint8_t *bytes = malloc(n);
        assert_non_null(bytes);
        memcpy(bytes, l->p.buffer, n);
        rc = pair_feed(&l->p, bytes, n);
        free(bytes);
    }
    return rc;
}

static void client_says(struct link *l, const void *bytes, size_t n, size_t piece)
{
    size_t before = l->p.plain_n;
    assert_int_equal(SSL_write(l->client, bytes, (int)n), (int)n);
    assert_int_equal(client_flush(l, piece), 0);
    assert_int_equal(l->p.plain_n - before, n);
    assert_memory_equal(l->p.plain + before, bytes, n);
    l->p.plain_n = 0;
}

static void to_client(struct link *l, size_t n)
{
    assert_int_equal(BIO_write(SSL_get_rbio(l->client), l->p.buffer, (int)n), (int)n);
}

static void server_says(struct link *l, const uint8_t *bytes, size_t n)
{
    uint8_t *got = malloc(n);
    struct iovec v = {(void *)(uintptr_t)bytes, n};
    assert_non_null(got);
    for (size_t at = 0; at < n;) {
        struct tls_sealed s;
        assert_int_equal(tls_records_seal(l->p.c, l->p.r, &v, 1, at, l->p.buffer, TLS_SEAL_ROOM, &s), 0);
        to_client(l, s.n);
        at += s.taken;
    }
    for (size_t at = 0; at < n;) {
        int part = SSL_read(l->client, got + at, (int)(n - at));
        assert_true(part > 0);
        at += (size_t)part;
    }
    assert_memory_equal(got, bytes, n);
    free(got);
}

/* Whatever the server owes. */
static void server_pays(struct link *l)
{
    assert_true(tls_records_owes(l->p.r));
    to_client(l, pair_seal(&l->p, NULL, 0).n);
    assert_false(tls_records_owes(l->p.r));
}

static void talk(struct link *l)
{
    client_says(l, "hello", 5, 4096);
    server_says(l, (const uint8_t *)"hello yourself", 14);
    client_says(l, "in bytes", 8, 1);
}

/* All suites, as many tickets as there may be; data right behind Finished. */
static void handshakes(void **state)
{
    (void)state;
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++)
        for (unsigned tickets = 0; tickets < 4; tickets++) {
            struct link l = link_of(suite, tickets);
            assert_false(l.resumed);
            talk(&l);
            disconnect(&l);
            link_connect(&l, suite, tickets, NULL, "right behind Finished");
            talk(&l);
            link_end(&l);
        }
}

static SSL_SESSION *kept_session;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(kept_session);
    kept_session = session;
    return 1;
}

/* A resumed session: one ticket is sent again, however many there were. */
static void resumption(void **state)
{
    (void)state;
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++)
        for (unsigned tickets = 1; tickets < 3; tickets++) {
            struct link l = link_of(suite, tickets);
            SSL_CTX_set_session_cache_mode(l.client_context, SSL_SESS_CACHE_CLIENT);
            SSL_CTX_sess_set_new_cb(l.client_context, keep_session);
            talk(&l);
            assert_non_null(kept_session);
            disconnect(&l);
            link_connect(&l, suite, 1, kept_session, NULL);
            assert_true(l.resumed);
            talk(&l);
            link_end(&l);
            SSL_SESSION_free(kept_session);
            kept_session = NULL;
        }
}

static void much(void **state)
{
    (void)state;
    enum { SIZE = 200000 };
    static uint8_t bytes[SIZE];
    for (unsigned i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 255);
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++) {
        struct link l = link_of(suite, 1);
        client_says(&l, bytes, SIZE, 1460);
        server_says(&l, bytes, SIZE);
        client_says(&l, bytes, SIZE, BUFFER);
        server_says(&l, bytes, 16384);
        server_says(&l, bytes, 16385);
        link_end(&l);
    }
}

/* The client pads, which tells nothing but the record's size. */
static void padded(void **state)
{
    (void)state;
    struct link l = link_of(0, 1);
    assert_int_equal(SSL_set_block_padding(l.client, 512), 1);
    talk(&l);
    link_end(&l);
}

static void key_updates(void **state)
{
    (void)state;
    for (unsigned suite = 0; suite < SUITE_COUNT; suite++) {
        struct link l = link_of(suite, 2);
        for (unsigned i = 0; i < 3; i++) {
            /* The client's, without a wish. */
            assert_int_equal(SSL_key_update(l.client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
            talk(&l);
            assert_false(tls_records_owes(l.p.r));
            /* With one, answered on its own or before what is said next. */
            assert_int_equal(SSL_key_update(l.client, SSL_KEY_UPDATE_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(l.client), 1);
            assert_int_equal(client_flush(&l, 3), 0);
            if (i == 1)
                server_pays(&l);
            server_says(&l, (const uint8_t *)"by a new key", 12);
            assert_false(tls_records_owes(l.p.r));
            talk(&l);
            /* Ours, as at the limit. */
            l.p.r->owes |= 3;
            server_pays(&l);
            server_says(&l, (const uint8_t *)"by a new key", 12);
            talk(&l); /* the client's answer comes before it */
            assert_int_equal(l.p.r->way[0].seq, 2);
        }
        link_end(&l);
    }
}

/* SSL_shutdown() both ways. */
static void clean_ends(void **state)
{
    (void)state;
    struct link l = link_of(1, 1);
    char byte;
    assert_int_equal(SSL_shutdown(l.client), 0);
    assert_int_equal(client_flush(&l, 1), ERR_CLOSED);
    assert_int_equal(SSL_read(l.client, &byte, 1), -1);
    to_client(&l, pair_seal(&l.p, "last", 4).n); /* the other half still works */
    char last[4];
    assert_int_equal(SSL_read(l.client, last, 4), 4);
    tls_records_close(l.p.r);
    server_pays(&l);
    assert_int_equal(SSL_read(l.client, &byte, 1), 0);
    assert_int_equal(SSL_get_error(l.client, 0), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(SSL_shutdown(l.client), 1);
    link_end(&l);

    l = link_of(1, 1); /* ours first */
    tls_records_close(l.p.r);
    server_pays(&l);
    assert_int_equal(SSL_read(l.client, &byte, 1), 0);
    assert_int_equal(SSL_get_error(l.client, 0), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(SSL_shutdown(l.client), 1);
    assert_int_equal(client_flush(&l, 7), ERR_CLOSED);
    link_end(&l);
}

/* Who refuses tells why, both ways. */
static void refusals(void **state)
{
    (void)state;
    char byte;
    struct link l = link_of(0, 1);
    assert_int_equal(SSL_write(l.client, "hello", 5), 5);
    size_t n = drain(l.client, l.p.buffer, BUFFER);
    l.p.buffer[n - 1] ^= 1;
    assert_int_equal(pair_feed(&l.p, l.p.buffer, n), ERR_INVALID);
    server_pays(&l);
    assert_int_equal(SSL_get_error(l.client, SSL_read(l.client, &byte, 1)), SSL_ERROR_SSL);
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    link_end(&l);

    l = link_of(2, 1);
    struct tls_sealed s = pair_seal(&l.p, "hello", 5);
    l.p.buffer[s.n - 1] ^= 1;
    to_client(&l, s.n);
    assert_int_equal(SSL_get_error(l.client, SSL_read(l.client, &byte, 1)), SSL_ERROR_SSL);
    assert_int_equal(client_flush(&l, 4096), ERR_IO);
    assert_int_equal(tls_records_alert(l.p.r), TLS_ALERT_BAD_RECORD_MAC);
    link_end(&l);
}

static int find_index(void **state)
{
    (void)state;
    link_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return link_index < 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshakes), cmocka_unit_test(resumption),  cmocka_unit_test(much),
        cmocka_unit_test(padded),     cmocka_unit_test(key_updates), cmocka_unit_test(clean_ends),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, find_index, NULL);
}
