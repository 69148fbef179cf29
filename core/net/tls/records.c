#include "core/net/tls/records.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { READ, WRITE };

/* Appendix B.1 of the RFC, and B.3 of which there is one that is taken. */
enum { CONTENT_ALERT = 21, CONTENT_HANDSHAKE = 22, CONTENT_DATA = 23 };
enum { KEY_UPDATE = 24, KEY_UPDATE_SIZE = 5, ALERT_SIZE = 2, LEVEL_WARNING = 1, LEVEL_FATAL = 2 };

/* struct tls_records.state */
enum {
    STATE_FAILED = 1 << 0,  /* we refuse what has come: nothing is opened any more */
    STATE_GAVE_UP = 1 << 1, /* the other side sent an alert that ends it */
    STATE_ENDED = 1 << 2,   /* it sent close_notify: nothing is opened any more */
    STATE_CLOSING = 1 << 3, /* close_notify is owed or was sealed: no plaintext is taken any more */
    STATE_DONE = 1 << 4,    /* nothing is sealed any more */
    STATE_ASKED = 1 << 5    /* a KeyUpdate was asked for, under its present key */
};

/* struct tls_records.owes. An alert goes before the others, which are then forgotten. */
enum {
    OWES_UPDATE = 1 << 0,  /* KeyUpdate of ours */
    OWES_REQUEST = 1 << 1, /* which asks for one of the other side */
    OWES_ALERT = 1 << 2    /* the alert of struct tls_records.alert */
};

enum { SUITES = 3, KEY_MAX = 32, NONCE_SIZE = 12 };

/* Appendix B.4 */
static const struct suite {
    unsigned id;             /* as in the handshake */
    const char *cipher, *md; /* OpenSSL's names */
    uint8_t key_n, secret_n; /* bytes of a key; of a traffic secret, which is as long as the hash */
} suites[SUITES] = {
    {0x1301, "AES-128-GCM", "SHA256", 16, 32},
    {0x1302, "AES-256-GCM", "SHA384", 32, 48},
    {0x1303, "ChaCha20-Poly1305", "SHA256", 32, 32},
};

struct tls_crypto {
    EVP_CIPHER_CTX *open[SUITES], *seal[SUITES]; /* one for each suite and way, without a key; NULL: not provided */
    EVP_MAC_CTX *hmac[SUITES];                   /* with the hash of the suite, without a key */
};

/* --- Traffic secrets ---------------------------------------------------------------------------------------------- */

/* The bytes of the hex digits at *p, which is moved behind them: `room` at most. */
static size_t hex_read(const char **p, uint8_t *out, size_t room)
{
    size_t n = 0;
    for (int high, low; n < room; *p += 2) {
        if ((high = OPENSSL_hexchar2int((uint8_t)(*p)[0])) < 0 || (low = OPENSSL_hexchar2int((uint8_t)(*p)[1])) < 0)
            break;
        out[n++] = (uint8_t)(high << 4 | low);
    }
    return n;
}

int tls_secrets_line(struct tls_secrets *s, const char *line)
{
    static const char client[] = "CLIENT_TRAFFIC_SECRET_0 ", server[] = "SERVER_TRAFFIC_SECRET_0 ";
    _Static_assert(sizeof client == sizeof server, "both labels are as long");
    bool ours = strncmp(line, server, sizeof server - 1) == 0;
    if (!ours && strncmp(line, client, sizeof client - 1) != 0)
        return ERR_NOTFOUND;
    uint8_t random[32], secret[TLS_SECRET_MAX];
    const char *p = line + sizeof client - 1;
    int rc = ERR_INVALID;
    if (hex_read(&p, random, sizeof random) == sizeof random && *p++ == ' ') {
        size_t n = hex_read(&p, secret, sizeof secret);
        if (n && (!*p || *p == '\n' || *p == '\r')) {
            memcpy(ours ? s->server : s->client, secret, n);
            *(ours ? &s->server_n : &s->client_n) = (uint8_t)n;
            rc = 0;
        }
    }
    OPENSSL_cleanse(secret, sizeof secret);
    return rc;
}

void tls_secrets_wipe(struct tls_secrets *s)
{
    OPENSSL_cleanse(s, sizeof *s);
}

/* --- Once a thread ------------------------------------------------------------------------------------------------ */

