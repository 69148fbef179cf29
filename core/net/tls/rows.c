#include "core/net/tls/rows.h"

#include "core/base/frame.h"
#include "core/base/log.h"
#include "core/net/tls/handshake.h"
#include "core/net/tls/hello.h"
#include "core/net/tls/tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    KEPT_OVERHEAD = 256,                                     /* more than a record of ours is longer than its text */
    RECORD_MAX = HELLO_RECORD_HEADER + TLS_PLAIN_MAX + 2048, /* of TLS 1.2 */
    USELESS_MAX = 32                                         /* records in a row that bring nothing */
};

static struct tls_rows *rows_of(const struct stream *self)
{
    return ((const struct tls_row *)(const void *)self)->rows;
}

static struct tls_state *state_of(const struct tls_rows *rows, int fd)
{
    return tls_table_get(tls_states(rows->tls), fd);
}

bool tls_send_now(struct tls_state *s, int fd, const uint8_t *p, size_t n)
{
    if (n == 0 || (!s->failed && !s->blocked && send(fd, p, n, MSG_NOSIGNAL) == (ssize_t)n))
        return true;
    s->failed = true;
    return false;
}

/* --- OpenSSL's records -------------------------------------------------------------------------------------------- */

/* The SSL object with its BIO on this thread's buffers: it may have come from another one. */
static SSL *ssl_of(struct tls_rows *rows, struct tls_state *s)
{
    if (SSL_get_rbio(s->ssl) != rows->bio) {
        BIO_up_ref(rows->bio);
        SSL_set_bio(s->ssl, rows->bio, rows->bio);
    }
    ERR_clear_error();
    rows->io = (struct tls_io){.out = rows->out, .out_room = sizeof rows->out};
    return s->ssl;
}

static void ssl_failed(struct tls_state *s)
{
    unsigned long e = ERR_peek_error();
    const char *why = e ? ERR_reason_error_string(e) : NULL;
    log_event(LOG_DEBUG, "tls.failed", LOG_STR("because", why ? why : "the record layer failed"));
    ERR_clear_error();
    s->failed = true;
}

/* As tls_records_open(): whole records only, so that the SSL object never keeps a buffer for half of one. */
static void kept_open(struct tls_rows *rows, struct tls_state *s, int fd, uint8_t *p, size_t n, struct tls_opened *o)
{
    SSL *ssl = ssl_of(rows, s);
    *o = (struct tls_opened){.plain = 0};
    while (!s->ended && !s->failed && n - o->used >= HELLO_RECORD_HEADER) {
        const uint8_t *record = p + o->used;
        size_t size = HELLO_RECORD_HEADER + (size_t)(record[3] << 8 | record[4]);
        if (size > n - o->used && size <= RECORD_MAX)
            break;
        rows->io.in = record;
        rows->io.in_n = size < n - o->used ? size : n - o->used;
        o->used += rows->io.in_n;
        int m = SSL_read(ssl, rows->plain, sizeof rows->plain), error = m > 0 ? 0 : SSL_get_error(ssl, m);
        if (m > 0) {
            memmove(p + o->plain, rows->plain, (size_t)m);
            o->plain += (size_t)m;
            s->useless = 0;
        } else if (error == SSL_ERROR_ZERO_RETURN) {
            s->ended = true;
        } else if (error != SSL_ERROR_WANT_READ || ++s->useless > USELESS_MAX) {
            ssl_failed(s);
        }
    }
    if (rows->io.out_n && !tls_send_now(s, fd, rows->out, rows->io.out_n))
        ssl_failed(s);
}

