/* The word matcher of plugins/filter, without the plugin around it. */
#include "plugins/filter/matcher.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct matcher *make(const char *const *words)
{
    struct matcher_builder *b = matcher_begin();
    const char *why;
    assert_non_null(b);
    for (; *words; words++)
        assert_int_equal(matcher_add(b, *words, strlen(*words), &why), 0);
    struct matcher *m = matcher_end(b);
    assert_non_null(m);
    return m;
}

/* The stretches as "[a][b]". */
static void expect(const struct matcher *m, const char *text, bool whole, const char *expected)
{
    struct matcher_scratch s = {.points = NULL};
    char got[512] = "";
    long n = matcher_search(m, &s, text, strlen(text), whole);
    assert_true(n >= 0);
    for (long i = 0; i < n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "[%.*s]", (int)(s.found[i].to - s.found[i].from),
                 text + s.found[i].from);
    assert_string_equal(got, expected);
    matcher_scratch_free(&s);
}

static void finds_words(void **state)
{
    (void)state;
    struct matcher *m = make((const char *const[]){"bad", "badger", "he", "she", "hers", "x y", NULL});
    assert_int_equal(matcher_words(m), 6);
    expect(m, "", false, "");
    expect(m, "nothing to see", false, "");
    expect(m, "a bad thing", false, "[bad]");
    expect(m, "badgers", false, "[badger]");
    expect(m, "badgers", true, "");
    expect(m, "ushers", false, "[shers]");
    expect(m, "ushers", true, "");
    expect(m, "she, hers!", true, "[she][hers]");
    expect(m, "x y", true, "[x y]");
    expect(m, "babad", false, "[bad]");
    expect(m, "bad", true, "[bad]");
    matcher_free(m);
}

static void folds(void **state)
{
    (void)state;
    struct matcher *m = make((const char *const[]){"Bad", "ÄRGER", "дурак", "坏话", NULL});
    expect(m, "BAD bAd", true, "[BAD][bAd]");
    expect(m, "ärger", true, "[ärger]");
    expect(m, "ДУРАК", true, "[ДУРАК]");
    expect(m, "说坏话了", false, "[坏话]");
    expect(m,
           "b\xe2\x80\x8b\xc2\xad"
           "ad",
           true,
           "[b\xe2\x80\x8b\xc2\xad"
           "ad]");
    expect(m, "ＢＡＤ", true, "[ＢＡＤ]");
    matcher_free(m);
}

static void refuses_what_is_no_word(void **state)
{
    (void)state;
    struct matcher_builder *b = matcher_begin();
    const char *why = NULL;
    char longest[WORD_MAX + 2];
    memset(longest, 'x', sizeof longest);
    assert_int_equal(matcher_add(b, longest, WORD_MAX, &why), 0);
    assert_int_equal(matcher_add(b, longest, WORD_MAX + 1, &why), -1);
    assert_non_null(strstr(why, "64"));
    assert_int_equal(matcher_add(b, "\xff", 1, &why), -1);
    assert_non_null(strstr(why, "UTF-8"));
    assert_int_equal(matcher_add(b, "\xed\xa0\x80", 3, &why), -1);
    assert_int_equal(matcher_add(b, "  \t", 3, &why), 0);
    assert_int_equal(matcher_add(b, " twice ", 7, &why), 0);
    assert_int_equal(matcher_add(b, "TWICE", 5, &why), 0);
    struct matcher *m = matcher_end(b);
    assert_int_equal(matcher_words(m), 2);
    matcher_free(m);
}

/* Against the plain way: every word at every place. */
static void agrees_with_the_plain_way(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (unsigned round = 0; round < 300; round++) {
        char words[12][8], text[64];
        const char *list[13] = {NULL};
        for (unsigned i = 0; i < 12; i++) {
            unsigned n = 1 + (seed = seed * 1103515245 + 12345) / 65536 % 4;
            for (unsigned k = 0; k < n; k++)
                words[i][k] = (char)('a' + (seed = seed * 1103515245 + 12345) / 65536 % 3);
            words[i][n] = '\0';
            list[i] = words[i];
        }
        for (unsigned k = 0; k < sizeof text - 1; k++)
            text[k] = (char)('a' + (seed = seed * 1103515245 + 12345) / 65536 % 5);
        text[sizeof text - 1] = '\0';
        struct matcher *m = make(list);
        struct matcher_scratch s = {.points = NULL};
        bool covered[sizeof text] = {false}, plain[sizeof text] = {false};
        long n = matcher_search(m, &s, text, strlen(text), false);
        for (long i = 0; i < n; i++)
            for (size_t k = s.found[i].from; k < s.found[i].to; k++)
                covered[k] = true;
        for (unsigned i = 0; i < 12; i++)
            for (const char *at = text; (at = strstr(at, words[i])); at++)
                for (size_t k = 0; k < strlen(words[i]); k++)
                    plain[at - text + (long)k] = true;
        assert_memory_equal(covered, plain, sizeof text);
        matcher_scratch_free(&s);
        matcher_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_words),
        cmocka_unit_test(folds),
        cmocka_unit_test(refuses_what_is_no_word),
        cmocka_unit_test(agrees_with_the_plain_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
