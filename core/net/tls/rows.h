/* The two rows of streams of a net, and what all its TLS connections share. One thread. */
#ifndef MAGPIE_NET_TLS_ROWS_H
#define MAGPIE_NET_TLS_ROWS_H

#include "core/net/stream.h"
#include "core/net/tls/bio.h"
#include "core/net/tls/records.h"

#include <stdbool.h>
#include <stdint.h>

struct tls;
struct tls_state;

enum {
    TLS_RAW_BYTES = 64 * 1024 + TLS_RECORD_MAX,       /* one recv(2), behind an unfinished record */
    TLS_OUT_BYTES = 4 * TLS_RECORD_MAX + TLS_OWED_MAX /* one send(2) */
};

struct tls_row {
    struct stream stream;  /* must be first */
    struct tls_rows *rows; /* that it is of */
    bool web;              /* a port of browsers */
};

struct tls_rows {
    struct tls *tls; /* borrowed */
    struct tls_crypto *crypto;
    BIO_METHOD *method;
    struct tls_io io;
    BIO *bio; /* on `io`, of all SSL objects that are kept on this thread */
    struct tls_row row[2];
    uint32_t nothing;             /* counted of a connection of which nothing has come */
    uint8_t raw[TLS_RAW_BYTES];   /* as received, and decrypted in place */
    uint8_t plain[TLS_PLAIN_MAX]; /* OpenSSL's plaintext */
    uint8_t out[TLS_OUT_BYTES];   /* sealed */
};

/* tls: borrowed, outlives them. NULL: out of memory. */
struct tls_rows *tls_rows_new(struct tls *tls);
/* The row of connections of a net; web: of those of a port of browsers. Borrowed. */
const struct stream *tls_rows_stream(const struct tls_rows *rows, bool web);
/* After its net. NULL is let pass. */
void tls_rows_free(struct tls_rows *rows);

/* Sends sealed bytes that belong before all others, as far as the socket takes them. False: not all, and the connection
 * has failed. */
bool tls_send_now(struct tls_state *s, int fd, const uint8_t *p, size_t n);

#endif
