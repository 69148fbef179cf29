#include "core/hub/shard/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static const uint8_t secret[TOKEN_SECRET_BYTES] = "0123456789abcdef0123456789abcde";
static const uint64_t now = 1700000000000ull;

/* A key of the secret; the last one is forgotten. */
static struct token_key *key_of(const uint8_t *of)
{
    static struct token_key key;
    assert_int_equal(token_key_set(&key, of), 0);
    return &key;
}

static int check(struct slice token, const uint8_t *of, uint32_t *epoch, char *id_out, size_t *n)
{
    struct slice id;
    uint64_t issued = 0;
    int rc = token_check(token, key_of(of), id_out, &id, epoch, &issued);
    if (rc == 0) {
        *n = id.n;
        assert_int_equal(issued, now);
    }
    return rc;
}

static void round_trip(void **state)
{
    (void)state;
    const char *ids[] = {"a", "u.1:x-Y_z", "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < 3; i++) {
        char token[TOKEN_MAX + 1], id[64];
        uint32_t epoch = 0;
        size_t n = 0;
        size_t len = token_make(token, key_of(secret), slice_str(ids[i]), 7 + (uint32_t)i, now);
        assert_true(len <= TOKEN_MAX);
        assert_int_equal(check(slice_of(token, len), secret, &epoch, id, &n), 0);
        assert_int_equal(epoch, 7 + i);
        assert_true(slice_eq(slice_of(id, n), slice_str(ids[i])));
    }
}

/* What token.h describes, made by somebody else: Python's hmac and base64. Tokens outlive the server that issued
 * them. */
static void as_described(void **state)
{
    (void)state;
    char token[TOKEN_MAX + 1];
    size_t len = token_make(token, key_of(secret), SLICE_LIT("alice"), 1, now);
    assert_string_equal(token, "AQAAAAEAAAGLz-VoAGFsaWNl7nE4mrKHe3Gzal44EOeH5g1R-nHeQhjMsgM_NGuqFvw");
    assert_int_equal(len, strlen(token));
}

/* No single changed, dropped or added character makes another valid token. */
static void every_mangled_token_is_refused(void **state)
{
    (void)state;
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ ";
    char token[TOKEN_MAX + 1], bad[TOKEN_MAX + 4], id[64];
    uint32_t epoch;
    size_t n, len = token_make(token, key_of(secret), SLICE_LIT("alice"), 1, now);
    for (size_t i = 0; i < len; i++) {
        for (size_t k = 0; k < sizeof alphabet; k++) {
            memcpy(bad, token, len);
            bad[i] = alphabet[k];
            if (bad[i] != token[i])
                assert_int_equal(check(slice_of(bad, len), secret, &epoch, id, &n), ERR_AUTH);
        }
        assert_int_equal(check(slice_of(token, i), secret, &epoch, id, &n), ERR_AUTH);
    }
    memcpy(bad, token, len);
    bad[len] = 'A';
    assert_int_equal(check(slice_of(bad, len + 1), secret, &epoch, id, &n), ERR_AUTH);
}

static void other_secrets_are_refused(void **state)
{
    (void)state;
    uint8_t other[TOKEN_SECRET_BYTES];
    char token[TOKEN_MAX + 1], id[64];
    uint32_t epoch;
    size_t n, len = token_make(token, key_of(secret), SLICE_LIT("alice"), 1, now);
    struct slice t = slice_of(token, len);
    memcpy(other, secret, sizeof other);
    other[31] ^= 1;
    assert_int_equal(check(t, other, &epoch, id, &n), ERR_AUTH);
    assert_int_equal(check(t, secret, &epoch, id, &n), 0);
    assert_int_equal(check(SLICE_LIT(""), secret, &epoch, id, &n), ERR_AUTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(as_described),
        cmocka_unit_test(every_mangled_token_is_refused),
        cmocka_unit_test(other_secrets_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
