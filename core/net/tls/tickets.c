#include "core/net/tls/tickets.h"

#include "core/base/log.h"
#include "core/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAME = 16, /* bytes by which a ticket tells its key, as OpenSSL wants them */
    SEAL = 32, /* of AES-256 */
    PROVE = 32 /* of HMAC-SHA-256 */
};

struct ticket_key {
    int64_t born; /* seconds of the wall clock */
    uint8_t name[NAME], seal[SEAL], prove[PROVE];
};

struct tls_tickets {
    pthread_mutex_t lock;                    /* of the keys */
    struct ticket_key keys[TLS_TICKET_KEYS]; /* the first one seals */
    unsigned count;                          /* of keys in use */
    char *path;                              /* of the file; owned; NULL: memory only */
};

/* --- The file -----------------------------------------------------------------------------------------------------
 *
 * A line a key, the newest first: its birth in seconds, and its 80 bytes in hexadecimal digits.
 */

enum { KEY_BYTES = NAME + SEAL + PROVE, FILE_MAX = 4096 };

static void put_key(FILE *f, const struct ticket_key *k)
{
    const uint8_t *parts[] = {k->name, k->seal, k->prove};
    static const unsigned sizes[] = {NAME, SEAL, PROVE};
    fprintf(f, "%" PRId64 " ", k->born);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned j = 0; j < sizes[i]; j++)
            fprintf(f, "%02x", parts[i][j]);
    fputc('\n', f);
}

static bool get_key(const char *line, struct ticket_key *k)
{
    uint8_t bytes[KEY_BYTES];
    char *end;
    errno = 0;
    k->born = strtoll(line, &end, 10);
    if (errno || end == line || *end++ != ' ')
        return false;
    for (unsigned i = 0; i < KEY_BYTES; i++, end += 2) {
        unsigned byte;
        char two[3] = {end[0], end[0] ? end[1] : '\0', '\0'};
        if (strspn(two, "0123456789abcdef") != 2 || sscanf(two, "%x", &byte) != 1)
            return false;
        bytes[i] = (uint8_t)byte;
    }
    memcpy(k->name, bytes, NAME);
    memcpy(k->seal, bytes + NAME, SEAL);
    memcpy(k->prove, bytes + NAME + SEAL, PROVE);
    explicit_bzero(bytes, sizeof bytes);
    return *end == '\0';
}

/* The directory's entry must be on the disk as well. */
static int sync_directory(const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

/* Writes a whole file beside it and puts that in its place. */
static int write_file(const struct tls_tickets *t)
{
    char fresh[PATH_MAX];
    if (!t->path)
        return 0;
    if ((size_t)snprintf(fresh, sizeof fresh, "%s.%ld", t->path, (long)getpid()) >= sizeof fresh) {
        errno = ENAMETOOLONG;
        return -1;
    }
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    for (unsigned i = 0; i < t->count; i++)
        put_key(f, &t->keys[i]);
    int rc = fflush(f) == 0 && fsync(fd) == 0 ? 0 : -1;
    int saved = errno;
    fclose(f);
    if (rc == 0 && (rc = rename(fresh, t->path)) != 0)
        saved = errno;
    if (rc != 0)
        unlink(fresh);
    errno = saved;
    return rc == 0 ? sync_directory(t->path) : rc;
}

/* What is wrong with the file, or NULL. */
static const char *file_bad(int fd, char *why, size_t why_size)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return strerror(errno);
    if (!S_ISREG(st.st_mode))
        return "is no plain file";
    if (st.st_mode & 077) {
        snprintf(why, why_size,
                 "has mode %04o, so that others than its owner may use it; remove it, and new keys are made",
                 st.st_mode & 07777);
        return why;
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        snprintf(why, why_size, "belongs to user %u, not to this process", (unsigned)st.st_uid);
        return why;
    }
    return NULL;
}

/* Takes the keys that are still good. A line that is none is passed over: new keys cost a few full handshakes. */
static void take_lines(struct tls_tickets *t, char *text, int64_t now)
{
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line && t->count < TLS_TICKET_KEYS;
         line = strtok_r(NULL, "\n", &save)) {
        struct ticket_key *k = &t->keys[t->count];
        if (!get_key(line, k))
            log_event(LOG_WARN, "tls.tickets", LOG_STR("file", t->path), LOG_STR("because", "a line is no key"));
        else if (k->born <= now + TLS_TICKET_SECONDS && now - k->born < 2 * TLS_TICKET_SECONDS)
            t->count++;
    }
}

