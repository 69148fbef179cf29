/* UTF-8 (RFC 3629) and the value rules of the protocol, section 3. Pure functions. */
#ifndef MAGPIE_BASE_UTF8_H
#define MAGPIE_BASE_UTF8_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Whole string valid: no overlong forms, no surrogates, nothing above U+10FFFF. Fast on ASCII. */
bool utf8_valid(struct slice s);

/* The longest beginning that is valid: of a text that was cut, or never was one. Borrows. */
struct slice utf8_prefix(struct slice s);

/* Streaming check over fragments: start with state 0; returns false once invalid; at the end the text is complete iff
 * *state == 0. */
bool utf8_check(uint32_t *state, const void *p, size_t n);

/* Valid UTF-8 that holds a control character: C0 (U+0000-001F), DEL (U+007F) or C1 (U+0080-009F). */
bool utf8_has_control(struct slice s);

/* 1-64 bytes of A-Z a-z 0-9 _ . : - */
bool value_user_id(struct slice s);
/* 1-64 bytes of UTF-8 without control characters. */
bool value_name(struct slice s);
/* A valid name that people would take for "system", the sender of what the server says itself: whatever its case and
 * width, with spaces and invisible characters wherever they stand. Letters of other scripts that look the same are not
 * looked for: there is no end of them, and of names that claim to be somebody. */
bool value_name_reserved(struct slice name);
/* As a name, and without leading or trailing space. */
bool value_channel(struct slice s);

#endif
