/*
 * extension_negotiate(): the values of some Sec-WebSocket-Extensions fields, a line each. Whatever is agreed upon was
 * offered: the answer is one that RFC 7692 allows, and the same offer alone gets the same.
 */
#include "core/net/extension.h"
#include "core/net/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static int negotiate(const char *p, size_t n, struct extension *e)
{
    static struct http_head h;
    h.field_count = 0;
    for (const char *end = p + n; p < end && h.field_count < 8;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t line = (size_t)((stop ? stop : end) - p);
        h.fields[h.field_count++] = (struct http_field){SLICE_LIT("Sec-WebSocket-Extensions"), slice_of(p, line)};
        p += line + (stop != NULL);
    }
    return extension_negotiate(&h, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char offered[] = "permessage-deflate";
    struct extension e, again;
    char *text = malloc(size + 1), answer[EXTENSION_ANSWER_MAX], alone[128];
    check(text != NULL);
    if (size)
        memcpy(text, data, size);
    int rc = negotiate(text, size, &e);
    check(rc == 0 || rc == ERR_INVALID);
    if (rc == 0) {
        extension_answer(&e, answer);
        check(strlen(answer) < EXTENSION_ANSWER_MAX && e.deflate == (answer[0] != '\0'));
        check(!e.deflate || memmem(text, size, offered, sizeof offered - 1) != NULL);
        check(e.window_bits == 0 || (e.window_bits >= 8 && e.window_bits <= 15));
    }
    if (rc == 0 && e.deflate) {
        const char *bits = strstr(answer, "server_max_window_bits=");
        check((bits != NULL) == (e.window_bits != 0));
        int n = bits ? snprintf(alone, sizeof alone, "%s; server_max_window_bits=%u", offered, e.window_bits)
                     : snprintf(alone, sizeof alone, "%s", offered);
        if (bits) {
            int told = atoi(bits + strlen("server_max_window_bits="));
            check(told >= 8 && told <= e.window_bits && (told == 15) == !extension_narrow(&e));
        }
        check(negotiate(alone, (size_t)n, &again) == 0 && again.deflate && again.window_bits == e.window_bits);
    }
    free(text);
    return 0;
}
