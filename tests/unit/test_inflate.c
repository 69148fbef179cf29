/* What clients may send compressed, how it may end, and that a bomb is given up at the limit. */
#include "core/net/inflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

enum { MANY = 1 << 20 };

/* Compresses; the four bytes of a message's end are taken off when the flush is Z_SYNC_FLUSH. */
static size_t pack(uint8_t *out, size_t cap, int bits, int level, int flush, const void *p, size_t n)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)cap;
    (void)deflate(&z, flush);
    size_t size = cap - z.avail_out;
    assert_true(z.avail_in == 0 && z.avail_out > 0);
    deflateEnd(&z);
    return flush == Z_SYNC_FLUSH ? size - 4 : size;
}

static void says(struct inflater *f, const char *bytes, size_t n, const char *expected)
{
    struct slice out = SLICE_NONE;
    assert_int_equal(inflate_message(f, slice_of(bytes, n), 100, &out), 0);
    assert_int_equal(out.n, strlen(expected));
    assert_true(out.n == 0 || memcmp(out.p, expected, out.n) == 0);
}

/* The examples of RFC 7692 7.2.3, and others that say the same. */
static void ends(void **state)
{
    struct inflater f = {.z = NULL};
    (void)state;
#define SAYS(bytes, expected) says(&f, bytes, sizeof bytes - 1, expected)
    SAYS("\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello");
    SAYS("\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello");                         /* again: with nothing kept of the first */
    SAYS("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello");         /* a block that is not compressed */
    SAYS("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello");                     /* marked as the last, and a 0 behind it */
    SAYS("\xf3\x48\xcd\xc9\xc9\x07\x00", "Hello");                         /* without it */
    SAYS("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"); /* two blocks */
    SAYS("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00", "HelloHello"); /* two that are marked */
    SAYS("\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00", "HelloHello");
    SAYS("\x00", "");
    SAYS("\x02\x00", "");
    SAYS("\x03\x00", "");
    SAYS("", "");
    assert_true(f.after == 50 && f.before > 80);
    inflater_free(&f);
    assert_int_equal(inflater_memory(&f), 0);
}

static void no_deflate(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {
        {"\xf2\x00\x11\x00\x00", 5},           /* looks back before the beginning: another's context */
        {"\x07", 1},                           /* a kind of block that there is not */
        {"\x00\x05\x00\x00\x00Hello\x00", 11}, /* lengths that disagree */
        {"\xff\xff\xff\xff", 4},
        {"\xf2\x48\xcd\xc9", 4}, /* ends within a block */
        {"\x00\xff\x00\x00\xff"
         "abc",
         8},                                                          /* 255 bytes were to come */
        {"\xf3\x48\xcd\xc9\xc9\x07\x00\xff", 8},                      /* behind a last block what is none */
        {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 10},             /* gzip */
        {"\x78\x9c\xf3\x48\xcd\xc9\xc9\x07\x00\x05\x8c\x01\xf5", 13}, /* zlib's own format */
    };
    struct inflater f = {.z = NULL};
    struct slice out = SLICE_LIT("kept");
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(inflate_message(&f, slice_of(cases[i].bytes, cases[i].n), 1000, &out), ERR_INVALID);
        assert_int_equal(out.n, 4);
        says(&f, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello"); /* the next one is read all the same */
    }
    inflater_free(&f);
}

