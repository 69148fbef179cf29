/*
 * The record layer of TLS 1.3 (RFC 8446, section 5), a server's side, after the handshake.
 *
 * OpenSSL does the handshake and is freed; what its keylog callback said and the number of records that it has sent
 * are enough to go on here, with 136 bytes a connection instead of some 14,000. No I/O: bytes in, bytes out, in buffers
 * that belong to the caller and may be shared by all connections of a thread.
 *
 * A connection's state has no pointer and no thread: it may move to another thread, and is used there with the
 * tls_crypto of that one. Only one thread uses it at a time.
 *
 * A stream row uses it like this:
 *   reading  recv(2) into a buffer, tls_records_open() in place, which leaves the plaintext at its beginning; what is
 *            behind `used` is the beginning of a record and is kept until more has come.
 *   writing  while a sealed record is pending, that is written first. Then tls_records_seal() with room for one record,
 *            and send(2). What the socket did not take is pending and must leave byte by byte as it is: a record is
 *            never sealed again. So seal when the socket is writable, never when something is queued.
 *   owing    after tls_records_open() and tls_records_close(), while tls_records_owes(): seal without plaintext, too.
 */
#ifndef MAGPIE_NET_TLS_RECORDS_H
#define MAGPIE_NET_TLS_RECORDS_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct iovec;
struct tls_crypto;
struct tls_records;

/* Sizes of records in bytes (RFC 8446, 5.1, 5.2 and 5.4). */
enum {
    TLS_RECORD_HEADER = 5,
    TLS_RECORD_TAG = 16,     /* what authenticates it, at its end; the same for all three suites */
    TLS_PLAIN_MAX = 1 << 14, /* plaintext in one record */
    /* What a record adds to its plaintext: the header, the content type, the tag. */
    TLS_RECORD_OVERHEAD = TLS_RECORD_HEADER + 1 + TLS_RECORD_TAG,
    TLS_RECORD_MAX = TLS_PLAIN_MAX + TLS_RECORD_OVERHEAD,
    /* What the layer itself has to say before the next plaintext, at most: a KeyUpdate. An alert is shorter. */
    TLS_OWED_MAX = TLS_RECORD_OVERHEAD + 5,
    /* The least room that tls_records_seal() works in, and that for which each call makes one record at most. */
    TLS_SEAL_MIN = TLS_OWED_MAX + TLS_RECORD_OVERHEAD + 1,
    TLS_SEAL_ROOM = TLS_OWED_MAX + TLS_RECORD_MAX
};

/* Alerts (RFC 8446, section 6) that are sent or told apart here. */
enum tls_alert {
    TLS_ALERT_CLOSE_NOTIFY = 0,
    TLS_ALERT_UNEXPECTED_MESSAGE = 10,
    TLS_ALERT_BAD_RECORD_MAC = 20,
    TLS_ALERT_RECORD_OVERFLOW = 22,
    TLS_ALERT_ILLEGAL_PARAMETER = 47,
    TLS_ALERT_DECODE_ERROR = 50,
    TLS_ALERT_INTERNAL_ERROR = 80,
    TLS_ALERT_USER_CANCELED = 90
};

/* When keys have served long enough (5.5), in records. The bound of AES-GCM is 2^24.5 records; the other suite keeps to
 * it as well. */
enum {
    TLS_UPDATE_AFTER = 1 << 23,  /* ours are replaced, and the other side is asked to replace its own */
    TLS_REFUSE_AFTER = 23726566, /* 2^24.5: the other side has not done so and is refused */
    /* Records in a row that bring nothing (empty ones, KeyUpdates, warnings) before the other side is refused. */
    TLS_USELESS_MAX = 32
};

/* --- Traffic secrets ---------------------------------------------------------------------------------------------- */

enum { TLS_SECRET_MAX = 48 };

/* Both application traffic secrets of a connection (7.1). All zero at first. */
struct tls_secrets {
    uint8_t client[TLS_SECRET_MAX]; /* what the client's records are protected by */
    uint8_t server[TLS_SECRET_MAX]; /* and the server's */
    uint8_t client_n, server_n;     /* bytes of each; 0: not known yet */
};

/* Takes a line as SSL_CTX_set_keylog_callback() gives it: LABEL, the client's random, the secret, both in hex. 0;
 * ERR_NOTFOUND: another label, which is passed over; ERR_INVALID: malformed, nothing was changed. Never log it. */
int tls_secrets_line(struct tls_secrets *s, const char *line);
void tls_secrets_wipe(struct tls_secrets *s);

/* --- Once a thread ------------------------------------------------------------------------------------------------ */

/* Cipher contexts, which are given another key for each record: some 10 KB for all connections of a thread. NULL when
 * out of memory. A suite that this OpenSSL does not provide is left out. */
struct tls_crypto *tls_crypto_new(void);
void tls_crypto_free(struct tls_crypto *c);

/* --- A connection ------------------------------------------------------------------------------------------------- */

