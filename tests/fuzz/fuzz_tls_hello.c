/*
 * What TLS holds of a connection before its records and between them: core/net/tls/hello.c and the bytes of state.c.
 * The input comes in pieces, as from a socket, into a block of exactly its size. The first verdict but HELLO_MORE
 * stays, is what a walk byte by byte finds, and comes before HELLO_MAX bytes; what is held is what came, decrypted or
 * not.
 *
 * Input: a byte for the size of the pieces, then what the client sends.
 */
#include "core/net/tls/hello.h"
#include "core/net/tls/state.h"

#include <stdlib.h>
#include <string.h>

enum { PREFIXES = 600, PIECES_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* The verdict on a block without a byte behind it. */
static enum hello look(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    check(copy != NULL);
    if (n)
        memcpy(copy, p, n);
    enum hello is = hello_look(copy, n);
    free(copy);
    return is;
}

/* Whether a whole ClientHello is there: the records' contents are put together, then looked at. */
static bool is_whole(const uint8_t *p, size_t n)
{
    static uint8_t message[HELLO_MAX];
    size_t at = 0, got = 0;
    n = n < HELLO_MAX ? n : HELLO_MAX;
    for (unsigned pieces = 0; at + HELLO_RECORD_HEADER <= n && pieces < PIECES_MAX; pieces++) {
        size_t length = (size_t)p[at + 3] * 256 + p[at + 4];
        if (p[at] != 22 || p[at + 1] != 3 || length == 0 || at + HELLO_RECORD_HEADER + length > HELLO_MAX)
            return false;
        at += HELLO_RECORD_HEADER;
        for (size_t i = 0; i < length && at < n; i++)
            message[got++] = p[at++];
        if (got && message[0] != 1)
            return false;
        size_t need = got < 4 ? SIZE_MAX : 4 + (size_t)message[1] * 65536 + (size_t)message[2] * 256 + message[3];
        if (got >= 4 && need > HELLO_MAX)
            return false;
        if (got >= need)
            return true;
    }
    return false;
}

static void check_verdicts(const uint8_t *p, size_t n)
{
    enum hello is = HELLO_MORE;
    size_t most = n < PREFIXES ? n : PREFIXES;
    for (size_t k = 0; k <= most; k++) {
        enum hello now = look(p, k);
        check(is == HELLO_MORE || now == is);
        check((now == HELLO_WHOLE) == is_whole(p, k));
        check((now != HELLO_HTTP && now != HELLO_OTHER) || k > 0);
        is = now;
    }
    enum hello all = look(p, n);
    check(is == HELLO_MORE || n >= HELLO_MAX || all == is);
    check((all == HELLO_WHOLE) == is_whole(p, n));
    check(all != HELLO_MORE || n < HELLO_MAX);
    size_t record = hello_record(p, n);
    check(record == 0 || (record >= HELLO_RECORD_HEADER && record <= n));
}

/* As tls_hear() collects, and a step takes whole records of it and leaves the rest. */
static void check_collecting(const uint8_t *p, size_t n, size_t piece)
{
    struct tls_state s = {.phase = TLS_HELLO};
    size_t at = 0, whole = 0;
    enum hello is = HELLO_MORE;
    while (at < n && is == HELLO_MORE) {
        size_t m = piece < n - at ? piece : n - at;
        check(tls_hold_append(&s, p + at, m) == 0);
        at += m;
        check(s.hold->n == at && s.hold->room >= at && s.hold->plain == 0 && memcmp(s.hold->data, p, at) == 0);
        check(tls_hold_size(&s) < sizeof *s.hold + 2 * (at > 512 ? at : 512));
        is = hello_look(s.hold->data, s.hold->n);
    }
    for (size_t size; s.hold && (size = hello_record(s.hold->data + whole, at - whole)) != 0;)
        whole += size;
    if (s.hold)
        check(tls_hold_set(&s, NULL, 0, s.hold->data + whole, at - whole) == 0);
    check(whole == at ? !s.hold
                      : s.hold && s.hold->n == at - whole && memcmp(s.hold->data, p + whole, at - whole) == 0);
    tls_hold_drop(&s);
}

/* As a record layer leaves more plaintext than was asked for, and the beginning of a record behind it. */
static void check_giving(const uint8_t *p, size_t n, size_t piece)
{
    struct tls_state s = {.phase = TLS_OWN};
    size_t plain = n * piece / 256, at = 0;
    uint8_t out[256];
    check(tls_hold_set(&s, p, plain, p + plain, n - plain) == 0);
    while (s.hold && s.hold->plain) {
        size_t m = tls_hold_take(&s, out, piece);
        check(m > 0 && m <= piece && at + m <= plain && memcmp(out, p + at, m) == 0);
        at += m;
    }
    check(at == plain);
    check(plain == n ? !s.hold : s.hold && s.hold->n == n - plain && memcmp(s.hold->data, p + plain, n - plain) == 0);
    if (s.hold)
        check(tls_hold_append(&s, p, plain) == 0 && s.hold->n == n);
    tls_hold_drop(&s);
    check(tls_hold_take(&s, out, piece) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t piece = data[0] ? data[0] : 256;
    check_verdicts(data + 1, size - 1);
    check_collecting(data + 1, size - 1, piece);
    check_giving(data + 1, size - 1, piece);
    return 0;
}
