/* The word matcher of plugins/filter, without the plugin around it. */
#include "plugins/filter/matcher.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <utf8proc.h>

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
    struct matcher_scratch s = {.found = NULL};
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

/* Each text must be masked as a whole by the list's one word. */
static void same(const char *word, const char *const *texts)
{
    struct matcher *m = make((const char *const[]){word, NULL});
    for (; *texts; texts++) {
        char expected[512];
        snprintf(expected, sizeof expected, "[%s]", *texts);
        expect(m, *texts, true, expected);
    }
    matcher_free(m);
}

/* Unicode's case folding and compatible forms, not a locale's lower case; both ways. */
static void folds_as_unicode_does(void **state)
{
    (void)state;
    same("λόγος", (const char *const[]){"ΛΌΓΟΣ", "λόγοσ", "Λόγος", "λο\u0301γος", "ΛΟ\u0301ΓΟΣ", NULL});
    same("ΛΌΓΟΣ", (const char *const[]){"λόγος", NULL});
    same("µm", (const char *const[]){"μm", "Μm", "µM", NULL}); /* the micro sign, mu, and its capital */
    same("ſuſi", (const char *const[]){"susi", "SUSI", NULL});
    same("straße", (const char *const[]){"STRASSE", "strasse", "STRAẞE", "ſtraße", NULL});
    same("STRASSE", (const char *const[]){"straße", NULL});
    same("istanbul", (const char *const[]){"İSTANBUL", "ISTANBUL", NULL});
    same("finance", (const char *const[]){"ﬁnance", "ＦＩＮＡＮＣＥ", "𝐟𝓲𝔫𝕒𝖓𝗰𝙚", "ⓕⓘⓝⓐⓝⓒⓔ", NULL});
    same("kelvin", (const char *const[]){"\u212aelvin", NULL});
    same("café", (const char *const[]){"cafe\u0301", "CAFÉ", "CAFE\u0301", "\uff43\uff41\uff46\uff45\u0301", NULL});
    same("việt", (const char *const[]){"vie\u0323\u0302t", "vie\u0302\u0323t", "vi\u1eb9\u0302t", "VIỆT", NULL});
    same("한국", (const char *const[]){"\u1112\u1161\u11ab\u1100\u116e\u11a8", NULL});
    same("ガス", (const char *const[]){"\u30ab\u3099ス", "\uff76\uff9e\uff7d", NULL});
    same("ꭰꮃ", (const char *const[]){"ᎠᎳ", NULL}); /* Cherokee folds to its capitals */
    same("ѡмъ", (const char *const[]){"ѠМЪ", "ѡм\u1c86", NULL});
    same("x y", (const char *const[]){"x\u00a0y", "x\u3000y", "x\ny", "x\ty", "x\u2028y", "x\u2003y", NULL});
}

/* Marks that are a letter's own make it another letter; others are decoration. */
static void marks(void **state)
{
    (void)state;
    same("bad", (const char *const[]){"b\u0336a\u0336d\u0336", "b\u20e3ad", "bad\u0338", "b\u0489ad", "bad\u0301\u0301",
                                      "ba\u034f\u0332d", "b\u064bad", "b\u0e31ad", "b\ufe20ad\ufe21", NULL});
    struct matcher *m = make((const char *const[]){"cafe", "far", "क", "가", "ก", NULL});
    expect(m, "café cafe\u0301", false, "");
    expect(m, "fàr fa\u0300r", false, "");
    expect(m, "का कि", false, "");
    expect(m, "각 가", false, "[가]");
    expect(m, "กิ ก", false, "[ก]");
    expect(m, "cafe\u0335!", false, "[cafe\u0335]");
    expect(m, "\u0301cafe", true, "[cafe]"); /* a mark on nothing */
    expect(m, "1\u0301 cafe", true, "[cafe]");
    matcher_free(m);
    /* So many marks that sorting them one by one would take its time. */
    m = make((const char *const[]){"bad", NULL});
    char text[40000] = "ba";
    for (unsigned i = 0; i < 9000; i++)
        strcpy(text + 2 + 4 * i, i % 2 ? "\u0301\u0316" : "\u0316\u0301");
    strcat(text, "d bad");
    expect(m, text, true, "[bad]");
    matcher_free(m);
}

