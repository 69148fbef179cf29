#include "core/net/tls/handshake.h"

#include "core/base/log.h"
#include "core/net/tls/context.h"
#include "core/net/tls/hello.h"
#include "core/net/tls/rows.h"
#include "core/net/tls/tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct tls_shaking {
    struct tls_told told;        /* what OpenSSL's callbacks find; must be first */
    SSL *ssl;                    /* owned; NULL: handed on */
    struct tls_context *context; /* a reference */
    struct tls_secrets secrets;  /* as far as they are known */
};

static void refused(struct tls_rows *rows, const char *because)
{
    tls_count(rows->tls, TLS_COUNT_FAILED);
    log_event(LOG_DEBUG, "tls.refused", LOG_STR("because", because));
}

void tls_shaking_free(struct tls_shaking *s)
{
    if (!s)
        return;
    tls_secrets_wipe(&s->secrets);
    SSL_free(s->ssl);
    tls_context_unref(s->context);
    free(s);
}

/* --- The first bytes ---------------------------------------------------------------------------------------------- */

static const char http_answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                  "X-Content-Type-Options: nosniff\r\nContent-Length: 44\r\nConnection: close\r\n\r\n"
                                  "this port speaks TLS: use https:// or wss://";
/* A fatal alert in the clear, as TLS begins: unexpected_message. */
static const uint8_t alert[] = {21, 3, 1, 0, 2, 2, 10};

/* What the bytes mean that have come so far. As stream.hear(). */
static int hear_hello(struct tls_rows *rows, struct tls_state *s, int fd)
{
    switch (hello_look(s->hold->data, s->hold->n)) {
    case HELLO_MORE:
        return ERR_AGAIN;
    case HELLO_WHOLE:
        return 0;
    case HELLO_HTTP:
        refused(rows, "plain HTTP on a port of TLS");
        (void)tls_send_now(s, fd, (const uint8_t *)http_answer, sizeof http_answer - 1);
        return ERR_CLOSED;
    case HELLO_OTHER:
        refused(rows, "no TLS on a port of TLS");
        break;
    case HELLO_LONG:
        refused(rows, "the ClientHello is too long, or in too many pieces");
        break;
    }
    (void)tls_send_now(s, fd, alert, sizeof alert);
    return ERR_CLOSED;
}

int tls_hear(struct tls_rows *rows, int fd)
{
    struct tls_table *t = tls_states(rows->tls);
    struct tls_state *s = tls_table_get(t, fd);
    ssize_t n = recv(fd, rows->raw, HELLO_MAX, 0);
    if (n <= 0) {
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return ERR_AGAIN;
        refused(rows, "the other side went away in the handshake");
        return ERR_CLOSED;
    }
    if (!s && !(s = tls_table_add(t, fd)))
        return ERR_CLOSED;
    if (tls_hold_append(s, rows->raw, (size_t)n) != 0)
        return ERR_CLOSED;
    if (s->phase == TLS_HELLO)
        return hear_hello(rows, s, fd);
    if (hello_record(s->hold->data, s->hold->n))
        return 0;
    if (s->hold->n < HELLO_MAX)
        return ERR_AGAIN;
    refused(rows, "a record of the handshake is too long");
    return ERR_CLOSED;
}

/* --- Steps -------------------------------------------------------------------------------------------------------- */

static void on_line(struct tls_told *told, const char *line)
{
    (void)!tls_secrets_line(&((struct tls_shaking *)told)->secrets, line);
}

/* From held bytes to a handshake of OpenSSL. */
static bool begin(struct tls_rows *rows, struct tls_state *s, bool web)
{
    struct tls_shaking *k = calloc(1, sizeof *k);
    BIO *bio = k ? tls_bio_new(rows->method, &rows->io) : NULL;
    if (bio) {
        k->told.web = web;
        k->context = tls_context_of(rows->tls);
        if (tls_context_own_records(k->context))
            k->told.line = on_line;
        k->ssl = tls_context_ssl(k->context, &k->told);
    }
    if (!bio || !k->ssl) {
        BIO_free(bio);
        tls_shaking_free(k);
        return false;
    }
    SSL_set_bio(k->ssl, bio, bio);
    s->shaking = k;
    s->phase = TLS_SHAKING;
    return true;
}

