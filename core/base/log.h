/*
 * Structured log: a line is a level, a stable event id ("conn.refused") and key=value pairs; text or JSON from one
 * call.
 *
 *     log_event(LOG_WARN, "listen.in_use", LOG_STR("address", addr), LOG_INT("errno", errno));
 *
 * Any thread. Nobody waits for the log's reader or disk: lines go into a ring of fixed size, from which one thread
 * writes them in order. What does not fit is lost and counted; a line log.lost tells how many, once lines are read
 * again. Without log_start(), in tools and tests, the caller writes by itself.
 *
 * Each event id is limited to 20 lines a second per process. A line log.suppressed tells how many were left out, when
 * the second is over. Never pass secrets (tokens, passwords) or message content. Values from users are escaped: no
 * control character reaches the output. Not for signal handlers.
 */
#ifndef MAGPIE_BASE_LOG_H
#define MAGPIE_BASE_LOG_H

#include "core/base/err.h"
#include "core/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;

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

/* Opens where lines go from now on: `file` is appended to, NULL means standard error. A FIFO is opened whether anybody
 * reads it or not, and so must be readable by this process too. ERR_IO, with errno: all stays as it was. */
int log_open(const char *file, enum log_format format, enum log_level level);
/* The same for a file that was moved away; format and level stay. */
int log_reopen(const char *file);
/* Starts the thread that writes, and sees to it that a crash of the process waits a moment for the lines before it, and
 * leaves one more, server.crash, with the signal, the thread and whose code it was (running.h).
 * A child after fork() has no such thread and writes by itself. Once, on the main thread. ERR_NOMEM. */
MUST_CHECK int log_start(void);
/* Waits until all lines are written, at most half a second, and ends the thread. One that hangs in a write is left
 * to the end of the process, and later lines are lost. */
void log_stop(void);
/* Waits until what was logged before is written, at most `ms`. For those who end the process at once. Signal-safe. */
void log_flush(uint32_t ms);

struct log_stats {
    uint64_t lost;       /* lines that nobody read in time, or that no disk took, since the start */
    uint64_t suppressed; /* lines left out by the limit of their event, since the start */
};

void log_get_stats(struct log_stats *out);
/* Appends the newest lines, some 200 of which are kept in memory: oldest first, as they were written, each with its
 * line feed. Lines that were lost or suppressed are not among them. */
void log_tail(unsigned lines, struct buf *out);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *id, const struct log_field *fields);
/* Without the limit of 20 lines a second: for what must not be missing, such as orders of operators. */
void log_write_all(enum log_level level, const char *id, const struct log_field *fields);
/* "debug", "info", "warn", "error" → level; negative when unknown. */
int log_level_parse(struct slice name);

#endif
