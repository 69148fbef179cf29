#include "core/script/words.h"

#include "core/base/spelling.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

const char *words_nearest(const char *word, const char *(*word_at)(const void *ctx, unsigned i), const void *ctx,
                          unsigned count)
{
    const char *best = NULL;
    unsigned limit = spelling_limit(word) + 1;
    for (unsigned i = 0; i < count; i++) {
        const char *known = word_at(ctx, i);
        unsigned d = known ? spelling_distance(word, known) : limit;
        if (d < limit) {
            limit = d;
            best = known;
        }
    }
    return best;
}

/* Copies the word at `known`; returns where the next one begins. */
static const char *next_word(const char *known, char out[SPELLING_WORD_MAX + 1])
{
    size_t n = strcspn(known, " ");
    snprintf(out, SPELLING_WORD_MAX + 1, "%.*s", (int)n, known);
    return known + n + strspn(known + n, " ");
}

const char *words_nearest_of(const char *word, const char *known)
{
    static _Thread_local char best[SPELLING_WORD_MAX + 1];
    char one[SPELLING_WORD_MAX + 1];
    unsigned limit = spelling_limit(word) + 1;
    best[0] = '\0';
    while (*known) {
        known = next_word(known, one);
        unsigned d = spelling_distance(word, one);
        if (d < limit) {
            limit = d;
            memcpy(best, one, sizeof best);
        }
    }
    return best[0] ? best : NULL;
}

bool words_have(const char *known, const char *word)
{
    char one[SPELLING_WORD_MAX + 1];
    while (*known) {
        known = next_word(known, one);
        if (strcmp(one, word) == 0)
            return true;
    }
    return false;
}

void words_check_keys(lua_State *L, int index, const char *what, const char *known)
{
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s of type %s; known are: %s", what, luaL_typename(L, -2), known);
        const char *key = lua_tostring(L, -2);
        if (words_have(known, key))
            continue;
        const char *near = words_nearest_of(key, known);
        luaL_error(L, near ? "%s %s; did you mean %s?" : "%s %s; known are: %s", what, key, near ? near : known);
    }
}
