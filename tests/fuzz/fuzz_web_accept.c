/*
 * plugins/web: what a request's fields say, in a buffer of just their length. Whatever they are: nothing beyond it is
 * read, a tag that is put in front of a list is found, and so is gzip.
 */
#include "plugins/web/accept.c"

#include <stdlib.h>

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* A copy of both, one behind the other, that ends where it ends. */
static char *joined(const char *front, const uint8_t *data, size_t n)
{
    size_t m = strlen(front);
    char *out = malloc(m + n ? m + n : 1);
    must(out != NULL);
    memcpy(out, front, m);
    if (n)
        memcpy(out + m, data, n);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *alone = joined("", data, n), *tagged = joined("W/\"tag\",", data, n), *packed = joined("gzip, ", data, n);
    (void)accept_gzip(mp_str_of(alone, n));
    (void)etag_listed(mp_str_of(alone, n), "\"tag\"");
    must(etag_listed(mp_str_of(tagged, n + 8), "\"tag\""));
    must(accept_gzip(mp_str_of(packed, n + 6)));
    free(alone);
    free(tagged);
    free(packed);
    return 0;
}
