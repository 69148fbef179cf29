#include "core/net/tls/context.h"

#include "core/base/log.h"
#include "core/net/tls/certificate.h"

#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { WARN_DAYS = 14, WHY_BYTES = 512 };

/* Forward secret and authenticated ones only; AES-128 first: it costs least, and our own record layer knows it. */
static const char ciphers_12[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
static const char ciphers_13[] = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
static const char groups[] = "X25519:P-256";
static const unsigned char session_context[] = "magpie";

struct tls_context {
    _Atomic unsigned refs;
    unsigned count; /* of ctx */
    bool own_records;
    SSL_CTX *ctx[]; /* one a certificate; each a reference */
};

/* --- Called by OpenSSL -------------------------------------------------------------------------------------------- */

/* Chooses the certificate by the name that the client asks for. An exact name goes before a wildcard. */
static int on_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls_context *c = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    if (!name || c->count == 1)
        return SSL_TLSEXT_ERR_OK;
    for (int exact = 1; exact >= 0; exact--) {
        for (unsigned i = 0; i < c->count; i++) {
            if (certificate_is_for(c->ctx[i], name, exact)) {
                if (i > 0)
                    SSL_set_SSL_CTX(ssl, c->ctx[i]);
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    return SSL_TLSEXT_ERR_OK;
}

/* Browsers' ports speak HTTP/1.1 and nothing else. On other ports a client of HTTP is refused: a page may have been
 * tricked into sending a browser there (ALPACA). */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned in_n,
                   void *arg)
{
    static const unsigned char http[] = "\x08http/1.1", h2[] = "\x02h2";
    const struct tls_told *told = SSL_get_app_data(ssl);
    bool has_http = false, has_h2 = false;
    (void)arg;
    for (unsigned at = 0; at < in_n && at + in[at] < in_n; at += 1U + in[at]) {
        if (in[at] + 1U == sizeof http - 1 && memcmp(in + at, http, sizeof http - 1) == 0) {
            *out = in + at + 1;
            *out_n = in[at];
            has_http = true;
        }
        has_h2 = has_h2 || (in[at] + 1U == sizeof h2 - 1 && memcmp(in + at, h2, sizeof h2 - 1) == 0);
    }
    if (!told || !told->web)
        return has_http || has_h2 ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
    return has_http ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The traffic secrets, for our own record layer. They go nowhere else, and into no file. */
static void on_keylog(const SSL *ssl, const char *line)
{
    struct tls_told *told = SSL_get_app_data(ssl);
    if (told && told->line)
        told->line(told, line);
}

/* --- Making ------------------------------------------------------------------------------------------------------- */

static void settle(SSL_CTX *ctx, const struct tls_context *c, bool tickets)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA | (tickets ? 0 : SSL_OP_NO_TICKET));
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, tickets ? 1 : 0);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, (void *)(uintptr_t)c);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    if (c->own_records)
        SSL_CTX_set_keylog_callback(ctx, on_keylog);
}

static int add_ca(SSL_CTX *ctx, const char *file, struct buf *errors)
{
    STACK_OF(X509_NAME) *names = NULL;
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(ctx, file) != 1 || !(names = SSL_load_client_CA_file(file))) {
        unsigned long e = ERR_peek_error();
        const char *text = ERR_GET_LIB(e) == ERR_LIB_SYS ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);
        buf_printf(errors, "tls.client_ca: %s: %s\n", file, text ? text : "no certificate in PEM form is in it");
        ERR_clear_error();
        return ERR_INVALID;
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return 0;
}

static int add(struct tls_context *c, const struct tls_context_options *o, struct tls_tickets *tickets,
               struct buf *errors)
{
    unsigned i = c->count;
    char why[WHY_BYTES];
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, ciphers_12) != 1 || SSL_CTX_set_ciphersuites(ctx, ciphers_13) != 1 ||
        SSL_CTX_set1_groups_list(ctx, groups) != 1 ||
        SSL_CTX_set_session_id_context(ctx, session_context, sizeof session_context - 1) != 1 ||
        (tickets && tls_tickets_use(tickets, ctx) != 0)) {
        buf_printf(errors, "tls: OpenSSL cannot be set up: %s\n", ERR_reason_error_string(ERR_peek_error()));
        SSL_CTX_free(ctx);
        return ERR_NOMEM;
    }
    settle(ctx, c, tickets != NULL);
    c->ctx[c->count++] = ctx;
    int rc = certificate_load(ctx, o->certificates[i], o->keys[i], why, sizeof why);
    if (rc != 0)
        buf_printf(errors, "%s: %s\n", rc == ERR_AUTH ? "tls.key" : "tls.certificate", why);
    return rc == 0 && o->client_ca ? add_ca(ctx, o->client_ca, errors) : rc;
}

struct tls_context *tls_context_new(const struct tls_context_options *o, struct tls_tickets *tickets,
                                    struct buf *errors)
{
    struct tls_context *c = calloc(1, sizeof *c + o->count * sizeof *c->ctx);
    int bad = 0;
    if (!c) {
        buf_str(errors, "tls: out of memory\n");
        return NULL;
    }
    atomic_init(&c->refs, 1);
    c->own_records = o->own_records;
    for (unsigned i = 0; i < o->count; i++)
        if (add(c, o, tickets, errors) != 0) {
            bad++;
            if (c->count <= i)
                break;
        }
    if (bad == 0)
        return c;
    tls_context_unref(c);
    return NULL;
}

void tls_context_ref(struct tls_context *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void tls_context_unref(struct tls_context *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < c->count; i++)
        SSL_CTX_free(c->ctx[i]);
    free(c);
}

void tls_context_log(const struct tls_context *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        struct buf names = BUF_INIT;
        bool early;
        int32_t days = certificate_days(c->ctx[i], &early);
        certificate_names(c->ctx[i], &names);
        if (early)
            log_event(LOG_WARN, "tls.certificate", LOG_SLICE("for", buf_slice(&names)),
                      LOG_STR("doubt", "not valid yet"));
        else if (days < 0)
            log_event(LOG_WARN, "tls.certificate", LOG_SLICE("for", buf_slice(&names)), LOG_STR("doubt", "expired"),
                      LOG_INT("days", days));
        else if (days < WARN_DAYS)
            log_event(LOG_WARN, "tls.certificate", LOG_SLICE("for", buf_slice(&names)),
                      LOG_STR("doubt", "expires soon"), LOG_INT("days", days));
        else
            log_event(LOG_INFO, "tls.certificate", LOG_SLICE("for", buf_slice(&names)), LOG_INT("days", days));
        buf_free(&names);
    }
}

int32_t tls_context_days(const struct tls_context *c)
{
    int32_t least = INT32_MAX;
    for (unsigned i = 0; i < c->count; i++) {
        bool early;
        int32_t days = certificate_days(c->ctx[i], &early);
        least = days < least ? days : least;
    }
    return least;
}

SSL *tls_context_ssl(struct tls_context *c, struct tls_told *told)
{
    SSL *ssl = SSL_new(c->ctx[0]);
    if (ssl && SSL_set_app_data(ssl, told) == 1) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_free(ssl);
    return NULL;
}

bool tls_context_own_records(const struct tls_context *c)
{
    return c->own_records;
}
