#include "core/net/tls/certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What OpenSSL says of its last failure. */
static const char *reason(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = ERR_GET_LIB(e) == ERR_LIB_SYS ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);
    return text ? text : "it cannot be used";
}

/* Nobody is there to be asked for a passphrase. */
static int no_passphrase(char *out, int size, int writing, void *asked)
{
    (void)out, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static FILE *open_file(const char *path, struct stat *st, char *why, size_t why_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    FILE *f = fd >= 0 && fstat(fd, st) == 0 ? fdopen(fd, "r") : NULL;
    if (f && S_ISREG(st->st_mode))
        return f;
    snprintf(why, why_size, "%s: %s", path, f ? "is no plain file" : strerror(errno));
    if (f)
        fclose(f);
    else if (fd >= 0)
        close(fd);
    return NULL;
}

static EVP_PKEY *read_key(const char *path, char *why, size_t why_size)
{
    struct stat st;
    bool asked = false;
    FILE *f = open_file(path, &st, why, why_size);
    if (!f)
        return NULL;
    if (st.st_mode & 07) {
        snprintf(
            why, why_size,
            "%s: has mode %04o, so that any user of this machine may use the key; make it 0600, or 0640 for a group",
            path, (unsigned)(st.st_mode & 07777));
        fclose(f);
        return NULL;
    }
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, no_passphrase, &asked);
    fclose(f);
    if (!key && asked)
        snprintf(why, why_size,
                 "%s: the key is encrypted, and nobody is there to give its passphrase; take it off (openssl pkey -in)",
                 path);
    else if (!key && (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE ||
                      ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_UNSUPPORTED))
        snprintf(why, why_size, "%s: no private key in PEM form is in it", path);
    else if (!key)
        snprintf(why, why_size, "%s: %s", path, reason());
    return key;
}

/* The first certificate of the file is our own, those behind it are the way to an authority. */
static int read_chain(SSL_CTX *ctx, const char *path, char *why, size_t why_size)
{
    struct stat st;
    FILE *f = open_file(path, &st, why, why_size);
    if (!f)
        return ERR_INVALID;
    X509 *own = PEM_read_X509_AUX(f, NULL, NULL, NULL), *next = NULL;
    bool ok = own && SSL_CTX_use_certificate(ctx, own) == 1;
    X509_free(own);
    if (!ok)
        snprintf(why, why_size, "%s: %s", path,
                 own                                                            ? reason()
                 : ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE ? "no certificate in PEM form is in it"
                                                                                : reason());
    while (ok && (next = PEM_read_X509(f, NULL, NULL, NULL)) != NULL)
        if (SSL_CTX_add0_chain_cert(ctx, next) != 1) {
            snprintf(why, why_size, "%s: %s", path, reason());
            X509_free(next);
            ok = false;
        }
    if (ok && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        snprintf(why, why_size, "%s: a certificate behind the first one: %s", path, reason());
        ok = false;
    }
    fclose(f);
    ERR_clear_error();
    return ok ? 0 : ERR_INVALID;
}

int certificate_load(SSL_CTX *ctx, const char *certificate, const char *key, char *why, size_t why_size)
{
    ERR_clear_error();
    if (read_chain(ctx, certificate, why, why_size) != 0)
        return ERR_INVALID;
    EVP_PKEY *k = read_key(key, why, why_size);
    if (!k) {
        ERR_clear_error();
        return ERR_AUTH;
    }
    bool fits = X509_check_private_key(SSL_CTX_get0_certificate(ctx), k) == 1;
    bool taken = fits && SSL_CTX_use_PrivateKey(ctx, k) == 1;
    EVP_PKEY_free(k);
    if (!fits)
        snprintf(why, why_size, "%s: is not the key of the certificate in %s", key, certificate);
    else if (!taken)
        snprintf(why, why_size, "%s: %s", key, reason());
    ERR_clear_error();
    return taken ? 0 : ERR_AUTH;
}

bool certificate_is_for(SSL_CTX *ctx, const char *name, bool exact)
{
    unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | (exact ? X509_CHECK_FLAG_NO_WILDCARDS : 0);
    return X509_check_host(SSL_CTX_get0_certificate(ctx), name, 0, flags, NULL) == 1;
}

int32_t certificate_days(SSL_CTX *ctx, bool *early)
{
    const X509 *x = SSL_CTX_get0_certificate(ctx);
    int days = 0, seconds = 0;
    *early = X509_cmp_current_time(X509_get0_notBefore(x)) > 0;
    if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)))
        return INT32_MAX;
    return days == 0 && seconds < 0 ? -1 : days;
}

void certificate_names(SSL_CTX *ctx, struct buf *out)
{
    X509 *x = SSL_CTX_get0_certificate(ctx);
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    size_t before = out->n;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        if (n->type != GEN_DNS)
            continue;
        buf_str(out, out->n > before ? ", " : "");
        buf_put(out, (const char *)ASN1_STRING_get0_data(n->d.dNSName), (size_t)ASN1_STRING_length(n->d.dNSName));
    }
    GENERAL_NAMES_free(names);
    if (out->n == before)
        buf_str(out, "no name");
}
