/* The error codes of protocol.md section 2. */
#ifndef MAGPIE_HUB_CODE_H
#define MAGPIE_HUB_CODE_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdint.h>

struct buf;
struct hub;
struct shard;

enum code {
    CODE_OK,
    CODE_BAD_REQUEST,
    CODE_UNKNOWN_ACTION,
    CODE_UNAUTHORIZED,
    CODE_FORBIDDEN,
    CODE_NOT_FOUND,
    CODE_TOO_LARGE,
    CODE_QUOTA,
    CODE_RATE_LIMITED,
    CODE_UNAVAILABLE,
    CODE_INTERNAL,
    CODE_COUNT
};

/* "bad_request" …; static storage. */
const char *code_name(enum code code);
/* Writes the body of an error. `message` may have been cut inside a character; retry_after_ms: of
 * CODE_RATE_LIMITED, and of others that end by themselves; 0: not told. */
void code_encode(struct buf *b, enum code code, const char *message, uint32_t retry_after_ms);
/* The retry_after_ms of an error: as given; or, where it is 0, of a store on other machines that is away: when that may
 * be back. 0: none is told. */
uint32_t code_wait(const struct shard *s, enum code code, uint32_t retry_after_ms);
/* A client is answered with this error. Each way of doing so says it; on the shard's thread. */
void code_count(struct shard *s, enum code code);
/* Registers the metrics of what was counted. Before hub_start(). */
MUST_CHECK int codes_register(struct hub *hub);
/* What was written, or, where there was no memory for it, a body that says so. */
struct slice code_slice(const struct buf *b);

#endif
