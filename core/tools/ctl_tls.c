#include "core/tools/ctl_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

/* What OpenSSL says of its last failure, behind `what`. */
static int fail(struct ctl *c, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = e && ERR_GET_LIB(e) != ERR_LIB_SYS ? ERR_reason_error_string(e) : NULL;
    snprintf(c->why, sizeof c->why, "%s: %s", what, text ? text : errno ? strerror(errno) : "it cannot be used");
    ERR_clear_error();
    return -1;
}

/* Trust and our own certificate. NULL: ctl->why. */
static SSL_CTX *context(struct ctl *c)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    const char *key = c->key ? c->key : c->certificate;
    int rc = ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 ? 0 : fail(c, "OpenSSL");
    errno = 0;
    if (rc == 0 && c->authority && SSL_CTX_load_verify_file(ctx, c->authority) != 1)
        rc = fail(c, c->authority);
    else if (rc == 0 && !c->authority && SSL_CTX_set_default_verify_paths(ctx) != 1)
        rc = fail(c, "the system's authorities");
    if (rc == 0 && c->certificate && SSL_CTX_use_certificate_chain_file(ctx, c->certificate) != 1)
        rc = fail(c, c->certificate);
    if (rc == 0 && key && SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        rc = fail(c, key);
    if (rc == 0)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* Whom the server must be: a name or an address. */
static bool expect_host(SSL *ssl, const char *host)
{
    unsigned char a[16];
    bool address = inet_pton(AF_INET, host, a) == 1 || inet_pton(AF_INET6, host, a) == 1;
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (address)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

int ctl_tls_connect(struct ctl *c, const char *host)
{
    SSL_CTX *ctx = context(c);
    if (!ctx)
        return -1;
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    errno = 0;
    if (!ssl || !expect_host(ssl, host) || SSL_set_fd(ssl, c->fd) != 1) {
        SSL_free(ssl);
        return fail(c, c->address);
    }
    if (SSL_connect(ssl) != 1) {
        long verdict = SSL_get_verify_result(ssl);
        if (verdict != X509_V_OK)
            snprintf(c->why, sizeof c->why, "%s: its certificate is refused: %s", c->address,
                     X509_verify_cert_error_string(verdict));
        else
            fail(c, c->address);
        SSL_free(ssl);
        return -1;
    }
    c->ssl = ssl;
    return 0;
}

/* As recv(2) and send(2) would say it. */
static ssize_t result(struct ctl *c, int rc)
{
    int error = rc > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, rc);
    if (rc > 0 || error == SSL_ERROR_ZERO_RETURN)
        return rc > 0 ? rc : 0;
    if (error == SSL_ERROR_SYSCALL && errno)
        return -1;
    fail(c, c->address);
    c->refused = true;
    errno = EPROTO;
    return -1;
}

ssize_t ctl_tls_recv(struct ctl *c, void *p, size_t n)
{
    ERR_clear_error();
    errno = 0;
    return result(c, SSL_read(c->ssl, p, n < INT_MAX ? (int)n : INT_MAX));
}

ssize_t ctl_tls_send(struct ctl *c, const void *p, size_t n)
{
    ERR_clear_error();
    errno = 0;
    return result(c, SSL_write(c->ssl, p, n < INT_MAX ? (int)n : INT_MAX));
}

void ctl_tls_close(struct ctl *c)
{
    if (!c->ssl)
        return;
    if (!c->refused)
        (void)SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    c->ssl = NULL;
    c->refused = false;
}