/* Up to n bytes of the vector behind `at`, in one piece. */
static const uint8_t *piece(struct tls_rows *rows, const struct iovec *v, int count, size_t at, size_t *n)
{
    size_t got = 0;
    int i = 0;
    for (; i < count && at >= v[i].iov_len; i++)
        at -= v[i].iov_len;
    if (i == count) {
        *n = 0;
        return rows->plain;
    }
    if (v[i].iov_len - at >= *n || i == count - 1) {
        *n = *n < v[i].iov_len - at ? *n : v[i].iov_len - at;
        return (const uint8_t *)v[i].iov_base + at;
    }
    for (; i < count && got < *n; i++, at = 0) {
        size_t m = v[i].iov_len - at < *n - got ? v[i].iov_len - at : *n - got;
        memcpy(rows->plain + got, (const uint8_t *)v[i].iov_base + at, m);
        got += m;
    }
    *n = got;
    return rows->plain;
}

static int kept_seal(struct tls_rows *rows, struct tls_state *s, const struct iovec *v, int count,
                     struct tls_sealed *out)
{
    SSL *ssl = ssl_of(rows, s);
    *out = (struct tls_sealed){.n = 0};
    do {
        size_t n = TLS_PLAIN_MAX;
        const uint8_t *p = piece(rows, v, count, out->taken, &n);
        if (n == 0)
            break;
        if (SSL_write(ssl, p, (int)n) != (int)n) {
            ssl_failed(s);
            return ERR_IO;
        }
        out->taken += n;
    } while (!s->slow && rows->io.out_room - rows->io.out_n >= TLS_PLAIN_MAX + KEPT_OVERHEAD);
    out->n = rows->io.out_n;
    return 0;
}

/* --- Our own records ---------------------------------------------------------------------------------------------- */

/* Says what the record layer has to say by itself: an alert, close_notify. */
static bool say_owed(struct tls_rows *rows, struct tls_state *s, int fd)
{
    struct tls_sealed out = {.n = 0};
    if (tls_records_seal(rows->crypto, s->records, NULL, 0, 0, rows->out, TLS_SEAL_ROOM, &out) != 0)
        return false;
    return tls_send_now(s, fd, rows->out, out.n);
}

static void own_open(struct tls_rows *rows, struct tls_state *s, int fd, uint8_t *p, size_t n, struct tls_opened *o)
{
    int rc = tls_records_open(rows->crypto, s->records, p, n, o);
    if (rc == 0)
        return;
    if (rc == ERR_CLOSED) {
        s->ended = true;
        return;
    }
    log_event(LOG_DEBUG, "tls.failed", LOG_STR("alert", SSL_alert_desc_string_long((int)tls_records_alert(s->records))),
              LOG_STR("by", rc == ERR_INVALID ? "us" : "the other side"));
    if (rc == ERR_INVALID)
        (void)say_owed(rows, s, fd);
    s->failed = true;
}

/* --- Receiving ---------------------------------------------------------------------------------------------------- */

static size_t total(const struct iovec *v, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += v[i].iov_len;
    return sum;
}

/* Copies into the vector; how much there was room for. */
static size_t scatter(const struct iovec *v, int count, const uint8_t *p, size_t n)
{
    size_t done = 0;
    for (int i = 0; i < count && done < n; i++) {
        size_t m = v[i].iov_len < n - done ? v[i].iov_len : n - done;
        if (m)
            memcpy(v[i].iov_base, p + done, m);
        done += m;
    }
    return done;
}

static ssize_t give_held(struct tls_state *s, const struct iovec *v, int count)
{
    size_t done = 0;
    for (int i = 0; i < count && s->hold && s->hold->plain; i++)
        done += tls_hold_take(s, v[i].iov_base, v[i].iov_len);
    return (ssize_t)done;
}

/* There is nothing more: why. */
static ssize_t tell(struct tls_state *s)
{
    s->untold = false;
    if (s->ended)
        return 0;
    errno = s->failed ? EPROTO : EAGAIN;
    return -1;
}

