/* Tokens of plugins/auth_jwt against the examples of the RFCs, and what must not pass beside them. */
#include "plugins/auth_jwt/verify.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* RFC 7515, A.1 to A.3, and RFC 8037, A.4: the algorithm, the key, and the token in three parts. */
struct example {
    const char *algorithm, *key, *header, *claims, *signature;
};

#define CLAIMS "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

static const char hmac_key[] =
    "\x03\x23\x35\x4b\x2b\x0f\xa5\xbc\x83\x7e\x06\x65\x77\x7b\xa6\x8f\x5a\xb3\x28\xe6\xf0\x54"
    "\xc9\x28\xa9\x0f\x84\xb2\xd2\x50\x2e\xbf\xd3\xfb\x5a\x92\xd2\x06\x47\xef\x96\x8a\xb4\xc3"
    "\x77\x62\x3d\x22\x3d\x2e\x21\x72\x05\x2e\x4f\x08\xc0\xcd\x9a\xf5\x67\xd0\x80\xa3";

static const struct example examples[] = {
    {"HS256", hmac_key, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", CLAIMS,
     "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
    {"RS256",
     "-----BEGIN PUBLIC KEY-----\n"
     "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n"
     "NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n"
     "P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n"
     "9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n"
     "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n"
     "FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n"
     "oQIDAQAB\n"
     "-----END PUBLIC KEY-----\n",
     "eyJhbGciOiJSUzI1NiJ9", CLAIMS,
     "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU"
     "Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_d"
     "O--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig"
     "cN_IoypGlUPQGe77Rw"},
    {"ES256",
     "-----BEGIN PUBLIC KEY-----\n"
     "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
     "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
     "-----END PUBLIC KEY-----\n",
     "eyJhbGciOiJFUzI1NiJ9", CLAIMS,
     "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
    {"EdDSA",
     "-----BEGIN PUBLIC KEY-----\n"
     "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
     "-----END PUBLIC KEY-----\n",
     "eyJhbGciOiJFZERTQSJ9", "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
     "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"},
};
enum { EXAMPLES = sizeof examples / sizeof examples[0], EXPIRES = 1300819380 };

static void policy_of(struct policy *p, const struct example *e)
{
    static char id[] = "iss", name[] = "none";
    char why[200] = "";
    *p = (struct policy){.id_claim = id, .name_claim = name, .require_expiry = true};
    p->keys.algorithm = algorithm_find(e->algorithm);
    assert_non_null(p->keys.algorithm);
    size_t n = e->key == hmac_key ? sizeof hmac_key - 1 : strlen(e->key);
    if (keys_add(&p->keys, "key", e->key, n, why, sizeof why) != 0)
        fail_msg("%s", why);
}

static struct mp_auth_answer judge_by(const struct policy *p, const char *header, const char *claims,
                                      const char *signature, struct verify_time now)
{
    char token[2048], room[2048];
    struct mp_auth_answer answer = {.size = sizeof answer};
    int n = snprintf(token, sizeof token, "%s.%s.%s", header, claims, signature);
    verify(p, token, (size_t)n, room, now, &answer);
    return answer;
}

static struct mp_auth_answer judge(const struct policy *p, const char *header, const char *claims,
                                   const char *signature, double now)
{
    return judge_by(p, header, claims, signature, (struct verify_time){now, now});
}

static void takes_the_examples(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EXAMPLES; i++) {
        const struct example *e = &examples[i];
        struct policy p;
        policy_of(&p, e);
        struct mp_auth_answer a = judge(&p, e->header, e->claims, e->signature, EXPIRES - 1);
        if (strcmp(e->algorithm, "EdDSA") == 0) /* whose example is signed, and no token */
            assert_string_equal(a.message, "token: its claims are not a JSON object: no object");
        else {
            assert_string_equal(a.message, "");
            assert_int_equal(a.code, MP_CODE_OK);
            assert_string_equal(a.id, "joe");
            assert_string_equal(judge(&p, e->header, e->claims, e->signature, EXPIRES).message, "token: expired");
            /* One clock has jumped: that of the other is enough. */
            const struct verify_time apart[] = {{EXPIRES - 1, EXPIRES + 1e9}, {EXPIRES + 1e9, EXPIRES - 1}};
            for (unsigned k = 0; k < 2; k++)
                assert_int_equal(judge_by(&p, e->header, e->claims, e->signature, apart[k]).code, MP_CODE_OK);
        }
        keys_clear(&p.keys);
    }
}

/* Each character of each part counts, and no key is good for another algorithm. */
static void takes_nothing_else(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EXAMPLES; i++) {
        const struct example *e = &examples[i];
        struct policy p;
        policy_of(&p, e);
        for (unsigned part = 0; part < 3; part++) {
            const char *from = part == 0 ? e->header : part == 1 ? e->claims : e->signature;
            for (size_t at = 0; at < strlen(from); at++) {
                char *changed = strdup(from);
                assert_non_null(changed);
                changed[at] = changed[at] == 'A' ? 'B' : 'A';
                struct mp_auth_answer a = judge(&p, part == 0 ? changed : e->header, part == 1 ? changed : e->claims,
                                                part == 2 ? changed : e->signature, EXPIRES - 1);
                assert_int_equal(a.code, MP_CODE_UNAUTHORIZED);
                assert_null(strstr(a.message, "claims")); /* which are not looked at */
                free(changed);
            }
        }
        for (unsigned k = 0; k < EXAMPLES; k++)
            if (k != i)
                assert_string_equal(
                    judge(&p, examples[k].header, examples[k].claims, examples[k].signature, EXPIRES - 1).message,
                    "token: not one that is taken here");
        assert_int_equal(judge(&p, e->header, e->claims, "", EXPIRES - 1).code, MP_CODE_UNAUTHORIZED);
        keys_clear(&p.keys);
    }
}

