/*
 * What a server answers TLS handshakes with: certificates and settings. Made whole or not at all, immutable then and
 * shared by all shards; a reload makes another one. Any thread.
 */
#ifndef MAGPIE_NET_TLS_CONTEXT_H
#define MAGPIE_NET_TLS_CONTEXT_H

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/net/tls/tickets.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

struct tls_context_options {
    const char *const *certificates, *const *keys; /* PEM files, `count` of each; the first is the default */
    unsigned count;
    const char *client_ca; /* PEM file: clients must show a certificate that it has signed. NULL: they need not */
    bool own_records;      /* TLS 1.3 connections go on with our own record layer */
};

/* One reference is the caller's. Every mistake is a line in `errors`: "tls.key: FILE: reason". tickets: borrowed, must
 * outlive it; NULL: nobody resumes a session. NULL: there were errors. */
struct tls_context *tls_context_new(const struct tls_context_options *o, struct tls_tickets *tickets,
                                    struct buf *errors);
void tls_context_ref(struct tls_context *c);
/* NULL is let pass. */
void tls_context_unref(struct tls_context *c);
/* Writes into the log what its certificates are, and warns of those that are not valid, or not for long. */
void tls_context_log(const struct tls_context *c);

/* Days until the first of them is valid no more, negative when that is past. */
int32_t tls_context_days(const struct tls_context *c);

/* --- For handshakes ----------------------------------------------------------------------------------------------- */

/* What a handshake on a context tells by way of SSL_set_app_data(), which must be one of these or NULL. */
struct tls_told {
    bool web; /* a port of browsers: ALPN is agreed upon */
    /* A line of the key log; NULL: they are passed over. */
    void (*line)(struct tls_told *t, const char *line);
};

/* An SSL object for a server's side; NULL: out of memory. */
SSL *tls_context_ssl(struct tls_context *c, struct tls_told *told);
bool tls_context_own_records(const struct tls_context *c);

#endif