static int read_file(struct tls_tickets *t, int64_t now, char *why, size_t why_size)
{
    char text[FILE_MAX + 1], reason[128];
    int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    const char *bad = fd < 0 ? errno == ELOOP ? "is a symbolic link, and must be a plain file" : strerror(errno)
                             : file_bad(fd, reason, sizeof reason);
    ssize_t n = bad ? -1 : read(fd, text, FILE_MAX);
    if (!bad && n < 0)
        bad = strerror(errno);
    if (fd >= 0)
        close(fd);
    if (bad) {
        snprintf(why, why_size, "%s: %s", t->path, bad);
        return ERR_IO;
    }
    text[n] = '\0';
    take_lines(t, text, now);
    explicit_bzero(text, sizeof text);
    return 0;
}

/* --- Turning ------------------------------------------------------------------------------------------------------ */

static void make_key(struct ticket_key *k, int64_t now)
{
    k->born = now;
    random_bytes(k->name, sizeof k->name);
    random_bytes(k->seal, sizeof k->seal);
    random_bytes(k->prove, sizeof k->prove);
}

/* A key from the future was made before the clock was set right: it has served long enough as well. */
static bool is_due(const struct tls_tickets *t, int64_t now)
{
    return t->count == 0 || now - t->keys[0].born >= TLS_TICKET_SECONDS || t->keys[0].born > now + 60;
}

int tls_tickets_turn(struct tls_tickets *t, int64_t now)
{
    if (!is_due(t, now))
        return 1;
    pthread_mutex_lock(&t->lock);
    for (unsigned i = TLS_TICKET_KEYS - 1; i > 0; i--)
        t->keys[i] = t->keys[i - 1];
    make_key(&t->keys[0], now);
    if (t->count < TLS_TICKET_KEYS)
        t->count++;
    pthread_mutex_unlock(&t->lock);
    return write_file(t) == 0 ? 0 : ERR_IO;
}

struct tls_tickets *tls_tickets_new(const char *directory, int64_t now, char *why, size_t why_size)
{
    struct tls_tickets *t = calloc(1, sizeof *t);
    size_t n = directory ? strlen(directory) + sizeof "/ticket-keys" : 0;
    if (t)
        pthread_mutex_init(&t->lock, NULL);
    if (!t || (directory && !(t->path = malloc(n)))) {
        snprintf(why, why_size, "the keys of session tickets: out of memory");
        tls_tickets_free(t);
        return NULL;
    }
    if (directory)
        snprintf(t->path, n, "%s/ticket-keys", directory);
    if (directory && read_file(t, now, why, why_size) != 0) {
        tls_tickets_free(t);
        return NULL;
    }
    if (tls_tickets_turn(t, now) == ERR_IO) {
        snprintf(why, why_size, "%s: %s", t->path, strerror(errno));
        tls_tickets_free(t);
        return NULL;
    }
    return t;
}

void tls_tickets_free(struct tls_tickets *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t->path);
    explicit_bzero(t->keys, sizeof t->keys);
    free(t);
}

/* --- For OpenSSL -------------------------------------------------------------------------------------------------- */

/* The key of a ticket, or the one that seals (name NULL). False: it is not known any more. */
static bool find_key(struct tls_tickets *t, const uint8_t *name, struct ticket_key *out, bool *old)
{
    bool found = false;
    pthread_mutex_lock(&t->lock);
    for (unsigned i = 0; i < t->count && !found; i++) {
        found = !name || memcmp(name, t->keys[i].name, NAME) == 0;
        if (found) {
            *out = t->keys[i];
            *old = i > 0;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

static bool arm(const struct ticket_key *k, const uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
    uint8_t prove[PROVE];
    char digest[] = "sha256";
    memcpy(prove, k->prove, sizeof prove);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, prove, sizeof prove),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    bool ok = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->seal, iv, enc) == 1 &&
              EVP_MAC_CTX_set_params(mac, params) == 1;
    explicit_bzero(prove, sizeof prove);
    return ok;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1: go on; 2: opened, and to be sealed anew; 0: a ticket of nobody; -1. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int enc)
{
    struct tls_tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key k;
    bool old = false, ok;
    if (!t || !find_key(t, enc ? NULL : name, &k, &old))
        return enc ? -1 : 0;
    if (enc)
        memcpy(name, k.name, NAME);
    ok = (!enc || RAND_bytes(iv, EVP_CIPHER_iv_length(EVP_aes_256_cbc())) == 1) && arm(&k, iv, cipher, mac, enc);
    explicit_bzero(&k, sizeof k);
    /* A client may show a ticket of TLS 1.3 only once (RFC 8446, C.4), and browsers do: so it gets another. */
    return !ok ? -1 : old || (!enc && SSL_version(ssl) == TLS1_3_VERSION) ? 2 : 1;
}

int tls_tickets_use(struct tls_tickets *t, SSL_CTX *ctx)
{
    SSL_CTX_set_timeout(ctx, TLS_TICKET_SECONDS);
    return SSL_CTX_set_app_data(ctx, t) == 1 && SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1 ? 0
                                                                                                          : ERR_NOMEM;
}
