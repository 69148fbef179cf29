/* "Did you mean": how far two words are apart. Pure functions. */
#ifndef MAGPIE_BASE_SPELLING_H
#define MAGPIE_BASE_SPELLING_H

#include <stdbool.h>

enum { SPELLING_WORD_MAX = 64 }; /* bytes of what is compared; longer words are near to nothing */

/* Edit distance, a swap of neighbours counting as one (optimal string alignment). */
unsigned spelling_distance(const char *a, const char *b);
/* How wrong a word may be and still be meant: 1 to 3 edits, by its length. */
unsigned spelling_limit(const char *word);

#endif
