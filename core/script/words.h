/* What a misspelt word of a script was meant to be. Pure functions. */
#ifndef MAGPIE_SCRIPT_WORDS_H
#define MAGPIE_SCRIPT_WORDS_H

#include "core/base/buf.h"

struct lua_State;

/* The nearest of the words, or NULL where none is near. word_at: the i-th known word; NULL: it is left out. */
const char *words_nearest(const char *word, const char *(*word_at)(const void *ctx, unsigned i), const void *ctx,
                          unsigned count);
/* The same for a text of words with blanks between, as "priority channel fail"; the answer lasts until the next call
 * on this thread. */
const char *words_nearest_of(const char *word, const char *known);
bool words_have(const char *known, const char *word);

/* Raises an error where the table at `index` (from 1) has a key that is none of the known words. what: "magpie.on:
 * unknown option", followed by the key and what was meant. */
void words_check_keys(struct lua_State *L, int index, const char *what, const char *known);

#endif