static EVP_CIPHER_CTX *make_cipher(const EVP_CIPHER *cipher, int seals)
{
    EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();
    if (x && EVP_CipherInit_ex(x, cipher, NULL, NULL, NULL, seals) != 1) {
        EVP_CIPHER_CTX_free(x);
        x = NULL;
    }
    return x;
}

static EVP_MAC_CTX *make_hmac(EVP_MAC *hmac, const char *md)
{
    char name[16];
    strcpy(name, md);
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC_CTX *x = EVP_MAC_CTX_new(hmac);
    if (x && EVP_MAC_CTX_set_params(x, params) != 1) {
        EVP_MAC_CTX_free(x);
        x = NULL;
    }
    return x;
}

struct tls_crypto *tls_crypto_new(void)
{
    struct tls_crypto *c = calloc(1, sizeof *c);
    EVP_MAC *hmac = c ? EVP_MAC_fetch(NULL, "HMAC", NULL) : NULL;
    for (unsigned i = 0; hmac && i < SUITES; i++) {
        EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, suites[i].cipher, NULL);
        if (!cipher)
            continue;
        c->open[i] = make_cipher(cipher, 0);
        c->seal[i] = make_cipher(cipher, 1);
        c->hmac[i] = make_hmac(hmac, suites[i].md);
        EVP_CIPHER_free(cipher);
    }
    EVP_MAC_free(hmac);
    ERR_clear_error();
    if (hmac)
        return c;
    free(c);
    return NULL;
}

void tls_crypto_free(struct tls_crypto *c)
{
    for (unsigned i = 0; c && i < SUITES; i++) {
        EVP_CIPHER_CTX_free(c->open[i]);
        EVP_CIPHER_CTX_free(c->seal[i]);
        EVP_MAC_CTX_free(c->hmac[i]);
    }
    free(c);
}

/* --- Keys (section 7) --------------------------------------------------------------------------------------------- */

static const struct suite *suite_of(const struct tls_records *r)
{
    return &suites[r->suite];
}

static size_t way_size(const struct suite *s)
{
    return (size_t)s->key_n + s->secret_n;
}

static uint8_t *key_of(struct tls_records *r, int way)
{
    return r->keys + (size_t)way * way_size(suite_of(r));
}

static uint8_t *secret_of(struct tls_records *r, int way)
{
    return key_of(r, way) + suite_of(r)->key_n;
}

static void wipe_way(struct tls_records *r, int way)
{
    OPENSSL_cleanse(key_of(r, way), way_size(suite_of(r)));
    OPENSSL_cleanse(&r->way[way], sizeof r->way[way]);
}

/* HKDF-Expand-Label (7.1) with an empty context. No more than a hash is asked for, so that HKDF-Expand (RFC 5869, 2.3)
 * is its first block: HMAC(secret, label | 1). */
static bool expand(const struct tls_crypto *c, unsigned suite, const uint8_t *secret, const char *label, uint8_t *out,
                   size_t n)
{
    uint8_t info[40] = {0, (uint8_t)n}, block[TLS_SECRET_MAX];
    size_t label_n = strlen(label), size = 0;
    info[2] = (uint8_t)(6 + label_n);
    memcpy(info + 3, "tls13 ", 6);
    memcpy(info + 9, label, label_n);
    info[9 + label_n] = 0;
    info[10 + label_n] = 1;
    EVP_MAC_CTX *x = c->hmac[suite];
    bool ok = EVP_MAC_init(x, secret, suites[suite].secret_n, NULL) == 1 &&
              EVP_MAC_update(x, info, 11 + label_n) == 1 && EVP_MAC_final(x, block, &size, sizeof block) == 1 &&
              size >= n;
    if (ok)
        memcpy(out, block, n);
    else
        ERR_clear_error(); /* or the handshakes of this thread find it; below, too */
    OPENSSL_cleanse(block, sizeof block);
    return ok;
}

/* 7.3: the key and the IV that belong to the way's secret. */
static bool derive_keys(const struct tls_crypto *c, struct tls_records *r, int way)
{
    r->way[way].seq = 0;
    return expand(c, r->suite, secret_of(r, way), "key", key_of(r, way), suite_of(r)->key_n) &&
           expand(c, r->suite, secret_of(r, way), "iv", r->way[way].iv, NONCE_SIZE);
}