/* From the end of the handshake on. suite: as SSL_CIPHER_get_protocol_id() has it, 0x1301 to 0x1303. sent: how many
 * records the server has sealed with its application secret, which are its NewSessionTickets. Wipes *s in any case.
 * NULL: out of memory, a suite that is not known here, or secrets that do not fit it; the SSL object is then kept.
 * It must be kept as well for a client that takes no records of full size (RFC 6066, 4): where
 * SSL_SESSION_get_max_fragment_length() is not 0. */
struct tls_records *tls_records_new(struct tls_crypto *c, unsigned suite, struct tls_secrets *s, uint32_t sent);
/* Wipes and frees it. NULL is let pass. */
void tls_records_free(struct tls_records *r);
/* The same in memory of the caller's, tls_records_room() bytes of it (0: the suite is not known), so that what else it
 * keeps for the connection stands beside it. False: see NULL above. The caller wipes it before it frees it. */
size_t tls_records_room(unsigned suite);
MUST_CHECK bool tls_records_begin(struct tls_crypto *c, unsigned suite, struct tls_secrets *s, uint32_t sent,
                                  struct tls_records *r);
void tls_records_wipe(struct tls_records *r);
/* The bytes that it has, for figures. */
size_t tls_records_size(const struct tls_records *r);

struct tls_opened {
    size_t plain; /* bytes of plaintext, at the beginning of the buffer */
    size_t used;  /* bytes of the buffer that are done with; those behind them are to be given again, with more */
    size_t want;  /* bytes that those must become before there is a record, as far as is known: TLS_RECORD_MAX at most;
                   * 0: nothing will be read any more */
};

/*
 * Opens all whole records among the n bytes at p, where their plaintext then is, and answers what they ask for.
 * Plaintext may come together with an error: it was authentic, and stands before what is wrong. A buffer of
 * TLS_RECORD_MAX bytes has room for any record, so that what is kept of one is always less.
 *
 * 0: goes on. What else there is stays so; a later call returns it again and takes nothing:
 * ERR_CLOSED: close_notify has come, a clean end. What follows it is passed over; sealing goes on.
 * ERR_INVALID: the other side broke the protocol. An alert is owed, its number is tls_records_alert(); seal it and end.
 * ERR_IO: the other side gave up with that alert. Nothing can be sealed any more.
 */
MUST_CHECK int tls_records_open(struct tls_crypto *c, struct tls_records *r, uint8_t *p, size_t n,
                                struct tls_opened *o);

struct tls_sealed {
    size_t n;     /* bytes of whole records at out */
    size_t taken; /* bytes of plaintext in them; fewer than there are when the room was too small */
};

/*
 * Makes records of the plaintext in v[0] to v[count - 1], behind its first `from` bytes, and before them of what is
 * owed. count 0: only of what is owed. room: TLS_SEAL_MIN at least; at TLS_SEAL_ROOM there is one record of plaintext
 * at most. With more room there may be several; all but the first have as much plaintext as they can or all there is.
 * What is at `out` must be sent as it is, or the connection ended.
 *
 * 0. ERR_CLOSED: nothing can be sealed any more: close_notify or an alert was sealed by an earlier call, or the other
 * side gave up. ERR_IO: OpenSSL failed, which ends the connection. Both leave s->n 0.
 */
MUST_CHECK int tls_records_seal(struct tls_crypto *c, struct tls_records *r, const struct iovec *v, int count,
                                size_t from, uint8_t *out, size_t room, struct tls_sealed *s);

/* Our half ends: close_notify is owed and is the last that is sealed. Plaintext is refused from now on. */
void tls_records_close(struct tls_records *r);
/* Whether tls_records_seal() has something to say without plaintext: the answer to a KeyUpdate, close_notify, an alert.
 * A KeyUpdate may wait for the next plaintext if there is some soon. */
bool tls_records_owes(const struct tls_records *r);
/* The alert that ended it, sent or received, after ERR_INVALID or ERR_IO; else TLS_ALERT_CLOSE_NOTIFY.
 * SSL_alert_desc_string_long() has its name. */
unsigned tls_records_alert(const struct tls_records *r);

/* Its layout, for the tests: others use the functions above. */
struct tls_way {
    uint32_t seq;   /* records opened or sealed with this key */
    uint8_t iv[12]; /* what a record's nonce is made of (5.3) */
};
struct tls_records {
    uint8_t suite;         /* index in the table of suites */
    uint8_t state;         /* enum in records.c */
    uint8_t owes;          /* what is to be sealed next, enum in records.c */
    uint8_t alert;         /* enum tls_alert: see tls_records_alert() */
    uint8_t part;          /* bytes of a KeyUpdate whose rest comes in another record: 0 to 4 */
    uint8_t useless;       /* records in a row that brought nothing */
    uint8_t spare[2];      /* 0 */
    struct tls_way way[2]; /* reading, writing */
    uint8_t keys[];        /* for each way its key and its traffic secret, which KeyUpdate makes the next one from */
};
_Static_assert(sizeof(struct tls_records) == 40, "with the keys of TLS_AES_128_GCM_SHA256 136 bytes");

#endif
