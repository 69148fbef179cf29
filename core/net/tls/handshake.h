/*
 * The handshake: the ClientHello is held until it is whole, then OpenSSL goes a step for each flight of the client.
 * What is agreed upon goes on in our own record layer, or in OpenSSL's where that is asked for or the version is 1.2.
 */
#ifndef MAGPIE_NET_TLS_HANDSHAKE_H
#define MAGPIE_NET_TLS_HANDSHAKE_H

#include "core/base/err.h"

#include <stddef.h>

struct tls_rows;
struct tls_shaking;

/* As stream.hear() and stream.step(). */
int tls_hear(struct tls_rows *rows, int fd);
int tls_step(struct tls_rows *rows, int fd, bool web);
/* Memory of a handshake, bytes; about: OpenSSL tells nobody. */
enum { TLS_SHAKING_BYTES = 56 << 10 };
/* Wipes and frees it. NULL is let pass. */
void tls_shaking_free(struct tls_shaking *s);

#endif
