/*
 * Structured log: a line is a level, a stable event id ("conn.refused") and key=value pairs; text or JSON from one
 * call.
 *
 *     log_event(LOG_WARN, "listen.in_use", LOG_STR("address", addr), LOG_INT("errno", errno));
 *
 * Any thread. Lines are written whole with one write(2). Each event id is limited to 20 lines a second per process;
 * what was suppressed is counted and told by a line log.suppressed. Never pass secrets (tokens, passwords) or message
 * content. Values from users are escaped: no control character reaches the output.
 */
#ifndef MAGPIE_BASE_LOG_H
#define MAGPIE_BASE_LOG_H

#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
    const char *key; /* lower_snake_case */
    enum { LOG_F_END, LOG_F_STR, LOG_F_INT } type;
    struct slice str; /* of LOG_F_STR; borrowed for the call */
    int64_t num;      /* of LOG_F_INT */
};

#define LOG_STR(k, v)   ((struct log_field){.key = (k), .type = LOG_F_STR, .str = slice_str(v)})
#define LOG_SLICE(k, v) ((struct log_field){.key = (k), .type = LOG_F_STR, .str = (v)})
#define LOG_INT(k, v)   ((struct log_field){.key = (k), .type = LOG_F_INT, .num = (int64_t)(v)})

#define log_event(level, id, ...)                                                                                      \
    do {                                                                                                               \
        if (log_enabled(level))                                                                                        \
            log_write((level), (id), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.type = LOG_F_END}});       \
    } while (0)

/* Opens (or reopens, for rotation) the destination: file NULL means standard error. Errors: ERR_IO, the old destination
 * stays. */
int log_open(const char *file, enum log_format format, enum log_level level);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *id, const struct log_field *fields);
/* Without the limit of 20 lines a second: for what must not be missing, such as orders of operators. */
void log_write_all(enum log_level level, const char *id, const struct log_field *fields);
/* "debug", "info", "warn", "error" → level; negative when unknown. */
int log_level_parse(struct slice name);

#endif
