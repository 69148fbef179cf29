/*
 * plugins/filter: lines of words, an empty line, a text. Whatever they are: stretches are whole characters of the text,
 * ascending and apart; what counts as a whole word counts as a part too; each word is found in itself; and characters
 * that nobody sees, put between all others, change nothing.
 */
#include "core/base/utf8.h"
#include "plugins/filter/matcher.h"

#include <stdlib.h>
#include <string.h>

static void must(bool condition)
{
    if (!condition)
        abort();
}

static bool begins_character(const char *text, size_t n, size_t at)
{
    return at == n || ((unsigned char)text[at] & 0xc0) != 0x80;
}

/* Searches; covered[i], for each byte that begins a character, in their order: whether a stretch covers it. Returns how
 * many characters. */
static size_t search(const struct matcher *m, const char *text, size_t n, bool whole, bool *covered)
{
    struct matcher_scratch s = {.found = NULL};
    long found = matcher_search(m, &s, text, n, whole);
    size_t count = 0, end = 0;
    must(found >= 0);
    for (long i = 0; i < found; i++) {
        must(s.found[i].from < s.found[i].to && s.found[i].to <= n && (i == 0 || s.found[i].from > end));
        must(begins_character(text, n, s.found[i].from) && begins_character(text, n, s.found[i].to));
        end = s.found[i].to;
    }
    for (size_t i = 0, at = 0; i < n; i++) {
        while (at < (size_t)found && s.found[at].to <= i)
            at++;
        if (begins_character(text, n, i))
            covered[count++] = at < (size_t)found && s.found[at].from <= i;
    }
    matcher_scratch_free(&s);
    return count;
}

static void check_text(const struct matcher *m, const char *text, size_t n)
{
    bool *part = calloc(n + 1, 1), *whole = calloc(n + 1, 1), *wide = calloc(4 * n + 4, 1);
    char *longer = malloc(4 * n + 4);
    size_t at = 0;
    must(part && whole && wide && longer);
    size_t count = search(m, text, n, false, part);
    search(m, text, n, true, whole);
    for (size_t i = 0; i < count; i++)
        must(part[i] || !whole[i]);
    for (size_t i = 0; i < n; i++) {
        if (begins_character(text, n, i)) {
            memcpy(longer + at, "\xe2\x81\xa6", 3); /* U+2066 */
            at += 3;
        }
        longer[at++] = text[i];
    }
    search(m, longer, at, false, wide);
    for (size_t i = 0, p = 0; i < count; i++) {
        int32_t c;
        p += fold_decode(text + p, n - p, &c);
        must(wide[2 * i + 1] == part[i] ||
             fold_invisible(c)); /* one between two words that touch may be on either side */
    }
    free(part);
    free(whole);
    free(wide);
    free(longer);
}

/* Adds the lines, and looks for each in itself. */
static struct matcher *build(const char *p, size_t n)
{
    struct matcher_builder *b = matcher_begin();
    const char *why;
    must(b != NULL);
    for (size_t i = 0; i < n;) {
        const char *end = memchr(p + i, '\n', n - i);
        size_t size = end ? (size_t)(end - p) - i : n - i;
        if (matcher_add(b, p + i, size, &why) != 0)
            must(why != NULL);
        i += size + 1;
    }
    return matcher_end(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data, *gap = size ? memmem(p, size, "\n\n", 2) : NULL;
    if (!gap || size > 20000)
        return 0;
    size_t words = (size_t)(gap - p);
    const char *text = gap + 2;
    size_t n = size - words - 2;
    struct matcher *m = build(p, words);
    must(m != NULL);
    if (utf8_valid(slice_of(text, n)))
        check_text(m, text, n);
    for (size_t i = 0; i < words;) {
        const char *end = memchr(p + i, '\n', words - i);
        size_t line = end ? (size_t)(end - p) - i : words - i;
        struct matcher *one = build(p + i, line);
        struct matcher_scratch s = {.found = NULL};
        must(one != NULL);
        if (matcher_words(one) && utf8_valid(slice_of(p + i, line)))
            must(matcher_search(one, &s, p + i, line, true) == 1);
        matcher_scratch_free(&s);
        matcher_free(one);
        i += line + 1;
    }
    matcher_free(m);
    return 0;
}