static size_t whole_records(const uint8_t *p, size_t n)
{
    size_t at = 0;
    for (size_t size; (size = hello_record(p + at, n - at)) != 0;)
        at += size;
    return at;
}

/* Records in the last flight: the session tickets, if any were sent. */
static uint32_t count_records(const uint8_t *p, size_t n)
{
    uint32_t count = 0;
    for (size_t at = 0, size; (size = hello_record(p + at, n - at)) != 0; at += size)
        count++;
    return count;
}

/* Both sides agree. What is kept from now on is our own record layer's state, or the SSL object on a BIO of the
 * thread. */
static int finish(struct tls_rows *rows, struct tls_state *s, int fd)
{
    struct tls_shaking *k = s->shaking;
    SSL *ssl = k->ssl;
    bool modern = SSL_version(ssl) == TLS1_3_VERSION, own = false;
    tls_count(rows->tls, SSL_session_reused(ssl) ? TLS_COUNT_RESUMED : TLS_COUNT_FULL);
    tls_count(rows->tls, modern ? TLS_COUNT_13 : TLS_COUNT_12);
    if (modern && k->told.line && !SSL_has_pending(ssl)) {
        unsigned suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl));
        size_t room = tls_records_room(suite);
        struct tls_state *wide = room ? tls_table_widen(tls_states(rows->tls), fd, room) : NULL;
        s = wide ? wide : s;
        own = wide && tls_records_begin(rows->crypto, suite, &k->secrets, count_records(rows->out, rows->io.out_n),
                                        (struct tls_records *)(void *)(wide + 1));
    }
    if (!own) {
        SSL_set_app_data(ssl, NULL);
        BIO_up_ref(rows->bio);
        SSL_set_bio(ssl, rows->bio, rows->bio);
        k->ssl = NULL;
    }
    tls_shaking_free(k);
    if (own) {
        s->phase = TLS_OWN;
        s->records = (struct tls_records *)(void *)(s + 1);
    } else {
        s->phase = TLS_KEPT;
        s->ssl = ssl;
    }
    return 0;
}

static int failed(struct tls_rows *rows, int error)
{
    unsigned long e = ERR_peek_error();
    const char *why = e ? ERR_reason_error_string(e) : NULL;
    refused(rows, why ? why : error == SSL_ERROR_ZERO_RETURN ? "the other side ended it" : "the handshake failed");
    ERR_clear_error();
    return ERR_CLOSED;
}

int tls_step(struct tls_rows *rows, int fd, bool web)
{
    struct tls_state *s = tls_table_get(tls_states(rows->tls), fd);
    if (!s || !s->hold || (s->phase == TLS_HELLO && !begin(rows, s, web)))
        return ERR_CLOSED;
    /* Whole records only: of half of one OpenSSL would keep what it has read, and we not know where the next begins. */
    size_t whole = whole_records(s->hold->data, s->hold->n);
    rows->io = (struct tls_io){.in = s->hold->data, .in_n = whole, .out = rows->out, .out_room = sizeof rows->out};
    SSL *ssl = s->shaking->ssl;
    ERR_clear_error();
    int rc = SSL_do_handshake(ssl), error = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, rc);
    bool sent = tls_send_now(s, fd, rows->out, rows->io.out_n);
    if ((rc != 1 && error != SSL_ERROR_WANT_READ) || rows->io.overflow)
        return failed(rows, error);
    if (!sent) {
        refused(rows, "the other side does not read");
        return ERR_CLOSED;
    }
    if (tls_hold_set(s, NULL, 0, rows->io.in, s->hold->n - whole + rows->io.in_n) != 0)
        return ERR_CLOSED;
    return rc == 1 ? finish(rows, s, fd) : ERR_AGAIN;
}