/* Reads behind what is held, until there is a record at least. Returns as recv(2), but all that is in rows->raw. */
static ssize_t fill(struct tls_rows *rows, struct tls_state *s, int fd, size_t want)
{
    size_t have = s->hold ? s->hold->n : 0, room = want > RECORD_MAX ? want : RECORD_MAX;
    if (have)
        memcpy(rows->raw, s->hold->data, have);
    if (hello_record(rows->raw, have))
        return (ssize_t)have;
    room = room < sizeof rows->raw ? room : sizeof rows->raw;
    ssize_t n = recv(fd, rows->raw + have, room - have, 0);
    if (n == 0)
        s->ended = true;
    return n <= 0 ? n : (ssize_t)have + n;
}

static ssize_t tls_recvv(const struct stream *self, int fd, const struct iovec *v, int count)
{
    struct tls_rows *rows = rows_of(self);
    struct tls_state *s = state_of(rows, fd);
    struct tls_opened o;
    if (!SURELY(s && s->phase >= TLS_OWN)) {
        errno = ENOTCONN;
        return -1;
    }
    if (s->hold && s->hold->plain)
        return give_held(s, v, count);
    if (s->ended || s->failed)
        return tell(s);
    ssize_t n = fill(rows, s, fd, total(v, count));
    if (n <= 0)
        return n;
    if (s->phase == TLS_OWN)
        own_open(rows, s, fd, rows->raw, (size_t)n, &o);
    else
        kept_open(rows, s, fd, rows->raw, (size_t)n, &o);
    bool over = s->ended || s->failed;
    size_t given = scatter(v, count, rows->raw, o.plain);
    if (tls_hold_set(s, rows->raw + given, o.plain - given, rows->raw + o.used, over ? 0 : (size_t)n - o.used) != 0) {
        s->failed = true;
        errno = ENOMEM;
        return -1;
    }
    if (given == 0)
        return tell(s);
    s->untold = over;
    return (ssize_t)given;
}

static ssize_t tls_recv(const struct stream *self, int fd, void *p, size_t n)
{
    const struct iovec v = {p, n};
    return tls_recvv(self, fd, &v, 1);
}

static size_t tls_pending(const struct stream *self, int fd)
{
    const struct tls_state *s = state_of(rows_of(self), fd);
    if (!s)
        return 0;
    if (s->hold && s->hold->plain)
        return s->hold->plain - s->hold->at;
    return s->untold || (s->hold && hello_record(s->hold->data, s->hold->n)) ? 1 : 0;
}

/* --- Sending ------------------------------------------------------------------------------------------------------ */

/* Sends what was sealed; what the socket does not take is *rest. */
static bool send_sealed(struct tls_state *s, int fd, const uint8_t *p, size_t n, struct wire **rest)
{
    ssize_t m = send(fd, p, n, MSG_NOSIGNAL);
    if (m < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM)
        return false;
    m = m < 0 ? 0 : m;
    s->slow = (size_t)m < n;
    if (!s->slow)
        return true;
    *rest = wire_raw(slice_of(p + m, n - (size_t)m), WIRE_TAG_NONE);
    s->blocked = *rest != NULL;
    if (!*rest)
        errno = EPROTO; /* a record that cannot be sent whole is the end */
    return *rest != NULL;
}

static ssize_t tls_sendv(const struct stream *self, int fd, const struct iovec *v, int count, struct wire **rest)
{
    struct tls_rows *rows = rows_of(self);
    struct tls_state *s = state_of(rows, fd);
    struct tls_sealed out = {.n = 0};
    int rc = ERR_CLOSED;
    errno = EPIPE;
    if (s && !s->failed && SURELY(!s->blocked)) {
        if (s->phase == TLS_OWN)
            rc = tls_records_seal(rows->crypto, s->records, v, count, 0, rows->out,
                                  s->slow ? TLS_SEAL_ROOM : sizeof rows->out, &out);
        else if (s->phase == TLS_KEPT)
            rc = kept_seal(rows, s, v, count, &out);
    }
    if (rc != 0 || !send_sealed(s, fd, rows->out, out.n, rest)) {
        if (s)
            s->failed = true;
        return -1;
    }
    return (ssize_t)out.taken;
}

