/*
 * Keys of session tickets: shared by all shards, and kept over restarts in a file of the data directory, so that who
 * was connected comes back with less work. Every 12 hours a new one takes over, and the one before still opens what it
 * has sealed: so a ticket lives for 12 hours, and a stolen key opens no more than a day.
 *
 * Any thread; making and turning them: main thread.
 */
#ifndef MAGPIE_NET_TLS_TICKETS_H
#define MAGPIE_NET_TLS_TICKETS_H

#include "core/base/err.h"

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

struct tls_tickets;

enum {
    TLS_TICKET_SECONDS = 12 * 3600, /* that a ticket is good for, and that a key seals */
    TLS_TICKET_KEYS = 2             /* the one that seals, and the one before */
};

/* Reads `ticket-keys` in the directory, or makes it. NULL as directory: they are kept in memory only. now: seconds of
 * the wall clock. On failure NULL, with a sentence in `why` that begins with the file's name. */
struct tls_tickets *tls_tickets_new(const char *directory, int64_t now, char *why, size_t why_size);
/* Makes the next key when it is time. 0; ERR_IO: the file could not be written (errno), and the new key is in memory
 * only. 1: nothing was due. */
int tls_tickets_turn(struct tls_tickets *t, int64_t now);
/* Lets a context use them. They must outlive it. */
MUST_CHECK int tls_tickets_use(struct tls_tickets *t, SSL_CTX *ctx);
/* Wipes and frees them. NULL is let pass. */
void tls_tickets_free(struct tls_tickets *t);

#endif