/* 7.2: the next secret takes the place of the present one. */
static bool update_keys(const struct tls_crypto *c, struct tls_records *r, int way)
{
    uint8_t next[TLS_SECRET_MAX];
    bool ok = expand(c, r->suite, secret_of(r, way), "traffic upd", next, suite_of(r)->secret_n);
    if (ok)
        memcpy(secret_of(r, way), next, suite_of(r)->secret_n);
    OPENSSL_cleanse(next, sizeof next);
    return ok && derive_keys(c, r, way);
}

/* 5.3: the IV, with the sequence number in its last bytes. Counts the record. */
static void next_nonce(struct tls_way *w, uint8_t nonce[NONCE_SIZE])
{
    memcpy(nonce, w->iv, NONCE_SIZE);
    for (unsigned i = 0; i < sizeof w->seq; i++)
        nonce[NONCE_SIZE - 1 - i] ^= (uint8_t)(w->seq >> 8 * i);
    w->seq++;
}

/* --- A connection ------------------------------------------------------------------------------------------------- */

static unsigned index_of(unsigned suite)
{
    unsigned i = 0;
    while (i < SUITES && suites[i].id != suite)
        i++;
    return i;
}

size_t tls_records_room(unsigned suite)
{
    unsigned i = index_of(suite);
    return i < SUITES ? sizeof(struct tls_records) + 2 * way_size(&suites[i]) : 0;
}

static bool begin(const struct tls_crypto *c, unsigned suite, const struct tls_secrets *s, uint32_t sent,
                  struct tls_records *r)
{
    unsigned i = index_of(suite);
    if (i == SUITES || !c->open[i] || !c->seal[i] || !c->hmac[i] || s->client_n != suites[i].secret_n ||
        s->server_n != suites[i].secret_n)
        return false;
    memset(r, 0, tls_records_room(suite));
    r->suite = (uint8_t)i;
    memcpy(secret_of(r, READ), s->client, s->client_n);
    memcpy(secret_of(r, WRITE), s->server, s->server_n);
    if (!derive_keys(c, r, READ) || !derive_keys(c, r, WRITE)) {
        tls_records_wipe(r);
        return false;
    }
    r->way[WRITE].seq = sent;
    return true;
}

bool tls_records_begin(struct tls_crypto *c, unsigned suite, struct tls_secrets *s, uint32_t sent,
                       struct tls_records *r)
{
    bool ok = begin(c, suite, s, sent, r);
    tls_secrets_wipe(s);
    return ok;
}

struct tls_records *tls_records_new(struct tls_crypto *c, unsigned suite, struct tls_secrets *s, uint32_t sent)
{
    size_t room = tls_records_room(suite);
    struct tls_records *r = room ? malloc(room) : NULL;
    if (r && tls_records_begin(c, suite, s, sent, r))
        return r;
    tls_secrets_wipe(s);
    free(r);
    return NULL;
}

size_t tls_records_size(const struct tls_records *r)
{
    return sizeof *r + 2 * way_size(suite_of(r));
}

void tls_records_wipe(struct tls_records *r)
{
    OPENSSL_cleanse(r, tls_records_size(r));
}

void tls_records_free(struct tls_records *r)
{
    if (r)
        tls_records_wipe(r);
    free(r);
}

unsigned tls_records_alert(const struct tls_records *r)
{
    return r->alert;
}

/* --- Alerts (section 6) ------------------------------------------------------------------------------------------- */

/* What has come is refused: the alert is all that is still sealed. */
static void fail(struct tls_records *r, enum tls_alert alert)
{
    r->state |= STATE_FAILED;
    r->alert = (uint8_t)alert;
    r->owes = r->state & STATE_DONE ? 0 : OWES_ALERT;
    wipe_way(r, READ);
}

/* Nothing is opened or sealed any more. */
static void finish(struct tls_records *r, unsigned state, unsigned alert)
{
    r->state |= (uint8_t)(state | STATE_DONE);
    r->alert = (uint8_t)alert;
    r->owes = 0;
    wipe_way(r, READ);
    wipe_way(r, WRITE);
}

/* The level says nothing in TLS 1.3: but for close_notify and user_canceled every alert ends the connection. */
static void take_alert(struct tls_records *r, const uint8_t *p, size_t n)
{
    if (n == 0)
        fail(r, TLS_ALERT_UNEXPECTED_MESSAGE); /* 5.4 */
    else if (n != ALERT_SIZE)
        fail(r, TLS_ALERT_DECODE_ERROR); /* 5.1: exactly one in a record */
    else if (p[1] == TLS_ALERT_CLOSE_NOTIFY)
        r->state |= STATE_ENDED;
    else if (p[1] != TLS_ALERT_USER_CANCELED)
        finish(r, STATE_GAVE_UP, p[1]);
}