static ssize_t tls_send(const struct stream *self, int fd, const void *p, size_t n, struct wire **rest)
{
    const struct iovec v = {(void *)(uintptr_t)p, n};
    return tls_sendv(self, fd, &v, 1, rest);
}

static ssize_t tls_resend(const struct stream *self, int fd, const void *p, size_t n)
{
    struct tls_state *s = state_of(rows_of(self), fd);
    ssize_t m = send(fd, p, n, MSG_NOSIGNAL);
    if (s && m == (ssize_t)n)
        s->blocked = false;
    return m;
}

static void tls_prefetch(const struct stream *self, int fd)
{
    tls_table_prefetch(tls_states(rows_of(self)->tls), fd);
}

/* --- Ends --------------------------------------------------------------------------------------------------------- */

static int tls_shutdown(const struct stream *self, int fd)
{
    struct tls_rows *rows = rows_of(self);
    struct tls_state *s = state_of(rows, fd);
    if (s && !s->failed && s->phase == TLS_OWN) {
        tls_records_close(s->records);
        (void)say_owed(rows, s, fd);
    } else if (s && !s->failed && s->phase == TLS_KEPT) {
        (void)SSL_shutdown(ssl_of(rows, s));
        (void)tls_send_now(s, fd, rows->out, rows->io.out_n);
    }
    return shutdown(fd, SHUT_WR);
}

static void tls_close(const struct stream *self, int fd)
{
    tls_table_remove(tls_states(rows_of(self)->tls), fd);
    close(fd);
}

/* --- Before ------------------------------------------------------------------------------------------------------- */

static int row_hear(const struct stream *self, int fd)
{
    return tls_hear(rows_of(self), fd);
}

static int row_step(const struct stream *self, int fd)
{
    return tls_step(rows_of(self), fd, ((const struct tls_row *)(const void *)self)->web);
}

static size_t tls_held(const struct stream *self, int fd, uint32_t **counted)
{
    struct tls_rows *rows = rows_of(self);
    struct tls_state *s = state_of(rows, fd);
    rows->nothing = 0;
    *counted = s ? &s->counted : &rows->nothing;
    return s ? tls_hold_size(s) + (s->phase == TLS_SHAKING ? TLS_SHAKING_BYTES : 0) : 0;
}

static const struct stream tls_stream = {.recv = tls_recv,
                                         .recvv = tls_recvv,
                                         .send = tls_send,
                                         .sendv = tls_sendv,
                                         .resend = tls_resend,
                                         .prefetch = tls_prefetch,
                                         .shutdown = tls_shutdown,
                                         .close = tls_close,
                                         .pending = tls_pending,
                                         .hear = row_hear,
                                         .step = row_step,
                                         .held = tls_held};

struct tls_rows *tls_rows_new(struct tls *tls)
{
    struct tls_rows *rows = calloc(1, sizeof *rows);
    if (!rows)
        return NULL;
    rows->tls = tls;
    rows->crypto = tls_crypto_new();
    rows->method = tls_bio_method();
    rows->bio = rows->method ? tls_bio_new(rows->method, &rows->io) : NULL;
    if (!rows->crypto || !rows->bio) {
        tls_rows_free(rows);
        return NULL;
    }
    for (int web = 0; web < 2; web++)
        rows->row[web] = (struct tls_row){.stream = tls_stream, .rows = rows, .web = web};
    return rows;
}

void tls_rows_free(struct tls_rows *rows)
{
    if (!rows)
        return;
    BIO_free(rows->bio);
    BIO_meth_free(rows->method);
    tls_crypto_free(rows->crypto);
    explicit_bzero(rows, sizeof *rows);
    free(rows);
}

const struct stream *tls_rows_stream(const struct tls_rows *rows, bool web)
{
    return &rows->row[web].stream;
}
