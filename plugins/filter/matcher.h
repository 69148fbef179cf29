/*
 * The matcher of forbidden words: an Aho-Corasick automaton (Aho and Corasick 1975) over what readers see of texts
 * (fold.h). Immutable once built, so that any number of threads may search with it. A search is linear in the text,
 * whatever the number of words.
 */
#ifndef MAGPIE_PLUGINS_FILTER_MATCHER_H
#define MAGPIE_PLUGINS_FILTER_MATCHER_H

#include "fold.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORD_MAX = 64 }; /* code points of a word, what is invisible aside */
enum { WORDS_MAX = 100000 };

struct matcher;
struct matcher_builder;

/* NULL: out of memory. */
struct matcher_builder *matcher_begin(void);
/* Adds a word (UTF-8; case, what is invisible and surrounding blanks do not count; what is left empty is passed
 * over). 0; else *why says what is wrong, static. Twice is once. */
int matcher_add(struct matcher_builder *b, const char *word, size_t n, const char **why);
/* Builds it and frees the builder. NULL: out of memory. */
struct matcher *matcher_end(struct matcher_builder *b);
void matcher_abandon(struct matcher_builder *b);
void matcher_free(struct matcher *m);
size_t matcher_words(const struct matcher *m);
size_t matcher_memory(const struct matcher *m);

/* A stretch of the text, in bytes. */
struct match {
    size_t from, to;
};

/* What a search needs; kept between searches of one thread, all zero at first. */
struct matcher_scratch {
    struct points points; /* of the text */
    struct match *found;  /* owned */
    size_t found_cap;
};
void matcher_scratch_free(struct matcher_scratch *s);

/* Finds the stretches that words cover: ascending, apart from each other, in s->found until the next search. whole: a
 * word counts only where no letter or digit stands beside it. Returns how many, or -1: out of memory. `text` must be
 * valid UTF-8. */
long matcher_search(const struct matcher *m, struct matcher_scratch *s, const char *text, size_t n, bool whole);

#endif