/* --- Opening (5.1, 5.2) ------------------------------------------------------------------------------------------- */

/* The bytes of the record that begins at p; 0: its header is not here yet, or it is refused by what there is of it. */
static size_t record_size(struct tls_records *r, const uint8_t *p, size_t n)
{
    if (n && p[0] != CONTENT_DATA) /* 5: also the change_cipher_spec, which may only come before Finished */
        fail(r, TLS_ALERT_UNEXPECTED_MESSAGE);
    if (n < TLS_RECORD_HEADER || r->state & STATE_FAILED)
        return 0;
    size_t length = (size_t)p[3] << 8 | p[4];        /* the version before it is not looked at, but authenticated */
    if (length > TLS_PLAIN_MAX + 1 + TLS_RECORD_TAG) /* 5.4: with padding it is not longer */
        fail(r, TLS_ALERT_RECORD_OVERFLOW);
    else if (length < TLS_RECORD_TAG)
        fail(r, TLS_ALERT_BAD_RECORD_MAC);
    return r->state & STATE_FAILED ? 0 : TLS_RECORD_HEADER + length;
}

/* Decrypts the n bytes behind the header where they are. What is not authentic is gone, whatever is wrong with it. */
static bool unseal(const struct tls_crypto *c, struct tls_records *r, uint8_t *record, size_t n)
{
    EVP_CIPHER_CTX *x = c->open[r->suite];
    uint8_t nonce[NONCE_SIZE], *p = record + TLS_RECORD_HEADER;
    int got = 0;
    next_nonce(&r->way[READ], nonce);
    bool ok = EVP_DecryptInit_ex(x, NULL, NULL, key_of(r, READ), nonce) == 1 &&
              EVP_DecryptUpdate(x, NULL, &got, record, TLS_RECORD_HEADER) == 1 &&
              (!n || EVP_DecryptUpdate(x, p, &got, p, (int)n) == 1) &&
              EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_SET_TAG, TLS_RECORD_TAG, p + n) == 1 &&
              EVP_DecryptFinal_ex(x, p + n, &got) == 1;
    if (ok)
        return true;
    OPENSSL_cleanse(p, n);
    ERR_clear_error();
    return false;
}

/* 4.6.3: the message has come whole, with request_update as its last byte. */
static void take_key_update(const struct tls_crypto *c, struct tls_records *r, unsigned request)
{
    if (request > 1) {
        fail(r, TLS_ALERT_ILLEGAL_PARAMETER);
        return;
    }
    if (!update_keys(c, r, READ)) {
        fail(r, TLS_ALERT_INTERNAL_ERROR);
        return;
    }
    r->state &= (uint8_t)~STATE_ASKED;
    if (request && !(r->state & STATE_CLOSING))
        r->owes |= OWES_UPDATE; /* once, however many ask before it is sealed */
}

/* A KeyUpdate or a part of one: no other message may come after the handshake. As its first four bytes are always the
 * same, counting them is all that must be kept of it. */
static void take_handshake(const struct tls_crypto *c, struct tls_records *r, const uint8_t *p, size_t n)
{
    static const uint8_t head[KEY_UPDATE_SIZE - 1] = {KEY_UPDATE, 0, 0, 1};
    if (n == 0)
        fail(r, TLS_ALERT_UNEXPECTED_MESSAGE); /* 5.1, 5.4 */
    for (size_t i = 0; i < n && !(r->state & STATE_FAILED); i++) {
        if (r->part == sizeof head) {
            r->part = 0;
            if (i + 1 < n) /* 5.1: the key changes behind it, so nothing of the next message may be here */
                fail(r, TLS_ALERT_UNEXPECTED_MESSAGE);
            else
                take_key_update(c, r, p[i]);
        } else if (p[i] == head[r->part])
            r->part++;
        else
            fail(r, r->part ? TLS_ALERT_DECODE_ERROR : TLS_ALERT_UNEXPECTED_MESSAGE);
    }
}

