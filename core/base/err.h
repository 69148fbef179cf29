/*
 * Error codes and assertions.
 *
 * Functions return 0 or a negative enum err; functions that return pointers return NULL. The two are never mixed.
 */
#ifndef MAGPIE_BASE_ERR_H
#define MAGPIE_BASE_ERR_H

#include <stdbool.h>

enum err {
    ERR_OK = 0,
    ERR_NOMEM = -1,    /* an allocation failed; nothing was changed */
    ERR_INVALID = -2,  /* the input is malformed or out of range */
    ERR_NOTFOUND = -3, /* no such thing */
    ERR_EXISTS = -4,   /* it is there already */
    ERR_FULL = -5,     /* a limit is reached */
    ERR_IO = -6,       /* the operating system refused; errno tells more */
    ERR_AGAIN = -7,    /* not now; try later */
    ERR_CLOSED = -8,   /* the other side, or the object, is gone */
    ERR_TOOLARGE = -9, /* over a size limit */
    ERR_AUTH = -10     /* not allowed */
};

/* A short English phrase for `code` ("out of memory"). Static storage. */
const char *err_str(int code);

/* Fatal assertion: a bug of ours after which going on could lose data. Logs where and aborts. Never compiled out. */
#define ASSERT(expr) ((expr) ? (void)0 : err_fatal(__FILE__, __LINE__, #expr))
_Noreturn void err_fatal(const char *file, int line, const char *expr);

/* Recoverable assertion: a surprise. Logs once in a while and yields the condition, for `if (!SURELY(x)) return …`. */
#define SURELY(expr) ((expr) ? true : err_surprise(__FILE__, __LINE__, #expr))
bool err_surprise(const char *file, int line, const char *expr);

#define MUST_CHECK __attribute__((warn_unused_result))

#endif
