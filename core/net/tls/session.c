#include "core/net/tls/session.h"

#include "core/net/tls/context.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls_session {
    SSL *ssl;      /* owned */
    bool room;     /* the last call waits for room in the socket */
    bool failed;   /* nothing may be said any more */
    char why[128]; /* after a failure */
};

struct tls_session *tls_session_new(struct tls_context *c, int fd)
{
    struct tls_session *s = calloc(1, sizeof *s);
    if (s)
        s->ssl = tls_context_ssl(c, NULL);
    if (s && s->ssl && SSL_set_fd(s->ssl, fd) == 1)
        return s;
    tls_session_free(s);
    return NULL;
}

/* What a call of OpenSSL gave, as recv(2) and send(2) would say it. */
static ssize_t result(struct tls_session *s, int rc)
{
    int error = rc > 0 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, rc);
    unsigned long e;
    s->room = error == SSL_ERROR_WANT_WRITE;
    switch (error) {
    case SSL_ERROR_NONE:
        return rc;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        s->failed = true;
        e = ERR_peek_error();
        const char *text = e ? ERR_reason_error_string(e) : NULL;
        snprintf(s->why, sizeof s->why, "%s", text ? text : "the other side went away");
        ERR_clear_error();
        errno = EPROTO;
        return -1;
    }
}

ssize_t tls_session_recv(struct tls_session *s, void *p, size_t n)
{
    ERR_clear_error();
    return result(s, SSL_read(s->ssl, p, n < INT_MAX ? (int)n : INT_MAX));
}

ssize_t tls_session_send(struct tls_session *s, const void *p, size_t n)
{
    enum { PIECE = 16384 }; /* a record: what is repeated after a full socket */
    ERR_clear_error();
    return result(s, SSL_write(s->ssl, p, n < PIECE ? (int)n : PIECE));
}

bool tls_session_ready(const struct tls_session *s)
{
    return SSL_is_init_finished(s->ssl);
}

bool tls_session_wants_room(const struct tls_session *s)
{
    return s->room;
}

const char *tls_session_why(const struct tls_session *s)
{
    return s->why;
}

void tls_session_peer(const struct tls_session *s, char *out, size_t size)
{
    X509 *x = SSL_get1_peer_certificate(s->ssl);
    out[0] = '\0';
    if (x && X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, out, (int)size) < 0)
        out[0] = '\0';
    X509_free(x);
}

void tls_session_free(struct tls_session *s)
{
    if (!s)
        return;
    if (s->ssl && !s->failed && SSL_is_init_finished(s->ssl))
        (void)SSL_shutdown(s->ssl);
    ERR_clear_error();
    SSL_free(s->ssl);
    free(s);
}
