#include "core/client/client_tls_own.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- what connections share ---- */

static void on_keylog(const SSL *ssl, const char *line)
{
    struct client_own *own = SSL_get_app_data(ssl);
    if (own)
        client_records_secret(&own->records, line);
}

/* A ticket has come; true: the session is ours now. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct client_tls_own *shared = client->own;

    if (shared->session || !SSL_SESSION_is_resumable(session))
        return 0;
    shared->session = session;
    /* A cache would take it for used after the first time. */
    SSL_CTX_set_session_cache_mode(client->tls, SSL_SESS_CACHE_OFF);
    return 1;
}

int client_own_records(struct client *client, bool resume)
{
    struct client_tls_own *shared = calloc(1, sizeof(*shared));

    ASSERT(client->tls && !client->own);
    if (shared)
        shared->cipher = client_cipher_new();
    if (!shared || !shared->cipher) {
        free(shared);
        return ERR_NOMEM;
    }
    shared->resume = resume;
    client->own = shared;
    SSL_CTX_set_app_data(client->tls, client);
    SSL_CTX_set_keylog_callback(client->tls, on_keylog);
    if (resume) {
        SSL_CTX_set_session_cache_mode(client->tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(client->tls, on_session);
    }
    return 0;
}

void client_own_free(struct client *client)
{
    if (!client->own)
        return;
    SSL_SESSION_free(client->own->session);
    client_cipher_free(client->own->cipher);
    free(client->own);
    client->own = NULL;
}

uint64_t client_resumed(const struct client *client)
{
    return client->own ? client->own->resumed : 0;
}

/* ---- from OpenSSL's object to ours ---- */

int client_own_start(struct client_conn *conn)
{
    SSL_SESSION *session = conn->client->own->session;
    struct client_own *own = calloc(1, sizeof(*own));

    if (!own || SSL_set_app_data(conn->tls.ssl, own) != 1) {
        free(own);
        return ERR_NOMEM;
    }
    return session && SSL_set_session(conn->tls.ssl, session) != 1 ? ERR_NOMEM : 0;
}

void client_own_take(struct client_conn *conn)
{
    struct client_tls_own *shared = conn->client->own;
    SSL *ssl = conn->tls.ssl;
    struct client_own *own = SSL_get_app_data(ssl);

    shared->resumed += SSL_session_reused(ssl) == 1;
    if (shared->resume && !shared->session && !shared->asker) {
        shared->asker = conn;
        return;
    }
    if (SSL_version(ssl) != TLS1_3_VERSION || SSL_has_pending(ssl) ||
        SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)) != CLIENT_RECORD_SUITE ||
        !client_records_begin(shared->cipher, &own->records))
        return;
    /* Else the session would count as broken, and not be resumed any more. The socket stays open, as it is ours. */
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN);
    SSL_free(ssl);
    conn->tls.own = own;
    conn->own = true;
}

void client_own_end(struct client_conn *conn)
{
    struct client_tls_own *shared = conn->client->own;
    struct client_own *own = conn->own ? conn->tls.own : SSL_get_app_data(conn->tls.ssl);

    if (!conn->own && SSL_is_init_finished(conn->tls.ssl))
        SSL_set_shutdown(conn->tls.ssl, SSL_SENT_SHUTDOWN); /* as in client_own_take() */

    if (shared->asker == conn)
        shared->asker = NULL; /* if it has got no ticket, another asks */
    if (own) {
        client_records_wipe(&own->records);
        free(own->kept);
        free(own->rest);
    }
    free(own);
}

/* ---- reading and writing ---- */

static struct client_chunk *chunk_of(const uint8_t *p, size_t n)
{
    struct client_chunk *chunk = malloc(sizeof(*chunk) + n);
    if (chunk) {
        chunk->n = chunk->cap = (uint32_t)n;
        chunk->at = 0;
        memcpy(chunk->data, p, n);
    }
    return chunk;
}

static bool record_whole(const uint8_t *p, size_t n)
{
    size_t size = client_record_size(p, n);
    return size && size <= n;
}

/* The bytes that are to be opened, in the shared buffer: what was kept, and what the socket has unless a whole record
 * was kept. > 0; -1 and errno, and all is as it was. */
