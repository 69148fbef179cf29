/* What is compressed, that zlib reads it whatever its window, and how it ends. */
#include "core/net/deflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

enum { LARGE = 300000 };

static uint8_t text[LARGE];

/* Words that come back at all distances, so that a window matters. */
static void fill(void)
{
    static const char *const words[] = {"magpie", "tea", "wagon", "Elster", "pica", "сорока", "かささぎ", "urraca"};
    uint32_t x = 7;
    for (size_t n = 0; n < sizeof text;) {
        x = x * 1664525 + 1013904223;
        const char *w = words[x >> 29];
        for (size_t i = 0; w[i] && n < sizeof text; i++)
            text[n++] = (uint8_t)w[i];
        if (n < sizeof text)
            text[n++] = (uint8_t)('a' + (x >> 20) % 26);
    }
}

/* Inflates in steps so small that only the window of `bits` can tell what lies further back. Blocks that are marked as
 * the last one are not read on from. */
static void reads(struct slice packed, int bits, const uint8_t *expected, size_t n)
{
    z_stream z = {0};
    uint8_t *in = malloc(packed.n + 4), out[16];
    size_t at = 0;
    assert_non_null(in);
    memcpy(in, packed.p, packed.n);
    memcpy(in + packed.n, "\0\0\xff\xff", 4);
    assert_int_equal(inflateInit2(&z, bits), Z_OK);
    z.next_in = in;
    z.avail_in = (uInt)packed.n + (bits < 0 ? 4 : 0);
    int rc = Z_OK;
    while (rc == Z_OK) {
        z.next_out = out;
        z.avail_out = sizeof out;
        rc = inflate(&z, Z_SYNC_FLUSH);
        size_t got = sizeof out - z.avail_out;
        assert_true(at + got <= n);
        assert_memory_equal(out, expected + at, got);
        at += got;
    }
    assert_int_equal(at, n);
    assert_int_equal(rc, bits < 0 ? Z_BUF_ERROR : Z_STREAM_END); /* a message has no end of its own */
    assert_int_equal(z.avail_in, 0);
    inflateEnd(&z);
    free(in);
}

static void messages(void **state)
{
    static const size_t sizes[] = {40, 100, 512, 8192, 8193, 65536, LARGE};
    struct deflater d = {.threshold = 0};
    (void)state;
    for (int level = 1; level <= 9; level += 2) {
        deflater_configure(&d, 0, level);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t n = sizes[i];
            const struct slice parts[] = {slice_of(text, 4), SLICE_NONE, slice_of(text + 4, n - 5),
                                          slice_of(text + n - 1, 1)};
            struct slice wide = deflate_message(&d, DEFLATE_WIDE, parts, 4);
            assert_non_null(wide.p);
            assert_true(wide.n < n);
            reads(wide, -15, text, n);
            struct slice narrow = deflate_message(&d, DEFLATE_NARROW, parts, 4);
            assert_non_null(narrow.p);
            reads(narrow, -9, text, n);
            reads(narrow, -8, text, n);
        }
    }
    assert_true(d.before > d.after);
    assert_true(deflater_memory(&d) > 300000);
    deflater_free(&d);
    assert_int_equal(deflater_memory(&d), 0);
}

/* The same message again is the same bytes: nothing is kept of those before it. */
static void no_context(void **state)
{
    struct deflater d = {.threshold = 0};
    char first[600];
    (void)state;
    deflater_configure(&d, 0, 6);
    struct slice part = slice_of(text, 600), large = slice_of(text, 9000);
    struct slice a = deflate_message(&d, DEFLATE_WIDE, &part, 1);
    size_t n = a.n;
    assert_true(n > 0 && n < sizeof first);
    memcpy(first, a.p, n);
    for (int i = 0; i < 3; i++) {
        assert_non_null(deflate_message(&d, DEFLATE_WIDE, &large, 1).p); /* which changes the level in between */
        struct slice b = deflate_message(&d, DEFLATE_WIDE, &part, 1);
        assert_int_equal(b.n, n);
        assert_memory_equal(b.p, first, n);
    }
    deflater_free(&d);
}

