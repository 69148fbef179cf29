/* From the tree that the config file returned to a struct config: the checks of single values (config_read.c) and of
 * their relations (config_check.c). */
#ifndef MAGPIE_CONFIG_CONFIG_READ_H
#define MAGPIE_CONFIG_CONFIG_READ_H

#include "core/base/buf.h"
#include "core/config/config_schema.h"

#include <stdbool.h>

struct cJSON;
struct config;

enum { CONFIG_ERRORS_MAX = 100 }; /* lines that are written; the rest is only counted */

struct config_reader {
    struct config *c;               /* filled in; borrowed */
    const char *name;               /* of the file, for errors; borrowed */
    struct buf *errors;             /* one a line; borrowed */
    unsigned error_count;           /* errors found, written or not */
    bool given[CONFIG_OPTIONS_MAX]; /* by index in the schema: whether the file sets it */
};

/* Takes every value of the tree over into r->c; what is wrong is told in r->errors and left as it was. */
void config_read_tree(struct config_reader *r, const struct cJSON *root);
/* Whether the file gave the option of this path. */
bool config_read_given(const struct config_reader *r, const char *path);
/* One error, "NAME: PATH: text"; path NULL: about the whole file. */
void config_error(struct config_reader *r, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