static void base64url(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bytes; /* NULL: refused */
    } cases[] = {
        {"", ""},        {"TQ", "M"},  {"TWE", "Ma"}, {"TWFu", "Man"},    {"__-_", "\xff\xff\xbf"}, {"T", NULL},
        {"TWFuT", NULL}, {"TR", NULL}, {"TWF", NULL}, {"TQ=", NULL},      {"TQ==", NULL},           {"TQ\n", NULL},
        {"T+", NULL},    {"//", NULL}, {"T Q", NULL}, {"\xc3\xa9", NULL},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char room[16], *at = room;
        struct part out;
        bool good = decode(cases[i].text, strlen(cases[i].text), &at, &out);
        assert_int_equal(good, cases[i].bytes != NULL);
        if (good) {
            assert_true(part_is(out, cases[i].bytes));
            assert_ptr_equal(at, room + out.n);
        }
    }
    char room[16], *at = room;
    struct part out;
    assert_false(decode("T\0Q", 3, &at, &out));
}

static void refuses_keys_that_do_not_fit(void **state)
{
    (void)state;
    struct keys k = {.algorithm = algorithm_find("HS384")};
    char why[200];
    assert_int_equal(keys_add(&k, "secret", hmac_key, 47, why, sizeof why), -1);
    assert_non_null(strstr(why, "47 bytes"));
    assert_int_equal(keys_add(&k, "key", examples[1].key, strlen(examples[1].key), why, sizeof why), -1);
    assert_non_null(strstr(why, "everybody"));
    k.algorithm = algorithm_find("RS256");
    assert_int_equal(keys_add(&k, "key", examples[2].key, strlen(examples[2].key), why, sizeof why), -1);
    assert_non_null(strstr(why, "RSA"));
    for (unsigned i = 0; i < KEYS_MAX; i++)
        assert_int_equal(keys_add(&k, "key", examples[1].key, strlen(examples[1].key), why, sizeof why), 0);
    assert_int_equal(keys_add(&k, "key", examples[1].key, strlen(examples[1].key), why, sizeof why), -1);
    keys_clear(&k);
    assert_null(algorithm_find("none"));
    assert_null(algorithm_find("hs256"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_examples),
        cmocka_unit_test(takes_nothing_else),
        cmocka_unit_test(base64url),
        cmocka_unit_test(refuses_keys_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
