/*
 * Records of TLS 1.3 (RFC 8446, section 5), the client's side after the handshake: a codec without any I/O. One thread.
 *
 * OpenSSL does the handshake and is freed; what its keylog callback said is enough to go on here, with some 140 bytes a
 * connection instead of 15,000. TLS_AES_128_GCM_SHA256 only, which every server has (9.1). Nothing of it is shared with
 * the server's record layer, so that client and server check each other.
 */
#ifndef MAGPIE_CLIENT_CLIENT_RECORDS_H
#define MAGPIE_CLIENT_CLIENT_RECORDS_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client_cipher;

enum {
    CLIENT_RECORD_SUITE = 0x1301,                           /* as SSL_CIPHER_get_protocol_id() has it */
    CLIENT_RECORD_HEADER = 5,                               /* bytes */
    CLIENT_RECORD_PLAIN = 1 << 14,                          /* bytes of plaintext in one record, at most */
    CLIENT_RECORD_MAX = 5 + CLIENT_RECORD_PLAIN + 1 + 16,   /* bytes of the largest record: header, type, tag */
    CLIENT_RECORD_ROOM = CLIENT_RECORD_MAX + 5 + 5 + 1 + 16 /* what client_records_seal() may write */
};

/* One direction. */
struct client_record_way {
    uint8_t secret[32]; /* the traffic secret, which KeyUpdate makes the next one from; the rest is made from it */
    uint8_t key[16];    /* of the cipher */
    uint8_t iv[12];     /* what a record's nonce is made of (5.3) */
    uint32_t seq;       /* records opened or sealed with this key */
};

/* A connection. All zero at first. */
struct client_records {
    struct client_record_way in, out; /* what the server says, and what we say */
    bool heard_in, heard_out;         /* their secrets are known */
    bool owes;                        /* the server has asked for a KeyUpdate, which goes with what is sealed next */
    int8_t end;                       /* why nothing is opened any more, an enum err; 0: it goes on */
};

/* What all connections of a thread share. NULL: out of memory, or OpenSSL lacks something. */
struct client_cipher *client_cipher_new(void);
void client_cipher_free(struct client_cipher *cipher);

/* Takes a line as SSL_CTX_set_keylog_callback() gives it. Others than those of both traffic secrets, and secrets of
 * other suites, are passed over. */
void client_records_secret(struct client_records *r, const char *line);
/* From the end of the handshake on. False: a secret is not known, or OpenSSL failed. */
MUST_CHECK bool client_records_begin(struct client_cipher *cipher, struct client_records *r);
void client_records_wipe(struct client_records *r);

/* The bytes of the record that begins with these, as its header says; 0: the header is not there yet. */
size_t client_record_size(const uint8_t *p, size_t n);
/* Opens the record of `size` bytes where it is. 0: *plain is what it brings for the user of TLS, often nothing. Else a
 * later call returns the same: ERR_CLOSED: the server ended it; ERR_IO: it gave up with an alert; ERR_INVALID: the
 * record is not authentic, or breaks the protocol. */
MUST_CHECK int client_records_open(struct client_cipher *cipher, struct client_records *r, uint8_t *p, size_t size,
                                   struct slice *plain);
/* Makes a record of n bytes, 1 to CLIENT_RECORD_PLAIN, at `out`, and before it of a KeyUpdate that is due. The bytes at
 * `out`, which must be sent as they are; 0: OpenSSL failed, which ends the connection. */
MUST_CHECK size_t client_records_seal(struct client_cipher *cipher, struct client_records *r, const void *p, size_t n,
                                      uint8_t *out);

#endif