/* 5.5: asks for another key in time, and gives up on who goes on with the present one. */
static bool check_limit(struct tls_records *r)
{
    if (r->way[READ].seq >= TLS_REFUSE_AFTER) {
        fail(r, TLS_ALERT_UNEXPECTED_MESSAGE);
        return false;
    }
    if (r->way[READ].seq >= TLS_UPDATE_AFTER && !(r->state & (STATE_ASKED | STATE_CLOSING))) {
        r->state |= STATE_ASKED;
        r->owes |= OWES_UPDATE | OWES_REQUEST;
    }
    return true;
}

/* Opens the record and takes what is in it. The bytes of plaintext behind its header. */
static size_t open_record(const struct tls_crypto *c, struct tls_records *r, uint8_t *record, size_t size)
{
    size_t n = size - TLS_RECORD_HEADER - TLS_RECORD_TAG;
    uint8_t *p = record + TLS_RECORD_HEADER;
    if (!check_limit(r))
        return 0;
    if (!unseal(c, r, record, n)) {
        fail(r, TLS_ALERT_BAD_RECORD_MAC);
        return 0;
    }
    while (n && p[n - 1] == 0) /* 5.4: padding */
        n--;
    unsigned type = n ? p[--n] : 0; /* 0, which is no type: it was all padding */
    if (type != CONTENT_DATA && type != CONTENT_HANDSHAKE && type != CONTENT_ALERT)
        fail(r, TLS_ALERT_UNEXPECTED_MESSAGE);
    else if (r->part && type != CONTENT_HANDSHAKE)
        fail(r, TLS_ALERT_UNEXPECTED_MESSAGE); /* 5.1: nothing comes between the parts of a message */
    else if (type == CONTENT_DATA && n) {
        r->useless = 0;
        return n;
    } else if (++r->useless > TLS_USELESS_MAX)
        fail(r, TLS_ALERT_UNEXPECTED_MESSAGE);
    else if (type == CONTENT_HANDSHAKE)
        take_handshake(c, r, p, n);
    else if (type == CONTENT_ALERT)
        take_alert(r, p, n);
    return 0;
}

int tls_records_open(struct tls_crypto *c, struct tls_records *r, uint8_t *p, size_t n, struct tls_opened *o)
{
    enum { STOPPED = STATE_FAILED | STATE_GAVE_UP | STATE_ENDED };
    *o = (struct tls_opened){0, 0, TLS_RECORD_HEADER};
    while (!(r->state & STOPPED)) {
        size_t size = record_size(r, p + o->used, n - o->used);
        if (size)
            o->want = size;
        if (!size || size > n - o->used)
            break;
        size_t plain = open_record(c, r, p + o->used, size);
        memmove(p + o->plain, p + o->used + TLS_RECORD_HEADER, plain);
        o->plain += plain;
        o->used += size;
        o->want = TLS_RECORD_HEADER;
    }
    if (!(r->state & STOPPED))
        return 0;
    o->used = n;
    o->want = 0;
    return r->state & STATE_GAVE_UP ? ERR_IO : r->state & STATE_FAILED ? ERR_INVALID : ERR_CLOSED;
}

/* --- Sealing (5.2) ------------------------------------------------------------------------------------------------ */

/* Makes a record at `out` of the n bytes that are behind the place of its header. Its size; 0: OpenSSL failed. */
static size_t seal_record(const struct tls_crypto *c, struct tls_records *r, uint8_t type, uint8_t *out, size_t n)
{
    EVP_CIPHER_CTX *x = c->seal[r->suite];
    uint8_t nonce[NONCE_SIZE], *p = out + TLS_RECORD_HEADER;
    size_t length = n + 1 + TLS_RECORD_TAG;
    int got = 0;
    OSSL_PARAM tag[] = {OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, p + n + 1, TLS_RECORD_TAG),
                        OSSL_PARAM_construct_end()};
    const uint8_t header[TLS_RECORD_HEADER] = {CONTENT_DATA, 3, 3, (uint8_t)(length >> 8), (uint8_t)length};
    memcpy(out, header, sizeof header);
    p[n] = type;
    next_nonce(&r->way[WRITE], nonce);
    bool ok = EVP_EncryptInit_ex(x, NULL, NULL, key_of(r, WRITE), nonce) == 1 &&
              EVP_EncryptUpdate(x, NULL, &got, out, TLS_RECORD_HEADER) == 1 &&
              EVP_EncryptUpdate(x, p, &got, p, (int)n + 1) == 1 && EVP_EncryptFinal_ex(x, p + n + 1, &got) == 1 &&
              EVP_CIPHER_CTX_get_params(x, tag) == 1; /* as EVP_CTRL_AEAD_GET_TAG, without the way to it */
    return ok ? TLS_RECORD_HEADER + length : 0;
}

