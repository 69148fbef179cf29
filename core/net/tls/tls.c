#include "core/net/tls/tls.h"

#include "core/net/tls/context.h"
#include "core/net/tls/tls_private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct tls {
    pthread_mutex_t lock;        /* of the context */
    struct tls_context *context; /* that new handshakes get; a reference */
    struct tls_table *states;    /* owned */
    _Atomic uint64_t counts[TLS_COUNTS];
};

struct tls *tls_new(struct tls_context *context)
{
    struct tls *tls = calloc(1, sizeof *tls);
    if (tls)
        tls->states = tls_table_new();
    if (!tls || !tls->states) {
        free(tls);
        tls_context_unref(context);
        return NULL;
    }
    pthread_mutex_init(&tls->lock, NULL);
    tls->context = context;
    return tls;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    tls_context_unref(tls->context);
    tls_table_free(tls->states);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

void tls_use(struct tls *tls, struct tls_context *context)
{
    pthread_mutex_lock(&tls->lock);
    struct tls_context *before = tls->context;
    tls->context = context;
    pthread_mutex_unlock(&tls->lock);
    tls_context_unref(before);
}

struct tls_context *tls_context_of(struct tls *tls)
{
    pthread_mutex_lock(&tls->lock);
    struct tls_context *c = tls->context;
    tls_context_ref(c);
    pthread_mutex_unlock(&tls->lock);
    return c;
}

struct tls_table *tls_states(struct tls *tls)
{
    return tls->states;
}

void tls_count(struct tls *tls, enum tls_count what)
{
    atomic_fetch_add_explicit(&tls->counts[what], 1, memory_order_relaxed);
}

void tls_figures(const struct tls *tls, struct tls_figures *out)
{
    uint64_t n[TLS_COUNTS];
    for (unsigned i = 0; i < TLS_COUNTS; i++)
        n[i] = atomic_load_explicit(&tls->counts[i], memory_order_relaxed);
    *out = (struct tls_figures){.full = n[TLS_COUNT_FULL],
                                .resumed = n[TLS_COUNT_RESUMED],
                                .failed = n[TLS_COUNT_FAILED],
                                .tls12 = n[TLS_COUNT_12],
                                .tls13 = n[TLS_COUNT_13]};
}
