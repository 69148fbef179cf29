/* Hashes: the seeded one, and the one that is the same everywhere. */
#include "core/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void hashes(void **state)
{
    (void)state;
    /* The same on every machine and in every run: what is on disk depends on it. */
    uint64_t stable = hash_stable(SLICE_LIT("magpie")), empty = hash_stable(SLICE_NONE);
    assert_true(stable != hash_stable(SLICE_LIT("Magpie")));
    assert_true(stable != empty);
    uint64_t before = hash_bytes(SLICE_LIT("magpie"));
    hash_init();
    assert_true(hash_stable(SLICE_LIT("magpie")) == stable);
    assert_true(hash_stable(SLICE_NONE) == empty);
    assert_true(hash_bytes(SLICE_LIT("magpie")) != before); /* seeded now */
    assert_true(hash_bytes(SLICE_LIT("magpie")) == hash_bytes(slice_of("magpie!", 6)));
    unsigned buckets[16] = {0};
    char text[16];
    for (int i = 0; i < 16000; i++) {
        size_t n = (size_t)snprintf(text, sizeof text, "user%d", i);
        buckets[hash_bytes(slice_of(text, n)) >> 60]++;
    }
    for (int i = 0; i < 16; i++)
        assert_in_range(buckets[i], 700, 1300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
