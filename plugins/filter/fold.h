/*
 * How the filter compares texts: not by their bytes but by what a reader sees. Upper and lower case are one
 * (Unicode's full case folding). So are compatible forms (fullwidth letters, ligatures), and the two spellings of a
 * letter with a mark; what nobody sees is passed over. All of it follows Unicode's data as utf8proc has them, and no
 * locale.
 */
#ifndef MAGPIE_PLUGINS_FILTER_FOLD_H
#define MAGPIE_PLUGINS_FILTER_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of a text as it is compared: a letter, a mark, a sign. One character of the text may have several, "ß" two.
 */
struct point {
    uint32_t folded;   /* code point; of blanks of every kind ' ' */
    uint32_t from, to; /* bytes of the text: its character, with all the marks on it */
    bool letter;       /* or digit, or mark of one */
    bool joins;        /* it belongs to what stands before it: a word that ends there ends within a character */
};

struct points {
    struct point *list; /* owned */
    size_t count, cap;
};

struct fold; /* tables; immutable, for any thread */

/* NULL: out of memory. */
struct fold *fold_new(void);
void fold_free(struct fold *f);

/* Reads a text of valid UTF-8 into p, over what was there. False: out of memory. */
bool fold_text(const struct fold *f, struct points *p, const char *text, size_t n);

/* The bytes of the character of valid UTF-8 that begins at p[0..n); 0: there is none. *c: its code point. */
size_t fold_decode(const char *p, size_t n, int32_t *c);

/* Whether this code point is shown as nothing at all. */
bool fold_invisible(int32_t c);

#endif
