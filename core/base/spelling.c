#include "core/base/spelling.h"

#include <string.h>

unsigned spelling_distance(const char *a, const char *b)
{
    size_t an = strlen(a), bn = strlen(b);
    if (an > SPELLING_WORD_MAX || bn > SPELLING_WORD_MAX)
        return SPELLING_WORD_MAX;
    unsigned rows[3][SPELLING_WORD_MAX + 1]; /* of i - 2, i - 1, i, taking turns */
    for (unsigned j = 0; j <= bn; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= an; i++) {
        unsigned *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= bn; j++) {
            unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[an % 3][bn];
}

unsigned spelling_limit(const char *word)
{
    size_t n = strlen(word) / 3 + 1;
    return n > 3 ? 3 : (unsigned)n;
}
