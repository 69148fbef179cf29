/* A certificate with its chain and its key, read from files and checked. Any thread. */
#ifndef MAGPIE_NET_TLS_CERTIFICATE_H
#define MAGPIE_NET_TLS_CERTIFICATE_H

#include "core/base/buf.h"
#include "core/base/err.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

/* Puts both into a context. On failure `why` has a sentence that begins with a file's name: ERR_INVALID: the
 * certificate's; ERR_AUTH: the key's. */
MUST_CHECK int certificate_load(SSL_CTX *ctx, const char *certificate, const char *key, char *why, size_t why_size);
/* The context's own certificate serves this host name (ASCII, as a client gives it). exact: not by a wildcard. */
bool certificate_is_for(SSL_CTX *ctx, const char *name, bool exact);
/* Days until it is valid no more, negative when that is past; INT32_MAX: that cannot be told. *early: it is not valid
 * yet. */
int32_t certificate_days(SSL_CTX *ctx, bool *early);
/* "example.org, *.example.org": the names that it is for. */
void certificate_names(SSL_CTX *ctx, struct buf *out);

#endif
