/*
 * Reading single members of a JSON object without building a tree.
 *
 * For what a server sends: the text is taken to be valid JSON and only walked as far as needed. Malformed text yields
 * ERR_INVALID or a wrong value, never a read outside the slice. Pure functions, any thread.
 */
#ifndef MAGPIE_CLIENT_FIELDS_H
#define MAGPIE_CLIENT_FIELDS_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

struct client_field {
    struct slice key;   /* in: the member's name as it stands in the text, without quotes */
    struct slice value; /* out: its raw JSON text, borrowed; p is NULL when absent or null */
};

#define CLIENT_FIELD(name)                                                                                             \
    {                                                                                                                  \
        SLICE_LIT(name),                                                                                               \
        {                                                                                                              \
            NULL, 0                                                                                                    \
        }                                                                                                              \
    }

/* Looks for the members of the outermost object and stops when all are found. The number found, or ERR_INVALID when the
 * text is no object as far as it was read. */
int client_fields_read(struct slice object, struct client_field *fields, size_t count);

/* A raw value as a number: 0, or ERR_INVALID when it is no integer of at most 18 digits. */
int client_value_int(struct slice value, int64_t *out);
/* A raw value as a string without escapes: 0 and the inside, borrowed; ERR_INVALID when it is no string or has
 * escapes. */
int client_value_plain(struct slice value, struct slice *out);
/* A raw value as a string, unescaped and appended to `out` (whose buf_ok() the caller checks): 0 or ERR_INVALID. */
int client_value_string(struct slice value, struct buf *out);

/* Steps through a raw array: start with *at = 0. 1: *item is the next raw value; 0: the end; ERR_INVALID. */
int client_array_next(struct slice array, size_t *at, struct slice *item);

/* Member `key` (at most 32 bytes) as an integer: 0, ERR_NOTFOUND, or ERR_INVALID. Takes a few nanoseconds when it is
 * the last member. */
int client_field_int(struct slice object, struct slice key, int64_t *out);

/* The body is {"error":…}. */
bool client_body_refused(struct slice body);

#endif
