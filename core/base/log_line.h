/* One line of the log as text or JSON. Any thread, signal handlers too; private to core/base: others log through
 * log.h. */
#ifndef MAGPIE_BASE_LOG_LINE_H
#define MAGPIE_BASE_LOG_LINE_H

#include "core/base/log.h"

#include <stddef.h>

/* No more than PIPE_BUF, so that a pipe that poll() calls writable takes a line whole and at once. */
enum { LOG_LINE_MAX = 4096 };

struct log_line {
    size_t n;             /* bytes, the line feed included */
    char p[LOG_LINE_MAX]; /* not terminated by NUL */
};

/* Fills the line. A value that does not fit is cut, or left out with its key: a line never fails and stays
 * well-formed. */
void log_line_format(struct log_line *l, enum log_level level, const char *id, const struct log_field *fields,
                     enum log_format format);
/* "debug", "info", "warn", "error". Static storage. */
const char *log_level_name(enum log_level level);

#endif
