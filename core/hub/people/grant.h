/*
 * Grants: what an authentication provider vouches for beside id and name, for one connection: claims, and the time at
 * which the login ends. Connections without either, as in auth.mode "open", have none and cost nothing. Private to
 * core/hub.
 */
#ifndef MAGPIE_HUB_GRANT_H
#define MAGPIE_HUB_GRANT_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdint.h>

struct grants;
struct shard;

/* Bytes of a connection's claims, as the JSON object that the provider gives. */
enum { GRANT_CLAIMS_MAX = 4096 };

void grants_fini(struct shard *s);
/* The connection's grant from now on. expires_ms: since 1970, by store_date_ms(); 0: it has no end. Takes claims (NULL:
 * none), NUL-terminated. ERR_NOMEM: all stays as it was, and claims are freed. */
MUST_CHECK int grant_set(struct shard *s, uint32_t conn, uint64_t expires_ms, char *claims);
/* The connection is gone. */
void grant_drop(struct shard *s, uint32_t conn);
/* The claims, borrowed until the next change; empty: none. conn may be NONE. */
struct slice grant_claims(const struct shard *s, uint32_t conn);
/* When it ends; 0: never. */
uint64_t grant_expires_ms(const struct shard *s, uint32_t conn);
/* Housekeeping, every tick of a shard: closes connections whose login ends, some at a time. */
void grants_tick(struct shard *s);

#endif
