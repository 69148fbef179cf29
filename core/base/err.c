#include "core/base/err.h"
#include "core/base/log.h"
#include <stdlib.h>
const char *err_str(int code)
{
    static const char *const text[] = {
        "no error",           "out of memory", "invalid", "not found", "exists already", "a limit is reached",
        "input/output error", "try again",     "closed",  "too large", "not allowed"};
    return code <= 0 && code >= -10 ? text[-code] : "unknown error";
}
void err_fatal(const char *file, int line, const char *expr)
{
    log_write(LOG_ERROR, "bug.fatal",
              (const struct log_field[]){
                  LOG_STR("file", file), LOG_INT("line", line), LOG_STR("expected", expr), {.type = LOG_F_END}});
    abort();
}
bool err_surprise(const char *file, int line, const char *expr)
{
    log_event(LOG_ERROR, "bug.surprise", LOG_STR("file", file), LOG_INT("line", line), LOG_STR("expected", expr));
    return false;
}