/* The next `n` bytes of plaintext behind the first `from` go to `out`. */
static void gather(const struct iovec *v, size_t from, uint8_t *out, size_t n)
{
    for (; n; v++) {
        size_t part = v->iov_len > from ? v->iov_len - from : 0;
        if (part > n)
            part = n;
        if (part)
            memcpy(out, (const uint8_t *)v->iov_base + from, part);
        from = v->iov_len > from ? 0 : from - v->iov_len;
        out += part;
        n -= part;
    }
}

/* Seals what is owed, of which there is one at a time. False: OpenSSL failed. */
static bool seal_owed(const struct tls_crypto *c, struct tls_records *r, uint8_t *out, struct tls_sealed *s)
{
    uint8_t *p = out + TLS_RECORD_HEADER;
    if (r->owes & OWES_ALERT) {
        p[0] = r->alert == TLS_ALERT_CLOSE_NOTIFY ? LEVEL_WARNING : LEVEL_FATAL;
        p[1] = r->alert;
        s->n = seal_record(c, r, CONTENT_ALERT, out, ALERT_SIZE);
        r->state |= STATE_DONE;
    } else if (r->owes & OWES_UPDATE) {
        const uint8_t message[KEY_UPDATE_SIZE] = {KEY_UPDATE, 0, 0, 1, r->owes & OWES_REQUEST ? 1 : 0};
        memcpy(p, message, sizeof message);
        s->n = seal_record(c, r, CONTENT_HANDSHAKE, out, sizeof message);
        if (s->n && !update_keys(c, r, WRITE))
            return false;
    } else
        return true;
    r->owes = 0;
    return s->n > 0;
}

static bool seal_plain(const struct tls_crypto *c, struct tls_records *r, const struct iovec *v, size_t from,
                       size_t left, uint8_t *out, size_t room, struct tls_sealed *s)
{
    while (left && room > s->n + TLS_RECORD_OVERHEAD && r->way[WRITE].seq < TLS_UPDATE_AFTER) {
        size_t n = left < TLS_PLAIN_MAX ? left : TLS_PLAIN_MAX, fits = room - s->n - TLS_RECORD_OVERHEAD;
        if (n > fits && s->taken)
            break;
        if (n > fits)
            n = fits;
        gather(v, from + s->taken, out + s->n + TLS_RECORD_HEADER, n);
        size_t size = seal_record(c, r, CONTENT_DATA, out + s->n, n);
        if (!size)
            return false;
        s->n += size;
        s->taken += n;
        left -= n;
    }
    return true;
}

int tls_records_seal(struct tls_crypto *c, struct tls_records *r, const struct iovec *v, int count, size_t from,
                     uint8_t *out, size_t room, struct tls_sealed *s)
{
    ASSERT(room >= TLS_SEAL_MIN);
    *s = (struct tls_sealed){0, 0};
    size_t left = 0;
    for (int i = 0; i < count; i++)
        left += v[i].iov_len;
    left -= from < left ? from : left;
    if (r->state & STATE_DONE)
        return ERR_CLOSED;
    if (r->way[WRITE].seq >= TLS_UPDATE_AFTER) /* 5.5 */
        r->owes |= OWES_UPDATE;
    bool ok = seal_owed(c, r, out, s);
    if (ok && !(r->state & (STATE_FAILED | STATE_CLOSING)))
        ok = seal_plain(c, r, v, from, left, out, room, s);
    if (!ok) {
        ERR_clear_error();
        OPENSSL_cleanse(out, room);
        *s = (struct tls_sealed){0, 0};
        finish(r, STATE_FAILED, TLS_ALERT_INTERNAL_ERROR);
        return ERR_IO;
    }
    if (r->state & STATE_FAILED)
        wipe_way(r, WRITE); /* the alert was the last */
    return 0;
}

void tls_records_close(struct tls_records *r)
{
    if (r->state & (STATE_FAILED | STATE_CLOSING | STATE_DONE))
        return;
    r->state |= STATE_CLOSING;
    r->alert = TLS_ALERT_CLOSE_NOTIFY;
    r->owes = OWES_ALERT;
}

bool tls_records_owes(const struct tls_records *r)
{
    return r->owes != 0;
}
