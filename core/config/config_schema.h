/*
 * The schema of the config file, and what is asked of it by path.
 *
 * The type of an option decides how its value is checked, printed, compared and freed. It also decides the C type of
 * the member of struct config that holds it; config_schema.c proves that at compile time.
 */
#ifndef MAGPIE_CONFIG_CONFIG_SCHEMA_H
#define MAGPIE_CONFIG_CONFIG_SCHEMA_H

#include "core/base/buf.h"
#include "core/base/schema.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;

enum config_type {
    OPT_SECTION,   /* a table of options: no member */
    OPT_COUNT,     /* whole number: uint32_t */
    OPT_SIZE,      /* bytes, whole: uint64_t */
    OPT_SECONDS,   /* double */
    OPT_MS,        /* milliseconds: double */
    OPT_BOOL,      /* bool */
    OPT_ENUM,      /* one of `choices`: int, the index */
    OPT_TEXT,      /* char *, owned */
    OPT_ADDRESSES, /* a listening address or a list of them: struct config_strings */
    OPT_TEXTS,     /* a list of texts: struct config_strings */
    OPT_FILES,     /* a file or a list of them: struct config_strings */
    OPT_PLUGINS    /* name = options: struct cJSON * */
};

enum config_flag {
    OPT_F_RESTART = 1 << 0, /* a reload cannot change it */
    OPT_F_NIL = 1 << 1,     /* a text that may be absent (NULL) */
    OPT_F_SECRET = 1 << 2   /* its value is never shown */
};

struct config_option {
    const char *path; /* "limits.frame" */
    enum config_type type;
    unsigned flags;             /* enum config_flag */
    size_t offset;              /* of the member in struct config; OPT_SECTION: 0 */
    double min, max;            /* numbers: inclusive; OPT_TEXT: least length in bytes */
    const char *const *choices; /* OPT_ENUM: NULL-terminated names */
    const char *fallback;       /* the default as Lua text; sections: NULL */
    const char *help;           /* one or two sentences, no line breaks */
};

extern const struct config_option config_schema[];
extern const unsigned config_schema_count;

enum { CONFIG_OPTIONS_MAX = 128 }; /* config_schema_count is below that: for arrays beside the schema */
enum { CONFIG_PATH_MAX = 160 };    /* bytes of a path in errors, with its NUL; longer ones are cut */

/* The option (or section) of this very path; NULL when there is none. */
const struct config_option *config_schema_find(const char *path);
/* The path that was probably meant by an unknown one: a slip of the fingers, or the right key in the wrong place. NULL:
 * none is near. */
const char *config_schema_nearest(const char *path);
/* What a value of this option must be. */
struct schema_rule config_schema_rule(const struct config_option *option);

/* The member of a config that an option stands for; the caller casts by the option's type. */
void *config_member(struct config *c, const struct config_option *option);
const void *config_member_const(const struct config *c, const struct config_option *option);

#endif
