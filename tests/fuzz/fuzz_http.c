/*
 * http_parse(), http_chunks_take() and the handshake: what is returned lies within the head and holds no line end; a
 * part of a good head is incomplete, never wrong; what is refused stays refused with more behind it; and who may be
 * upgraded has a key that is answered. And origin.c: a list of origins allows those that are in it, and makes names
 * known.
 */
#include "core/base/err.h"
#include "core/net/handshake.h"
#include "core/net/http.h"
#include "core/net/origin.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits limits = {.head = 4096, .fields = 64};

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_slice(struct slice s, const uint8_t *data, size_t n)
{
    if (s.n == 0)
        return;
    const uint8_t *p = (const uint8_t *)s.p;
    check((p >= data && p + s.n <= data + n) || slice_eq(s, SLICE_LIT("/")));
    check(!memchr(p, '\r', s.n) && !memchr(p, '\n', s.n) && !memchr(p, 0, s.n));
}

static void check_head(const struct http_head *h, const uint8_t *data, size_t n)
{
    const struct slice own[] = {h->method, h->target, h->path, h->query, h->host};
    check(n <= limits.head && h->field_count <= limits.fields && memcmp(data + n - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        check_slice(own[i], data, n);
    for (uint32_t i = 0; i < h->field_count; i++) {
        check(h->fields[i].name.n > 0);
        check_slice(h->fields[i].name, data, n);
        check_slice(h->fields[i].value, data, n);
    }
    check(h->path.n > 0 && (h->path.p[0] == '/' || h->path.p[0] == '*'));
}

static void shake(const struct http_head *h)
{
    static const char *const list[] = {"https://chat.example", NULL};
    const char *why = NULL;
    char accept[HANDSHAKE_ACCEPT + 1];
    unsigned count, status;
    struct slice origin = http_get(h, "origin", &count);
    /* A list only adds names. */
    check(!origin_knows_host(h->host, NULL) || origin_knows_host(h->host, list));
    if (http_is(h->host, "chat.example"))
        check(!origin_knows_host(h->host, NULL) && origin_knows_host(h->host, list));
    if (count) {
        bool loopback = origin_allowed(origin, h->host, NULL, ORIGIN_LOOPBACK);
        /* To a loopback address only known names lead, and a Unix socket is the widest. */
        check(!loopback || origin_knows_host(h->host, NULL));
        check(!(loopback || origin_allowed(origin, h->host, NULL, ORIGIN_NETWORK)) ||
              origin_allowed(origin, h->host, NULL, ORIGIN_UNIX));
        check(origin_allowed(origin, h->host, list, ORIGIN_LOOPBACK) ==
              slice_eq(origin, SLICE_LIT("https://chat.example")));
    }
    if (!handshake_wanted(h))
        return;
    status = handshake_check(h, &why);
    check((status == 101) == (why == NULL));
    if (status == 101)
        check(handshake_accept(http_get(h, "sec-websocket-key", &count), accept) && strlen(accept) == HANDSHAKE_ACCEPT);
}

/* A chunked body: what comes of it does not depend on where it is cut, and what was taken stays within bounds. */
static void chunks(const uint8_t *data, size_t size)
{
    uint8_t *whole = malloc(size + 1), *cut = malloc(size + 1);
    size_t to[2] = {0, 0}, pos[2] = {0, 0}, most = size / 2, at = size ? data[size - 1] % size : 0;
    struct http_chunks k[2] = {{.left = 0}, {.left = 0}};
    memcpy(whole, data, size);
    memcpy(cut, data, size);
    enum http_chunked r = http_chunks_take(&k[0], whole, &to[0], &pos[0], size, most),
                      first = http_chunks_take(&k[1], cut, &to[1], &pos[1], at, most);
    check(to[0] <= pos[0] && pos[0] <= size && to[0] <= most);
    if (first == HTTP_CHUNKED_MORE)
        first = http_chunks_take(&k[1], cut, &to[1], &pos[1], size, most);
    check(r == first);
    if (r == HTTP_CHUNKED_MORE || r == HTTP_CHUNKED_DONE)
        check(to[0] == to[1] && pos[0] == pos[1] && memcmp(whole, cut, to[0]) == 0);
    free(whole);
    free(cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    chunks(data, size);
    struct http_head h, part;
    ssize_t n = http_parse(data, size, &limits, &h);
    check(n <= (ssize_t)size && (n >= 0 || n == ERR_INVALID));
    check((n < 0) == (h.why != NULL) && (n < 0) == (h.status != 0));
    for (size_t step = size / 7 + 1, at = 0; at < size; at += step) {
        ssize_t m = http_parse(data, at, &limits, &part);
        /* Where nothing changed, looking again would have said the same: not complete. */
        for (size_t more = 1; m == 0 && at > 0 && at + more <= size && more <= 64; more++)
            check(http_changed(data, at + more, more, &limits) || http_parse(data, at + more, &limits, &part) == 0);
        if (n > 0)
            check((ssize_t)at < n ? m == 0 : m == n);
        else if (n == 0)
            check(m == 0);
        else
            check(m == 0 || (m == n && part.status == h.status));
    }
    if (n > 0) {
        check_head(&h, data, (size_t)n);
        shake(&h);
    }
    return 0;
}
