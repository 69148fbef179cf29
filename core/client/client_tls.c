#include "core/client/client_tls.h"

#include "core/client/client_tls_own.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

int client_secure(struct client *client, const char *authority, bool old, const char **why)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    bool ok = ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
              (!old || SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) == 1);
    if (ok && authority) {
        ok = *authority ? SSL_CTX_load_verify_file(ctx, authority) == 1 : SSL_CTX_set_default_verify_paths(ctx) == 1;
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    }
    if (!ok) {
        *why = "the authorities cannot be read";
        ERR_clear_error();
        SSL_CTX_free(ctx);
        return ERR_INVALID;
    }
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    client_tls_free(client);
    client->tls = ctx;
    return 0;
}

void client_tls_free(struct client *client)
{
    client_own_free(client);
    SSL_CTX_free(client->tls);
    client->tls = NULL;
}

/* Whom the server's certificate must be for: a name, which is told to the server, or an address. */
static bool host_expect(SSL *ssl, const char *host)
{
    unsigned char bytes[16];

    if (inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

int client_tls_start(struct client_conn *conn, const char *host)
{
    conn->tls.ssl = SSL_new(conn->client->tls);
    bool named = conn->tls.ssl && (!*host || host_expect(conn->tls.ssl, host));
    if (!named || SSL_set_fd(conn->tls.ssl, conn->fd) != 1)
        return ERR_NOMEM;
    SSL_set_connect_state(conn->tls.ssl);
    return conn->client->own ? client_own_start(conn) : 0;
}

int client_tls_shake(struct client_conn *conn, const char **why)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(conn->tls.ssl), error = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(conn->tls.ssl, rc);
    if (rc == 1) {
        if (conn->client->own)
            client_own_take(conn);
        return 0;
    }
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return ERR_AGAIN;
    long verdict = SSL_get_verify_result(conn->tls.ssl);
    bool refused = verdict != X509_V_OK && ERR_GET_REASON(ERR_peek_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    const char *text = refused ? X509_verify_cert_error_string(verdict) : ERR_reason_error_string(ERR_peek_error());
    *why = text ? text : "the server went away in the handshake";
    return ERR_IO;
}

/* What a call of OpenSSL gave, as recv(2) and send(2) would say it. */
static ssize_t result(struct client_conn *conn, int rc)
{
    int error = rc > 0 ? SSL_ERROR_NONE : SSL_get_error(conn->tls.ssl, rc);
    if (rc > 0)
        return rc;
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        errno = EAGAIN;
    else if (error != SSL_ERROR_SYSCALL || !errno)
        errno = ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING ? ECONNRESET : EPROTO;
    return -1;
}

ssize_t client_tls_recv(struct client_conn *conn, void *p, size_t n, bool *more)
{
    if (conn->own)
        return client_own_recv(conn, p, n, more);
    if (!conn->tls.ssl) {
        ssize_t got = recv(conn->fd, p, n, 0);
        *more = got == (ssize_t)n;
        return got;
    }
    *more = true;
    ERR_clear_error();
    errno = 0;
    return result(conn, SSL_read(conn->tls.ssl, p, n < INT_MAX ? (int)n : INT_MAX));
}

ssize_t client_tls_send(struct client_conn *conn, const void *p, size_t n)
{
    if (conn->own)
        return client_own_send(conn, p, n);
    if (!conn->tls.ssl)
        return send(conn->fd, p, n, MSG_NOSIGNAL);
    ERR_clear_error();
    errno = 0;
    return result(conn, SSL_write(conn->tls.ssl, p, n < INT_MAX ? (int)n : INT_MAX));
}

bool client_tls_has(const struct client_conn *conn)
{
    return conn->own || conn->tls.ssl;
}

void client_tls_end(struct client_conn *conn)
{
    if (conn->client->own && client_tls_has(conn))
        client_own_end(conn);
    if (!conn->own)
        SSL_free(conn->tls.ssl);
    conn->tls.ssl = NULL;
    conn->own = false;
}
