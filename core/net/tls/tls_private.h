/* What the files of core/net/tls share. */
#ifndef MAGPIE_NET_TLS_TLS_PRIVATE_H
#define MAGPIE_NET_TLS_TLS_PRIVATE_H

#include "core/net/tls/state.h"
#include "core/net/tls/tls.h"

struct tls_table *tls_states(struct tls *tls);

enum tls_count { TLS_COUNT_FULL, TLS_COUNT_RESUMED, TLS_COUNT_FAILED, TLS_COUNT_12, TLS_COUNT_13, TLS_COUNTS };
void tls_count(struct tls *tls, enum tls_count what);

#endif
