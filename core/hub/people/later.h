/*
 * An answer to a call that comes later, from another thread perhaps: for the layers above, whose own struct lies behind
 * it. The connection may be gone by then; that is seen to here.
 */
#ifndef MAGPIE_HUB_LATER_H
#define MAGPIE_HUB_LATER_H

#include "core/base/slice.h"
#include "core/hub/people/call.h"

#include <stddef.h>

/* Inside the handler: `size` zeroed bytes of the registrar's own, which are valid until the answer is sent. NULL: out
 * of memory, and the call has been answered `internal`. */
void *later_begin(struct call *c, size_t size);
/* Sends the answer; any thread, once. `own` is what later_begin() returned, and is gone when this returns. `body` is a
 * JSON object; empty: {}. It is copied. */
void later_reply(void *own, struct slice body);
/* Sends an error instead. The message is valid UTF-8, and cut where it is too long; retry_after_ms: of
 * CODE_RATE_LIMITED. */
void later_fail(void *own, enum code code, const char *message, uint32_t retry_after_ms);

#endif
