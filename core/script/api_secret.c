/* magpie.hmac, magpie.random. */
#include "core/base/random.h"
#include "core/script/api.h"
#include "core/script/state.h"
#include "core/script/words.h"

#include <lauxlib.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

/* A C function cannot be stopped: so much takes a millisecond or two. */
enum { HMAC_MAX = 1 << 20, RANDOM_MAX = 1024 };

static void push_hex(lua_State *L, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * RANDOM_MAX];
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    lua_pushlstring(L, text, 2 * n);
}

/* hmac(algorithm, key, text) → hexadecimal */
static int lua_hmac(lua_State *L)
{
    static const char known[] = "sha256 sha512 sha384 sha1";
    const char *algorithm = luaL_checkstring(L, 1);
    if (!words_have(known, algorithm)) {
        const char *near = words_nearest_of(algorithm, known);
        return luaL_error(L,
                          near ? "magpie.hmac: there is no algorithm \"%s\"; did you mean \"%s\"?"
                               : "magpie.hmac: there is no algorithm \"%s\"; known are: %s",
                          algorithm, near ? near : known);
    }
    size_t key_n, n;
    const char *key = luaL_checklstring(L, 2, &key_n), *text = luaL_checklstring(L, 3, &n);
    luaL_argcheck(L, key_n <= HMAC_MAX, 2, "a key has 1 MiB at most");
    luaL_argcheck(L, n <= HMAC_MAX, 3, "a text has 1 MiB at most");
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (!HMAC(EVP_get_digestbyname(algorithm), key, (int)key_n, (const unsigned char *)text, n, out, &size))
        return luaL_error(L, "magpie.hmac: %s cannot be computed here", algorithm);
    push_hex(L, out, size);
    return 1;
}

/* random(n) → n bytes that nobody can guess, in hexadecimal */
static int lua_random(lua_State *L)
{
    unsigned char bytes[RANDOM_MAX];
    double n = luaL_checknumber(L, 1);
    luaL_argcheck(L, n >= 1 && n <= RANDOM_MAX && n == (double)(int)n, 1, "from 1 to 1024 bytes");
    random_bytes(bytes, (size_t)n);
    push_hex(L, bytes, (size_t)n);
    return 1;
}

void api_secret_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"hmac", lua_hmac}, {"random", lua_random}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
