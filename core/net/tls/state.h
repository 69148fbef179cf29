/*
 * What TLS keeps for a connection, found by its descriptor. The table belongs to all shards, for connections move; an
 * entry is the business of the thread that has the connection.
 */
#ifndef MAGPIE_NET_TLS_STATE_H
#define MAGPIE_NET_TLS_STATE_H

#include "core/base/err.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_records;
struct tls_shaking;

enum tls_phase {
    TLS_HELLO,   /* the ClientHello is awaited; `shaking` is NULL */
    TLS_SHAKING, /* `shaking` */
    TLS_OWN,     /* agreed; our own record layer: `records` */
    TLS_KEPT     /* agreed; OpenSSL's: `ssl` */
};

/* Bytes that came too early, or were not asked for yet. */
struct tls_hold {
    uint32_t at;    /* of the decrypted ones, so many are given already */
    uint32_t plain; /* decrypted ones: data[0] to data[plain - 1] */
    uint32_t n;     /* all; those behind `plain` are as they came: less than a record, but at first */
    uint32_t room;  /* in data */
    uint8_t data[];
};

struct tls_state {
    uint8_t phase;         /* enum tls_phase */
    bool ended : 1;        /* the other side has said its last */
    bool failed : 1;       /* nothing goes any more */
    bool untold : 1;       /* recv() has not said so yet */
    bool blocked : 1;      /* sealed bytes wait in the connection's queue: nothing may go past them */
    bool slow : 1;         /* the socket was full: a record at a time is sealed */
    uint8_t useless;       /* records in a row that brought nothing; TLS_KEPT only */
    uint32_t counted;      /* bytes that the net counts as held before login */
    struct tls_hold *hold; /* owned; NULL: none */
    union {
        struct tls_shaking *shaking; /* owned */
        struct tls_records *records; /* behind this struct, in the same block */
        SSL *ssl;                    /* owned */
    };
};
_Static_assert(sizeof(struct tls_state) == 24, "a million connections pay for each byte");

struct tls_table;

/* NULL: out of memory. */
struct tls_table *tls_table_new(void);
/* Of which all entries were removed. NULL is let pass. */
void tls_table_free(struct tls_table *t);
/* NULL: there is none. */
struct tls_state *tls_table_get(const struct tls_table *t, int fd);
/* A new one, TLS_HELLO and all else 0; NULL: out of memory. There must be none. */
struct tls_state *tls_table_add(struct tls_table *t, int fd);
/* Makes room for `room` bytes of records behind the state of a descriptor, so that a send finds both side by side. The
 * state may stand elsewhere then. NULL: there is none, or out of memory, and nothing changed. */
struct tls_state *tls_table_widen(struct tls_table *t, int fd, size_t room);
/* What a send will want of a descriptor's state comes into the cache. Any descriptor will do. */
void tls_table_prefetch(const struct tls_table *t, int fd);
/* Wipes and frees it with all that it owns. No effect when there is none. */
void tls_table_remove(struct tls_table *t, int fd);

/* Appends bytes that are as they came. ERR_NOMEM: nothing changed. */
MUST_CHECK int tls_hold_append(struct tls_state *s, const uint8_t *p, size_t n);
/* Replaces what is held: decrypted bytes, then others as they came. ERR_NOMEM: nothing is held any more. */
MUST_CHECK int tls_hold_set(struct tls_state *s, const uint8_t *plain, size_t plain_n, const uint8_t *rest,
                            size_t rest_n);
/* Takes up to n decrypted bytes. */
size_t tls_hold_take(struct tls_state *s, uint8_t *out, size_t n);
void tls_hold_drop(struct tls_state *s);
/* Bytes of memory. */
static inline size_t tls_hold_size(const struct tls_state *s)
{
    return s->hold ? sizeof *s->hold + s->hold->room : 0;
}

#endif
