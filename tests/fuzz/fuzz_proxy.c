/*
 * proxy_parse(): a header is taken at its size and no other, whatever follows; a part of one is incomplete or refused,
 * never another; what it says is within it. And proxy_forwarded() over the input as a head: who is found is no proxy of
 * the list unless all are.
 */
#include "core/base/err.h"
#include "core/net/http.h"
#include "core/net/proxy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_header(const uint8_t *data, size_t size)
{
    struct proxy_header h, part;
    const char *why = NULL, *part_why = NULL;
    ssize_t n = proxy_parse(data, size, &h, &why);
    check(n <= (ssize_t)size && n <= PROXY_HEADER_MAX);
    check(n >= 0 || n == ERR_NOTFOUND || n == ERR_INVALID);
    check((n == ERR_INVALID) == (why != NULL));
    check(!(h.named && n < 0) || n == ERR_INVALID);
    check(n == ERR_NOTFOUND || n == 0 || size < 4 || proxy_begins(data, size));
    size_t most = size < 600 ? size : 600;
    for (size_t cut = 0; cut < most; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        check(copy != NULL);
        memcpy(copy, data, cut);
        ssize_t m = proxy_parse(copy, cut, &part, &part_why);
        free(copy);
        if (n > 0)
            check((ssize_t)cut < n ? m == 0 : m == n && part.named == h.named);
        else if (n == 0)
            check(m == 0);
        else
            check(m == 0 || m == n);
    }
}

static void check_head(const uint8_t *data, size_t size)
{
    static const struct http_limits limits = {.head = 4096, .fields = 64};
    static struct proxies list;
    struct http_head h;
    struct address a;
    char text[ADDRESS_TEXT];
    const char *why = NULL;
    if (!list.count)
        check(proxies_add(&list, "10.0.0.0/8") && proxies_add(&list, "::1"));
    if (http_parse(data, size, &limits, &h) <= 0)
        return;
    (void)proxy_in_head(&h);
    int rc = proxy_forwarded(&h, &list, &a, &why);
    check((rc == 0 || rc == 1 || rc == ERR_INVALID) && (rc < 0) == (why != NULL));
    if (rc == 1)
        address_print(&a, text, sizeof text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct network n;
    check_header(data, size);
    check_head(data, size);
    if (network_parse(slice_of(data, size), &n))
        check(network_has(&n, &n.first));
    return 0;
}
