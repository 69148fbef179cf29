/*
 * The security log: who logged in, who was refused, who was banned, with addresses, in a file of its own
 * (log.security). Lines have the form of the log's (log.h), none is left out for coming too often, and no secret is
 * ever in one.
 *
 *     security_event("login.refused", LOG_STR("ip", ip), LOG_STR("code", code_name(code)));
 *
 * Any thread. Nobody waits for the disk: lines go into a ring, from which a thread writes them. What does not fit, or
 * cannot be written, is lost, and the log says so (log.security_lost).
 */
#ifndef MAGPIE_BASE_LOG_SECURITY_H
#define MAGPIE_BASE_LOG_SECURITY_H

#include "core/base/log.h"

#define security_event(id, ...)                                                                                        \
    do {                                                                                                               \
        if (security_enabled())                                                                                        \
            security_write((id), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.type = LOG_F_END}});           \
    } while (0)

/* Where lines go from now on: `file` is appended to (mode 0600), and opened anew where it was moved. NULL: nowhere.
 * ERR_IO, with errno: it is no regular file that can be written; ERR_NOMEM: no thread. Then all stays as it was. */
MUST_CHECK int security_open(const char *file, enum log_format format);
/* Writes what waits, two seconds at most, and ends the thread. */
void security_close(void);
bool security_enabled(void);
void security_write(const char *id, const struct log_field *fields);

#endif
