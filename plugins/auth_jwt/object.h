/*
 * Reads a JSON object (RFC 8259) strictly, and leaves numbers as they are written: an id of 64 bits must not be
 * rounded. A token is not refused for the size of a claim that nobody here asks for. Any thread.
 */
#ifndef MAGPIE_PLUGINS_AUTH_JWT_OBJECT_H
#define MAGPIE_PLUGINS_AUTH_JWT_OBJECT_H

#include <stdbool.h>
#include <stddef.h>

enum { MEMBERS_MAX = 256, DEPTH_MAX = 32 };

enum value_kind { VALUE_ABSENT, VALUE_TEXT, VALUE_NUMBER, VALUE_ARRAY, VALUE_OBJECT, VALUE_TRUE, VALUE_FALSE };

/* Bytes inside the text that was read. Not NUL-terminated. */
struct part {
    char *p;
    size_t n;
};

struct value {
    enum value_kind kind;
    struct part text; /* a text without its escapes and quotes, everything else as it is written */
};

struct member {
    struct part name; /* without its escapes */
    struct value value;
};

struct object {
    unsigned count;
    struct member list[MEMBERS_MAX];
};

/*
 * Reads the one object in text[0..n), whose escapes are undone where they stand: the members point into it. NULL when
 * it is good; else a static phrase that says what is wrong. Two members of one name are wrong (RFC 7515 section 4, RFC
 * 7519 section 4), at the top; deeper ones are nobody's concern here. MEMBERS_MAX members at most, DEPTH_MAX levels.
 */
const char *object_read(struct object *o, char *text, size_t n);

/* The member of that name, case and all; VALUE_ABSENT when there is none, or null. */
struct value object_get(const struct object *o, const char *name);

bool part_is(struct part part, const char *text);

/* Whether one of an array's texts is this one. Undoes the escapes of the array's texts, so that it can be asked once
 * only. */
bool array_has(struct value array, const char *text);

/* The number; it is finite, or false. `number` must be a VALUE_NUMBER of an object_read(). */
bool number_value(struct value number, double *out);

#endif