/* A megabyte in a thousand bytes is given up where it passes the limit: no more was ever made room for. */
static void bombs(void **state)
{
    static uint8_t zeros[MANY], bomb[MANY];
    struct inflater f = {.z = NULL};
    struct slice out;
    (void)state;
    size_t n = pack(bomb, sizeof bomb, -15, 9, Z_SYNC_FLUSH, zeros, MANY);
    assert_true(n < 1100);
    assert_int_equal(inflate_message(&f, slice_of(bomb, n), 65536, &out), ERR_TOOLARGE);
    assert_true(f.cap <= 65537);
    assert_int_equal(inflate_message(&f, slice_of(bomb, n), MANY - 1, &out), ERR_TOOLARGE);
    assert_int_equal(inflate_message(&f, slice_of(bomb, n), MANY, &out), 0);
    assert_true(out.n == MANY && memcmp(out.p, zeros, MANY) == 0);
    assert_true(f.cap <= MANY + 1);
    assert_int_equal(inflate_message(&f, slice_of(bomb, n), 10, &out), ERR_TOOLARGE); /* the buffer has more room */
    inflater_trim(&f);
    assert_int_equal(f.cap, 0);
    assert_int_equal(inflate_message(&f, slice_of(bomb, n), 0, &out), ERR_TOOLARGE);

    n = pack(bomb, sizeof bomb, 15 + 16, 9, Z_FINISH, zeros, MANY);
    assert_int_equal(inflate_gzip(&f, slice_of(bomb, n), 65536, &out), ERR_TOOLARGE);
    assert_true(f.cap <= 65537);
    assert_int_equal(inflate_gzip(&f, slice_of(bomb, n), MANY - 1, &out), ERR_TOOLARGE);
    assert_int_equal(inflate_gzip(&f, slice_of(bomb, n), MANY, &out), 0);
    assert_int_equal(out.n, MANY);
    /* Members one after the other count together. */
    n = pack(bomb, sizeof bomb, 15 + 16, 9, Z_FINISH, zeros, 1000);
    for (int i = 1; i < 10; i++)
        memcpy(bomb + n * (size_t)i, bomb, n);
    assert_int_equal(inflate_gzip(&f, slice_of(bomb, n * 10), 9999, &out), ERR_TOOLARGE);
    assert_int_equal(inflate_gzip(&f, slice_of(bomb, n * 10), 10000, &out), 0);
    assert_int_equal(out.n, 10000);
    inflater_free(&f);
}

static void gzip(void **state)
{
    uint8_t packed[400];
    const char *text = "{\"channel\":\"tea\",\"content\":\"hello hello hello\"}";
    struct inflater f = {.z = NULL};
    struct slice out;
    (void)state;
    size_t n = pack(packed, sizeof packed, 15 + 16, 6, Z_FINISH, text, strlen(text));
    assert_int_equal(inflate_gzip(&f, slice_of(packed, n), 100, &out), 0);
    assert_true(out.n == strlen(text) && memcmp(out.p, text, out.n) == 0);
    for (size_t i = 0; i < n; i++) /* cut at any place */
        assert_int_equal(inflate_gzip(&f, slice_of(packed, i), 100, &out), ERR_INVALID);
    memcpy(packed + n, packed, n);
    assert_int_equal(inflate_gzip(&f, slice_of(packed, n + 1), 200, &out), ERR_INVALID); /* something behind it */
    assert_int_equal(inflate_gzip(&f, slice_of(packed, 2 * n), 200, &out), 0);
    assert_int_equal(out.n, 2 * strlen(text));
    packed[n - 5] ^= 1; /* the checksum */
    assert_int_equal(inflate_gzip(&f, slice_of(packed, n), 100, &out), ERR_INVALID);
    packed[n - 5] ^= 1;
    packed[n - 1] ^= 1; /* the size */
    assert_int_equal(inflate_gzip(&f, slice_of(packed, n), 100, &out), ERR_INVALID);
    n = pack(packed, sizeof packed, 15, 6, Z_FINISH, text, strlen(text)); /* zlib's own format */
    assert_int_equal(inflate_gzip(&f, slice_of(packed, n), 100, &out), ERR_INVALID);
    n = pack(packed, sizeof packed, -15, 6, Z_FINISH, text, strlen(text));
    assert_int_equal(inflate_gzip(&f, slice_of(packed, n), 100, &out), ERR_INVALID);
    /* One and the same inflater reads both. */
    says(&f, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello");
    inflater_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ends), cmocka_unit_test(no_deflate), cmocka_unit_test(bombs),
                                       cmocka_unit_test(gzip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
