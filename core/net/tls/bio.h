/* OpenSSL's way to bytes that are in memory: a BIO on buffers of the thread, so that a connection has none. */
#ifndef MAGPIE_NET_TLS_BIO_H
#define MAGPIE_NET_TLS_BIO_H

#include <openssl/bio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is read from and written to while a function of OpenSSL runs. One thread. */
struct tls_io {
    const uint8_t *in; /* borrowed */
    size_t in_n;       /* left to be read */
    uint8_t *out;      /* room; borrowed */
    size_t out_n;      /* written */
    size_t out_room;   /* bytes of `out` */
    bool overflow;     /* there was no room: what was written is not whole */
};

/* NULL: out of memory or of OpenSSL's indexes. */
BIO_METHOD *tls_bio_method(void);
/* One reference is the caller's. io: borrowed, outlives its use. NULL: out of memory. */
BIO *tls_bio_new(const BIO_METHOD *method, struct tls_io *io);

#endif
