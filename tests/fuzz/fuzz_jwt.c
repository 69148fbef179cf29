/*
 * Tokens of plugins/auth_jwt. The input is a whole token, which nobody signed and which must not get in; and it is the
 * claims of one that is signed here: whoever gets in has an id and a name that the server takes, and whoever does not
 * is told why. As claims it is also read beside json_parse(): what that takes, the plugin's reader takes, with the same
 * texts.
 */
#include "core/base/json.h"
#include "core/base/utf8.h"
#include "plugins/auth_jwt/object.h"
#include "plugins/auth_jwt/policy.h"
#include "plugins/auth_jwt/verify.h"

#include <cjson/cJSON.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

static const char secret[] = "0123456789abcdef0123456789abcdef";

static void must(bool condition)
{
    if (!condition)
        abort();
}

static const struct policy *policy_at_hand(void)
{
    static struct policy p;
    char why[100];
    if (!p.keys.count) {
        p = (struct policy){.id_claim = "sub", .name_claim = "name", .audience = "chat", .leeway = 1};
        p.keys.algorithm = algorithm_find("HS256");
        must(keys_add(&p.keys, "key", secret, sizeof secret - 1, why, sizeof why) == 0);
    }
    return &p;
}

static size_t base64url(char *out, const void *data, size_t n)
{
    size_t size = (size_t)EVP_EncodeBlock((unsigned char *)out, data, (int)n);
    while (size && out[size - 1] == '=')
        size--;
    for (size_t i = 0; i < size; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    return size;
}

static void check_answer(const struct mp_auth_answer *a)
{
    if (a->code == MP_CODE_OK) {
        must(value_user_id(slice_str(a->id)) && strcmp(a->id, "system") != 0);
        must(!a->name[0] || value_name(slice_str(a->name)));
        return;
    }
    must(a->code == MP_CODE_UNAUTHORIZED && strncmp(a->message, "token: ", 7) == 0);
    must(strlen(a->message) + 1 < sizeof a->message && utf8_valid(slice_str(a->message)));
}

static void as_token(const uint8_t *data, size_t n)
{
    struct mp_auth_answer a = {.size = sizeof a};
    char *room = malloc(n + !n);
    must(room != NULL);
    verify(policy_at_hand(), (const char *)data, n, room, (struct verify_time){1e9, 1e9}, &a);
    must(a.code != MP_CODE_OK);
    check_answer(&a);
    free(room);
}

static void as_claims(const uint8_t *data, size_t n)
{
    static const char head[] = "eyJhbGciOiJIUzI1NiJ9."; /* {"alg":"HS256"} */
    char *token = malloc(2 * n + 200), *room = malloc(2 * n + 200);
    unsigned char mac[32];
    unsigned mac_n = 0;
    must(token && room);
    size_t at = sizeof head - 1;
    memcpy(token, head, at);
    at += base64url(token + at, data, n);
    HMAC(EVP_sha256(), secret, sizeof secret - 1, (unsigned char *)token, at, mac, &mac_n);
    token[at++] = '.';
    at += base64url(token + at, mac, mac_n);
    struct mp_auth_answer a = {.size = sizeof a};
    verify(policy_at_hand(), token, at, room, (struct verify_time){1e9, 1e9}, &a);
    check_answer(&a);
    must(strcmp(a.message, "token: not one that is taken here") != 0); /* it was signed */
    free(token);
    free(room);
}

static void beside_the_core(const uint8_t *data, size_t n)
{
    const char *why;
    struct object o;
    char *copy = malloc(n + !n);
    struct cJSON *tree = json_parse(slice_of(data, n), &why);
    must(copy != NULL);
    memcpy(copy, data, n);
    const char *wrong = object_read(&o, copy, n);
    if (tree && cJSON_IsObject(tree) && cJSON_GetArraySize(tree) <= MEMBERS_MAX) {
        const struct cJSON *each = tree->child;
        must(!wrong);
        for (unsigned i = 0; i < o.count; i++, each = each->next) {
            must(each && part_is(o.list[i].name, each->string));
            must(cJSON_IsString(each) == (o.list[i].value.kind == VALUE_TEXT));
            must(cJSON_IsNumber(each) == (o.list[i].value.kind == VALUE_NUMBER));
            if (cJSON_IsString(each))
                must(part_is(o.list[i].value.text, each->valuestring));
        }
        must(!each);
    }
    for (unsigned i = 0; !wrong && i < o.count; i++)
        must(utf8_valid(slice_of(o.list[i].name.p, o.list[i].name.n)));
    json_free(tree);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > TOKEN_MAX)
        return 0;
    as_token(data, size);
    as_claims(data, size);
    beside_the_core(data, size);
    return 0;
}