/* Puts a code point at p; returns how many bytes. */
static int put_code_point(char *p, uint32_t c)
{
    return (int)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)p);
}

/* What a word is cut by and nobody sees: Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties, with the
 * places that are kept for it, controls but those of lines, and format characters. */
static void invisible_characters_hide_nothing(void **state)
{
    (void)state;
    static const uint32_t ranges[][2] = {
        {0x01, 0x08},       {0x0b, 0x0b},     {0x0e, 0x1f},     {0x7f, 0x9f},       {0xad, 0xad},
        {0x34f, 0x34f},     {0x61c, 0x61c},   {0x115f, 0x1160}, {0x17b4, 0x17b5},   {0x180b, 0x180f},
        {0x200b, 0x200f},   {0x202a, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164},   {0xfe00, 0xfe0f},
        {0xfeff, 0xfeff},   {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
        {0xe0000, 0xe0fff},
    };
    struct matcher *m = make((const char *const[]){"bad", NULL});
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        for (uint32_t c = ranges[i][0]; c <= ranges[i][1]; c++) {
            char text[32], expected[40];
            size_t n = 0;
            for (const char *p = "bad"; *p; p++) {
                text[n++] = *p;
                if (p[1])
                    n += (size_t)put_code_point(text + n, c);
            }
            text[n] = '\0';
            snprintf(expected, sizeof expected, "[%s]", text);
            expect(m, text, true, expected);
        }
    }
    matcher_free(m);
}

/* And nothing else is passed over: between the letters of a word, what can be seen parts them. */
static void what_is_seen_is_kept(void **state)
{
    (void)state;
    struct matcher *m = make((const char *const[]){"bad", NULL});
    for (uint32_t c = 1; c < 0x110000; c++) {
        if ((c >= 0xd800 && c < 0xe000) || c == 0xff9e || c == 0xff9f) /* halfwidth forms of kana's marks */
            continue;
        utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
        char text[16] = "b";
        size_t n = 1 + (size_t)put_code_point(text + 1, c);
        strcpy(text + n, "ad");
        struct matcher_scratch s = {.found = NULL};
        long found = matcher_search(m, &s, text, n + 2, false);
        bool passed = fold_invisible((int32_t)c) || k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME;
        found = found == 1 && s.found[0].from == 0;                    /* and not another b */
        if (found != passed && !(k == UTF8PROC_CATEGORY_MN && !found)) /* a mark that b is one letter with */
            fail_msg("U+%04X: found %ld", c, found);
        if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO && found && !fold_invisible((int32_t)c))
            fail_msg("U+%04X is a letter", c);
        matcher_scratch_free(&s);
    }
    matcher_free(m);
}

/* Stretches are of whole characters of the text as it came. */
static void masks_what_was_there(void **state)
{
    (void)state;
    struct matcher *m = make((const char *const[]){"bad", "ss", "fi", NULL});
    expect(m, "ok\u200b b\u200ba\u200bd\u200b ok", true, "[b\u200ba\u200bd]");
    expect(m, "ein Maß", false, "[ß]");
    expect(m, "oﬃce", false, "[ﬃ]");
    expect(m, "x\u0301bad\u0301\u0301y", false, "[bad\u0301\u0301]");
    expect(m, "ＢＡＤ 𝐛𝐚𝐝", true, "[ＢＡＤ][𝐛𝐚𝐝]");
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
        struct matcher_scratch s = {.found = NULL};
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
        cmocka_unit_test(folds_as_unicode_does),
        cmocka_unit_test(marks),
        cmocka_unit_test(invisible_characters_hide_nothing),
        cmocka_unit_test(what_is_seen_is_kept),
        cmocka_unit_test(masks_what_was_there),
        cmocka_unit_test(refuses_what_is_no_word),
        cmocka_unit_test(agrees_with_the_plain_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