static void gzip(void **state)
{
    static const size_t sizes[] = {100, 512, 8193, LARGE};
    struct deflater d = {.threshold = 0};
    (void)state;
    deflater_configure(&d, 0, 6);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct slice packed = deflate_gzip(&d, slice_of(text, sizes[i]));
        assert_non_null(packed.p);
        assert_true(packed.n < sizes[i]);
        reads(packed, 15 + 16, text, sizes[i]);
    }
    deflater_free(&d);
}

/* What does not become smaller, by a single byte, goes as it is; and never is a byte written beyond what it may be. */
static void not_smaller(void **state)
{
    struct deflater d = {.threshold = 0};
    uint8_t noise[2000], zeros[64] = {0};
    uint32_t x = 1;
    (void)state;
    for (size_t i = 0; i < sizeof noise; i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (uint8_t)(x >> 24);
    }
    deflater_configure(&d, 0, 6);
    for (size_t n = 0; n <= sizeof noise; n += n < 100 ? 1 : 97) {
        struct slice part = slice_of(noise, n);
        assert_null(deflate_message(&d, DEFLATE_WIDE, &part, 1).p);
        assert_null(deflate_gzip(&d, part).p);
    }
    /* Where the line is: a run of zeros becomes 3 or 4 bytes, and gzip is 18 more. */
    size_t message = 0, zip = 0;
    for (size_t n = 1; n <= sizeof zeros; n++) {
        struct slice part = slice_of(zeros, n), packed = deflate_message(&d, DEFLATE_WIDE, &part, 1);
        assert_true(!packed.p || packed.n < n);
        if (!message && packed.p)
            message = n;
        packed = deflate_gzip(&d, part);
        assert_true(!packed.p || packed.n < n);
        if (!zip && packed.p)
            zip = n;
    }
    assert_in_range(message, 4, 7);
    assert_in_range(zip, 20, 25);
    deflater_free(&d);
}

static void threshold_and_level(void **state)
{
    struct deflater d = {.threshold = 0};
    struct slice below = slice_of(text, 511), at = slice_of(text, 512);
    (void)state;
    assert_null(deflate_message(&d, DEFLATE_WIDE, &at, 1).p); /* level 0 until it is configured */
    deflater_configure(&d, 512, 6);
    assert_null(deflate_message(&d, DEFLATE_WIDE, &below, 1).p);
    assert_null(deflate_gzip(&d, below).p);
    assert_int_equal(deflater_memory(&d), 0); /* nothing was made for them */
    assert_non_null(deflate_message(&d, DEFLATE_WIDE, &at, 1).p);
    assert_non_null(deflate_gzip(&d, at).p);
    deflater_configure(&d, 0, 6);
    assert_non_null(deflate_message(&d, DEFLATE_WIDE, &below, 1).p);
    deflater_configure(&d, 0, 0);
    assert_null(deflate_message(&d, DEFLATE_WIDE, &at, 1).p);
    assert_null(deflate_gzip(&d, at).p);
    deflater_free(&d);
}

static void buffers_are_given_back(void **state)
{
    struct deflater d = {.threshold = 0};
    struct slice all = slice_of(text, LARGE), few = slice_of(text, 1000);
    (void)state;
    deflater_configure(&d, 0, 1);
    assert_non_null(deflate_message(&d, DEFLATE_WIDE, &few, 1).p);
    uint64_t before = deflater_memory(&d);
    deflater_trim(&d);
    assert_int_equal(deflater_memory(&d), before);
    assert_non_null(deflate_message(&d, DEFLATE_WIDE, &all, 1).p);
    assert_true(deflater_memory(&d) > before + 250000);
    deflater_trim(&d);
    assert_true(deflater_memory(&d) <= before);
    assert_non_null(deflate_message(&d, DEFLATE_WIDE, &few, 1).p);
    deflater_free(&d);
}

int main(void)
{
    fill();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),    cmocka_unit_test(no_context),          cmocka_unit_test(gzip),
        cmocka_unit_test(not_smaller), cmocka_unit_test(threshold_and_level), cmocka_unit_test(buffers_are_given_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
