/*
 * Rules of single values that people write, in the config and as options of plugins: whether a value fits, and what to
 * say when it does not: "expected a whole number (0 to 256), found 7.5". Any thread.
 */
#ifndef MAGPIE_BASE_SCHEMA_H
#define MAGPIE_BASE_SCHEMA_H

#include "core/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct cJSON;

enum schema_type {
    SCHEMA_NUMBER,  /* any number */
    SCHEMA_COUNT,   /* a whole number */
    SCHEMA_SIZE,    /* bytes, a whole number */
    SCHEMA_SECONDS, /* a duration */
    SCHEMA_MS,      /* a duration in milliseconds */
    SCHEMA_BOOL,
    SCHEMA_ENUM, /* one of `choices` */
    SCHEMA_TEXT,
    SCHEMA_TEXTS, /* a list of texts; with choices: each one of them */
    SCHEMA_OTHER  /* checked by whoever has the rule; `phrase` says what it must be */
};

/* An upper bound of a number that is there against slips only, and not worth a word: seconds, beyond a century; counts,
 * near 2^32. */
static const double schema_ever = 4e9;

struct schema_rule {
    enum schema_type type;
    double min, max;            /* inclusive; SCHEMA_TEXT: of its length in bytes, where max is greater */
    const char *const *choices; /* NULL-terminated; SCHEMA_ENUM, and SCHEMA_TEXTS where not NULL */
    const char *phrase;         /* "an address"; NULL: that of the type */
    bool optional;              /* a text may be absent */
    bool secret;                /* its value is never shown, and no text in it is empty: that would protect nothing */
};

/* Whether the number fits: by its bounds, and whole where it must be. */
bool schema_number(const struct schema_rule *r, double v);
/* Whether the text, or one of the texts, fits: by its length, and by the choices where there are any. */
bool schema_text(const struct schema_rule *r, const char *text);
/* The index of the text among the choices; -1: none of them. */
int schema_choice(const struct schema_rule *r, const char *text);
/* "a whole number (0 to 256)": what a value must be. Sizes are written as Lua would: 64*KiB. */
void schema_expected(const struct schema_rule *r, struct buf *out);
/* "expected …, found …". */
void schema_unexpected(const struct schema_rule *r, const struct cJSON *item, struct buf *out);
/* What stands there, for people; of a secret only its kind. */
void schema_found(const struct cJSON *item, bool secret, struct buf *out);
/* A number as Lua would write it: 65536 as 64*KiB where the type is a size. */
void schema_number_text(enum schema_type type, double v, struct buf *out);
/* Text from a file, for people: cut after `max` bytes, and without anything that could act on a terminal or break the
 * line. */
void schema_plain(const char *text, size_t max, struct buf *out);

#endif