static ssize_t own_fill(struct client_conn *conn, bool *more)
{
    struct client_own *own = conn->tls.own;
    uint8_t *raw = conn->client->own->raw;
    size_t kept = own->kept ? own->kept->n : 0, room = sizeof(conn->client->own->raw) - kept;

    if (kept)
        memcpy(raw, own->kept->data, kept);
    *more = record_whole(raw, kept);
    if (!*more) {
        ssize_t n = recv(conn->fd, raw + kept, room, 0);
        if (n == 0)
            errno = ECONNRESET; /* 6.1: without close_notify the end may be anybody's */
        if (n <= 0)
            return -1;
        *more = (size_t)n == room;
        kept += (size_t)n;
    }
    free(own->kept);
    own->kept = NULL;
    return (ssize_t)kept;
}

/* Opens whole records as long as their plaintext has room at p. The bytes there; *used: those of the records. */
static size_t own_open(struct client_conn *conn, size_t have, uint8_t *p, size_t n, size_t *used)
{
    struct client_tls_own *shared = conn->client->own;
    struct client_records *r = &conn->tls.own->records;
    size_t done = 0;
    struct slice plain;

    *used = 0;
    while (record_whole(shared->raw + *used, have - *used)) {
        size_t size = client_record_size(shared->raw + *used, have - *used);
        if (size > n - done && n - done < CLIENT_RECORD_PLAIN)
            break;
        if (client_records_open(shared->cipher, r, shared->raw + *used, size, &plain) != 0)
            break;
        if (plain.n)
            memcpy(p + done, plain.p, plain.n);
        done += plain.n;
        *used += size;
    }
    return done;
}

ssize_t client_own_recv(struct client_conn *conn, void *p, size_t n, bool *more)
{
    struct client_own *own = conn->tls.own;

    ASSERT(n >= CLIENT_RECORD_PLAIN);
    for (*more = false; !own->records.end;) {
        size_t used = 0;
        ssize_t have = own_fill(conn, more);
        if (have < 0)
            return -1;
        size_t done = own_open(conn, (size_t)have, p, n, &used), left = (size_t)have - used;
        if (left && !own->records.end && !(own->kept = chunk_of(conn->client->own->raw + used, left))) {
            errno = ENOMEM;
            return -1;
        }
        /* An end, or a record that has no room now, is told by the next call. */
        *more = *more || own->records.end || record_whole(conn->client->own->raw + used, left);
        if (done)
            return (ssize_t)done;
        if (!*more) {
            errno = EAGAIN;
            return -1;
        }
    }
    if (own->records.end == ERR_CLOSED)
        return 0;
    errno = own->records.end == ERR_IO ? ECONNRESET : EPROTO;
    return -1;
}

/* Sends what was sealed: it must go as it is. Only with all of it gone the plaintext counts as sent, so that what the
 * caller still has makes it come again. */
ssize_t client_own_send(struct client_conn *conn, const void *p, size_t n)
{
    struct client_tls_own *shared = conn->client->own;
    struct client_own *own = conn->tls.own;
    const uint8_t *out = own->rest ? (uint8_t *)own->rest->data + own->rest->at : shared->sealed;
    size_t size = own->rest ? own->rest->n - own->rest->at : 0;
    ssize_t sent;

    if (!own->rest) {
        own->rest_plain = (uint32_t)(n < CLIENT_RECORD_PLAIN ? n : CLIENT_RECORD_PLAIN);
        size = client_records_seal(shared->cipher, &own->records, p, own->rest_plain, shared->sealed);
    }
    if (!size) {
        errno = EPROTO;
        return -1;
    }
    do
        sent = send(conn->fd, out, size, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)size) {
        free(own->rest);
        own->rest = NULL;
        return own->rest_plain;
    }
    if (sent < 0 && errno != EAGAIN)
        return -1;
    size_t gone = sent > 0 ? (size_t)sent : 0;
    if (own->rest)
        own->rest->at += (uint32_t)gone;
    else if (!(own->rest = chunk_of(out + gone, size - gone))) {
        errno = ENOMEM;
        return -1;
    }
    errno = EAGAIN;
    return -1;
}
